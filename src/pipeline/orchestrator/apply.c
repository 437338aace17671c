#include "pipeline/orchestrator/apply.h"

#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"
#include "domain/build.h"
#include "wire/job_result.h"

#include "base/banned.h"

#define SOME_EXECUTOR "unknown"

static const char *keep(struct build *build, const char *text)
{
        return text && text[0] ? arena_copy(build->arena, text) : "";
}

/* All attempts of all jobs are in one stored document, so each keeps little: the last lines that
 * fit, whole ones where there are any. */
static const char *keep_tail(struct build *build, const char *tail)
{
        size_t n = strlen(tail);
        const char *from = n > APPLY_TAIL_BYTES_MAX ? tail + (n - APPLY_TAIL_BYTES_MAX) : tail;
        const char *line = from > tail ? strchr(from, '\n') : NULL;

        if (line && line[1])
                return arena_copy(build->arena, line + 1);
        while (((unsigned char)*from & 0xc0) == 0x80)
                from++;
        return arena_copy(build->arena, from);
}

static struct attempt *find_attempt(struct job *job, int number)
{
        for (size_t i = 0; i < job->n_attempts; i++) {
                if (job->attempts[i].number == number)
                        return &job->attempts[i];
        }
        return NULL;
}

/* The plan names every step before the attempt begins; more can only come from a newer executor. */
static int have_step(struct build *build, struct attempt *attempt, int step, struct error *err)
{
        size_t n = attempt->n_steps;
        struct step_run *old = attempt->steps;

        if (step < 0 || step >= APPLY_STEPS_MAX)
                return error_set(err, ERROR_INVALID, "a result speaks of step %d", step);
        if ((size_t)step < n)
                return 0;
        build_set_steps(build, attempt, (size_t)step + 1);
        if (n)
                memcpy(attempt->steps, old, n * sizeof(*old));
        return 0;
}

static int start_attempt(struct build *build, struct attempt *attempt,
                         const struct job_result *result)
{
        bool sandbox_runs = result->kind != RESULT_ACCEPTED;

        if (attempt->state == STATE_RUNNING && (attempt->started_at || !sandbox_runs))
                return 0;
        attempt->state = STATE_RUNNING;
        if (!attempt->executor[0])
                attempt->executor = keep(build, text_or(result->executor, SOME_EXECUTOR));
        if (sandbox_runs)
                attempt->started_at = result->at;
        return 1;
}

static int start_step(struct build *build, struct attempt *attempt, const struct job_result *result,
                      struct error *err)
{
        struct step_run *step;

        if (have_step(build, attempt, result->step, err) < 0)
                return -ERROR_INVALID;
        step = &attempt->steps[result->step];
        if (step->state != STATE_QUEUED)
                return 0;
        start_attempt(build, attempt, result);
        attempt->step_started = true;
        step->state = STATE_RUNNING;
        step->started_at = result->at;
        step->first_line = result->first_line;
        if (!step->name[0])
                step->name = keep(build, result->step_name);
        return 1;
}

static void copy_step_end(struct build *build, struct step_run *step,
                          const struct job_result *result)
{
        step->state = result->state;
        step->reason = result->reason;
        step->reason_text = keep(build, result->reason_text);
        step->exit_code = result->exit_code;
        step->signal = result->signal;
        step->duration_ms = result->duration_ms;
        step->cpu_ms = result->cpu_ms;
        step->max_rss_bytes = result->max_rss_bytes;
        step->first_line = result->first_line;
        step->last_line = result->last_line;
        if (!step->started_at && result->state != STATE_SKIPPED)
                step->started_at = result->at - result->duration_ms;
        if (!step->name[0])
                step->name = keep(build, result->step_name);
}

static int end_step(struct build *build, struct attempt *attempt, const struct job_result *result,
                    struct error *err)
{
        struct step_run *step;

        if (have_step(build, attempt, result->step, err) < 0)
                return -ERROR_INVALID;
        if (!state_ended(result->state))
                return error_set(err, ERROR_INVALID, "a step finished in the state %s",
                                 state_name(result->state));
        step = &attempt->steps[result->step];
        if (state_ended(step->state))
                return 0;
        start_attempt(build, attempt, result);
        if (result->state != STATE_SKIPPED)
                attempt->step_started = true;
        copy_step_end(build, step, result);
        if (result->tail && result->tail[0])
                attempt->tail = keep_tail(build, result->tail);
        return 1;
}

