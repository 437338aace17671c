/*
 * The executor service over its real neighbours: SQLite bus and store, the logger, git, and an
 * engine (CONTRACT_ENGINE). Its process is a child that dies where the test wants; the next one
 * goes on. The log of a job must come out byte-identical, from one sandbox.
 */
#include "tests/contract/executor_rig.h"

#include <signal.h>
#include <sys/wait.h>

#include "base/banned.h"

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
