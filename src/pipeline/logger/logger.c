/*
 * A batch is stored in one commit; only then its messages are settled. What was stored and not
 * settled when we died comes again, and the store knows it by its key. An entry that cannot be
 * decoded or stored goes to the dead letter alone: if a batch is refused as a whole, its entries
 * are tried one by one. The batch starts at one and doubles, so an entry that kills us is the first
 * that the next start takes; only that first one is suspected for its count, since the bus may have
 * taken and counted its neighbours along with it.
 */
#include "pipeline/logger/logger.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/scoped.h"
#include "base/str.h"
#include "pipeline/topology.h"
#include "ports/bus.h"
#include "wire/log_entry.h"

#include "base/banned.h"

#define LOGGER "logger"
#define BATCH_MAX BUS_BATCH_MAX
#define DELIVERIES_MAX 5
#define BACKOFF_FIRST_MS 200
#define BACKOFF_MOST_MS 10000
#define RETENTION_EVERY_MS (3600 * 1000)

struct logger {
        struct logger_options options;
        struct bus_consumer *consumer;
        atomic_bool stopped;
        pthread_mutex_t lock; /* for the condition alone */
        pthread_cond_t changed;
        pthread_t store_thread;
        pthread_t retention_thread;
        int n_started;
};

struct batch {
        struct bus_message messages[BATCH_MAX];
        struct log_entry *decoded[BATCH_MAX];
        struct log_entry entries[BATCH_MAX]; /* shallow copies, in one piece for the store */
        uint64_t tags[BATCH_MAX];            /* of entries */
        size_t n;                            /* entries */
        bool proven;                         /* something was settled since we started */
};

static const struct log_context about = {.service = LOGGER};

static bool wait_ms(struct logger *logger, int64_t ms)
{
        int64_t end = clock_ms() + ms;
        struct timespec until = {end / 1000, end % 1000 * 1000000};

        pthread_mutex_lock(&logger->lock);
        while (!atomic_load(&logger->stopped)) {
                if (pthread_cond_timedwait(&logger->changed, &logger->lock, &until) == ETIMEDOUT)
                        break;
        }
        pthread_mutex_unlock(&logger->lock);
        return !atomic_load(&logger->stopped);
}

static bool back_off(struct logger *logger, int failures, const struct error *err)
{
        int64_t ms = BACKOFF_FIRST_MS;

        if (failures == 1)
                log_event(LOG_ERROR, &about, "log entries wait: %s", err->text);
        for (int i = 1; i < failures && ms < BACKOFF_MOST_MS; i++)
                ms *= 2;
        return wait_ms(logger, ms < BACKOFF_MOST_MS ? ms : BACKOFF_MOST_MS);
}

static void put_aside(struct logger *logger, uint64_t tag, const char *reason)
{
        struct error err;

        log_event(LOG_ERROR, &about, "log.queue: entry put aside as a dead letter: %s", reason);
        if (bus_dead(logger->consumer, tag, reason, &err) < 0)
                log_event(LOG_ERROR, &about, "log.queue: %s", err.text);
}

static void decode_all(struct logger *logger, struct batch *batch, size_t n_messages)
{
        batch->n = 0;
        for (size_t i = 0; i < n_messages; i++) {
                const struct bus_message *message = &batch->messages[i];
                struct log_entry *entry = NULL;
                struct error err = {0};
                int result;

                if (message->attempts > DELIVERIES_MAX && !batch->proven)
                        result = error_set(&err, ERROR_BUG, "handed out %d times without an end",
                                           message->attempts - 1);
                else
                        result = log_entry_decode(&entry, message->body, message->len, &err);
                if (result < 0) {
                        put_aside(logger, message->tag, err.text);
                        batch->proven = true;
                        continue;
                }
                batch->decoded[batch->n] = entry;
                batch->entries[batch->n] = *entry;
                batch->tags[batch->n++] = message->tag;
        }
}

/* Return: 0 stored, -ERROR_CANCELLED to stop, or what is wrong with these entries. */
static int append_patiently(struct logger *logger, const struct log_entry *entries, size_t n,
                            struct error *err)
{
        for (int failures = 1;; failures++) {
                int result = store_log_append(logger->options.store, entries, n, err);

                if (result != -ERROR_UNAVAILABLE && result != -ERROR_CONFLICT)
                        return result;
                if (!back_off(logger, failures, err))
                        return -ERROR_CANCELLED;
        }
}

/* The newest line of each job in the batch, once. */
static void wake_readers(struct logger *logger, const struct batch *batch)
{
        for (size_t i = 0; i < batch->n; i++) {
                const struct log_entry *entry = &batch->entries[i];
                scoped_text char *topic = NULL;
                scoped_text char *line = NULL;
                bool later = false;

                if (!entry->job_id[0] || entry->seq == 0)
                        continue;
                for (size_t k = i + 1; k < batch->n; k++)
                        later = later || (batch->entries[k].seq != 0 &&
                                          strcmp(batch->entries[k].job_id, entry->job_id) == 0);
                if (later)
                        continue;
                topic = text_format("log.%s", entry->job_id);
                line = text_format("%lld", (long long)(entry->first_line + entry->lines - 1));
                bus_topic_publish(logger->options.bus, topic, line, strlen(line));
        }
}

