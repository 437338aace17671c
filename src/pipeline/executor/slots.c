#include "pipeline/executor/slots.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/build.h"
#include "pipeline/consume.h"
#include "pipeline/executor/assignment.h"
#include "pipeline/topology.h"
#include "ports/engine.h"
#include "ports/store.h"
#include "wire/dispatch.h"

#include "base/banned.h"

#define AGAIN_FIRST_MS 200
#define AGAIN_MOST_MS 5000

/* @once: ends with the job it was made for; @running, @consume: behind the lock */
struct slot {
        struct slots *slots;
        int index;
        bool once;
        bool started;
        pthread_t thread;
        struct assignment *running;
        struct consume *consume;
};

/* The lock guards stopping, and running and consume of each slot. */
struct slots {
        struct slots_options options;
        pthread_mutex_t lock;
        pthread_mutex_t claiming; /* held from the look for a double to its entry in the table */
        pthread_cond_t changed;
        bool stopping;
        struct slot *all;
        size_t n;
};

static void wait_until(struct slots *slots, int64_t until_ms)
{
        struct timespec until = {until_ms / 1000, until_ms % 1000 * 1000000};

        pthread_cond_timedwait(&slots->changed, &slots->lock, &until);
}

static void tell_changed(struct slots *slots)
{
        slots->options.changed(slots->options.data);
}

/* Taking */

static bool has_label(const char *labels, const char *label, size_t n)
{
        while (*labels) {
                size_t len = strcspn(labels, ",");

                if (len == n && strncmp(labels, label, n) == 0)
                        return true;
                labels += len + (labels[len] == ',');
        }
        return false;
}

static bool offers(const char *ours, const char *wanted)
{
        while (*wanted) {
                size_t len = strcspn(wanted, ",");

                if (len > 0 && !has_label(ours, wanted, len))
                        return false;
                wanted += len + (wanted[len] == ',');
        }
        return true;
}

static bool runs_already(struct slots *slots, const struct dispatch *dispatch)
{
        bool found = false;

        pthread_mutex_lock(&slots->lock);
        for (size_t i = 0; i < slots->n && !found; i++) {
                const struct assignment *running = slots->all[i].running;

                found = running && running->attempt == dispatch->attempt &&
                        strcmp(running->job_id, dispatch->job_id) == 0;
        }
        pthread_mutex_unlock(&slots->lock);
        return found;
}

/* Become the one that runs it. *ret stays NULL when somebody else is. */
static int claim(struct slot *slot, const struct dispatch *dispatch, struct assignment **ret,
                 struct error *err)
{
        const struct assignment_place *place = slot->slots->options.place;
        scoped(assignment) struct assignment *assignment = NULL;
        int result = assignment_new(&assignment, place->store, dispatch->job_id, dispatch->attempt,
                                    dispatch->token, err);

        if (result < 0)
                return result;
        result = store_lease_claim(place->store, dispatch->job_id, dispatch->attempt,
                                   dispatch->token, place->executor, err);
        if (result == -ERROR_CONFLICT)
                return 0;
        if (result < 0)
                return error_wrap(err, "claim the lease of job %s", dispatch->job_id);
        assignment->slot = slot->index;
        *ret = take(assignment);
        return 0;
}

/* Claim it and enter it in the table, unless it runs here already. */
static int take_job(struct slot *slot, const struct dispatch *dispatch, struct error *err)
{
        struct slots *slots = slot->slots;
        struct assignment *assignment = NULL;

        if (runs_already(slots, dispatch))
                return 0;
        if (claim(slot, dispatch, &assignment, err) < 0)
                return -err->kind;
        if (!assignment)
                return 0;
        if (FAILPOINT("executor.before_ack")) {
                assignment_free(assignment);
                return error_set(err, ERROR_UNAVAILABLE, "failpoint executor.before_ack");
        }
        pthread_mutex_lock(&slots->lock);
        slot->running = assignment;
        if (slots->stopping) /* claimed in the last moment: given back at once */
                job_stop_raise(assignment->stop, JOB_STOP_DETACH);
        consume_stop(slot->consume);
        pthread_mutex_unlock(&slots->lock);
        return 0;
}

