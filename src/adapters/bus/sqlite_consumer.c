/*
 * A consumer takes up to its prefetch of messages in one write and hands them out from memory; so
 * a consumer of many small messages costs one commit for many. Taking raises the count of attempts
 * at once. What was prefetched but never handed out goes back without having counted.
 *
 * Several queues of one consumer are asked in turn, each time beginning with another, so that a
 * busy one cannot starve the rest.
 */
#include "adapters/bus/sqlite_consumer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "adapters/sqlite/conn.h"
#include "adapters/sqlite/db.h"
#include "adapters/sqlite/queue.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/str.h"

#include "base/banned.h"

void sqlite_hand_drop(struct sqlite_consumer *consumer, size_t place)
{
        struct sqlite_hand *hand = &consumer->hand[place];

        free(hand->reason);
        free(hand->body);
        consumer->n_hand--;
        memmove(hand, hand + 1, (consumer->n_hand - place) * sizeof(*hand));
}

static bool listens_to(const struct sqlite_consumer *consumer, const struct sqlite_queue *queue)
{
        for (size_t i = 0; i < consumer->n_queues; i++) {
                if (consumer->queues[i] == queue)
                        return true;
        }
        return false;
}

void sqlite_consumer_notify(struct sqlite_bus *bus, const struct sqlite_queue *queue)
{
        for (struct sqlite_consumer *one = bus->consumers; one; one = one->next) {
                if (listens_to(one, queue))
                        pthread_cond_signal(&one->wake);
        }
}

int sqlite_consume(struct bus *bus, struct bus_consumer **ret, const char *const *queues,
                   size_t n_queues, int prefetch, struct error *err)
{
        struct sqlite_bus *self = (struct sqlite_bus *)bus;
        struct sqlite_consumer *consumer;
        pthread_condattr_t monotonic;

        if (n_queues == 0 || prefetch < 1 || prefetch > BUS_BATCH_MAX)
                return error_set(err, ERROR_INVALID,
                                 "a consumer of %zu queues with %d messages in hand: at least one "
                                 "queue, and 1 to %d messages",
                                 n_queues, prefetch, BUS_BATCH_MAX);
        consumer = xcalloc(1, sizeof(*consumer));
        consumer->consumer.ops = bus->ops;
        consumer->bus = self;
        consumer->prefetch = (size_t)prefetch;
        consumer->hand = xcalloc(consumer->prefetch, sizeof(*consumer->hand));
        consumer->queues = xcalloc(n_queues, sizeof(*consumer->queues));
        consumer->n_queues = n_queues;
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&consumer->wake, &monotonic);
        pthread_condattr_destroy(&monotonic);
        pthread_mutex_lock(&self->lock);
        for (size_t i = 0; i < n_queues; i++)
                consumer->queues[i] = sqlite_bus_queue(self, queues[i]);
        consumer->next = self->consumers;
        self->consumers = consumer;
        pthread_mutex_unlock(&self->lock);
        *ret = &consumer->consumer;
        return 0;
}

/* What one write takes from one queue. */
struct claim {
        struct sqlite_consumer *consumer;
        struct sqlite_queue *queue;
        size_t most;
        bool delayed;
        int64_t now;
        struct sqlite_hand *got;
        size_t n;
        int64_t *orphans;
        size_t n_orphans;
        int64_t promoted;
        int64_t next_due;
};

static void claim_clear(struct claim *claim)
{
        for (size_t i = 0; i < claim->n; i++) {
                free(claim->got[i].reason);
                free(claim->got[i].body);
        }
        claim->n = 0;
}

/* Delayed messages whose time has come are ready; the next one's time is noted. */
static int promote(struct sqlite_conn *conn, struct claim *claim, struct error *err)
{
        const char *name = claim->queue->name;
        int r;

        r = sqlite_run(conn,
                       "UPDATE queue_message SET state = 0 "
                       "WHERE queue = ? AND state = 2 AND due <= ?",
                       SQL_VALUES(SQL_TEXT(name), SQL_INT(claim->now)), err);
        if (r < 0)
                return r;
        claim->promoted = r;
        claim->next_due = INT64_MAX;
        r = sqlite_get_int(conn, &claim->next_due,
                           "SELECT due FROM queue_message WHERE queue = ? AND state = 2 "
                           "ORDER BY due LIMIT 1",
                           SQL_VALUES(SQL_TEXT(name)), err);
        return r < 0 ? r : 0;
}

static void take_row(struct claim *claim, sqlite3_stmt *stmt)
{
        struct sqlite_hand *hand = &claim->got[claim->n++];
        size_t len = (size_t)sqlite3_column_bytes(stmt, 4);

        *hand = (struct sqlite_hand){
                .queue = claim->queue,
                .id = sqlite3_column_int64(stmt, 0),
                .attempts = sqlite3_column_int(stmt, 1),
                .first_seen = sqlite3_column_int64(stmt, 2),
                .reason = text_copy((const char *)sqlite3_column_text(stmt, 3)),
                .body = xmalloc(len + 1),
                .len = len,
        };
        if (len)
                memcpy(hand->body, sqlite3_column_blob(stmt, 4), len);
        hand->body[len] = '\0';
}

