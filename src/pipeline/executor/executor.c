/*
 * The keeper thread recovers what the process before left, starts the slots, and then sleeps until
 * a job begins: while any runs it beats, and looks in the store whether its builds still want it
 * (a cancel whose live message was lost, an attempt that was given to somebody else while this
 * process was frozen). The canceller waits for live messages.
 */
#include "pipeline/executor/executor.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/scoped.h"
#include "base/str.h"
#include "pipeline/executor/assignment.h"
#include "pipeline/executor/folders.h"
#include "pipeline/executor/job_run.h"
#include "pipeline/executor/recovery.h"
#include "pipeline/executor/slots.h"
#include "pipeline/executor/spool.h"
#include "pipeline/executor/wanted.h"
#include "ports/bus.h"
#include "ports/engine.h"
#include "ports/store.h"

#include "base/banned.h"

#define CANCEL_PREFIX "cancel."
#define AGAIN_MOST_MS 5000
#define SPOOL_SLOT_MIN (INT64_C(64) << 20)

/* The lock guards stopping, draining, changed, look and slots (set once, by the keeper). */
struct executor {
        struct executor_options options;
        struct folders folders;
        struct assignment_place place;
        int quit; /* eventfd */
        pthread_mutex_t lock;
        pthread_cond_t wake;
        bool stopping;
        bool draining;
        bool recovered;
        bool changed; /* the number of running jobs did */
        bool look;    /* at the builds, now */
        struct slots *slots;
        int64_t beat;
        pthread_t keeper;
        pthread_t canceller;
        bool has_keeper;
        bool has_canceller;
        struct bus_topic *topic;
};

static const struct log_context about_us = {.service = "executor"};

/* Keeper */

static bool is_stopping(struct executor *executor)
{
        bool stopping;

        pthread_mutex_lock(&executor->lock);
        stopping = executor->stopping;
        pthread_mutex_unlock(&executor->lock);
        return stopping;
}

static bool is_draining(struct executor *executor)
{
        bool draining;

        pthread_mutex_lock(&executor->lock);
        draining = executor->draining;
        pthread_mutex_unlock(&executor->lock);
        return draining;
}

static struct slots *slots_of(struct executor *executor)
{
        struct slots *slots;

        pthread_mutex_lock(&executor->lock);
        slots = executor->slots;
        pthread_mutex_unlock(&executor->lock);
        return slots;
}

int executor_running(struct executor *executor)
{
        struct slots *slots = slots_of(executor);

        return slots ? slots_running(slots) : 0;
}

static void put_row(struct executor *executor)
{
        const struct engine_info *info = engine_info(executor->options.engine);
        struct executor_row row = {
                .id = executor->folders.id,
                .name = text_or(executor->options.name, "executor"),
                .labels = text_or(executor->options.labels, ""),
                .engine = info->version,
                .slots = executor->options.slots,
                .running = executor_running(executor),
                .beat = ++executor->beat,
                .seen_at = wall_ms(),
                .draining = is_draining(executor),
        };
        struct error err;

        if (store_executor_put(executor->options.store, &row, &err) < 0)
                log_event(LOG_WARNING, &about_us, "registry: %s", err.text);
}

static void beat(struct executor *executor)
{
        struct error err;

        if (store_lease_beat(executor->options.store, executor->folders.id, &err) < 0)
                log_event(LOG_WARNING, &about_us, "beat: %s", err.text);
        put_row(executor);
        wanted_check(executor->slots, executor->options.store);
}

static void notice_change(void *data)
{
        struct executor *executor = data;

        pthread_mutex_lock(&executor->lock);
        executor->changed = true;
        pthread_cond_broadcast(&executor->wake);
        pthread_mutex_unlock(&executor->lock);
}

static void wait_until(struct executor *executor, int64_t until_ms)
{
        struct timespec until = {until_ms / 1000, until_ms % 1000 * 1000000};

        pthread_cond_timedwait(&executor->wake, &executor->lock, &until);
}

/* Sleep until something changes; with jobs running also until the next beat. */
static void sleep_until_needed(struct executor *executor, int64_t beat_at)
{
        bool busy = executor_running(executor) > 0;

        pthread_mutex_lock(&executor->lock);
        while (!executor->stopping && !executor->changed && !executor->look) {
                if (!busy)
                        pthread_cond_wait(&executor->wake, &executor->lock);
                else if (clock_ms() < beat_at)
                        wait_until(executor, beat_at);
                else
                        break;
        }
        pthread_mutex_unlock(&executor->lock);
}

