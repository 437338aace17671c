/*
 * State in argon.db, logs in logs.db; see sqlite/db.h for how writes are grouped. A build's members
 * are columns, so that a list of builds reads no JSON.
 */
#include "adapters/store/sqlite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/sqlite/backup.h"
#include "adapters/sqlite/files.h"
#include "adapters/store/sqlite_store.h"
#include "base/clock.h"
#include "base/parse.h"
#include "base/str.h"

#include "base/banned.h"

int sqlite_cursor(int64_t *ret, const char *cursor, struct error *err)
{
        *ret = INT64_MAX;
        if (!cursor || !*cursor)
                return 0;
        if (parse_int(ret, cursor, 1, INT64_MAX, NULL) < 0)
                return error_set(err, ERROR_INVALID,
                                 "the cursor '%.40s' is none: take it from `next` of the page "
                                 "before",
                                 cursor);
        return 0;
}

static int touch(struct sqlite_conn *conn, void *data, struct error *err)
{
        const char *now = data;
        int r = sqlite_run(conn,
                           "INSERT INTO meta VALUES ('checked', ?) "
                           "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                           SQL_VALUES(SQL_TEXT(now)), err);

        return r < 0 ? r : 0;
}

static int check(struct store *store, struct error *err)
{
        scoped_text char *now = text_format("%lld", (long long)wall_ms());
        int r;

        r = sqlite_store_write(sqlite_store(store)->state, touch, now, err);
        return r < 0 ? r : sqlite_store_write(sqlite_store(store)->logs, touch, now, err);
}

static int backup(struct store *store, const char *path, struct error *err)
{
        return sqlite_backup(sqlite_store(store)->files, path, err);
}

static void close_store(struct store *store)
{
        struct sqlite_store *self = sqlite_store(store);

        free(self->columns);
        free(self->insert_build);
        free(self->update_build);
        free(self);
}

static const struct store_ops ops = {
        .delivery_add = sqlite_delivery_add,
        .delivery_published = sqlite_delivery_published,
        .deliveries_unpublished = sqlite_deliveries_unpublished,
        .delivery_outcome = sqlite_delivery_outcome,
        .deliveries = sqlite_deliveries,
        .build_insert = sqlite_build_insert,
        .build_update = sqlite_build_update,
        .build_get = sqlite_build_get,
        .build_of_job = sqlite_build_of_job,
        .build_of_number = sqlite_build_of_number,
        .build_of_delivery = sqlite_build_of_delivery,
        .builds = sqlite_builds,
        .builds_unfinished = sqlite_builds_unfinished,
        .build_counts = sqlite_build_counts,
        .build_previous_state = sqlite_build_previous_state,
        .order_put = sqlite_order_put,
        .order_get = sqlite_order_get,
        .lease_claim = sqlite_lease_claim,
        .lease_beat = sqlite_lease_beat,
        .lease_release = sqlite_lease_release,
        .leases = sqlite_leases,
        .executor_put = sqlite_executor_put,
        .executors = sqlite_executors,
        .log_append = sqlite_log_append,
        .log_lines = sqlite_log_lines,
        .log_bytes = sqlite_log_bytes,
        .log_stats = sqlite_log_stats,
        .logs = sqlite_logs,
        .ledger_sent = sqlite_ledger_sent,
        .ledger_mark = sqlite_ledger_mark,
        .retain = sqlite_retain,
        .check = check,
        .backup = backup,
        .close = close_store,
};

int store_sqlite_open(struct store **ret, const char *url, void *context, struct error *err)
{
        struct sqlite_store *store = xcalloc(1, sizeof(*store));

        store->store.ops = &ops;
        store->files = context;
        store->state = sqlite_files_state(store->files);
        store->logs = sqlite_files_logs(store->files);
        sqlite_builds_prepare(store);
        *ret = &store->store;
        return 0;
}
