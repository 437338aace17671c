/*
 * Removing what is old, a little per call, so that no other write waits long.
 *
 * A log goes as a whole, once nothing was added to it for so long; the endless ones of services
 * lose their oldest entries. A build goes with its jobs, orders, leases and ledger when it has
 * ended, is old, and its repository has enough newer ones.
 */
#include <stdlib.h>
#include <string.h>

#include "adapters/store/sqlite_store.h"
#include "base/clock.h"

#include "base/banned.h"

/* Of one call. A chunk has up to 64 KiB. */
#define ENTRIES_MAX 500
#define BUILDS_MAX 100
#define DELIVERIES_MAX 500

struct retain {
        const struct retention *retention;
        int64_t now;
        int64_t removed;
};

static int64_t count(int r, struct retain *retain)
{
        if (r > 0)
                retain->removed += r;
        return r;
}

static int old_log(struct sqlite_conn *conn, const struct retain *retain, int64_t *ret,
                   struct error *err)
{
        return sqlite_get_int(conn, ret,
                              "SELECT id FROM log WHERE touched_at < ? ORDER BY touched_at LIMIT 1",
                              SQL_VALUES(SQL_INT(retain->now - retain->retention->logs_ms)), err);
}

static int empty_log(struct sqlite_conn *conn, struct retain *retain, int64_t log,
                     struct error *err)
{
        int64_t left;
        int r;

        r = sqlite_run(conn,
                       "DELETE FROM entry WHERE id IN "
                       "(SELECT id FROM entry WHERE log = ? ORDER BY id LIMIT ?)",
                       SQL_VALUES(SQL_INT(log), SQL_INT(ENTRIES_MAX - retain->removed)), err);
        if (count(r, retain) < 0)
                return r;
        r = sqlite_get_int(conn, &left, "SELECT 1 FROM entry WHERE log = ? LIMIT 1",
                           SQL_VALUES(SQL_INT(log)), err);
        if (r != 0)
                return r < 0 ? r : 0;
        r = sqlite_run(conn, "DELETE FROM log WHERE id = ?", SQL_VALUES(SQL_INT(log)), err);
        return count(r, retain) < 0 ? r : 0;
}

/* Lines of services that are about no job: their log never ends. */
static int shorten_endless(struct sqlite_conn *conn, struct retain *retain, struct error *err)
{
        int r = sqlite_run(
                conn,
                "DELETE FROM entry WHERE received < ?1 AND id IN (SELECT id FROM entry "
                "WHERE log = (SELECT id FROM log WHERE job_id = '' AND attempt = 0 AND "
                "scope = '') ORDER BY id LIMIT ?2)",
                SQL_VALUES(SQL_INT(retain->now - retain->retention->logs_ms), SQL_INT(ENTRIES_MAX)),
                err);

        return count(r, retain) < 0 ? r : 0;
}

static int retain_logs(struct sqlite_conn *conn, void *data, struct error *err)
{
        struct retain *retain = data;
        int64_t log = 0;
        int r;

        retain->removed = 0;
        r = shorten_endless(conn, retain, err);
        while (r >= 0 && retain->removed < ENTRIES_MAX) {
                r = old_log(conn, retain, &log, err);
                if (r <= 0)
                        break;
                r = empty_log(conn, retain, log, err);
        }
        return r < 0 ? r : 0;
}

static int forget_build(struct sqlite_conn *conn, int64_t seq, struct error *err)
{
        static const char *const statements[] = {
                /* the pipeline file of a build lies under the build's own id */
                ("DELETE FROM work_order WHERE job_id IN (SELECT id FROM job WHERE build_seq = ?1 "
                 "UNION ALL SELECT id FROM build WHERE seq = ?1)"),
                "DELETE FROM lease WHERE job_id IN (SELECT id FROM job WHERE build_seq = ?)",
                "DELETE FROM job WHERE build_seq = ?",
                "DELETE FROM ledger WHERE build_id = (SELECT id FROM build WHERE seq = ?)",
                "DELETE FROM build WHERE seq = ?",
        };

        for (size_t i = 0; i < sizeof(statements) / sizeof(*statements); i++) {
                int r = sqlite_run(conn, statements[i], SQL_VALUES(SQL_INT(seq)), err);

                if (r < 0)
                        return r;
        }
        return 0;
}

