/*
 * The same work on a store and a bus of which every sixth call says "not now": all of it comes to
 * the same end, once.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/build.h"
#include "pipeline/orchestrator/orchestrator.h"
#include "pipeline/topology.h"
#include "ports/bus.h"
#include "ports/store.h"
#include "tests/support/test.h"
#include "tests/support/rig.h"
#include "wire/control_request.h"
#include "wire/dispatch.h"

#include "base/banned.h"

#define BUILDS 5

static const char file[] = "version: 1\njobs:\n"
                           "  a:\n    image: alpine\n    steps:\n      - run: echo a\n"
                           "  b:\n    image: alpine\n    needs: [a]\n    steps:\n"
                           "      - run: echo b\n";

/* A store, and a bus, before the real ones. */
struct flaky {
        struct store store;
        struct bus bus;
        struct rig *rig;
        atomic_uint calls;
        atomic_uint failed;
};

static int fails(struct flaky *flaky, struct error *err)
{
        /* a walk that no period of ours can stay in step with */
        unsigned call = atomic_fetch_add(&flaky->calls, 1) * 2654435761u;

        if ((call >> 16) % 6)
                return 0;
        atomic_fetch_add(&flaky->failed, 1);
        return error_set(err, ERROR_UNAVAILABLE, "not now");
}

#define FLAKY_STORE(name, parameters, arguments)                        \
        static int name parameters                                      \
        {                                                               \
                struct flaky *flaky = (struct flaky *)store;            \
                struct store *real = flaky->rig->store;                 \
                int result = fails(flaky, err);                         \
                                                                        \
                return result < 0 ? result : real->ops->name arguments; \
        }

FLAKY_STORE(delivery_outcome,
            (struct store * store, const char *id, const char *outcome, const char *reason,
             const char *build_id, struct error *err),
            (real, id, outcome, reason, build_id, err))
FLAKY_STORE(build_insert, (struct store * store, struct build *build, struct error *err),
            (real, build, err))
FLAKY_STORE(build_update, (struct store * store, struct build *build, struct error *err),
            (real, build, err))
FLAKY_STORE(build_get,
            (struct store * store, struct build **ret, const char *id, struct error *err),
            (real, ret, id, err))
FLAKY_STORE(build_of_delivery,
            (struct store * store, struct build **ret, const char *id, struct error *err),
            (real, ret, id, err))
FLAKY_STORE(builds,
            (struct store * store, struct build_page *ret, const struct build_filter *filter,
             struct error *err),
            (real, ret, filter, err))
FLAKY_STORE(builds_unfinished, (struct store * store, struct build_page *ret, struct error *err),
            (real, ret, err))
FLAKY_STORE(build_previous_state,
            (struct store * store, char ret[16], const char *repo, const char *branch,
             int64_t before, struct error *err),
            (real, ret, repo, branch, before, err))
FLAKY_STORE(order_put,
            (struct store * store, const char *job_id, int attempt, const char *json, size_t n,
             struct error *err),
            (real, job_id, attempt, json, n, err))
FLAKY_STORE(order_get,
            (struct store * store, char **ret, size_t *ret_n, const char *job_id, int attempt,
             struct error *err),
            (real, ret, ret_n, job_id, attempt, err))
FLAKY_STORE(lease_claim,
            (struct store * store, const char *job_id, int attempt, const char *token,
             const char *owner, struct error *err),
            (real, job_id, attempt, token, owner, err))
FLAKY_STORE(lease_release,
            (struct store * store, const char *job_id, int attempt, const char *token,
             struct error *err),
            (real, job_id, attempt, token, err))
FLAKY_STORE(leases,
            (struct store * store, struct lease **ret, size_t *ret_n, const char *owner,
             struct error *err),
            (real, ret, ret_n, owner, err))
FLAKY_STORE(executors, (struct store * store, struct executor_list *ret, struct error *err),
            (real, ret, err))

static const struct store_ops store_ops = {
        .delivery_outcome = delivery_outcome,
        .build_insert = build_insert,
        .build_update = build_update,
        .build_get = build_get,
        .build_of_delivery = build_of_delivery,
        .builds = builds,
        .builds_unfinished = builds_unfinished,
        .build_previous_state = build_previous_state,
        .order_put = order_put,
        .order_get = order_get,
        .lease_claim = lease_claim,
        .lease_release = lease_release,
        .leases = leases,
        .executors = executors,
};

static struct flaky *flaky_of(struct bus *bus)
{
        return (struct flaky *)((char *)bus - offsetof(struct flaky, bus));
}

static int publish(struct bus *bus, const char *queue, const struct bus_body *bodies, size_t n,
                   struct error *err)
{
        struct flaky *flaky = flaky_of(bus);
        int result = fails(flaky, err);

        return result < 0 ? result : bus_publish_all(flaky->rig->bus, queue, bodies, n, err);
}

