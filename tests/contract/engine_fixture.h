#pragma once
/*
 * engine_fixture - what the tests of the engines share: an engine on a data folder of its own, and
 * jobs that the test talks to itself
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapters/engine/docker.h"
#include "adapters/engine/local.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/scoped.h"
#include "base/str.h"
#include "ports/engine.h"
#include "tests/contract/step_talk.h"
#include "tests/support/test.h"

#ifndef CONTRACT_ENGINE /* given by the build where a test runs for several */
#define CONTRACT_ENGINE "docker"
#endif
#define MIB (INT64_C(1) << 20)
#define JOB_MS 30000

static const struct engine_adapter adapters[] = {
        {"docker", docker_engine_open},
        {"local", local_engine_open},
};

/* What all cases share: one data folder and one engine, opened by the first case. */
static struct fixture {
        char folder[64];
        struct engine *engine;
        struct engine_options options;
        const struct engine_info *info;
} fixture;

static inline struct engine *open_engine(void)
{
        struct engine *engine = NULL;
        scoped_text char *why = NULL;
        struct error err = {0};

        assert_ok(engine_open(&engine, &why, adapters, sizeof(adapters) / sizeof(adapters[0]),
                              CONTRACT_ENGINE, &fixture.options, &err),
                  err);
        assert_non_null(why);
        return engine;
}

static inline void fixture_open(const char *docker_host)
{
        memcpy(fixture.folder, "/tmp/argon-engine-XXXXXX", 25);
        assert_non_null(mkdtemp(fixture.folder));
        assert_int_equal(chmod(fixture.folder, 0755), 0);
        fixture.options = (struct engine_options){
                .data = fixture.folder,
                .step_binary = getenv("ARGON_STEP"),
                .docker_host = docker_host,
                .slots = 2,
                .default_image = "argon-test:base",
        };
        assert_non_null(fixture.options.step_binary);
        fixture.engine = open_engine();
        fixture.info = engine_info(fixture.engine);
}

/* Nothing may be left over. */
static inline void fixture_close(void)
{
        struct error err = {0};
        struct sandbox **all = NULL;
        size_t n = 1;

        assert_ok(engine_find(fixture.engine, &all, &n, &err), err);
        assert_int_equal(n, 0);
        free(all);
        engine_close(fixture.engine);
        assert_ok(fs_remove_tree(fixture.folder, &err), err);
}

/* For who reads the test's output; TAP wants each line marked. */
static inline void note(const char *title, const char *text)
{
        print_message("# %s\n", title);
        while (*text) {
                int n = (int)strcspn(text, "\n");

                print_message("#   %.*s\n", n, text);
                text += n + (text[n] == '\n');
        }
}

static inline bool is(const char *name)
{
        return !strcmp(CONTRACT_ENGINE, name);
}

/* One job of a test. */
struct job {
        char id[ID_SIZE];
        char token[65];
        char *control;
        char *workspace;
        int listener;
        int line; /* to argon-step, -1 before */
        struct sandbox_spec spec;
        struct sandbox *sandbox;
};

static inline void job_init(struct job *job)
{
        struct error err = {0};

        *job = (struct job){.line = -1};
        assert_non_null(fixture.engine);
        id_new(job->id);
        id_token(job->token);
        job->control = text_format("%s/c-%.8s", fixture.folder, job->token);
        job->workspace = text_format("%s/w-%.8s", fixture.folder, job->token);
        assert_int_equal(mkdir(job->control, 0755), 0);
        assert_int_equal(mkdir(job->workspace, 0777), 0);
        assert_int_equal(chmod(job->workspace, 0777), 0);
        job->listener = talk_listen(job->control, &err);
        if (job->listener < 0)
                fail_msg("%s", err.text);
        job->spec = (struct sandbox_spec){
                .build_id = "build",
                .job_id = job->id,
                .attempt = 1,
                .token = job->token,
                .slot = 0,
                .control = job->control,
                .workspace = job->workspace,
                .memory = 256 * MIB,
                .disk = 512 * MIB,
                .millicpus = 2000,
                .pids = 128,
        };
}

static inline void job_create(struct job *job)
{
        struct error err = {0};

        assert_ok(engine_create(fixture.engine, &job->sandbox, &job->spec, &err), err);
}

/* Start it and hand it its script. */
static inline void job_start(struct job *job, const char *script)
{
        struct error err = {0};
        struct ucred peer = {0};
        socklen_t n = sizeof(peer);
        pid_t pid = -1;

        assert_ok(engine_start(fixture.engine, job->sandbox, &err), err);
        job->line = talk_accept(job->listener, JOB_MS, &err);
        if (job->line < 0)
                fail_msg("%s", err.text);
        assert_ok(engine_peer(fixture.engine, job->sandbox, &pid, &err), err);
        assert_int_equal(getsockopt(job->line, SOL_SOCKET, SO_PEERCRED, &peer, &n), 0);
        assert_int_equal(peer.pid, pid);
        assert_ok(talk_begin(job->line, script, job->spec.strict && fixture.info->images,
                             job->spec.strict, &err),
                  err);
}

static inline void job_done(struct job *job)
{
        struct error err = {0};

        if (job->sandbox)
                assert_ok(engine_remove(fixture.engine, job->sandbox, &err), err);
        engine_sandbox_free(fixture.engine, job->sandbox);
        if (job->line >= 0)
                close(job->line);
        close(job->listener);
        assert_ok(fs_remove_tree(job->control, &err), err);
        assert_ok(fs_remove_tree(job->workspace, &err), err);
        free(job->control);
        free(job->workspace);
}

/* The whole life of a job that ends by itself. */
static inline void job_run(struct job *job, struct talk *talk, struct sandbox_end *end,
                           const char *script)
{
        struct error err = {0};

        job_create(job);
        job_start(job, script);
        assert_ok(talk_run(talk, job->line, JOB_MS, &err), err);
        assert_int_equal(engine_wait(fixture.engine, job->sandbox, JOB_MS, -1, end, &err), 1);
}

#define scoped_talk __attribute__((__cleanup__(talk_done)))

static inline struct sandbox *find_one(struct engine *engine, const char *job_id, size_t *ret_n)
{
        struct error err = {0};
        struct sandbox **all = NULL;
        struct sandbox *found = NULL;
        size_t n = 0;

        assert_ok(engine_find(engine, &all, &n, &err), err);
        for (size_t i = 0; i < n; i++) {
                if (!strcmp(all[i]->job_id, job_id))
                        found = all[i];
                else
                        engine_sandbox_free(engine, all[i]);
        }
        free(all);
        *ret_n = n;
        return found;
}
