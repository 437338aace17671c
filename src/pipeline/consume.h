#pragma once
/*
 * consume - receive, handle, settle: the one place that turns a kind of error into ack, retry or
 * dead letter
 *
 * INVALID, NOT_FOUND, DENIED, LIMIT: dead letter with the error's text. UNAVAILABLE, CONFLICT,
 * CANCELLED: retry with a back-off that doubles from 200 ms to 30 s and jitters. BUG: dead letter,
 * logged as an error. A message that was delivered attempts_max times without being settled goes to
 * the dead letter too ("crashed its consumer"). A bus that is away is waited for, with back-off.
 */
#include <stdatomic.h>
#include <stdbool.h>

#include "ports/bus.h"

struct consume;

/**
 * struct consume_spec - borrowed for the life of the consumer
 * @service: for logs; @queues: which; @prefetch: as in the topology
 * @handle: decodes and handles one message; 0 acks it
 * @attempts_max: 0: no limit (logs, results)
 */
struct consume_spec {
        struct bus *bus;
        const char *service;
        const char *const *queues;
        size_t n_queues;
        int prefetch;
        int attempts_max;
        int (*handle)(void *data, const struct bus_message *message, struct error *err);
        void *data;
};

int consume_open(struct consume **ret, const struct consume_spec *spec, struct error *err);
/** consume_run() - until consume_stop(); runs on the caller's thread */
void consume_run(struct consume *consume);
/** consume_stop() - from any thread; the message in hand is finished first */
void consume_stop(struct consume *consume);
void consume_close(struct consume *consume);
