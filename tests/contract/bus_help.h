#pragma once
/*
 * bus_help - what the cases of the bus contract have in common
 */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "ports/bus.h"
#include "tests/contract/bus_contract.h"
#include "tests/support/test.h"

#define QUEUE "webhook.queue"
#define OTHER_QUEUE "control.queue"
#define LOG_QUEUE "log.queue"
#define LONG_MS 10000

static inline const struct bus_opener *the_opener(void **state)
{
        return *state;
}

static inline struct bus *fresh(void **state)
{
        const struct bus_opener *opener = the_opener(state);

        opener->clean(opener->data);
        return opener->open(opener->data);
}

static inline struct bus *again(void **state)
{
        const struct bus_opener *opener = the_opener(state);

        return opener->open(opener->data);
}

static inline void done(void **state, struct bus *bus)
{
        const struct bus_opener *opener = the_opener(state);

        opener->close(opener->data, bus);
}

static inline void publish(struct bus *bus, const char *queue, const char *text)
{
        struct error err;

        assert_ok(bus_publish(bus, queue, text, strlen(text), &err), err);
}

static inline struct bus_consumer *consumer_of(struct bus *bus, const char *queue, int prefetch)
{
        struct bus_consumer *consumer = NULL;
        struct error err;

        assert_ok(bus_consume(bus, &consumer, &queue, 1, prefetch, &err), err);
        return consumer;
}

static inline struct bus_message receive(struct bus_consumer *consumer)
{
        struct bus_message message = {0};
        struct error err = {0};
        int n = bus_receive(consumer, &message, 1, LONG_MS, &err);

        if (n != 1)
                fail_msg("received %d: %s", n, err.text);
        return message;
}

static inline void assert_nothing(struct bus_consumer *consumer, int64_t ms)
{
        struct bus_message message = {0};
        struct error err = {0};
        int n = bus_receive(consumer, &message, 1, ms, &err);

        if (n != 0)
                fail_msg("received %d: %s%.*s", n, err.text, (int)message.len, message.body);
}

static inline void ack(struct bus_consumer *consumer, const struct bus_message *message)
{
        struct error err;

        assert_ok(bus_ack(consumer, message->tag, &err), err);
}

static inline void assert_body(const struct bus_message *message, const char *text)
{
        assert_int_equal(message->len, strlen(text));
        assert_memory_equal(message->body, text, message->len);
}

static inline void assert_depth(struct bus *bus, const char *queue, int64_t ready,
                                int64_t unsettled)
{
        int64_t is_ready = -1;
        int64_t is_unsettled = -1;
        struct error err;

        assert_ok(bus_depth(bus, queue, &is_ready, &is_unsettled, &err), err);
        assert_int_equal(is_ready, ready);
        assert_int_equal(is_unsettled, unsettled);
}

static inline void take_and_ack(struct bus_consumer *consumer, const char *text)
{
        struct bus_message message = receive(consumer);

        assert_body(&message, text);
        ack(consumer, &message);
}