static void end_open_steps(struct attempt *attempt)
{
        for (size_t i = 0; i < attempt->n_steps; i++) {
                struct step_run *step = &attempt->steps[i];

                if (step->state == STATE_RUNNING) {
                        step->state = attempt->state;
                        step->reason = attempt->reason;
                        step->reason_text = attempt->reason_text;
                } else if (step->state == STATE_QUEUED) {
                        step->state = STATE_SKIPPED;
                }
        }
}

static int end_attempt(struct build *build, struct attempt *attempt,
                       const struct job_result *result, struct error *err)
{
        if (!state_ended(result->state))
                return error_set(err, ERROR_INVALID, "an attempt finished in the state %s",
                                 state_name(result->state));
        if (!attempt->executor[0])
                attempt->executor = keep(build, text_or(result->executor, SOME_EXECUTOR));
        attempt->state = result->state;
        attempt->reason = result->reason;
        attempt->reason_text = keep(build, result->reason_text);
        attempt->exit_code = result->exit_code;
        attempt->finished_at = result->at;
        attempt->duration_ms = result->duration_ms;
        attempt->log_lines = result->log_lines;
        attempt->log_bytes = result->log_bytes;
        if (result->tail && result->tail[0] && !attempt->tail)
                attempt->tail = keep_tail(build, result->tail);
        end_open_steps(attempt);
        return 1;
}

/* Handed back before a step began: as if it had never been, but visible. */
static int return_attempt(struct build *build, struct attempt *attempt,
                          const struct job_result *result)
{
        if (!attempt->executor[0])
                attempt->executor = keep(build, text_or(result->executor, SOME_EXECUTOR));
        attempt->state = attempt->step_started ? STATE_ERROR : STATE_CANCELLED;
        attempt->reason = attempt->step_started ? REASON_EXECUTOR_LOST : REASON_SUPERSEDED;
        attempt->reason_text =
                result->reason_text && result->reason_text[0]
                        ? keep(build, result->reason_text)
                        : build_text(build, "handed back by the executor %s", attempt->executor);
        attempt->finished_at = result->at;
        end_open_steps(attempt);
        return 1;
}

static int apply_to_live(struct build *build, struct attempt *attempt,
                         const struct job_result *result, struct error *err)
{
        switch (result->kind) {
        case RESULT_ACCEPTED:
        case RESULT_STARTED:
                return start_attempt(build, attempt, result);
        case RESULT_STEP_STARTED:
                return start_step(build, attempt, result, err);
        case RESULT_STEP_FINISHED:
                return end_step(build, attempt, result, err);
        case RESULT_FINISHED:
                return end_attempt(build, attempt, result, err);
        case RESULT_RETURNED:
                return return_attempt(build, attempt, result);
        }
        return error_set(err, ERROR_INVALID, "a result of the unknown kind %d", (int)result->kind);
}

int apply_result(struct build *build, const struct job_result *result, struct error *err)
{
        struct job *job = build_job_by_id(build, result->job_id);
        struct attempt *attempt = job ? find_attempt(job, result->attempt) : NULL;

        if (!attempt)
                return error_set(err, ERROR_DENIED, "the build has no attempt %d of the job %s",
                                 result->attempt, result->job_id);
        if (strcmp(attempt->token, result->token) != 0)
                return error_set(err, ERROR_DENIED,
                                 "the token is not that of attempt %d of %s: the result of a "
                                 "stale executor is refused",
                                 attempt->number, job->name);
        if (!state_ended(attempt->state))
                return apply_to_live(build, attempt, result, err);
        if (result->kind != RESULT_FINISHED || result->state == attempt->state)
                return 0;
        return error_set(
                err, ERROR_DENIED, "attempt %d of %s has ended as %s; a later end as %s is refused",
                attempt->number, job->name, state_name(attempt->state), state_name(result->state));
}
