/*
 * The one way in which a stored build changes on behalf of a message. The change and all that
 * follows from it (dependents, the end of the build) go into one swap, so nobody ever reads a build
 * in between.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/build.h"
#include "domain/reconcile.h"
#include "pipeline/orchestrator/parts.h"
#include "ports/bus.h"
#include "ports/store.h"

#include "base/banned.h"

/* How often somebody else may be first before we give way; each time they got something done. */
#define SWAPS_MAX 100

struct change_before {
        enum state build;
        size_t n_jobs;
        enum state jobs[];
};

struct change_before *change_remember(const struct build *build)
{
        struct change_before *before =
                xcalloc(1, sizeof(*before) + build->n_jobs * sizeof(before->jobs[0]));

        before->build = build->state;
        before->n_jobs = build->n_jobs;
        for (size_t i = 0; i < build->n_jobs; i++)
                before->jobs[i] = build->jobs[i].state;
        return before;
}

void change_forget(struct change_before *before)
{
        free(before);
}

/* Ends that an executor reported were logged by it, next to the job's own output. */
static void log_job_end(const struct build *build, const struct job *job)
{
        const struct attempt *attempt = job_attempt(job);
        json_t *context = json_pack("{s:s, s:s, s:s}", "job", job->name, "reason_code",
                                    reason_name(job->reason), "reason", job->reason_text);

        if (job->state == STATE_SKIPPED)
                orchestrator_log(LOG_INFO, build, job, context, "Job skipped");
        else if (job->state == STATE_CANCELLED && (!attempt || !attempt->executor[0]))
                orchestrator_log(LOG_INFO, build, job, context, "Job cancelled");
        else if (job->state == STATE_ERROR &&
                 (!attempt || !attempt->executor[0] || job->reason == REASON_EXECUTOR_LOST))
                orchestrator_log(LOG_ERROR, build, job, context, "Job ended with an error");
        else
                json_decref(context);
}

static void log_build_end(const struct build *build)
{
        json_t *context =
                json_pack("{s:s, s:I, s:s, s:s, s:s}", "repo", build->repo, "number",
                          (json_int_t)build->number, "state", state_name(build->state),
                          "reason_code", reason_name(build->reason), "reason", build->reason_text);

        orchestrator_log(build->state == STATE_ERROR ? LOG_ERROR : LOG_INFO, build, NULL, context,
                         "Build finished: %s", state_name(build->state));
}

bool change_announce(struct orchestrator *o, const struct build *build,
                     const struct change_before *before)
{
        scoped_text char *topic = text_format("build.%s", build->id);
        scoped_text char *version = text_format("%lld", (long long)build->version);
        bool moved = build->state != before->build || build->n_jobs != before->n_jobs;

        bus_topic_publish(o->options.bus, topic, version, strlen(version));
        for (size_t i = 0; i < build->n_jobs; i++) {
                const struct job *job = &build->jobs[i];
                enum state old = i < before->n_jobs ? before->jobs[i] : STATE_QUEUED;

                if (job->state == old)
                        continue;
                moved = true;
                if (state_ended(job->state))
                        log_job_end(build, job);
        }
        if (state_ended(build->state) && !state_ended(before->build))
                log_build_end(build);
        return moved;
}

/* One try: 1 when somebody else was first. */
static int try_once(struct orchestrator *o, const char *id, change_fn *fn, void *data,
                    struct error *err)
{
        scoped(build) struct build *build = NULL;
        scoped(change_before) struct change_before *before = NULL;
        struct reconcile_facts facts = {.now = wall_ms()};
        struct reconcile_outcome outcome;
        int result = store_build_get(o->options.store, &build, id, err);

        if (result < 0)
                return result;
        before = change_remember(build);
        result = fn(build, data, err);
        if (result <= 0)
                return result;
        reconcile(build, &facts, &outcome);
        result = store_build_update(o->options.store, build, err);
        if (result == -ERROR_CONFLICT)
                return 1;
        if (result == 0 && change_announce(o, build, before))
                orchestrator_kick(o);
        return result;
}

int change_build(struct orchestrator *o, const char *id, change_fn *fn, void *data,
                 struct error *err)
{
        for (int i = 0; i < SWAPS_MAX; i++) {
                int result = try_once(o, id, fn, data, err);

                if (result <= 0)
                        return result;
        }
        return error_set(err, ERROR_UNAVAILABLE, "the build %s changes too fast", id);
}
