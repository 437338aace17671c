#pragma once
/*
 * conn - one SQLite connection with its prepared statements, and errors that people understand
 *
 * A connection belongs to one thread at a time. Statements are prepared once per connection and
 * found again by their text; a statement in use is a scoped variable that is reset when its scope
 * ends (an UPDATE … RETURNING that is not reset holds the write lock).
 *
 *         scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
 *
 *         r = sqlite_query(conn, &stmt, "SELECT a FROM t WHERE b = ?", SQL_VALUES(SQL_INT(7)),
 * err); while (r == 0 && (r = sqlite_next(conn, stmt, err)) > 0) use(sqlite3_column_int64(stmt,
 * 0));
 */
#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scoped.h"

struct arena;
struct error;
struct sqlite_conn;

/** struct sqlite_value - one value to bind; @text: NULL binds NULL; bytes are borrowed */
struct sqlite_value {
        char type; /* i, t, b */
        int64_t number;
        const char *text;
        size_t n;
};

#define SQL_INT(value) ((struct sqlite_value){.type = 'i', .number = (value)})
#define SQL_TEXT(value) ((struct sqlite_value){.type = 't', .text = (value)})
#define SQL_BYTES(bytes, size) ((struct sqlite_value){.type = 'b', .text = (bytes), .n = (size)})
/* The two arguments (array, count) that sqlite_query() and sqlite_run() take. */
#define SQL_VALUES(...)                             \
        (const struct sqlite_value[]){__VA_ARGS__}, \
                sizeof((const struct sqlite_value[]){__VA_ARGS__}) / sizeof(struct sqlite_value)
#define SQL_NONE NULL, 0

static inline void sqlite_stmt_freep(sqlite3_stmt **stmt)
{
        if (*stmt) {
                sqlite3_reset(*stmt);
                sqlite3_clear_bindings(*stmt);
        }
}

enum sqlite_mode {
        SQLITE_MODE_WRITE, /* the one connection of its file that writes and checkpoints */
        SQLITE_MODE_READ,  /* reads only, never checkpoints */
};

/** sqlite_conn_open() - @page_size: of a file that does not exist yet; 0: SQLite's default */
int sqlite_conn_open(struct sqlite_conn **ret, const char *path, enum sqlite_mode mode,
                     int page_size, struct error *err);
void sqlite_conn_close(struct sqlite_conn *conn);
sqlite3 *sqlite_conn_handle(struct sqlite_conn *conn);

/** sqlite_query() - a statement with its values bound, at its start; *ret must be NULL before */
int sqlite_query(struct sqlite_conn *conn, sqlite3_stmt **ret, const char *sql,
                 const struct sqlite_value *values, size_t n, struct error *err);
/** sqlite_next() - Return: 1 there is a row, 0 there is none left, -kind */
int sqlite_next(struct sqlite_conn *conn, sqlite3_stmt *stmt, struct error *err);
/** sqlite_run() - a statement without rows; Return: how many rows it changed, or -kind */
int sqlite_run(struct sqlite_conn *conn, const char *sql, const struct sqlite_value *values,
               size_t n, struct error *err);
/** sqlite_get_int() - the first column of the first row; Return: 1, 0 when there is no row, -kind
 */
int sqlite_get_int(struct sqlite_conn *conn, int64_t *ret, const char *sql,
                   const struct sqlite_value *values, size_t n, struct error *err);
/** sqlite_script() - several statements without values or rows */
int sqlite_script(struct sqlite_conn *conn, const char *sql, struct error *err);

/** sqlite_failed() - the connection's last error as ours; Return: -kind */
int sqlite_failed(struct sqlite_conn *conn, int code, struct error *err);

/** sqlite_text() - a column as text in the arena; NULL becomes "" */
const char *sqlite_text(struct arena *arena, sqlite3_stmt *stmt, int column);
