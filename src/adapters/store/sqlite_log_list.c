/*
 * Log entries of services and steps, newest first. First the ids, then the rows: a filter by job or
 * build takes the newest of each of its logs and merges them; without one, the newest ids come from
 * the index of the rarest filter. Ids rise with arrival, so a time is found by halving too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/store/sqlite_store.h"
#include "base/arena.h"
#include "base/str.h"
#include "wire/log_entry.h"

#include "base/banned.h"

#define PAGE_BYTES_MAX (4 * 1024 * 1024)
#define LOGS_MAX 4096

struct id_list {
        int64_t *ids;
        size_t n;
        size_t room;
};

static void add_id(struct id_list *list, int64_t id)
{
        if (list->n == list->room) {
                list->room = list->room ? list->room * 2 : 64;
                list->ids = xrealloc(list->ids, list->room * sizeof(*list->ids));
        }
        list->ids[list->n++] = id;
}

static int newest_first(const void *a, const void *b)
{
        int64_t x = *(const int64_t *)a;
        int64_t y = *(const int64_t *)b;

        return (x < y) - (x > y);
}

struct query {
        const struct log_filter *filter;
        int severity; /* -1: all */
        int64_t before;
        int64_t first; /* the first id that can be new enough */
        int64_t limit;
        struct log_page *page;
};

static bool is_set(const char *text)
{
        return text && *text;
}

static int collect(struct sqlite_conn *conn, struct id_list *list, const char *sql,
                   const struct sqlite_value *values, size_t n, struct error *err)
{
        scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
        int r;

        r = sqlite_query(conn, &stmt, sql, values, n, err);
        while (r >= 0 && (r = sqlite_next(conn, stmt, err)) > 0)
                add_id(list, sqlite3_column_int64(stmt, 0));
        return r;
}

static int find_logs(struct sqlite_conn *conn, const struct log_filter *filter,
                     struct id_list *logs, struct error *err)
{
        if (is_set(filter->job_id))
                return collect(conn, logs,
                               "SELECT id FROM log WHERE job_id = ?1 "
                               "AND (?2 = '' OR build_id = ?2) LIMIT ?3",
                               SQL_VALUES(SQL_TEXT(filter->job_id),
                                          SQL_TEXT(text_or(filter->build_id, "")),
                                          SQL_INT(LOGS_MAX)),
                               err);
        return collect(conn, logs, "SELECT id FROM log WHERE build_id = ? LIMIT ?",
                       SQL_VALUES(SQL_TEXT(filter->build_id), SQL_INT(LOGS_MAX)), err);
}

/* @log: 0 for all logs. The partial index of severities knows warnings and errors only. */
static int collect_ids(struct sqlite_conn *conn, const struct query *query, int64_t log,
                       struct id_list *ids, struct error *err)
{
        bool rare = query->severity >= LOG_WARNING && !log;
        bool service = is_set(query->filter->service);
        scoped_str struct str sql = STR_INIT;
        struct sqlite_value values[8];
        size_t n = 0;

        str_add(&sql, "SELECT id FROM entry WHERE id < ? AND id >= ? AND at >= ?");
        values[n++] = SQL_INT(query->before);
        values[n++] = SQL_INT(query->first);
        values[n++] = SQL_INT(query->filter->since_ms * 1000000);
        if (log) {
                str_add(&sql, " AND log = ?");
                values[n++] = SQL_INT(log);
        }
        if (query->severity >= 0) {
                str_printf(&sql,
                           rare ? " AND severity = ? AND severity >= 2" : " AND +severity = ?");
                values[n++] = SQL_INT(query->severity);
        }
        if (service) {
                str_printf(&sql, rare || log ? " AND +service = ?" : " AND service = ?");
                values[n++] = SQL_TEXT(query->filter->service);
        }
        str_add(&sql, " ORDER BY id DESC LIMIT ?");
        values[n++] = SQL_INT(query->limit + 1);
        return collect(conn, ids, sql.data, values, n, err);
}

/* The first id that was received at or after since_ms. */
static int find_first(struct sqlite_conn *conn, struct query *query, struct error *err)
{
        int64_t low = 1;
        int64_t high = 0;
        int r;

        query->first = 0;
        if (query->filter->since_ms <= 0)
                return 0;
        r = sqlite_get_int(conn, &high, "SELECT max(id) FROM entry", SQL_NONE, err);
        while (r >= 0 && low <= high) {
                int64_t middle = low + (high - low) / 2;
                int64_t fresh = 1;

                r = sqlite_get_int(conn, &fresh,
                                   "SELECT received >= ? FROM entry WHERE id >= ? "
                                   "ORDER BY id LIMIT 1",
                                   SQL_VALUES(SQL_INT(query->filter->since_ms), SQL_INT(middle)),
                                   err);
                if (fresh)
                        high = middle - 1;
                else
                        low = middle + 1;
        }
        query->first = low;
        return r < 0 ? r : 0;
}

