#pragma once
/*
 * job_run_rig - one job on a real engine, with a sink that keeps everything in memory
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
#include "wire/job_result.h"
#include "wire/log_entry.h"

#include "tests/support/test.h"

#include "base/banned.h"

#ifndef CONTRACT_ENGINE /* given by the build, once for each engine */
#define CONTRACT_ENGINE "docker"
#endif

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
