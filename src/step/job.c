/*
 * A step ends when its own process ends. What it left running in the background lives until the job
 * ends (a server for the next step), and its output keeps the step's number. What lay in the step's
 * pipes at its end is taken before STEP_FINISHED is said.
 *
 * Time limits do not count the time in which output had to wait for the executor.
 */
#include "step/job.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "step/job_end.h"
#include "step/line.h"
#include "step/rights.h"

#include "base/banned.h"

#define GRACE_DEFAULT_MS 10000
#define STOP_GRACE_MS 3000 /* for SIGTERM from outside: a Docker daemon kills after 10 s */
#define POLL_MS 10         /* while processes are being ended */
#define START_ROOM (OUTLETS_RESERVE / 2) /* free space of the ring before a step starts */

void job_open(struct job *job, struct line *line, struct reaper *reaper, const char *cgroup,
              int epoll, char *const *variables)
{
        *job = (struct job){.line = line, .reaper = reaper, .cgroup = cgroup, .epoll = epoll};
        job->shell.memory = -1;
        job->end.step = -1;
        spawn_open(&job->host, variables);
}

/* --- the plan --- */

static void tick_waiting(struct job *job)
{
        struct error err = {0};
        struct line *line = job->line;
        int result;

        if (!line->planned) {
                if (job->stop_cause != STEP_CAUSE_NONE)
                        job_finish(job, job_result_of(job->stop_cause), job->stop_cause,
                                   "ended before its plan came");
                return;
        }
        job->began_at = clock_ms();
        result = step_plan_decode(&job->plan, line->plan.data, line->plan.len, &err);
        if (result == 0)
                result = rights_supervisor(&job->plan, &err);
        if (result == 0)
                result = outlets_open(&job->outlets, &line->ring, job->epoll, job->plan.n_steps,
                                      job->began_at, &err);
        if (result < 0) {
                job_finish(job, STEP_JOB_ERROR, STEP_CAUSE_INTERNAL, err.text);
                return;
        }
        job->outlets_open = true;
        job->phase = JOB_BETWEEN;
}

/* --- steps --- */

/* What is said about a step whose process is known to have ended, or never began. */
static void emit_finished(struct job *job, const struct step_finished *finished)
{
        struct step_event event = {.type = STEP_FRAME_STEP_FINISHED, .finished = *finished};

        event.finished.step = (uint32_t)job->step;
        event.finished.ms = job_ms(job);
        job_emit(job, &event);
        if (*finished->warning)
                job_warn(job, finished->warning);
}

static void after_step(struct job *job, const struct step_finished *finished)
{
        const struct step_plan_step *step = &job->plan.steps[job->step];
        bool failed = finished->exit_code != 0 || finished->cause != STEP_CAUSE_NONE;
        bool job_over = job->stop_cause != STEP_CAUSE_NONE;

        emit_finished(job, finished);
        shell_done(&job->shell);
        outlets_release(&job->outlets, job->step);
        job->phase = JOB_BETWEEN;
        if (!job_over && (!failed || step->continue_on_error)) {
                job->step++;
                return;
        }
        job->end.step = (int)job->step;
        job->end.exit_code = finished->exit_code;
        job->end.signal = finished->signal;
        if (job_over) {
                char text[CAUSE_SENTENCE_MAX];

                job_say_cause(job, job->stop_cause, text, sizeof(text));
                job_finish(job, job_result_of(job->stop_cause), job->stop_cause, text);
        } else {
                job_finish(job, job_result_of(finished->cause), finished->cause, finished->text);
        }
}

static void start_failed(struct job *job, const struct error *err)
{
        struct step_finished finished = {
                .exit_code = -1, .cause = STEP_CAUSE_START, .text = err->text, .warning = ""};
        char text[CAUSE_SENTENCE_MAX];
        char warning[CAUSE_SENTENCE_MAX];

        /* A fork that the process limit refused is a limit's doing, not the step's. */
        if (cause_of(job->cgroup, job->plan.workspace, &job->before, true, text, warning) ==
            STEP_CAUSE_PIDS) {
                finished.cause = STEP_CAUSE_PIDS;
                finished.text = text;
        }
        after_step(job, &finished);
}

