/*
 * The server's own parts: reconcile() says which job may start, job_run() runs it, apply_result()
 * writes into the build what became of it. Here the build lives in memory, a slot is a thread, and
 * results go from the threads to the main thread, the only one that touches the build.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/scoped.h"
#include "commands/command.h"
#include "commands/exec.h"
#include "commands/interrupt.h"
#include "commands/settings.h"
#include "domain/build.h"
#include "domain/order.h"
#include "domain/pipeline_file.h"
#include "domain/plan.h"
#include "domain/reconcile.h"
#include "pipeline/orchestrator/apply.h"
#include "wire/job_result.h"
#include "wire/log_entry.h"

#include "base/banned.h"

#define EXECUTOR "exec"
#define TICK_MS 100
#define CANCEL_MS 10000
#define ORPHAN_MAX_MS 60000 /* a run that was killed leaves its jobs for at most so long */
#define SLOTS_MAX 64

/* An encoded result on its way to the main thread. */
struct message {
        struct message *next;
        char *text;
        size_t n;
};

struct exec_run;

struct slot {
        struct exec_run *run;
        int number;
        bool busy;
        bool ended; /* under the lock */
        pthread_t thread;
        struct job *job; /* main thread */
        char *name;
        struct order *order;
        struct job_stop *stop;
        int log;
        char *kept;
};

/* The lock guards the messages and `ended` of the slots. */
struct exec_run {
        struct exec *exec;
        pthread_mutex_t lock;
        int news;
        struct message *first;
        struct message **last;
        struct slot slots[SLOTS_MAX];
        int n_slots;
        int stops; /* signals so far */
        int signal_code;
};

static void raise_news(struct exec_run *run)
{
        uint64_t one = 1;

        /* cannot fail: the counter would have to reach 2^64 */
        if (write(run->news, &one, sizeof(one)) < 0)
                return;
}

/* --- on a job's thread --- */

static void take_log(void *data, const struct log_entry *entry)
{
        struct slot *slot = data;

        if (fs_write_all(slot->log, entry->bytes, entry->n, NULL) < 0)
                exec_view_line(&slot->run->exec->view, "the log of %s cannot be written: %s",
                               slot->name, strerror(errno));
        exec_view_output(&slot->run->exec->view, slot->name, entry->bytes, entry->n);
}

static void push(struct slot *slot, const struct job_result *result)
{
        struct exec_run *run = slot->run;
        struct message *message = xcalloc(1, sizeof(*message));
        struct str text = STR_INIT;

        job_result_encode(result, &text);
        message->n = text.len;
        message->text = str_steal(&text);
        pthread_mutex_lock(&run->lock);
        *run->last = message;
        run->last = &message->next;
        pthread_mutex_unlock(&run->lock);
        raise_news(run);
}

static void take_result(void *data, const struct job_result *result)
{
        struct slot *slot = data;
        struct exec_view *view = &slot->run->exec->view;

        if (result->kind == RESULT_STEP_STARTED && view->stream) {
                const char *dim = colour_code(view->invocation->colour_err, COLOUR_DIM);
                const char *none = colour_code(view->invocation->colour_err, COLOUR_NONE);

                if (view->prefix)
                        exec_view_line(view, "%s%-*s | step %d/%zu: %s%s", dim, (int)view->prefix,
                                       slot->name, result->step + 1, slot->order->n_steps,
                                       result->step_name, none);
                else
                        exec_view_line(view, "%sstep %d/%zu: %s%s", dim, result->step + 1,
                                       slot->order->n_steps, result->step_name, none);
        }
        push(slot, result);
}

static void take_event(void *data, enum log_severity severity, const char *message,
                       const char *context)
{
        struct slot *slot = data;

        /* the end of the job is told from its result; what else goes wrong is worth a line */
        if (severity >= LOG_WARNING && !strstr(message, "Job "))
                exec_view_line(&slot->run->exec->view, "%s: %s %s", slot->name, message,
                               text_or(context, ""));
}

static void before_remove(void *data, enum state state, const struct sandbox *sandbox,
                          const char *workspace)
{
        struct slot *slot = data;
        struct exec *exec = slot->run->exec;

        if (exec->shell_on_fail && (state == STATE_FAILED || state == STATE_TIMEOUT))
                exec_shell(exec, slot->order, sandbox, workspace);
        if (exec->keep)
                slot->kept = text_copy(workspace);
}

/* The workspace is put beside the logs: its folder is needed again. */
static void keep_workspace(struct slot *slot)
{
        struct exec *exec = slot->run->exec;
        scoped_text char *to = text_format("%s/%s-workspace", exec->place.logs, slot->name);

        if (!slot->kept)
                return;
        fs_remove_tree(to, NULL); /* of an earlier attempt */
        if (rename(slot->kept, to) < 0)
                exec_view_line(&exec->view, "the workspace of %s cannot be kept: %s", slot->name,
                               strerror(errno));
        else
                exec_view_line(&exec->view, "  workspace of %s: %s", slot->name, to);
}

