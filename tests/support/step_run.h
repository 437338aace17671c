#pragma once
/*
 * step_run - start a real argon-step and play the executor for it
 *
 * argon-step comes from step_install(). As PID 1 of a namespace of its own (RUN_INIT) or as a plain
 * process. Everything lies in a temporary folder that run_done() removes.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/scoped.h"
#include "base/str.h"
#include "pipeline/executor/channel.h"
#include "step/install.h"
#include "tests/support/test.h"

enum { RUN_PLAIN = 0, RUN_INIT = 1, RUN_STDIO = 2 };

#define RUN_STEPS_MAX 64
#define RUN_PATIENCE_MS 30000

/**
 * struct run
 * @out, @errors: stdout and stderr of all steps; @all: both in the order of arrival
 * @finished: of each step; @reasons, @warnings: their texts
 */
struct run {
        char folder[64];
        char *binary;
        const char *cgroup;
        pid_t pid;
        struct channel *channel;
        int pipe;
        struct str out;
        struct str errors;
        struct str all;
        int started;
        int n_finished;
        struct step_finished finished[RUN_STEPS_MAX];
        char reasons[RUN_STEPS_MAX][STEP_SENTENCE_MAX];
        char warnings[RUN_STEPS_MAX][STEP_SENTENCE_MAX];
        bool ended;
        struct step_job_end end;
        char end_text[STEP_SENTENCE_MAX];
        char end_warning[STEP_SENTENCE_MAX];
        uint64_t offset;
        int64_t last_ms;
};

__attribute__((unused)) static void run_init(struct run *run)
{
        struct error err;

        *run = (struct run){.pipe = -1};
        str_init(&run->out);
        str_init(&run->errors);
        str_init(&run->all);
        snprintf(run->folder, sizeof(run->folder), "/tmp/step-test-XXXXXX");
        assert_non_null(mkdtemp(run->folder));
        assert_ok(step_install(&run->binary, run->folder, &err), err);
        if (getenv("STEP_TEST_BINARY")) { /* one that was built with sanitizers */
                free(run->binary);
                run->binary = text_copy(getenv("STEP_TEST_BINARY"));
        }
}

__attribute__((unused)) static char *run_path(const struct run *run, const char *name)
{
        return fs_path(run->folder, name);
}

__attribute__((unused)) static void run_exec(struct run *run, int flags, int pipe)
{
        scoped_text char *sock = run_path(run, CHANNEL_SOCKET);
        char *const env[] = {(char[]){"PATH=/usr/bin:/bin"}, (char[]){"HOME=/home/image"},
                             (char[]){"FROM_IMAGE=yes"}, NULL};
        const char *argv[8] = {run->binary};
        int n = 1;

        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
        if (flags & RUN_STDIO) {
                argv[n++] = "--stdio";
                dup2(pipe, 0);
                dup2(pipe, 1);
        } else {
                argv[n++] = "--socket";
                argv[n++] = sock;
        }
        if (run->cgroup) {
                argv[n++] = "--cgroup";
                argv[n++] = run->cgroup;
        }
        execve(run->binary, (char *const *)argv, env);
        _exit(99);
}

__attribute__((unused)) static void run_start(struct run *run, int flags)
{
        int pair[2] = {-1, -1};
        unsigned long clone_flags = SIGCHLD;

        if (flags & RUN_STDIO)
                assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        if (flags & RUN_INIT)
                clone_flags |= CLONE_NEWPID | (geteuid() ? CLONE_NEWUSER : 0);
        run->pid = (pid_t)syscall(SYS_clone, clone_flags, NULL, NULL, NULL, 0);
        assert_true(run->pid >= 0);
        if (run->pid == 0)
                run_exec(run, flags, pair[1]);
        if (pair[1] >= 0)
                close(pair[1]);
        run->pipe = pair[0];
}

__attribute__((unused)) static void run_listen(struct run *run, uint64_t resume)
{
        struct channel_options options = {.folder = run->folder, .attached = -1, .resume = resume};
        struct error err;

        assert_ok(channel_open(&run->channel, &options, &err), err);
        channel_set_peer(run->channel, run->pid);
}

