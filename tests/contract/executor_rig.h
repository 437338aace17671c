#pragma once
/*
 * executor_rig - a server of ports and services around one executor, in a folder of the test
 */
#include "pipeline/executor/executor.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "adapters/bus/sqlite.h"
#include "adapters/engine/docker.h"
#include "adapters/engine/local.h"
#include "adapters/forge/git.h"
#include "adapters/sqlite/files.h"
#include "adapters/store/sqlite.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/process.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/build.h"
#include "domain/order.h"
#include "pipeline/logger/logger.h"
#include "pipeline/topology.h"
#include "ports/bus.h"
#include "ports/engine.h"
#include "ports/forge.h"
#include "ports/store.h"
#include "wire/build_json.h"
#include "wire/dispatch.h"
#include "wire/job_result.h"

#include "tests/support/test.h"

#include "base/banned.h"

#ifndef CONTRACT_ENGINE /* given by the build, once for each engine */
#define CONTRACT_ENGINE "docker"
#endif

#define MIB (INT64_C(1) << 20)
#define SLOTS 2
#define WAIT_MS 60000

/* One server's worth of ports and services on the test's data folder. */
struct world {
        struct sqlite_files *files;
        struct bus *bus;
        struct store *store;
        struct engine *engine;
        struct forge *forge;
        struct logger *logger;
        struct executor *executor;
        struct bus_consumer *results;
        char *mirrors;
};

static char folder[64];
static char *repository;
static char commit[65];

/* What the results of one attempt said. */
struct heard {
        int seq;
        int n_accepted, n_started, n_finished, n_returned;
        int steps_started, steps_finished;
        enum state state;
        enum reason reason;
        char text[256];
        int exit_code;
        int64_t log_lines;
        int64_t log_bytes;
};

static void check(int result, const struct error *err)
{
        if (result < 0) {
                fprintf(stderr, "%s\n", err->text);
                abort();
        }
}

static void world_open(struct world *world, bool services, int64_t grace_ms)
{
        static const char *const queue[] = {QUEUE_RESULT};
        struct error err = {0};

        *world = (struct world){0};
        check(sqlite_files_open(&world->files, folder, &err), &err);
        check(bus_sqlite_open(&world->bus, "sqlite", world->files, &err), &err);
        check(store_sqlite_open(&world->store, "sqlite", world->files, &err), &err);
        check(bus_consume(world->bus, &world->results, queue, 1, 64, &err), &err);
        if (!services)
                return;
        {
                static const struct engine_adapter adapters[] = {{"docker", docker_engine_open},
                                                                 {"local", local_engine_open}};
                struct engine_options engine = {
                        .data = folder,
                        .step_binary = getenv("ARGON_STEP"),
                        .docker_host = getenv("DOCKER_HOST"),
                        .slots = SLOTS,
                        .default_image = "argon-test:base",
                };
                struct forge_options forge = {.mirrors = world->mirrors =
                                                      fs_path(folder, "mirrors"),
                                              .allow = "file",
                                              .timeout_ms = 30000,
                                              .size_max = 100 * MIB};
                struct executor_options executor = {.data = folder,
                                                    .name = "test",
                                                    .labels = "linux,big",
                                                    .slots = SLOTS,
                                                    .orphan_max_ms = 60000,
                                                    .beat_ms = 1000,
                                                    .grace_ms = grace_ms};
                struct logger_options logger = {.bus = world->bus,
                                                .store = world->store,
                                                .retention = {1L << 40, 1L << 40, 100, 1L << 40}};
                scoped_text char *why = NULL;

                check(engine_open(&world->engine, &why, adapters, 2, CONTRACT_ENGINE, &engine,
                                  &err),
                      &err);
                check(git_forge_open(&world->forge, &forge, &err), &err);
                check(logger_open(&world->logger, &logger, &err), &err);
                executor.bus = world->bus;
                executor.store = world->store;
                executor.engine = world->engine;
                executor.forge = world->forge;
                check(executor_open(&world->executor, &executor, &err), &err);
        }
}

static void world_close(struct world *world)
{
        executor_close(world->executor);
        if (world->logger)
                logger_close(world->logger);
        forge_close(world->forge);
        engine_close(world->engine);
        bus_consumer_close(world->results);
        store_close(world->store);
        bus_close(world->bus);
        sqlite_files_close(world->files);
        free(world->mirrors);
}

