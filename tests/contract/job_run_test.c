/*
 * job_run() against real sandboxes: compiled once for each engine, as CONTRACT_ENGINE says. Source
 * is a folder that the test fills; the sink keeps everything in memory. Needs what the engine's
 * contract test needs (see there).
 */
#include "tests/contract/job_run_rig.h"

#include <sys/resource.h>

#include "base/banned.h"

TEST("the engine opens")
{
        scoped_text char *why = NULL;
        struct error err = {0};

        memcpy(fixture.folder, "/tmp/argon-jobrun-XXXXXX", 25);
        assert_non_null(mkdtemp(fixture.folder));
        assert_int_equal(chmod(fixture.folder, 0755), 0);
        fixture.work = fs_path(fixture.folder, "work");
        fixture.control = fs_path(fixture.folder, "jobs");
        assert_int_equal(mkdir(fixture.work, 0700), 0);
        assert_int_equal(mkdir(fixture.control, 0700), 0);
        fixture.options = (struct engine_options){
                .data = fixture.folder,
                .step_binary = getenv("ARGON_STEP"),
                .docker_host = getenv("DOCKER_HOST"),
                .slots = 2,
                .default_image = "argon-test:base",
        };
        assert_non_null(fixture.options.step_binary);
        assert_ok(engine_open(&fixture.engine, &why, adapters, sizeof(adapters) / sizeof(*adapters),
                              CONTRACT_ENGINE, &fixture.options, &err),
                  err);
}

TEST("a job of three steps succeeds; its log and its results are whole")
{
        struct job_case job;

        case_init(&job);
        case_step(&job, "cat hello.txt; echo made > made.txt");
        case_step(&job, "cat made.txt; echo to stderr >&2");
        case_step(&job, "pwd; exit 0");
        case_run(&job);
        assert_outcome(&job, STATE_SUCCESS, REASON_NONE, "");
        assert_string_equal(job.told.log.data,
                            "hello from the tree\nmade\nto stderr\n/workspace\n");
        assert_non_null(strstr(job.told.results.data, "accepted\nstarted\nstep_started 0\n"));
        assert_non_null(strstr(job.told.results.data, "step_finished 2 success 0"));
        assert_non_null(strstr(job.told.results.data, "finished\n"));
        assert_string_equal(job.told.streams, "121");
        assert_non_null(strstr(job.told.events.data, "Starting job execution {\"job\":\"job\"}"));
        assert_non_null(strstr(job.told.events.data, "Creating container "));
        assert_non_null(strstr(job.told.events.data, "Executing step: a step "));
        assert_non_null(strstr(job.told.events.data, "Job completed successfully"));
        case_done(&job);
}

TEST("a failing step ends the job with its exit code and its last lines")
{
        struct job_case job;

        case_init(&job);
        case_step(&job, "seq 1 100; echo last words >&2; exit 3");
        case_step(&job, "echo never");
        case_run(&job);
        assert_outcome(&job, STATE_FAILED, REASON_EXIT_CODE, "exited with 3");
        assert_int_equal(job.outcome.exit_code, 3);
        assert_int_equal(job.outcome.failed_step, 0);
        assert_null(strstr(job.told.log.data, "never"));
        assert_non_null(strstr(job.told.tail.data, "72\n"));
        assert_null(strstr(job.told.tail.data, "71\n"));
        assert_non_null(strstr(job.told.tail.data, "100\nlast words"));
        case_done(&job);
}

TEST("a step that may fail does not end the job")
{
        struct job_case job;

        case_init(&job);
        case_step(&job, "exit 3")->continue_on_error = true;
        case_step(&job, "echo went on");
        case_run(&job);
        assert_outcome(&job, STATE_SUCCESS, REASON_NONE, "");
        assert_non_null(strstr(job.told.results.data, "step_finished 0 failed 3"));
        assert_non_null(strstr(job.told.log.data, "went on"));
        case_done(&job);
}

TEST("lines arrive while the step runs")
{
        struct job_case job;
        int64_t done;

        case_init(&job);
        case_step(&job, "echo early; sleep 1; echo late");
        case_run(&job);
        done = clock_ms();
        assert_outcome(&job, STATE_SUCCESS, REASON_NONE, "");
        assert_true(done - job.told.first_line_ms >= 900);
        case_done(&job);
}

TEST("a step that ignores SIGTERM and leaves a daemon times out with its figure")
{
        struct job_case job;
        int64_t began = clock_ms();

        case_init(&job);
        case_step(&job, "trap '' TERM; (trap '' TERM; setsid sleep 300 &) ; sleep 300; sleep 300")
                ->timeout_ms = 2000;
        case_run(&job);
        assert_outcome(&job, STATE_TIMEOUT, REASON_TIMEOUT, "timed out after 2 s");
        assert_true(clock_ms() - began < 17000);
        assert_non_null(strstr(job.told.notes.data, "timed out after 2 s"));
        case_done(&job);
}

