/*
 * The journal is the webhook's, the outcome the orchestrator's: two tables with one owner each,
 * joined when they are shown.
 */
#include <stdio.h>
#include <string.h>

#include "adapters/store/sqlite_store.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"

#include "base/banned.h"

#define DUPLICATE_SIZE 72
#define COLUMNS \
        "d.seq, d.id, d.event, d.repo, d.sha256, d.received_at, d.result, d.reason, d.published, "

struct add {
        const struct delivery *delivery;
        char *duplicate_of;
};

static int find_duplicate(struct sqlite_conn *conn, const struct add *add, struct error *err)
{
        const struct delivery *delivery = add->delivery;
        scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
        int r;

        r = sqlite_query(conn, &stmt,
                         "SELECT id FROM delivery WHERE id = ?1 "
                         "UNION ALL "
                         "SELECT id FROM delivery WHERE sha256 = ?2 AND event = ?3 AND ?2 <> '' "
                         "LIMIT 1",
                         SQL_VALUES(SQL_TEXT(delivery->id), SQL_TEXT(text_or(delivery->sha256, "")),
                                    SQL_TEXT(delivery->event)),
                         err);
        if (r == 0)
                r = sqlite_next(conn, stmt, err);
        if (r > 0)
                snprintf(add->duplicate_of, DUPLICATE_SIZE, "%s",
                         (const char *)sqlite3_column_text(stmt, 0));
        return r;
}

static int add_row(struct sqlite_conn *conn, void *data, struct error *err)
{
        const struct add *add = data;
        const struct delivery *one = add->delivery;
        int r;

        r = find_duplicate(conn, add, err);
        if (r > 0)
                return error_set(err, ERROR_CONFLICT, "delivery '%s' was received before as '%s'",
                                 one->id, add->duplicate_of);
        if (r < 0)
                return r;
        r = sqlite_run(conn,
                       "INSERT INTO delivery (id, event, repo, sha256, message, received_at, "
                       "result, reason, published) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                       SQL_VALUES(SQL_TEXT(one->id), SQL_TEXT(text_or(one->event, "")),
                                  SQL_TEXT(text_or(one->repo, "")),
                                  SQL_TEXT(text_or(one->sha256, "")),
                                  SQL_TEXT(text_or(one->message, "")), SQL_INT(one->received_at),
                                  SQL_TEXT(text_or(one->result, "")),
                                  SQL_TEXT(text_or(one->reason, "")), SQL_INT(one->published)),
                       err);
        return r < 0 ? r : 0;
}

int sqlite_delivery_add(struct store *store, const struct delivery *delivery,
                        char ret_duplicate_of[72], struct error *err)
{
        char duplicate_of[DUPLICATE_SIZE] = "";
        struct add add = {.delivery = delivery, .duplicate_of = duplicate_of};
        int r;

        if (!delivery->id || !*delivery->id)
                return error_set(err, ERROR_INVALID, "a delivery without an id");
        if (strlen(delivery->id) >= DUPLICATE_SIZE)
                return error_set(err, ERROR_INVALID,
                                 "the id of a delivery has %zu characters, at most %d are taken",
                                 strlen(delivery->id), DUPLICATE_SIZE - 1);
        r = sqlite_store_write(sqlite_store(store)->state, add_row, &add, err);
        if (r == -ERROR_CONFLICT)
                memcpy(ret_duplicate_of, duplicate_of, DUPLICATE_SIZE);
        return r;
}

struct published {
        const char *const *ids;
        size_t n;
};

static int mark_published(struct sqlite_conn *conn, void *data, struct error *err)
{
        const struct published *published = data;

        for (size_t i = 0; i < published->n; i++) {
                int r = sqlite_run(conn, "UPDATE delivery SET published = 1 WHERE id = ?",
                                   SQL_VALUES(SQL_TEXT(published->ids[i])), err);

                if (r < 0)
                        return r;
        }
        return 0;
}

int sqlite_delivery_published(struct store *store, const char *const *ids, size_t n,
                              struct error *err)
{
        struct published published = {.ids = ids, .n = n};

        return sqlite_store_write_lazily(sqlite_store(store)->state, mark_published, &published,
                                         err);
}

