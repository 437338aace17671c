/*
 * Settling: acknowledged messages are deleted, retried ones wait or are ready again, dead ones move
 * to "<queue>.dead" with their reason, count and first time. When the write fails (a full disk),
 * the message leaves the hand all the same and will come again: a consumer with one message in hand
 * would otherwise wait for ever.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/bus/sqlite_consumer.h"
#include "adapters/sqlite/conn.h"
#include "adapters/sqlite/db.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/str.h"

#include "base/banned.h"

#define REASON_MAX 1024

static struct sqlite_hand *find(const struct sqlite_consumer *consumer, uint64_t tag)
{
        for (size_t i = 0; i < consumer->n_hand; i++) {
                if (consumer->hand[i].tag == tag && consumer->hand[i].given)
                        return &consumer->hand[i];
        }
        return NULL;
}

static int unknown(uint64_t tag, struct error *err)
{
        return error_set(err, ERROR_INVALID, "no message %" PRIu64 " in hand: settled already?",
                         tag);
}

static void drop(struct sqlite_consumer *consumer, const struct sqlite_hand *hand)
{
        sqlite_hand_drop(consumer, (size_t)(hand - consumer->hand));
}

/* Some messages of one file, to be deleted. */
struct ack {
        struct sqlite_consumer *consumer;
        struct sqlite_db *db;
        struct sqlite_hand **hands;
        size_t n;
};

