/*
 * There is no writer thread: whoever comes first while nobody writes becomes the leader, takes
 * what waits (itself first), runs it in one transaction, commits, and hands the lead to the first
 * of those that came meanwhile. So a lone write costs no switch of threads, an idle server no
 * thread, and under load everything that arrives during one fsync shares the next.
 *
 * A transaction of lazy writes alone is committed without waiting for the disk: in WAL mode the
 * file stays sound, only the newest of them may be gone after a loss of power.
 */
#include "adapters/sqlite/db.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/sqlite/conn.h"
#include "adapters/sqlite/schema.h"
#include "base/error.h"
#include "base/str.h"

#include "base/banned.h"

#define BATCH_MAX 64
#define IDLE_READERS_MAX 8
#define WARM_READERS_MAX 2 /* of these, how many keep their pages in memory */

struct write {
        const struct sqlite_task *task;
        struct error err;
        int result;
        bool lead;
        sem_t turn;
        struct write *next;
};

struct sqlite_db {
        char *path;
        struct sqlite_conn *writer; /* of the leader */
        bool relaxed;               /* of the leader: commits do not wait for the disk */
        pthread_mutex_t lock;       /* what follows */
        bool led;
        struct write *first;
        struct write **last;
        struct sqlite_conn *idle[IDLE_READERS_MAX];
        size_t n_idle;
        struct sqlite_stats stats;
};

int sqlite_db_open(struct sqlite_db **ret, const char *path, const struct sqlite_schema *schema,
                   struct error *err)
{
        struct sqlite_db *db = xcalloc(1, sizeof(*db));
        int r;

        db->path = text_copy(path);
        db->last = &db->first;
        pthread_mutex_init(&db->lock, NULL);
        r = sqlite_conn_open(&db->writer, path, SQLITE_MODE_WRITE, schema->page_size, err);
        if (r == 0)
                r = sqlite_schema_bring_up(db->writer, path, schema, err);
        if (r < 0) {
                sqlite_db_close(db);
                return r;
        }
        *ret = db;
        return 0;
}

void sqlite_db_close(struct sqlite_db *db)
{
        if (!db)
                return;
        for (size_t i = 0; i < db->n_idle; i++)
                sqlite_conn_close(db->idle[i]);
        sqlite_conn_close(db->writer);
        pthread_mutex_destroy(&db->lock);
        free(db->path);
        free(db);
}

static bool in_transaction(struct sqlite_db *db)
{
        return !sqlite3_get_autocommit(sqlite_conn_handle(db->writer));
}

static void roll_back(struct sqlite_db *db)
{
        if (in_transaction(db))
                sqlite_run(db->writer, "ROLLBACK", SQL_NONE, NULL);
}

static void relax(struct sqlite_db *db, bool relaxed)
{
        if (db->relaxed == relaxed)
                return;
        if (sqlite_script(db->writer,
                          relaxed ? "PRAGMA synchronous=NORMAL" : "PRAGMA synchronous=FULL",
                          NULL) == 0)
                db->relaxed = relaxed;
}

static bool all_lazy(struct write *const *batch, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                if (!batch[i]->task->lazy)
                        return false;
        }
        return true;
}

/* In a savepoint, so that its failure undoes nothing but itself. */
static int run_guarded(struct sqlite_db *db, struct write *write)
{
        const struct sqlite_task *task = write->task;
        int r;

        r = sqlite_run(db->writer, "SAVEPOINT one", SQL_NONE, &write->err);
        if (r < 0)
                return r;
        r = task->run(db->writer, task->data, &write->err);
        if (r < 0 && in_transaction(db))
                sqlite_run(db->writer, "ROLLBACK TO one", SQL_NONE, NULL);
        if (in_transaction(db) && sqlite_run(db->writer, "RELEASE one", SQL_NONE, NULL) < 0)
                roll_back(db);
        return r;
}

static void count(struct sqlite_db *db, size_t writes)
{
        pthread_mutex_lock(&db->lock);
        db->stats.writes += writes;
        db->stats.commits++;
        db->stats.syncs += !db->relaxed;
        pthread_mutex_unlock(&db->lock);
}

static void tell_committed(struct write *const *batch, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                const struct sqlite_task *task = batch[i]->task;

                if (batch[i]->result == 0 && task->committed)
                        task->committed(task->data);
        }
}

static int commit(struct sqlite_db *db, struct write *const *batch, size_t n, struct error *err)
{
        int r = sqlite_run(db->writer, "COMMIT", SQL_NONE, err);

        if (r < 0) {
                roll_back(db);
                return r;
        }
        count(db, n);
        tell_committed(batch, n);
        return 0;
}

static void run_alone(struct sqlite_db *db, struct write *write)
{
        const struct sqlite_task *task = write->task;
        int r;

        r = sqlite_run(db->writer, "BEGIN IMMEDIATE", SQL_NONE, &write->err);
        if (r >= 0)
                r = task->run(db->writer, task->data, &write->err);
        write->result = r < 0 ? r : 0;
        if (r < 0)
                roll_back(db);
        else
                write->result = commit(db, &write, 1, &write->err);
}