static void git(const char *const *argv)
{
        scoped_process_result struct process_result result = PROCESS_RESULT_INIT;
        static const char *const env[] = {
                "PATH=/usr/bin:/bin",          "HOME=/nonexistent",
                "GIT_AUTHOR_NAME=a",           "GIT_AUTHOR_EMAIL=a@example.org",
                "GIT_COMMITTER_NAME=a",        "GIT_COMMITTER_EMAIL=a@example.org",
                "GIT_CONFIG_GLOBAL=/dev/null", NULL};
        struct process_spec spec = {.argv = argv,
                                    .env = env,
                                    .folder = repository,
                                    .timeout_ms = 30000,
                                    .output_max = 1000,
                                    .error_max = 1000,
                                    .cancel_fd = -1};
        struct error err = {0};

        assert_ok(process_run(&result, &spec, &err), err);
        if (result.exit_code != 0)
                fail_msg("%s %s: %s", argv[0], argv[1], result.errors.data);
        if (strcmp(argv[1], "rev-parse") == 0)
                snprintf(commit, sizeof(commit), "%.40s", result.output.data);
}

/* One attempt of a test. */
struct attempt_case {
        char build_id[ID_SIZE];
        char job_id[ID_SIZE];
        char token[65];
        const char *scripts[4];
        const char *labels;
        bool wrong_commit;
};

static void put_build(struct world *world, const struct attempt_case *job)
{
        struct build *build = build_new();
        struct attempt *attempt;
        struct error err = {0};

        build->id = build_text(build, "%s", job->build_id);
        build->forge = "github";
        build->repo = "o/r";
        build->clone_url = "x";
        build->delivery_id = build_text(build, "%s", job->build_id);
        build->state = STATE_RUNNING;
        build_set_jobs(build, 1);
        build->jobs[0].id = build_text(build, "%s", job->job_id);
        build->jobs[0].name = "job";
        attempt = build_add_attempt(build, &build->jobs[0]);
        attempt->token = build_text(build, "%s", job->token);
        assert_ok(store_build_insert(world->store, build, &err), err);
        build_free(build);
}

static void put_order(struct world *world, const struct attempt_case *job)
{
        struct order *order = order_new();
        struct order_step steps[4] = {0};
        scoped_text char *url = text_format("file://%s", repository);
        scoped_str struct str text = STR_INIT;
        struct error err = {0};
        json_t *json;

        order->build_id = job->build_id;
        order->job_id = job->job_id;
        order->attempt = 1;
        order->token = job->token;
        order->repo = "o/r";
        order->clone_url = url;
        order->ref = "refs/heads/main";
        order->commit = job->wrong_commit ? "0123456789012345678901234567890123456789" : commit;
        order->job_name = "job";
        order->image = strcmp(CONTRACT_ENGINE, "docker") == 0 ? "argon-test:base" : "";
        order->timeout_ms = 60000;
        order->memory = 256 * MIB;
        order->disk = 512 * MIB;
        order->millicpus = 2000;
        order->pids = 128;
        order->notes = "";
        for (; order->n_steps < 4 && job->scripts[order->n_steps]; order->n_steps++)
                steps[order->n_steps] = (struct order_step){.id = "",
                                                            .name = "a step",
                                                            .run = job->scripts[order->n_steps],
                                                            .shell = "sh",
                                                            .folder = ""};
        order->steps = steps;
        json = order_to_json(order);
        str_add_json(&text, json);
        json_decref(json);
        assert_ok(store_order_put(world->store, job->job_id, 1, text.data, text.len, &err), err);
        order->steps = NULL;
        order_free(order);
}

static void dispatch(struct world *world, const struct attempt_case *job)
{
        struct dispatch *message = dispatch_new();
        scoped_str struct str text = STR_INIT;
        struct error err = {0};
        char id[ID_SIZE];

        id_new(id);
        message->id = id;
        message->build_id = job->build_id;
        message->job_id = job->job_id;
        message->attempt = 1;
        message->token = job->token;
        message->labels = job->labels ? job->labels : "";
        dispatch_encode(message, &text);
        assert_ok(bus_publish(world->bus, QUEUE_SANDBOX, text.data, text.len, &err), err);
        dispatch_free(message);
}

static void case_put(struct world *world, struct attempt_case *job)
{
        id_new(job->build_id);
        id_new(job->job_id);
        id_token(job->token);
        put_build(world, job);
        put_order(world, job);
        dispatch(world, job);
}

