#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/scoped.h"
#include "domain/order.h"
#include "pipeline/executor/channel.h"
#include "pipeline/executor/log_cut.h"
#include "pipeline/executor/run.h"
#include "pipeline/executor/watch.h"
#include "wire/job_result.h"

#include "base/banned.h"

#define REMOVE_TRIES 5
#define REMOVE_AGAIN_MS 500
#define REMOVE_MAX_MS (10 * 60 * 1000) /* an engine that is away for longer is left alone */

static void end_open_step(struct run *run)
{
        const struct cause *verdict = &run->state.verdict;
        scoped_str struct str tail = STR_INIT;
        struct job_result result = {
                .kind = RESULT_STEP_FINISHED,
                .step = run->state.step,
                .state = verdict->state,
                .reason = verdict->reason,
                .reason_text = verdict->text,
                .exit_code = -1,
                .first_line = run->state.first_line,
                .last_line = run->state.last_line,
        };

        if (!run->state.step_running)
                return;
        log_cut_tail(run->cut, &tail);
        result.tail = tail.data;
        run->state.step_running = false;
        if (run->state.verdict.step < 0)
                run->state.verdict.step = run->state.step;
        run_result(run, &result);
}

static void say_end(struct run *run)
{
        const struct cause *verdict = &run->state.verdict;
        enum log_severity severity = LOG_INFO;
        const char *message = "Job completed successfully";

        if (verdict->state == STATE_ERROR) {
                message = "Job ended with an error";
                severity = LOG_ERROR;
        } else if (verdict->state != STATE_SUCCESS) {
                message = "Job failed";
        }
        run_event(run, severity, message,
                  (const char *const[][2]){{"job", run->order->job_name},
                                           {"reason_code", reason_name(verdict->reason)}},
                  2);
}

void run_finish(struct run *run)
{
        const struct cause *verdict = &run->state.verdict;
        struct job_result result = {.kind = RESULT_FINISHED};

        if (FAILPOINT("executor.after_exit"))
                run_event(run, LOG_WARNING, "failpoint executor.after_exit", NULL, 0);
        log_cut_flush(run->cut, LOG_CUT_STEP_NONE, clock_ms(), run_at(run));
        end_open_step(run);
        log_cut_end(run->cut, clock_ms(), run_at(run));
        result.state = verdict->state;
        result.reason = verdict->reason;
        result.reason_text = verdict->text;
        result.exit_code = verdict->exit_code;
        result.signal = verdict->signal;
        result.duration_ms = run_at(run);
        result.log_lines = log_cut_lines(run->cut);
        result.log_bytes = log_cut_bytes(run->cut);
        run->state.phase = RUN_PHASE_FINISHED;
        say_end(run);
        run_result(run, &result);
        run_commit(run);
}

void run_give_back(struct run *run)
{
        struct job_result result = {.kind = RESULT_RETURNED};

        run->state.phase = RUN_PHASE_FINISHED;
        run_result(run, &result);
        run_commit(run);
}

/* Whether to give up on an engine that does not answer: somebody waits for this process to end. */
static bool is_hurried(const struct run *run)
{
        enum job_stop_kind kind = job_stop_kind(run->options->stop);

        return kind == JOB_STOP_DETACH || kind == JOB_STOP_KILL;
}

/* Return: whether it is gone. */
static bool remove_sandbox(struct run *run)
{
        int64_t until = clock_ms() + REMOVE_MAX_MS;
        struct timespec pause = {0, REMOVE_AGAIN_MS * 1000000L};
        struct error err;
        int tries = 0;

        while (engine_remove(run->options->engine, run->sandbox, &err) < 0) {
                bool away = err.kind == ERROR_UNAVAILABLE && clock_ms() < until;

                if (++tries >= REMOVE_TRIES && (!away || is_hurried(run))) {
                        /* the next look for sandboxes without a lease finds it */
                        run_event(run, LOG_ERROR, "The sandbox cannot be removed",
                                  (const char *const[][2]){{"container", run->sandbox->id},
                                                           {"error", err.text}},
                                  2);
                        return false;
                }
                nanosleep(&pause, NULL);
        }
        return true;
}

static void remove_folder(struct run *run, const char *path)
{
        struct error err;

        if (fs_remove_tree(path, &err) < 0)
                run_event(run, LOG_ERROR, "A folder cannot be removed",
                          (const char *const[][2]){{"error", err.text}}, 1);
}

void run_clean_up(struct run *run, bool ended)
{
        const struct job_options *options = run->options;
        bool gone = true;

        watch_close(take(run->watch));
        if (ended && options->before_remove)
                options->before_remove(options->before_remove_data, run->state.verdict.state,
                                       run->sandbox, run->workspace);
        if (run->sandbox)
                gone = remove_sandbox(run);
        channel_freep(&run->channel);
        run->channel = NULL;
        /* while its processes may live their folders stay, for the sweep of the next start */
        if (gone)
                remove_folder(run, run->control);
        if (gone && (!ended || !options->keep))
                remove_folder(run, run->workspace);
        if (options->masks)
                unlink(options->masks);
}
