/*
 * Reading builds. A list takes one index that answers its most selective filter in the right order;
 * the unary plus before the other columns keeps SQLite from choosing theirs. The filters left over
 * are tried row by row.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/store/sqlite_store.h"
#include "base/arena.h"
#include "base/str.h"
#include "domain/build.h"
#include "wire/build_json.h"
#include "wire/codec.h"

#include "base/banned.h"

static int read_word(char *place, const struct codec_field *field, const char *word,
                     struct error *err)
{
        int value = field->type == CODEC_STATE ? state_parse(word) : reason_parse(word);

        if (value < 0)
                return error_set(err, ERROR_BUG, "a stored build has the unknown %s '%.40s'",
                                 field->name, text_or(word, ""));
        if (field->type == CODEC_STATE)
                *(enum state *)place = (enum state)value;
        else
                *(enum reason *)place = (enum reason)value;
        return 0;
}

static int read_column(struct build *build, const struct codec_field *field, sqlite3_stmt *stmt,
                       int column, struct error *err)
{
        char *place = (char *)build + field->offset;
        const char *word = NULL;

        switch (field->type) {
        case CODEC_TEXT:
                *(const char **)place = sqlite_text(build->arena, stmt, column);
                return 0;
        case CODEC_TEXT_NULL:
                if (sqlite3_column_type(stmt, column) != SQLITE_NULL)
                        *(const char **)place = sqlite_text(build->arena, stmt, column);
                return 0;
        case CODEC_INT:
                *(int *)place = sqlite3_column_int(stmt, column);
                return 0;
        case CODEC_BOOL:
                *(bool *)place = sqlite3_column_int(stmt, column) != 0;
                return 0;
        case CODEC_INT64:
        case CODEC_TIME_NS:
                *(int64_t *)place = sqlite3_column_int64(stmt, column);
                return 0;
        case CODEC_STATE:
        case CODEC_REASON:
                word = (const char *)sqlite3_column_text(stmt, column);
                return read_word(place, field, word, err);
        }
        return 0;
}

/* The columns of build_fields() from column 0; jobs follow at the end when they were asked for. */
static int read_build(struct build **ret, sqlite3_stmt *stmt, bool jobs, struct error *err)
{
        scoped(build) struct build *build = build_new();
        size_t n;
        const struct codec_field *fields = build_fields(&n);
        int r = 0;

        for (size_t i = 0; r == 0 && i < n; i++)
                r = read_column(build, &fields[i], stmt, (int)i, err);
        if (r == 0 && jobs)
                r = jobs_decode(build, (const char *)sqlite3_column_text(stmt, (int)n),
                                (size_t)sqlite3_column_bytes(stmt, (int)n), err);
        if (r < 0) {
                error_wrap(err, "build '%s'", build->id);
                return r;
        }
        *ret = take(build);
        return 0;
}

struct get {
        const struct sqlite_store *store;
        const char *where;
        const struct sqlite_value *values;
        size_t n;
        struct build **ret;
};

static int get_row(struct sqlite_conn *conn, void *data, struct error *err)
{
        const struct get *get = data;
        scoped_text char *sql =
                text_format("SELECT %s, jobs FROM build WHERE %s", get->store->columns, get->where);
        scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
        int r;

        r = sqlite_query(conn, &stmt, sql, get->values, get->n, err);
        if (r == 0)
                r = sqlite_next(conn, stmt, err);
        if (r <= 0)
                return r;
        r = read_build(get->ret, stmt, true, err);
        return r < 0 ? r : 1;
}

/* Return: 1 found, 0 there is none, -kind. */
static int get_build(struct store *store, struct build **ret, const char *where,
                     const struct sqlite_value *values, size_t n, struct error *err)
{
        struct get get = {sqlite_store(store), where, values, n, ret};

        return sqlite_db_read(sqlite_store(store)->state, get_row, &get, err);
}

int sqlite_build_get(struct store *store, struct build **ret, const char *id, struct error *err)
{
        int r = get_build(store, ret, "id = ?", SQL_VALUES(SQL_TEXT(id)), err);

        if (r == 0)
                return error_set(err, ERROR_NOT_FOUND, "there is no build '%.60s'", id);
        return r < 0 ? r : 0;
}

