/*
 * The phases of an attempt: prepare (source, image, sandbox), follow (argon-step until there is a
 * verdict), finish (tell it), clean up. The state says where an earlier process stopped; whatever
 * it left half done before a step could start is removed and done again.
 */
#include "pipeline/executor/job_run.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/scoped.h"
#include "domain/mask.h"
#include "domain/order.h"
#include "pipeline/executor/channel.h"
#include "pipeline/executor/run.h"
#include "pipeline/executor/run_follow.h"
#include "pipeline/executor/log_cut.h"
#include "pipeline/executor/prepare.h"
#include "pipeline/executor/watch.h"
#include "wire/job_result.h"

#include "base/banned.h"

#define THROTTLED_MS 1000 /* a commit that took longer is not charged to the job */
#define REMOVE_TRIES 5
#define REMOVE_AGAIN_MS 500

/* What the parts share */

int64_t run_at(const struct run *run)
{
        return clock_boot_ms() - run->state.begun_boot;
}

void run_note(struct run *run, const char *line)
{
        log_cut_note(run->cut, LOG_CUT_STEP_NONE, run_at(run), "argon: %s", line);
}

void run_event(struct run *run, enum log_severity severity, const char *message,
               const char *const (*pairs)[2], size_t n)
{
        scoped_text char *context = prepare_context(pairs, n);

        run->options->sink.event(run->options->sink.data, severity, message, context);
}

void run_result(struct run *run, struct job_result *result)
{
        const struct order *order = run->order;
        scoped_str struct str text = STR_INIT;
        scoped_str struct str name = STR_INIT;

        mask_text(run->masks, text_or(result->reason_text, ""),
                  strlen(text_or(result->reason_text, "")), &text);
        if (result->kind == RESULT_STEP_STARTED || result->kind == RESULT_STEP_FINISHED) {
                const char *step = order->steps[result->step].name;

                mask_text(run->masks, step, strlen(step), &name);
        }
        result->reason_text = text.data;
        result->step_name = name.data;
        result->tail = text_or(result->tail, "");
        result->build_id = order->build_id;
        result->job_id = order->job_id;
        result->attempt = order->attempt;
        result->token = order->token;
        result->executor = run->options->executor;
        result->seq = ++run->state.result_seq;
        result->at = wall_ms();
        run->options->sink.result(run->options->sink.data, result);
        run->dirty = true;
}

void run_commit(struct run *run)
{
        const struct job_sink *sink = &run->options->sink;
        scoped_str struct str state = STR_INIT;
        int64_t began = clock_boot_ms();

        run->state.position = log_cut_position(run->cut, run->read);
        run->dirty = false;
        if (sink->commit) {
                run_state_save(&run->state, run->cut, &state);
                if (sink->commit(sink->data, state.data, state.len, job_stop_fd(run->options->stop),
                                 run->err) < 0) {
                        run->broken = true;
                        return;
                }
        }
        if (clock_boot_ms() - began > THROTTLED_MS)
                run->state.extra_ms += clock_boot_ms() - began;
        if (run->channel)
                channel_ack(run->channel, run->state.position);
}

/* Beginning */

static int make_masks(struct run *run, struct error *err)
{
        const struct job_options *options = run->options;
        struct error why;

        run->masks = mask_set_new();
        for (size_t i = 0; i < options->n_secrets; i++) {
                const char *value = options->secrets[i].value;

                if (*value && mask_set_add(run->masks, value, strlen(value), &why) < 0)
                        str_printf(&run->unmasked, "secret %s is not masked: %s\n",
                                   options->secrets[i].name, why.text);
        }
        for (size_t i = 0; i < options->n_masked; i++)
                if (mask_set_add(run->masks, options->masked[i], strlen(options->masked[i]), &why) <
                    0)
                        str_printf(&run->unmasked, "a value is not masked: %s\n", why.text);
        return run_load_learned(run, err);
}