static void fail_slot(struct slot *slot, const struct error *err)
{
        struct job_result result = {
                .kind = RESULT_FINISHED,
                .build_id = slot->order->build_id,
                .job_id = slot->order->job_id,
                .attempt = slot->order->attempt,
                .token = slot->order->token,
                .executor = EXECUTOR,
                .step_name = "",
                .tail = "",
                .step = -1,
                .seq = 1,
                .state = STATE_ERROR,
                .reason = REASON_INTERNAL,
                .reason_text = err->text,
                .exit_code = -1,
                .at = wall_ms(),
        };

        push(slot, &result);
}

static void *run_slot(void *data)
{
        struct slot *slot = data;
        struct exec *exec = slot->run->exec;
        scoped_text char *name = text_format("%d-%d", slot->number, slot->order->attempt);
        bool hook = exec->keep || exec->shell_on_fail;
        struct job_outcome outcome = {0};
        struct error err = {0};
        struct job_options options = {
                .order = slot->order,
                .engine = exec->engine,
                .forge = exec->source.kind == EXEC_SOURCE_COMMIT ? exec->forge : NULL,
                .fill = exec_source_fill,
                .fill_data = (void *)exec->source.staged,
                .executor = EXECUTOR,
                .slot = slot->number,
                .work = exec->place.work,
                .control = exec->place.jobs,
                .name = name,
                .secrets = exec->input.secrets,
                .n_secrets = exec->input.n_secrets,
                .masked = exec->input.masked,
                .n_masked = exec->input.n_masked,
                .log_max = exec->settings->log_max,
                .orphan_max_ms = ORPHAN_MAX_MS,
                .cancel_ms = CANCEL_MS,
                .sink = {take_log, take_result, take_event, NULL, slot},
                .stop = slot->stop,
                .before_remove = hook ? before_remove : NULL,
                .before_remove_data = slot,
                .keep = exec->keep,
        };

        if (job_run(&outcome, &options, &err) < 0)
                fail_slot(slot, &err);
        job_outcome_done(&outcome);
        keep_workspace(slot);
        pthread_mutex_lock(&slot->run->lock);
        slot->ended = true;
        pthread_mutex_unlock(&slot->run->lock);
        raise_news(slot->run);
        return NULL;
}

/* --- on the main thread --- */

/* What the command line adds to an order: it comes last, so it wins over file and job. */
static void add_input(struct order *order, const struct exec_input *input)
{
        struct order_env *all =
                arena_alloc(order->arena, (order->n_env + input->n_env + 1) * sizeof(*all));

        memcpy(all, order->env, order->n_env * sizeof(*all));
        for (size_t i = 0; i < input->n_env; i++)
                all[order->n_env++] =
                        (struct order_env){arena_copy(order->arena, input->env[i].name),
                                           arena_copy(order->arena, input->env[i].value)};
        order->env = all;
        order->secrets = input->names;
        order->n_secrets = input->n_secrets;
}

static struct slot *free_slot(struct exec_run *run)
{
        for (int i = 0; i < run->n_slots; i++) {
                if (!run->slots[i].busy)
                        return &run->slots[i];
        }
        return NULL;
}

static void clear_slot(struct slot *slot)
{
        order_freep(&slot->order);
        job_stop_freep(&slot->stop);
        if (slot->log >= 0)
                close(slot->log);
        free(slot->name);
        free(slot->kept);
        *slot = (struct slot){.run = slot->run, .number = slot->number, .log = -1};
}

static int open_log(struct slot *slot, struct error *err)
{
        scoped_text char *path =
                text_format("%s/%s.log", slot->run->exec->place.logs, slot->job->name);

        slot->log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        return slot->log < 0 ? error_set_errno(err, "open '%s'", path) : 0;
}

static int start_job(struct exec_run *run, struct slot *slot, struct job *job, struct error *err)
{
        struct exec *exec = run->exec;
        struct attempt *attempt = build_add_attempt(exec->build, job);
        struct plan_limits limits;
        char token[65];
        int code;

        id_token(token);
        attempt->token = build_text(exec->build, "%s", token);
        settings_limits(exec->settings, &limits);
        slot->job = job;
        slot->name = text_copy(job->name);
        if (plan_order(&slot->order, exec->file, exec->build, job, attempt, &limits, "", err) < 0 ||
            open_log(slot, err) < 0 || job_stop_new(&slot->stop, err) < 0)
                return -err->kind;
        add_input(slot->order, &exec->input);
        code = pthread_create(&slot->thread, NULL, run_slot, slot);
        if (code != 0) {
                errno = code;
                return error_set_errno(err, "start a thread");
        }
        slot->busy = true;
        return 0;
}