int sqlite_build_of_job(struct store *store, struct build **ret, const char *job_id,
                        struct error *err)
{
        int r = get_build(store, ret, "seq = (SELECT build_seq FROM job WHERE id = ?)",
                          SQL_VALUES(SQL_TEXT(job_id)), err);

        if (r == 0)
                return error_set(err, ERROR_NOT_FOUND, "there is no job '%.60s'", job_id);
        return r < 0 ? r : 0;
}

int sqlite_build_of_number(struct store *store, struct build **ret, const char *repo,
                           int64_t number, struct error *err)
{
        int r = get_build(store, ret,
                          "repo_id = (SELECT id FROM repository WHERE name = ?) AND number = ?",
                          SQL_VALUES(SQL_TEXT(repo), SQL_INT(number)), err);

        if (r == 0)
                return error_set(err, ERROR_NOT_FOUND, "'%.120s' has no build %lld", repo,
                                 (long long)number);
        return r < 0 ? r : 0;
}

int sqlite_build_of_delivery(struct store *store, struct build **ret, const char *delivery_id,
                             struct error *err)
{
        int r = get_build(store, ret, "delivery_id = ? AND delivery_id <> ''",
                          SQL_VALUES(SQL_TEXT(delivery_id)), err);

        if (r == 0)
                return error_set(err, ERROR_NOT_FOUND, "no build came of the delivery '%.60s'",
                                 delivery_id);
        return r < 0 ? r : 0;
}

struct list {
        const char *sql;
        const struct sqlite_value *values;
        size_t n_values;
        bool jobs;
        int64_t limit; /* 0: all */
        int seq_column;
        struct build_page page;
};

static void add_to_page(struct build_page *page, struct build *build)
{
        if (page->n % 64 == 0)
                page->builds = xrealloc(page->builds, (page->n + 64) * sizeof(*page->builds));
        page->builds[page->n++] = build;
}

static int list_rows(struct sqlite_conn *conn, void *data, struct error *err)
{
        struct list *list = data;
        struct build_page *page = &list->page;
        scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
        int64_t last = 0;
        int r;

        r = sqlite_query(conn, &stmt, list->sql, list->values, list->n_values, err);
        while (r >= 0 && (r = sqlite_next(conn, stmt, err)) > 0) {
                struct build *build = NULL;

                if (list->limit && (int64_t)page->n == list->limit) {
                        snprintf(page->next, sizeof(page->next), "%lld", (long long)last);
                        return 0;
                }
                r = read_build(&build, stmt, list->jobs, err);
                if (r < 0)
                        return r;
                add_to_page(page, build);
                last = sqlite3_column_int64(stmt, list->seq_column);
        }
        return r;
}

static int read_list(struct store *store, struct build_page *ret, struct list *list,
                     struct error *err)
{
        size_t n;
        int r;

        build_fields(&n);
        list->seq_column = (int)n + (list->jobs ? 1 : 0);
        r = sqlite_db_read(sqlite_store(store)->state, list_rows, list, err);
        if (r < 0) {
                build_page_done(&list->page);
                return r;
        }
        *ret = list->page;
        return 0;
}

struct where {
        struct str sql;
        struct sqlite_value values[8];
        size_t n;
};

static bool is_set(const char *text)
{
        return text && *text;
}

static void add_filter(struct where *where, bool use_index, const char *column, const char *compare,
                       const char *value)
{
        if (!is_set(value))
                return;
        str_printf(&where->sql, " AND %s%s = %s", use_index ? "" : "+", column, compare);
        where->values[where->n++] = SQL_TEXT(value);
}

static void add_filters(struct where *where, const struct build_filter *filter)
{
        bool commit = is_set(filter->commit);
        bool repo = is_set(filter->repo) && !commit;
        bool branch = is_set(filter->branch) && !commit;
        bool state = is_set(filter->state) && !commit && (!branch || repo);
        bool event = is_set(filter->event) && !commit && !branch && !is_set(filter->state);

        add_filter(where, commit, "\"commit\"", "?", filter->commit);
        add_filter(where, repo, "repo_id", "(SELECT id FROM repository WHERE name = ?)",
                   filter->repo);
        add_filter(where, branch, "branch", "?", filter->branch);
        add_filter(where, state, "state", "?", filter->state);
        add_filter(where, event, "event", "?", filter->event);
}