static void start_step(struct job *job)
{
        const struct step_plan_step *step = &job->plan.steps[job->step];
        struct step_event event = {.type = STEP_FRAME_STEP_STARTED,
                                   .started = {(uint32_t)job->step, job_ms(job)}};
        struct error err = {0};
        int output[2];
        int result;

        job_emit(job, &event);
        job->step_cause = STEP_CAUSE_NONE;
        job->kill_at = 0;
        job->killed = false;
        job->before = cause_read(job->cgroup);
        job->step_at = clock_ms();
        job->step_blocked = outlets_blocked(&job->outlets);
        if (!job->clock_runs) {
                job->clock_runs = true;
                job->first_step_at = job->step_at;
        }
        if (outlets_add(&job->outlets, job->step, output, &err) < 0) {
                start_failed(job, &err);
                return;
        }
        result = spawn_step(&job->group, &job->shell, &job->host, &job->plan, step, output, &err);
        if (result < 0) {
                start_failed(job, &err);
                return;
        }
        reaper_watch(job->reaper, job->group);
        job->phase = JOB_STEP;
}

static void tick_between(struct job *job)
{
        if (job->stop_cause != STEP_CAUSE_NONE) {
                char text[CAUSE_SENTENCE_MAX];

                /* Between two steps, or before the first: no step is to blame. */
                if (job->step == job->plan.n_steps)
                        job->step--;
                job_say_cause(job, job->stop_cause, text, sizeof(text));
                job_finish(job, job_result_of(job->stop_cause), job->stop_cause, text);
                return;
        }
        if (job->step == job->plan.n_steps) {
                job_finish(job, STEP_JOB_SUCCESS, STEP_CAUSE_NONE, "");
                return;
        }
        /* Steps that say nothing must not fill the ring with their frames either. */
        if (ring_room(&job->line->ring) >= START_ROOM)
                start_step(job);
}

static int64_t grace(const struct job *job, enum step_cause cause)
{
        int64_t ms = job->plan.grace_ms ? job->plan.grace_ms : GRACE_DEFAULT_MS;

        if (job->line->stop)
                return 0;
        return cause == STEP_CAUSE_STOPPED && ms > STOP_GRACE_MS ? STOP_GRACE_MS : ms;
}

static void terminate(struct job *job, enum step_cause cause)
{
        int64_t kill_at = clock_ms() + grace(job, cause);

        if (job->step_cause == STEP_CAUSE_NONE)
                job->step_cause = cause;
        if (job->kill_at == 0) {
                kill(-job->group, SIGTERM);
                kill(-job->group, SIGCONT);
        }
        /* A hastier request shortens the grace, a slower one does not lengthen it. */
        if (job->kill_at == 0 || kill_at < job->kill_at)
                job->kill_at = kill_at;
}

static int64_t charged(const struct job *job, int64_t since, int64_t blocked_before)
{
        return clock_ms() - since - (outlets_blocked(&job->outlets) - blocked_before);
}

static int64_t step_left(const struct job *job)
{
        int64_t limit = job->plan.steps[job->step].timeout_ms;

        return limit ? limit - charged(job, job->step_at, job->step_blocked) : INT64_MAX;
}

static int64_t job_left(const struct job *job)
{
        if (!job->plan.timeout_ms || !job->clock_runs)
                return INT64_MAX;
        return job->plan.timeout_ms - charged(job, job->first_step_at, 0);
}

static void check_limits(struct job *job)
{
        if (job->stop_cause == STEP_CAUSE_NONE && job_left(job) <= 0)
                job_stop(job, STEP_CAUSE_JOB_TIMEOUT);
        if (job->phase != JOB_STEP)
                return;
        if (job->stop_cause != STEP_CAUSE_NONE)
                terminate(job, job->stop_cause);
        else if (job->step_cause == STEP_CAUSE_NONE && step_left(job) <= 0)
                terminate(job, STEP_CAUSE_TIMEOUT);
}

static bool group_lives(const struct job *job)
{
        return kill(-job->group, 0) == 0 || errno == EPERM;
}

static void step_ended(struct job *job)
{
        job->step_ended_at = clock_ms();
        outlets_mark(&job->outlets, job->step);
        job->phase = JOB_DRAINING;
}

