#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/scoped.h"
#include "domain/order.h"
#include "pipeline/executor/prepare.h"
#include "pipeline/executor/run.h"
#include "wire/job_result.h"

#include "base/banned.h"

#define START_TRIES 4
#define START_AGAIN_MS 500

static void note_lines(struct run *run, const char *lines)
{
        while (*lines) {
                size_t n = strcspn(lines, "\n");
                scoped_text char *line = text_format("%.*s", (int)n, lines);

                if (n > 0)
                        run_note(run, line);
                lines += n + (lines[n] == '\n');
        }
}

/* What the reader should know before the first line of the job's own. */
static void note_conditions(struct run *run)
{
        const struct engine_info *info = engine_info(run->options->engine);

        note_lines(run, text_or(run->order->notes, ""));
        note_lines(run, text_or(info->missing, ""));
        note_lines(run, run->unmasked.data);
        if (info->cpus > 0 && run->order->millicpus > (int64_t)info->cpus * 1000) {
                scoped_text char *line =
                        text_format("%g CPUs cut down to %d: there are no more here",
                                    (double)run->order->millicpus / 1000, info->cpus);

                run_note(run, line);
        }
        if (!info->images && *text_or(run->order->image, "")) {
                scoped_text char *line =
                        text_format("image %s is not used: the %s engine runs the steps on this "
                                    "machine's own programs (%s)",
                                    run->order->image, info->name, info->version);

                run_note(run, line);
        }
}

static void say_begin(struct run *run)
{
        struct job_result accepted = {.kind = RESULT_ACCEPTED};

        if (run->state.phase == RUN_PHASE_NEW) {
                run_event(run, LOG_INFO, "Starting job execution",
                          (const char *const[][2]){{"job", run->order->job_name}}, 1);
                run_result(run, &accepted);
                note_conditions(run);
        }
        run->state.phase = RUN_PHASE_PREPARING;
        if (++run->state.starts > JOB_STARTS_MAX)
                run_judge(run, STATE_ERROR, REASON_INTERNAL,
                          "the executor died each time it prepared this job");
        run_commit(run);
}

static int make_folders(struct run *run, struct error *err)
{
        if (fs_remove_tree(run->workspace, err) < 0 || fs_remove_tree(run->control, err) < 0 ||
            fs_mkdirs(run->workspace, 0755, err) < 0 || fs_mkdirs(run->control, 0755, err) < 0)
                return -err->kind;
        /* the sandbox's users are not ours: they must get through, whatever our umask is; the
         * folder around does not let others of this machine in */
        if (chmod(run->workspace, 0777) < 0 || chmod(run->control, 0755) < 0)
                return error_set_errno(err, "open up the folders of the job");
        return 0;
}

static void take_note(void *data, const char *line)
{
        struct run *run = data;

        run_note(run, line);
        run_commit(run);
}

static void take_event(void *data, const char *message, const char *context)
{
        struct run *run = data;

        run->options->sink.event(run->options->sink.data, LOG_INFO, message, context);
}

static struct sandbox_spec spec_of(const struct run *run)
{
        const struct order *order = run->order;

        return (struct sandbox_spec){
                .build_id = order->build_id,
                .job_id = order->job_id,
                .attempt = order->attempt,
                .token = order->token,
                .slot = run->options->slot,
                .image = order->image,
                .control = run->control,
                .workspace = run->workspace,
                .strict = order->strict,
                .network_none = order->network_none,
                .memory = order->memory,
                .disk = order->disk,
                .millicpus = order->millicpus,
                .pids = order->pids,
        };
}

static int create(struct run *run, enum reason *ret_reason, struct error *err)
{
        const struct order *order = run->order;
        struct sandbox_spec sandbox = spec_of(run);
        struct prepare_spec spec = {
                .engine = run->options->engine,
                .forge = run->options->forge,
                .source = {order->clone_url, order->ref, order->commit},
                .fill = run->options->fill,
                .fill_data = run->options->fill_data,
                .sandbox = &sandbox,
                .owner = run_changes_users(run) ? STRICT_STEP_ID : PREPARE_OWNER_KEEP,
                .stop = run->options->stop,
                .note = take_note,
                .event = take_event,
                .data = run,
        };

        return prepare_run(&spec, &run->sandbox, ret_reason, err);
}

