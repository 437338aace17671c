/*
 * Starting and stopping. Every thread blocks on its own thing (a queue, or the condition), so
 * stopping means: set the flag, make stop_fd readable (a fetch under way ends), wake the consumers,
 * broadcast, join.
 */
#include "pipeline/orchestrator/orchestrator.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/build.h"
#include "pipeline/consume.h"
#include "pipeline/orchestrator/parts.h"
#include "pipeline/topology.h"
#include "ports/bus.h"

#include "base/banned.h"

#define SOURCE_THREADS 4
#define SPARE_DISPATCHES 2
#define LOST_MS 30000
#define REISSUE_MS 5000
#define TICK_MS 2000
#define RESULTS_PREFETCH 64
#define BACKOFF_FIRST_MS 200
#define BACKOFF_MOST_MS 10000

void orchestrator_kick(struct orchestrator *o)
{
        pthread_mutex_lock(&o->lock);
        o->kicked = true;
        pthread_cond_broadcast(&o->changed);
        pthread_mutex_unlock(&o->lock);
}

bool orchestrator_wait(struct orchestrator *o, int64_t ms)
{
        struct timespec until;
        int64_t end = clock_ms() + ms;

        until.tv_sec = end / 1000;
        until.tv_nsec = end % 1000 * 1000000;
        pthread_mutex_lock(&o->lock);
        while (!atomic_load(&o->stopped) && clock_ms() < end)
                pthread_cond_timedwait(&o->changed, &o->lock, &until);
        pthread_mutex_unlock(&o->lock);
        return !atomic_load(&o->stopped);
}

bool orchestrator_backoff(struct orchestrator *o, int failures)
{
        int64_t ms = BACKOFF_FIRST_MS;

        for (int i = 1; i < failures && ms < BACKOFF_MOST_MS; i++)
                ms *= 2;
        return orchestrator_wait(o, ms < BACKOFF_MOST_MS ? ms : BACKOFF_MOST_MS);
}

void orchestrator_later(struct orchestrator *o, const char *build_id)
{
        bool known;

        pthread_mutex_lock(&o->lock);
        known = o->reading && strcmp(o->reading, build_id) == 0;
        for (size_t i = 0; i < o->n_later; i++)
                known = known || strcmp(o->later[i], build_id) == 0;
        if (!known) {
                o->later = xrealloc(o->later, (o->n_later + 1) * sizeof(*o->later));
                o->later[o->n_later++] = text_copy(build_id);
                pthread_cond_broadcast(&o->changed);
        }
        pthread_mutex_unlock(&o->lock);
}

void orchestrator_log(enum log_severity severity, const struct build *build, const struct job *job,
                      json_t *context, const char *format, ...)
{
        scoped(json) json_t *owned = context;
        scoped_str struct str text = STR_INIT;
        scoped_str struct str message = STR_INIT;
        struct log_context about = {.service = ORCHESTRATOR};
        va_list args;

        if (build)
                about.build_id = build->id;
        if (job)
                about.job_id = job->id;
        if (owned) {
                str_add_json(&text, owned);
                about.context = text.data;
        }
        va_start(args, format);
        str_vprintf(&message, format, args);
        va_end(args);
        log_event(severity, &about, "%s", message.data);
}

static void *run_consume(void *data)
{
        consume_run(data);
        return NULL;
}

static int open_consume(struct orchestrator *o, struct consume **ret, const char *const *queue,
                        int (*handle)(void *, const struct bus_message *, struct error *),
                        struct error *err)
{
        struct consume_spec spec = {
                .bus = o->options.bus,
                .service = ORCHESTRATOR,
                .queues = queue,
                .n_queues = 1,
                .prefetch = 1,
                .handle = handle,
                .data = o,
        };

        return consume_open(ret, &spec, err);
}

static const char *const webhook_queue[] = {QUEUE_WEBHOOK};
static const char *const control_queue[] = {QUEUE_CONTROL};
static const char *const result_queue[] = {QUEUE_RESULT};

static int start(struct orchestrator *o, pthread_t *thread, void *(*body)(void *), void *data,
                 struct error *err)
{
        int result = pthread_create(thread, NULL, body, data);

        if (result)
                return error_set(err, ERROR_UNAVAILABLE, "start a thread of the orchestrator: %s",
                                 strerror(result));
        return 0;
}

