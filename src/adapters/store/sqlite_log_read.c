/*
 * Windows of lines and ranges of bytes. The chunk where a window begins is found by halving the
 * range of seq: within a log, lines and offsets rise with it, so no index of their own is needed.
 *
 * A hole in seq is a message that is late or lost. While it may still come (GAP_PATIENCE_MS), a
 * window ends before the hole, so that a follower does not pass it by; after that the hole is
 * shown: one line of ours, and as many bytes as are missing, so that everything behind keeps its
 * place.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/store/sqlite_store.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"

#include "base/banned.h"

#define GAP_PATIENCE_MS 2000
#define WINDOW_LINES_MAX 100000
#define WINDOW_BYTES_MAX (16 * 1024 * 1024)

#define KEY_LINE 1
#define KEY_OFFSET 2

struct log_row {
        int64_t id;
        int64_t lines;
        int64_t bytes;
        int64_t last_seq;
        bool ended; /* and nothing that is missing can still come */
};

/* A log that nothing was stored of has id 0. */
static int read_log(struct sqlite_conn *conn, struct log_row *ret, const char *job_id, int attempt,
                    struct error *err)
{
        scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
        int64_t ended_at;
        int64_t chunks;
        int r;

        *ret = (struct log_row){0};
        r = sqlite_query(conn, &stmt,
                         "SELECT id, lines, bytes, last_seq, chunks, ended_at FROM log "
                         "WHERE job_id = ? AND attempt = ? AND scope = ''",
                         SQL_VALUES(SQL_TEXT(job_id), SQL_INT(attempt)), err);
        if (r == 0)
                r = sqlite_next(conn, stmt, err);
        if (r <= 0)
                return r;
        ret->id = sqlite3_column_int64(stmt, 0);
        ret->lines = sqlite3_column_int64(stmt, 1);
        ret->bytes = sqlite3_column_int64(stmt, 2);
        ret->last_seq = sqlite3_column_int64(stmt, 3);
        chunks = sqlite3_column_int64(stmt, 4);
        ended_at = sqlite3_column_int64(stmt, 5);
        ret->ended =
                ended_at && (chunks == ret->last_seq || wall_ms() - ended_at > GAP_PATIENCE_MS);
        return 0;
}

/* The newest chunk with seq <= *seq; Return: 1 found (with its key), 0 there is none. */
static int probe(struct sqlite_conn *conn, int64_t log, int64_t *seq, int64_t *ret_key, int key,
                 struct error *err)
{
        scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
        int r;

        r = sqlite_query(conn, &stmt,
                         "SELECT seq, first_line, offset FROM entry "
                         "WHERE log = ? AND seq <= ? AND seq > 0 ORDER BY seq DESC LIMIT 1",
                         SQL_VALUES(SQL_INT(log), SQL_INT(*seq)), err);
        if (r == 0)
                r = sqlite_next(conn, stmt, err);
        if (r > 0) {
                *seq = sqlite3_column_int64(stmt, 0);
                *ret_key = sqlite3_column_int64(stmt, key);
        }
        return r;
}

/* The seq of the last chunk whose key is at most the value; 1 when there is none. */
static int locate(struct sqlite_conn *conn, const struct log_row *log, int key, int64_t value,
                  int64_t *ret_seq, struct error *err)
{
        int64_t low = 1;
        int64_t high = log->last_seq;

        *ret_seq = 1;
        while (low <= high) {
                int64_t middle = low + (high - low + 1) / 2;
                int64_t seq = middle;
                int64_t found = 0;
                int r = probe(conn, log->id, &seq, &found, key, err);

                if (r < 0)
                        return r;
                if (r > 0 && found > value) {
                        high = seq - 1;
                        continue;
                }
                if (r > 0)
                        *ret_seq = seq;
                low = middle + 1;
        }
        return 0;
}

static int chunks_from(struct sqlite_conn *conn, sqlite3_stmt **ret, int64_t log, int64_t seq,
                       struct error *err)
{
        return sqlite_query(conn, ret,
                            "SELECT first_line, lines, offset, ms, stream, step, received, bytes "
                            "FROM entry WHERE log = ? AND seq >= ? AND seq > 0 ORDER BY seq",
                            SQL_VALUES(SQL_INT(log), SQL_INT(seq)), err);
}