TEST("the job's own time limit counts over its steps")
{
        struct job_case job;

        case_init(&job);
        job.order->timeout_ms = 3000;
        case_step(&job, "sleep 2");
        case_step(&job, "sleep 30");
        case_run(&job);
        assert_outcome(&job, STATE_TIMEOUT, REASON_TIMEOUT, "timed out after 3 s");
        case_done(&job);
}

TEST("memory beyond the limit is told as what it is")
{
        struct job_case job;

        case_init(&job);
        job.order->memory = 64 * MIB;
        case_step(&job, "exec python3 -c 'x = bytearray(300 * 1024 * 1024); print(len(x))'");
        case_run(&job);
        assert_outcome(&job, STATE_FAILED, REASON_OUT_OF_MEMORY, "out of memory (64 MiB)");
        case_done(&job);
}

TEST("a fork bomb ends at the process limit")
{
        struct job_case job;

        case_init(&job);
        job.order->pids = 32;
        case_step(&job, "python3 -c '\nimport os, time\nfor i in range(200):\n    if os.fork() == "
                        "0:\n        time.sleep(60)\n'");
        case_run(&job);
        assert_outcome(&job, STATE_FAILED, REASON_PIDS_LIMIT, "process limit (32)");
        case_done(&job);
}

TEST("64 MB without a newline, NUL and invalid UTF-8 come through byte by byte")
{
        struct job_case job;

        case_init(&job);
        case_step(&job, "head -c 67108864 /dev/zero | tr '\\0' 'x'; printf '\\n\\0\\377\\n'");
        case_run(&job);
        assert_outcome(&job, STATE_SUCCESS, REASON_NONE, "");
        assert_int_equal(job.told.log.len, 67108864 + 4);
        assert_memory_equal(job.told.log.data + 67108864, "\n\0\377\n", 4);
        for (size_t i = 0; i < 67108864; i += 4093)
                assert_int_equal(job.told.log.data[i], 'x');
        case_done(&job);
}

TEST("a million lines are all there, in order")
{
        struct job_case job;
        uint64_t sum = 0;
        int64_t began;

        case_init(&job);
        case_step(&job, "seq 1 1000000");
        job.told.keep_log = false;
        began = clock_ms();
        case_run(&job);
        print_message("# a million lines: %lld ms\n", (long long)(clock_ms() - began));
        assert_outcome(&job, STATE_SUCCESS, REASON_NONE, "");
        assert_int_equal(job.outcome.log_lines - job.told.notes_before, 1000000);
        for (int i = 1; i <= 1000000; i++) {
                char text[16];
                int n = snprintf(text, sizeof(text), "%d\n", i);

                for (int j = 0; j < n; j++)
                        sum = sum * 31 + (unsigned char)text[j];
        }
        assert_true(sum == job.told.sum);
        case_done(&job);
}

TEST("stdout and stderr keep the order in which the step wrote")
{
        struct job_case job;
        scoped_str struct str want = STR_INIT;

        case_init(&job);
        case_step(&job, "for i in $(seq 1 25); do echo out $i; sleep 0.01; echo err $i >&2; sleep "
                        "0.01; done");
        case_run(&job);
        assert_outcome(&job, STATE_SUCCESS, REASON_NONE, "");
        for (int i = 1; i <= 25; i++)
                str_printf(&want, "out %d\nerr %d\n", i, i);
        assert_string_equal(job.told.log.data, want.data);
        case_done(&job);
}

TEST("secrets reach the steps and no line of the log")
{
        static const struct job_secret secrets[] = {{"TOKEN", "s3cr3t-value-of-the-test"}};
        struct job_case job;

        case_init(&job);
        job.options.secrets = secrets;
        job.options.n_secrets = 1;
        case_step(&job, "echo \"it is $TOKEN\"; printf '%s' \"$TOKEN\" | base64; echo "
                        "::add-mask::learned-value; echo learned-value; test ${#TOKEN} = 24");
        case_run(&job);
        assert_outcome(&job, STATE_SUCCESS, REASON_NONE, "");
        assert_null(strstr(job.told.log.data, "s3cr3t"));
        assert_null(strstr(job.told.log.data, "czNjcjN0"));
        assert_null(strstr(job.told.log.data, "learned"));
        assert_non_null(strstr(job.told.log.data, "it is ***\n"));
        case_done(&job);
}

TEST("a log beyond its limit ends in a marker while the job goes on")
{
        struct job_case job;

        case_init(&job);
        job.options.log_max = 100000;
        case_step(&job, "seq 1 200000; exit 4");
        case_run(&job);
        assert_outcome(&job, STATE_FAILED, REASON_EXIT_CODE, "exited with 4");
        assert_true(job.told.log.len <= 100000);
        assert_true(job.told.log.len > 90000);
        assert_non_null(strstr(job.told.notes.data, "the log is full (100000 bytes"));
        assert_non_null(strstr(job.told.tail.data, "200000"));
        case_done(&job);
}

