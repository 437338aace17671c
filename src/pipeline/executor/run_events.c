/*
 * Events of argon-step become log entries and results. After a restart the stream is read again
 * from state.position; control frames before state.seen were done by the process before.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/scoped.h"
#include "domain/mask.h"
#include "domain/order.h"
#include "pipeline/executor/channel.h"
#include "pipeline/executor/run.h"
#include "pipeline/executor/log_cut.h"
#include "pipeline/executor/pack.h"
#include "wire/job_result.h"
#include "wire/log_entry.h"

#include "base/banned.h"

#define LEARNED_BYTES_MAX (64 * 1024 * 1024)

void run_emit(void *data, const struct log_entry *cut)
{
        struct run *run = data;
        scoped_text char *id = text_format("%s%lld", run->id_prefix, (long long)cut->seq);
        struct log_entry entry = *cut;

        if (entry.step == run->state.step && entry.stream != LOG_STREAM_ARGON && entry.lines > 0) {
                if (run->state.first_line == 0)
                        run->state.first_line = entry.first_line;
                run->state.last_line = entry.first_line + entry.lines - 1;
        }
        entry.id = id;
        entry.service = "executor";
        entry.build_id = run->order->build_id;
        entry.job_id = run->order->job_id;
        entry.attempt = run->order->attempt;
        run->options->sink.log(run->options->sink.data, &entry);
        run->dirty = true;
}

/* Learned masks must be known to the process that goes on after us, and lie on no disk. */
void run_learned(void *data, const char *value, size_t n)
{
        struct run *run = data;
        scoped_str struct str record = STR_INIT;
        scoped_fd int fd = -1;
        struct error err;

        if (!run->options->masks)
                return;
        fd = open(run->options->masks, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW,
                  0600);
        pack_bytes(&record, value, n);
        if (fd < 0 || fs_write_all(fd, record.data, record.len, &err) < 0)
                run_event(run, LOG_WARNING, "A mask cannot be kept for a restart",
                          (const char *const[][2]){{"file", run->options->masks}}, 1);
        explicit_bzero(record.data, record.len);
}

int run_load_learned(struct run *run, struct error *err)
{
        scoped_str struct str all = STR_INIT;
        struct unpack from;

        if (!run->options->masks || access(run->options->masks, F_OK) < 0)
                return 0;
        if (str_read_file(&all, run->options->masks, LEARNED_BYTES_MAX, err) < 0)
                return error_wrap(err, "read the masks that the job added");
        from = (struct unpack){all.data, all.len, false};
        while (from.left > 0 && !from.bad) {
                size_t n;
                const char *value = unpack_bytes(&from, &n);

                if (!from.bad && mask_set_add(run->masks, value, n, err) < 0)
                        return -err->kind;
        }
        explicit_bzero(all.data, all.len);
        return 0;
}

static const char *step_name(const struct run *run, int step)
{
        return step >= 0 && (size_t)step < run->order->n_steps ? run->order->steps[step].name : "";
}

static void tell_step(struct run *run, const char *what, int step, const char *const (*pairs)[2],
                      size_t n)
{
        scoped_str struct str message = STR_INIT;

        str_printf(&message, "%s: ", what);
        mask_text(run->masks, step_name(run, step), strlen(step_name(run, step)), &message);
        run_event(run, LOG_INFO, message.data, pairs, n);
}

static void handle_started(struct run *run, const struct step_started *started)
{
        int step = (int)started->step;
        scoped_text char *index = text_format("%d", step);
        struct job_result result = {.kind = RESULT_STEP_STARTED, .step = step};

        if (run->state.zero < 0)
                run->state.zero = run_at(run) - started->ms;
        run->state.step = step;
        run->state.step_running = true;
        run->state.first_line = run->state.last_line = 0;
        log_cut_tail_begin(run->cut, step);
        run_result(run, &result);
        tell_step(run, "Executing step", step,
                  (const char *const[][2]){{"container", run->sandbox->id}, {"step", index}}, 2);
}

static int64_t entry_time(const struct run *run, int64_t ms)
{
        return run->state.zero < 0 ? run_at(run) : run->state.zero + ms;
}

static void handle_output(struct run *run, const struct step_output *output, uint64_t begin)
{
        enum log_stream stream =
                output->stream == STEP_STREAM_STDERR ? LOG_STREAM_STDERR : LOG_STREAM_STDOUT;

        log_cut_feed(run->cut, (int)output->step, stream, begin, output->bytes, output->n,
                     clock_ms(), entry_time(run, output->ms));
}

