/*
 * A request that waits is parked by the HTTP server under the name of a live topic ("build.ID",
 * "log.JOB"). One thread reads the topics and wakes. Topics are lossy: when the thread is told that
 * messages were dropped, it wakes every request that waits; to know them it keeps their names.
 *
 * dashboard_live_wait() comes before the handler's look at the store, so that a change between the
 * look and the parking still wakes.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "pipeline/dashboard/parts.h"
#include "ports/bus.h"

#include "base/banned.h"

#define WAITING_MAX 4096 /* beyond it a waiter still ends at its deadline */

struct dashboard_live {
        struct bus_topic *topic;
        struct http_server *const *servers;
        size_t n_servers;
        pthread_t thread;
        bool running;
        pthread_mutex_t lock; /* guards all below */
        bool stop;
        char *waiting[WAITING_MAX];
        size_t n_waiting;
};

int dashboard_live_new(struct dashboard_live **ret, struct bus *bus, struct error *err)
{
        struct dashboard_live *live = xcalloc(1, sizeof(*live));

        if (bus_topic_subscribe(bus, &live->topic, "", err) < 0) {
                free(live);
                return err ? -err->kind : -ERROR_UNAVAILABLE;
        }
        pthread_mutex_init(&live->lock, NULL);
        *ret = live;
        return 0;
}

static void remember(struct dashboard_live *live, const char *key)
{
        pthread_mutex_lock(&live->lock);
        for (size_t i = 0; i < live->n_waiting; i++) {
                if (strcmp(live->waiting[i], key) == 0)
                        goto out;
        }
        if (live->n_waiting < WAITING_MAX)
                live->waiting[live->n_waiting++] = text_copy(key);
out:
        pthread_mutex_unlock(&live->lock);
}

/* Wake those under this name, or all (NULL). */
static void wake(struct dashboard_live *live, const char *key)
{
        size_t kept = 0;

        pthread_mutex_lock(&live->lock);
        for (size_t i = 0; i < live->n_waiting; i++) {
                char *waiting = live->waiting[i];

                if (key && strcmp(waiting, key) != 0) {
                        live->waiting[kept++] = waiting;
                        continue;
                }
                for (size_t j = 0; j < live->n_servers; j++)
                        http_wake(live->servers[j], waiting);
                free(waiting);
        }
        live->n_waiting = kept;
        pthread_mutex_unlock(&live->lock);
}

static bool stopped(struct dashboard_live *live)
{
        bool stop;

        pthread_mutex_lock(&live->lock);
        stop = live->stop;
        pthread_mutex_unlock(&live->lock);
        return stop;
}

static void *run(void *data)
{
        struct dashboard_live *live = data;

        while (!stopped(live)) {
                scoped_text char *topic = NULL;
                scoped_text char *body = NULL;
                struct error err = {0};
                int64_t lost = 0;
                int result = bus_topic_next(live->topic, &topic, &body, &lost, -1, &err);

                if (lost > 0)
                        wake(live, NULL);
                if (result > 0)
                        wake(live, topic);
        }
        return NULL;
}

int dashboard_live_start(struct dashboard_live *live, struct http_server *const *servers, size_t n,
                         struct error *err)
{
        int number;

        live->servers = servers;
        live->n_servers = n;
        number = pthread_create(&live->thread, NULL, run, live);
        if (number)
                return error_set(err, ERROR_UNAVAILABLE, "start the thread of the live topics: %s",
                                 strerror(number));
        live->running = true;
        return 0;
}

void dashboard_live_stop(struct dashboard_live *live)
{
        if (!live->running)
                return;
        pthread_mutex_lock(&live->lock);
        live->stop = true;
        pthread_mutex_unlock(&live->lock);
        bus_topic_wake(live->topic);
        pthread_join(live->thread, NULL);
        live->running = false;
}

void dashboard_live_free(struct dashboard_live *live)
{
        if (!live)
                return;
        dashboard_live_stop(live);
        bus_topic_close(live->topic);
        for (size_t i = 0; i < live->n_waiting; i++)
                free(live->waiting[i]);
        pthread_mutex_destroy(&live->lock);
        free(live);
}

bool dashboard_live_wait(struct dashboard_live *live, struct http_request *request, const char *key,
                         int64_t wait_ms)
{
        int64_t *deadline = http_context(request);

        if (wait_ms <= 0)
                return false;
        if (!deadline) {
                deadline = xmalloc(sizeof(*deadline));
                *deadline = clock_ms() + wait_ms;
                http_set_context(request, deadline, free);
        }
        if (clock_ms() >= *deadline)
                return false;
        remember(live, key);
        http_wait(request, key, *deadline);
        return true;
}
