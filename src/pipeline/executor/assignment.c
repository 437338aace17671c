#include "pipeline/executor/assignment.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/order.h"
#include "pipeline/executor/job_run.h"
#include "pipeline/executor/spool.h"
#include "ports/engine.h"
#include "ports/store.h"
#include "wire/build_json.h"

#include "base/banned.h"

#define AGAIN_FIRST_MS 200
#define AGAIN_MOST_MS 5000

/* What the sink needs. */
struct outlet {
        const struct assignment *assignment;
        struct spool *spool;
};

char *assignment_name(const char *job_id, int attempt)
{
        scoped_str struct str name = STR_INIT;

        for (const char *at = job_id; *at; at++)
                if (*at != '-' && *at != '/' && *at != '.')
                        str_add_char(&name, *at);
        str_printf(&name, "-%d", attempt);
        return str_steal(&name);
}

int assignment_new(struct assignment **ret, struct store *store, const char *job_id, int attempt,
                   const char *token, struct error *err)
{
        scoped(assignment) struct assignment *assignment = NULL;
        scoped(order) struct order *order = NULL;
        scoped_text char *json = NULL;
        size_t n;

        if (store_order_get(store, &json, &n, job_id, attempt, err) < 0)
                return error_wrap(err, "read the order of job %s, attempt %d", job_id, attempt);
        if (order_decode(&order, json, n, err) < 0)
                return error_wrap(err, "understand the order of job %s, attempt %d", job_id,
                                  attempt);
        /* the lease's token is the one that fences */
        if (strcmp(order->token, token) != 0)
                return error_set(err, ERROR_INVALID,
                                 "the order of job %s, attempt %d has another token", job_id,
                                 attempt);
        assignment = xcalloc(1, sizeof(*assignment));
        if (job_stop_new(&assignment->stop, err) < 0)
                return -err->kind;
        assignment->build_id = text_copy(order->build_id);
        assignment->job_id = text_copy(job_id);
        assignment->attempt = attempt;
        assignment->token = text_copy(token);
        assignment->name = assignment_name(job_id, attempt);
        assignment->order = take(order);
        *ret = take(assignment);
        return 0;
}

void assignment_free(struct assignment *assignment)
{
        if (!assignment)
                return;
        job_stop_free(assignment->stop);
        if (assignment->order)
                order_free(assignment->order);
        free(assignment->build_id);
        free(assignment->job_id);
        free(assignment->token);
        free(assignment->name);
        free(assignment);
}

/* Sink */

static void sink_log(void *data, const struct log_entry *entry)
{
        spool_log(((struct outlet *)data)->spool, entry);
}

static void sink_result(void *data, const struct job_result *result)
{
        spool_result(((struct outlet *)data)->spool, result);
}

static int sink_commit(void *data, const void *state, size_t n, int cancel_fd, struct error *err)
{
        return spool_commit(((struct outlet *)data)->spool, state, n, cancel_fd, err);
}

static struct log_context about_of(const struct assignment *assignment, const char *context)
{
        return (struct log_context){.service = "executor",
                                    .build_id = assignment->build_id,
                                    .job_id = assignment->job_id,
                                    .attempt = assignment->attempt,
                                    .context = context};
}

static void sink_event(void *data, enum log_severity severity, const char *message,
                       const char *context)
{
        struct log_context about = about_of(((struct outlet *)data)->assignment, context);

        log_event(severity, &about, "%s", message);
}

/* Running */

static bool pause_or_quit(const struct assignment_place *place, int64_t ms)
{
        struct pollfd quit = {place->quit_fd, POLLIN, 0};

        return poll(&quit, 1, (int)ms) > 0;
}

static int run_once(struct assignment *assignment, const struct assignment_place *place,
                    struct spool *spool, struct job_outcome *ret, struct error *err)
{
        struct outlet outlet = {assignment, spool};
        scoped_text char *masks = place->masks ? fs_path(place->masks, assignment->name) : NULL;
        struct job_options options = {
                .order = assignment->order,
                .engine = place->engine,
                .forge = place->forge,
                .executor = place->executor,
                .slot = assignment->slot,
                .work = place->work,
                .control = place->control,
                .name = assignment->name,
                .masks = masks,
                .log_max = place->log_max,
                .orphan_max_ms =
                        place->orphan_max_ms ? place->orphan_max_ms : JOB_ORPHAN_MAX_DEFAULT_MS,
                .sink = {sink_log, sink_result, sink_event, sink_commit, &outlet},
                .stop = assignment->stop,
                .resume = take(assignment->sandbox),
        };
        size_t n;
        const char *state = spool_state(spool, &n);
        scoped_text char *copy = NULL;

