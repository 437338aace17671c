#include "pipeline/executor/wanted.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "domain/build.h"
#include "pipeline/executor/assignment.h"
#include "pipeline/executor/slots.h"
#include "ports/store.h"

#include "base/banned.h"

/* What the table of running jobs looked like for a moment. */
struct seen {
        char *build_id;
        char *job_id;
        int attempt;
        char *token;
};

struct seen_list {
        struct seen *items;
        size_t n;
};

static void see(void *data, struct assignment *assignment)
{
        struct seen_list *list = data;

        list->items = xrealloc(list->items, (list->n + 1) * sizeof(*list->items));
        list->items[list->n++] =
                (struct seen){text_copy(assignment->build_id), text_copy(assignment->job_id),
                              assignment->attempt, text_copy(assignment->token)};
}

struct order_to_stop {
        const char *job_id;
        int attempt; /* 0: any */
        enum job_stop_kind kind;
};

static void stop_one(void *data, struct assignment *assignment)
{
        const struct order_to_stop *order = data;

        if (strcmp(assignment->job_id, order->job_id) == 0 &&
            (order->attempt == 0 || assignment->attempt == order->attempt))
                job_stop_raise(assignment->stop, order->kind);
}

/* Whether the attempt is still the one that the build waits for. */
static bool is_wanted(struct build *build, const struct seen *seen)
{
        struct job *job = build_job_by_id(build, seen->job_id);

        if (!job)
                return false;
        for (size_t i = 0; i < job->n_attempts; i++) {
                const struct attempt *attempt = &job->attempts[i];

                if (attempt->number == seen->attempt)
                        return strcmp(attempt->token, seen->token) == 0 &&
                               !state_ended(attempt->state);
        }
        return true; /* dispatched before it was recorded */
}

static enum job_stop_kind ask_build(struct store *store, const struct seen *seen)
{
        enum job_stop_kind kind = JOB_STOP_NONE;
        struct build *build = NULL;
        struct error err;
        int result = store_build_get(store, &build, seen->build_id, &err);

        if (result == -ERROR_NOT_FOUND)
                return JOB_STOP_ABANDON;
        if (result < 0)
                return JOB_STOP_NONE; /* asked again with the next beat */
        if (!is_wanted(build, seen))
                kind = JOB_STOP_ABANDON;
        else if (build->cancel_requested)
                kind = JOB_STOP_CANCEL;
        build_free(build);
        return kind;
}

void wanted_check(struct slots *slots, struct store *store)
{
        struct seen_list list = {NULL, 0};

        slots_each(slots, see, &list);
        for (size_t i = 0; i < list.n; i++) {
                struct seen *seen = &list.items[i];
                struct order_to_stop order = {seen->job_id, seen->attempt, ask_build(store, seen)};

                if (order.kind != JOB_STOP_NONE)
                        slots_each(slots, stop_one, &order);
                free(seen->build_id);
                free(seen->job_id);
                free(seen->token);
        }
        free(list.items);
}

void wanted_cancel(struct slots *slots, const char *job_id)
{
        struct order_to_stop order = {job_id, 0, JOB_STOP_CANCEL};

        slots_each(slots, stop_one, &order);
}