/* Stop the job at `at`; it has to be over within 5 s. */
static void try_stop(const char *at, enum job_stop_kind kind)
{
        struct job_case job;
        int64_t over;

        case_init(&job);
        job.told.stop_at = at;
        job.told.stop_kind = kind;
        case_step(&job, "trap '' TERM INT; echo running; sleep 60; sleep 60");
        case_run(&job);
        over = clock_ms();
        assert_true(job.told.stopped_at > 0);
        assert_outcome(&job, STATE_CANCELLED, REASON_CANCELLED, "cancelled");
        if (over - job.told.stopped_at > 5000)
                fail_msg("cancelled at '%s': %lld ms", at, (long long)(over - job.told.stopped_at));
        case_done(&job);
}

TEST("a cancel at any moment ends the job as cancelled within 5 s")
{
        try_stop("Starting job execution", JOB_STOP_CANCEL);
        try_stop("accepted", JOB_STOP_CANCEL);
        try_stop("Creating container", JOB_STOP_CANCEL);
        try_stop("started", JOB_STOP_CANCEL);
        try_stop("Executing step", JOB_STOP_CANCEL);
        try_stop("log running", JOB_STOP_CANCEL);
        try_stop("log running", JOB_STOP_KILL);
}

static int fill_until_stopped(void *data, const char *folder, int cancel_fd, struct error *err)
{
        struct pollfd one = {cancel_fd, POLLIN, 0};

        job_stop_raise(data, JOB_STOP_CANCEL);
        if (poll(&one, 1, 5000) != 1)
                return error_set(err, ERROR_BUG, "nobody stopped the source");
        return error_set(err, ERROR_CANCELLED, "stopped");
}

TEST("a cancel reaches a source that is being fetched")
{
        struct job_case job;

        case_init(&job);
        case_step(&job, "echo never");
        job.options.fill = fill_until_stopped;
        job.options.fill_data = job.stop;
        case_run(&job);
        assert_outcome(&job, STATE_CANCELLED, REASON_CANCELLED, "cancelled");
        case_done(&job);
}

static int fill_fails(void *data, const char *folder, int cancel_fd, struct error *err)
{
        return error_set(err, ERROR_NOT_FOUND, "the repository is gone");
}

TEST("a source that is gone ends the job in error")
{
        struct job_case job;

        case_init(&job);
        case_step(&job, "echo never");
        job.options.fill = fill_fails;
        case_run(&job);
        assert_outcome(&job, STATE_ERROR, REASON_SOURCE_UNAVAILABLE, "the repository is gone");
        assert_non_null(strstr(job.told.notes.data, "the repository is gone"));
        case_done(&job);
}

TEST("an image that does not exist ends the job with the reason")
{
        struct job_case job;

        if (!is("docker"))
                return;
        case_init(&job);
        job.order->image = "127.0.0.1:1/no/such:image";
        case_step(&job, "echo never");
        case_run(&job);
        assert_int_equal(job.outcome.state, STATE_ERROR);
        assert_int_equal(job.outcome.reason, REASON_IMAGE_UNAVAILABLE);
        assert_true(strlen(job.outcome.reason_text) > 10);
        case_done(&job);
}

TEST("before a step has started, detaching gives the job back")
{
        struct job_case job;

        case_init(&job);
        job.told.stop_at = "accepted";
        job.told.stop_kind = JOB_STOP_DETACH;
        case_step(&job, "echo never");
        case_run(&job);
        assert_int_equal(job.outcome.end, JOB_RETURNED);
        assert_non_null(strstr(job.told.results.data, "returned\n"));
        assert_null(strstr(job.told.log.data, "never"));
        case_done(&job);
}

static struct sandbox *find_one(void)
{
        struct sandbox **found = NULL;
        struct sandbox *one;
        struct error err = {0};
        size_t n = 0;

        assert_ok(engine_find(fixture.engine, &found, &n, &err), err);
        assert_int_equal(n, 1);
        one = found[0];
        free(found);
        return one;
}

