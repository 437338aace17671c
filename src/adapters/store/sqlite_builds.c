/*
 * Writing builds. The statements are made once from the table of a build's members. Columns that
 * never change after the insert are left out of the update, so that their indexes stay untouched.
 */
#include <stdlib.h>
#include <string.h>

#include "adapters/store/sqlite_store.h"
#include "base/str.h"
#include "domain/build.h"
#include "wire/build_json.h"
#include "wire/codec.h"

#include "base/banned.h"

#define COLUMNS_MAX 64

static bool is_fixed(const char *name)
{
        static const char *const fixed[] = {"id",    "number",      "repo",
                                            "event", "delivery_id", "created_at"};

        for (size_t i = 0; i < sizeof(fixed) / sizeof(*fixed); i++) {
                if (strcmp(fixed[i], name) == 0)
                        return true;
        }
        return false;
}

void sqlite_builds_prepare(struct sqlite_store *store)
{
        size_t n;
        const struct codec_field *fields = build_fields(&n);
        struct str columns = STR_INIT;
        struct str insert = STR_INIT;
        struct str update = STR_INIT;

        str_add(&update, "UPDATE build SET unfinished = ?, n_jobs = ?, jobs = ?");
        for (size_t i = 0; i < n; i++) {
                str_printf(&columns, "%s\"%s\"", i ? ", " : "", fields[i].name);
                if (!is_fixed(fields[i].name))
                        str_printf(&update, ", \"%s\" = ?", fields[i].name);
        }
        str_add(&update, " WHERE seq = ?");
        str_printf(&insert,
                   "INSERT INTO build (repo_id, unfinished, n_jobs, jobs, %s) VALUES "
                   "(?, ?, ?, ?",
                   columns.data);
        for (size_t i = 0; i < n; i++)
                str_add(&insert, ", ?");
        str_add(&insert, ")");
        store->columns = str_steal(&columns);
        store->insert_build = str_steal(&insert);
        store->update_build = str_steal(&update);
}

static struct sqlite_value value_of(const struct build *build, const struct codec_field *field)
{
        const char *place = (const char *)build + field->offset;

        switch (field->type) {
        case CODEC_TEXT:
                return SQL_TEXT(text_or(*(const char *const *)place, ""));
        case CODEC_TEXT_NULL:
                return SQL_TEXT(*(const char *const *)place);
        case CODEC_INT:
                return SQL_INT(*(const int *)place);
        case CODEC_BOOL:
                return SQL_INT(*(const bool *)place);
        case CODEC_STATE:
                return SQL_TEXT(state_name(*(const enum state *)place));
        case CODEC_REASON:
                return SQL_TEXT(reason_name(*(const enum reason *)place));
        case CODEC_INT64:
        case CODEC_TIME_NS:
                break;
        }
        return SQL_INT(*(const int64_t *)place);
}

struct put {
        const struct sqlite_store *store;
        struct build next; /* what shall be stored: number and version set */
        const char *jobs;
};

static bool is_unfinished(const struct build *build)
{
        return !state_ended(build->state) || !build->notified;
}

static int add_jobs(struct sqlite_conn *conn, const struct build *build, int64_t seq,
                    struct error *err)
{
        for (size_t i = 0; i < build->n_jobs; i++) {
                int r = sqlite_run(conn, "INSERT OR IGNORE INTO job (id, build_seq) VALUES (?, ?)",
                                   SQL_VALUES(SQL_TEXT(build->jobs[i].id), SQL_INT(seq)), err);

                if (r < 0)
                        return r;
        }
        return 0;
}

static int next_number(struct sqlite_conn *conn, const char *repo, int64_t *ret_repo_id,
                       int64_t *ret_number, struct error *err)
{
        scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
        int r;

        r = sqlite_query(conn, &stmt,
                         "INSERT INTO repository (name, last_number) VALUES (?, 1) ON CONFLICT "
                         "(name) DO UPDATE SET last_number = last_number + 1 "
                         "RETURNING id, last_number",
                         SQL_VALUES(SQL_TEXT(repo)), err);
        if (r == 0)
                r = sqlite_next(conn, stmt, err);
        if (r <= 0)
                return r;
        *ret_repo_id = sqlite3_column_int64(stmt, 0);
        *ret_number = sqlite3_column_int64(stmt, 1);
        return 0;
}

