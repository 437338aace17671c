/*
 * The whole service on the real store, bus and git; the executor is played by the test.
 */
#include "pipeline/orchestrator/orchestrator.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/order.h"
#include "domain/reconcile.h"
#include "pipeline/topology.h"
#include "ports/bus.h"
#include "ports/store.h"
#include "tests/support/test.h"
#include "tests/support/rig.h"
#include "wire/build_json.h"
#include "wire/control_request.h"
#include "wire/dispatch.h"
#include "wire/notification.h"

#include "base/banned.h"

static const char file[] = "version: 1\njobs:\n"
                           "  lint:\n    image: alpine\n    steps:\n      - run: echo lint\n"
                           "  test:\n    image: alpine\n    steps:\n      - run: echo test\n"
                           "  deploy:\n    image: alpine\n    needs: [lint, test]\n"
                           "    steps:\n      - run: echo deploy\n";
static const char one_job[] = "version: 1\njobs:\n  only:\n    image: alpine\n    steps:\n"
                              "      - run: echo hello\n";

static struct orchestrator *start(struct rig *rig, int64_t lost_ms, int64_t reissue_ms)
{
        struct orchestrator_options options = {
                .bus = rig->bus,
                .store = rig->store,
                .forge = rig->forge,
                .url = "https://ci.example.org",
                .limits = {.timeout_ms = 3600000,
                           .timeout_max_ms = 3600000,
                           .memory = 1 << 30,
                           .memory_max = 1 << 30,
                           .millicpus = 1000,
                           .millicpus_max = 2000,
                           .pids = 100,
                           .pids_max = 100,
                           .disk = 1 << 30,
                           .disk_max = 1 << 30},
                .lost_ms = lost_ms,
                .reissue_ms = reissue_ms,
                .tick_ms = 20,
                .source_threads = 2,
        };
        struct orchestrator *orchestrator = NULL;
        struct error err = {0};

        assert_ok(orchestrator_open(&orchestrator, &options, &err), err);
        return orchestrator;
}

/* The next notification; the caller frees. */
static struct notification *take_notification(struct rig *rig)
{
        static const char *const queues[] = {QUEUE_NOTIFICATION};
        struct notification *notification = NULL;
        struct bus_consumer *consumer;
        struct bus_message message;
        struct error err = {0};

        assert_ok(bus_consume(rig->bus, &consumer, queues, 1, 1, &err), err);
        assert_int_equal(bus_receive(consumer, &message, 1, RIG_WAIT_MS, &err), 1);
        assert_ok(notification_decode(&notification, message.body, message.len, &err), err);
        assert_ok(bus_ack(consumer, message.tag, &err), err);
        bus_consumer_close(consumer);
        return notification;
}

static const char *outcome_of(struct rig *rig, const char *delivery, struct delivery_page *page)
{
        struct error err = {0};

        assert_ok(store_deliveries(rig->store, page, 100, "", &err), err);
        for (size_t i = 0; i < page->n; i++) {
                if (strcmp(page->deliveries[i].id, delivery) == 0)
                        return page->deliveries[i].outcome;
        }
        return "";
}

/* The journal is the webhook's; outcomes join what it wrote. */
static void journal(struct rig *rig, const char *delivery)
{
        struct delivery row = {.id = delivery,
                               .event = "push",
                               .repo = "acme/api",
                               .sha256 = delivery,
                               .message = "{}",
                               .received_at = wall_ms(),
                               .result = "accepted",
                               .reason = ""};
        char duplicate[72];
        struct error err = {0};

        assert_ok(store_delivery_add(rig->store, &row, duplicate, &err), err);
}

static void wait_outcome(struct rig *rig, const char *delivery, const char *expected)
{
        for (int64_t end = clock_ms() + RIG_WAIT_MS; clock_ms() < end; usleep(5000)) {
                struct delivery_page page = {0};
                bool there = strcmp(outcome_of(rig, delivery, &page), expected) == 0;

                delivery_page_done(&page);
                if (there)
                        return;
        }
        fail_msg("the outcome of %s is not %s", delivery, expected);
}