        spool_forget(spool); /* what a try that broke off left */
        /* the spool's own copy changes with each commit */
        if (state) {
                copy = xmalloc(n);
                memcpy(copy, state, n);
        }
        options.state = copy;
        options.n_state = state ? n : 0;
        return job_run(ret, &options, err);
}

/* An engine that does not answer must not look like a sandbox that is gone. */
static int find_sandbox(struct assignment *assignment, struct engine *engine, struct error *err)
{
        struct sandbox **all = NULL;
        size_t n = 0;
        int result = engine_find(engine, &all, &n, err);

        if (result < 0)
                return result;
        for (size_t i = 0; i < n; i++) {
                bool ours = strcmp(all[i]->job_id, assignment->job_id) == 0 &&
                            all[i]->attempt == assignment->attempt;

                if (ours && !assignment->sandbox)
                        assignment->sandbox = all[i];
                else
                        engine_sandbox_free(engine, all[i]);
        }
        free(all);
        return 0;
}

/* A job whose messages could not be kept is still there: take it up again. */
static int run_until_kept(struct assignment *assignment, const struct assignment_place *place,
                          struct spool *spool, struct job_outcome *ret)
{
        struct log_context about = about_of(assignment, NULL);
        int64_t wait_ms = AGAIN_FIRST_MS;

        for (;;) {
                struct error err;

                if (run_once(assignment, place, spool, ret, &err) == 0)
                        return 0;
                log_event(LOG_ERROR, &about, "the job goes on, but cannot be followed: %s",
                          err.text);
                do {
                        if (pause_or_quit(place, wait_ms))
                                return -err.kind;
                        wait_ms = wait_ms * 2 < AGAIN_MOST_MS ? wait_ms * 2 : AGAIN_MOST_MS;
                } while (find_sandbox(assignment, place->engine, &err) < 0);
        }
}

static bool release(const struct assignment *assignment, const struct assignment_place *place)
{
        struct log_context about = about_of(assignment, NULL);
        bool told = false;

        for (;;) {
                struct error err;
                int result = store_lease_release(place->store, assignment->job_id,
                                                 assignment->attempt, assignment->token, &err);

                /* no longer ours, or unknown: nothing to give up */
                if (result == 0 || result == -ERROR_CONFLICT || result == -ERROR_NOT_FOUND)
                        return true;
                if (!told)
                        log_event(LOG_WARNING, &about, "the lease cannot be released yet: %s",
                                  err.text);
                told = true;
                if (pause_or_quit(place, AGAIN_MOST_MS))
                        return false;
        }
}

/* Return: whether the spool may be removed. */
static bool settle(struct assignment *assignment, const struct assignment_place *place,
                   struct spool *spool, const struct job_outcome *outcome)
{
        if (outcome->end == JOB_DETACHED)
                return false;
        if (outcome->end != JOB_ABANDONED && !spool_wait(spool, -1, place->quit_fd))
                return false;
        return release(assignment, place);
}

void assignment_run(struct assignment *assignment, const struct assignment_place *place)
{
        scoped_text char *path = text_format("%s/%s", place->spool, assignment->name);
        struct spool_options options = {.path = path,
                                        .bus = place->bus,
                                        .bytes_max = place->spool_max,
                                        .about = assignment->job_id};
        struct log_context about = about_of(assignment, NULL);
        struct job_outcome outcome = {0};
        struct spool *spool;
        struct error err;
        bool over = false;

        while (spool_open(&spool, &options, &err) < 0) {
                log_event(LOG_ERROR, &about, "the outbox of the job cannot be opened: %s",
                          err.text);
                if (err.kind == ERROR_INVALID)
                        unlink(path); /* nothing in it can be read: begin anew */
                if (pause_or_quit(place, AGAIN_MOST_MS))
                        return;
        }
        if (run_until_kept(assignment, place, spool, &outcome) == 0)
                over = settle(assignment, place, spool, &outcome);
        job_outcome_done(&outcome);
        spool_close(spool);
        if (over)
                unlink(path);
}

void assignment_drop(const struct assignment_place *place, const char *job_id, int attempt,
                     const char *token)
{
        scoped_text char *name = assignment_name(job_id, attempt);
        const char *const roots[] = {place->work, place->control, place->spool, place->masks};
        struct log_context about = {.service = "executor", .job_id = job_id, .attempt = attempt};
        struct error err;

        for (size_t i = 0; i < sizeof(roots) / sizeof(*roots); i++) {
                scoped_text char *path = roots[i] ? fs_path(roots[i], name) : NULL;

                if (path && fs_remove_tree(path, &err) < 0)
                        log_event(LOG_ERROR, &about, "%s", err.text);
        }
        if (store_lease_release(place->store, job_id, attempt, token, &err) < 0)
                log_event(LOG_WARNING, &about, "release the lease: %s", err.text);
}
