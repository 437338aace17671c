#pragma once
/*
 * watch - how long leases have been silent and dispatches unanswered, by our own monotonic clock
 *
 * An executor counts up a beat; only whether it moves matters, never what any clock of the executor
 * says. After a start of ours, or when the store was away, every lease has its full time again.
 * Belongs to one thread.
 */
#include <stddef.h>
#include <stdint.h>

struct lease;
struct reconcile_fact;
struct watch;

struct watch *watch_new(void);
void watch_free(struct watch *watch);

/** watch_leases() - all unreleased leases, as the store has them now */
void watch_leases(struct watch *watch, const struct lease *leases, size_t n, int64_t now_ms);
/** watch_restart() - the store was away: nobody could beat, and nobody is to blame for it */
void watch_restart(struct watch *watch, int64_t now_ms);
/** watch_published() - the attempt's message was put on the queue (again) */
void watch_published(struct watch *watch, const char *job_id, int attempt, int64_t now_ms);
/** watch_claimed() - somebody has its lease, though it was not seen among them */
void watch_claimed(struct watch *watch, const char *job_id, int attempt, int64_t now_ms);
/** watch_fact() - what is known; an attempt not seen before is new from now on */
void watch_fact(struct watch *watch, const char *job_id, int attempt, int64_t now_ms,
                struct reconcile_fact *ret);
/** watch_sweep() - forget attempts that watch_fact() was not asked about since the sweep before */
void watch_sweep(struct watch *watch);