/* A pushed commit with this file; the build's id; the caller frees. */
static char *push(struct rig *rig, const char *content, const char *delivery)
{
        scoped(build) struct build *build = NULL;
        char commit[65];

        rig_commit(rig, ".runnerci.yml", content, commit);
        rig_push(rig, "acme/api", rig->url, commit, delivery);
        build = rig_build_of(rig, delivery);
        return text_copy(build->id);
}

TEST("a push becomes jobs, independent ones at once, and one notification in the end")
{
        struct rig rig;
        struct orchestrator *orchestrator;
        scoped_text char *id = NULL;
        scoped(dispatch) struct dispatch *first = NULL;
        scoped(dispatch) struct dispatch *second = NULL;
        scoped(dispatch) struct dispatch *third = NULL;
        scoped(build) struct build *build = NULL;
        scoped(notification) struct notification *told = NULL;
        scoped_text char *text = NULL;
        scoped(order) struct order *order = NULL;
        struct error err = {0};
        size_t n;

        rig_open(&rig);
        journal(&rig, "d1");
        orchestrator = start(&rig, 30000, 30000);
        id = push(&rig, file, "d1");
        first = rig_take(&rig);
        second = rig_take(&rig);
        rig_take_none(&rig, 100);
        assert_ok(store_order_get(rig.store, &text, &n, first->job_id, first->attempt, &err), err);
        assert_ok(order_decode(&order, text, n, &err), err);
        assert_string_equal(order->token, first->token);
        assert_string_equal(order->clone_url, rig.url);
        rig_run(&rig, first, STATE_SUCCESS);
        build = rig_wait_job(&rig, id, "lint", STATE_SUCCESS);
        assert_int_equal(build->state, STATE_RUNNING);
        assert_string_equal(build->jobs[2].reason_text, "waits for test");
        assert_string_equal(build->author_email, "ada@example.org");
        assert_string_equal(build->committer_email, "c@example.org");
        rig_run(&rig, second, STATE_SUCCESS);
        third = rig_take(&rig);
        rig_run(&rig, third, STATE_SUCCESS);
        build_freep(&build);
        build = rig_wait(&rig, id, STATE_SUCCESS);
        told = take_notification(&rig);
        assert_int_equal(told->state, STATE_SUCCESS);
        assert_int_equal(told->n_jobs, 3);
        assert_string_equal(told->url, "https://ci.example.org/r/acme/api/builds/1");
        wait_outcome(&rig, "d1", "built");
        usleep(200000);
        assert_int_equal(rig_depth(&rig, QUEUE_NOTIFICATION), 0);
        orchestrator_close(orchestrator);
        rig_close(&rig);
}

TEST("a failure skips what needs it and the notification shows the failing step")
{
        struct rig rig;
        struct orchestrator *orchestrator;
        scoped_text char *id = NULL;
        scoped(build) struct build *build = NULL;
        scoped(notification) struct notification *told = NULL;

        rig_open(&rig);
        orchestrator = start(&rig, 30000, 30000);
        id = push(&rig, file, "d1");
        for (int i = 0; i < 2; i++) {
                scoped(dispatch) struct dispatch *dispatch = rig_take(&rig);

                rig_run(&rig, dispatch, i ? STATE_SUCCESS : STATE_FAILED);
        }
        build = rig_wait(&rig, id, STATE_FAILED);
        assert_int_equal(build_job(build, "deploy")->state, STATE_SKIPPED);
        told = take_notification(&rig);
        assert_string_equal(told->failing_job, "lint");
        assert_string_equal(told->failing_step, "echo lint");
        assert_string_equal(told->failing_reason, "exited with 1");
        orchestrator_close(orchestrator);
        rig_close(&rig);
}

