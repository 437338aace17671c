#pragma once
/*
 * topology - who talks to whom, as a table: which queue is written and read by whom
 *
 * An adapter that needs to declare queues reads this table; a check in the suite holds the code of
 * each service against it.
 */
#include <stddef.h>

#define QUEUE_WEBHOOK "webhook.queue"
#define QUEUE_CONTROL "control.queue"
#define QUEUE_SANDBOX "sandbox.queue"
#define QUEUE_RESULT "result.queue"
#define QUEUE_LOG "log.queue"
#define QUEUE_NOTIFICATION "notification.queue"

/** struct topology_queue - @publishers, @consumer: names of services (publishers separated by
 * spaces)
 *  @prefetch: 1 on job queues (a poison message would drag its neighbours along) */
struct topology_queue {
        const char *name;
        const char *publishers;
        const char *consumer;
        int prefetch;
};

const struct topology_queue *topology_queues(size_t *ret_n);
