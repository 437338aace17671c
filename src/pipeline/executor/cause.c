#include "pipeline/executor/cause.h"

#include <stdlib.h>
#include <string.h>

#include "base/scoped.h"
#include "base/str.h"
#include "domain/order.h"
#include "ports/engine.h"
#include "wire/step_frame.h"

#include "base/banned.h"

void cause_done(struct cause *verdict)
{
        free(verdict->text);
        verdict->text = NULL;
}

void cause_set(struct cause *verdict, enum state state, enum reason reason, const char *text)
{
        char *copy = text_copy(text_or(text, ""));

        cause_done(verdict);
        *verdict = (struct cause){
                .state = state, .reason = reason, .text = copy, .exit_code = -1, .step = -1};
}

void str_add_size(struct str *str, int64_t bytes)
{
        static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
        int64_t unit = 1024;
        size_t i = 0;

        if (bytes < 1024) {
                str_printf(str, "%lld bytes", (long long)bytes);
                return;
        }
        while (i + 1 < sizeof(units) / sizeof(*units) && bytes / unit >= 1024) {
                unit *= 1024;
                i++;
        }
        if (bytes % unit == 0)
                str_printf(str, "%lld %s", (long long)(bytes / unit), units[i]);
        else
                str_printf(str, "%.1f %s", (double)bytes / (double)unit, units[i]);
}

static void add_seconds(struct str *str, int64_t ms)
{
        if (ms % 1000 == 0)
                str_printf(str, "timed out after %lld s", (long long)(ms / 1000));
        else
                str_printf(str, "timed out after %.1f s", (double)ms / 1000);
}

/* The sentence of a limit, where argon-step did not bring one. */
static void add_limit(struct str *str, const struct order *order, enum reason reason,
                      int64_t timeout_ms)
{
        switch (reason) {
        case REASON_TIMEOUT:
                add_seconds(str, timeout_ms);
                break;
        case REASON_OUT_OF_MEMORY:
                str_add(str, "out of memory (");
                str_add_size(str, order->memory);
                str_add(str, ")");
                break;
        case REASON_PIDS_LIMIT:
                str_printf(str, "process limit (%lld)", (long long)order->pids);
                break;
        case REASON_DISK_LIMIT:
                str_add(str, "disk limit (");
                str_add_size(str, order->disk);
                str_add(str, ")");
                break;
        default:
                break;
        }
}

static void add_end(struct str *str, int exit_code, int signal)
{
        const char *name = signal > 0 ? sigabbrev_np(signal) : NULL;

        if (signal > 0 && name)
                str_printf(str, "killed by signal %d (SIG%s)", signal, name);
        else if (signal > 0)
                str_printf(str, "killed by signal %d", signal);
        else
                str_printf(str, "exited with %d", exit_code);
}

struct mapped {
        enum state state;
        enum reason reason;
};

static struct mapped map_cause(enum step_cause cause, int exit_code, int signal, bool asked)
{
        switch (cause) {
        case STEP_CAUSE_TIMEOUT:
        case STEP_CAUSE_JOB_TIMEOUT:
                return (struct mapped){STATE_TIMEOUT, REASON_TIMEOUT};
        case STEP_CAUSE_OOM:
                return (struct mapped){STATE_FAILED, REASON_OUT_OF_MEMORY};
        case STEP_CAUSE_PIDS:
                return (struct mapped){STATE_FAILED, REASON_PIDS_LIMIT};
        case STEP_CAUSE_DISK:
                return (struct mapped){STATE_FAILED, REASON_DISK_LIMIT};
        case STEP_CAUSE_CANCELLED:
                return (struct mapped){STATE_CANCELLED, REASON_CANCELLED};
        case STEP_CAUSE_STOPPED:
                return asked ? (struct mapped){STATE_CANCELLED, REASON_CANCELLED}
                             : (struct mapped){STATE_ERROR, REASON_ENGINE_UNAVAILABLE};
        case STEP_CAUSE_ORPHANED:
                return (struct mapped){STATE_ERROR, REASON_EXECUTOR_LOST};
        case STEP_CAUSE_START:
                return (struct mapped){STATE_ERROR, REASON_CONFIG_INVALID};
        case STEP_CAUSE_INTERNAL:
                return (struct mapped){STATE_ERROR, REASON_INTERNAL};
        default:
                break;
        }
        if (signal > 0)
                return (struct mapped){STATE_FAILED, REASON_SIGNAL};
        if (exit_code != 0)
                return (struct mapped){STATE_FAILED, REASON_EXIT_CODE};
        return (struct mapped){STATE_SUCCESS, REASON_NONE};
}

static const char *sentence_of(enum step_cause cause, bool asked)
{
        switch (cause) {
        case STEP_CAUSE_CANCELLED:
                return "cancelled";
        case STEP_CAUSE_STOPPED:
                return asked ? "cancelled" : "the sandbox was stopped from outside";
        case STEP_CAUSE_ORPHANED:
                return "no executor was there for too long";
        case STEP_CAUSE_START:
                return "the step could not be started";
        case STEP_CAUSE_INTERNAL:
                return "the supervisor of the steps failed";
        default:
                return "";
        }
}

