/*
 * Statements are kept in a small table keyed by their text, because preparing costs ten times what
 * a simple statement costs. The oldest makes room when the table is full.
 *
 * Errors: what the administrator can mend without touching data (disk full, read-only, no
 * permission) is UNAVAILABLE, so that callers keep what they have and try again; it heals by itself
 * when the cause is gone. A damaged file is UNAVAILABLE too: a message must not be declared dead
 * because the database is ill.
 */
#include "adapters/sqlite/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"

#include "base/banned.h"

#define STATEMENTS_MAX 128
#define BUSY_MS 5000
#define WAL_KEEP_BYTES "67108864"

struct statement {
        uint64_t hash;
        uint64_t used;
        sqlite3_stmt *stmt;
};

struct sqlite_conn {
        sqlite3 *handle;
        char *path;
        uint64_t clock;
        size_t n_statements;
        struct statement statements[STATEMENTS_MAX];
};

static bool disk_is_full(sqlite3 *handle, int code)
{
        int number = handle ? sqlite3_system_errno(handle) : 0;

        if ((code & 0xff) == SQLITE_FULL)
                return true;
        if ((code & 0xff) != SQLITE_IOERR)
                return false;
        return number == ENOSPC || number == EDQUOT || code == SQLITE_IOERR_SHMSIZE;
}

static int failed(sqlite3 *handle, const char *path, int code, struct error *err)
{
        const char *text = handle ? sqlite3_errmsg(handle) : sqlite3_errstr(code);
        int number = handle ? sqlite3_system_errno(handle) : 0;

        if (disk_is_full(handle, code))
                return error_set(err, ERROR_UNAVAILABLE,
                                 "the disk of '%s' is full: make room, then work goes on by itself",
                                 path);
        switch (code & 0xff) {
        case SQLITE_CONSTRAINT:
                return error_set(err, ERROR_CONFLICT, "'%s': %s", path, text);
        case SQLITE_TOOBIG:
                return error_set(err, ERROR_LIMIT, "'%s': %s", path, text);
        case SQLITE_READONLY:
        case SQLITE_PERM:
        case SQLITE_AUTH:
                return error_set(err, ERROR_UNAVAILABLE,
                                 "'%s' cannot be written (%s): make it and its folder writable",
                                 path, text);
        case SQLITE_CANTOPEN:
                return error_set(err, ERROR_UNAVAILABLE, "cannot open '%s': %s", path,
                                 number ? strerror(number) : text);
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
                return error_set(err, ERROR_UNAVAILABLE,
                                 "'%s' is damaged (%s): put it aside and restore a backup with "
                                 "`argon restore`",
                                 path, text);
        case SQLITE_NOMEM:
                abort();
        case SQLITE_ERROR:
        case SQLITE_MISUSE:
        case SQLITE_RANGE:
        case SQLITE_MISMATCH:
                return error_set(err, ERROR_BUG, "'%s': %s", path, text);
        default:
                return error_set(err, ERROR_UNAVAILABLE, "'%s': %s%s%s", path, text,
                                 number ? ": " : "", number ? strerror(number) : "");
        }
}

int sqlite_failed(struct sqlite_conn *conn, int code, struct error *err)
{
        return failed(conn->handle, conn->path, code, err);
}

/* synchronous=FULL: a commit is on disk when it returns. A reader never checkpoints, not even when
 * it is the last to close: before 3.51.3 SQLite may lose data when two connections write and
 * checkpoint at once. */
static const char write_setup[] = "PRAGMA journal_mode=WAL;"
                                  "PRAGMA synchronous=FULL;"
                                  "PRAGMA journal_size_limit=" WAL_KEEP_BYTES ";"
                                  "PRAGMA foreign_keys=OFF;"
                                  "PRAGMA cache_size=-2000;"
                                  "PRAGMA temp_store=MEMORY";
static const char read_setup[] = "PRAGMA query_only=ON;"
                                 "PRAGMA wal_autocheckpoint=0;"
                                 "PRAGMA cache_size=-500;"
                                 "PRAGMA temp_store=MEMORY";

