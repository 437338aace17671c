/*
 * Killed at each place where it hurts, the services go on as if nothing had been: one build for a
 * delivery, one attempt for a job, every line once, one mail.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "pipeline/orchestrator/orchestrator.h"
#include "pipeline/topology.h"
#include "ports/bus.h"
#include "ports/store.h"
#include "tests/support/test.h"
#include "tests/support/rig.h"
#include "wire/dispatch.h"

#include "base/banned.h"

static const char file[] = "version: 1\njobs:\n"
                           "  a:\n    image: alpine\n    steps:\n      - run: echo a\n"
                           "  b:\n    image: alpine\n    needs: [a]\n    steps:\n"
                           "      - run: echo b\n";

static struct orchestrator *start(struct rig *rig)
{
        struct orchestrator_options options = {
                .bus = rig->bus,
                .store = rig->store,
                .forge = rig->forge,
                .url = "https://ci.example.org",
                .limits = {.timeout_ms = 60000,
                           .timeout_max_ms = 60000,
                           .memory = 1 << 30,
                           .memory_max = 1 << 30,
                           .millicpus = 1000,
                           .millicpus_max = 1000,
                           .pids = 100,
                           .pids_max = 100,
                           .disk = 1 << 30,
                           .disk_max = 1 << 30},
                .reissue_ms = 200,
                .tick_ms = 20,
        };
        struct orchestrator *orchestrator = NULL;
        struct error err = {0};

        assert_ok(orchestrator_open(&orchestrator, &options, &err), err);
        return orchestrator;
}

/* Play the executor until the build has ended; a dispatch that was taken before is left alone. */
static void run_all(struct rig *rig, const char *id)
{
        for (int64_t end = clock_ms() + RIG_WAIT_MS; clock_ms() < end; usleep(5000)) {
                scoped(build) struct build *build = NULL;
                scoped(dispatch) struct dispatch *dispatch = NULL;
                struct error err = {0};

                assert_ok(store_build_get(rig->store, &build, id, &err), err);
                if (state_ended(build->state))
                        return;
                if (rig_depth(rig, QUEUE_SANDBOX) == 0)
                        continue;
                dispatch = rig_take(rig);
                if (store_lease_claim(rig->store, dispatch->job_id, dispatch->attempt,
                                      dispatch->token, "rig", &err) == 0)
                        rig_run(rig, dispatch, STATE_SUCCESS);
        }
        fail_msg("the build did not end");
}

/* A restarted executor goes on with what it holds; results that it sent before come again. */
static void go_on(struct rig *rig, const char *build_id)
{
        struct lease *leases = NULL;
        struct error err = {0};
        size_t n = 0;

        assert_ok(store_leases(rig->store, &leases, &n, "rig", &err), err);
        for (size_t i = 0; i < n; i++) {
                struct dispatch dispatch = {.build_id = build_id,
                                            .job_id = leases[i].job_id,
                                            .attempt = leases[i].attempt,
                                            .token = leases[i].token};

                rig_run(rig, &dispatch, STATE_SUCCESS);
        }
        free(leases);
}

static void push_and_run(struct rig *rig, void *commit)
{
        struct build *build;

        start(rig);
        rig_push(rig, "acme/api", rig->url, commit, "d1");
        build = rig_build_of(rig, "d1");
        run_all(rig, build->id);
}

static void assert_whole(struct rig *rig)
{
        struct orchestrator *orchestrator = start(rig);
        struct build_filter filter = {.limit = 10};
        struct build_page page = {0};
        scoped(build) struct build *build = rig_build_of(rig, "d1");
        scoped(build) struct build *ended = NULL;
        struct error err = {0};

        go_on(rig, build->id);
        run_all(rig, build->id);
        ended = rig_wait(rig, build->id, STATE_SUCCESS);
        for (size_t i = 0; i < ended->n_jobs; i++)
                assert_int_equal(ended->jobs[i].n_attempts, 1);
        assert_ok(store_builds(rig->store, &page, &filter, &err), err);
        assert_int_equal(page.n, 1);
        build_page_done(&page);
        for (int64_t end = clock_ms() + RIG_WAIT_MS; clock_ms() < end && !ended->notified;) {
                build_freep(&ended);
                ended = rig_wait(rig, build->id, STATE_SUCCESS);
        }
        assert_true(ended->notified);
        /* published before it is marked: twice at most, for the ledger to tell apart */
        assert_true(rig_depth(rig, QUEUE_NOTIFICATION) >= 1);
        assert_true(rig_depth(rig, QUEUE_NOTIFICATION) <= 2);
        assert_int_equal(rig_depth(rig, QUEUE_WEBHOOK ".dead"), 0);
        assert_int_equal(rig_depth(rig, QUEUE_RESULT ".dead"), 0);
        orchestrator_close(orchestrator);
}

TEST("killed anywhere, the orchestrator brings a push to its one end")
{
        static const char *const places[] = {
                "orchestrator.before_fetch=kill",    "orchestrator.after_fetch=kill",
                "orchestrator.before_insert=kill",   "orchestrator.after_insert=kill",
                "orchestrator.after_attempt=kill",   "orchestrator.before_publish=kill",
                "orchestrator.after_publish=kill",   "orchestrator.after_publish=kill:2",
                "orchestrator.before_results=kill",  "orchestrator.after_results=kill",
                "orchestrator.after_results=kill:3", "orchestrator.before_notify=kill",
                "orchestrator.after_notify=kill",
        };

        for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
                struct rig rig;
                char commit[65];

                rig_prepare(&rig);
                rig_commit(&rig, ".runnerci.yml", file, commit);
                rig_die(&rig, places[i], push_and_run, commit);
                rig_attach(&rig);
                assert_whole(&rig);
                rig_close(&rig);
        }
}

/* Passes are counted by a rule's place in the list: each case takes a place of its own. */
static void fail_at(const char *rule, size_t place)
{
        scoped_str struct str list = STR_INIT;

        for (size_t i = 0; i < place; i++)
                str_add(&list, "nothing=error,");
        str_add(&list, rule);
        setenv("ARGON_FAIL", list.data, 1);
}

TEST("failing instead of dying, it tries again and comes to the same end")
{
        static const char *const places[] = {
                "orchestrator.before_fetch=error:1",   "orchestrator.before_insert=error:1",
                "orchestrator.after_insert=error:1",   "orchestrator.after_attempt=error:1",
                "orchestrator.before_publish=error:1", "orchestrator.after_publish=error:1",
                "orchestrator.before_notify=error:1",  "orchestrator.after_notify=error:1",
        };

        for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
                struct rig rig;
                struct orchestrator *orchestrator;
                scoped(build) struct build *build = NULL;
                char commit[65];

                rig_open(&rig);
                fail_at(places[i], i);
                rig_commit(&rig, ".runnerci.yml", file, commit);
                orchestrator = start(&rig);
                rig_push(&rig, "acme/api", rig.url, commit, "d1");
                build = rig_build_of(&rig, "d1");
                run_all(&rig, build->id);
                orchestrator_close(orchestrator);
                unsetenv("ARGON_FAIL");
                assert_whole(&rig);
                rig_close(&rig);
        }
}

TEST_MAIN()
