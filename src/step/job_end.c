/*
 * How a job comes to its end: what decided is kept, every process that is left is killed, what they
 * had written is taken, and JOB_END is said.
 */
#include "step/job_end.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "step/job.h"
#include "step/line.h"
#include "step/workspace.h"

#include "base/banned.h"

#define WORKSPACE "/workspace"
#define ORPHAN_DEFAULT_MS (15 * 60 * 1000)

void job_emit(struct job *job, const struct step_event *event)
{
        scoped_str struct str bytes = STR_INIT;

        step_event_encode(&bytes, event);
        ring_put(&job->line->ring, bytes.data, bytes.len);
}

int64_t job_ms(const struct job *job)
{
        return job->began_at ? clock_ms() - job->began_at : 0;
}

int64_t job_orphan_max(const struct job *job)
{
        return job->plan.orphan_max_ms ? job->plan.orphan_max_ms : ORPHAN_DEFAULT_MS;
}

static void say_duration(char *text, size_t size, const char *what, int64_t ms)
{
        if (ms % 1000 == 0)
                snprintf(text, size, "%s timed out after %lld s", what, (long long)(ms / 1000));
        else
                snprintf(text, size, "%s timed out after %lld.%03lld s", what,
                         (long long)(ms / 1000), (long long)(ms % 1000));
}

/* A sentence for causes that are not the kernel's. */
void job_say_cause(const struct job *job, enum step_cause cause, char *text, size_t size)
{
        const struct step_plan_step *step = &job->plan.steps[job->step];

        text[0] = '\0';
        switch (cause) {
        case STEP_CAUSE_TIMEOUT:
                say_duration(text, size, "the step", step->timeout_ms);
                break;
        case STEP_CAUSE_JOB_TIMEOUT:
                say_duration(text, size, "the job", job->plan.timeout_ms);
                break;
        case STEP_CAUSE_CANCELLED:
                snprintf(text, size, "cancelled");
                break;
        case STEP_CAUSE_STOPPED:
                snprintf(text, size, "the sandbox was told to stop");
                break;
        case STEP_CAUSE_ORPHANED:
                snprintf(text, size, "no executor was there for %lld s",
                         (long long)(job_orphan_max(job) / 1000));
                break;
        default:
                break;
        }
}

enum step_job_result job_result_of(enum step_cause cause)
{
        switch (cause) {
        case STEP_CAUSE_TIMEOUT:
        case STEP_CAUSE_JOB_TIMEOUT:
                return STEP_JOB_TIMEOUT;
        case STEP_CAUSE_CANCELLED:
                return STEP_JOB_CANCELLED;
        case STEP_CAUSE_ORPHANED:
                return STEP_JOB_ORPHANED;
        case STEP_CAUSE_STOPPED:
                return STEP_JOB_STOPPED;
        case STEP_CAUSE_INTERNAL:
                return STEP_JOB_ERROR;
        default:
                return STEP_JOB_FAILED;
        }
}

void job_finish(struct job *job, enum step_job_result result, enum step_cause cause,
                const char *text)
{
        job->end.result = result;
        job->end.cause = cause;
        snprintf(job->end_text, sizeof(job->end_text), "%s", text);
        job->phase = JOB_KILLING;
        job->killed = false;
        job->give_up_at = clock_ms() + JOB_KILL_PATIENCE_MS;
        job->reaped_at_kill = job->reaper->reaped;
}

void job_warn(struct job *job, const char *text)
{
        size_t used = strlen(job->end_warning);

        snprintf(job->end_warning + used, sizeof(job->end_warning) - used, "%s%s", used ? "\n" : "",
                 text);
}

void job_tick_killing(struct job *job)
{
        reaper_collect(job->reaper);
        if (!job->reaper->alone) {
                reaper_kill_all(job->reaper);
                reaper_collect(job->reaper);
        }
        if (!job->reaper->alone && clock_ms() < job->give_up_at)
                return;
        if (!job->reaper->alone)
                job_warn(job, "a process could not be ended");
        job->end.killed = job->reaper->reaped - job->reaped_at_kill;
        if (job->outlets_open)
                outlets_mark_all(&job->outlets);
        job->phase = JOB_EMPTYING;
}

void job_tick_emptying(struct job *job)
{
        struct step_event event = {.type = STEP_FRAME_JOB_END};

        if (job->outlets_open && outlets_any_marked(&job->outlets))
                return;
        if (job->reaper->init)
                workspace_give_back(WORKSPACE);
        event.end = job->end;
        event.end.ms = job_ms(job);
        event.end.text = job->end_text;
        event.end.warning = job->end_warning;
        job_emit(job, &event);
        job->line->ended = true;
        job->phase = JOB_ENDED;
}

int job_exit_code(const struct job *job)
{
        switch (job->end.result) {
        case STEP_JOB_SUCCESS:
                return 0;
        case STEP_JOB_FAILED:
                if (job->end.signal)
                        return 128 + job->end.signal;
                return job->end.exit_code > 0 ? job->end.exit_code : 127;
        case STEP_JOB_TIMEOUT:
                return 124;
        case STEP_JOB_CANCELLED:
                return 130;
        default:
                return 125;
        }
}
