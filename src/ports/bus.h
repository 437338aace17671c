#pragma once
/*
 * bus - durable queues and lossy live topics
 *
 * Queues are at-least-once: what bus_publish() confirmed survives a crash of both sides; what a
 * consumer received and did not settle comes again after the consumer is gone, with its count of
 * attempts. Consumers recognise duplicates by the message's own id. A message that a consumer
 * declares dead goes to "<queue>.dead" with its reason; BUS_DEAD_MAX are kept there, then the
 * oldest make room. Order within a queue is first in, first out, except for what was retried.
 *
 * Topics are for waking up people who look: no history, no confirmation, a slow subscriber loses
 * the oldest and is told so.
 *
 * struct bus may be shared by threads. A consumer and a subscription belong to one thread.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/scoped.h"

#define BUS_BODY_MAX (256 * 1024)
#define BUS_BATCH_MAX 256
#define BUS_DEAD_MAX 10000

struct bus;
struct bus_consumer;
struct bus_topic;

/** struct bus_message - borrowed from the consumer until it is settled
 *  @queue: where it came from; @tag: to settle it
 *  @attempts: deliveries so far, 1 for the first; of a dead letter: how many it had
 *  @first_seen: wall ms when it was published
 *  @reason: of its last retry, or why it is dead; "" */
struct bus_message {
        const char *queue;
        const char *body;
        size_t len;
        int attempts;
        uint64_t tag;
        int64_t first_seen;
        const char *reason;
};

struct bus_body {
        const void *bytes;
        size_t len;
};

struct bus_ops {
        /* all or nothing when it returns 0: every body is durable */
        int (*publish)(struct bus *bus, const char *queue, const struct bus_body *bodies, size_t n,
                       struct error *err);
        /* prefetch: most unsettled messages at a time */
        int (*consume)(struct bus *bus, struct bus_consumer **ret, const char *const *queues,
                       size_t n_queues, int prefetch, struct error *err);
        /* waits until at least one message is there, bus_consumer_wake(), or the time is over (0)
         */
        int (*receive)(struct bus_consumer *consumer, struct bus_message *ret, size_t max,
                       int64_t timeout_ms, struct error *err);
        int (*ack)(struct bus_consumer *consumer, const uint64_t *tags, size_t n,
                   struct error *err);
        int (*retry)(struct bus_consumer *consumer, uint64_t tag, int64_t delay_ms,
                     const char *reason, struct error *err);
        int (*dead)(struct bus_consumer *consumer, uint64_t tag, const char *reason,
                    struct error *err);
        void (*wake)(struct bus_consumer *consumer);
        void (*consumer_close)(struct bus_consumer *consumer);
        /* messages ready and unsettled, for metrics and tests */
        int (*depth)(struct bus *bus, const char *queue, int64_t *ret_ready, int64_t *ret_unsettled,
                     struct error *err);

        void (*topic_publish)(struct bus *bus, const char *topic, const void *bytes, size_t n);
        int (*topic_subscribe)(struct bus *bus, struct bus_topic **ret, const char *prefix,
                               struct error *err);
        /* 1: got one (heap copies that the caller frees; *ret_lost: how many were dropped before
         * it), 0: time over or woken */
        int (*topic_next)(struct bus_topic *topic, char **ret_topic, char **ret_body,
                          int64_t *ret_lost, int64_t timeout_ms, struct error *err);
        void (*topic_wake)(struct bus_topic *topic);
        void (*topic_close)(struct bus_topic *topic);
        void (*close)(struct bus *bus);
};

/* An adapter embeds these first. */
struct bus {
        const struct bus_ops *ops;
};
struct bus_consumer {
        const struct bus_ops *ops;
};
struct bus_topic {
        const struct bus_ops *ops;
};

/**
 * bus_publish() - hand one message to a queue, durably
 * @body: JSON text, at most BUS_BODY_MAX bytes; borrowed
 *
 * When this returns 0 the message survives a crash of both sides.
 *
 * Return: 0, -ERROR_UNAVAILABLE (try again later) or -ERROR_LIMIT.
 */
static inline int bus_publish(struct bus *bus, const char *queue, const void *body, size_t len,
                              struct error *err)
{
        struct bus_body one = {body, len};

