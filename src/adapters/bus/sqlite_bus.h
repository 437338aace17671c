#pragma once
/*
 * sqlite_bus - what the parts of this adapter share: queues as they stand in memory
 *
 * The tables are the truth. Beside them the bus keeps, for each queue, how many messages are
 * ready, taken and delayed, so that whoever waits sleeps on a condition instead of asking.
 * The figures change when a transaction has committed, in the order of commits.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "ports/bus.h"

struct sqlite_consumer;
struct sqlite_db;
struct sqlite_files;
struct sqlite_topic;

/** struct sqlite_queue
 *  @next_due: monotonic ms of the first delayed message, INT64_MAX: none
 *  @orphans: ids of messages that are marked as taken but in nobody's hand, because the write that
 *            should have settled them failed; the next taker makes them ready again */
struct sqlite_queue {
        char *name;
        struct sqlite_db *db;
        int64_t ready;
        int64_t unsettled;
        int64_t delayed;
        int64_t next_due;
        int64_t *orphans;
        size_t n_orphans;
        struct sqlite_queue *next;
};

struct sqlite_bus {
        struct bus bus;
        struct sqlite_files *files;
        pthread_mutex_t lock; /* what follows, and the figures of the queues */
        struct sqlite_queue *queues;
        struct sqlite_consumer *consumers;
        pthread_mutex_t topic_lock;
        struct sqlite_topic *topics;
};

/** sqlite_bus_queue() - the queue of this name, made when it is new; with the lock held */
struct sqlite_queue *sqlite_bus_queue(struct sqlite_bus *bus, const char *name);
/** sqlite_bus_orphan() - a message whose settling failed will come again; takes the lock */
void sqlite_bus_orphan(struct sqlite_bus *bus, struct sqlite_queue *queue, const int64_t *ids,
                       size_t n);

/* sqlite_consumer.c */
int sqlite_consume(struct bus *bus, struct bus_consumer **ret, const char *const *queues,
                   size_t n_queues, int prefetch, struct error *err);
int sqlite_receive(struct bus_consumer *consumer, struct bus_message *ret, size_t max,
                   int64_t timeout_ms, struct error *err);
void sqlite_consumer_wake(struct bus_consumer *consumer);
void sqlite_consumer_close(struct bus_consumer *consumer);
/* wake the consumers of a queue; with the lock held */
void sqlite_consumer_notify(struct sqlite_bus *bus, const struct sqlite_queue *queue);

/* sqlite_settle.c */
int sqlite_ack(struct bus_consumer *consumer, const uint64_t *tags, size_t n, struct error *err);
int sqlite_retry(struct bus_consumer *consumer, uint64_t tag, int64_t delay_ms, const char *reason,
                 struct error *err);
int sqlite_dead(struct bus_consumer *consumer, uint64_t tag, const char *reason, struct error *err);

/* sqlite_topic.c */
void sqlite_topic_publish(struct bus *bus, const char *topic, const void *bytes, size_t n);
int sqlite_topic_subscribe(struct bus *bus, struct bus_topic **ret, const char *prefix,
                           struct error *err);
int sqlite_topic_next(struct bus_topic *topic, char **ret_topic, char **ret_body, int64_t *ret_lost,
                      int64_t timeout_ms, struct error *err);
void sqlite_topic_wake(struct bus_topic *topic);
void sqlite_topic_close(struct bus_topic *topic);