static int select_ready(struct sqlite_conn *conn, struct claim *claim, struct error *err)
{
        scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
        int r;

        r = sqlite_query(conn, &stmt,
                         "SELECT m.id, m.attempts, m.first_seen, m.reason, b.body "
                         "FROM queue_message m JOIN queue_body b ON b.id = m.id "
                         "WHERE m.queue = ? AND m.state = 0 ORDER BY m.id LIMIT ?",
                         SQL_VALUES(SQL_TEXT(claim->queue->name), SQL_INT((int64_t)claim->most)),
                         err);
        while (r >= 0 && (r = sqlite_next(conn, stmt, err)) > 0)
                take_row(claim, stmt);
        return r;
}

static int adopt_orphans(struct sqlite_conn *conn, const struct claim *claim, struct error *err)
{
        for (size_t i = 0; i < claim->n_orphans; i++) {
                int r = sqlite_run(conn, "UPDATE queue_message SET state = 0 WHERE id = ?",
                                   SQL_VALUES(SQL_INT(claim->orphans[i])), err);

                if (r < 0)
                        return r;
        }
        return 0;
}

/* What lies in a queue of dead letters keeps the count it had when it died. */
static int claim_rows(struct sqlite_conn *conn, void *data, struct error *err)
{
        struct claim *claim = data;
        int count = text_ends(claim->queue->name, ".dead") ? 0 : 1;
        int r;

        claim_clear(claim);
        claim->promoted = 0;
        claim->next_due = INT64_MAX;
        r = adopt_orphans(conn, claim, err);
        if (r == 0 && claim->delayed)
                r = promote(conn, claim, err);
        if (r == 0)
                r = select_ready(conn, claim, err);
        for (size_t i = 0; r >= 0 && i < claim->n; i++) {
                claim->got[i].attempts += count;
                r = sqlite_run(
                        conn, "UPDATE queue_message SET state = 1, attempts = ? WHERE id = ?",
                        SQL_VALUES(SQL_INT(claim->got[i].attempts), SQL_INT(claim->got[i].id)),
                        err);
        }
        return r < 0 ? r : 0;
}

static void claimed(void *data)
{
        struct claim *claim = data;
        struct sqlite_queue *queue = claim->queue;

        pthread_mutex_lock(&claim->consumer->bus->lock);
        queue->delayed -= claim->promoted;
        queue->ready += claim->promoted + (int64_t)claim->n_orphans - (int64_t)claim->n;
        queue->unsettled += (int64_t)claim->n - (int64_t)claim->n_orphans;
        if (claim->delayed)
                queue->next_due = claim->next_due;
        if (queue->ready > 0)
                sqlite_consumer_notify(claim->consumer->bus, queue);
        pthread_mutex_unlock(&claim->consumer->bus->lock);
}

static int claim_from(struct sqlite_consumer *consumer, struct sqlite_queue *queue,
                      struct error *err)
{
        struct claim claim = {
                .consumer = consumer,
                .queue = queue,
                .most = consumer->prefetch - consumer->n_hand,
                .now = clock_ms(),
        };
        struct sqlite_task task = {
                .run = claim_rows, .committed = claimed, .data = &claim, .lazy = true};
        int r;

        claim.got = xcalloc(claim.most, sizeof(*claim.got));
        pthread_mutex_lock(&consumer->bus->lock);
        claim.delayed = queue->delayed > 0;
        claim.orphans = take(queue->orphans);
        claim.n_orphans = queue->n_orphans;
        queue->n_orphans = 0;
        pthread_mutex_unlock(&consumer->bus->lock);
        r = sqlite_db_write(queue->db, &task, err);
        if (r < 0) {
                claim_clear(&claim);
                if (claim.n_orphans)
                        sqlite_bus_orphan(consumer->bus, queue, claim.orphans, claim.n_orphans);
                error_wrap(err, "take a message from %s", queue->name);
        }
        free(claim.orphans);
        for (size_t i = 0; i < claim.n; i++) {
                claim.got[i].tag = ++consumer->next_tag;
                consumer->hand[consumer->n_hand++] = claim.got[i];
        }
        free(claim.got);
        return r;
}

static bool has_work(const struct sqlite_queue *queue, int64_t now)
{
        return queue->ready > 0 || queue->n_orphans > 0 || queue->next_due <= now;
}

/* Sleep until a queue has work; Return: that queue, or NULL when woken or the time is over. */
static struct sqlite_queue *wait_for_work(struct sqlite_consumer *consumer, int64_t until)
{
        struct sqlite_queue *found = NULL;
        bool full = consumer->n_hand == consumer->prefetch;