/* A step that was told to end takes its group along, also after its leader has gone. */
static void tick_terminating(struct job *job)
{
        int64_t now = clock_ms();
        bool lives = group_lives(job);

        if (lives && now >= job->kill_at && !job->killed) {
                job->killed = true;
                job->reaped_at_kill = job->reaper->reaped;
                job->give_up_at = now + JOB_KILL_PATIENCE_MS;
        }
        if (lives && job->killed)
                kill(-job->group, SIGKILL);
        reaper_collect(job->reaper);
        lives = group_lives(job);
        if (job->reaper->gone && (!lives || (job->killed && now >= job->give_up_at)))
                step_ended(job);
}

static void tick_step(struct job *job)
{
        check_limits(job);
        if (job->kill_at)
                tick_terminating(job);
        else if (job->reaper->gone)
                step_ended(job);
}

static int64_t cpu_ms(const struct rusage *usage)
{
        return (int64_t)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000 +
               (usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1000;
}

static void tick_draining(struct job *job)
{
        const struct reaper *reaper = job->reaper;
        char text[CAUSE_SENTENCE_MAX];
        char warning[CAUSE_SENTENCE_MAX];
        struct step_finished finished = {
                .exit_code = WIFEXITED(reaper->status) ? WEXITSTATUS(reaper->status) : -1,
                .signal = WIFSIGNALED(reaper->status) ? WTERMSIG(reaper->status) : 0,
                .duration_ms = job->step_ended_at - job->step_at,
                .cpu_ms = cpu_ms(&reaper->usage),
                .max_rss = (int64_t)reaper->usage.ru_maxrss * 1024,
                .blocked_ms = outlets_blocked(&job->outlets) - job->step_blocked,
                .killed = job->killed ? reaper->reaped - job->reaped_at_kill : 0,
                .cause = job->step_cause,
                .text = text,
                .warning = warning,
        };
        enum step_cause found;

        check_limits(job);
        /* Without an executor, or in haste, what is left comes when the job is over, if at all. */
        if (outlets_marked(&job->outlets, job->step) && !job->abandoned &&
            job->stop_cause != STEP_CAUSE_STOPPED)
                return;
        found = cause_of(job->cgroup, job->plan.workspace, &job->before, finished.exit_code != 0,
                         text, warning);
        if (job->step_cause == STEP_CAUSE_NONE)
                finished.cause = found;
        else
                job_say_cause(job, job->step_cause, text, sizeof(text));
        after_step(job, &finished);
}

/* --- from outside --- */

void job_stop(struct job *job, enum step_cause cause)
{
        if (job->stop_cause == STEP_CAUSE_NONE && job->phase < JOB_KILLING)
                job->stop_cause = cause;
        job->abandoned = job->abandoned || cause == STEP_CAUSE_ORPHANED;
        if (job->phase == JOB_STEP && (cause == STEP_CAUSE_STOPPED || job->kill_at == 0))
                terminate(job, cause);
}

void job_tick(struct job *job)
{
        enum job_phase before;

        do {
                before = job->phase;
                if (job->outlets_open)
                        outlets_pump(&job->outlets);
                switch (job->phase) {
                case JOB_WAITING:
                        tick_waiting(job);
                        break;
                case JOB_BETWEEN:
                        tick_between(job);
                        break;
                case JOB_STEP:
                        tick_step(job);
                        break;
                case JOB_DRAINING:
                        tick_draining(job);
                        break;
                case JOB_KILLING:
                        job_tick_killing(job);
                        break;
                case JOB_EMPTYING:
                        job_tick_emptying(job);
                        break;
                case JOB_ENDED:
                        break;
                }
        } while (job->phase != before);
}

static int64_t least(int64_t a, int64_t b)
{
        if (a < 0)
                a = 0;
        return a < b ? a : b;
}

int64_t job_wait_ms(const struct job *job)
{
        int64_t wait = INT64_MAX;
        bool blocked = job->outlets_open && job->outlets.blocked_since >= 0;

        if (job->outlets_open && job->outlets.queued > 0 && !blocked)
                return 0;
        if (job->phase == JOB_KILLING ||
            (job->phase == JOB_STEP && job->kill_at && job->reaper->gone))
                return POLL_MS;
        if (job->phase == JOB_STEP && job->kill_at)
                return job->killed ? POLL_MS : least(job->kill_at - clock_ms(), wait);
        /* A clock that stands still needs no alarm. */
        if (job->phase == JOB_STEP && !blocked)
                wait = least(step_left(job), least(job_left(job), wait));
        return wait == INT64_MAX ? -1 : wait;
}
