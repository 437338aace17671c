/*
 * Publishing is the only act here that waits for the disk. That a message was taken, settled or
 * put back is written at once but not synced (a lazy write): the death of the process loses
 * nothing, and after a loss of power a message comes once more, which at-least-once allows.
 *
 * Messages of log.queue lie in logs.db, all others in argon.db: a flood of lines delays no webhook.
 * When the bus opens, whatever was taken by the process before is ready again; its count of
 * attempts was raised when it was taken, so a message that kills its consumer is found out.
 */
#include "adapters/bus/sqlite.h"

#include <stdlib.h>
#include <string.h>

#include "adapters/bus/sqlite_bus.h"
#include "adapters/sqlite/conn.h"
#include "adapters/sqlite/db.h"
#include "adapters/sqlite/files.h"
#include "adapters/sqlite/queue.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/str.h"
#include "wire/codec.h"

#include "base/banned.h"

/* A queue that nobody drains must not fill the disk. */
#define QUEUE_MESSAGES_MAX 1000000
#define LOG_QUEUE_PREFIX "log.queue"

_Static_assert(WIRE_BYTES_MAX == BUS_BODY_MAX, "every message that is encoded can be published");

struct sqlite_queue *sqlite_bus_queue(struct sqlite_bus *bus, const char *name)
{
        struct sqlite_queue *queue;

        for (queue = bus->queues; queue; queue = queue->next) {
                if (strcmp(queue->name, name) == 0)
                        return queue;
        }
        queue = xcalloc(1, sizeof(*queue));
        queue->name = text_copy(name);
        queue->db = text_starts(name, LOG_QUEUE_PREFIX) ? sqlite_files_logs(bus->files)
                                                        : sqlite_files_state(bus->files);
        queue->next_due = INT64_MAX;
        queue->next = bus->queues;
        bus->queues = queue;
        return queue;
}

void sqlite_bus_orphan(struct sqlite_bus *bus, struct sqlite_queue *queue, const int64_t *ids,
                       size_t n)
{
        pthread_mutex_lock(&bus->lock);
        queue->orphans = xrealloc(queue->orphans, (queue->n_orphans + n) * sizeof(*ids));
        memcpy(queue->orphans + queue->n_orphans, ids, n * sizeof(*ids));
        queue->n_orphans += n;
        sqlite_consumer_notify(bus, queue);
        pthread_mutex_unlock(&bus->lock);
}

struct publish {
        struct sqlite_bus *bus;
        struct sqlite_queue *queue;
        const struct bus_body *bodies;
        size_t n;
};