TEST("a job that was detached goes on in its sandbox, and its log is whole")
{
        struct job_case job;
        scoped_str struct str want = STR_INIT;
        scoped_str struct str blob = STR_INIT;

        case_init(&job);
        job.told.stop_at = "40\n";
        job.told.stop_kind = JOB_STOP_DETACH;
        case_step(&job, "for i in $(seq 1 200); do echo $i; sleep 0.01; done");
        case_step(&job, "echo second");
        case_run(&job);
        assert_int_equal(job.outcome.end, JOB_DETACHED);
        job_outcome_done(&job.outcome);
        job_stop_free(job.stop);
        assert_ok(job_stop_new(&job.stop, &(struct error){0}), (struct error){0});
        str_add_bytes(&blob, job.told.state.data, job.told.state.len);
        job.told.stop_at = NULL;
        job.options.stop = job.stop;
        job.options.state = blob.data;
        job.options.n_state = blob.len;
        job.options.resume = find_one();
        case_run(&job);
        assert_outcome(&job, STATE_SUCCESS, REASON_NONE, "");
        for (int i = 1; i <= 200; i++)
                str_printf(&want, "%d\n", i);
        str_add(&want, "second\n");
        assert_string_equal(job.told.log.data, want.data);
        assert_non_null(strstr(job.told.results.data, "step_started 0\nstep_finished 0 success 0 "
                                                      "1-200\nstep_started 1\nstep_finished 1 "
                                                      "success 0 201-201\nfinished\n"));
        case_done(&job);
}

TEST("a sandbox that is removed from outside ends the job in error")
{
        struct job_case job;

        case_init(&job);
        job.told.stop_at = NULL;
        case_step(&job, "echo running; sleep 60");
        job.told.stop_at = "log running";
        job.told.stop_kind = JOB_STOP_DETACH;
        case_run(&job);
        assert_int_equal(job.outcome.end, JOB_DETACHED);
        {
                struct sandbox *sandbox = find_one();
                scoped_str struct str blob = STR_INIT;
                struct error err = {0};

                job_outcome_done(&job.outcome);
                job_stop_free(job.stop);
                assert_ok(job_stop_new(&job.stop, &err), err);
                str_add_bytes(&blob, job.told.state.data, job.told.state.len);
                assert_ok(engine_kill(fixture.engine, sandbox, &err), err);
                job.told.stop_at = NULL;
                job.options.stop = job.stop;
                job.options.state = blob.data;
                job.options.n_state = blob.len;
                job.options.resume = sandbox;
                case_run(&job);
        }
        assert_int_equal(job.outcome.state, STATE_ERROR);
        assert_int_equal(job.outcome.reason, REASON_ENGINE_UNAVAILABLE);
        assert_non_null(strstr(job.told.results.data, "step_finished 0 error"));
        case_done(&job);
}

TEST("more CPUs than there are is said, and the job runs with those there are")
{
        struct job_case job;

        case_init(&job);
        job.order->millicpus = 64000500;
        case_step(&job, "echo ran");
        case_run(&job);
        assert_outcome(&job, STATE_SUCCESS, REASON_NONE, "");
        assert_non_null(strstr(job.told.notes.data, "64000.5 CPUs cut down to "));
        case_done(&job);
}

TEST("untrusted code runs unprivileged in a workspace of its own, or not at all")
{
        const struct engine_info *info = engine_info(fixture.engine);
        struct job_case job;

        case_init(&job);
        job.order->strict = true;
        job.order->network_none = true;
        case_step(&job, "cat hello.txt; echo changed > hello.txt; touch made; id -u; grep -E "
                        "'CapEff|CapBnd|NoNewPrivs' /proc/self/status");
        case_run(&job);
        if (info->strict || info->strict_offline) {
                assert_outcome(&job, STATE_SUCCESS, REASON_NONE, "");
                assert_non_null(strstr(job.told.log.data, "CapEff:\t0000000000000000"));
                assert_non_null(strstr(job.told.log.data, "NoNewPrivs:\t1"));
                assert_null(strstr(job.told.log.data, "\n0\n")); /* not uid 0 */
        } else {
                assert_int_equal(job.outcome.state, STATE_ERROR);
                assert_non_null(strstr(job.outcome.reason_text, "strict profile"));
        }
        case_done(&job);
}

TEST("output far beyond the log's limit costs no memory")
{
        struct job_case job;
        struct rusage before, after;

        case_init(&job);
        job.options.log_max = 1000000;
        job.told.keep_log = false;
        case_step(&job, "yes 'a line that is repeated for ever' | head -c 1073741824");
        getrusage(RUSAGE_SELF, &before);
        case_run(&job);
        getrusage(RUSAGE_SELF, &after);
        assert_outcome(&job, STATE_SUCCESS, REASON_NONE, "");
        assert_true(job.outcome.log_bytes < 1100000);
#ifndef __SANITIZE_ADDRESS__ /* which keeps what was freed */
        assert_true(after.ru_maxrss - before.ru_maxrss < 16 * 1024);
#endif
        case_done(&job);
}

TEST("the engine closes")
{
        struct error err = {0};

        engine_close(fixture.engine);
        assert_ok(fs_remove_tree(fixture.folder, &err), err);
        free(fixture.work);
        free(fixture.control);
}

TEST_MAIN()