static int write_outcome(struct sqlite_conn *conn, void *data, struct error *err)
{
        const struct delivery *one = data;
        int r = sqlite_run(conn,
                           "INSERT INTO delivery_outcome (delivery_id, outcome, reason, build_id, "
                           "at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (delivery_id) DO UPDATE SET "
                           "outcome = excluded.outcome, reason = excluded.reason, "
                           "build_id = excluded.build_id, at = excluded.at",
                           SQL_VALUES(SQL_TEXT(one->id), SQL_TEXT(text_or(one->outcome, "")),
                                      SQL_TEXT(text_or(one->outcome_reason, "")),
                                      SQL_TEXT(text_or(one->build_id, "")), SQL_INT(wall_ms())),
                           err);

        return r < 0 ? r : 0;
}

int sqlite_delivery_outcome(struct store *store, const char *id, const char *outcome,
                            const char *reason, const char *build_id, struct error *err)
{
        struct delivery one = {
                .id = id, .outcome = outcome, .outcome_reason = reason, .build_id = build_id};

        return sqlite_store_write(sqlite_store(store)->state, write_outcome, &one, err);
}

struct read {
        struct delivery_page *page;
        int64_t limit;
        int64_t before;
        int64_t last_seq;
};

static void read_row(struct delivery_page *page, sqlite3_stmt *stmt)
{
        page->deliveries[page->n++] = (struct delivery){
                .id = sqlite_text(page->arena, stmt, 1),
                .event = sqlite_text(page->arena, stmt, 2),
                .repo = sqlite_text(page->arena, stmt, 3),
                .sha256 = sqlite_text(page->arena, stmt, 4),
                .received_at = sqlite3_column_int64(stmt, 5),
                .result = sqlite_text(page->arena, stmt, 6),
                .reason = sqlite_text(page->arena, stmt, 7),
                .published = sqlite3_column_int(stmt, 8),
                .message = sqlite_text(page->arena, stmt, 9),
                .outcome = sqlite_text(page->arena, stmt, 10),
                .outcome_reason = sqlite_text(page->arena, stmt, 11),
                .build_id = sqlite_text(page->arena, stmt, 12),
        };
}

static int read_unpublished(struct sqlite_conn *conn, void *data, struct error *err)
{
        struct read *read = data;
        scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
        int r;

        r = sqlite_query(conn, &stmt,
                         "SELECT " COLUMNS "d.message, '', '', '' FROM delivery d "
                         "WHERE d.published = 0 AND d.message <> '' ORDER BY d.seq LIMIT ?",
                         SQL_VALUES(SQL_INT(read->limit)), err);
        while (r >= 0 && (r = sqlite_next(conn, stmt, err)) > 0)
                read_row(read->page, stmt);
        return r;
}

/* One more than the page takes is asked for: then there is a next page. */
static int read_newest(struct sqlite_conn *conn, void *data, struct error *err)
{
        struct read *read = data;
        scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
        int r;

        r = sqlite_query(conn, &stmt,
                         "SELECT " COLUMNS "'', o.outcome, o.reason, o.build_id "
                         "FROM delivery d LEFT JOIN delivery_outcome o ON o.delivery_id = d.id "
                         "WHERE d.seq < ? ORDER BY d.seq DESC LIMIT ?",
                         SQL_VALUES(SQL_INT(read->before), SQL_INT(read->limit + 1)), err);
        while (r >= 0 && (r = sqlite_next(conn, stmt, err)) > 0) {
                if ((int64_t)read->page->n == read->limit) {
                        snprintf(read->page->next, sizeof(read->page->next), "%lld",
                                 (long long)read->last_seq);
                        return 0;
                }
                read->last_seq = sqlite3_column_int64(stmt, 0);
                read_row(read->page, stmt);
        }
        return r;
}

static int read_page(struct store *store, struct delivery_page *ret, struct read *read,
                     int (*run)(struct sqlite_conn *, void *, struct error *), struct error *err)
{
        struct delivery_page page = {.arena = arena_new()};
        int r;

        page.deliveries = arena_alloc(page.arena, (size_t)read->limit * sizeof(*page.deliveries));
        read->page = &page;
        r = sqlite_db_read(sqlite_store(store)->state, run, read, err);
        if (r < 0) {
                delivery_page_done(&page);
                return r;
        }
        *ret = page;
        return 0;
}

int sqlite_deliveries_unpublished(struct store *store, struct delivery_page *ret, int limit,
                                  struct error *err)
{
        struct read read = {.limit = sqlite_limit(limit)};

        return read_page(store, ret, &read, read_unpublished, err);
}

int sqlite_deliveries(struct store *store, struct delivery_page *ret, int limit, const char *cursor,
                      struct error *err)
{
        struct read read = {.limit = sqlite_limit(limit)};
        int r = sqlite_cursor(&read.before, cursor, err);

        return r < 0 ? r : read_page(store, ret, &read, read_newest, err);
}