int sqlite_builds(struct store *store, struct build_page *ret, const struct build_filter *filter,
                  struct error *err)
{
        struct where where = {.sql = STR_INIT};
        struct list list = {.limit = sqlite_limit(filter->limit)};
        int64_t before;
        int r;

        r = sqlite_cursor(&before, filter->cursor, err);
        if (r < 0)
                return r;
        if (is_set(filter->state) && state_parse(filter->state) < 0)
                return error_set(err, ERROR_INVALID,
                                 "no build has the state '%.40s': there are queued, running, "
                                 "success, failed, error, cancelled, skipped, timeout and blocked",
                                 filter->state);
        str_printf(&where.sql, "SELECT %s, seq FROM build WHERE seq < ?",
                   sqlite_store(store)->columns);
        where.values[where.n++] = SQL_INT(before);
        add_filters(&where, filter);
        str_add(&where.sql, " ORDER BY seq DESC LIMIT ?");
        where.values[where.n++] = SQL_INT(list.limit + 1);
        list.sql = where.sql.data;
        list.values = where.values;
        list.n_values = where.n;
        r = read_list(store, ret, &list, err);
        str_done(&where.sql);
        return r;
}

int sqlite_builds_unfinished(struct store *store, struct build_page *ret, struct error *err)
{
        scoped_text char *sql =
                text_format("SELECT %s, jobs, seq FROM build WHERE unfinished = 1 ORDER BY seq",
                            sqlite_store(store)->columns);
        struct list list = {.sql = sql, .jobs = true};

        return read_list(store, ret, &list, err);
}

_Static_assert(STATE_BLOCKED + 1 == STORE_STATES, "one count for each state");

/* The index of states alone is read, not the rows. */
static int count_states(struct sqlite_conn *conn, void *data, struct error *err)
{
        int64_t *counts = data;
        scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
        int r;

        memset(counts, 0, STORE_STATES * sizeof(*counts));
        r = sqlite_query(conn, &stmt, "SELECT state, count(*) FROM build GROUP BY state", SQL_NONE,
                         err);
        while (r >= 0 && (r = sqlite_next(conn, stmt, err)) > 0) {
                int state = state_parse((const char *)sqlite3_column_text(stmt, 0));

                if (state >= 0)
                        counts[state] = sqlite3_column_int64(stmt, 1);
        }
        return r;
}

int sqlite_build_counts(struct store *store, int64_t ret[STORE_STATES], struct error *err)
{
        int64_t counts[STORE_STATES];
        int r = sqlite_db_read(sqlite_store(store)->state, count_states, counts, err);

        if (r == 0)
                memcpy(ret, counts, sizeof(counts));
        return r;
}

struct previous {
        char *ret;
        const char *repo;
        const char *branch;
        int64_t before;
};

static int read_previous(struct sqlite_conn *conn, void *data, struct error *err)
{
        const struct previous *previous = data;
        scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
        int r;

        r = sqlite_query(conn, &stmt,
                         "SELECT state FROM build "
                         "WHERE repo_id = (SELECT id FROM repository WHERE name = ?) "
                         "AND branch = ? AND +number < ? "
                         "AND +state IN ('success', 'failed', 'error', 'timeout') "
                         "ORDER BY seq DESC LIMIT 1",
                         SQL_VALUES(SQL_TEXT(previous->repo), SQL_TEXT(previous->branch),
                                    SQL_INT(previous->before)),
                         err);
        if (r == 0)
                r = sqlite_next(conn, stmt, err);
        if (r > 0)
                snprintf(previous->ret, 16, "%s", (const char *)sqlite3_column_text(stmt, 0));
        return r < 0 ? r : 0;
}

int sqlite_build_previous_state(struct store *store, char ret[16], const char *repo,
                                const char *branch, int64_t before_number, struct error *err)
{
        char state[16] = "";
        struct previous previous = {state, repo, branch, before_number};
        int r;

        r = sqlite_db_read(sqlite_store(store)->state, read_previous, &previous, err);
        if (r == 0)
                memcpy(ret, state, sizeof(state));
        return r;
}
