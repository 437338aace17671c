/*
 * A ring of encoded messages behind one lock; the lock is held for moving pointers only, never
 * while publishing, so a service that logs never waits for the bus.
 */
#include "pipeline/logger/log_relay.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/id.h"
#include "base/str.h"
#include "pipeline/topology.h"
#include "ports/bus.h"
#include "wire/log_entry.h"

#include "base/banned.h"

#define LINES_MAX 4096
#define CONTEXT_BYTES_MAX (16 * 1024)
#define RETRY_MS 1000
#define CLOSE_MS 2000

struct line {
        char *body;
        size_t len;
};

struct log_relay {
        struct bus *bus;
        char instance[ID_SIZE];
        atomic_llong count;
        pthread_t thread;

        pthread_mutex_t lock; /* guards the rest */
        pthread_cond_t changed;
        struct line lines[LINES_MAX];
        size_t first;
        size_t n;
        int64_t dropped; /* since it was last said */
        bool stopped;
};

static struct line encode(struct log_relay *relay, enum log_severity severity,
                          const struct log_context *about, const char *message)
{
        const char *service = text_or(about->service, "argon");
        char *id = text_format("%s/%s/%lld", service, relay->instance,
                               (long long)atomic_fetch_add(&relay->count, 1) + 1);
        struct str body = STR_INIT;
        struct log_entry entry = {
                .id = id,
                .timestamp_ns = wall_ns(),
                .service = service,
                .severity = severity,
                .build_id = text_or(about->build_id, ""),
                .job_id = text_or(about->job_id, ""),
                .attempt = about->attempt,
                .bytes = message,
                .n = strnlen(message, LOG_ENTRY_BYTES_MAX),
                .context = about->context && strlen(about->context) <= CONTEXT_BYTES_MAX
                                   ? about->context
                                   : NULL,
        };
        struct line line;

        log_entry_encode(&entry, &body);
        free(id);
        line.len = body.len;
        line.body = str_steal(&body);
        return line;
}

/* With the lock held. */
static void push(struct log_relay *relay, struct line line)
{
        if (relay->n == LINES_MAX) {
                free(relay->lines[relay->first].body);
                relay->first = (relay->first + 1) % LINES_MAX;
                relay->n--;
                relay->dropped++;
        }
        relay->lines[(relay->first + relay->n++) % LINES_MAX] = line;
}

void log_relay_sink(void *data, enum log_severity severity, const struct log_context *about,
                    const char *message)
{
        struct log_relay *relay = data;
        struct line line = encode(relay, severity, about, message);

        pthread_mutex_lock(&relay->lock);
        push(relay, line);
        pthread_cond_signal(&relay->changed);
        pthread_mutex_unlock(&relay->lock);
}

static struct line encode_marker(struct log_relay *relay, int64_t dropped)
{
        char *text = text_format("%lld log lines of this process were lost: they came faster than "
                                 "log.queue took them",
                                 (long long)dropped);
        struct line line = encode(relay, LOG_WARNING, &(struct log_context){0}, text);

        free(text);
        return line;
}

/* Wait for lines and take up to a batch of them. Return: how many; 0: stopped and nothing left. */
static size_t take_lines(struct log_relay *relay, struct line *ret)
{
        int64_t dropped;
        size_t taken = 0;

        pthread_mutex_lock(&relay->lock);
        while (relay->n == 0 && !relay->stopped)
                pthread_cond_wait(&relay->changed, &relay->lock);
        dropped = relay->dropped;
        relay->dropped = 0;
        while (relay->n && taken < BUS_BATCH_MAX - 1) {
                ret[taken++] = relay->lines[relay->first];
                relay->first = (relay->first + 1) % LINES_MAX;
                relay->n--;
        }
        pthread_mutex_unlock(&relay->lock);
        if (dropped) {
                memmove(ret + 1, ret, taken * sizeof(*ret));
                ret[0] = encode_marker(relay, dropped);
                taken++;
        }
        return taken;
}

/* Sleep before the next try. Return: false when there is no time left for one. */
static bool wait_to_retry(struct log_relay *relay, int64_t *deadline)
{
        int64_t end = clock_ms() + RETRY_MS;
        struct timespec until = {end / 1000, end % 1000 * 1000000};
        bool go_on;

        pthread_mutex_lock(&relay->lock);
        while (!relay->stopped &&
               pthread_cond_timedwait(&relay->changed, &relay->lock, &until) != ETIMEDOUT)
                ;
        if (relay->stopped && *deadline == 0)
                *deadline = clock_ms() + CLOSE_MS;
        go_on = !relay->stopped || clock_ms() < *deadline;
        pthread_mutex_unlock(&relay->lock);
        if (go_on && *deadline)
                nanosleep(&(struct timespec){0, 100 * 1000000}, NULL);
        return go_on;
}

static void *relay_main(void *data)
{
        struct log_relay *relay = data;
        struct line lines[BUS_BATCH_MAX];
        struct bus_body bodies[BUS_BATCH_MAX];
        int64_t deadline = 0;
        bool go_on = true;
        size_t n;

        while (go_on && (n = take_lines(relay, lines)) > 0) {
                for (size_t i = 0; i < n; i++)
                        bodies[i] = (struct bus_body){lines[i].body, lines[i].len};
                while (go_on && bus_publish_all(relay->bus, QUEUE_LOG, bodies, n, NULL) < 0)
                        go_on = wait_to_retry(relay, &deadline);
                for (size_t i = 0; i < n; i++)
                        free(lines[i].body);
        }
        return NULL;
}

int log_relay_open(struct log_relay **ret, struct bus *bus, struct error *err)
{
        struct log_relay *relay = xcalloc(1, sizeof(*relay));
        pthread_condattr_t attributes;

        relay->bus = bus;
        id_new(relay->instance);
        pthread_mutex_init(&relay->lock, NULL);
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(&relay->changed, &attributes);
        pthread_condattr_destroy(&attributes);
        if (pthread_create(&relay->thread, NULL, relay_main, relay)) {
                free(relay);
                return error_set(err, ERROR_UNAVAILABLE, "start the thread of the log relay");
        }
        *ret = relay;
        return 0;
}

void log_relay_close(struct log_relay *relay)
{
        if (!relay)
                return;
        pthread_mutex_lock(&relay->lock);
        relay->stopped = true;
        pthread_cond_broadcast(&relay->changed);
        pthread_mutex_unlock(&relay->lock);
        pthread_join(relay->thread, NULL);
        for (size_t i = 0; i < relay->n; i++)
                free(relay->lines[(relay->first + i) % LINES_MAX].body);
        pthread_cond_destroy(&relay->changed);
        pthread_mutex_destroy(&relay->lock);
        free(relay);
}