/* Return: whether the batch is done with; false when its transaction was lost as a whole. */
static bool run_together(struct sqlite_db *db, struct write *const *batch, size_t n)
{
        size_t good = 0;

        if (sqlite_run(db->writer, "BEGIN IMMEDIATE", SQL_NONE, NULL) < 0)
                return false;
        for (size_t i = 0; i < n; i++) {
                int r = run_guarded(db, batch[i]);

                if (!in_transaction(db))
                        return false;
                batch[i]->result = r < 0 ? r : 0;
                good += r >= 0;
        }
        if (good == 0) {
                roll_back(db);
                return true;
        }
        return commit(db, batch, n, NULL) == 0;
}

static void run_batch(struct sqlite_db *db, struct write *const *batch, size_t n)
{
        relax(db, all_lazy(batch, n));
        if (n > 1 && run_together(db, batch, n))
                return;
        for (size_t i = 0; i < n; i++) {
                relax(db, batch[i]->task->lazy);
                run_alone(db, batch[i]);
        }
}

static size_t take_batch(struct sqlite_db *db, struct write *batch[BATCH_MAX])
{
        size_t n = 0;

        pthread_mutex_lock(&db->lock);
        while (db->first && n < BATCH_MAX) {
                batch[n++] = db->first;
                db->first = db->first->next;
        }
        if (!db->first)
                db->last = &db->first;
        pthread_mutex_unlock(&db->lock);
        return n;
}

static void lead(struct sqlite_db *db)
{
        struct write *batch[BATCH_MAX];
        size_t n = take_batch(db, batch);
        struct write *next;

        run_batch(db, batch, n);
        pthread_mutex_lock(&db->lock);
        next = db->first;
        db->led = next != NULL;
        pthread_mutex_unlock(&db->lock);
        if (next) {
                next->lead = true;
                sem_post(&next->turn);
        }
        for (size_t i = 1; i < n; i++) /* the first is the leader itself */
                sem_post(&batch[i]->turn);
}

int sqlite_db_write(struct sqlite_db *db, const struct sqlite_task *task, struct error *err)
{
        struct write write = {.task = task};
        bool first;

        sem_init(&write.turn, 0, 0);
        pthread_mutex_lock(&db->lock);
        *db->last = &write;
        db->last = &write.next;
        first = !db->led;
        db->led = true;
        pthread_mutex_unlock(&db->lock);
        while (!first && sem_wait(&write.turn) < 0)
                ;
        if (first || write.lead)
                lead(db);
        sem_destroy(&write.turn);
        if (write.result < 0 && err)
                *err = write.err;
        return write.result;
}

static int take_reader(struct sqlite_db *db, struct sqlite_conn **ret, struct error *err)
{
        struct sqlite_conn *conn = NULL;

        pthread_mutex_lock(&db->lock);
        if (db->n_idle)
                conn = db->idle[--db->n_idle];
        pthread_mutex_unlock(&db->lock);
        if (!conn)
                return sqlite_conn_open(ret, db->path, SQLITE_MODE_READ, 0, err);
        *ret = conn;
        return 0;
}

static void return_reader(struct sqlite_db *db, struct sqlite_conn *conn)
{
        bool cool;

        pthread_mutex_lock(&db->lock);
        cool = db->n_idle >= WARM_READERS_MAX;
        pthread_mutex_unlock(&db->lock);
        if (cool) /* after a crowd of readers, most of their memory is given back */
                sqlite3_db_release_memory(sqlite_conn_handle(conn));
        pthread_mutex_lock(&db->lock);
        if (db->n_idle < IDLE_READERS_MAX) {
                db->idle[db->n_idle++] = conn;
                conn = NULL;
        }
        pthread_mutex_unlock(&db->lock);
        sqlite_conn_close(conn);
}

int sqlite_db_read(struct sqlite_db *db,
                   int (*run)(struct sqlite_conn *conn, void *data, struct error *err), void *data,
                   struct error *err)
{
        struct sqlite_conn *conn = NULL;
        int r;

        r = take_reader(db, &conn, err);
        if (r < 0)
                return r;
        r = sqlite_run(conn, "BEGIN", SQL_NONE, err);
        if (r >= 0)
                r = run(conn, data, err);
        if (!sqlite3_get_autocommit(sqlite_conn_handle(conn)))
                sqlite_run(conn, "ROLLBACK", SQL_NONE, NULL);
        return_reader(db, conn);
        return r;
}

int sqlite_db_copy(struct sqlite_db *db, const char *target, struct error *err)
{
        struct sqlite_conn *conn = NULL;
        int r;

        r = sqlite_conn_open(&conn, db->path, SQLITE_MODE_READ, 0, err);
        if (r < 0)
                return r;
        r = sqlite_script(conn, "PRAGMA query_only=OFF", err); /* the copy is written */
        if (r == 0)
                r = sqlite_run(conn, "VACUUM INTO ?", SQL_VALUES(SQL_TEXT(target)), err);
        sqlite_conn_close(conn);
        if (r < 0)
                error_wrap(err, "copy '%s' to '%s'", db->path, target);
        return r < 0 ? r : 0;
}

void sqlite_db_stats(struct sqlite_db *db, struct sqlite_stats *ret)
{
        pthread_mutex_lock(&db->lock);
        *ret = db->stats;
        pthread_mutex_unlock(&db->lock);
}
