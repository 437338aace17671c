/*
 * The phases of an attempt: prepare (source, image, sandbox), follow (argon-step until there is a
 * verdict), finish (tell it), clean up. The state says where an earlier process stopped; whatever
 * it left half done before a step could start is removed and done again.
 */
#include "pipeline/executor/job_run.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/fs.h"
#include "base/str.h"
#include "domain/mask.h"
#include "pipeline/executor/log_cut.h"
#include "pipeline/executor/run.h"
#include "pipeline/executor/run_follow.h"
#include "wire/job_result.h"

#include "base/banned.h"

static enum job_end stopped(struct run *run)
{
        enum job_stop_kind kind = job_stop_kind(run->options->stop);

        if (kind == JOB_STOP_ABANDON)
                return JOB_ABANDONED;
        if (kind == JOB_STOP_DETACH) {
                run_give_back(run);
                return run->broken ? JOB_DETACHED : JOB_RETURNED;
        }
        run_judge(run, STATE_CANCELLED, REASON_CANCELLED, "cancelled");
        return JOB_ENDED;
}

static void go_on(struct run *run)
{
        struct job_result started = {.kind = RESULT_STARTED};
        struct error err;

        if (!run->sandbox) {
                run_judge(run, STATE_ERROR, REASON_ENGINE_UNAVAILABLE,
                          "the sandbox is gone: it was removed from outside");
                return;
        }
        if (run->state.phase == RUN_PHASE_PREPARING) { /* died right after the start */
                run->state.phase = RUN_PHASE_RUNNING;
                run_result(run, &started);
        }
        if (fs_mkdirs(run->control, 0755, &err) < 0 || run_open_channel(run, &err) < 0)
                run_judge(run, STATE_ERROR, REASON_INTERNAL, err.text);
        run_commit(run);
}

static enum job_end phases(struct run *run)
{
        bool running = run->sandbox && run->sandbox->running;

        if (run->state.phase == RUN_PHASE_FINISHED)
                return JOB_ENDED;
        if (run->state.phase == RUN_PHASE_RUNNING ||
            (run->state.phase == RUN_PHASE_PREPARING && running))
                go_on(run);
        else if (run->state.phase < RUN_PHASE_RUNNING)
                run_prepare(run);
        if (run->broken)
                return JOB_DETACHED;
        if (run->state.phase == RUN_PHASE_PREPARING) {
                enum job_end end = stopped(run);

                if (end != JOB_ENDED)
                        return end;
        }
        if (run->state.phase == RUN_PHASE_RUNNING && run_follow(run) == RUN_FOLLOWED_LEFT)
                return job_stop_kind(run->options->stop) == JOB_STOP_ABANDON ? JOB_ABANDONED
                                                                             : JOB_DETACHED;
        run_finish(run);
        return run->broken ? JOB_DETACHED : JOB_ENDED;
}

static void fill_outcome(struct job_outcome *ret, struct run *run, enum job_end end)
{
        const struct cause *verdict = &run->state.verdict;
        scoped_str struct str text = STR_INIT;

        mask_text(run->masks, verdict->text, strlen(verdict->text), &text);
        *ret = (struct job_outcome){
                .end = end,
                .state = verdict->state,
                .reason = verdict->reason,
                .reason_text = str_steal(&text),
                .exit_code = verdict->exit_code,
                .failed_step = verdict->state == STATE_SUCCESS ? -1 : verdict->step,
                .duration_ms = run_at(run),
                .log_lines = log_cut_lines(run->cut),
                .log_bytes = log_cut_bytes(run->cut),
        };
}

void job_outcome_done(struct job_outcome *outcome)
{
        free(outcome->reason_text);
        outcome->reason_text = NULL;
}

int job_run(struct job_outcome *ret, const struct job_options *options, struct error *err)
{
        struct error why = {0};
        struct run run = {.err = &why};
        int result = run_begin(&run, options, &why);

        if (result == 0) {
                enum job_end end = phases(&run);

                if (end != JOB_DETACHED)
                        run_clean_up(&run, end == JOB_ENDED);
                fill_outcome(ret, &run, end);
                if (run.broken)
                        result = -why.kind;
        }
        if (result < 0)
                error_set(err, (enum error_kind) - result, "%s", why.text);
        run_done(&run);
        return result;
}