/* The oldest builds of a repository, beyond those that are kept by number. */
static int old_builds(struct sqlite_conn *conn, const struct retain *retain, int64_t repo,
                      int64_t *ret, size_t *ret_n, struct error *err)
{
        scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
        int64_t newest = 0;
        int r;

        *ret_n = 0;
        r = sqlite_get_int(conn, &newest,
                           "SELECT number FROM build WHERE repo_id = ? "
                           "ORDER BY number DESC LIMIT 1 OFFSET ?",
                           SQL_VALUES(SQL_INT(repo), SQL_INT(retain->retention->builds_keep)), err);
        if (r <= 0)
                return r;
        r = sqlite_query(conn, &stmt,
                         "SELECT seq, created_at < ? AND unfinished = 0 FROM build "
                         "WHERE repo_id = ? AND number <= ? ORDER BY number LIMIT ?",
                         SQL_VALUES(SQL_INT(retain->now - retain->retention->builds_ms),
                                    SQL_INT(repo), SQL_INT(newest), SQL_INT(BUILDS_MAX)),
                         err);
        while (r >= 0 && (r = sqlite_next(conn, stmt, err)) > 0) {
                if (sqlite3_column_int(stmt, 1))
                        ret[(*ret_n)++] = sqlite3_column_int64(stmt, 0);
        }
        return r;
}

static int retain_repository(struct sqlite_conn *conn, struct retain *retain, int64_t repo,
                             struct error *err)
{
        int64_t seqs[BUILDS_MAX];
        size_t n;
        int r;

        r = old_builds(conn, retain, repo, seqs, &n, err);
        for (size_t i = 0; r >= 0 && i < n; i++) {
                r = forget_build(conn, seqs[i], err);
                retain->removed++;
        }
        return r < 0 ? r : 0;
}

static int retain_builds(struct sqlite_conn *conn, void *data, struct error *err)
{
        struct retain *retain = data;
        int64_t repo = 0;
        int r = 1;

        retain->removed = 0;
        while (r > 0 && retain->removed < BUILDS_MAX) {
                int failed;

                r = sqlite_get_int(conn, &repo,
                                   "SELECT id FROM repository WHERE id > ? ORDER BY id LIMIT 1",
                                   SQL_VALUES(SQL_INT(repo)), err);
                failed = r > 0 ? retain_repository(conn, retain, repo, err) : 0;
                if (failed < 0)
                        return failed;
        }
        return r < 0 ? r : 0;
}

static int retain_deliveries(struct sqlite_conn *conn, void *data, struct error *err)
{
        struct retain *retain = data;
        int64_t before = retain->now - retain->retention->deliveries_ms;
        int r;

        retain->removed = 0;
        r = sqlite_run(conn,
                       "DELETE FROM delivery_outcome WHERE delivery_id IN (SELECT id FROM "
                       "(SELECT id, received_at, published, message FROM delivery "
                       "ORDER BY seq LIMIT ?2) "
                       "WHERE received_at < ?1 AND (published = 1 OR message = ''))",
                       SQL_VALUES(SQL_INT(before), SQL_INT(DELIVERIES_MAX)), err);
        if (r < 0)
                return r;
        r = sqlite_run(conn,
                       "DELETE FROM delivery WHERE received_at < ?1 AND "
                       "(published = 1 OR message = '') AND "
                       "seq IN (SELECT seq FROM delivery ORDER BY seq LIMIT ?2)",
                       SQL_VALUES(SQL_INT(before), SQL_INT(DELIVERIES_MAX)), err);
        return count(r, retain) < 0 ? r : 0;
}

int sqlite_retain(struct store *store, const struct retention *retention, int64_t *ret_removed,
                  struct error *err)
{
        struct retain retain = {.retention = retention, .now = wall_ms()};
        int64_t removed = 0;
        int r;

        r = sqlite_store_write(sqlite_store(store)->logs, retain_logs, &retain, err);
        removed += retain.removed;
        if (r == 0)
                r = sqlite_store_write(sqlite_store(store)->state, retain_builds, &retain, err);
        removed += retain.removed;
        if (r == 0)
                r = sqlite_store_write(sqlite_store(store)->state, retain_deliveries, &retain, err);
        removed += retain.removed;
        if (r < 0) {
                error_wrap(err, "remove what is old");
                return r;
        }
        *ret_removed = removed;
        return 0;
}