static int insert(struct sqlite_conn *conn, void *data, struct error *err)
{
        const struct publish *publish = data;
        int64_t now = wall_ms();

        for (size_t i = 0; i < publish->n; i++) {
                const struct bus_body *body = &publish->bodies[i];
                int64_t id;
                int r;

                r = sqlite_run(conn,
                               "INSERT INTO queue_message (queue, state, due, attempts, "
                               "first_seen, reason) VALUES (?, 0, 0, 0, ?, '')",
                               SQL_VALUES(SQL_TEXT(publish->queue->name), SQL_INT(now)), err);
                if (r < 0)
                        return r;
                id = sqlite3_last_insert_rowid(sqlite_conn_handle(conn));
                r = sqlite_run(conn, "INSERT INTO queue_body (id, body) VALUES (?, ?)",
                               SQL_VALUES(SQL_INT(id), SQL_BYTES(body->bytes, body->len)), err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static void inserted(void *data)
{
        const struct publish *publish = data;

        pthread_mutex_lock(&publish->bus->lock);
        publish->queue->ready += (int64_t)publish->n;
        sqlite_consumer_notify(publish->bus, publish->queue);
        pthread_mutex_unlock(&publish->bus->lock);
}

static int check_bodies(const char *queue, const struct bus_body *bodies, size_t n,
                        struct error *err)
{
        if (n > BUS_BATCH_MAX)
                return error_set(err, ERROR_LIMIT, "%s: %zu messages at once, at most %d", queue, n,
                                 BUS_BATCH_MAX);
        for (size_t i = 0; i < n; i++) {
                if (bodies[i].len > BUS_BODY_MAX)
                        return error_set(err, ERROR_LIMIT,
                                         "%s: a message of %zu bytes is over the limit of %d",
                                         queue, bodies[i].len, BUS_BODY_MAX);
        }
        return 0;
}

static int publish(struct bus *bus, const char *queue, const struct bus_body *bodies, size_t n,
                   struct error *err)
{
        struct sqlite_bus *self = (struct sqlite_bus *)bus;
        struct publish publish = {.bus = self, .bodies = bodies, .n = n};
        struct sqlite_task task = {.run = insert, .committed = inserted, .data = &publish};
        int64_t depth;
        int r;

        r = check_bodies(queue, bodies, n, err);
        if (r < 0 || n == 0)
                return r;
        pthread_mutex_lock(&self->lock);
        publish.queue = sqlite_bus_queue(self, queue);
        depth = publish.queue->ready + publish.queue->unsettled + publish.queue->delayed;
        pthread_mutex_unlock(&self->lock);
        if (depth + (int64_t)n > QUEUE_MESSAGES_MAX)
                return error_set(
                        err, ERROR_UNAVAILABLE,
                        "%s holds %lld messages, the most it may: is its consumer running?", queue,
                        (long long)depth);
        r = sqlite_db_write(publish.queue->db, &task, err);
        if (r < 0)
                error_wrap(err, "put a message on %s", queue);
        return r;
}

static int depth(struct bus *bus, const char *queue, int64_t *ret_ready, int64_t *ret_unsettled,
                 struct error *err)
{
        struct sqlite_bus *self = (struct sqlite_bus *)bus;
        const struct sqlite_queue *one;

        pthread_mutex_lock(&self->lock);
        one = sqlite_bus_queue(self, queue);
        *ret_ready = one->ready + one->delayed;
        *ret_unsettled = one->unsettled;
        pthread_mutex_unlock(&self->lock);
        return 0;
}

/* The clock that `due` counts by started anew with the machine, perhaps: what was delayed is ready.
 */
static int recover(struct sqlite_conn *conn, void *data, struct error *err)
{
        int r = sqlite_run(conn,
                           "UPDATE queue_message SET state = 0, due = 0 "
                           "WHERE state <> 0",
                           SQL_NONE, err);

        return r < 0 ? r : 0;
}

static int count_ready(struct sqlite_conn *conn, void *data, struct error *err)
{
        scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
        struct sqlite_bus *bus = data;
        int r;

        r = sqlite_query(conn, &stmt, "SELECT queue, count(*) FROM queue_message GROUP BY queue",
                         SQL_NONE, err);
        while (r >= 0 && (r = sqlite_next(conn, stmt, err)) > 0) {
                const char *name = (const char *)sqlite3_column_text(stmt, 0);

                sqlite_bus_queue(bus, name)->ready = sqlite3_column_int64(stmt, 1);
        }
        return r;
}

static int start(struct sqlite_bus *bus, struct sqlite_db *db, struct error *err)
{
        struct sqlite_task task = {.run = recover, .lazy = true};
        int r;

        r = sqlite_db_write(db, &task, err);
        return r < 0 ? r : sqlite_db_read(db, count_ready, bus, err);
}

static void close_bus(struct bus *bus)
{
        struct sqlite_bus *self = (struct sqlite_bus *)bus;

        while (self->queues) {
                struct sqlite_queue *queue = self->queues;

                self->queues = queue->next;
                free(queue->name);
                free(queue->orphans);
                free(queue);
        }
        pthread_mutex_destroy(&self->lock);
        pthread_mutex_destroy(&self->topic_lock);
        free(self);
}

static const struct bus_ops ops = {
        .publish = publish,
        .consume = sqlite_consume,
        .receive = sqlite_receive,
        .ack = sqlite_ack,
        .retry = sqlite_retry,
        .dead = sqlite_dead,
        .wake = sqlite_consumer_wake,
        .consumer_close = sqlite_consumer_close,
        .depth = depth,
        .topic_publish = sqlite_topic_publish,
        .topic_subscribe = sqlite_topic_subscribe,
        .topic_next = sqlite_topic_next,
        .topic_wake = sqlite_topic_wake,
        .topic_close = sqlite_topic_close,
        .close = close_bus,
};

int bus_sqlite_open(struct bus **ret, const char *url, void *context, struct error *err)
{
        struct sqlite_bus *bus = xcalloc(1, sizeof(*bus));
        int r;

        bus->bus.ops = &ops;
        bus->files = context;
        pthread_mutex_init(&bus->lock, NULL);
        pthread_mutex_init(&bus->topic_lock, NULL);
        r = start(bus, sqlite_files_state(bus->files), err);
        if (r == 0)
                r = start(bus, sqlite_files_logs(bus->files), err);
        if (r < 0) {
                close_bus(&bus->bus);
                return r;
        }
        *ret = &bus->bus;
        return 0;
}