static int recover(struct executor *executor, struct error *err)
{
        struct slots_options options = {.place = &executor->place,
                                        .labels = executor->options.labels,
                                        .n = executor->options.slots,
                                        .changed = notice_change,
                                        .data = executor};
        struct assignment **found = NULL;
        struct slots *slots;
        size_t n = 0;

        if (recovery_run(&found, &n, &executor->place, err) < 0)
                return -err->kind;
        if (slots_open(&slots, &options, found, n, err) < 0)
                return -err->kind;
        pthread_mutex_lock(&executor->lock);
        executor->slots = slots;
        executor->recovered = true;
        pthread_mutex_unlock(&executor->lock);
        return 0;
}

/* Store and engine may come up after us. */
static bool recover_at_last(struct executor *executor)
{
        int64_t wait_ms = 200;

        while (!is_stopping(executor)) {
                struct error err;
                int64_t until;

                if (recover(executor, &err) == 0)
                        return true;
                log_event(LOG_WARNING, &about_us, "not ready to take jobs: %s", err.text);
                until = clock_ms() + wait_ms;
                pthread_mutex_lock(&executor->lock);
                while (!executor->stopping && clock_ms() < until)
                        wait_until(executor, until);
                pthread_mutex_unlock(&executor->lock);
                wait_ms = wait_ms * 2 < AGAIN_MOST_MS ? wait_ms * 2 : AGAIN_MOST_MS;
        }
        return false;
}

static int64_t beat_every(const struct executor *executor)
{
        return executor->options.beat_ms ? executor->options.beat_ms : EXECUTOR_BEAT_MS;
}

static void *keep(void *data)
{
        struct executor *executor = data;
        int64_t beat_at;

        if (!recover_at_last(executor))
                return NULL;
        beat(executor); /* at once: adopted jobs were not beaten for since the process before */
        beat_at = clock_ms() + beat_every(executor);
        for (;;) {
                bool stopping, changed, look;

                sleep_until_needed(executor, beat_at);
                pthread_mutex_lock(&executor->lock);
                stopping = executor->stopping;
                changed = executor->changed;
                look = executor->look;
                executor->changed = executor->look = false;
                pthread_mutex_unlock(&executor->lock);
                if (stopping)
                        return NULL;
                if (clock_ms() >= beat_at) {
                        beat(executor);
                        beat_at = clock_ms() + beat_every(executor);
                } else if (look) {
                        wanted_check(executor->slots, executor->options.store);
                } else if (changed) {
                        put_row(executor);
                }
        }
}

/* Canceller */

static void cancel_job(struct executor *executor, const char *job_id)
{
        struct slots *slots = slots_of(executor);

        if (slots)
                wanted_cancel(slots, job_id);
}

static void look_now(struct executor *executor)
{
        pthread_mutex_lock(&executor->lock);
        executor->look = true;
        pthread_cond_broadcast(&executor->wake);
        pthread_mutex_unlock(&executor->lock);
}

/* Return: -kind when the topic is broken. */
static int take_cancel(struct executor *executor, struct error *err)
{
        scoped_text char *topic = NULL;
        scoped_text char *body = NULL;
        int64_t lost = 0;
        int result = bus_topic_next(executor->topic, &topic, &body, &lost, -1, err);

        if (result == 1 && text_starts(topic, CANCEL_PREFIX))
                cancel_job(executor, topic + strlen(CANCEL_PREFIX));
        if (result == 1 && lost > 0)
                look_now(executor);
        return result;
}

static void *listen_for_cancels(void *data)
{
        struct executor *executor = data;

        while (!is_stopping(executor)) {
                struct timespec pause = {1, 0};
                struct error err;

                /* a broken topic costs speed, not the cancel: the builds are looked at too */
                if (take_cancel(executor, &err) < 0 && !is_stopping(executor)) {
                        log_event(LOG_WARNING, &about_us, "listen for cancels: %s", err.text);
                        look_now(executor);
                        nanosleep(&pause, NULL);
                }
        }
        return NULL;
}

/* Opening */