static void hear(struct heard *heard, const struct job_result *result)
{
        if (result->seq <= heard->seq)
                return; /* a duplicate after a crash */
        assert_int_equal(result->seq, heard->seq + 1);
        heard->seq = (int)result->seq;
        heard->n_accepted += result->kind == RESULT_ACCEPTED;
        heard->n_started += result->kind == RESULT_STARTED;
        heard->steps_started += result->kind == RESULT_STEP_STARTED;
        heard->steps_finished += result->kind == RESULT_STEP_FINISHED;
        heard->n_returned += result->kind == RESULT_RETURNED;
        if (result->kind != RESULT_FINISHED)
                return;
        heard->n_finished++;
        heard->state = result->state;
        heard->reason = result->reason;
        heard->exit_code = result->exit_code;
        heard->log_lines = result->log_lines;
        heard->log_bytes = result->log_bytes;
        snprintf(heard->text, sizeof(heard->text), "%s", result->reason_text);
}

/* Take results until `until` of the attempt is there. */
static void listen_until(struct world *world, const struct attempt_case *job, struct heard *heard,
                         const int *until, int value)
{
        int64_t end = clock_ms() + WAIT_MS;

        while (*until < value) {
                struct bus_message message;
                struct job_result *result = NULL;
                struct error err = {0};
                int n = bus_receive(world->results, &message, 1, 1000, &err);

                assert_ok(n, err);
                if (clock_ms() > end)
                        fail_msg("nothing more came after result %d", heard->seq);
                if (n == 0)
                        continue;
                assert_ok(job_result_decode(&result, message.body, message.len, &err), err);
                if (strcmp(result->job_id, job->job_id) == 0) {
                        assert_string_equal(result->token, job->token);
                        hear(heard, result);
                }
                job_result_free(result);
                assert_ok(bus_ack(world->results, message.tag, &err), err);
        }
}

static void wait_for_log(struct world *world, const struct attempt_case *job)
{
        for (int i = 0; i < 500; i++) {
                struct timespec pause = {0, 20 * 1000000};
                struct log_stats stats = {0};

                if (store_log_stats(world->store, &stats, job->job_id, 1, NULL) == 0 && stats.ended)
                        return;
                nanosleep(&pause, NULL);
        }
        fail_msg("the log was not ended");
}

/* What the steps wrote on one stream (0: on both), without the lines of ours. */
static void read_log(struct world *world, const struct attempt_case *job, int stream,
                     struct str *ret)
{
        int64_t from = 1;

        wait_for_log(world, job);
        for (;;) {
                struct log_window window = {0};
                struct error err = {0};

                assert_ok(store_log_lines(world->store, &window, job->job_id, 1, from, 1000, &err),
                          err);
                for (size_t i = 0; i < window.n; i++) {
                        assert_int_equal(window.lines[i].number, from + (int64_t)i);
                        if (window.lines[i].stream == 0 ||
                            (stream && window.lines[i].stream != stream))
                                continue;
                        str_add_bytes(ret, window.lines[i].text, window.lines[i].n);
                        str_add_char(ret, '\n');
                }
                from += (int64_t)window.n;
                log_window_done(&window);
                if (from == 1 || window.n == 0)
                        return;
        }
}

static size_t entries_in(const char *name)
{
        scoped_text char *path = fs_path(folder, name);
        DIR *dir = opendir(path);
        struct dirent *entry;
        size_t n = 0;

        if (!dir)
                return 0;
        while ((entry = readdir(dir)))
                n += entry->d_name[0] != '.';
        closedir(dir);
        return n;
}

/* The last results are heard before the slot has cleaned up. */
static void wait_idle(struct world *world)
{
        for (int i = 0; i < 500 && executor_running(world->executor) > 0; i++) {
                struct timespec pause = {0, 20 * 1000000};

                nanosleep(&pause, NULL);
        }
        assert_int_equal(executor_running(world->executor), 0);
}

static void assert_nothing_left(struct world *world)
{
        struct sandbox **found = NULL;
        struct lease *leases = NULL;
        struct error err = {0};
        size_t n = 0;

        wait_idle(world);
        assert_int_equal(entries_in("work"), 0);
        assert_int_equal(entries_in("jobs"), 0);
        assert_int_equal(entries_in("spool/jobs"), 0);
        assert_ok(engine_find(world->engine, &found, &n, &err), err);
        for (size_t i = 0; i < n; i++)
                engine_sandbox_free(world->engine, found[i]);
        free(found);
        assert_int_equal(n, 0);
        assert_ok(store_leases(world->store, &leases, &n, NULL, &err), err);
        free(leases);
        assert_int_equal(n, 0);
}
