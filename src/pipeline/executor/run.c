#include "pipeline/executor/run.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/scoped.h"
#include "domain/mask.h"
#include "domain/order.h"
#include "pipeline/executor/channel.h"
#include "pipeline/executor/log_cut.h"
#include "pipeline/executor/prepare.h"
#include "pipeline/executor/watch.h"
#include "wire/job_result.h"

#include "base/banned.h"

#define LOST_NUMBERS (1 << 24)
#define THROTTLED_MS 1000 /* a commit that took longer is not charged to the job */

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

/* A state that cannot be read (of another version, after an upgrade) leaves the attempt without its
 * place: it ends in error, under numbers that were surely not used. */
static void load_state(struct run *run, const struct log_cut_options *cut)
{
        const struct job_options *options = run->options;
        struct error err;

        run->cut = log_cut_new(cut);
        if (options->n_state == 0 ||
            run_state_load(&run->state, run->cut, options->state, options->n_state, &err) == 0)
                return;
        log_cut_free(run->cut);
        run->cut = log_cut_new(cut);
        log_cut_skip(run->cut, LOST_NUMBERS);
        run_state_done(&run->state);
        run_state_init(&run->state);
        run->state.result_seq = LOST_NUMBERS;
        run_judge(run, STATE_ERROR, REASON_INTERNAL, err.text);
}

int run_begin(struct run *run, const struct job_options *options, struct error *err)
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
        load_state(run, &cut);
        run->read = run->state.position;
        /* the job could not go on with a full buffer while nobody was there */
        if (run->state.phase == RUN_PHASE_RUNNING)
                run->away_ms = clock_boot_ms() - run->state.saved_boot;
        run->state.extra_ms += run->away_ms;
        return 0;
}

void run_done(struct run *run)
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

void run_judge(struct run *run, enum state state, enum reason reason, const char *text)
{
        cause_set(&run->state.verdict, state, reason, text);
        run->state.phase = RUN_PHASE_JUDGED;
        run->dirty = true;
}

int run_open_channel(struct run *run, struct error *err)
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
