/*
 * Topics live in memory: each subscription has a ring of copies. When it is full the oldest makes
 * room and is counted, so that a slow reader learns that it must look again, and never slows the
 * publisher.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "adapters/bus/sqlite_bus.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/str.h"

#include "base/banned.h"

#define TOPIC_RING 256

struct item {
        char *topic;
        char *body;
};

struct sqlite_topic {
        struct bus_topic topic;
        struct sqlite_bus *bus;
        char *prefix;
        struct item ring[TOPIC_RING];
        size_t first;
        size_t n;
        int64_t lost;
        bool woken;
        pthread_cond_t wake;
        struct sqlite_topic *next;
};

static void drop_oldest(struct sqlite_topic *topic)
{
        struct item *item = &topic->ring[topic->first];

        free(item->topic);
        free(item->body);
        topic->first = (topic->first + 1) % TOPIC_RING;
        topic->n--;
}

static void append(struct sqlite_topic *topic, const char *name, const void *bytes, size_t n)
{
        struct item *item;

        if (topic->n == TOPIC_RING) {
                drop_oldest(topic);
                topic->lost++;
        }
        item = &topic->ring[(topic->first + topic->n++) % TOPIC_RING];
        item->topic = text_copy(name);
        item->body = xmalloc(n + 1);
        if (n)
                memcpy(item->body, bytes, n);
        item->body[n] = '\0';
        pthread_cond_signal(&topic->wake);
}

void sqlite_topic_publish(struct bus *bus, const char *topic, const void *bytes, size_t n)
{
        struct sqlite_bus *self = (struct sqlite_bus *)bus;

        pthread_mutex_lock(&self->topic_lock);
        for (struct sqlite_topic *one = self->topics; one; one = one->next) {
                if (text_starts(topic, one->prefix))
                        append(one, topic, bytes, n);
        }
        pthread_mutex_unlock(&self->topic_lock);
}

int sqlite_topic_subscribe(struct bus *bus, struct bus_topic **ret, const char *prefix,
                           struct error *err)
{
        struct sqlite_bus *self = (struct sqlite_bus *)bus;
        struct sqlite_topic *topic = xcalloc(1, sizeof(*topic));
        pthread_condattr_t monotonic;

        topic->topic.ops = bus->ops;
        topic->bus = self;
        topic->prefix = text_copy(prefix);
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&topic->wake, &monotonic);
        pthread_condattr_destroy(&monotonic);
        pthread_mutex_lock(&self->topic_lock);
        topic->next = self->topics;
        self->topics = topic;
        pthread_mutex_unlock(&self->topic_lock);
        *ret = &topic->topic;
        return 0;
}

static void wait_for_item(struct sqlite_topic *topic, int64_t until)
{
        struct timespec at = {until / 1000, until % 1000 * 1000000};

        while (topic->n == 0 && !topic->woken) {
                if (until == INT64_MAX)
                        pthread_cond_wait(&topic->wake, &topic->bus->topic_lock);
                else if (pthread_cond_timedwait(&topic->wake, &topic->bus->topic_lock, &at) ==
                         ETIMEDOUT)
                        return;
        }
}

int sqlite_topic_next(struct bus_topic *topic, char **ret_topic, char **ret_body, int64_t *ret_lost,
                      int64_t timeout_ms, struct error *err)
{
        struct sqlite_topic *self = (struct sqlite_topic *)topic;
        int64_t until = timeout_ms < 0 ? INT64_MAX : clock_ms() + timeout_ms;
        int got = 0;

        pthread_mutex_lock(&self->bus->topic_lock);
        wait_for_item(self, until);
        if (self->n > 0) {
                struct item *item = &self->ring[self->first];

                *ret_topic = take(item->topic);
                *ret_body = take(item->body);
                *ret_lost = self->lost;
                self->lost = 0;
                drop_oldest(self);
                got = 1;
        } else {
                self->woken = false;
        }
        pthread_mutex_unlock(&self->bus->topic_lock);
        return got;
}

void sqlite_topic_wake(struct bus_topic *topic)
{
        struct sqlite_topic *self = (struct sqlite_topic *)topic;

        pthread_mutex_lock(&self->bus->topic_lock);
        self->woken = true;
        pthread_cond_signal(&self->wake);
        pthread_mutex_unlock(&self->bus->topic_lock);
}

void sqlite_topic_close(struct bus_topic *topic)
{
        struct sqlite_topic *self = (struct sqlite_topic *)topic;
        struct sqlite_topic **place;

        pthread_mutex_lock(&self->bus->topic_lock);
        for (place = &self->bus->topics; *place != self; place = &(*place)->next)
                ;
        *place = self->next;
        pthread_mutex_unlock(&self->bus->topic_lock);
        while (self->n)
                drop_oldest(self);
        pthread_cond_destroy(&self->wake);
        free(self->prefix);
        free(self);
}
