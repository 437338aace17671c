/*
 * The registry of executors, and the ledger of what was told to whom.
 */
#include <stdlib.h>
#include <string.h>

#include "adapters/store/sqlite_store.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"

#include "base/banned.h"

static int put_executor(struct sqlite_conn *conn, void *data, struct error *err)
{
        const struct executor_row *row = data;
        int r = sqlite_run(conn,
                           "INSERT OR REPLACE INTO executor (id, name, labels, engine, slots, "
                           "running, beat, seen_at, draining) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                           SQL_VALUES(SQL_TEXT(row->id), SQL_TEXT(text_or(row->name, "")),
                                      SQL_TEXT(text_or(row->labels, "")),
                                      SQL_TEXT(text_or(row->engine, "")), SQL_INT(row->slots),
                                      SQL_INT(row->running), SQL_INT(row->beat),
                                      SQL_INT(row->seen_at), SQL_INT(row->draining)),
                           err);

        return r < 0 ? r : 0;
}

int sqlite_executor_put(struct store *store, const struct executor_row *row, struct error *err)
{
        return sqlite_store_write_lazily(sqlite_store(store)->state, put_executor, (void *)row,
                                         err);
}

struct executors {
        struct executor_list *list;
        size_t room;
};

static void add_executor(struct executors *executors, sqlite3_stmt *stmt)
{
        struct executor_list *list = executors->list;
        struct executor_row *rows = list->rows;

        if (list->n == executors->room) {
                executors->room = executors->room ? executors->room * 2 : 16;
                rows = arena_alloc(list->arena, executors->room * sizeof(*rows));
                if (list->n)
                        memcpy(rows, list->rows, list->n * sizeof(*rows));
                list->rows = rows;
        }
        rows[list->n++] = (struct executor_row){
                .id = sqlite_text(list->arena, stmt, 0),
                .name = sqlite_text(list->arena, stmt, 1),
                .labels = sqlite_text(list->arena, stmt, 2),
                .engine = sqlite_text(list->arena, stmt, 3),
                .slots = sqlite3_column_int(stmt, 4),
                .running = sqlite3_column_int(stmt, 5),
                .beat = sqlite3_column_int64(stmt, 6),
                .seen_at = sqlite3_column_int64(stmt, 7),
                .draining = sqlite3_column_int(stmt, 8),
        };
}

static int list_executors(struct sqlite_conn *conn, void *data, struct error *err)
{
        struct executors executors = {.list = data};
        scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
        int r;

        r = sqlite_query(conn, &stmt,
                         "SELECT id, name, labels, engine, slots, running, beat, seen_at, draining "
                         "FROM executor ORDER BY name, id",
                         SQL_NONE, err);
        while (r >= 0 && (r = sqlite_next(conn, stmt, err)) > 0)
                add_executor(&executors, stmt);
        return r;
}

int sqlite_executors(struct store *store, struct executor_list *ret, struct error *err)
{
        struct executor_list list = {.arena = arena_new()};
        int r = sqlite_db_read(sqlite_store(store)->state, list_executors, &list, err);

        if (r < 0) {
                executor_list_done(&list);
                return r;
        }
        *ret = list;
        return 0;
}

struct mark {
        const struct ledger_key *key;
        const char *detail;
        bool found;
};

static int find_mark(struct sqlite_conn *conn, void *data, struct error *err)
{
        struct mark *mark = data;
        const struct ledger_key *key = mark->key;
        int64_t one;
        int r = sqlite_get_int(conn, &one,
                               "SELECT 1 FROM ledger WHERE build_id = ? AND round = ? "
                               "AND channel = ? AND recipient = ?",
                               SQL_VALUES(SQL_TEXT(key->build_id), SQL_INT(key->round),
                                          SQL_TEXT(key->channel), SQL_TEXT(key->recipient)),
                               err);

        mark->found = r > 0;
        return r < 0 ? r : 0;
}

int sqlite_ledger_sent(struct store *store, bool *ret, const struct ledger_key *key,
                       struct error *err)
{
        struct mark mark = {.key = key};
        int r = sqlite_db_read(sqlite_store(store)->state, find_mark, &mark, err);

        if (r == 0)
                *ret = mark.found;
        return r;
}

static int add_mark(struct sqlite_conn *conn, void *data, struct error *err)
{
        const struct mark *mark = data;
        const struct ledger_key *key = mark->key;
        int r = sqlite_run(conn,
                           "INSERT OR IGNORE INTO ledger (build_id, round, channel, recipient, "
                           "detail, sent_at) VALUES (?, ?, ?, ?, ?, ?)",
                           SQL_VALUES(SQL_TEXT(key->build_id), SQL_INT(key->round),
                                      SQL_TEXT(key->channel), SQL_TEXT(key->recipient),
                                      SQL_TEXT(text_or(mark->detail, "")), SQL_INT(wall_ms())),
                           err);

        return r < 0 ? r : 0;
}

int sqlite_ledger_mark(struct store *store, const struct ledger_key *key, const char *detail,
                       struct error *err)
{
        struct mark mark = {.key = key, .detail = detail};

        return sqlite_store_write(sqlite_store(store)->state, add_mark, &mark, err);
}
