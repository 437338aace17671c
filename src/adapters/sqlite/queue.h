#pragma once
/*
 * queue - the tables of durable queues, which both files have
 *
 * The body stands apart, so that marking a message as taken does not write its body again.
 * Order within a state is that of the ids, which count up.
 */
#define QUEUE_READY 0
#define QUEUE_UNSETTLED 1
#define QUEUE_DELAYED 2

#define QUEUE_SCHEMA                                                               \
        "CREATE TABLE queue_message ("                                             \
        " id INTEGER PRIMARY KEY,"                                                 \
        " queue TEXT NOT NULL,"                                                    \
        " state INTEGER NOT NULL,"      /* QUEUE_READY … */                      \
        " due INTEGER NOT NULL,"        /* monotonic ms of delayed */              \
        " attempts INTEGER NOT NULL,"   /* deliveries so far */                    \
        " first_seen INTEGER NOT NULL," /* wall ms */                              \
        " reason TEXT NOT NULL"         /* of the last retry, or why it is dead */ \
        ") STRICT;"                                                                \
        "CREATE INDEX queue_order ON queue_message (queue, state);"                \
        "CREATE TABLE queue_body (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;"