static int start_sources(struct orchestrator *o, struct error *err)
{
        while (o->n_sources < o->options.source_threads) {
                struct consume **slot = &o->sources[o->n_sources];

                if (open_consume(o, slot, webhook_queue, events_handle, err) < 0 ||
                    start(o, &o->source_threads[o->n_sources], run_consume, *slot, err) < 0) {
                        consume_close(*slot);
                        return -ERROR_UNAVAILABLE;
                }
                o->n_sources++;
        }
        return 0;
}

static int start_all(struct orchestrator *o, struct error *err)
{
        if (start_sources(o, err) < 0 ||
            open_consume(o, &o->control, control_queue, control_handle, err) < 0 ||
            bus_consume(o->options.bus, &o->results, result_queue, 1, RESULTS_PREFETCH, err) < 0)
                return -ERROR_UNAVAILABLE;
        if (start(o, &o->control_thread, run_consume, o->control, err) < 0)
                return -ERROR_UNAVAILABLE;
        o->n_started = 1;
        if (start(o, &o->results_thread, results_main, o, err) < 0)
                return -ERROR_UNAVAILABLE;
        o->n_started = 2;
        if (start(o, &o->dispatch_thread, dispatch_main, o, err) < 0)
                return -ERROR_UNAVAILABLE;
        o->n_started = 3;
        if (start(o, &o->later_thread, manual_main, o, err) < 0)
                return -ERROR_UNAVAILABLE;
        o->n_started = 4;
        return 0;
}

static void fill_defaults(struct orchestrator_options *options)
{
        if (options->source_threads <= 0)
                options->source_threads = SOURCE_THREADS;
        if (options->source_threads > SOURCE_THREADS_MAX)
                options->source_threads = SOURCE_THREADS_MAX;
        if (options->spare_dispatches <= 0)
                options->spare_dispatches = SPARE_DISPATCHES;
        if (options->lost_ms <= 0)
                options->lost_ms = LOST_MS;
        if (options->reissue_ms <= 0)
                options->reissue_ms = REISSUE_MS;
        if (options->tick_ms <= 0)
                options->tick_ms = TICK_MS;
}

int orchestrator_open(struct orchestrator **ret, const struct orchestrator_options *options,
                      struct error *err)
{
        struct orchestrator *o = xcalloc(1, sizeof(*o));
        pthread_condattr_t attributes;

        o->options = *options;
        fill_defaults(&o->options);
        o->kicked = true; /* whatever was under way when we died is looked at first */
        pthread_mutex_init(&o->lock, NULL);
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(&o->changed, &attributes);
        pthread_condattr_destroy(&attributes);
        o->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (o->stop_fd < 0) {
                error_set_errno(err, "make an eventfd");
                orchestrator_close(o);
                return -ERROR_UNAVAILABLE;
        }
        if (start_all(o, err) < 0) {
                orchestrator_close(o);
                return error_wrap(err, "start the orchestrator");
        }
        *ret = o;
        return 0;
}

static void stop_all(struct orchestrator *o)
{
        pthread_mutex_lock(&o->lock);
        atomic_store(&o->stopped, true);
        pthread_cond_broadcast(&o->changed);
        pthread_mutex_unlock(&o->lock);
        if (o->stop_fd >= 0)
                eventfd_write(o->stop_fd, 1);
        for (int i = 0; i < o->n_sources; i++)
                consume_stop(o->sources[i]);
        if (o->control)
                consume_stop(o->control);
        if (o->results)
                bus_consumer_wake(o->results);
}

void orchestrator_close(struct orchestrator *o)
{
        if (!o)
                return;
        stop_all(o);
        for (int i = 0; i < o->n_sources; i++) {
                pthread_join(o->source_threads[i], NULL);
                consume_close(o->sources[i]);
        }
        if (o->n_started > 0)
                pthread_join(o->control_thread, NULL);
        if (o->n_started > 1)
                pthread_join(o->results_thread, NULL);
        if (o->n_started > 2)
                pthread_join(o->dispatch_thread, NULL);
        if (o->n_started > 3)
                pthread_join(o->later_thread, NULL);
        consume_close(o->control);
        bus_consumer_close(o->results);
        for (size_t i = 0; i < o->n_later; i++)
                free(o->later[i]);
        free(o->later);
        if (o->stop_fd >= 0)
                close(o->stop_fd);
        pthread_cond_destroy(&o->changed);
        pthread_mutex_destroy(&o->lock);
        free(o);
}
