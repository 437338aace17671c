/*
 * A build under any order of results, silence, requests and time: two bytes are one event. After
 * each, the rule is applied twice: the second time changes nothing. What has ended stays ended
 * until a re-run, a job has at most one attempt under way, and an ended build has none.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/arena.h"
#include "domain/build.h"
#include "domain/reconcile.h"
#include "pipeline/orchestrator/apply.h"
#include "wire/job_result.h"

#include "base/banned.h"

#define JOBS 4
#define EVENTS_MAX 400

struct world {
        struct build *build;
        struct reconcile_fact facts[JOBS];
        enum reconcile_action actions[JOBS];
};

static void check(bool good)
{
        if (!good)
                abort();
}

static void look(struct world *world)
{
        struct reconcile_facts facts = {.now = 1000,
                                        .lost_ms = 30,
                                        .reissue_ms = 5,
                                        .dispatch_lost = true,
                                        .jobs = world->facts};
        struct reconcile_outcome first;
        struct reconcile_outcome second;

        reconcile(world->build, &facts, &first);
        reconcile(world->build, &facts, &second);
        check(!second.changed && !second.ended);
        for (size_t i = 0; i < JOBS; i++) {
                const struct job *job = &world->build->jobs[i];

                world->actions[i] = second.jobs[i];
                for (size_t k = 0; k + 1 < job->n_attempts; k++)
                        check(state_ended(job->attempts[k].state));
                if (state_ended(world->build->state))
                        check(!reconcile_live(job) && state_ended(job->state));
                if (state_ended(job->state))
                        check(!reconcile_live(job));
        }
}

static void dispatch(struct world *world, size_t i)
{
        if (world->actions[i] != RECONCILE_READY || world->build->jobs[i].n_attempts > 60)
                return;
        build_add_attempt(world->build, &world->build->jobs[i])->token = "t";
        world->facts[i] = (struct reconcile_fact){0};
}

static void result(struct world *world, size_t i, uint8_t how)
{
        static const enum state ends[] = {STATE_SUCCESS, STATE_FAILED, STATE_ERROR, STATE_TIMEOUT,
                                          STATE_CANCELLED};
        struct job *job = &world->build->jobs[i];
        struct job_result one = {
                .kind = (enum result_kind)(how % (RESULT_RETURNED + 1)),
                .build_id = "b",
                .job_id = job->id,
                .attempt = (int)job->n_attempts - (how & 128 ? 1 : 0),
                .token = how & 64 ? "x" : "t",
                .executor = "e",
                .step = (how >> 3) % 3,
                .step_name = "",
                .state = ends[(how >> 3) % 5],
                .reason = how & 1 ? REASON_EXECUTOR_LOST : REASON_EXIT_CODE,
                .reason_text = "",
                .tail = "",
                .at = 900,
        };

        if (apply_result(world->build, &one, NULL) > 0)
                world->facts[i].claimed = true;
}

static void step(struct world *world, uint8_t what, uint8_t how)
{
        size_t i = what % JOBS;

        switch ((what >> 2) % 8) {
        case 0:
        case 1:
                dispatch(world, i);
                break;
        case 2:
        case 3:
        case 4:
                result(world, i, how);
                break;
        case 5:
                world->facts[i] = (struct reconcile_fact){.claimed = how & 1,
                                                          .withdrawn = how == 255,
                                                          .silent_ms = how % 64,
                                                          .waiting_ms = how % 128,
                                                          .republished = how % 5};
                break;
        case 6:
                if (how < 32)
                        reconcile_cancel(world->build, "fuzz");
                break;
        default:
                reconcile_rerun(world->build, how & 1 ? "failed" : how & 2 ? "all" : "j1", NULL);
        }
        look(world);
}

static struct build *make_build(uint8_t shape)
{
        static const char *const names[JOBS] = {"j0", "j1", "j2", "j3"};
        struct build *build = build_new();

        build->id = "b";
        build_set_jobs(build, JOBS);
        for (size_t i = 0; i < JOBS; i++) {
                struct job *job = &build->jobs[i];

                job->id = job->name = names[i];
                job->needs = arena_alloc(build->arena, JOBS * sizeof(*job->needs));
                if (i && shape & (1 << i))
                        job->needs[job->n_needs++] = names[i - 1];
                if (i > 1 && shape & 16)
                        job->needs[job->n_needs++] = names[0];
                job->continue_on_error = i == 0 && shape & 32;
                job->retry_max = shape & 64 ? 2 : 0;
                job->retry_failure = job->retry_infra = job->retry_timeout = shape & 128;
        }
        return build;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct world world = {.build = make_build(size ? data[0] : 0)};

        look(&world);
        for (size_t i = 1; i + 1 < size && i < 2 * EVENTS_MAX; i += 2)
                step(&world, data[i], data[i + 1]);
        build_free(world.build);
        return 0;
}