static int handle(void *data, const struct bus_message *message, struct error *err)
{
        struct slot *slot = data;
        struct slots *slots = slot->slots;
        scoped(dispatch) struct dispatch *dispatch = NULL;
        int result;

        if (dispatch_decode(&dispatch, message->body, message->len, err) < 0)
                return -err->kind;
        if (!offers(text_or(slots->options.labels, ""), text_or(dispatch->labels, "")))
                return error_set(err, ERROR_CONFLICT,
                                 "job %s needs an executor with the labels '%s'; this one has '%s'",
                                 dispatch->job_id, dispatch->labels,
                                 text_or(slots->options.labels, ""));
        pthread_mutex_lock(&slots->claiming);
        result = take_job(slot, dispatch, err);
        pthread_mutex_unlock(&slots->claiming);
        return result;
}

/* Wait for a message and claim its job; slot->running is it, or NULL when the slots are stopping.
 */
static int take_message(struct slot *slot, struct error *err)
{
        static const char *const queue[] = {QUEUE_SANDBOX};
        struct slots *slots = slot->slots;
        struct consume_spec spec = {
                .bus = slots->options.place->bus,
                .service = "executor",
                .queues = queue,
                .n_queues = 1,
                .prefetch = 1,
                .handle = handle,
                .data = slot,
        };
        struct consume *consume;
        int result = consume_open(&consume, &spec, err);

        if (result < 0)
                return result;
        pthread_mutex_lock(&slots->lock);
        slot->consume = consume;
        if (slots->stopping)
                consume_stop(consume);
        pthread_mutex_unlock(&slots->lock);
        consume_run(consume);
        pthread_mutex_lock(&slots->lock);
        slot->consume = NULL;
        pthread_mutex_unlock(&slots->lock);
        consume_close(consume);
        return 0;
}

/* Running */

/* A cancel that was asked for between dispatch and claim reached nobody. */
static void check_cancelled(struct slots *slots, struct assignment *assignment)
{
        struct build *build = NULL;
        struct error err;

        if (store_build_get(slots->options.place->store, &build, assignment->build_id, &err) < 0)
                return;
        if (build->cancel_requested)
                job_stop_raise(assignment->stop, JOB_STOP_CANCEL);
        build_free(build);
}

static void run_job(struct slot *slot)
{
        struct slots *slots = slot->slots;
        struct assignment *assignment = slot->running;

        tell_changed(slots);
        check_cancelled(slots, assignment);
        assignment_run(assignment, slots->options.place);
        pthread_mutex_lock(&slots->lock);
        slot->running = NULL;
        pthread_cond_broadcast(&slots->changed);
        pthread_mutex_unlock(&slots->lock);
        assignment_free(assignment);
        tell_changed(slots);
}

static bool is_stopping(struct slots *slots)
{
        bool stopping;

        pthread_mutex_lock(&slots->lock);
        stopping = slots->stopping;
        pthread_mutex_unlock(&slots->lock);
        return stopping;
}

static void wait_for_bus(struct slots *slots, int64_t wait_ms)
{
        int64_t until = clock_ms() + wait_ms;

        pthread_mutex_lock(&slots->lock);
        while (!slots->stopping && clock_ms() < until)
                wait_until(slots, until);
        pthread_mutex_unlock(&slots->lock);
}

static void *slot_run(void *data)
{
        struct slot *slot = data;
        struct log_context about = {.service = "executor"};
        int64_t wait_ms = AGAIN_FIRST_MS;

        if (slot->running)
                run_job(slot);
        while (!slot->once && !is_stopping(slot->slots)) {
                struct error err;

                if (take_message(slot, &err) < 0) {
                        if (wait_ms == AGAIN_FIRST_MS)
                                log_event(LOG_WARNING, &about, "no work can be taken: %s",
                                          err.text);
                        wait_for_bus(slot->slots, wait_ms);
                        wait_ms = wait_ms * 2 < AGAIN_MOST_MS ? wait_ms * 2 : AGAIN_MOST_MS;
                        continue;
                }
                wait_ms = AGAIN_FIRST_MS;
                if (slot->running)
                        run_job(slot);
        }
        return NULL;
}

/* Opening and closing */

static struct slot *free_slot(struct slots *slots, const struct assignment *assignment)
{
        size_t wanted = (size_t)slots->options.n;

        if (assignment->slot >= 0 && assignment->slot < slots->options.n)
                wanted = (size_t)assignment->slot;
        if (wanted < (size_t)slots->options.n && !slots->all[wanted].running)
                return &slots->all[wanted];
        for (size_t i = 0; i < (size_t)slots->options.n && assignment->slot < 0; i++) {
                if (!slots->all[i].running)
                        return &slots->all[i];
        }
        slots->all[slots->n] = (struct slot){
                .slots = slots, .index = (int)slots->n, .once = true, .running = NULL};
        return &slots->all[slots->n++];
}

