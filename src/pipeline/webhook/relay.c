#include "pipeline/webhook/relay.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/str.h"
#include "pipeline/topology.h"
#include "ports/bus.h"
#include "ports/store.h"

#include "base/banned.h"

#define BATCH 64 /* with bodies of at most 256 KiB: 16 MiB */
#define BACKOFF_FIRST_MS 100
#define BACKOFF_MOST_MS 30000

struct relay {
        struct bus *bus;
        struct store *store;
        pthread_t thread;
        atomic_uint_fast64_t published;
        atomic_uint_fast64_t failures;

        pthread_mutex_t lock; /* guards all below */
        pthread_cond_t wake;
        bool pending;
        bool stopped;
};

static const struct log_context about = {.service = "webhook"};

/* Return: how many were in the batch, or -kind. */
static int publish_batch(struct relay *relay, struct delivery_page *page, struct error *err)
{
        struct bus_body bodies[BATCH];
        const char *ids[BATCH];
        size_t n;
        int result = store_deliveries_unpublished(relay->store, page, BATCH, err);

        if (result < 0)
                return error_wrap(err, "read the journal");
        n = page->n < BATCH ? page->n : BATCH;
        for (size_t i = 0; i < n; i++) {
                ids[i] = page->deliveries[i].id;
                bodies[i] = (struct bus_body){page->deliveries[i].message,
                                              strlen(page->deliveries[i].message)};
        }
        if (!n)
                return 0;
        if (FAILPOINT("webhook.before_publish"))
                return error_set(err, ERROR_UNAVAILABLE, "failpoint");
        if (bus_publish_all(relay->bus, QUEUE_WEBHOOK, bodies, n, err) < 0)
                return error_wrap(err, "publish to %s", QUEUE_WEBHOOK);
        if (FAILPOINT("webhook.after_publish"))
                return error_set(err, ERROR_UNAVAILABLE, "failpoint");
        if (store_delivery_published(relay->store, ids, n, err) < 0)
                return error_wrap(err, "mark deliveries as published");
        atomic_fetch_add(&relay->published, n);
        return (int)n;
}

static int publish_some(struct relay *relay, struct error *err)
{
        struct delivery_page page = {0};
        int result = publish_batch(relay, &page, err);

        delivery_page_done(&page);
        return result;
}

/* Sleeps until there is work, or for ms (< 0: for ever). Return: whether to go on. */
static bool relay_sleep(struct relay *relay, int64_t ms)
{
        int64_t until = clock_ms() + ms;
        struct timespec at = {until / 1000, until % 1000 * 1000000};
        bool go_on;

        pthread_mutex_lock(&relay->lock);
        while (!relay->stopped && (ms >= 0 || !relay->pending)) {
                if (ms < 0)
                        pthread_cond_wait(&relay->wake, &relay->lock);
                else if (pthread_cond_timedwait(&relay->wake, &relay->lock, &at) == ETIMEDOUT)
                        break;
        }
        relay->pending = false;
        go_on = !relay->stopped;
        pthread_mutex_unlock(&relay->lock);
        return go_on;
}

static int64_t next_backoff(int64_t ms)
{
        if (!ms)
                return BACKOFF_FIRST_MS;
        return ms * 2 < BACKOFF_MOST_MS ? ms * 2 : BACKOFF_MOST_MS;
}

static void *relay_run(void *data)
{
        struct relay *relay = data;
        int64_t backoff = 0;
        bool go_on = true;

        while (go_on) {
                struct error err = {0};
                int n = publish_some(relay, &err);

                if (n >= 0) {
                        if (backoff)
                                log_event(LOG_INFO, &about, "deliveries are passed on again");
                        backoff = 0;
                        go_on = relay_sleep(relay, n > 0 ? 0 : -1);
                        continue;
                }
                atomic_fetch_add(&relay->failures, 1);
                if (!backoff)
                        log_event(LOG_WARNING, &about,
                                  "deliveries wait in the journal, nothing is lost: %s", err.text);
                backoff = next_backoff(backoff);
                go_on = relay_sleep(relay, backoff - clock_ns() % (backoff / 4));
        }
        return NULL;
}

static void relay_free(struct relay *relay)
{
        pthread_mutex_destroy(&relay->lock);
        pthread_cond_destroy(&relay->wake);
        free(relay);
}

int relay_open(struct relay **ret, struct bus *bus, struct store *store, struct error *err)
{
        struct relay *relay = xcalloc(1, sizeof(*relay));
        pthread_condattr_t monotonic;

        relay->bus = bus;
        relay->store = store;
        pthread_mutex_init(&relay->lock, NULL);
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&relay->wake, &monotonic);
        pthread_condattr_destroy(&monotonic);
        errno = pthread_create(&relay->thread, NULL, relay_run, relay);
        if (errno) {
                int result = error_set_errno(err, "start the relay of the webhook");

                relay_free(relay);
                return result;
        }
        *ret = relay;
        return 0;
}

void relay_close(struct relay *relay)
{
        if (!relay)
                return;
        pthread_mutex_lock(&relay->lock);
        relay->stopped = true;
        pthread_cond_signal(&relay->wake);
        pthread_mutex_unlock(&relay->lock);
        pthread_join(relay->thread, NULL);
        relay_free(relay);
}

void relay_wake(struct relay *relay)
{
        pthread_mutex_lock(&relay->lock);
        relay->pending = true;
        pthread_cond_signal(&relay->wake);
        pthread_mutex_unlock(&relay->lock);
}

void relay_stats(struct relay *relay, uint64_t *ret_published, uint64_t *ret_failures)
{
        *ret_published = atomic_load(&relay->published);
        *ret_failures = atomic_load(&relay->failures);
}
