#pragma once
/*
 * orchestrator - from an accepted event to an ended build
 *
 * The only writer of builds. It reads the source of each event, plans its jobs, dispatches them,
 * takes their results, and tells the notifier when a build has ended. The stored build is the
 * truth: whatever is lost on a queue, or half done when the process died, is found again by
 * looking at the builds that are not finished. A clock runs only while there is one.
 *
 * Threads (all started by orchestrator_open): a few that read sources (webhook.queue), one for what
 * people ask (control.queue), one for results (result.queue), one that dispatches and watches
 * leases, and one for sources that nobody waits for on a queue (manual runs, re-runs).
 */
#include <stdint.h>

#include "domain/plan.h"

struct bus;
struct error;
struct forge;
struct orchestrator;
struct store;

/**
 * struct orchestrator_options - ports and texts are borrowed and must outlive the orchestrator
 * @url: what links start with, without a slash at the end
 * @limits: what a job gets and the most it may ask for
 * @source_threads: how many sources are read at once; 0: 4
 * @spare_dispatches: dispatched beyond the known free slots, so that an executor that is not in the
 *         registry yet finds work; 0: 2
 * @lost_ms: an executor whose lease does not move for so long is lost; 0: 30 s
 * @reissue_ms: a dispatch that nobody takes counts as lost after so long; 0: 5 s
 * @tick_ms: how often leases are looked at while something is unfinished; 0: 2 s
 */
struct orchestrator_options {
        struct bus *bus;
        struct store *store;
        struct forge *forge;
        const char *url;
        struct plan_limits limits;
        int source_threads;
        int spare_dispatches;
        int64_t lost_ms;
        int64_t reissue_ms;
        int64_t tick_ms;
};

int orchestrator_open(struct orchestrator **ret, const struct orchestrator_options *options,
                      struct error *err);
/** orchestrator_close() - what is in hand is finished or put back, then the threads end */
void orchestrator_close(struct orchestrator *orchestrator);