static const char *encode_row(struct arena *arena, sqlite3_stmt *stmt)
{
        scoped_str struct str text = STR_INIT;
        struct log_entry entry = {
                .job_id = (const char *)sqlite3_column_text(stmt, 1),
                .attempt = sqlite3_column_int(stmt, 2),
                .build_id = (const char *)sqlite3_column_text(stmt, 3),
                .seq = sqlite3_column_int64(stmt, 4),
                .timestamp_ns = sqlite3_column_int64(stmt, 5),
                .service = (const char *)sqlite3_column_text(stmt, 6),
                .severity = (enum log_severity)sqlite3_column_int(stmt, 7),
                .step = sqlite3_column_int(stmt, 8),
                .stream = (enum log_stream)sqlite3_column_int(stmt, 9),
                .first_line = sqlite3_column_int64(stmt, 10),
                .lines = sqlite3_column_int64(stmt, 11),
                .offset = sqlite3_column_int64(stmt, 12),
                .ms = sqlite3_column_int64(stmt, 13),
                .ended = sqlite3_column_int(stmt, 14),
                .id = (const char *)sqlite3_column_text(stmt, 15),
                .context = (const char *)sqlite3_column_text(stmt, 16),
                .bytes = sqlite3_column_blob(stmt, 17),
                .n = (size_t)sqlite3_column_bytes(stmt, 17),
        };

        if (entry.seq > 0)
                entry.id = arena_format(arena, "%s/%d/%lld", entry.job_id, entry.attempt,
                                        (long long)entry.seq);
        log_entry_encode(&entry, &text);
        return arena_copy_n(arena, text.data, text.len);
}

static int add_row(struct sqlite_conn *conn, struct log_page *page, int64_t id, size_t *bytes,
                   struct error *err)
{
        scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
        int r;

        r = sqlite_query(conn, &stmt,
                         "SELECT e.id, l.job_id, l.attempt, l.build_id, e.seq, e.at, e.service, "
                         "e.severity, e.step, e.stream, e.first_line, e.lines, e.offset, e.ms, "
                         "e.ended, e.uid, e.context, e.bytes "
                         "FROM entry e JOIN log l ON l.id = e.log WHERE e.id = ?",
                         SQL_VALUES(SQL_INT(id)), err);
        if (r == 0)
                r = sqlite_next(conn, stmt, err);
        if (r <= 0)
                return r;
        page->entries[page->n] = encode_row(page->arena, stmt);
        *bytes += strlen(page->entries[page->n++]);
        return 0;
}

static int read_rows(struct sqlite_conn *conn, const struct query *query, const struct id_list *ids,
                     struct error *err)
{
        struct log_page *page = query->page;
        size_t most = (size_t)query->limit;
        size_t bytes = 0;
        size_t i;

        page->entries = arena_alloc(page->arena, most * sizeof(*page->entries));
        for (i = 0; i < ids->n && i < most && bytes < PAGE_BYTES_MAX; i++) {
                int r = add_row(conn, page, ids->ids[i], &bytes, err);

                if (r < 0)
                        return r;
        }
        if (i < ids->n)
                snprintf(page->next, sizeof(page->next), "%lld", (long long)ids->ids[i - 1]);
        return 0;
}

static int collect_all(struct sqlite_conn *conn, const struct query *query, struct id_list *ids,
                       struct error *err)
{
        struct id_list logs = {0};
        int r = 0;

        if (!is_set(query->filter->job_id) && !is_set(query->filter->build_id))
                return collect_ids(conn, query, 0, ids, err);
        r = find_logs(conn, query->filter, &logs, err);
        for (size_t i = 0; r >= 0 && i < logs.n; i++)
                r = collect_ids(conn, query, logs.ids[i], ids, err);
        free(logs.ids);
        if (ids->n)
                qsort(ids->ids, ids->n, sizeof(*ids->ids), newest_first);
        return r;
}

static int run_query(struct sqlite_conn *conn, void *data, struct error *err)
{
        struct query *query = data;
        struct id_list ids = {0};
        int r;

        r = find_first(conn, query, err);
        if (r == 0)
                r = collect_all(conn, query, &ids, err);
        if (r == 0)
                r = read_rows(conn, query, &ids, err);
        free(ids.ids);
        return r;
}

static int parse_severity(int *ret, const char *word, struct error *err)
{
        *ret = -1;
        if (!is_set(word))
                return 0;
        for (int i = LOG_DEBUG; i <= LOG_ERROR; i++) {
                if (strcmp(log_severity_name((enum log_severity)i), word) == 0) {
                        *ret = i;
                        return 0;
                }
        }
        return error_set(err, ERROR_INVALID,
                         "no entry has the severity '%.40s': there are DEBUG, INFO, WARNING and "
                         "ERROR",
                         word);
}

int sqlite_logs(struct store *store, struct log_page *ret, const struct log_filter *filter,
                struct error *err)
{
        struct log_page page = {0};
        struct query query = {
                .filter = filter, .limit = sqlite_limit(filter->limit), .page = &page};
        int r;

        r = parse_severity(&query.severity, filter->severity, err);
        if (r == 0)
                r = sqlite_cursor(&query.before, filter->cursor, err);
        if (r < 0)
                return r;
        page.arena = arena_new();
        r = sqlite_db_read(sqlite_store(store)->logs, run_query, &query, err);
        if (r < 0) {
                log_page_done(&page);
                return r;
        }
        *ret = page;
        return 0;
}