/* Whether what is missing before this chunk may still come. */
static bool is_fresh(const struct log_row *log, sqlite3_stmt *stmt)
{
        return !log->ended && wall_ms() - sqlite3_column_int64(stmt, 6) < GAP_PATIENCE_MS;
}

struct window {
        const char *job_id;
        int attempt;
        int64_t next; /* the line wanted next */
        size_t most;
        size_t bytes;
        size_t room;
        struct log_window *ret;
};

static void add_line(struct window *window, const struct log_line *line)
{
        struct log_window *ret = window->ret;
        struct log_line *copy;

        if (ret->n == window->room) {
                window->room = window->room ? window->room * 2 : 64;
                copy = arena_alloc(ret->arena, window->room * sizeof(*copy));
                if (ret->n)
                        memcpy(copy, ret->lines, ret->n * sizeof(*copy));
                ret->lines = copy;
        }
        copy = &ret->lines[ret->n++];
        *copy = *line;
        copy->text = arena_copy_n(ret->arena, line->text, line->n);
        window->bytes += line->n;
}

static bool is_full(const struct window *window)
{
        return window->ret->n == window->most || window->bytes >= WINDOW_BYTES_MAX;
}

static void add_gap(struct window *window, int64_t until, int64_t ms)
{
        int64_t n = until - window->next;
        struct log_line line = {
                .number = window->next,
                .ms = ms,
                .step = -1,
                .text = arena_format(window->ret->arena, "[%lld line%s missing]", (long long)n,
                                     n == 1 ? "" : "s"),
        };

        line.n = strlen(line.text);
        add_line(window, &line);
        window->next = until;
}

static void add_chunk(struct window *window, sqlite3_stmt *stmt)
{
        const char *bytes = sqlite3_column_blob(stmt, 7);
        const char *end = bytes + sqlite3_column_bytes(stmt, 7);
        int64_t number = sqlite3_column_int64(stmt, 0);
        int64_t last = number + sqlite3_column_int64(stmt, 1) - 1;

        for (; bytes < end && number <= last && !is_full(window); number++) {
                const char *newline = memchr(bytes, '\n', (size_t)(end - bytes));
                struct log_line line = {
                        .number = number,
                        .ms = sqlite3_column_int64(stmt, 3),
                        .stream = sqlite3_column_int(stmt, 4),
                        .step = sqlite3_column_int(stmt, 5),
                        .text = bytes,
                        .n = (size_t)((newline ? newline : end) - bytes),
                };

                bytes = newline ? newline + 1 : end;
                if (number < window->next)
                        continue;
                add_line(window, &line);
                window->next = number + 1;
        }
}

static int fill_window(struct sqlite_conn *conn, struct window *window, const struct log_row *log,
                       int64_t seq, struct error *err)
{
        scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
        int r;

        r = chunks_from(conn, &stmt, log->id, seq, err);
        while (r >= 0 && !is_full(window) && (r = sqlite_next(conn, stmt, err)) > 0) {
                int64_t first = sqlite3_column_int64(stmt, 0);

                if (first > window->next) {
                        if (is_fresh(log, stmt))
                                return 0;
                        add_gap(window, first, sqlite3_column_int64(stmt, 3));
                }
                add_chunk(window, stmt);
        }
        if (r < 0)
                return r;
        window->ret->ended = r == 0 && log->ended && !is_full(window);
        if (is_full(window))
                window->ret->ended = log->ended && window->next > log->lines;
        return 0;
}

static int read_window(struct sqlite_conn *conn, void *data, struct error *err)
{
        struct window *window = data;
        struct log_row log;
        int64_t seq;
        int r;

        r = read_log(conn, &log, window->job_id, window->attempt, err);
        if (r < 0 || log.id == 0)
                return r;
        r = locate(conn, &log, KEY_LINE, window->next, &seq, err);
        return r < 0 ? r : fill_window(conn, window, &log, seq, err);
}