static int set_up(struct sqlite_conn *conn, enum sqlite_mode mode, int page_size)
{
        scoped_text char *size = text_format("PRAGMA page_size=%d", page_size);
        int code = SQLITE_OK;

        sqlite3_extended_result_codes(conn->handle, 1);
        sqlite3_busy_timeout(conn->handle, BUSY_MS);
        /* a restored file is somebody's file: nothing in its schema is run or trusted */
        sqlite3_db_config(conn->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        sqlite3_db_config(conn->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        sqlite3_db_config(conn->handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
        sqlite3_db_config(conn->handle, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
        if (mode == SQLITE_MODE_READ)
                sqlite3_db_config(conn->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        else if (page_size)
                code = sqlite3_exec(conn->handle, size, NULL, NULL, NULL);
        if (code != SQLITE_OK)
                return code;
        return sqlite3_exec(conn->handle, mode == SQLITE_MODE_WRITE ? write_setup : read_setup,
                            NULL, NULL, NULL);
}

int sqlite_conn_open(struct sqlite_conn **ret, const char *path, enum sqlite_mode mode,
                     int page_size, struct error *err)
{
        int flags = mode == SQLITE_MODE_WRITE ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
                                              : SQLITE_OPEN_READONLY;
        struct sqlite_conn *conn = xcalloc(1, sizeof(*conn));
        int code;

        conn->path = text_copy(path);
        code = sqlite3_open_v2(path, &conn->handle, flags | SQLITE_OPEN_NOMUTEX, NULL);
        if (code == SQLITE_OK)
                code = set_up(conn, mode, page_size);
        if (code != SQLITE_OK) {
                int r = failed(conn->handle, path, code, err);

                sqlite_conn_close(conn);
                return r;
        }
        *ret = conn;
        return 0;
}

void sqlite_conn_close(struct sqlite_conn *conn)
{
        if (!conn)
                return;
        for (size_t i = 0; i < conn->n_statements; i++)
                sqlite3_finalize(conn->statements[i].stmt);
        sqlite3_close(conn->handle);
        free(conn->path);
        free(conn);
}

sqlite3 *sqlite_conn_handle(struct sqlite_conn *conn)
{
        return conn->handle;
}

static uint64_t hash_text(const char *text)
{
        uint64_t hash = UINT64_C(14695981039346656037);

        for (; *text; text++)
                hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
        return hash;
}

static bool is_free(const struct statement *statement)
{
        return !sqlite3_stmt_busy(statement->stmt);
}

static struct statement *find_statement(struct sqlite_conn *conn, uint64_t hash, const char *sql)
{
        for (size_t i = 0; i < conn->n_statements; i++) {
                struct statement *one = &conn->statements[i];

                if (one->hash == hash && is_free(one) && strcmp(sqlite3_sql(one->stmt), sql) == 0)
                        return one;
        }
        return NULL;
}

/* A place for a new statement: an unused one, or that of the one longest unused. */
static struct statement *make_room(struct sqlite_conn *conn)
{
        struct statement *oldest = NULL;

        if (conn->n_statements < STATEMENTS_MAX)
                return &conn->statements[conn->n_statements++];
        for (size_t i = 0; i < conn->n_statements; i++) {
                struct statement *one = &conn->statements[i];

                if (is_free(one) && (!oldest || one->used < oldest->used))
                        oldest = one;
        }
        if (!oldest)
                abort(); /* 128 statements in use at once on one connection */
        sqlite3_finalize(oldest->stmt);
        return oldest;
}

static int prepare(struct sqlite_conn *conn, sqlite3_stmt **ret, const char *sql, struct error *err)
{
        uint64_t hash = hash_text(sql);
        struct statement *one = find_statement(conn, hash, sql);
        sqlite3_stmt *stmt = NULL;
        int code;

        if (!one) {
                code = sqlite3_prepare_v3(conn->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt,
                                          NULL);
                if (code != SQLITE_OK)
                        return sqlite_failed(conn, code, err);
                one = make_room(conn);
                one->hash = hash;
                one->stmt = stmt;
        }
        one->used = ++conn->clock;
        *ret = one->stmt;
        return 0;
}

static int bind(sqlite3_stmt *stmt, int place, const struct sqlite_value *value)
{
        if (value->type == 'i')
                return sqlite3_bind_int64(stmt, place, value->number);
        if (!value->text)
                return value->type == 'b' ? sqlite3_bind_zeroblob(stmt, place, 0)
                                          : sqlite3_bind_null(stmt, place);
        if (value->type == 't')
                return sqlite3_bind_text(stmt, place, value->text, -1, SQLITE_STATIC);
        return sqlite3_bind_blob64(stmt, place, value->text, value->n, SQLITE_STATIC);
}

int sqlite_query(struct sqlite_conn *conn, sqlite3_stmt **ret, const char *sql,
                 const struct sqlite_value *values, size_t n, struct error *err)
{
        int r = prepare(conn, ret, sql, err);

        for (size_t i = 0; r == 0 && i < n; i++) {
                int code = bind(*ret, (int)i + 1, &values[i]);

                if (code != SQLITE_OK)
                        r = sqlite_failed(conn, code, err);
        }
        return r;
}

int sqlite_next(struct sqlite_conn *conn, sqlite3_stmt *stmt, struct error *err)
{
        int code = sqlite3_step(stmt);

        if (code == SQLITE_ROW)
                return 1;
        if (code == SQLITE_DONE)
                return 0;
        return sqlite_failed(conn, code, err);
}

int sqlite_run(struct sqlite_conn *conn, const char *sql, const struct sqlite_value *values,
               size_t n, struct error *err)
{
        scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
        int r;

        r = sqlite_query(conn, &stmt, sql, values, n, err);
        if (r == 0)
                r = sqlite_next(conn, stmt, err);
        return r < 0 ? r : sqlite3_changes(conn->handle);
}

int sqlite_get_int(struct sqlite_conn *conn, int64_t *ret, const char *sql,
                   const struct sqlite_value *values, size_t n, struct error *err)
{
        scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
        int r;

        r = sqlite_query(conn, &stmt, sql, values, n, err);
        if (r == 0)
                r = sqlite_next(conn, stmt, err);
        if (r > 0)
                *ret = sqlite3_column_int64(stmt, 0);
        return r;
}

int sqlite_script(struct sqlite_conn *conn, const char *sql, struct error *err)
{
        int code = sqlite3_exec(conn->handle, sql, NULL, NULL, NULL);

        return code == SQLITE_OK ? 0 : sqlite_failed(conn, code, err);
}

const char *sqlite_text(struct arena *arena, sqlite3_stmt *stmt, int column)
{
        const unsigned char *text = sqlite3_column_text(stmt, column);

        if (!text)
                return "";
        return arena_copy_n(arena, (const char *)text, (size_t)sqlite3_column_bytes(stmt, column));
}
