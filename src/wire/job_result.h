#pragma once
/*
 * job_result - a message of result.queue: how an attempt goes on
 *
 * In order for one (job, attempt, token): accepted, started, then per step step_started and
 * step_finished, at last finished. Each has its own id `job/attempt/n`: duplicates change nothing.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "domain/build.h"

struct arena;
struct error;
struct str;

enum result_kind {
        RESULT_ACCEPTED,
        RESULT_STARTED, /* the sandbox runs */
        RESULT_STEP_STARTED,
        RESULT_STEP_FINISHED,
        RESULT_FINISHED,
        RESULT_RETURNED, /* handed back before a step started: dispatch it again */
};

/**
 * struct job_result
 * @seq: n of its id, from 1 within the attempt
 * @step: index from 0, for step_*; @first_line, @last_line: of the step's output, 0: none
 * @state: end state for step_finished and finished
 * @reason_text: a sentence with figures ("timed out after 60 s"), masked
 * @tail: the last 30 lines of a failed step, masked, or ""
 * @log_lines, @log_bytes: for finished
 * @at: wall ms; @duration_ms: measured by the monotonic clock
 */
struct job_result {
        struct arena *arena;
        enum result_kind kind;
        const char *build_id;
        const char *job_id;
        int attempt;
        const char *token;
        int64_t seq;
        const char *executor;
        int step;
        const char *step_name;
        enum state state;
        enum reason reason;
        const char *reason_text;
        int exit_code;
        int signal;
        int64_t at;
        int64_t duration_ms;
        int64_t cpu_ms;
        int64_t max_rss_bytes;
        int64_t first_line;
        int64_t last_line;
        int64_t log_lines;
        int64_t log_bytes;
        const char *tail;
};

struct job_result *job_result_new(void);
void job_result_free(struct job_result *result);
static inline void job_result_freep(struct job_result **result)
{
        if (*result)
                job_result_free(*result);
}

void job_result_encode(const struct job_result *result, struct str *ret);
int job_result_decode(struct job_result **ret, const char *text, size_t n, struct error *err);