__attribute__((unused)) static void run_take_output(struct run *run,
                                                    const struct step_output *output)
{
        str_add_bytes(output->stream == STEP_STREAM_STDOUT ? &run->out : &run->errors,
                      output->bytes, output->n);
        str_add_bytes(&run->all, output->bytes, output->n);
}

__attribute__((unused)) static void run_take(struct run *run, const struct step_event *event)
{
        const struct step_finished *finished = &event->finished;

        run->offset = event->offset;
        switch (event->type) {
        case STEP_FRAME_STEP_STARTED:
                assert_int_equal(event->started.step, run->started);
                run->started++;
                break;
        case STEP_FRAME_OUTPUT:
                run_take_output(run, &event->output);
                break;
        case STEP_FRAME_STEP_FINISHED:
                assert_int_equal(finished->step, run->n_finished);
                snprintf(run->reasons[run->n_finished], STEP_SENTENCE_MAX, "%s", finished->text);
                snprintf(run->warnings[run->n_finished], STEP_SENTENCE_MAX, "%s",
                         finished->warning);
                run->finished[run->n_finished++] = *finished;
                break;
        default:
                run->ended = true;
                run->end = event->end;
                snprintf(run->end_text, STEP_SENTENCE_MAX, "%s", event->end.text);
                snprintf(run->end_warning, STEP_SENTENCE_MAX, "%s", event->end.warning);
        }
}

/* Until the job has ended, or until `text` was seen in the output when it is given. */
__attribute__((unused)) static void run_follow(struct run *run, const char *text)
{
        int64_t patience = clock_ms() + RUN_PATIENCE_MS;
        struct step_event event;
        struct error err = {0};

        while (!run->ended && clock_ms() < patience) {
                int result = channel_receive(run->channel, 100, -1, &event, &err);

                if (result < 0)
                        fail_msg("%s", err.text);
                if (result == 0)
                        continue;
                run_take(run, &event);
                channel_ack(run->channel, event.offset);
                if (text && strstr(run->all.data, text))
                        return;
        }
        if (text || !run->ended)
                fail_msg("still waiting for %s after: %.500s", text ? text : "the end",
                         run->all.data);
}

/* Return: its exit code, or 1000 + signal */
__attribute__((unused)) static int run_wait(struct run *run)
{
        int64_t patience = clock_ms() + RUN_PATIENCE_MS;
        int status;

        while (waitpid(run->pid, &status, WNOHANG) == 0) {
                struct timespec pause = {.tv_nsec = 5000000};

                if (clock_ms() > patience)
                        fail_msg("argon-step does not end");
                nanosleep(&pause, NULL);
        }
        run->pid = 0;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

__attribute__((unused)) static void run_done(struct run *run)
{
        if (run->channel)
                channel_close(run->channel);
        if (run->pid > 0) {
                kill(run->pid, SIGKILL);
                waitpid(run->pid, NULL, 0);
        }
        if (run->pipe >= 0)
                close(run->pipe);
        str_done(&run->out);
        str_done(&run->errors);
        str_done(&run->all);
        fs_remove_tree(run->folder, NULL);
        free(run->binary);
}

__attribute__((unused)) static void run_plan(struct run *run, struct step_plan_step *steps,
                                             size_t n, struct step_plan *plan)
{
        struct error err;

        for (size_t i = 0; i < n; i++) {
                steps[i].name = steps[i].name ? steps[i].name : "step";
                steps[i].shell = steps[i].shell ? steps[i].shell : "sh";
                steps[i].folder = steps[i].folder ? steps[i].folder : "";
        }
        plan->workspace = plan->workspace ? plan->workspace : run->folder;
        plan->steps = steps;
        plan->n_steps = n;
        if (plan->uid == 0)
                plan->uid = plan->gid = plan->supervisor_uid = STEP_ID_KEEP;
        assert_ok(channel_set_plan(run->channel, plan, &err), err);
}

/* The whole way, for plans that need nothing special. */
__attribute__((unused)) static int run_job(struct run *run, int flags, struct step_plan_step *steps,
                                           size_t n, struct step_plan *plan)
{
        struct step_plan none = {0};

        run_start(run, flags);
        run_listen(run, 0);
        run_plan(run, steps, n, plan ? plan : &none);
        run_follow(run, NULL);
        return run_wait(run);
}