static int start_ready(struct exec_run *run, const struct reconcile_outcome *outcome,
                       struct error *err)
{
        struct build *build = run->exec->build;

        for (size_t i = 0; i < build->n_jobs; i++) {
                struct slot *slot = free_slot(run);

                if (!slot)
                        return 0;
                if (outcome->jobs[i] != RECONCILE_READY)
                        continue;
                if (start_job(run, slot, &build->jobs[i], err) < 0) {
                        clear_slot(slot);
                        return -err->kind;
                }
        }
        return 0;
}

static void apply_message(struct exec_run *run, const struct message *message)
{
        scoped(job_result) struct job_result *result = NULL;
        struct error err = {0};

        if (job_result_decode(&result, message->text, message->n, &err) < 0 ||
            apply_result(run->exec->build, result, &err) < 0)
                exec_view_line(&run->exec->view, "a result was not understood: %s", err.text);
}

static void take_news(struct exec_run *run)
{
        struct message *message;
        uint64_t count;

        if (read(run->news, &count, sizeof(count)) < 0)
                return;
        pthread_mutex_lock(&run->lock);
        message = run->first;
        run->first = NULL;
        run->last = &run->first;
        pthread_mutex_unlock(&run->lock);
        while (message) {
                struct message *next = message->next;

                apply_message(run, message);
                free(message->text);
                free(message);
                message = next;
        }
}

/* Slots whose thread is at its end are free again; its last result was applied before. */
static void join_ended(struct exec_run *run, bool wait)
{
        for (int i = 0; i < run->n_slots; i++) {
                struct slot *slot = &run->slots[i];
                bool ended;

                pthread_mutex_lock(&run->lock);
                ended = slot->ended;
                pthread_mutex_unlock(&run->lock);
                if (!slot->busy || (!ended && !wait))
                        continue;
                pthread_join(slot->thread, NULL);
                clear_slot(slot);
        }
}

static void stop_all(struct exec_run *run, enum job_stop_kind kind)
{
        for (int i = 0; i < run->n_slots; i++) {
                if (run->slots[i].busy)
                        job_stop_raise(run->slots[i].stop, kind);
        }
}

static void take_signal(struct exec_run *run, int signals)
{
        int code = interrupt_exit_code(signals);

        if (!code)
                return;
        run->signal_code = code;
        if (run->stops++ == 0) {
                exec_view_line(&run->exec->view, "stopping the jobs; once more: at once");
                reconcile_cancel(run->exec->build, "the command line");
                stop_all(run, JOB_STOP_CANCEL);
        } else {
                stop_all(run, JOB_STOP_KILL);
        }
}

static void wait_a_little(struct exec_run *run, int signals)
{
        struct pollfd fds[2] = {{run->news, POLLIN, 0}, {signals, POLLIN, 0}};

        if (poll(fds, 2, run->exec->view.redraw ? TICK_MS : -1) < 0)
                return;
        if (fds[1].revents & POLLIN)
                take_signal(run, signals);
        if (fds[0].revents & POLLIN)
                take_news(run);
}

static bool any_busy(const struct exec_run *run)
{
        for (int i = 0; i < run->n_slots; i++) {
                if (run->slots[i].busy)
                        return true;
        }
        return false;
}

static int loop(struct exec_run *run, int signals, struct error *err)
{
        struct exec *exec = run->exec;

        for (;;) {
                struct reconcile_facts facts = {.now = wall_ms()};
                struct reconcile_outcome outcome = {0};

                reconcile(exec->build, &facts, &outcome);
                if (start_ready(run, &outcome, err) < 0)
                        return -err->kind;
                exec_view_change(&exec->view);
                if (state_ended(exec->build->state) && !any_busy(run))
                        return 0;
                wait_a_little(run, signals);
                join_ended(run, false);
                exec_view_tick(&exec->view);
        }
}

int exec_run(struct exec *exec, int signals, struct error *err)
{
        struct exec_run run = {.exec = exec, .lock = PTHREAD_MUTEX_INITIALIZER};
        int result;

        run.last = &run.first;
        run.n_slots = exec->slots < SLOTS_MAX ? exec->slots : SLOTS_MAX;
        for (int i = 0; i < run.n_slots; i++)
                run.slots[i] = (struct slot){.run = &run, .number = i, .log = -1};
        run.news = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (run.news < 0)
                return error_set_errno(err, "eventfd");
        result = loop(&run, signals, err);
        if (result < 0)
                stop_all(&run, JOB_STOP_KILL);
        join_ended(&run, true);
        take_news(&run);
        close(run.news);
        pthread_mutex_destroy(&run.lock);
        return result < 0 ? result : run.signal_code;
}