TEST("the same delivery twice, and twice at once, is one build")
{
        struct rig rig;
        struct orchestrator *orchestrator;
        struct build_filter filter = {.limit = 10};
        struct build_page page = {0};
        struct error err = {0};
        char commit[65];

        rig_open(&rig);
        rig_commit(&rig, ".runnerci.yml", one_job, commit);
        for (int i = 0; i < 4; i++)
                rig_push(&rig, "acme/api", rig.url, commit, "d1");
        orchestrator = start(&rig, 30000, 30000);
        rig_wait_depth(&rig, QUEUE_WEBHOOK, 0);
        assert_ok(store_builds(rig.store, &page, &filter, &err), err);
        assert_int_equal(page.n, 1);
        build_page_done(&page);
        rig_wait_depth(&rig, QUEUE_SANDBOX, 1);
        orchestrator_close(orchestrator);
        assert_int_equal(rig_depth(&rig, QUEUE_SANDBOX), 1);
        rig_close(&rig);
}

TEST("no file is an outcome, not a build")
{
        struct rig rig;
        struct orchestrator *orchestrator;
        struct build *build = NULL;
        char commit[65];

        rig_open(&rig);
        journal(&rig, "d1");
        orchestrator = start(&rig, 30000, 30000);
        rig_commit(&rig, "main.c", "int main;\n", commit);
        rig_push(&rig, "acme/api", rig.url, commit, "d1");
        wait_outcome(&rig, "d1", "no configuration");
        assert_int_equal(store_build_of_delivery(rig.store, &build, "d1", NULL), -ERROR_NOT_FOUND);
        orchestrator_close(orchestrator);
        rig_close(&rig);
}

static char *big_file(void)
{
        struct str text = STR_INIT;

        str_add(&text, one_job);
        while (text.len < 300 * 1024)
                str_add(&text, "# a comment that makes the file longer than may be\n");
        return str_steal(&text);
}

TEST("what is wrong with a source ends its build with a reason, and the next one runs")
{
        static const char *const broken = "version: 1\njobs:\n  a:\n    imgae: x\n    steps: 7\n";
        scoped_text char *big = big_file();
        const struct {
                const char *name, *content;
                enum reason reason;
                const char *words;
        } table[] = {
                {".runnerci.yml", broken, REASON_CONFIG_INVALID, ".runnerci.yml has "},
                {".runnerci.yml", "version: https://git-lfs.github.com/spec/v1\n",
                 REASON_CONFIG_INVALID, ".runnerci.yml has "},
                {".runnerci.yml", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
                 REASON_CONFIG_INVALID, "Git LFS pointer"},
                {".runnerci.yml", big, REASON_CONFIG_INVALID, "(262144 bytes)"},
                {".runnerci.yaml", one_job, REASON_CONFIG_INVALID, "keep one of them"},
        };
        struct rig rig;
        struct orchestrator *orchestrator;
        scoped_text char *id = NULL;

        rig_open(&rig);
        orchestrator = start(&rig, 30000, 30000);
        for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
                scoped_text char *delivery = text_format("d%zu", i);
                scoped(build) struct build *build = NULL;
                scoped(notification) struct notification *told = NULL;
                char commit[65];

                rig_commit(&rig, ".runnerci.yml", one_job, commit);
                rig_commit(&rig, table[i].name, table[i].content, commit);
                rig_push(&rig, "acme/api", rig.url, commit, delivery);
                build = rig_build_of(&rig, delivery);
                assert_int_equal(build->state, STATE_ERROR);
                assert_int_equal(build->reason, table[i].reason);
                if (!strstr(build->reason_text, table[i].words))
                        fail_msg("%s", build->reason_text);
                assert_true(build->finished_at > 0);
                told = take_notification(&rig);
                assert_int_equal(told->state, STATE_ERROR);
                if (i == 0)
                        assert_non_null(strstr(told->findings, "did you mean"));
        }
        rig_git(&rig, (const char *const[]){"rm", "-q", ".runnerci.yaml", NULL});
        id = push(&rig, one_job, "good");
        dispatch_free(rig_take(&rig));
        orchestrator_close(orchestrator);
        rig_close(&rig);
}

