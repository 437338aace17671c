#pragma once
/*
 * sqlite_consumer - a consumer's messages in hand, shared by receiving and settling
 */
#include <pthread.h>
#include <stdbool.h>

#include "adapters/bus/sqlite_bus.h"

/** struct sqlite_hand - a message that this consumer has taken
 *  @given: handed to the consumer's owner, and not only prefetched */
struct sqlite_hand {
        struct sqlite_queue *queue;
        int64_t id;
        uint64_t tag;
        int attempts;
        int64_t first_seen;
        char *reason;
        char *body;
        size_t len;
        bool given;
};

/* Belongs to one thread, except for woken and wake, which are under the bus's lock. */
struct sqlite_consumer {
        struct bus_consumer consumer;
        struct sqlite_bus *bus;
        struct sqlite_queue **queues;
        size_t n_queues;
        size_t first; /* the queue to ask first, in turn */
        size_t prefetch;
        struct sqlite_hand *hand; /* in the order taken, room for prefetch */
        size_t n_hand;
        uint64_t next_tag;
        bool woken;
        pthread_cond_t wake;
        struct sqlite_consumer *next;
};

/** sqlite_hand_drop() - forget the message at this place */
void sqlite_hand_drop(struct sqlite_consumer *consumer, size_t place);
