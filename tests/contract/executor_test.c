/*
 * The executor service over its real neighbours: SQLite bus and store, the logger, git, and an
 * engine (CONTRACT_ENGINE). Its process is a child that dies where the test wants; the next one
 * goes on. The log of a job must come out byte-identical, from one sandbox.
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
#include "tests/support/test.h"
#include "wire/build_json.h"
#include "wire/dispatch.h"
#include "wire/job_result.h"

#include "base/banned.h"

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

TEST("a repository is there")
{
        scoped_text char *path = NULL;
        struct error err = {0};

        memcpy(folder, "/tmp/argon-executor-XXXXXX", 27);
        assert_non_null(mkdtemp(folder));
        repository = fs_path(folder, "repository");
        assert_int_equal(mkdir(repository, 0755), 0);
        path = fs_path(repository, "hello.txt");
        assert_ok(fs_write_atomic(path, "hello from git\n", 15, 0644, &err), err);
        git((const char *const[]){"git", "init", "-q", "-b", "main", NULL});
        git((const char *const[]){"git", "add", ".", NULL});
        git((const char *const[]){"git", "commit", "-q", "-m", "first", NULL});
        git((const char *const[]){"git", "rev-parse", "HEAD", NULL});
        assert_int_equal(strlen(commit), 40);
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

TEST("a dispatched job runs to its end; its log is stored and its lease released")
{
        struct attempt_case job = {.scripts = {"cat hello.txt", "echo second; exit 5"}};
        scoped_str struct str log = STR_INIT;
        struct heard heard = {0};
        struct world world;

        world_open(&world, true, 0);
        case_put(&world, &job);
        listen_until(&world, &job, &heard, &heard.n_finished, 1);
        assert_int_equal(heard.n_accepted, 1);
        assert_int_equal(heard.n_started, 1);
        assert_int_equal(heard.steps_started, 2);
        assert_int_equal(heard.steps_finished, 2);
        assert_int_equal(heard.state, STATE_FAILED);
        assert_int_equal(heard.exit_code, 5);
        read_log(&world, &job, 0, &log);
        assert_string_equal(log.data, "hello from git\nsecond\n");
        assert_nothing_left(&world);
        world_close(&world);
}

TEST("the same dispatch twice runs the job once")
{
        struct attempt_case job = {.scripts = {"sleep 0.5; echo once"}};
        scoped_str struct str log = STR_INIT;
        struct heard heard = {0};
        struct world world;
        struct error err = {0};
        int64_t ready = 1, unsettled = 1;

        world_open(&world, true, 0);
        case_put(&world, &job);
        dispatch(&world, &job);
        listen_until(&world, &job, &heard, &heard.n_finished, 1);
        dispatch(&world, &job);
        read_log(&world, &job, 0, &log);
        assert_string_equal(log.data, "once\n");
        for (int i = 0; i < 100 && (ready > 0 || unsettled > 0); i++) {
                struct timespec pause = {0, 20 * 1000000};

                nanosleep(&pause, NULL);
                assert_ok(bus_depth(world.bus, QUEUE_SANDBOX, &ready, &unsettled, &err), err);
        }
        assert_int_equal(ready + unsettled, 0);
        assert_nothing_left(&world);
        world_close(&world);
}

TEST("a commit that is gone ends the job in error with a reason")
{
        struct attempt_case job = {.scripts = {"echo never"}, .wrong_commit = true};
        struct heard heard = {0};
        struct world world;

        world_open(&world, true, 0);
        case_put(&world, &job);
        listen_until(&world, &job, &heard, &heard.n_finished, 1);
        assert_int_equal(heard.state, STATE_ERROR);
        assert_int_equal(heard.reason, REASON_SOURCE_UNAVAILABLE);
        assert_true(strlen(heard.text) > 10);
        assert_nothing_left(&world);
        world_close(&world);
}

TEST("a job for other labels is left to others, one for ours is taken")
{
        struct attempt_case other = {.scripts = {"echo other"}, .labels = "arm"};
        struct attempt_case ours = {.scripts = {"echo ours"}, .labels = "big,linux"};
        struct heard heard = {0};
        struct world world;
        struct lease *leases = NULL;
        struct error err = {0};
        size_t n;

        world_open(&world, true, 0);
        case_put(&world, &other);
        case_put(&world, &ours);
        listen_until(&world, &ours, &heard, &heard.n_finished, 1);
        assert_int_equal(heard.state, STATE_SUCCESS);
        wait_idle(&world);
        assert_ok(store_leases(world.store, &leases, &n, NULL, &err), err);
        assert_int_equal(n, 0);
        free(leases);
        world_close(&world);
        /* take it away for the tests that follow */
        world_open(&world, false, 0);
        {
                static const char *const queue[] = {QUEUE_SANDBOX};
                struct bus_consumer *consumer = NULL;
                struct bus_message message;

                assert_ok(bus_consume(world.bus, &consumer, queue, 1, 1, &err), err);
                for (int i = 0; i < 40; i++) {
                        if (bus_receive(consumer, &message, 1, 1000, &err) == 1) {
                                assert_ok(bus_ack(consumer, message.tag, &err), err);
                                break;
                        }
                }
                bus_consumer_close(consumer);
        }
        world_close(&world);
}