static int run_begin(struct run *run, const struct job_options *options, struct error *err)
{
        struct log_cut_options cut = {
                .log_max = options->log_max ? options->log_max : JOB_LOG_MAX_DEFAULT,
                .emit = run_emit,
                .learned = run_learned,
                .data = run,
        };

        run->options = options;
        run->order = options->order;
        run->sandbox = options->resume;
        run->workspace = fs_path(options->work, options->name);
        run->control = fs_path(options->control, options->name);
        run->id_prefix = text_format("%s/%d/", run->order->job_id, run->order->attempt);
        str_init(&run->unmasked);
        run_state_init(&run->state);
        if (make_masks(run, err) < 0)
                return -err->kind;
        cut.masks = run->masks;
        run->cut = log_cut_new(&cut);
        if (options->n_state > 0 &&
            run_state_load(&run->state, run->cut, options->state, options->n_state, err) < 0)
                return -err->kind;
        run->read = run->state.position;
        /* the job could not go on with a full buffer while nobody was there */
        if (run->state.phase == RUN_PHASE_RUNNING)
                run->state.extra_ms += clock_boot_ms() - run->state.saved_boot;
        return 0;
}

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
        if (!info->images && *text_or(run->order->image, "")) {
                scoped_text char *line =
                        text_format("image %s is not used: the %s engine runs the steps on this "
                                    "machine's own programs (%s)",
                                    run->order->image, info->name, info->version);

                run_note(run, line);
        }
}

static void judge(struct run *run, enum state state, enum reason reason, const char *text)
{
        cause_set(&run->state.verdict, state, reason, text);
        run->state.phase = RUN_PHASE_JUDGED;
        run->dirty = true;
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
                judge(run, STATE_ERROR, REASON_INTERNAL,
                      "the executor died each time it prepared this job");
        run_commit(run);
}

/* Preparing */

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

