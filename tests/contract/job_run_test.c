/*
 * job_run() against real sandboxes: compiled once for each engine, as CONTRACT_ENGINE says. Source
 * is a folder that the test fills; the sink keeps everything in memory. Needs what the engine's
 * contract test needs (see there).
 */
#include "pipeline/executor/job_run.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "adapters/engine/docker.h"
#include "adapters/engine/local.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/order.h"
#include "ports/engine.h"
#include "tests/support/test.h"
#include "wire/job_result.h"
#include "wire/log_entry.h"

#include "base/banned.h"

#define MIB (INT64_C(1) << 20)

static const struct engine_adapter adapters[] = {
        {"docker", docker_engine_open},
        {"local", local_engine_open},
};

/* What the sink was given. */
struct told {
        struct str log;    /* of the steps */
        struct str notes;  /* of stream 0 */
        struct str events; /* one per line */
        struct str results;
        struct str tail;  /* of the last failed step */
        char streams[64]; /* '1' and '2' as they came, the first of each run */
        size_t n_streams;
        int64_t seq;
        int64_t line;
        int64_t offset;
        int64_t first_line_ms; /* clock_ms() of the first output */
        int64_t notes_before;  /* lines of stream 0 before the first output */
        int64_t result_seq;
        int64_t cpu_ms;
        int64_t max_rss;
        bool ended;
        const char *stop_at; /* an event or result at which the job is stopped */
        enum job_stop_kind stop_kind;
        struct job_stop *stop;
        int64_t stopped_at;
        struct str state;
        bool keep_log; /* false: only count */
        uint64_t sum;
};

static struct fixture {
        char folder[64];
        char *work;
        char *control;
        struct engine *engine;
        struct engine_options options;
} fixture;

static bool is(const char *name)
{
        return strcmp(CONTRACT_ENGINE, name) == 0;
}

static void maybe_stop(struct told *told, const char *what)
{
        if (!told->stop_at || told->stopped_at || !strstr(what, told->stop_at))
                return;
        told->stopped_at = clock_ms();
        job_stop_raise(told->stop, told->stop_kind);
}

static void take_log(void *data, const struct log_entry *entry)
{
        struct told *told = data;

        assert_int_equal(entry->seq, ++told->seq);
        assert_int_equal(entry->first_line, told->line + 1);
        assert_int_equal(entry->offset, told->offset);
        told->line += entry->lines;
        told->offset += (int64_t)entry->n;
        if (entry->ended)
                told->ended = true;
        if (entry->stream == LOG_STREAM_ARGON) {
                if (!told->first_line_ms)
                        told->notes_before += entry->lines;
                str_add_bytes(&told->notes, entry->bytes, entry->n);
        } else {
                char c = (char)('0' + (int)entry->stream);

                if (!told->first_line_ms)
                        told->first_line_ms = clock_ms();
                if (told->keep_log)
                        str_add_bytes(&told->log, entry->bytes, entry->n);
                for (size_t i = 0; i < entry->n; i++)
                        told->sum = told->sum * 31 + (unsigned char)entry->bytes[i];
                if (told->n_streams == 0 || told->streams[told->n_streams - 1] != c)
                        if (told->n_streams < sizeof(told->streams) - 1)
                                told->streams[told->n_streams++] = c;
        }
        if (entry->n < 4096) {
                scoped_text char *text = text_format("log %.*s", (int)entry->n, entry->bytes);

                maybe_stop(told, text);
        }
}

static void take_result(void *data, const struct job_result *result)
{
        static const char *const kinds[] = {"accepted",      "started",  "step_started",
                                            "step_finished", "finished", "returned"};
        struct told *told = data;

        assert_int_equal(result->seq, ++told->result_seq);
        assert_string_equal(result->token, "token");
        str_printf(&told->results, "%s", kinds[result->kind]);
        if (result->kind == RESULT_STEP_STARTED)
                str_printf(&told->results, " %d", result->step);
        if (result->kind == RESULT_STEP_FINISHED)
                str_printf(&told->results, " %d %s %d %lld-%lld", result->step,
                           state_name(result->state), result->exit_code,
                           (long long)(result->first_line - told->notes_before),
                           (long long)(result->last_line - told->notes_before));
        str_add(&told->results, "\n");
        if (result->kind == RESULT_STEP_FINISHED) {
                told->cpu_ms = result->cpu_ms;
                told->max_rss = result->max_rss_bytes;
                str_clear(&told->tail);
                str_add(&told->tail, result->tail);
        }
        maybe_stop(told, kinds[result->kind]);
}

static void take_event(void *data, enum log_severity severity, const char *message,
                       const char *context)
{
        struct told *told = data;

        str_printf(&told->events, "%s %s\n", message, context);
        maybe_stop(told, message);
}

