/*
 * Appending. The row of an attempt's log is read once for a run of entries of the same attempt and
 * written back at the run's end, however many entries that were.
 */
#include <stdlib.h>
#include <string.h>

#include "adapters/store/sqlite_store.h"
#include "base/clock.h"
#include "base/str.h"
#include "wire/log_entry.h"

#include "base/banned.h"

/* The log that the entries at hand belong to; id 0: none is open. Texts are borrowed. */
struct open_log {
        int64_t id;
        const char *job_id;
        int attempt;
        const char *scope;
        const char *build_id;
        int64_t lines;
        int64_t bytes;
        int64_t last_seq;
        int64_t chunks;
        int64_t ended_at;
};

static const char *scope_of(const struct log_entry *entry)
{
        return *text_or(entry->job_id, "") ? "" : text_or(entry->build_id, "");
}

static bool belongs_to(const struct open_log *log, const struct log_entry *entry)
{
        return log->id && log->attempt == entry->attempt &&
               strcmp(log->job_id, text_or(entry->job_id, "")) == 0 &&
               strcmp(log->scope, scope_of(entry)) == 0;
}

static int close_log(struct sqlite_conn *conn, struct open_log *log, int64_t now, struct error *err)
{
        int r;

        if (!log->id)
                return 0;
        r = sqlite_run(conn,
                       "UPDATE log SET lines = ?, bytes = ?, last_seq = ?, chunks = ?, "
                       "ended_at = ?, touched_at = ?, "
                       "build_id = CASE build_id WHEN '' THEN ? ELSE build_id END WHERE id = ?",
                       SQL_VALUES(SQL_INT(log->lines), SQL_INT(log->bytes), SQL_INT(log->last_seq),
                                  SQL_INT(log->chunks), SQL_INT(log->ended_at), SQL_INT(now),
                                  SQL_TEXT(log->build_id), SQL_INT(log->id)),
                       err);
        log->id = 0;
        return r < 0 ? r : 0;
}

static int find_log(struct sqlite_conn *conn, struct open_log *log, struct error *err)
{
        scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
        int r;

        r = sqlite_query(
                conn, &stmt,
                "SELECT id, lines, bytes, last_seq, chunks, ended_at FROM log "
                "WHERE job_id = ? AND attempt = ? AND scope = ?",
                SQL_VALUES(SQL_TEXT(log->job_id), SQL_INT(log->attempt), SQL_TEXT(log->scope)),
                err);
        if (r == 0)
                r = sqlite_next(conn, stmt, err);
        if (r <= 0)
                return r;
        log->id = sqlite3_column_int64(stmt, 0);
        log->lines = sqlite3_column_int64(stmt, 1);
        log->bytes = sqlite3_column_int64(stmt, 2);
        log->last_seq = sqlite3_column_int64(stmt, 3);
        log->chunks = sqlite3_column_int64(stmt, 4);
        log->ended_at = sqlite3_column_int64(stmt, 5);
        return 1;
}

static int open_log(struct sqlite_conn *conn, struct open_log *log, const struct log_entry *entry,
                    int64_t now, struct error *err)
{
        int r;

        *log = (struct open_log){
                .job_id = text_or(entry->job_id, ""),
                .attempt = entry->attempt,
                .scope = scope_of(entry),
                .build_id = text_or(entry->build_id, ""),
        };
        r = find_log(conn, log, err);
        if (r != 0)
                return r < 0 ? r : 0;
        r = sqlite_run(conn,
                       "INSERT INTO log (job_id, attempt, scope, build_id, lines, bytes, last_seq, "
                       "chunks, ended_at, touched_at) VALUES (?, ?, ?, ?, 0, 0, 0, 0, 0, ?)",
                       SQL_VALUES(SQL_TEXT(log->job_id), SQL_INT(log->attempt),
                                  SQL_TEXT(log->scope), SQL_TEXT(log->build_id), SQL_INT(now)),
                       err);
        if (r < 0)
                return r;
        log->id = sqlite3_last_insert_rowid(sqlite_conn_handle(conn));
        return 0;
}

/* Return: 1 it is new, 0 it was there, -kind. */
static int insert_entry(struct sqlite_conn *conn, const struct open_log *log,
                        const struct log_entry *entry, int64_t now, struct error *err)
{
        bool output = entry->seq > 0;
        const char *uid = output || !*text_or(entry->id, "") ? NULL : entry->id;

        return sqlite_run(
                conn,
                "INSERT OR IGNORE INTO entry (log, seq, at, received, service, severity, "
                "step, stream, first_line, lines, offset, ms, ended, uid, context, bytes)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                SQL_VALUES(SQL_INT(log->id), SQL_INT(entry->seq), SQL_INT(entry->timestamp_ns),
                           SQL_INT(now), SQL_TEXT(text_or(entry->service, "")),
                           SQL_INT(entry->severity), SQL_INT(entry->step), SQL_INT(entry->stream),
                           SQL_INT(entry->first_line), SQL_INT(entry->lines),
                           SQL_INT(entry->offset), SQL_INT(entry->ms), SQL_INT(entry->ended),
                           SQL_TEXT(uid), SQL_TEXT(output ? NULL : entry->context),
                           SQL_BYTES(entry->bytes, entry->n)),
                err);
}

static void account(struct open_log *log, const struct log_entry *entry, int64_t now)
{
        int64_t last_line = entry->first_line + entry->lines - 1;
        int64_t end = entry->offset + (int64_t)entry->n;

        if (entry->seq < 1)
                return;
        log->chunks++;
        if (entry->lines > 0 && last_line > log->lines)
                log->lines = last_line;
        if (entry->n > 0 && end > log->bytes)
                log->bytes = end;
        if (entry->seq > log->last_seq)
                log->last_seq = entry->seq;
        if (entry->ended)
                log->ended_at = now;
}

struct append {
        const struct log_entry *entries;
        size_t n;
};

static int append(struct sqlite_conn *conn, void *data, struct error *err)
{
        const struct append *append = data;
        struct open_log log = {0};
        int64_t now = wall_ms();
        int r = 0;

        for (size_t i = 0; i < append->n; i++) {
                const struct log_entry *entry = &append->entries[i];

                if (!belongs_to(&log, entry)) {
                        r = close_log(conn, &log, now, err);
                        if (r == 0)
                                r = open_log(conn, &log, entry, now, err);
                }
                if (r == 0)
                        r = insert_entry(conn, &log, entry, now, err);
                if (r < 0)
                        return r;
                if (r > 0)
                        account(&log, entry, now);
                r = 0;
        }
        return close_log(conn, &log, now, err);
}

int sqlite_log_append(struct store *store, const struct log_entry *entries, size_t n,
                      struct error *err)
{
        struct append append_all = {.entries = entries, .n = n};
        int r;

        if (n == 0)
                return 0;
        r = sqlite_store_write(sqlite_store(store)->logs, append, &append_all, err);
        if (r < 0)
                error_wrap(err, "store %zu log entries", n);
        return r;
}