TEST("links, submodules, and sources that are gone end their builds too")
{
        static const char nowhere[] = "0123456789012345678901234567890123456789";
        struct rig rig;
        struct orchestrator *orchestrator;
        scoped_text char *gone = NULL;
        scoped_text char *path = NULL;
        scoped(build) struct build *link = NULL;
        scoped(build) struct build *lost = NULL;
        scoped(build) struct build *commit_lost = NULL;
        scoped(build) struct build *shape = NULL;
        char commit[65];

        rig_open(&rig);
        orchestrator = start(&rig, 30000, 30000);
        path = fs_path(rig.repository, ".runnerci.yml");
        assert_int_equal(symlink("/etc/passwd", path), 0);
        rig_commit(&rig, "x", "x", commit);
        rig_push(&rig, "acme/api", rig.url, commit, "link");
        link = rig_build_of(&rig, "link");
        assert_int_equal(link->reason, REASON_CONFIG_INVALID);
        assert_null(strstr(link->reason_text, "root"));
        gone = text_format("%s-gone", rig.url);
        rig_push(&rig, "acme/gone", gone, commit, "lost");
        lost = rig_build_of(&rig, "lost");
        assert_int_equal(lost->reason, REASON_SOURCE_UNAVAILABLE);
        rig_push(&rig, "acme/api", rig.url, nowhere, "commit-lost");
        commit_lost = rig_build_of(&rig, "commit-lost");
        assert_int_equal(commit_lost->reason, REASON_SOURCE_UNAVAILABLE);
        rig_push(&rig, "acme/api", "ext::sh -c true", commit, "shape");
        shape = rig_build_of(&rig, "shape");
        assert_int_equal(shape->state, STATE_ERROR);
        assert_true(strlen(shape->reason_text) > 10);
        orchestrator_close(orchestrator);
        rig_close(&rig);
}

TEST("a message that is no event, or that was handed out too often, is put aside")
{
        static const char *const queues[] = {QUEUE_WEBHOOK};
        struct rig rig;
        struct orchestrator *orchestrator;
        struct error err = {0};
        struct bus_consumer *consumer;
        struct bus_message message;
        char commit[65];

        rig_open(&rig);
        journal(&rig, "poison");
        rig_commit(&rig, ".runnerci.yml", one_job, commit);
        rig_push(&rig, "acme/api", rig.url, commit, "poison");
        for (int i = 0; i < 3; i++) {
                assert_ok(bus_consume(rig.bus, &consumer, queues, 1, 1, &err), err);
                assert_int_equal(bus_receive(consumer, &message, 1, RIG_WAIT_MS, &err), 1);
                bus_consumer_close(consumer); /* as if it had died with the message in hand */
        }
        assert_ok(bus_publish(rig.bus, QUEUE_WEBHOOK, "{\"v\":1}", 7, &err), err);
        orchestrator = start(&rig, 30000, 30000);
        rig_wait_depth(&rig, QUEUE_WEBHOOK, 0);
        rig_wait_depth(&rig, QUEUE_WEBHOOK ".dead", 2);
        wait_outcome(&rig, "poison", "error");
        orchestrator_close(orchestrator);
        rig_close(&rig);
}