static int take_commit(void *data, const void *state, size_t n, int cancel_fd, struct error *err)
{
        struct told *told = data;

        str_clear(&told->state);
        str_add_bytes(&told->state, state, n);
        return 0;
}

static void told_done(struct told *told)
{
        str_done(&told->log);
        str_done(&told->notes);
        str_done(&told->events);
        str_done(&told->results);
        str_done(&told->tail);
        str_done(&told->state);
}

static int fill(void *data, const char *folder, int cancel_fd, struct error *err)
{
        scoped_text char *path = fs_path(folder, "hello.txt");

        return fs_write_atomic(path, "hello from the tree\n", 20, 0644, err);
}

/* One job of a test. */
struct job_case {
        struct order *order;
        struct order_step steps[8];
        struct job_options options;
        struct told told;
        struct job_outcome outcome;
        struct job_stop *stop;
        char id[ID_SIZE];
};

static void case_init(struct job_case *job)
{
        struct error err = {0};

        memset(job, 0, sizeof(*job));
        job->order = order_new();
        id_new(job->id);
        job->order->build_id = "build";
        job->order->job_id = job->id;
        job->order->attempt = 1;
        job->order->token = "token";
        job->order->job_name = "job";
        job->order->image = is("docker") ? "argon-test:base" : "";
        job->order->timeout_ms = 60000;
        job->order->memory = 256 * MIB;
        job->order->disk = 512 * MIB;
        job->order->millicpus = 2000;
        job->order->pids = 128;
        job->order->notes = "";
        job->order->steps = job->steps;
        assert_ok(job_stop_new(&job->stop, &err), err);
        job->told.stop = job->stop;
        job->told.keep_log = true;
        str_init(&job->told.log);
        str_init(&job->told.notes);
        str_init(&job->told.events);
        str_init(&job->told.results);
        str_init(&job->told.tail);
        str_init(&job->told.state);
        job->options = (struct job_options){
                .order = job->order,
                .engine = fixture.engine,
                .fill = fill,
                .executor = "executor",
                .work = fixture.work,
                .control = fixture.control,
                .name = job->id,
                .orphan_max_ms = 60000,
                .sink = {take_log, take_result, take_event, take_commit, &job->told},
                .stop = job->stop,
        };
}

static struct order_step *case_step(struct job_case *job, const char *run)
{
        struct order_step *step = &job->steps[job->order->n_steps++];

        *step = (struct order_step){
                .id = "", .name = "a step", .run = run, .shell = "sh", .folder = ""};
        return step;
}

static void case_run(struct job_case *job)
{
        struct error err = {0};

        assert_ok(job_run(&job->outcome, &job->options, &err), err);
}

static size_t entries_in(const char *folder)
{
        DIR *dir = opendir(folder);
        struct dirent *entry;
        size_t n = 0;

        assert_non_null(dir);
        while ((entry = readdir(dir)))
                n += entry->d_name[0] != '.';
        closedir(dir);
        return n;
}

static void assert_nothing_left(void)
{
        struct sandbox **found = NULL;
        struct error err = {0};
        size_t n = 0;

        assert_int_equal(entries_in(fixture.work), 0);
        assert_int_equal(entries_in(fixture.control), 0);
        assert_ok(engine_find(fixture.engine, &found, &n, &err), err);
        for (size_t i = 0; i < n; i++)
                engine_sandbox_free(fixture.engine, found[i]);
        free(found);
        assert_int_equal(n, 0);
}

static void case_done(struct job_case *job)
{
        assert_nothing_left();
        job_outcome_done(&job->outcome);
        job_stop_free(job->stop);
        told_done(&job->told);
        job->order->steps = NULL;
        order_free(job->order);
}

static void assert_outcome(const struct job_case *job, enum state want, enum reason reason,
                           const char *text)
{
        const struct job_outcome *outcome = &job->outcome;

        if (outcome->state != want || outcome->reason != reason ||
            strcmp(outcome->reason_text, text) != 0)
                fail_msg(
                        "%s, %s, '%s' instead of %s, %s, '%s'\nresults:\n%snotes:\n%slog:\n%.2000s",
                        state_name(outcome->state), reason_name(outcome->reason),
                        outcome->reason_text, state_name(want), reason_name(reason), text,
                        job->told.results.data, job->told.notes.data, job->told.log.data);
        assert_int_equal(outcome->end, JOB_ENDED);
        assert_true(job->told.ended);
        assert_int_equal(outcome->log_lines, job->told.line);
        assert_int_equal(outcome->log_bytes, job->told.offset);
}

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