TEST("a live cancel ends a running job within 5 s, one asked for before it began too")
{
        struct attempt_case job = {.scripts = {"trap '' TERM INT; sleep 60; sleep 60"}};
        struct heard heard = {0};
        struct world world;
        scoped_text char *topic = NULL;
        int64_t began;

        world_open(&world, true, 0);
        case_put(&world, &job);
        listen_until(&world, &job, &heard, &heard.steps_started, 1);
        began = clock_ms();
        topic = text_format("cancel.%s", job.job_id);
        bus_topic_publish(world.bus, topic, "", 0);
        listen_until(&world, &job, &heard, &heard.n_finished, 1);
        assert_true(clock_ms() - began < 5000);
        assert_int_equal(heard.state, STATE_CANCELLED);
        assert_nothing_left(&world);
        world_close(&world);

        world_open(&world, false, 0);
        memset(&heard, 0, sizeof(heard));
        case_put(&world, &job);
        {
                struct build *build = NULL;
                struct error err = {0};

                assert_ok(store_build_get(world.store, &build, job.build_id, &err), err);
                build->cancel_requested = true;
                assert_ok(store_build_update(world.store, build, &err), err);
                build_free(build);
        }
        world_close(&world);
        world_open(&world, true, 0);
        began = clock_ms();
        listen_until(&world, &job, &heard, &heard.n_finished, 1);
        assert_true(clock_ms() - began < 5000);
        assert_int_equal(heard.state, STATE_CANCELLED);
        assert_int_equal(heard.steps_started, 0);
        assert_nothing_left(&world);
        world_close(&world);
}

TEST("closing gives back what has no sandbox yet and leaves what runs to the next process")
{
        struct attempt_case job = {
                .scripts = {"for i in $(seq 1 60); do echo $i; sleep 0.05; done"}};
        scoped_str struct str log = STR_INIT;
        scoped_str struct str want = STR_INIT;
        struct heard heard = {0};
        struct world world;

        world_open(&world, true, 0);
        case_put(&world, &job);
        listen_until(&world, &job, &heard, &heard.steps_started, 1);
        world_close(&world);
        assert_int_equal(entries_in("work"), 1);
        world_open(&world, true, 0);
        listen_until(&world, &job, &heard, &heard.n_finished, 1);
        assert_int_equal(heard.state, STATE_SUCCESS);
        assert_int_equal(heard.n_accepted, 1);
        assert_int_equal(heard.n_returned, 0);
        for (int i = 1; i <= 60; i++)
                str_printf(&want, "%d\n", i);
        read_log(&world, &job, 0, &log);
        assert_string_equal(log.data, want.data);
        assert_nothing_left(&world);
        world_close(&world);
}

TEST("a job that the build gave to somebody else is removed without a word")
{
        struct attempt_case job = {.scripts = {"sleep 60"}};
        struct heard heard = {0};
        struct build *build = NULL;
        struct error err = {0};
        struct world world;

        world_open(&world, true, 0);
        case_put(&world, &job);
        listen_until(&world, &job, &heard, &heard.steps_started, 1);
        assert_ok(store_build_get(world.store, &build, job.build_id, &err), err);
        build->jobs[0].attempts[0].state = STATE_ERROR;
        build->jobs[0].attempts[0].reason = REASON_EXECUTOR_LOST;
        assert_ok(store_build_update(world.store, build, &err), err);
        build_free(build);
        for (int i = 0; i < 500 && executor_running(world.executor) > 0; i++)
                usleep(20000);
        assert_nothing_left(&world);
        assert_int_equal(heard.n_finished, 0);
        world_close(&world);
}

TEST("closing within the first moments gives the job back")
{
        struct attempt_case job = {.scripts = {"echo never"}};
        struct heard heard = {0};
        struct world world;

        world_open(&world, true, 0);
        case_put(&world, &job);
        listen_until(&world, &job, &heard, &heard.n_accepted, 1);
        world_close(&world);
        /* either it was given back, or its step had begun and the next process goes on with it */
        world_open(&world, true, 0);
        while (heard.n_finished + heard.n_returned == 0)
                listen_until(&world, &job, &heard, &heard.seq, heard.seq + 1);
        assert_int_equal(heard.n_finished + heard.n_returned, 1);
        assert_nothing_left(&world);
        world_close(&world);
}

