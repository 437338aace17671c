#pragma once
/*
 * job - carries out the plan: one step after the other, limits, the end
 *
 * A state machine that job_tick() moves on; it never waits. What happened goes into the ring as
 * frames of the stream.
 */
#include <stdbool.h>
#include <stdint.h>

#include "step/cause.h"
#include "step/outlets.h"
#include "step/reaper.h"
#include "step/shell.h"
#include "step/spawn.h"
#include "wire/step_frame.h"

struct line;

enum job_phase {
        JOB_WAITING,  /* for the plan */
        JOB_BETWEEN,  /* the next step is to start */
        JOB_STEP,     /* a step runs */
        JOB_DRAINING, /* it has ended; what it wrote before is being taken */
        JOB_KILLING,  /* the job is over; everything else is being ended */
        JOB_EMPTYING, /* what they wrote before is being taken */
        JOB_ENDED,    /* JOB_END is in the stream */
};

/**
 * struct job
 * @stop_cause: why the whole job is to end early; NONE: it is not
 * @step_cause: why the running step was told to end
 * @abandoned: no executor, whatever else was the reason to end: wait for none
 * @kill_at: when SIGTERM turns into SIGKILL, clock_ms(); 0: not terminating
 * @step_blocked, @began_blocked: outlets_blocked() when the step and the job began
 */
struct job {
        enum job_phase phase;
        struct line *line;
        struct reaper *reaper;
        struct spawn_host host;
        const char *cgroup;
        int epoll;
        struct step_plan plan;
        struct outlets outlets;
        bool outlets_open;
        int64_t began_at;
        bool clock_runs; /* of the job's limit: from the first step on */
        int64_t first_step_at;
        size_t step;
        pid_t group;
        struct shell shell;
        int64_t step_at;
        int64_t step_ended_at;
        int64_t step_blocked;
        struct cause_counters before;
        enum step_cause step_cause;
        enum step_cause stop_cause;
        bool abandoned;
        int64_t kill_at;
        bool killed;
        uint32_t reaped_at_kill;
        int64_t give_up_at;
        struct step_job_end end;
        char end_text[STEP_SENTENCE_MAX];
        char end_warning[STEP_SENTENCE_MAX];
};

void job_open(struct job *job, struct line *line, struct reaper *reaper, const char *cgroup,
              int epoll, char *const *variables);
/** job_stop() - end early for that cause; the first one counts, STOPPED makes it hasty */
void job_stop(struct job *job, enum step_cause cause);
/** job_tick() - move on as far as possible */
void job_tick(struct job *job);
/** job_wait_ms() - when job_tick() wants to be called although nothing happened; -1: never */
int64_t job_wait_ms(const struct job *job);
/** job_orphan_max() - milliseconds without an executor after which the job is ended */
int64_t job_orphan_max(const struct job *job);
/** job_exit_code() - of argon-step, for whoever looks at the sandbox from outside */
int job_exit_code(const struct job *job);