        pthread_mutex_lock(&consumer->bus->lock);
        while (!consumer->woken) {
                int64_t now = clock_ms();
                int64_t next = until;

                for (size_t i = 0; !full && !found && i < consumer->n_queues; i++) {
                        size_t place = (consumer->first + i) % consumer->n_queues;
                        struct sqlite_queue *queue = consumer->queues[place];

                        if (has_work(queue, now)) {
                                found = queue;
                                consumer->first = (place + 1) % consumer->n_queues;
                        } else if (queue->next_due < next) {
                                next = queue->next_due;
                        }
                }
                if (found || now >= until)
                        break;
                if (next == INT64_MAX) {
                        pthread_cond_wait(&consumer->wake, &consumer->bus->lock);
                } else {
                        struct timespec at = {next / 1000, next % 1000 * 1000000};

                        pthread_cond_timedwait(&consumer->wake, &consumer->bus->lock, &at);
                }
        }
        if (!found)
                consumer->woken = false;
        pthread_mutex_unlock(&consumer->bus->lock);
        return found;
}

static size_t hand_out(struct sqlite_consumer *consumer, struct bus_message *ret, size_t max)
{
        size_t n = 0;

        for (size_t i = 0; i < consumer->n_hand && n < max; i++) {
                struct sqlite_hand *hand = &consumer->hand[i];

                if (hand->given)
                        continue;
                hand->given = true;
                ret[n++] = (struct bus_message){
                        .queue = hand->queue->name,
                        .body = hand->body,
                        .len = hand->len,
                        .attempts = hand->attempts,
                        .tag = hand->tag,
                        .first_seen = hand->first_seen,
                        .reason = hand->reason,
                };
        }
        return n;
}

int sqlite_receive(struct bus_consumer *consumer, struct bus_message *ret, size_t max,
                   int64_t timeout_ms, struct error *err)
{
        struct sqlite_consumer *self = (struct sqlite_consumer *)consumer;
        int64_t until = timeout_ms < 0 ? INT64_MAX : clock_ms() + timeout_ms;
        size_t n = hand_out(self, ret, max);

        while (n == 0) {
                struct sqlite_queue *queue = wait_for_work(self, until);
                int r;

                if (!queue)
                        return 0;
                r = claim_from(self, queue, err);
                if (r < 0)
                        return r;
                n = hand_out(self, ret, max);
        }
        return (int)n;
}

void sqlite_consumer_wake(struct bus_consumer *consumer)
{
        struct sqlite_consumer *self = (struct sqlite_consumer *)consumer;

        pthread_mutex_lock(&self->bus->lock);
        self->woken = true;
        pthread_cond_signal(&self->wake);
        pthread_mutex_unlock(&self->bus->lock);
}

/* What of a consumer's hand goes back to one file. */
struct put_back {
        struct sqlite_consumer *consumer;
        struct sqlite_db *db;
};

static int put_back_rows(struct sqlite_conn *conn, void *data, struct error *err)
{
        const struct put_back *back = data;

        for (size_t i = 0; i < back->consumer->n_hand; i++) {
                const struct sqlite_hand *hand = &back->consumer->hand[i];
                int uncount = hand->given || text_ends(hand->queue->name, ".dead") ? 0 : 1;
                int r = 0;

                if (hand->queue->db == back->db)
                        r = sqlite_run(
                                conn,
                                "UPDATE queue_message SET state = 0, attempts = ? "
                                "WHERE id = ?",
                                SQL_VALUES(SQL_INT(hand->attempts - uncount), SQL_INT(hand->id)),
                                err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static void put_back(struct sqlite_consumer *consumer, struct sqlite_db *db)
{
        struct put_back back = {.consumer = consumer, .db = db};
        struct sqlite_task task = {.run = put_back_rows, .data = &back, .lazy = true};
        bool done = sqlite_db_write(db, &task, NULL) == 0;

        for (size_t i = 0; i < consumer->n_hand;) {
                struct sqlite_hand *hand = &consumer->hand[i];

                if (hand->queue->db != db) {
                        i++;
                        continue;
                }
                if (!done) {
                        sqlite_bus_orphan(consumer->bus, hand->queue, &hand->id, 1);
                        sqlite_hand_drop(consumer, i);
                        continue;
                }
                pthread_mutex_lock(&consumer->bus->lock);
                hand->queue->unsettled--;
                hand->queue->ready++;
                sqlite_consumer_notify(consumer->bus, hand->queue);
                pthread_mutex_unlock(&consumer->bus->lock);
                sqlite_hand_drop(consumer, i);
        }
}

void sqlite_consumer_close(struct bus_consumer *consumer)
{
        struct sqlite_consumer *self = (struct sqlite_consumer *)consumer;
        struct sqlite_consumer **place;

        pthread_mutex_lock(&self->bus->lock);
        for (place = &self->bus->consumers; *place != self; place = &(*place)->next)
                ;
        *place = self->next;
        pthread_mutex_unlock(&self->bus->lock);
        while (self->n_hand)
                put_back(self, self->hand[0].queue->db);
        pthread_cond_destroy(&self->wake);
        free(self->queues);
        free(self->hand);
        free(self);
}