static int delete_rows(struct sqlite_conn *conn, void *data, struct error *err)
{
        const struct ack *ack = data;

        for (size_t i = 0; i < ack->n; i++) {
                int64_t id = ack->hands[i]->id;
                int r;

                r = sqlite_run(conn, "DELETE FROM queue_message WHERE id = ?",
                               SQL_VALUES(SQL_INT(id)), err);
                if (r >= 0)
                        r = sqlite_run(conn, "DELETE FROM queue_body WHERE id = ?",
                                       SQL_VALUES(SQL_INT(id)), err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static void deleted(void *data)
{
        const struct ack *ack = data;

        pthread_mutex_lock(&ack->consumer->bus->lock);
        for (size_t i = 0; i < ack->n; i++)
                ack->hands[i]->queue->unsettled--;
        pthread_mutex_unlock(&ack->consumer->bus->lock);
}

static bool holds(const struct ack *ack, const struct sqlite_hand *hand)
{
        for (size_t i = 0; i < ack->n; i++) {
                if (ack->hands[i] == hand)
                        return true;
        }
        return false;
}

static int ack_in(struct sqlite_consumer *consumer, struct sqlite_db *db, const uint64_t *tags,
                  size_t n, struct error *err)
{
        struct sqlite_hand *hands[BUS_BATCH_MAX];
        struct ack ack = {.consumer = consumer, .db = db, .hands = hands};
        struct sqlite_task task = {
                .run = delete_rows, .committed = deleted, .data = &ack, .lazy = true};
        int r;

        for (size_t i = 0; i < n; i++) {
                struct sqlite_hand *hand = find(consumer, tags[i]);

                if (hand && hand->queue->db == db && !holds(&ack, hand))
                        hands[ack.n++] = hand;
        }
        r = sqlite_db_write(db, &task, err);
        for (size_t i = 0; r < 0 && i < ack.n; i++)
                sqlite_bus_orphan(consumer->bus, hands[i]->queue, &hands[i]->id, 1);
        if (r < 0)
                error_wrap(err, "acknowledge %zu messages", ack.n);
        return r;
}

static void drop_of(struct sqlite_consumer *consumer, const struct sqlite_db *db,
                    const uint64_t *tags, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                struct sqlite_hand *hand = find(consumer, tags[i]);

                if (hand && hand->queue->db == db)
                        drop(consumer, hand);
        }
}

int sqlite_ack(struct bus_consumer *consumer, const uint64_t *tags, size_t n, struct error *err)
{
        struct sqlite_consumer *self = (struct sqlite_consumer *)consumer;
        int result = 0;

        if (n > BUS_BATCH_MAX)
                return error_set(err, ERROR_LIMIT, "%zu messages acknowledged at once, at most %d",
                                 n, BUS_BATCH_MAX);
        for (size_t i = 0; i < n; i++) {
                if (!find(self, tags[i]))
                        return unknown(tags[i], err);
        }
        for (size_t i = 0; i < n; i++) {
                struct sqlite_hand *hand = find(self, tags[i]);
                struct sqlite_db *db;
                int r;

                if (!hand)
                        continue; /* went with an earlier one of its file */
                db = hand->queue->db;
                r = ack_in(self, db, tags + i, n - i, err);
                if (r < 0)
                        result = r;
                drop_of(self, db, tags + i, n - i);
        }
        return result;
}

/* One message to be put back or put aside. */
struct move {
        struct sqlite_bus *bus;
        struct sqlite_queue *from;
        struct sqlite_queue *to;
        int64_t id;
        int64_t due; /* 0: ready at once */
        char *reason;
        int64_t excess; /* how many of the oldest of `to` make room */
        int64_t dropped;
};

static int make_room(struct sqlite_conn *conn, struct move *move, struct error *err)
{
        int r;

        move->dropped = 0;
        if (move->excess <= 0)
                return 0;
        r = sqlite_run(conn,
                       "DELETE FROM queue_body WHERE id IN (SELECT id FROM queue_message "
                       "WHERE queue = ? AND state = 0 ORDER BY id LIMIT ?)",
                       SQL_VALUES(SQL_TEXT(move->to->name), SQL_INT(move->excess)), err);
        if (r >= 0)
                r = sqlite_run(conn,
                               "DELETE FROM queue_message WHERE id IN (SELECT id FROM "
                               "queue_message WHERE queue = ? AND state = 0 ORDER BY id LIMIT ?)",
                               SQL_VALUES(SQL_TEXT(move->to->name), SQL_INT(move->excess)), err);
        if (r >= 0)
                move->dropped = r;
        return r < 0 ? r : 0;
}

static int move_row(struct sqlite_conn *conn, void *data, struct error *err)
{
        struct move *move = data;
        int r;

        r = make_room(conn, move, err);
        if (r < 0)
                return r;
        r = sqlite_run(conn,
                       "UPDATE queue_message SET queue = ?, state = ?, due = ?, reason = ? "
                       "WHERE id = ?",
                       SQL_VALUES(SQL_TEXT(move->to->name), SQL_INT(move->due ? 2 : 0),
                                  SQL_INT(move->due), SQL_TEXT(move->reason), SQL_INT(move->id)),
                       err);
        return r < 0 ? r : 0;
}

static void moved(void *data)
{
        const struct move *move = data;

        pthread_mutex_lock(&move->bus->lock);
        move->from->unsettled--;
        move->to->ready -= move->dropped;
        if (move->due) {
                move->to->delayed++;
                if (move->due < move->to->next_due)
                        move->to->next_due = move->due;
        } else {
                move->to->ready++;
        }
        sqlite_consumer_notify(move->bus, move->to);
        pthread_mutex_unlock(&move->bus->lock);
}

static int settle_by_move(struct sqlite_consumer *consumer, uint64_t tag, struct move *move,
                          const char *reason, struct error *err)
{
        struct sqlite_task task = {.run = move_row, .committed = moved, .data = move, .lazy = true};
        struct sqlite_hand *hand = find(consumer, tag);
        int r;

        if (!hand)
                return unknown(tag, err);
        move->bus = consumer->bus;
        move->from = hand->queue;
        move->id = hand->id;
        move->reason = text_format("%.*s", REASON_MAX, reason ? reason : "");
        if (!move->to)
                move->to = move->from;
        r = sqlite_db_write(move->from->db, &task, err);
        free(move->reason);
        if (r < 0)
                sqlite_bus_orphan(consumer->bus, move->from, &move->id, 1);
        drop(consumer, hand);
        return r;
}

int sqlite_retry(struct bus_consumer *consumer, uint64_t tag, int64_t delay_ms, const char *reason,
                 struct error *err)
{
        struct move move = {.due = delay_ms > 0 ? clock_ms() + delay_ms : 0};
        int r = settle_by_move((struct sqlite_consumer *)consumer, tag, &move, reason, err);

        if (r < 0)
                error_wrap(err, "put a message back");
        return r;
}

int sqlite_dead(struct bus_consumer *consumer, uint64_t tag, const char *reason, struct error *err)
{
        struct sqlite_consumer *self = (struct sqlite_consumer *)consumer;
        scoped_text char *name = NULL;
        struct move move = {0};
        const struct sqlite_hand *hand = find(self, tag);
        int r;

        if (!hand)
                return unknown(tag, err);
        name = text_format("%s%s", hand->queue->name,
                           text_ends(hand->queue->name, ".dead") ? "" : ".dead");
        pthread_mutex_lock(&self->bus->lock);
        move.to = sqlite_bus_queue(self->bus, name);
        move.excess = move.to->ready + 1 - BUS_DEAD_MAX;
        pthread_mutex_unlock(&self->bus->lock);
        r = settle_by_move(self, tag, &move, reason, err);
        if (r < 0)
                error_wrap(err, "put a message aside");
        return r;
}