/* What the reader of the log would otherwise not understand from the output alone. */
static void note_finished(struct run *run, const struct step_finished *finished,
                          const struct cause *verdict)
{
        int step = (int)finished->step;
        int64_t at = entry_time(run, finished->ms);

        if (finished->cause != STEP_CAUSE_NONE)
                log_cut_note(run->cut, step, at, "argon: %s", verdict->text);
        if (*finished->warning)
                log_cut_note(run->cut, step, at, "argon: warning: %s", finished->warning);
}

static void result_finished(struct run *run, const struct step_finished *finished,
                            const struct cause *verdict)
{
        scoped_str struct str tail = STR_INIT;
        struct job_result result = {
                .kind = RESULT_STEP_FINISHED,
                .step = (int)finished->step,
                .state = verdict->state,
                .reason = verdict->reason,
                .reason_text = verdict->text,
                .exit_code = verdict->exit_code,
                .signal = verdict->signal,
                .duration_ms = finished->duration_ms,
                .cpu_ms = finished->cpu_ms,
                .max_rss_bytes = finished->max_rss,
                .first_line = run->state.first_line,
                .last_line = run->state.last_line,
        };

        if (verdict->state != STATE_SUCCESS)
                log_cut_tail(run->cut, &tail);
        result.tail = tail.data;
        run_result(run, &result);
}

static void handle_finished(struct run *run, const struct step_finished *finished)
{
        int step = (int)finished->step;
        scoped_text char *code = text_format("%d", finished->exit_code);
        scoped_text char *ms = text_format("%lld", (long long)finished->duration_ms);
        struct cause verdict = {0};

        log_cut_flush(run->cut, step, clock_ms(), entry_time(run, finished->ms));
        cause_of_step(&verdict, run->order, finished, run->asked);
        note_finished(run, finished, &verdict);
        result_finished(run, finished, &verdict);
        run->state.step_running = false;
        tell_step(run, "Step finished", step,
                  (const char *const[][2]){{"exit_code", code}, {"duration_ms", ms}}, 2);
        cause_done(&verdict);
}

static void handle_end(struct run *run, const struct step_job_end *end)
{
        log_cut_flush(run->cut, LOG_CUT_STEP_NONE, clock_ms(), entry_time(run, end->ms));
        cause_of_job(&run->state.verdict, run->order, end, run->asked);
        if (*end->warning)
                log_cut_note(run->cut, LOG_CUT_STEP_NONE, entry_time(run, end->ms),
                             "argon: warning: %s", end->warning);
        /* a step's own end was told with the step */
        if (*end->text && end->step < 0)
                log_cut_note(run->cut, LOG_CUT_STEP_NONE, entry_time(run, end->ms), "argon: %s",
                             end->text);
        run->state.phase = RUN_PHASE_JUDGED;
        run->dirty = true;
}

static int check_step(const struct run *run, uint32_t step, struct error *err)
{
        if (step < run->order->n_steps)
                return 0;
        return error_set(err, ERROR_INVALID, "argon-step speaks of step %u of %zu", step,
                         run->order->n_steps);
}

static int handle_control(struct run *run, const struct step_event *event, struct error *err)
{
        switch (event->type) {
        case STEP_FRAME_STEP_STARTED:
                if (check_step(run, event->started.step, err) < 0)
                        return -err->kind;
                handle_started(run, &event->started);
                return 0;
        case STEP_FRAME_STEP_FINISHED:
                if (check_step(run, event->finished.step, err) < 0)
                        return -err->kind;
                handle_finished(run, &event->finished);
                return 0;
        case STEP_FRAME_JOB_END:
                handle_end(run, &event->end);
                return 0;
        default:
                return error_set(err, ERROR_INVALID, "argon-step sent a frame of type %d",
                                 (int)event->type);
        }
}

int run_handle(struct run *run, const struct step_event *event, struct error *err)
{
        uint64_t begin = run->read;
        int result = 0;

        run->read = event->offset;
        if (event->type == STEP_FRAME_OUTPUT) {
                if (check_step(run, event->output.step, err) < 0)
                        return -err->kind;
                handle_output(run, &event->output, begin);
        } else if (event->offset > run->state.seen) {
                result = handle_control(run, event, err);
        }
        if (event->offset > run->state.seen)
                run->state.seen = event->offset;
        run->state.position = log_cut_position(run->cut, event->offset);
        return result;
}
