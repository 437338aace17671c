#pragma once
/*
 * build - what the product is about: a commit that was pushed, its jobs, their attempts and steps
 *
 * Pure values. A build owns everything below it through its arena: texts and arrays live as long as
 * the build; build_text() makes new ones. The orchestrator is the only one that changes a stored
 * build. Times are wall-clock milliseconds since 1970 (0: not yet); durations are measured apart.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

enum state {
        STATE_QUEUED,
        STATE_RUNNING,
        STATE_SUCCESS,
        STATE_FAILED, /* the user's code */
        STATE_ERROR,  /* ours: infrastructure or configuration */
        STATE_CANCELLED,
        STATE_SKIPPED,
        STATE_TIMEOUT,
        STATE_BLOCKED, /* waits for approval */
};

enum reason {
        REASON_NONE,
        REASON_EXIT_CODE,
        REASON_SIGNAL,
        REASON_TIMEOUT,
        REASON_OUT_OF_MEMORY,
        REASON_PIDS_LIMIT,
        REASON_DISK_LIMIT,
        REASON_CANCELLED,
        REASON_SUPERSEDED,
        REASON_IMAGE_UNAVAILABLE,
        REASON_ENGINE_UNAVAILABLE,
        REASON_EXECUTOR_LOST,
        REASON_SOURCE_UNAVAILABLE,
        REASON_CONFIG_INVALID,
        REASON_LIMIT_EXCEEDED,
        REASON_INTERNAL,
        REASON_NEEDS, /* skipped: a job that this one needs did not succeed */
};

/** state_name(), reason_name() - the words of store, API, CLI and mail; reason NONE is "" */
const char *state_name(enum state state);
const char *reason_name(enum reason reason);
/** state_parse(), reason_parse() - the inverse; -1 for an unknown word */
int state_parse(const char *name);
int reason_parse(const char *name);
/** state_ended() - whether nothing follows without a re-run */
bool state_ended(enum state state);

/**
 * struct step_run - a step of an attempt
 * @index: from 0; @id: what the file called it, or ""
 * @first_line, @last_line: of the job's log, 0 when it wrote nothing
 * @exit_code: -1 until known or when a signal ended it; @signal: 0: none
 */
struct step_run {
        int index;
        const char *id;
        const char *name;
        enum state state;
        enum reason reason;
        const char *reason_text;
        int exit_code;
        int signal;
        int64_t started_at;
        int64_t duration_ms;
        int64_t cpu_ms;
        int64_t max_rss_bytes;
        int64_t first_line;
        int64_t last_line;
};

/**
 * struct attempt - one try of a job
 * @number: from 1; @token: fences results; @round: of the build when it was made
 * @started: a step has started (then it is not retried by itself)
 * @dispatched_at: when its message was last put on sandbox.queue
 * @tail: last masked lines of the failing step (at most 30), or NULL
 */
struct attempt {
        int number;
        int round;
        const char *token;
        enum state state;
        enum reason reason;
        const char *reason_text;
        int exit_code;
        const char *executor;
        bool step_started;
        int64_t created_at;
        int64_t dispatched_at;
        int64_t started_at;
        int64_t finished_at;
        int64_t duration_ms;
        int64_t log_lines;
        int64_t log_bytes;
        const char *tail;
        struct step_run *steps;
        size_t n_steps;
};

/**
 * struct job - a job of the plan
 * @name: its key in the file, unique in the build; @title: what is shown
 * @attempts: the newest last; none: not dispatched yet
 */
struct job {
        const char *id;
        const char *name;
        const char *title;
        const char *image;
        const char **needs;
        size_t n_needs;
        bool continue_on_error;
        int retry_max;
        bool retry_infra;
        bool retry_timeout;
        bool retry_failure;
        const char *retry_codes; /* exit codes that retry_failure is limited to: "75,137", or "" */
        enum state state;
        enum reason reason;
        const char *reason_text;
        struct attempt *attempts;
        size_t n_attempts;
};

/**
 * struct build
 * @version: counts every change (compare and swap); @number: per repository; @round: re-runs from 1
 * @repo: "owner/name"; @ref: refs/heads/main; @branch: main, or the tag's name; @commit: 40 or 64
 * hex
 * @author, @committer, @pusher with their mail addresses: as the payload or the commit says; may be
 * ""
 * @event: push, tag, pull_request, schedule, manual; @pull_request: its number or 0; @fork: strict
 * profile
 * @previous: the end state of the build before on this branch, or "" (for the policy `change`)
 * @notify: always, change, failure, never, or "": the administrator's policy
 * @findings: for config_invalid: what `argon lint` would print, or NULL
 */
struct build {
        struct arena *arena;
        const char *id;
        int64_t version;
        int round;
        int64_t number;
        const char *forge;
        const char *repo;
        const char *clone_url;
        const char *ref;
        const char *branch;
        const char *commit;
        const char *message;
        const char *author;
        const char *author_email;
        const char *committer_email;
        const char *pusher;
        const char *pusher_email;
        const char *event;
        int64_t pull_request;
        bool fork;
        const char *project_type;
        const char *delivery_id;
        const char *title;
        const char *previous;
        const char *notify;
        const char *findings;
        bool cancel_requested;
        bool notified; /* the notification of this round was published */
        enum state state;
        enum reason reason;
        const char *reason_text;
        int64_t created_at;
        int64_t started_at;
        int64_t finished_at;
        struct job *jobs;
        size_t n_jobs;
};

struct build *build_new(void);
void build_free(struct build *build);

static inline void build_freep(struct build **build)
{
        if (*build)
                build_free(*build);
}

/** build_text() - a formatted text that lives as long as the build */
const char *build_text(struct build *build, const char *format, ...)
        __attribute__((__format__(__printf__, 2, 3)));
/** build_set_jobs() - n zeroed jobs with exit codes unset; only once */
void build_set_jobs(struct build *build, size_t n);
struct job *build_job(struct build *build, const char *name);
struct job *build_job_by_id(struct build *build, const char *id);
/** job_attempt() - the newest attempt, or NULL */
struct attempt *job_attempt(const struct job *job);
/** job_retries_code() - whether a failure with this exit code is one that retry_codes takes */
bool job_retries_code(const struct job *job, int exit_code);
/** build_add_attempt() - the next attempt of a job, queued, with its number and round */
struct attempt *build_add_attempt(struct build *build, struct job *job);
/** build_set_steps() - n zeroed steps, numbered, queued, exit code -1 */
void build_set_steps(struct build *build, struct attempt *attempt, size_t n);