static void place_recovered(struct slots *slots, struct assignment **recovered, size_t n)
{
        /* those with a sandbox first: its network belongs to its slot */
        for (int turn = 0; turn < 2; turn++) {
                for (size_t i = 0; i < n; i++) {
                        struct assignment *assignment = recovered[i];
                        struct slot *slot;

                        if ((assignment->slot < 0) != (turn == 1))
                                continue;
                        slot = free_slot(slots, assignment);
                        slot->running = assignment;
                        if (assignment->slot < 0)
                                assignment->slot = slot->index;
                }
        }
        free(recovered);
}

static int start_threads(struct slots *slots, struct error *err)
{
        for (size_t i = 0; i < slots->n; i++) {
                struct slot *slot = &slots->all[i];
                int code = pthread_create(&slot->thread, NULL, slot_run, slot);

                if (code != 0) {
                        errno = code;
                        return error_set_errno(err, "start the thread of a slot");
                }
                slot->started = true;
        }
        return 0;
}

static struct slots *slots_new(const struct slots_options *options, size_t n_recovered)
{
        struct slots *slots = xcalloc(1, sizeof(*slots));
        pthread_condattr_t attributes;

        slots->options = *options;
        pthread_mutex_init(&slots->lock, NULL);
        pthread_mutex_init(&slots->claiming, NULL);
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(&slots->changed, &attributes);
        pthread_condattr_destroy(&attributes);
        slots->n = (size_t)options->n;
        slots->all = xcalloc(slots->n + n_recovered, sizeof(*slots->all));
        for (size_t i = 0; i < slots->n; i++)
                slots->all[i] = (struct slot){.slots = slots, .index = (int)i};
        return slots;
}

int slots_open(struct slots **ret, const struct slots_options *options,
               struct assignment **recovered, size_t n_recovered, struct error *err)
{
        struct slots *slots = slots_new(options, n_recovered);
        int result;

        place_recovered(slots, recovered, n_recovered);
        result = start_threads(slots, err);
        if (result < 0) {
                slots_drain(slots, 0);
                slots_close(slots);
                return result;
        }
        *ret = slots;
        return 0;
}

static bool all_idle(const struct slots *slots)
{
        for (size_t i = 0; i < slots->n; i++) {
                if (slots->all[i].running)
                        return false;
        }
        return true;
}

bool slots_drain(struct slots *slots, int64_t timeout_ms)
{
        int64_t until = clock_ms() + timeout_ms;
        bool idle;

        pthread_mutex_lock(&slots->lock);
        slots->stopping = true;
        for (size_t i = 0; i < slots->n; i++)
                if (slots->all[i].consume)
                        consume_stop(slots->all[i].consume);
        pthread_cond_broadcast(&slots->changed);
        while (!(idle = all_idle(slots)) && clock_ms() < until)
                wait_until(slots, until);
        pthread_mutex_unlock(&slots->lock);
        return idle;
}

void slots_close(struct slots *slots)
{
        if (!slots)
                return;
        for (size_t i = 0; i < slots->n; i++) {
                struct slot *slot = &slots->all[i];

                if (slot->started)
                        pthread_join(slot->thread, NULL);
                /* one whose thread could not be started keeps its lease for the next process */
                if (slot->running) {
                        engine_sandbox_free(slots->options.place->engine, slot->running->sandbox);
                        assignment_free(slot->running);
                }
        }
        pthread_cond_destroy(&slots->changed);
        pthread_mutex_destroy(&slots->claiming);
        pthread_mutex_destroy(&slots->lock);
        free(slots->all);
        free(slots);
}

int slots_running(struct slots *slots)
{
        int n = 0;

        pthread_mutex_lock(&slots->lock);
        for (size_t i = 0; i < slots->n; i++)
                n += slots->all[i].running != NULL;
        pthread_mutex_unlock(&slots->lock);
        return n;
}

void slots_each(struct slots *slots, void (*visit)(void *data, struct assignment *assignment),
                void *data)
{
        pthread_mutex_lock(&slots->lock);
        for (size_t i = 0; i < slots->n; i++)
                if (slots->all[i].running)
                        visit(data, slots->all[i].running);
        pthread_mutex_unlock(&slots->lock);
}