static int insert(struct sqlite_conn *conn, void *data, struct error *err)
{
        struct put *put = data;
        struct build *build = &put->next;
        struct sqlite_value values[COLUMNS_MAX];
        size_t n_fields;
        const struct codec_field *fields = build_fields(&n_fields);
        int64_t repo_id = 0;
        size_t n = 0;
        int r;

        r = next_number(conn, build->repo, &repo_id, &build->number, err);
        if (r < 0)
                return r;
        values[n++] = SQL_INT(repo_id);
        values[n++] = SQL_INT(is_unfinished(build));
        values[n++] = SQL_INT((int64_t)build->n_jobs);
        values[n++] = SQL_TEXT(put->jobs);
        for (size_t i = 0; i < n_fields && n < COLUMNS_MAX; i++)
                values[n++] = value_of(build, &fields[i]);
        r = sqlite_run(conn, put->store->insert_build, values, n, err);
        if (r == -ERROR_CONFLICT)
                return error_set(
                        err, ERROR_CONFLICT,
                        "there is a build with the id '%s' or of the delivery '%s' already",
                        build->id, build->delivery_id);
        if (r < 0)
                return r;
        return add_jobs(conn, build, sqlite3_last_insert_rowid(sqlite_conn_handle(conn)), err);
}

static char *encode_jobs(const struct build *build)
{
        scoped(json) json_t *json = jobs_to_json(build);
        struct str text = STR_INIT;

        str_add_json(&text, json);
        return str_steal(&text);
}

static int check_size(const struct build *build, const char *jobs, struct error *err)
{
        if (strlen(jobs) > BUILD_BYTES_MAX)
                return error_set(err, ERROR_LIMIT, "the jobs of build '%s' take more than %d bytes",
                                 build->id, BUILD_BYTES_MAX);
        return 0;
}

int sqlite_build_insert(struct store *store, struct build *build, struct error *err)
{
        scoped_text char *jobs = encode_jobs(build);
        struct put put = {.store = sqlite_store(store), .next = *build, .jobs = jobs};
        int r;

        r = check_size(build, jobs, err);
        if (r == 0)
                r = sqlite_store_write(sqlite_store(store)->state, insert, &put, err);
        if (r == 0)
                build->number = put.next.number;
        return r;
}

static int find_version(struct sqlite_conn *conn, const struct build *build, int64_t *ret_seq,
                        int64_t *ret_version, size_t *ret_n_jobs, struct error *err)
{
        scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
        int r;

        r = sqlite_query(conn, &stmt, "SELECT seq, version, n_jobs FROM build WHERE id = ?",
                         SQL_VALUES(SQL_TEXT(build->id)), err);
        if (r == 0)
                r = sqlite_next(conn, stmt, err);
        if (r < 0)
                return r;
        if (r == 0)
                return error_set(err, ERROR_NOT_FOUND, "there is no build '%s'", build->id);
        *ret_seq = sqlite3_column_int64(stmt, 0);
        *ret_version = sqlite3_column_int64(stmt, 1);
        *ret_n_jobs = (size_t)sqlite3_column_int64(stmt, 2);
        return 0;
}

static int update(struct sqlite_conn *conn, void *data, struct error *err)
{
        struct put *put = data;
        const struct build *build = &put->next;
        struct sqlite_value values[COLUMNS_MAX];
        size_t n_fields;
        const struct codec_field *fields = build_fields(&n_fields);
        int64_t version = 0;
        int64_t seq = 0;
        size_t n_jobs = 0;
        size_t n = 0;
        int r;

        r = find_version(conn, build, &seq, &version, &n_jobs, err);
        if (r < 0)
                return r;
        if (version != build->version - 1)
                return error_set(
                        err, ERROR_CONFLICT,
                        "build '%s' was changed meanwhile: it is at version %lld, not %lld",
                        build->id, (long long)version, (long long)build->version - 1);
        values[n++] = SQL_INT(is_unfinished(build));
        values[n++] = SQL_INT((int64_t)build->n_jobs);
        values[n++] = SQL_TEXT(put->jobs);
        for (size_t i = 0; i < n_fields && n < COLUMNS_MAX - 1; i++) {
                if (!is_fixed(fields[i].name))
                        values[n++] = value_of(build, &fields[i]);
        }
        values[n++] = SQL_INT(seq);
        r = sqlite_run(conn, put->store->update_build, values, n, err);
        if (r < 0)
                return r;
        return n_jobs == build->n_jobs ? 0 : add_jobs(conn, build, seq, err);
}

int sqlite_build_update(struct store *store, struct build *build, struct error *err)
{
        scoped_text char *jobs = encode_jobs(build);
        struct put put = {.store = sqlite_store(store), .next = *build, .jobs = jobs};
        int r;

        put.next.version = build->version + 1;
        r = check_size(build, jobs, err);
        if (r == 0)
                r = sqlite_store_write(sqlite_store(store)->state, update, &put, err);
        if (r == 0)
                build->version = put.next.version;
        return r;
}