static void drop_sandbox(struct run *run)
{
        struct error err;

        if (!run->sandbox)
                return;
        /* one that cannot be removed now has no lease later: recovery finds it */
        if (engine_remove(run->options->engine, run->sandbox, &err) < 0)
                run_event(run, LOG_WARNING, "A sandbox cannot be removed",
                          (const char *const[][2]){{"error", err.text}}, 1);
        engine_sandbox_free(run->options->engine, run->sandbox);
        run->sandbox = NULL;
}

/* Return: whether the job was stopped meanwhile. */
static bool pause_or_stop(const struct run *run)
{
        struct pollfd stop = {job_stop_fd(run->options->stop), POLLIN, 0};

        return poll(&stop, 1, START_AGAIN_MS) > 0;
}

static bool may_start_again(int result)
{
        return result == -ERROR_UNAVAILABLE || result == -ERROR_NOT_FOUND ||
               result == -ERROR_CONFLICT;
}

/* An engine that restarts, or clears away what a killed process of ours began, fails once and not
 * again; nothing of the job has run yet. */
static int start_sandbox(struct run *run, struct error *err)
{
        struct engine *engine = run->options->engine;
        int result = engine_start(engine, run->sandbox, err);

        for (int tries = 1; may_start_again(result) && tries < START_TRIES; tries++) {
                struct sandbox_spec spec = spec_of(run);

                if (pause_or_stop(run))
                        return result;
                drop_sandbox(run);
                result = engine_create(engine, &run->sandbox, &spec, err);
                if (result == 0)
                        result = engine_start(engine, run->sandbox, err);
        }
        return result;
}

static int check_order(const struct run *run, enum reason *ret_reason, struct error *err)
{
        const struct engine_info *info = engine_info(run->options->engine);

        *ret_reason = REASON_ENGINE_UNAVAILABLE;
        if (run->order->strict && !info->strict &&
            !(run->order->network_none && info->strict_offline))
                return error_set(err, ERROR_DENIED,
                                 "untrusted code is not run here: the %s engine cannot keep the "
                                 "strict profile: %s",
                                 info->name, text_or(info->strict_why, "unknown"));
        if (run->order->network_none && !info->network_none)
                return error_set(err, ERROR_DENIED,
                                 "'network: none' cannot be kept: the %s engine cannot switch the "
                                 "network off here",
                                 info->name);
        return 0;
}

static int start(struct run *run, enum reason *ret_reason, struct error *err)
{
        struct job_result started = {.kind = RESULT_STARTED};
        bool remote = engine_info(run->options->engine)->remote;

        *ret_reason = REASON_INTERNAL;
        if (FAILPOINT("executor.before_create"))
                return error_set(err, ERROR_UNAVAILABLE, "failpoint executor.before_create");
        if (make_folders(run, err) < 0 || (!remote && run_open_channel(run, err) < 0))
                return -err->kind;
        if (create(run, ret_reason, err) < 0)
                return -err->kind;
        *ret_reason = REASON_ENGINE_UNAVAILABLE;
        if (FAILPOINT("executor.after_create"))
                return error_set(err, ERROR_UNAVAILABLE, "failpoint executor.after_create");
        if (start_sandbox(run, err) < 0)
                return -err->kind;
        if (FAILPOINT("executor.after_start"))
                return error_set(err, ERROR_UNAVAILABLE, "failpoint executor.after_start");
        if (remote && run_open_channel(run, err) < 0)
                return -err->kind;
        run->state.phase = RUN_PHASE_RUNNING;
        run_result(run, &started);
        run_commit(run);
        return 0;
}

void run_prepare(struct run *run)
{
        enum reason reason = REASON_INTERNAL;
        struct error err;

        drop_sandbox(run); /* created, never started with a plan: begin anew */
        say_begin(run);
        if (run->state.phase != RUN_PHASE_PREPARING || run->broken)
                return;
        if (check_order(run, &reason, &err) == 0 && start(run, &reason, &err) == 0)
                return;
        if (job_stop_kind(run->options->stop) != JOB_STOP_NONE)
                return;
        run_judge(run, STATE_ERROR, reason, err.text);
        run_note(run, err.text);
        run_commit(run);
}