TEST("cancel ends what waits at once, and what runs when its executor says so")
{
        struct rig rig;
        struct orchestrator *orchestrator;
        scoped_text char *id = NULL;
        scoped_text char *topic_name = NULL;
        scoped_text char *body = NULL;
        scoped(dispatch) struct dispatch *running = NULL;
        scoped(dispatch) struct dispatch *waiting = NULL;
        scoped(build) struct build *build = NULL;
        struct bus_topic *topic;
        struct error err = {0};
        int64_t lost = 0;

        rig_open(&rig);
        orchestrator = start(&rig, 30000, 30000);
        id = push(&rig, file, "d1");
        running = rig_take(&rig);
        assert_int_equal(rig_claim(&rig, running, "rig"), 0);
        rig_result(&rig, running, (struct job_result){.kind = RESULT_ACCEPTED});
        build_free(rig_wait_job(&rig, id, "lint", STATE_RUNNING));
        assert_ok(bus_topic_subscribe(rig.bus, &topic, "cancel.", &err), err);
        rig_ask(&rig, CONTROL_CANCEL, id, "");
        build = rig_wait_job(&rig, id, "test", STATE_CANCELLED);
        assert_int_equal(build_job(build, "deploy")->state, STATE_CANCELLED);
        assert_int_equal(build->state, STATE_RUNNING);
        waiting = rig_take(&rig);
        assert_int_equal(rig_claim(&rig, waiting, "late"), -ERROR_CONFLICT);
        assert_int_equal(bus_topic_next(topic, &topic_name, &body, &lost, RIG_WAIT_MS, &err), 1);
        assert_non_null(strstr(topic_name, running->job_id));
        bus_topic_close(topic);
        rig_finish(&rig, running, STATE_CANCELLED, REASON_CANCELLED, "cancelled");
        build_freep(&build);
        build = rig_wait(&rig, id, STATE_CANCELLED);
        assert_string_equal(build->reason_text, "cancelled by dev1");
        rig_wait_depth(&rig, QUEUE_NOTIFICATION, 1);
        rig_ask(&rig, CONTROL_CANCEL, id, "");
        rig_wait_depth(&rig, QUEUE_CONTROL, 0);
        orchestrator_close(orchestrator);
        rig_close(&rig);
}

TEST("a re-run of what failed is a new round of the same build, told anew")
{
        struct rig rig;
        struct orchestrator *orchestrator;
        scoped_text char *id = NULL;
        scoped(dispatch) struct dispatch *again = NULL;
        scoped(build) struct build *build = NULL;
        scoped(notification) struct notification *red = NULL;
        scoped(notification) struct notification *green = NULL;

        rig_open(&rig);
        orchestrator = start(&rig, 30000, 30000);
        id = push(&rig, file, "d1");
        rig_ask(&rig, CONTROL_RERUN, id, "all"); /* refused: it is not over */
        for (int i = 0; i < 2; i++) {
                scoped(dispatch) struct dispatch *dispatch = rig_take(&rig);

                rig_run(&rig, dispatch, i ? STATE_FAILED : STATE_SUCCESS);
        }
        build_free(rig_wait(&rig, id, STATE_FAILED));
        red = take_notification(&rig);
        rig_ask(&rig, CONTROL_RERUN, id, "failed");
        again = rig_take(&rig);
        assert_int_equal(again->attempt, 2);
        rig_run(&rig, again, STATE_SUCCESS);
        {
                scoped(dispatch) struct dispatch *deploy = rig_take(&rig);

                rig_run(&rig, deploy, STATE_SUCCESS);
        }
        build = rig_wait(&rig, id, STATE_SUCCESS);
        assert_int_equal(build->round, 2);
        assert_int_equal(build_job(build, "lint")->n_attempts, 1);
        green = take_notification(&rig);
        assert_int_equal(green->round, 2);
        assert_string_equal(green->previous, "failed");
        orchestrator_close(orchestrator);
        rig_close(&rig);
}