static int make_place(struct executor *executor, struct error *err)
{
        const struct executor_options *options = &executor->options;
        const struct folders *folders = &executor->folders;
        int64_t share = SPOOL_BYTES_MAX / options->slots;

        if (folders_init(&executor->folders, options->data, err) < 0)
                return -err->kind;
        executor->quit = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (executor->quit < 0)
                return error_set_errno(err, "make an eventfd");
        executor->place = (struct assignment_place){
                .bus = options->bus,
                .store = options->store,
                .engine = options->engine,
                .forge = options->forge,
                .executor = folders->id,
                .work = folders->work,
                .control = folders->control,
                .spool = folders->spool,
                .masks = folders->masks,
                .spool_max = share > SPOOL_SLOT_MIN ? share : SPOOL_SLOT_MIN,
                .log_max = options->log_max,
                .orphan_max_ms = options->orphan_max_ms,
                .quit_fd = executor->quit,
        };
        return 0;
}

static int start_threads(struct executor *executor, struct error *err)
{
        int code;

        if (bus_topic_subscribe(executor->options.bus, &executor->topic, CANCEL_PREFIX, err) < 0)
                return error_wrap(err, "listen for cancels");
        code = pthread_create(&executor->canceller, NULL, listen_for_cancels, executor);
        executor->has_canceller = code == 0;
        if (code == 0) {
                code = pthread_create(&executor->keeper, NULL, keep, executor);
                executor->has_keeper = code == 0;
        }
        if (code != 0) {
                errno = code;
                return error_set_errno(err, "start a thread");
        }
        return 0;
}

int executor_open(struct executor **ret, const struct executor_options *options, struct error *err)
{
        struct executor *executor;
        pthread_condattr_t attributes;
        int result;

        if (options->slots < 1 || options->slots > EXECUTOR_SLOTS_MAX)
                return error_set(err, ERROR_INVALID, "%d slots; allowed are 1 to %d",
                                 options->slots, EXECUTOR_SLOTS_MAX);
        executor = xcalloc(1, sizeof(*executor));
        executor->options = *options;
        executor->quit = -1;
        pthread_mutex_init(&executor->lock, NULL);
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(&executor->wake, &attributes);
        pthread_condattr_destroy(&attributes);
        result = make_place(executor, err);
        if (result == 0)
                result = start_threads(executor, err);
        if (result < 0) {
                executor_close(executor);
                return result;
        }
        *ret = executor;
        return 0;
}

/* Closing */

static void stop_keeper(struct executor *executor)
{
        pthread_mutex_lock(&executor->lock);
        executor->stopping = true;
        pthread_cond_broadcast(&executor->wake);
        pthread_mutex_unlock(&executor->lock);
        if (executor->has_keeper)
                pthread_join(executor->keeper, NULL);
        executor->has_keeper = false;
}

static void stop_canceller(struct executor *executor)
{
        if (executor->has_canceller) {
                bus_topic_wake(executor->topic);
                pthread_join(executor->canceller, NULL);
        }
        bus_topic_close(executor->topic);
}

static void stop_all(void *data, struct assignment *assignment)
{
        job_stop_raise(assignment->stop, *(enum job_stop_kind *)data);
}

static void stop_slots(struct executor *executor)
{
        enum job_stop_kind detach = JOB_STOP_DETACH;
        uint64_t one = 1;

        if (!executor->slots)
                return;
        if (!slots_drain(executor->slots, executor->options.grace_ms))
                slots_each(executor->slots, stop_all, &detach);
        /* cannot fail: the counter would have to reach 2^64 */
        if (write(executor->quit, &one, sizeof(one)) < 0)
                log_event(LOG_ERROR, &about_us, "eventfd: %s", strerror(errno));
        stop_keeper(executor);
        slots_close(executor->slots);
        executor->slots = NULL;
}

void executor_close(struct executor *executor)
{
        if (!executor)
                return;
        pthread_mutex_lock(&executor->lock);
        executor->draining = true;
        pthread_mutex_unlock(&executor->lock);
        /* while jobs get their grace the keeper beats for them; in recovery it only has to stop */
        if (!slots_of(executor))
                stop_keeper(executor);
        stop_slots(executor);
        stop_keeper(executor);
        stop_canceller(executor);
        if (executor->recovered)
                put_row(executor);
        if (executor->quit >= 0)
                close(executor->quit);
        pthread_cond_destroy(&executor->wake);
        pthread_mutex_destroy(&executor->lock);
        folders_done(&executor->folders);
        free(executor);
}

const char *executor_id(const struct executor *executor)
{
        return executor->folders.id;
}
