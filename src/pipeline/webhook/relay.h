#pragma once
/*
 * relay - the thread that publishes what the journal holds unpublished
 *
 * In batches, oldest first, to webhook.queue; then the journal is told. A crash in between
 * publishes twice: the orchestrator knows the delivery by its id. When the bus or the store is away
 * it tries again with a back-off that doubles from 100 ms to 30 s.
 */
#include <stdint.h>

struct bus;
struct error;
struct relay;
struct store;

/** relay_open() - starts the thread, which looks at once */
int relay_open(struct relay **ret, struct bus *bus, struct store *store, struct error *err);
/** relay_close() - a batch in hand is finished */
void relay_close(struct relay *relay);
/** relay_wake() - there is something new; from any thread */
void relay_wake(struct relay *relay);
void relay_stats(struct relay *relay, uint64_t *ret_published, uint64_t *ret_failures);