TEST("what people start by hand becomes a build, also when there is nothing to run")
{
        struct rig rig;
        struct orchestrator *orchestrator;
        scoped(build) struct build *build = NULL;
        struct build_filter filter = {.limit = 10, .event = "manual"};
        struct build_page page = {0};
        struct error err = {0};
        char commit[65];

        rig_open(&rig);
        orchestrator = start(&rig, 30000, 30000);
        rig_commit(&rig, ".runnerci.yml", one_job, commit);
        rig_git(&rig, (const char *const[]){"branch", "empty", NULL});
        rig_ask(&rig, CONTROL_RUN, rig.url, "main");
        dispatch_free(rig_take(&rig));
        rig_ask(&rig, CONTROL_RUN, "../../etc/passwd", "main"); /* refused */
        rig_ask(&rig, CONTROL_RUN, rig.url, "no-such-branch");
        rig_ask(&rig, CONTROL_RUN, rig.url, "");
        dispatch_free(rig_take(&rig));
        for (int64_t end = clock_ms() + RIG_WAIT_MS; clock_ms() < end && page.n < 3;) {
                build_page_done(&page);
                page = (struct build_page){0};
                assert_ok(store_builds(rig.store, &page, &filter, &err), err);
        }
        assert_int_equal(page.n, 3);
        build = rig_wait(&rig, page.builds[1]->id, STATE_ERROR);
        assert_int_equal(build->reason, REASON_SOURCE_UNAVAILABLE);
        assert_string_equal(page.builds[2]->branch, "main");
        assert_string_equal(page.builds[2]->commit, commit);
        assert_string_equal(page.builds[2]->pusher, "dev1");
        assert_true(text_ends(page.builds[2]->repo, "/repository"));
        build_page_done(&page);
        orchestrator_close(orchestrator);
        rig_close(&rig);
}

TEST("a build whose source was away can be run again from its start")
{
        struct rig rig;
        struct orchestrator *orchestrator;
        scoped(build) struct build *build = NULL;
        scoped_text char *elsewhere = NULL;
        scoped_text char *url = NULL;
        char commit[65];

        rig_open(&rig);
        orchestrator = start(&rig, 30000, 30000);
        rig_commit(&rig, ".runnerci.yml", one_job, commit);
        elsewhere = text_format("%s-later", rig.repository);
        url = text_format("file://%s", elsewhere);
        rig_push(&rig, "acme/api", url, commit, "d1");
        build = rig_build_of(&rig, "d1");
        assert_int_equal(build->reason, REASON_SOURCE_UNAVAILABLE);
        assert_int_equal(rename(rig.repository, elsewhere), 0);
        rig_wait_depth(&rig, QUEUE_NOTIFICATION, 1);
        rig_ask(&rig, CONTROL_RERUN, build->id, "failed");
        {
                scoped(dispatch) struct dispatch *dispatch = rig_take(&rig);

                rig_run(&rig, dispatch, STATE_SUCCESS);
        }
        build_free(rig_wait(&rig, build->id, STATE_SUCCESS));
        orchestrator_close(orchestrator);
        rig_close(&rig);
}

TEST("a dispatch that was lost is issued again with the same token, and again after a restart")
{
        struct rig rig;
        struct orchestrator *orchestrator;
        scoped_text char *id = NULL;
        scoped(dispatch) struct dispatch *first = NULL;
        scoped(dispatch) struct dispatch *second = NULL;
        scoped(dispatch) struct dispatch *third = NULL;

        rig_open(&rig);
        orchestrator = start(&rig, 30000, 300);
        id = push(&rig, one_job, "d1");
        first = rig_take(&rig); /* acknowledged and forgotten */
        second = rig_take(&rig);
        assert_string_equal(first->token, second->token);
        assert_int_equal(second->attempt, 1);
        orchestrator_close(orchestrator);
        orchestrator = start(&rig, 30000, 300);
        third = rig_take(&rig);
        assert_string_equal(first->token, third->token);
        rig_run(&rig, third, STATE_SUCCESS);
        build_free(rig_wait(&rig, id, STATE_SUCCESS));
        orchestrator_close(orchestrator);
        rig_close(&rig);
}

TEST("a dispatch that waits for its turn on the queue is not issued again")
{
        struct rig rig;
        struct orchestrator *orchestrator;
        scoped_text char *id = NULL;

        rig_open(&rig);
        orchestrator = start(&rig, 30000, 50);
        id = push(&rig, one_job, "d1");
        rig_wait_depth(&rig, QUEUE_SANDBOX, 1);
        usleep(400000);
        assert_int_equal(rig_depth(&rig, QUEUE_SANDBOX), 1);
        orchestrator_close(orchestrator);
        rig_close(&rig);
}

