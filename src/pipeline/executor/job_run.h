#pragma once
/*
 * job_run - runs one attempt of one job to its end
 *
 * Source, image and sandbox are prepared at the same time; then argon-step gets its plan over the
 * socket in the control folder and its frames become masked, numbered log entries and results,
 * which go to the sink. Whatever happens, the sandbox, the workspace and the control folder are
 * gone when job_run() returns, unless it was told to detach from a running sandbox: then all stays
 * for the next process, which calls job_run() with `resume` set.
 *
 * A server hands in a sink that writes the spool (see spool.h); `argon exec` hands in one that
 * prints. One call uses the caller's thread and a few of its own, all joined before it returns.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "domain/build.h"
#include "pipeline/executor/job_stop.h"

struct engine;
struct error;
struct forge;
struct job_result;
struct log_entry;
struct order;
struct sandbox;

#define JOB_LOG_MAX_DEFAULT (INT64_C(1) << 30)
#define JOB_ORPHAN_MAX_DEFAULT_MS (15 * 60 * 1000)
#define JOB_STARTS_MAX 10 /* processes that may die preparing one attempt */
#define JOB_CONNECT_MAX_MS (60 * 1000)
#define JOB_DEADLINE_SLACK_MS (30 * 1000)
#define JOB_CANCEL_MAX_MS 3000 /* what a cancelled job gets to end by itself */

/**
 * struct job_sink - where everything goes; called on the thread of job_run() only
 * @log: an entry of the job's log (numbered from seq 1), bytes already masked; copy what you keep
 * @result: how the attempt goes on; copy what you keep
 * @event: a service's own line about the job ("Creating container"), in the fixed vocabulary;
 *         @context: JSON object as text
 * @commit: everything since the last commit belongs together and is to be made durable with the
 *         state, from which a later job_run() resumes; what it covers is acknowledged to argon-step
 *         afterwards. May wait (a full spool) until cancel_fd is readable. NULL: nothing is kept.
 */
struct job_sink {
        void (*log)(void *data, const struct log_entry *entry);
        void (*result)(void *data, const struct job_result *result);
        void (*event)(void *data, enum log_severity severity, const char *message,
                      const char *context);
        int (*commit)(void *data, const void *state, size_t n, int cancel_fd, struct error *err);
        void *data;
};

/** struct job_secret - a secret of the job: in the environment of its steps, and masked */
struct job_secret {
        const char *name;
        const char *value;
};

/**
 * struct job_options - borrowed for the call
 * @executor: id for results; @slot: 0…, each used by one job at a time
 * @forge: fills the workspace from the order's commit; or NULL, and then
 * @fill: fills the empty folder (a copy of a work tree); runs on a thread of its own
 * @work: folder for workspaces; @control: folder for control folders (short: a socket's path has
 *         at most 107 bytes); @name: of this attempt's folders in both, short and unique here
 * @masks: file for values learned from ::add-mask::, on a tmpfs; NULL: not kept
 * @secrets: values for order->secrets and for masking; @masked: further values to mask
 * @log_max: bytes of log kept; @orphan_max_ms: how long the job goes on without an executor
 * @cancel_ms: what a cancelled job gets to end by itself; 0: JOB_CANCEL_MAX_MS
 * @before_remove: when the job has ended, before its sandbox and workspace are removed; or NULL
 * @keep: leave the workspace (its path is told to before_remove)
 * @resume: go on with this running or ended sandbox (taken), @state: what was committed last
 */
struct job_options {
        const struct order *order;
        struct engine *engine;
        struct forge *forge;
        int (*fill)(void *data, const char *folder, int cancel_fd, struct error *err);
        void *fill_data;
        const char *executor;
        int slot;
        const char *work;
        const char *control;
        const char *name;
        const char *masks;
        const struct job_secret *secrets;
        size_t n_secrets;
        const char *const *masked;
        size_t n_masked;
        int64_t log_max;
        int64_t orphan_max_ms;
        int64_t cancel_ms;
        struct job_sink sink;
        struct job_stop *stop;
        void (*before_remove)(void *data, enum state state, const struct sandbox *sandbox,
                              const char *workspace);
        void *before_remove_data;
        bool keep;
        struct sandbox *resume;
        const void *state;
        size_t n_state;
};

/** enum job_end - ENDED: `finished` went to the sink; RETURNED: `returned` did, before a step
 *  started; DETACHED: nothing did, the sandbox runs on and everything stays for the next process;
 *  ABANDONED: nothing did, everything is removed */
enum job_end { JOB_ENDED, JOB_RETURNED, JOB_DETACHED, JOB_ABANDONED };

/** struct job_outcome - what the finished result said; free the text with job_outcome_done() */
struct job_outcome {
        enum job_end end;
        enum state state;
        enum reason reason;
        char *reason_text;
        int exit_code;
        int failed_step; /* index, or -1 */
        int64_t duration_ms;
        int64_t log_lines;
        int64_t log_bytes;
};

void job_outcome_done(struct job_outcome *outcome);

/**
 * job_run() - from the order to the end
 *
 * A job that fails, times out or cannot be prepared is a result, not an error of this call.
 *
 * Return: 0 with *ret filled; -kind only when the sink could not commit: then everything stays as
 * with DETACHED.
 */
int job_run(struct job_outcome *ret, const struct job_options *options, struct error *err);
