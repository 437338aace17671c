/*
 * Orders and leases. A lease is taken by its first claimer and never taken over: an attempt that is
 * lost gets a successor with a number of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/store/sqlite_store.h"
#include "base/str.h"

#include "base/banned.h"

struct order_row {
        const char *job_id;
        int attempt;
        const char *bytes;
        size_t n;
        char *copy;
};

static int put_order(struct sqlite_conn *conn, void *data, struct error *err)
{
        const struct order_row *row = data;
        int r = sqlite_run(conn,
                           "INSERT OR IGNORE INTO work_order (job_id, attempt, document) "
                           "VALUES (?, ?, ?)",
                           SQL_VALUES(SQL_TEXT(row->job_id), SQL_INT(row->attempt),
                                      SQL_BYTES(row->bytes, row->n)),
                           err);

        return r < 0 ? r : 0;
}

int sqlite_order_put(struct store *store, const char *job_id, int attempt, const char *json,
                     size_t n, struct error *err)
{
        struct order_row row = {.job_id = job_id, .attempt = attempt, .bytes = json, .n = n};

        return sqlite_store_write(sqlite_store(store)->state, put_order, &row, err);
}

static int get_order(struct sqlite_conn *conn, void *data, struct error *err)
{
        struct order_row *row = data;
        scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
        int r;

        r = sqlite_query(conn, &stmt,
                         "SELECT document FROM work_order WHERE job_id = ? AND attempt = ?",
                         SQL_VALUES(SQL_TEXT(row->job_id), SQL_INT(row->attempt)), err);
        if (r == 0)
                r = sqlite_next(conn, stmt, err);
        if (r < 0)
                return r;
        if (r == 0)
                return error_set(err, ERROR_NOT_FOUND, "there is no order for attempt %d of job %s",
                                 row->attempt, row->job_id);
        row->n = (size_t)sqlite3_column_bytes(stmt, 0);
        row->copy = xcalloc(1, row->n + 1);
        if (row->n)
                memcpy(row->copy, sqlite3_column_blob(stmt, 0), row->n);
        return 0;
}

int sqlite_order_get(struct store *store, char **ret, size_t *ret_n, const char *job_id,
                     int attempt, struct error *err)
{
        struct order_row row = {.job_id = job_id, .attempt = attempt};
        int r = sqlite_db_read(sqlite_store(store)->state, get_order, &row, err);

        if (r < 0)
                return r;
        *ret = row.copy;
        *ret_n = row.n;
        return 0;
}

struct lease_key {
        const char *job_id;
        int attempt;
        const char *token;
        const char *owner;
};

struct held {
        bool there;
        bool same_token;
        bool same_owner;
        bool released;
};

static int find_lease(struct sqlite_conn *conn, const struct lease_key *key, struct held *ret,
                      struct error *err)
{
        scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
        int r;

        *ret = (struct held){0};
        r = sqlite_query(conn, &stmt,
                         "SELECT token = ?, owner = ?, released FROM lease "
                         "WHERE job_id = ? AND attempt = ?",
                         SQL_VALUES(SQL_TEXT(key->token), SQL_TEXT(text_or(key->owner, "")),
                                    SQL_TEXT(key->job_id), SQL_INT(key->attempt)),
                         err);
        if (r == 0)
                r = sqlite_next(conn, stmt, err);
        if (r <= 0)
                return r;
        ret->there = true;
        ret->same_token = sqlite3_column_int(stmt, 0);
        ret->same_owner = sqlite3_column_int(stmt, 1);
        ret->released = sqlite3_column_int(stmt, 2);
        return 0;
}

static int insert_lease(struct sqlite_conn *conn, const struct lease_key *key, bool released,
                        struct error *err)
{
        int r = sqlite_run(conn,
                           "INSERT INTO lease (job_id, attempt, token, owner, beat, released) "
                           "VALUES (?, ?, ?, ?, 0, ?)",
                           SQL_VALUES(SQL_TEXT(key->job_id), SQL_INT(key->attempt),
                                      SQL_TEXT(key->token), SQL_TEXT(text_or(key->owner, "")),
                                      SQL_INT(released)),
                           err);

        return r < 0 ? r : 0;
}

static int claim(struct sqlite_conn *conn, void *data, struct error *err)
{
        const struct lease_key *key = data;
        struct held held;
        int r;

        r = find_lease(conn, key, &held, err);
        if (r < 0)
                return r;
        if (!held.there)
                return insert_lease(conn, key, false, err);
        if (held.released)
                return error_set(err, ERROR_CONFLICT,
                                 "attempt %d of job %s has ended or was given up", key->attempt,
                                 key->job_id);
        if (!held.same_owner || !held.same_token)
                return error_set(err, ERROR_CONFLICT,
                                 "attempt %d of job %s belongs to another executor", key->attempt,
                                 key->job_id);
        return 0;
}

static int check_key(const struct lease_key *key, struct error *err)
{
        struct lease room;

        if (strlen(key->job_id) >= sizeof(room.job_id) ||
            strlen(key->token) >= sizeof(room.token) ||
            strlen(text_or(key->owner, "")) >= sizeof(room.owner))
                return error_set(err, ERROR_INVALID,
                                 "a lease's job, token or owner is longer than an id can be");
        return 0;
}

int sqlite_lease_claim(struct store *store, const char *job_id, int attempt, const char *token,
                       const char *owner, struct error *err)
{
        struct lease_key key = {job_id, attempt, token, owner};
        int r = check_key(&key, err);

        return r < 0 ? r : sqlite_store_write(sqlite_store(store)->state, claim, &key, err);
}

static int beat(struct sqlite_conn *conn, void *data, struct error *err)
{
        const char *owner = data;
        int r = sqlite_run(conn,
                           "UPDATE lease SET beat = beat + 1 WHERE owner = ? AND released = 0",
                           SQL_VALUES(SQL_TEXT(owner)), err);

        return r < 0 ? r : 0;
}

int sqlite_lease_beat(struct store *store, const char *owner, struct error *err)
{
        return sqlite_store_write_lazily(sqlite_store(store)->state, beat, (void *)owner, err);
}

/* Giving up what was never claimed leaves a mark, so that a late claim is refused. */
static int release(struct sqlite_conn *conn, void *data, struct error *err)
{
        const struct lease_key *key = data;
        struct held held;
        int r;

        r = find_lease(conn, key, &held, err);
        if (r < 0)
                return r;
        if (!held.there)
                return insert_lease(conn, key, true, err);
        if (!held.same_token)
                return error_set(err, ERROR_CONFLICT,
                                 "the lease of attempt %d of job %s has another token",
                                 key->attempt, key->job_id);
        r = sqlite_run(conn, "UPDATE lease SET released = 1 WHERE job_id = ? AND attempt = ?",
                       SQL_VALUES(SQL_TEXT(key->job_id), SQL_INT(key->attempt)), err);
        return r < 0 ? r : 0;
}