TEST("an executor that falls silent before a step is replaced, after one it is an error")
{
        struct rig rig;
        struct orchestrator *orchestrator;
        scoped_text char *id = NULL;
        scoped(dispatch) struct dispatch *first = NULL;
        scoped(dispatch) struct dispatch *second = NULL;
        scoped(build) struct build *build = NULL;

        rig_open(&rig);
        orchestrator = start(&rig, 400, 30000);
        id = push(&rig, one_job, "d1");
        first = rig_take(&rig);
        assert_int_equal(rig_claim(&rig, first, "dead"), 0);
        rig_result(&rig, first, (struct job_result){.kind = RESULT_ACCEPTED, .executor = "dead"});
        second = rig_take(&rig);
        assert_int_equal(second->attempt, 2);
        assert_string_not_equal(first->token, second->token);
        rig_finish(&rig, first, STATE_SUCCESS, REASON_NONE, ""); /* wakes up too late */
        assert_int_equal(rig_claim(&rig, second, "live"), 0);
        rig_result(&rig, second, (struct job_result){.kind = RESULT_STEP_STARTED});
        for (int i = 0; i < 12; i++) {
                struct error err = {0};

                usleep(100000);
                assert_ok(store_lease_beat(rig.store, "live", &err), err);
        }
        build = rig_wait(&rig, id, STATE_RUNNING);
        assert_int_equal(build->jobs[0].attempts[0].state, STATE_ERROR);
        build_freep(&build);
        build = rig_wait(&rig, id, STATE_ERROR);
        assert_int_equal(build->reason, REASON_EXECUTOR_LOST);
        assert_int_equal(build->jobs[0].n_attempts, 2);
        orchestrator_close(orchestrator);
        rig_close(&rig);
}

TEST("a lease has its full time again after a restart of ours")
{
        struct rig rig;
        struct orchestrator *orchestrator;
        scoped_text char *id = NULL;
        scoped(dispatch) struct dispatch *dispatch = NULL;

        rig_open(&rig);
        orchestrator = start(&rig, 600, 30000);
        id = push(&rig, one_job, "d1");
        dispatch = rig_take(&rig);
        assert_int_equal(rig_claim(&rig, dispatch, "slow"), 0);
        rig_result(&rig, dispatch, (struct job_result){.kind = RESULT_STEP_STARTED});
        for (int i = 0; i < 4; i++) {
                build_free(rig_wait(&rig, id, STATE_RUNNING));
                orchestrator_close(orchestrator);
                usleep(200000);
                orchestrator = start(&rig, 600, 30000);
                usleep(200000);
        }
        rig_finish(&rig, dispatch, STATE_SUCCESS, REASON_NONE, "");
        build_free(rig_wait(&rig, id, STATE_SUCCESS));
        orchestrator_close(orchestrator);
        rig_close(&rig);
}

