/*
 * result.queue, in batches: all results of one build in a batch go into one swap.
 *
 * The batch starts at one and doubles with each that went well. If a message kills us, it is the
 * first that the next start takes, alone. Its neighbours may have been taken along by the bus and
 * counted too: so only that first one is suspected for its count.
 */
#include <string.h>

#include "base/error.h"
#include "base/failpoint.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/build.h"
#include "pipeline/orchestrator/apply.h"
#include "pipeline/orchestrator/parts.h"
#include "ports/bus.h"
#include "wire/job_result.h"

#include "base/banned.h"

#define RESULTS_MAX 64
#define DELIVERIES_MAX 5

enum fate { FATE_OPEN, FATE_ACK, FATE_DEAD };

struct item {
        struct bus_message message;
        struct job_result *result;
        enum fate fate;
        struct error why;
};

struct batch {
        struct orchestrator *o;
        struct item items[RESULTS_MAX];
        size_t n;
        bool proven;          /* something was settled since we started */
        const char *build_id; /* of the group in hand */
};

/* Results that are refused are settled too: saying it once is all that can be done. */
static int apply_group(struct build *build, void *data, struct error *err)
{
        struct batch *batch = data;
        int changed = 0;

        for (size_t i = 0; i < batch->n; i++) {
                struct item *item = &batch->items[i];
                int result;

                if (!item->result || strcmp(item->result->build_id, batch->build_id) != 0)
                        continue;
                result = apply_result(build, item->result, &item->why);
                item->fate = result == -ERROR_INVALID ? FATE_DEAD : FATE_ACK;
                if (result >= 0)
                        item->why.kind = 0;
                changed |= result > 0;
        }
        return changed;
}

static void set_fates(struct batch *batch, enum fate fate, const struct error *why)
{
        for (size_t i = 0; i < batch->n; i++) {
                struct item *item = &batch->items[i];

                if (!item->result || strcmp(item->result->build_id, batch->build_id) != 0)
                        continue;
                item->fate = fate;
                item->why = *why;
        }
}

/* Return: false when we are to stop before it was done. */
static bool handle_group(struct batch *batch)
{
        struct error err = {0};

        for (int failures = 1;; failures++) {
                int result = change_build(batch->o, batch->build_id, apply_group, batch, &err);

                if (result == 0)
                        return true;
                if (result == -ERROR_NOT_FOUND)
                        set_fates(batch, FATE_DEAD, &err);
                if (result != -ERROR_UNAVAILABLE && result != -ERROR_CONFLICT) {
                        if (result != -ERROR_NOT_FOUND)
                                set_fates(batch, FATE_DEAD, &err);
                        return true;
                }
                if (failures == 1)
                        orchestrator_log(LOG_WARNING, NULL, NULL, NULL, "results wait: %s",
                                         err.text);
                if (!orchestrator_backoff(batch->o, failures)) {
                        set_fates(batch, FATE_OPEN, &err);
                        return false;
                }
        }
}

static void decode(struct batch *batch, struct item *item)
{
        if (item->message.attempts > DELIVERIES_MAX && !batch->proven) {
                error_set(&item->why, ERROR_BUG, "handed out %d times without an end",
                          item->message.attempts - 1);
                item->fate = FATE_DEAD;
        } else if (job_result_decode(&item->result, item->message.body, item->message.len,
                                     &item->why) < 0) {
                item->fate = FATE_DEAD;
        }
}

static void settle(struct batch *batch)
{
        struct log_context about = {.service = ORCHESTRATOR};
        uint64_t tags[RESULTS_MAX];
        struct error err;
        size_t n = 0;

        for (size_t i = 0; i < batch->n; i++) {
                struct item *item = &batch->items[i];

                if (item->result) {
                        about.build_id = item->result->build_id;
                        about.job_id = item->result->job_id;
                }
                if (item->fate == FATE_ACK)
                        tags[n++] = item->message.tag;
                if (item->fate != FATE_OPEN && item->why.kind)
                        log_event(LOG_WARNING, &about, "result refused: %s", item->why.text);
                if (item->fate == FATE_DEAD &&
                    bus_dead(batch->o->results, item->message.tag, item->why.text, &err) < 0)
                        log_event(LOG_ERROR, &about, "result.queue: %s", err.text);
        }
        if (n && bus_ack_all(batch->o->results, tags, n, &err) < 0)
                log_event(LOG_ERROR, &about, "result.queue: %s", err.text);
        batch->proven = true;
}

static void handle_batch(struct batch *batch)
{
        bool go_on = true;

        for (size_t i = 0; i < batch->n; i++)
                decode(batch, &batch->items[i]);
        if (FAILPOINT("orchestrator.before_results"))
                return;
        for (size_t i = 0; i < batch->n && go_on; i++) {
                struct item *item = &batch->items[i];

                if (item->fate != FATE_OPEN)
                        continue;
                batch->build_id = item->result->build_id;
                go_on = handle_group(batch);
        }
        if (FAILPOINT("orchestrator.after_results"))
                return;
        settle(batch);
}

static int receive(struct orchestrator *o, struct batch *batch, size_t most, struct error *err)
{
        struct bus_message messages[RESULTS_MAX];
        int n = bus_receive(o->results, messages, most, -1, err);

        for (int i = 0; i < n; i++)
                batch->items[i] = (struct item){.message = messages[i]};
        batch->n = n > 0 ? (size_t)n : 0;
        return n;
}

void *results_main(void *data)
{
        struct orchestrator *o = data;
        struct batch *batch = xcalloc(1, sizeof(*batch));
        size_t most = 1;
        int failures = 0;

        batch->o = o;
        while (!atomic_load(&o->stopped)) {
                struct error err = {0};
                int n = receive(o, batch, most, &err);

                if (n < 0) {
                        if (failures++ == 0)
                                orchestrator_log(LOG_ERROR, NULL, NULL, NULL, "result.queue: %s",
                                                 err.text);
                        orchestrator_backoff(o, failures);
                        continue;
                }
                failures = 0;
                handle_batch(batch);
                for (size_t i = 0; i < batch->n; i++)
                        job_result_freep(&batch->items[i].result);
                if (n > 0 && most < RESULTS_MAX)
                        most *= 2;
        }
        free(batch);
        return NULL;
}
