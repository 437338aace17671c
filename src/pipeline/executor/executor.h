#pragma once
/*
 * executor - the service that runs jobs: takes references from sandbox.queue, claims their leases,
 * reads their orders from the store and runs each in a slot
 *
 * Owns the leases it holds, its row in the registry, and everything under DATA/work (workspaces),
 * DATA/jobs (control folders) and DATA/spool/jobs (outboxes). A message is acknowledged as soon as
 * the lease is claimed; from then on the lease and the spool carry the job over a restart: at its
 * start an executor finds the sandboxes and leases of the process before and goes on with them,
 * removes what has no lease, and only then takes new work.
 *
 * Threads: one per slot, one that keeps (recovery, then a beat every EXECUTOR_BEAT_MS while jobs
 * run; nothing while idle), one that listens for cancels.
 */
#include <stdint.h>

struct bus;
struct engine;
struct error;
struct executor;
struct forge;
struct store;

#define EXECUTOR_BEAT_MS (10 * 1000)
#define EXECUTOR_SLOTS_MAX 256

/**
 * struct executor_options - borrowed for the life of the executor
 * @data: folder, absolute; @name: for people (host and instance)
 * @labels: comma separated, what this executor offers; "" for none
 * @log_max, @orphan_max_ms: 0: their defaults
 * @grace_ms: how long executor_close() lets running jobs end; @beat_ms: 0: EXECUTOR_BEAT_MS
 */
struct executor_options {
        const char *data;
        struct bus *bus;
        struct store *store;
        struct engine *engine;
        struct forge *forge;
        const char *name;
        const char *labels;
        int slots;
        int64_t log_max;
        int64_t orphan_max_ms;
        int64_t grace_ms;
        int64_t beat_ms;
};

/** executor_open() - starts its threads; recovery goes on behind it */
int executor_open(struct executor **ret, const struct executor_options *options, struct error *err);
/**
 * executor_close() - take no more, wait grace_ms for running jobs, then hand back what has not
 * started a step and leave the rest running for the next process
 */
void executor_close(struct executor *executor);

/** executor_id() - the same over restarts; executor_running() - jobs in its slots now */
const char *executor_id(const struct executor *executor);
int executor_running(struct executor *executor);