static void fill(struct cause *ret, const struct order *order, struct mapped mapped,
                 enum step_cause cause, const char *text, int step, int exit_code, int signal,
                 bool asked)
{
        scoped_str struct str sentence = STR_INIT;
        int64_t timeout_ms = order->timeout_ms;

        if (cause == STEP_CAUSE_TIMEOUT && step >= 0 && (size_t)step < order->n_steps)
                timeout_ms = order->steps[step].timeout_ms;
        /* limits that the order alone sets are told in one form, whoever noticed */
        if (mapped.reason != REASON_TIMEOUT && mapped.reason != REASON_PIDS_LIMIT)
                str_add(&sentence, text);
        if (sentence.len == 0)
                add_limit(&sentence, order, mapped.reason, timeout_ms);
        if (sentence.len == 0)
                str_add(&sentence, sentence_of(cause, asked));
        if (sentence.len == 0 && mapped.state != STATE_SUCCESS)
                add_end(&sentence, exit_code, signal);
        cause_set(ret, mapped.state, mapped.reason, sentence.data);
        ret->exit_code = exit_code;
        ret->signal = signal;
        ret->step = step;
}

void cause_of_step(struct cause *ret, const struct order *order,
                   const struct step_finished *finished, bool asked)
{
        struct mapped mapped =
                map_cause(finished->cause, finished->exit_code, finished->signal, asked);

        fill(ret, order, mapped, finished->cause, finished->text, (int)finished->step,
             finished->exit_code, finished->signal, asked);
}

/* The step that decided says more than the job's result; but what the result says counts. */
static struct mapped map_result(const struct step_job_end *end, bool asked)
{
        struct mapped mapped = map_cause(end->cause, end->exit_code, end->signal, asked);

        switch (end->result) {
        case STEP_JOB_SUCCESS:
                return (struct mapped){STATE_SUCCESS, REASON_NONE};
        case STEP_JOB_FAILED:
                if (mapped.state == STATE_SUCCESS)
                        return (struct mapped){STATE_FAILED, REASON_EXIT_CODE};
                return mapped;
        case STEP_JOB_TIMEOUT:
                return (struct mapped){STATE_TIMEOUT, REASON_TIMEOUT};
        case STEP_JOB_CANCELLED:
                return (struct mapped){STATE_CANCELLED, REASON_CANCELLED};
        case STEP_JOB_ORPHANED:
                return (struct mapped){STATE_ERROR, REASON_EXECUTOR_LOST};
        case STEP_JOB_STOPPED:
                return map_cause(STEP_CAUSE_STOPPED, 0, 0, asked);
        default:
                if (mapped.state == STATE_ERROR)
                        return mapped;
                return (struct mapped){STATE_ERROR, REASON_INTERNAL};
        }
}

static enum step_cause cause_of_result(const struct step_job_end *end)
{
        switch (end->result) {
        case STEP_JOB_CANCELLED:
                return STEP_CAUSE_CANCELLED;
        case STEP_JOB_ORPHANED:
                return STEP_CAUSE_ORPHANED;
        case STEP_JOB_STOPPED:
                return STEP_CAUSE_STOPPED;
        case STEP_JOB_ERROR:
                return end->cause == STEP_CAUSE_NONE ? STEP_CAUSE_INTERNAL : end->cause;
        default:
                return end->cause;
        }
}

void cause_of_job(struct cause *ret, const struct order *order, const struct step_job_end *end,
                  bool asked)
{
        const char *text = end->result == STEP_JOB_SUCCESS ? "" : end->text;

        /* "stopped" is argon-step's word for what a person calls cancelled */
        if (end->result == STEP_JOB_STOPPED && asked)
                text = "";
        fill(ret, order, map_result(end, asked), cause_of_result(end), text, end->step,
             end->exit_code, end->signal, asked);
        if (ret->state == STATE_SUCCESS)
                ret->exit_code = 0;
}

void cause_of_sandbox(struct cause *ret, const struct order *order, const struct sandbox_end *end)
{
        scoped_str struct str text = STR_INIT;
        struct mapped mapped = {STATE_ERROR, REASON_ENGINE_UNAVAILABLE};

        if (end->disk)
                mapped = (struct mapped){STATE_FAILED, REASON_DISK_LIMIT};
        else if (end->oom)
                mapped = (struct mapped){STATE_FAILED, REASON_OUT_OF_MEMORY};
        add_limit(&text, order, mapped.reason, order->timeout_ms);
        if (text.len == 0 && end->gone)
                str_add(&text, "the sandbox is gone: it was removed from outside");
        else if (text.len == 0)
                str_printf(&text, "the sandbox was ended from outside (exit code %d)",
                           end->exit_code);
        cause_set(ret, mapped.state, mapped.reason, text.data);
}

void cause_of_deadline(struct cause *ret, const struct order *order)
{
        scoped_str struct str text = STR_INIT;

        add_seconds(&text, order->timeout_ms);
        cause_set(ret, STATE_TIMEOUT, REASON_TIMEOUT, text.data);
}

void cause_of_absence(struct cause *ret, int64_t orphan_max_ms)
{
        scoped_text char *text = text_format("the executor was away for longer than %lld s",
                                             (long long)(orphan_max_ms / 1000));

        cause_set(ret, STATE_ERROR, REASON_EXECUTOR_LOST, text);
}