/* The batch was refused as a whole: find the entries that are to blame. */
static int append_one_by_one(struct logger *logger, struct batch *batch)
{
        size_t kept = 0;

        for (size_t i = 0; i < batch->n; i++) {
                struct error err = {0};
                int result = append_patiently(logger, &batch->entries[i], 1, &err);

                if (result == -ERROR_CANCELLED)
                        return result;
                if (result < 0)
                        put_aside(logger, batch->tags[i], err.text);
                else
                        batch->tags[kept++] = batch->tags[i];
        }
        return (int)kept;
}

static void store_batch(struct logger *logger, struct batch *batch)
{
        struct error err = {0};
        int settled = (int)batch->n;
        int result;

        if (batch->n == 0 || FAILPOINT("logger.before_store"))
                return;
        result = append_patiently(logger, batch->entries, batch->n, &err);
        if (result < 0 && result != -ERROR_CANCELLED)
                settled = append_one_by_one(logger, batch);
        if (result == -ERROR_CANCELLED || settled < 0)
                return;
        wake_readers(logger, batch);
        if (FAILPOINT("logger.after_store"))
                return;
        if (settled && bus_ack_all(logger->consumer, batch->tags, (size_t)settled, &err) < 0)
                log_event(LOG_ERROR, &about, "log.queue: %s", err.text);
        batch->proven = true;
}

static void *store_main(void *data)
{
        struct logger *logger = data;
        struct batch *batch = xcalloc(1, sizeof(*batch));
        size_t most = 1;
        int failures = 0;

        while (!atomic_load(&logger->stopped)) {
                struct error err = {0};
                int n = bus_receive(logger->consumer, batch->messages, most, -1, &err);

                if (n < 0) {
                        back_off(logger, ++failures, &err);
                        continue;
                }
                failures = 0;
                decode_all(logger, batch, (size_t)n);
                store_batch(logger, batch);
                for (size_t i = 0; i < batch->n; i++)
                        log_entry_freep(&batch->decoded[i]);
                if (n > 0 && most < BATCH_MAX)
                        most *= 2;
        }
        free(batch);
        return NULL;
}

static void retain(struct logger *logger)
{
        int64_t total = 0;
        int64_t removed = 1;
        struct error err;

        while (removed > 0 && !atomic_load(&logger->stopped)) {
                removed = 0;
                if (store_retain(logger->options.store, &logger->options.retention, &removed,
                                 &err) < 0) {
                        log_event(LOG_ERROR, &about, "old records stay for now: %s", err.text);
                        return;
                }
                total += removed;
        }
        if (total)
                log_event(LOG_INFO, &about, "removed %lld old records", (long long)total);
}

static void *retention_main(void *data)
{
        struct logger *logger = data;

        do {
                retain(logger);
        } while (wait_ms(logger, logger->options.retention_every_ms));
        return NULL;
}

static int start_threads(struct logger *logger, struct error *err)
{
        if (pthread_create(&logger->store_thread, NULL, store_main, logger))
                return error_set(err, ERROR_UNAVAILABLE, "start the thread of the logger");
        logger->n_started = 1;
        if (pthread_create(&logger->retention_thread, NULL, retention_main, logger))
                return error_set(err, ERROR_UNAVAILABLE, "start the retention of the logger");
        logger->n_started = 2;
        return 0;
}

int logger_open(struct logger **ret, const struct logger_options *options, struct error *err)
{
        static const char *const queues[] = {QUEUE_LOG};
        struct logger *logger = xcalloc(1, sizeof(*logger));
        pthread_condattr_t attributes;

        logger->options = *options;
        if (logger->options.retention_every_ms <= 0)
                logger->options.retention_every_ms = RETENTION_EVERY_MS;
        pthread_mutex_init(&logger->lock, NULL);
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(&logger->changed, &attributes);
        pthread_condattr_destroy(&attributes);
        if (bus_consume(options->bus, &logger->consumer, queues, 1, BATCH_MAX, err) < 0 ||
            start_threads(logger, err) < 0) {
                logger_close(logger);
                return error_wrap(err, "start the logger");
        }
        *ret = logger;
        return 0;
}

void logger_close(struct logger *logger)
{
        if (!logger)
                return;
        pthread_mutex_lock(&logger->lock);
        atomic_store(&logger->stopped, true);
        pthread_cond_broadcast(&logger->changed);
        pthread_mutex_unlock(&logger->lock);
        if (logger->consumer)
                bus_consumer_wake(logger->consumer);
        if (logger->n_started > 0)
                pthread_join(logger->store_thread, NULL);
        if (logger->n_started > 1)
                pthread_join(logger->retention_thread, NULL);
        bus_consumer_close(logger->consumer);
        pthread_cond_destroy(&logger->changed);
        pthread_mutex_destroy(&logger->lock);
        free(logger);
}
