#include "pipeline/orchestrator/issue.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/id.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/build.h"
#include "domain/order.h"
#include "domain/pipeline_file.h"
#include "domain/plan.h"
#include "pipeline/orchestrator/parts.h"
#include "pipeline/orchestrator/watch.h"
#include "pipeline/topology.h"
#include "ports/bus.h"
#include "ports/store.h"
#include "wire/build_json.h"
#include "wire/dispatch.h"

#include "base/banned.h"

/* What one attempt needs before its message may go. */
struct issued {
        struct order *order;
        struct str body;
        const char *job_id;
        int attempt;
        bool stored;
};

void issue_list_add(struct issue_list *list, struct build *build, struct job *job)
{
        if (list->n == list->cap) {
                list->cap = list->cap ? list->cap * 2 : 32;
                list->items = xrealloc(list->items, list->cap * sizeof(*list->items));
        }
        list->items[list->n++] = (struct issue_item){build, job};
}

void issue_list_forget(struct issue_list *list, const struct build *build)
{
        size_t kept = 0;

        for (size_t i = 0; i < list->n; i++) {
                if (list->items[i].build != build)
                        list->items[kept++] = list->items[i];
        }
        list->n = kept;
}

void issue_list_clear(struct issue_list *list)
{
        free(list->items);
        *list = (struct issue_list){0};
}

static void encode(struct issued *issued, const struct build *build, const struct job *job,
                   const struct attempt *attempt)
{
        scoped_text char *id = text_format("%s/%d", job->id, attempt->number);
        struct dispatch dispatch = {
                .id = id,
                .build_id = build->id,
                .job_id = job->id,
                .attempt = attempt->number,
                .token = attempt->token,
                .labels = "",
        };

        dispatch_encode(&dispatch, &issued->body);
        issued->job_id = job->id;
        issued->attempt = attempt->number;
}

static int make_order(struct orchestrator *o, struct issued *issued,
                      const struct pipeline_file *file, const struct build *build,
                      const struct job *job, const struct attempt *attempt, struct error *err)
{
        scoped_text char *url = text_format("%s/r/%s/builds/%lld", o->options.url, build->repo,
                                            (long long)build->number);

        return plan_order(&issued->order, file, build, job, attempt, &o->options.limits, url, err);
}

static void name_steps(struct build *build, struct attempt *attempt, const struct order *order)
{
        build_set_steps(build, attempt, order->n_steps);
        for (size_t i = 0; i < order->n_steps; i++) {
                attempt->steps[i].id = arena_copy(build->arena, order->steps[i].id);
                attempt->steps[i].name = arena_copy(build->arena, order->steps[i].name);
        }
}

/* The next attempt of a job, in memory only. */
static int begin_attempt(struct orchestrator *o, struct issued *issued,
                         const struct pipeline_file *file, struct build *build, struct job *job,
                         struct error *err)
{
        struct attempt *attempt = build_add_attempt(build, job);
        char token[65];
        int result;

        id_token(token);
        attempt->token = arena_copy(build->arena, token);
        attempt->dispatched_at = wall_ms();
        job->reason_text = "";
        result = make_order(o, issued, file, build, job, attempt, err);
        if (result < 0)
                return result;
        name_steps(build, attempt, issued->order);
        encode(issued, build, job, attempt);
        return 0;
}

static int put_order(struct orchestrator *o, const struct issued *issued, struct error *err)
{
        scoped(json) json_t *json = order_to_json(issued->order);
        scoped_str struct str text = STR_INIT;

        str_add_json(&text, json);
        return store_order_put(o->options.store, issued->job_id, issued->attempt, text.data,
                               text.len, err);
}

/* A job whose order cannot be made ends; the others of its build go on. */
static void fail_job(struct build *build, struct job *job, const struct error *err)
{
        struct attempt *attempt = job_attempt(job);

        job->state = STATE_ERROR;
        job->reason = err->kind == ERROR_NOT_FOUND ? REASON_CONFIG_INVALID : REASON_INTERNAL;
        job->reason_text = arena_copy(build->arena, err->text);
        if (attempt && !state_ended(attempt->state)) {
                attempt->state = job->state;
                attempt->reason = job->reason;
                attempt->reason_text = job->reason_text;
                attempt->finished_at = wall_ms();
        }
}

/* All chosen jobs of one build: one swap, then their orders. */
static int begin_of_build(struct orchestrator *o, const struct issue_list *list,
                          const size_t *order, size_t n, struct build *build, struct issued *issued,
                          struct error *err)
{
        scoped(pipeline_file) struct pipeline_file *file = NULL;
        scoped(change_before) struct change_before *before = change_remember(build);
        struct error why = {0};
        int result = source_file(o, build, &file, &why);

