#include "pipeline/consume.h"

#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"

#include "base/banned.h"

#define RETRY_FIRST_MS 200
#define RETRY_MOST_MS 30000

struct consume {
        struct consume_spec spec;
        struct bus_consumer *consumer;
        atomic_bool stopped;
};

/* Doubles with each attempt; the jitter keeps several consumers from knocking at the same moment.
 */
static int64_t retry_delay(int attempts)
{
        int64_t ms = RETRY_FIRST_MS;

        for (int i = 1; i < attempts && ms < RETRY_MOST_MS; i++)
                ms *= 2;
        if (ms > RETRY_MOST_MS)
                ms = RETRY_MOST_MS;
        return ms - clock_ns() % (ms / 4);
}

static void wait_for_bus(struct consume *consume, int failures)
{
        int64_t ms = retry_delay(failures);

        while (ms > 0 && !atomic_load(&consume->stopped)) {
                struct timespec slice = {0, 50 * 1000000};

                nanosleep(&slice, NULL);
                ms -= 50;
        }
}

int consume_open(struct consume **ret, const struct consume_spec *spec, struct error *err)
{
        struct consume *consume = xcalloc(1, sizeof(*consume));

        consume->spec = *spec;
        if (bus_consume(spec->bus, &consume->consumer, spec->queues, spec->n_queues, spec->prefetch,
                        err) < 0) {
                free(consume);
                return err ? -err->kind : -ERROR_UNAVAILABLE;
        }
        *ret = consume;
        return 0;
}

static bool may_retry(int kind)
{
        return kind == ERROR_UNAVAILABLE || kind == ERROR_CONFLICT || kind == ERROR_CANCELLED;
}

static int settle(struct consume *consume, const struct bus_message *message, int result,
                  const struct error *why, struct error *err)
{
        struct log_context about = {.service = consume->spec.service};

        if (result == 0)
                return bus_ack(consume->consumer, message->tag, err);
        if (may_retry(-result)) {
                log_event(LOG_WARNING, &about, "%s: will try again (attempt %d): %s",
                          message->queue, message->attempts, why->text);
                return bus_retry(consume->consumer, message->tag, retry_delay(message->attempts),
                                 why->text, err);
        }
        log_event(LOG_ERROR, &about, "%s: message put aside as a dead letter: %s", message->queue,
                  why->text);
        return bus_dead(consume->consumer, message->tag, why->text, err);
}

static int handle_one(struct consume *consume, const struct bus_message *message, struct error *err)
{
        const struct consume_spec *spec = &consume->spec;
        struct error why = {0};
        int result;

        if (spec->attempts_max && message->attempts > spec->attempts_max)
                result = error_set(&why, ERROR_BUG, "delivered %d times without being settled",
                                   message->attempts - 1);
        else
                result = spec->handle(spec->data, message, &why);
        return settle(consume, message, result, &why, err);
}

void consume_run(struct consume *consume)
{
        struct log_context about = {.service = consume->spec.service};
        int failures = 0;

        while (!atomic_load(&consume->stopped)) {
                struct bus_message message;
                struct error err;
                int n = bus_receive(consume->consumer, &message, 1, -1, &err);

                if (n > 0)
                        n = handle_one(consume, &message, &err);
                if (n >= 0) {
                        failures = 0;
                        continue;
                }
                if (failures++ == 0)
                        log_event(LOG_ERROR, &about, "queue: %s", err.text);
                wait_for_bus(consume, failures);
        }
}

void consume_stop(struct consume *consume)
{
        atomic_store(&consume->stopped, true);
        bus_consumer_wake(consume->consumer);
}

void consume_close(struct consume *consume)
{
        if (!consume)
                return;
        bus_consumer_close(consume->consumer);
        free(consume);
}