int sqlite_log_lines(struct store *store, struct log_window *ret, const char *job_id, int attempt,
                     int64_t from, int64_t n, struct error *err)
{
        struct log_window lines = {.arena = arena_new()};
        struct window window = {
                .job_id = job_id, .attempt = attempt, .next = from < 1 ? 1 : from, .ret = &lines};
        int r;

        if (n < 1)
                n = 1;
        window.most = (size_t)(n < WINDOW_LINES_MAX ? n : WINDOW_LINES_MAX);
        r = sqlite_db_read(sqlite_store(store)->logs, read_window, &window, err);
        if (r < 0) {
                log_window_done(&lines);
                return r;
        }
        *ret = lines;
        return 0;
}

struct range {
        const char *job_id;
        int attempt;
        int64_t next; /* the offset wanted next */
        char *bytes;
        size_t room;
        size_t n;
};

static void add_bytes(struct range *range, const char *bytes, size_t n)
{
        if (n > range->room - range->n)
                n = range->room - range->n;
        memcpy(range->bytes + range->n, bytes, n);
        range->n += n;
        range->next += (int64_t)n;
}

/* Exactly as many bytes as are missing, so that every offset behind stays true. The words stand at
 * the beginning of what is asked for, when there is room. */
static void add_hole(struct range *range, int64_t until)
{
        char words[64];
        int64_t missing = until - range->next;
        int n = snprintf(words, sizeof(words), "[%lld bytes missing]", (long long)missing);

        if (n < missing)
                add_bytes(range, words, (size_t)n);
        while (range->next < until && range->n < range->room)
                add_bytes(range, range->next == until - 1 ? "\n" : " ", 1);
}

static int fill_range(struct sqlite_conn *conn, struct range *range, const struct log_row *log,
                      int64_t seq, struct error *err)
{
        scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
        int r;

        r = chunks_from(conn, &stmt, log->id, seq, err);
        while (r >= 0 && range->n < range->room && (r = sqlite_next(conn, stmt, err)) > 0) {
                const char *bytes = sqlite3_column_blob(stmt, 7);
                int64_t n = sqlite3_column_bytes(stmt, 7);
                int64_t offset = sqlite3_column_int64(stmt, 2);
                int64_t skip;

                if (n == 0)
                        continue;
                if (offset > range->next) {
                        if (is_fresh(log, stmt))
                                return 0;
                        add_hole(range, offset);
                }
                skip = range->next - offset;
                if (skip >= 0 && skip < n)
                        add_bytes(range, bytes + skip, (size_t)(n - skip));
        }
        return r < 0 ? r : 0;
}

static int read_range(struct sqlite_conn *conn, void *data, struct error *err)
{
        struct range *range = data;
        struct log_row log;
        int64_t seq;
        int r;

        range->n = 0;
        r = read_log(conn, &log, range->job_id, range->attempt, err);
        if (r < 0 || log.id == 0 || range->next >= log.bytes)
                return r;
        r = locate(conn, &log, KEY_OFFSET, range->next, &seq, err);
        return r < 0 ? r : fill_range(conn, range, &log, seq, err);
}

int sqlite_log_bytes(struct store *store, char *bytes, size_t n, size_t *ret_n, const char *job_id,
                     int attempt, int64_t offset, struct error *err)
{
        struct range range = {
                .job_id = job_id, .attempt = attempt, .next = offset, .bytes = bytes, .room = n};
        int r;

        if (offset < 0)
                return error_set(err, ERROR_INVALID, "a range cannot begin at %lld",
                                 (long long)offset);
        r = sqlite_db_read(sqlite_store(store)->logs, read_range, &range, err);
        if (r == 0)
                *ret_n = range.n;
        return r;
}

struct stats_of {
        const char *job_id;
        int attempt;
        struct log_row log;
};

static int read_stats(struct sqlite_conn *conn, void *data, struct error *err)
{
        struct stats_of *stats = data;

        return read_log(conn, &stats->log, stats->job_id, stats->attempt, err);
}

int sqlite_log_stats(struct store *store, struct log_stats *ret, const char *job_id, int attempt,
                     struct error *err)
{
        struct stats_of stats = {.job_id = job_id, .attempt = attempt};
        int r = sqlite_db_read(sqlite_store(store)->logs, read_stats, &stats, err);

        if (r < 0)
                return r;
        *ret = (struct log_stats){
                .lines = stats.log.lines,
                .bytes = stats.log.bytes,
                .last_seq = stats.log.last_seq,
                .ended = stats.log.ended,
        };
        return 0;
}