        if (result == -ERROR_UNAVAILABLE) {
                *err = why;
                return result;
        }
        for (size_t i = 0; i < n; i++) {
                const struct issue_item *item = &list->items[order[i]];

                if (item->build != build)
                        continue;
                if (file)
                        result = begin_attempt(o, &issued[i], file, build, item->job, &why);
                if (result < 0) {
                        fail_job(build, item->job, &why);
                        order_freep(&issued[i].order);
                        issued[i].order = NULL;
                        orchestrator_kick(o);
                }
        }
        result = store_build_update(o->options.store, build, err);
        if (result < 0)
                return result;
        if (FAILPOINT("orchestrator.after_attempt"))
                return error_set(err, ERROR_UNAVAILABLE, "failpoint after the attempt");
        change_announce(o, build, before);
        for (size_t i = 0; i < n; i++) {
                if (list->items[order[i]].build != build || !issued[i].order)
                        continue;
                if (put_order(o, &issued[i], err) < 0)
                        return -err->kind;
                issued[i].stored = true;
        }
        return 0;
}

static bool is_first_of_build(const struct issue_list *list, const size_t *order, size_t i)
{
        for (size_t k = 0; k < i; k++) {
                if (list->items[order[k]].build == list->items[order[i]].build)
                        return false;
        }
        return true;
}

static int publish(struct orchestrator *o, const struct issued *issued, size_t n,
                   struct watch *watch, int64_t now, struct error *err)
{
        struct bus_body bodies[BUS_BATCH_MAX];
        size_t filled = 0;

        if (FAILPOINT("orchestrator.before_publish"))
                return error_set(err, ERROR_UNAVAILABLE, "failpoint before the publish");
        for (size_t i = 0; i <= n; i++) {
                if (i < n && issued[i].stored) {
                        bodies[filled++] =
                                (struct bus_body){issued[i].body.data, issued[i].body.len};
                        watch_published(watch, issued[i].job_id, issued[i].attempt, now);
                }
                if (filled && (i == n || filled == BUS_BATCH_MAX)) {
                        if (bus_publish_all(o->options.bus, QUEUE_SANDBOX, bodies, filled, err) < 0)
                                return -err->kind;
                        filled = 0;
                }
        }
        if (FAILPOINT("orchestrator.after_publish"))
                return error_set(err, ERROR_UNAVAILABLE, "failpoint after the publish");
        return 0;
}

int issue_first(struct orchestrator *o, const struct issue_list *list, const size_t *order,
                size_t n, struct watch *watch, int64_t now_ms, struct error *err)
{
        struct issued *issued = xcalloc(n + 1, sizeof(*issued));
        struct error why = {0};
        int failed = 0;
        int result;

        for (size_t i = 0; i < n; i++)
                issued[i].body = (struct str)STR_INIT;
        for (size_t i = 0; i < n; i++) {
                if (!is_first_of_build(list, order, i))
                        continue;
                result = begin_of_build(o, list, order, n, list->items[order[i]].build, issued,
                                        &why);
                if (result < 0) {
                        *err = why;
                        failed = result;
                }
        }
        result = publish(o, issued, n, watch, now_ms, &why);
        if (result < 0) {
                *err = why;
                failed = result;
        }
        for (size_t i = 0; i < n; i++) {
                order_freep(&issued[i].order);
                str_done(&issued[i].body);
        }
        free(issued);
        return failed;
}

int issue_again(struct orchestrator *o, struct build *build, struct job *job, struct watch *watch,
                int64_t now_ms, struct error *err)
{
        scoped(pipeline_file) struct pipeline_file *file = NULL;
        struct attempt *attempt = job_attempt(job);
        struct issued issued = {.body = STR_INIT};
        int result = source_file(o, build, &file, err);

        if (result == 0)
                result = make_order(o, &issued, file, build, job, attempt, err);
        if (result == 0) {
                encode(&issued, build, job, attempt);
                result = put_order(o, &issued, err);
        }
        if (result == 0) {
                orchestrator_log(LOG_WARNING, build, job, NULL,
                                 "nobody has taken attempt %d: its dispatch is published again",
                                 attempt->number);
                result = bus_publish(o->options.bus, QUEUE_SANDBOX, issued.body.data,
                                     issued.body.len, err);
        }
        if (result == 0)
                watch_published(watch, job->id, attempt->number, now_ms);
        order_freep(&issued.order);
        str_done(&issued.body);
        return result;
}