int sqlite_lease_release(struct store *store, const char *job_id, int attempt, const char *token,
                         struct error *err)
{
        struct lease_key key = {job_id, attempt, token, ""};
        int r = check_key(&key, err);

        return r < 0 ? r : sqlite_store_write(sqlite_store(store)->state, release, &key, err);
}

struct lease_list {
        const char *owner;
        struct lease *leases;
        size_t n;
};

static int list_leases(struct sqlite_conn *conn, void *data, struct error *err)
{
        struct lease_list *list = data;
        scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
        int r;

        r = sqlite_query(conn, &stmt,
                         list->owner ? "SELECT job_id, attempt, token, owner, beat FROM lease "
                                       "WHERE released = 0 AND owner = ?"
                                     : "SELECT job_id, attempt, token, owner, beat FROM lease "
                                       "WHERE released = 0 AND owner >= ''",
                         (const struct sqlite_value[]){SQL_TEXT(list->owner)}, list->owner ? 1 : 0,
                         err);
        while (r >= 0 && (r = sqlite_next(conn, stmt, err)) > 0) {
                struct lease *one;

                if (list->n % 16 == 0)
                        list->leases = xrealloc(list->leases, (list->n + 16) * sizeof(*one));
                one = &list->leases[list->n++];
                *one = (struct lease){
                        .attempt = sqlite3_column_int(stmt, 1),
                        .beat = sqlite3_column_int64(stmt, 4),
                };
                snprintf(one->job_id, sizeof(one->job_id), "%s", sqlite3_column_text(stmt, 0));
                snprintf(one->token, sizeof(one->token), "%s", sqlite3_column_text(stmt, 2));
                snprintf(one->owner, sizeof(one->owner), "%s", sqlite3_column_text(stmt, 3));
        }
        return r;
}

int sqlite_leases(struct store *store, struct lease **ret, size_t *ret_n, const char *owner,
                  struct error *err)
{
        struct lease_list list = {.owner = owner};
        int r = sqlite_db_read(sqlite_store(store)->state, list_leases, &list, err);

        if (r < 0) {
                free(list.leases);
                return r;
        }
        *ret = list.leases;
        *ret_n = list.n;
        return 0;
}