/* A process with a server of its own, until it is killed. */
static pid_t start_server(const char *fail)
{
        pid_t pid = fork();

        if (pid == 0) {
                struct world world;

                if (fail)
                        setenv("ARGON_FAIL", fail, 1);
                world_open(&world, true, 0);
                for (;;)
                        pause();
        }
        assert_true(pid > 0);
        return pid;
}

static void kill_server(pid_t pid)
{
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
}

#define LINES 400
#define LONG_JOB \
        "for i in $(seq 1 400); do echo line $i; echo error $i >&2; sleep 0.01; done; exit 7"

/* Two pipes that are written at the same moment have no order between them: compare each. */
static void assert_long_log(struct world *world, const struct attempt_case *job)
{
        for (int stream = 1; stream <= 2; stream++) {
                scoped_str struct str log = STR_INIT;
                scoped_str struct str want = STR_INIT;

                for (int i = 1; i <= LINES; i++)
                        str_printf(&want, "%s %d\n", stream == 1 ? "line" : "error", i);
                read_log(world, job, stream, &log);
                assert_int_equal(log.len, want.len);
                assert_memory_equal(log.data, want.data, want.len);
        }
}

/* The last process: everything must come to its end. */
static void finish_long_job(const struct attempt_case *job)
{
        struct heard heard = {0};
        struct world world;

        world_open(&world, true, 0);
        listen_until(&world, job, &heard, &heard.n_finished, 1);
        if (heard.state != STATE_FAILED)
                fail_msg("%s: %s", state_name(heard.state), heard.text);
        assert_int_equal(heard.exit_code, 7);
        assert_int_equal(heard.n_accepted, 1);
        assert_int_equal(heard.n_started, 1);
        assert_int_equal(heard.steps_started, 1);
        assert_int_equal(heard.steps_finished, 1);
        assert_long_log(&world, job);
        assert_nothing_left(&world);
        world_close(&world);
}

TEST("kill -9 at any moment: the job goes on in its one sandbox, its log is whole")
{
        static const int kills[][4] = {{400}, {900, 700}, {1500, 300, 300}, {1200, 1000, 900, 50}};

        for (size_t round = 0; round < sizeof(kills) / sizeof(*kills); round++) {
                struct attempt_case job = {.scripts = {LONG_JOB}};
                struct world world;

                world_open(&world, false, 0);
                case_put(&world, &job);
                world_close(&world);
                for (size_t i = 0; i < 4 && kills[round][i]; i++) {
                        struct timespec pause = {kills[round][i] / 1000,
                                                 kills[round][i] % 1000 * 1000000};
                        pid_t pid = start_server(NULL);

                        nanosleep(&pause, NULL);
                        kill_server(pid);
                }
                finish_long_job(&job);
        }
}

TEST("a mask that the job added before its executor died hides the value afterwards too")
{
        struct attempt_case job = {
                .scripts = {
                        "echo ::add-mask::hidden-value; echo known hidden-value; sleep 3; for i "
                        "in $(seq 1 50); do echo see hidden-value $i; sleep 0.02; done"}};
        scoped_str struct str log = STR_INIT;
        scoped_str struct str want = STR_INIT;
        struct heard heard = {0};
        struct world world;
        pid_t pid;

        world_open(&world, false, 0);
        case_put(&world, &job);
        world_close(&world);
        pid = start_server(NULL);
        for (int i = 0; i < 300 && entries_in("work") == 0; i++)
                usleep(20000);
        usleep(2500000);
        kill_server(pid);
        world_open(&world, true, 0);
        listen_until(&world, &job, &heard, &heard.n_finished, 1);
        assert_int_equal(heard.state, STATE_SUCCESS);
        str_add(&want, "::add-mask::***\nknown ***\n");
        for (int i = 1; i <= 50; i++)
                str_printf(&want, "see *** %d\n", i);
        read_log(&world, &job, 0, &log);
        assert_string_equal(log.data, want.data);
        assert_nothing_left(&world);
        world_close(&world);
}

#ifdef ARGON_FAILPOINTS
TEST("kill -9 at each failpoint: the same attempt goes on, the result and the log are right")
{
        static const char *const points[] = {
                "executor.before_ack=kill",   "executor.before_create=kill",
                "executor.after_create=kill", "executor.after_start=kill",
                "executor.mid_log=kill:20",   "executor.after_exit=kill",
        };

        for (size_t i = 0; i < sizeof(points) / sizeof(*points); i++) {
                struct attempt_case job = {.scripts = {LONG_JOB}};
                struct world world;
                pid_t pid;
                int status = 0;

                world_open(&world, false, 0);
                case_put(&world, &job);
                world_close(&world);
                pid = start_server(points[i]);
                assert_int_equal(waitpid(pid, &status, 0), pid);
                assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
                finish_long_job(&job);
        }
}
#endif

TEST("the folder is removed")
{
        struct error err = {0};

        assert_ok(fs_remove_tree(folder, &err), err);
        free(repository);
}

TEST_MAIN()