TEST("results of strangers are refused, doubled ones count once, broken ones are put aside")
{
        struct rig rig;
        struct orchestrator *orchestrator;
        scoped_text char *id = NULL;
        scoped(dispatch) struct dispatch *dispatch = NULL;
        scoped(build) struct build *build = NULL;
        struct error err = {0};

        rig_open(&rig);
        orchestrator = start(&rig, 30000, 30000);
        id = push(&rig, one_job, "d1");
        dispatch = rig_take(&rig);
        assert_int_equal(rig_claim(&rig, dispatch, "rig"), 0);
        rig_result(&rig, dispatch,
                   (struct job_result){.kind = RESULT_FINISHED,
                                       .state = STATE_FAILED,
                                       .token = "somebody else's"});
        assert_ok(bus_publish(rig.bus, QUEUE_RESULT, "[]", 2, &err), err);
        for (int i = 0; i < 3; i++)
                rig_result(&rig, dispatch, (struct job_result){.kind = RESULT_STEP_STARTED});
        rig_wait_depth(&rig, QUEUE_RESULT, 0);
        rig_wait_depth(&rig, QUEUE_RESULT ".dead", 1);
        build = rig_wait(&rig, id, STATE_RUNNING);
        assert_int_equal(build->jobs[0].attempts[0].n_steps, 1);
        rig_finish(&rig, dispatch, STATE_SUCCESS, REASON_NONE, "");
        rig_finish(&rig, dispatch, STATE_SUCCESS, REASON_NONE, "");
        build_freep(&build);
        build = rig_wait(&rig, id, STATE_SUCCESS);
        rig_wait_depth(&rig, QUEUE_NOTIFICATION, 1);
        orchestrator_close(orchestrator);
        rig_close(&rig);
}

TEST("work that is handed back is dispatched again as a new attempt")
{
        struct rig rig;
        struct orchestrator *orchestrator;
        scoped_text char *id = NULL;
        scoped(dispatch) struct dispatch *first = NULL;
        scoped(dispatch) struct dispatch *second = NULL;
        scoped(build) struct build *build = NULL;

        rig_open(&rig);
        orchestrator = start(&rig, 30000, 30000);
        id = push(&rig, one_job, "d1");
        first = rig_take(&rig);
        assert_int_equal(rig_claim(&rig, first, "rig"), 0);
        rig_result(&rig, first, (struct job_result){.kind = RESULT_RETURNED});
        second = rig_take(&rig);
        assert_int_equal(second->attempt, 2);
        rig_run(&rig, second, STATE_SUCCESS);
        build = rig_wait(&rig, id, STATE_SUCCESS);
        assert_int_equal(build->jobs[0].attempts[0].reason, REASON_SUPERSEDED);
        orchestrator_close(orchestrator);
        rig_close(&rig);
}

TEST("no more is dispatched than there are slots and two, and repositories take turns")
{
        struct rig rig;
        struct orchestrator *orchestrator;
        struct executor_row row = {.id = "e",
                                   .name = "e",
                                   .labels = "",
                                   .engine = "test",
                                   .slots = 2,
                                   .seen_at = wall_ms()};
        struct error err = {0};
        scoped_str struct str order = STR_INIT;
        char commit[65];

        rig_open(&rig);
        assert_ok(store_executor_put(rig.store, &row, &err), err);
        rig_commit(&rig, ".runnerci.yml", one_job, commit);
        for (int i = 0; i < 8; i++) {
                scoped_text char *delivery = text_format("d%d", i);

                rig_push(&rig, i < 6 ? "acme/busy" : "acme/quiet", rig.url, commit, delivery);
                build_free(NULL);
        }
        orchestrator = start(&rig, 30000, 30000);
        rig_wait_depth(&rig, QUEUE_WEBHOOK, 0);
        rig_wait_depth(&rig, QUEUE_SANDBOX, 4);
        usleep(200000);
        assert_int_equal(rig_depth(&rig, QUEUE_SANDBOX), 4);
        for (int i = 0; i < 8; i++) {
                scoped(dispatch) struct dispatch *dispatch = rig_take(&rig);
                scoped(build) struct build *build = NULL;

                assert_ok(store_build_get(rig.store, &build, dispatch->build_id, &err), err);
                str_add(&order, strcmp(build->repo, "acme/busy") == 0 ? "b" : "q");
                rig_run(&rig, dispatch, STATE_SUCCESS);
                build_free(rig_wait(&rig, build->id, STATE_SUCCESS));
        }
        /* the first four went before the others were there; then they take turns */
        assert_non_null(strstr(order.data, "q"));
        assert_true(strcspn(order.data, "q") <= 5);
        orchestrator_close(orchestrator);
        rig_close(&rig);
}

TEST_MAIN()