static int open_channel(struct run *run, struct error *err)
{
        struct channel_options options = {
                .folder = run->control, .attached = -1, .resume = run->state.position};

        if (run->channel)
                return 0;
        if (engine_info(run->options->engine)->remote) {
                options.folder = NULL;
                if (engine_attach(run->options->engine, run->sandbox, &options.attached, err) < 0)
                        return -err->kind;
        }
        if (channel_open(&run->channel, &options, err) < 0) {
                if (options.attached >= 0)
                        close(options.attached);
                return -err->kind;
        }
        return run_set_plan(run, err);
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

static int create(struct run *run, enum reason *ret_reason, struct error *err)
{
        const struct order *order = run->order;
        struct sandbox_spec sandbox = {
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
        if (make_folders(run, err) < 0 || (!remote && open_channel(run, err) < 0))
                return -err->kind;
        if (create(run, ret_reason, err) < 0)
                return -err->kind;
        *ret_reason = REASON_ENGINE_UNAVAILABLE;
        if (FAILPOINT("executor.after_create"))
                return error_set(err, ERROR_UNAVAILABLE, "failpoint executor.after_create");
        if (engine_start(run->options->engine, run->sandbox, err) < 0)
                return -err->kind;
        if (FAILPOINT("executor.after_start"))
                return error_set(err, ERROR_UNAVAILABLE, "failpoint executor.after_start");
        if (remote && open_channel(run, err) < 0)
                return -err->kind;
        run->state.phase = RUN_PHASE_RUNNING;
        run_result(run, &started);
        run_commit(run);
        return 0;
}

static void prepare(struct run *run)
{
        enum reason reason = REASON_INTERNAL;
        struct error err;

        if (run->sandbox) { /* created, never started with a plan: begin anew */
                engine_remove(run->options->engine, run->sandbox, &err);
                engine_sandbox_free(run->options->engine, run->sandbox);
                run->sandbox = NULL;
        }
        say_begin(run);
        if (run->state.phase != RUN_PHASE_PREPARING || run->broken)
                return;
        if (check_order(run, &reason, &err) == 0 && start(run, &reason, &err) == 0)
                return;
        if (job_stop_kind(run->options->stop) != JOB_STOP_NONE)
                return;
        judge(run, STATE_ERROR, reason, err.text);
        run_note(run, err.text);
        run_commit(run);
}

/* Ending */

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

static void finish(struct run *run)
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

static void give_back(struct run *run)
{
        struct job_result result = {.kind = RESULT_RETURNED};

        run->state.phase = RUN_PHASE_FINISHED;
        run_result(run, &result);
        run_commit(run);
}

static void remove_sandbox(struct run *run)
{
        struct timespec pause = {0, REMOVE_AGAIN_MS * 1000000L};
        struct error err;

        for (int i = 0; i < REMOVE_TRIES; i++) {
                if (engine_remove(run->options->engine, run->sandbox, &err) == 0)
                        return;
                nanosleep(&pause, NULL);
        }
        /* the next look for sandboxes without a lease finds it */
        run_event(run, LOG_ERROR, "The sandbox cannot be removed",
                  (const char *const[][2]){{"container", run->sandbox->id}, {"error", err.text}},
                  2);
}

static void remove_folder(struct run *run, const char *path)
{
        struct error err;

        if (fs_remove_tree(path, &err) < 0)
                run_event(run, LOG_ERROR, "A folder cannot be removed",
                          (const char *const[][2]){{"error", err.text}}, 1);
}

static void clean_up(struct run *run, bool ended)
{
        const struct job_options *options = run->options;

        watch_close(take(run->watch));
        if (ended && options->before_remove)
                options->before_remove(options->before_remove_data, run->state.verdict.state,
                                       run->sandbox, run->workspace);
        if (run->sandbox)
                remove_sandbox(run);
        channel_freep(&run->channel);
        run->channel = NULL;
        remove_folder(run, run->control);
        if (!ended || !options->keep)
                remove_folder(run, run->workspace);
        if (options->masks)
                unlink(options->masks);
}

/* Going through */

static enum job_end stopped(struct run *run)
{
        enum job_stop_kind kind = job_stop_kind(run->options->stop);

        if (kind == JOB_STOP_ABANDON)
                return JOB_ABANDONED;
        if (kind == JOB_STOP_DETACH) {
                give_back(run);
                return run->broken ? JOB_DETACHED : JOB_RETURNED;
        }
        judge(run, STATE_CANCELLED, REASON_CANCELLED, "cancelled");
        return JOB_ENDED;
}

static void go_on(struct run *run)
{
        struct job_result started = {.kind = RESULT_STARTED};
        struct error err;

        if (!run->sandbox) {
                judge(run, STATE_ERROR, REASON_ENGINE_UNAVAILABLE,
                      "the sandbox is gone: it was removed from outside");
                return;
        }
        if (run->state.phase == RUN_PHASE_PREPARING) { /* died right after the start */
                run->state.phase = RUN_PHASE_RUNNING;
                run_result(run, &started);
        }
        if (fs_mkdirs(run->control, 0755, &err) < 0 || open_channel(run, &err) < 0)
                judge(run, STATE_ERROR, REASON_INTERNAL, err.text);
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
                prepare(run);
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
        finish(run);
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

static void run_done(struct run *run)
{
        watch_close(run->watch);
        channel_freep(&run->channel);
        engine_sandbox_free(run->options->engine, run->sandbox);
        log_cut_free(run->cut);
        mask_set_free(run->masks);
        run_state_done(&run->state);
        str_done(&run->unmasked);
        free(run->workspace);
        free(run->control);
        free(run->id_prefix);
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
                        clean_up(&run, end == JOB_ENDED);
                fill_outcome(ret, &run, end);
                if (run.broken)
                        result = -why.kind;
        }
        if (result < 0)
                error_set(err, (enum error_kind) - result, "%s", why.text);
        run_done(&run);
        return result;
}