static int consume(struct bus *bus, struct bus_consumer **ret, const char *const *queues,
                   size_t n_queues, int prefetch, struct error *err)
{
        return bus_consume(flaky_of(bus)->rig->bus, ret, queues, n_queues, prefetch, err);
}

static int depth(struct bus *bus, const char *queue, int64_t *ret_ready, int64_t *ret_unsettled,
                 struct error *err)
{
        struct flaky *flaky = flaky_of(bus);
        int result = fails(flaky, err);

        return result < 0 ? result
                          : bus_depth(flaky->rig->bus, queue, ret_ready, ret_unsettled, err);
}

static void topic_publish(struct bus *bus, const char *topic, const void *bytes, size_t n)
{
        bus_topic_publish(flaky_of(bus)->rig->bus, topic, bytes, n);
}

static const struct bus_ops bus_ops = {
        .publish = publish, .consume = consume, .depth = depth, .topic_publish = topic_publish};

static struct orchestrator *start(struct flaky *flaky)
{
        struct orchestrator_options options = {
                .bus = &flaky->bus,
                .store = &flaky->store,
                .forge = flaky->rig->forge,
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
                .spare_dispatches = BUILDS,
                .reissue_ms = 300,
                .tick_ms = 20,
        };
        struct orchestrator *orchestrator = NULL;
        struct error err = {0};

        assert_ok(orchestrator_open(&orchestrator, &options, &err), err);
        return orchestrator;
}

/* Take whatever is dispatched and run it, until nothing is unfinished. */
static void run_all(struct rig *rig)
{
        for (int64_t end = clock_ms() + 2 * RIG_WAIT_MS; clock_ms() < end; usleep(2000)) {
                struct build_page page = {0};
                struct error err = {0};
                size_t left;

                assert_ok(store_builds_unfinished(rig->store, &page, &err), err);
                left = page.n;
                build_page_done(&page);
                if (!left)
                        return;
                while (rig_depth(rig, QUEUE_SANDBOX) > 0) {
                        scoped(dispatch) struct dispatch *dispatch = rig_take(rig);

                        if (rig_claim(rig, dispatch, "rig") == 0)
                                rig_run(rig, dispatch, STATE_SUCCESS);
                }
        }
        fail_msg("something stayed unfinished");
}

TEST("with a store and a bus that fail every sixth call, every build comes to its one end")
{
        struct rig rig;
        struct flaky flaky = {.store = {.ops = &store_ops}, .bus = {.ops = &bus_ops}, .rig = &rig};
        struct orchestrator *orchestrator;
        struct build_filter filter = {.limit = 100};
        struct build_page page = {0};
        struct error err = {0};
        char commit[65];

        rig_open(&rig);
        orchestrator = start(&flaky);
        rig_commit(&rig, ".runnerci.yml", file, commit);
        for (int i = 0; i < 2 * BUILDS; i++) {
                scoped_text char *delivery = text_format("d%d", i % BUILDS);

                rig_push(&rig, "acme/api", rig.url, commit, delivery);
        }
        rig_wait_depth(&rig, QUEUE_WEBHOOK, 0);
        run_all(&rig);
        orchestrator_close(orchestrator);
        assert_ok(store_builds(rig.store, &page, &filter, &err), err);
        assert_int_equal(page.n, BUILDS);
        for (size_t i = 0; i < page.n; i++) {
                scoped(build) struct build *build =
                        rig_wait(&rig, page.builds[i]->id, STATE_SUCCESS);

                assert_int_equal(build->jobs[0].n_attempts, 1);
                assert_int_equal(build->jobs[1].n_attempts, 1);
        }
        build_page_done(&page);
        assert_true(flaky.failed > 10);
        assert_true(rig_depth(&rig, QUEUE_NOTIFICATION) >= BUILDS);
        rig_close(&rig);
}

TEST("a cancel that meets them ends everything, too")
{
        struct rig rig;
        struct flaky flaky = {.store = {.ops = &store_ops}, .bus = {.ops = &bus_ops}, .rig = &rig};
        struct orchestrator *orchestrator;
        scoped(build) struct build *build = NULL;
        char commit[65];

        rig_open(&rig);
        orchestrator = start(&flaky);
        rig_commit(&rig, ".runnerci.yml", file, commit);
        rig_push(&rig, "acme/api", rig.url, commit, "d");
        build = rig_build_of(&rig, "d");
        rig_wait_depth(&rig, QUEUE_SANDBOX, 1);
        rig_ask(&rig, CONTROL_CANCEL, build->id, "");
        build_free(rig_wait(&rig, build->id, STATE_CANCELLED));
        {
                scoped(dispatch) struct dispatch *dispatch = rig_take(&rig);

                assert_int_equal(rig_claim(&rig, dispatch, "late"), -ERROR_CONFLICT);
        }
        orchestrator_close(orchestrator);
        rig_close(&rig);
}

TEST_MAIN()