        return bus->ops->publish(bus, queue, &one, 1, err);
}

/** bus_publish_all() - several in order, at most BUS_BATCH_MAX; on failure some may be there */
static inline int bus_publish_all(struct bus *bus, const char *queue, const struct bus_body *bodies,
                                  size_t n, struct error *err)
{
        return bus->ops->publish(bus, queue, bodies, n, err);
}

static inline int bus_consume(struct bus *bus, struct bus_consumer **ret, const char *const *queues,
                              size_t n_queues, int prefetch, struct error *err)
{
        return bus->ops->consume(bus, ret, queues, n_queues, prefetch, err);
}

/** bus_receive() - Return: how many (up to max), 0 when the time is over or it was woken, -kind.
 *  timeout_ms < 0 waits for ever. */
static inline int bus_receive(struct bus_consumer *consumer, struct bus_message *ret, size_t max,
                              int64_t timeout_ms, struct error *err)
{
        return consumer->ops->receive(consumer, ret, max, timeout_ms, err);
}

static inline int bus_ack(struct bus_consumer *consumer, uint64_t tag, struct error *err)
{
        return consumer->ops->ack(consumer, &tag, 1, err);
}

static inline int bus_ack_all(struct bus_consumer *consumer, const uint64_t *tags, size_t n,
                              struct error *err)
{
        return consumer->ops->ack(consumer, tags, n, err);
}

/** bus_retry() - put it back, to be delivered again after delay_ms with its count raised */
static inline int bus_retry(struct bus_consumer *consumer, uint64_t tag, int64_t delay_ms,
                            const char *reason, struct error *err)
{
        return consumer->ops->retry(consumer, tag, delay_ms, reason, err);
}

static inline int bus_dead(struct bus_consumer *consumer, uint64_t tag, const char *reason,
                           struct error *err)
{
        return consumer->ops->dead(consumer, tag, reason, err);
}

/** bus_consumer_wake() - end a bus_receive() that waits, from any thread */
static inline void bus_consumer_wake(struct bus_consumer *consumer)
{
        consumer->ops->wake(consumer);
}

static inline void bus_consumer_close(struct bus_consumer *consumer)
{
        if (consumer)
                consumer->ops->consumer_close(consumer);
}

static inline int bus_depth(struct bus *bus, const char *queue, int64_t *ret_ready,
                            int64_t *ret_unsettled, struct error *err)
{
        return bus->ops->depth(bus, queue, ret_ready, ret_unsettled, err);
}

/* Topics: "build.ID" when a build changed (body: its version), "log.JOB" when lines of a job were
 * stored (body: the newest line number). */
static inline void bus_topic_publish(struct bus *bus, const char *topic, const void *bytes,
                                     size_t n)
{
        bus->ops->topic_publish(bus, topic, bytes, n);
}

static inline int bus_topic_subscribe(struct bus *bus, struct bus_topic **ret, const char *prefix,
                                      struct error *err)
{
        return bus->ops->topic_subscribe(bus, ret, prefix, err);
}

static inline int bus_topic_next(struct bus_topic *topic, char **ret_topic, char **ret_body,
                                 int64_t *ret_lost, int64_t timeout_ms, struct error *err)
{
        return topic->ops->topic_next(topic, ret_topic, ret_body, ret_lost, timeout_ms, err);
}

static inline void bus_topic_wake(struct bus_topic *topic)
{
        topic->ops->topic_wake(topic);
}

static inline void bus_topic_close(struct bus_topic *topic)
{
        if (topic)
                topic->ops->topic_close(topic);
}

static inline void bus_close(struct bus *bus)
{
        if (bus)
                bus->ops->close(bus);
}

/** struct bus_adapter - one line of the table that main.c hands to bus_open() */
struct bus_adapter {
        const char *scheme; /* "sqlite", "amqp", … */
        int (*open)(struct bus **ret, const char *url, void *context, struct error *err);
        void *context;
};

/** bus_open() - the adapter whose scheme the url starts with */
int bus_open(struct bus **ret, const struct bus_adapter *table, size_t n, const char *url,
             struct error *err);
