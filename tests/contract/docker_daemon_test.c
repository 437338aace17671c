/*
 * Daemons of our own: one that is killed under a running job, and one that does not see our files.
 *
 * Needs root, dockerd and the tar of tests/support/image.sh.
 */
#include "tests/contract/engine_fixture.h"

#include "base/process.h"

#include "base/banned.h"

#define RUN_MS 120000

static char daemon_folder[128];
static char *daemon_host;

/* A shell command, with what it needs to know in the environment; its output on the heap. */
static char *run(const char *command, const char *dockerd_args)
{
        scoped_process_result struct process_result result = PROCESS_RESULT_INIT;
        scoped_text char *path = text_format("PATH=%s", getenv("PATH"));
        scoped_text char *args = text_format("ARGON_TEST_DOCKERD_ARGS=%s", dockerd_args);
        scoped_text char *folder = text_format("FOLDER=%s", daemon_folder);
        scoped_text char *host =
                text_format("DOCKER_HOST=%s", text_or(daemon_host, "unix:///nonexistent"));
        const char *const argv[] = {"sh", "-c", command, NULL};
        const char *const env[] = {path, args, folder, host, "HOME=/nonexistent", NULL};
        struct process_spec spec = {
                .argv = argv,
                .env = env,
                .folder = getenv("ARGON_SOURCE_ROOT"),
                .timeout_ms = RUN_MS,
                .output_max = 1 << 20,
                .error_max = 4096,
                .cancel_fd = -1,
        };
        struct error err = {0};

        assert_ok(process_run(&result, &spec, &err), err);
        if (result.exit_code != 0)
                fail_msg("%s: exit code %d: %s%s", command, result.exit_code, result.output.data,
                         result.errors.data);
        while (text_ends(result.output.data, "\n"))
                str_truncate(&result.output, result.output.len - 1);
        return str_steal(&result.output);
}

/* A bridge of its own: with --bridge=none it would take away that of another daemon. */
#define BRIDGE "argon-test0"
#define ARGS "--bridge=" BRIDGE " --iptables=false --ip6tables=false --live-restore"
#define START "sh tests/support/dockerd.sh start \"$FOLDER\""
#define BRIDGE_UP                                                                          \
        "ip link show " BRIDGE " >/dev/null 2>&1 || { ip link add " BRIDGE                 \
        " type bridge && ip addr add 10.213.77.1/24 dev " BRIDGE " && ip link set " BRIDGE \
        " up; }"

static void start_daemon(const char *name, const char *command)
{
        snprintf(daemon_folder, sizeof(daemon_folder), "%s/.cache/%s-%d",
                 getenv("ARGON_SOURCE_ROOT"), name, (int)getpid());
        daemon_host = NULL;
        free(run(BRIDGE_UP, ""));
        daemon_host = run(command, ARGS);
        free(run("docker import -c 'ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin' "
                 "$(sh tests/support/image.sh --tar) argon-test:base",
                 ""));
}

static void stop_daemon(void)
{
        free(run("sh tests/support/dockerd.sh stop \"$FOLDER\" && rm -rf \"$FOLDER\" && "
                 "ip link del " BRIDGE,
                 ""));
        free(daemon_host);
        daemon_host = NULL;
}

TEST("a daemon that is killed is not a job that has ended")
{
        struct job job;
        struct error err = {0};
        scoped_talk struct talk talk = {.output = STR_INIT};
        struct sandbox_end end = {0};
        int result;

        start_daemon("dockerd", START);
        fixture_open(daemon_host);
        assert_false(fixture.info->remote);
        job_init(&job);
        job.spec.network_none = true;
        job_create(&job);
        job_start(&job, "sleep 3; echo survived; exit 4");
        free(run("kill -KILL $(cat \"$FOLDER/dockerd.pid\")", ""));
        result = engine_wait(fixture.engine, job.sandbox, 1500, -1, &end, &err);
        assert_int_equal(result, -ERROR_UNAVAILABLE);
        /* requests wait for the daemon to come back */
        free(run(
                "rm -f \"$FOLDER/dockerd.pid\"; unset DOCKER_HOST; DOCKER_HOST=unix:///none " START,
                ARGS));
        assert_ok(talk_run(&talk, job.line, JOB_MS, &err), err);
        assert_string_equal(talk.output.data, "survived\n");
        assert_int_equal(talk.exit_code, 4);
        assert_int_equal(engine_wait(fixture.engine, job.sandbox, JOB_MS, -1, &end, &err), 1);
        assert_false(end.gone);
        job_done(&job);
}

static void *restart_later(void *data)
{
        usleep(1500000);
        free(run("rm -f \"$FOLDER/dockerd.pid\"; DOCKER_HOST=unix:///none " START, ARGS));
        return NULL;
}

TEST("requests wait while the daemon restarts")
{
        struct job job;
        struct error err = {0};
        pthread_t thread;

        job_init(&job);
        job.spec.network_none = true;
        free(run("kill -KILL $(cat \"$FOLDER/dockerd.pid\")", ""));
        pthread_create(&thread, NULL, restart_later, NULL);
        assert_ok(engine_create(fixture.engine, &job.sandbox, &job.spec, &err), err);
        pthread_join(thread, NULL);
        job_done(&job);
        fixture_close();
        stop_daemon();
}

/* ---- a daemon elsewhere ---- */

static void write_text(const char *folder, const char *name, const char *text, mode_t mode)
{
        scoped_text char *path = fs_path(folder, name);
        struct error err = {0};

        assert_ok(fs_write_atomic(path, text, strlen(text), mode, &err), err);
}

static void fill_workspace(const struct job *job)
{
        scoped_text char *folder = fs_path(job->workspace, "a folder");
        scoped_text char *link = fs_path(job->workspace, "link");
        scoped_text char *deep = text_format("%s/%0120d", folder, 7);
        scoped_text char *dangling = fs_path(job->workspace, "dangling");

        assert_int_equal(mkdir(folder, 0755), 0);
        assert_int_equal(mkdir(deep, 0700), 0);
        write_text(job->workspace, "run.sh", "#!/bin/sh\necho it runs\n", 0755);
        write_text(deep, "file", "deep\n", 0640);
        assert_int_equal(symlink("run.sh", link), 0);
        assert_int_equal(symlink("/does/not/exist", dangling), 0);
}

static int attach(struct job *job, struct error *err)
{
        int fd;

        return engine_attach(fixture.engine, job->sandbox, &fd, err) < 0 ? -err->kind : fd;
}

TEST("a daemon that does not see our files gets the workspace as an archive")
{
        struct job job;
        struct error err = {0};
        scoped_talk struct talk talk = {.output = STR_INIT};
        struct sandbox_end end = {0};

        /* as on another machine: with a /tmp of its own, where our data folder is not; the
         * checkout, where the daemon's socket is, stays in its place wherever it lies */
        start_daemon("remote", "unshare -m sh -c 'mount --make-rprivate / && "
                               "root=$PWD && mount --bind \"$root\" /mnt && "
                               "mount -t tmpfs none /tmp && mkdir -p \"$root\" && "
                               "mount --bind /mnt \"$root\" && cd \"$root\" && " START "'");
        fixture_open(daemon_host);
        assert_true(fixture.info->remote);
        assert_false(fixture.info->strict);
        assert_non_null(strstr(fixture.info->missing, "ports of the Docker host"));
        job_init(&job);
        fill_workspace(&job);
        job.spec.network_none = true;
        job_create(&job);
        job.line = attach(&job, &err);
        if (job.line < 0)
                fail_msg("%s", err.text);
        assert_ok(engine_start(fixture.engine, job.sandbox, &err), err);
        assert_ok(talk_begin(job.line,
                             "./link; cat 'a folder'/*/file; readlink dangling; stat -c %a run.sh "
                             "'a folder'/*/file; touch made && echo writable; exit 5",
                             false, false, &err),
                  err);
        assert_ok(talk_run(&talk, job.line, JOB_MS, &err), err);
        assert_string_equal(talk.output.data,
                            "it runs\ndeep\n/does/not/exist\n755\n640\nwritable\n");
        assert_int_equal(talk.exit_code, 5);
        assert_int_equal(engine_wait(fixture.engine, job.sandbox, JOB_MS, -1, &end, &err), 1);
        job_done(&job);
}

TEST("in remote mode the line breaks with the executor, and another one takes the job up")
{
        struct job job;
        struct error err = {0};
        scoped_talk struct talk talk = {.output = STR_INIT};
        struct sandbox *found;
        size_t n;

        job_init(&job);
        job.spec.network_none = true;
        job_create(&job);
        job.line = attach(&job, &err);
        assert_true(job.line >= 0);
        assert_ok(engine_start(fixture.engine, job.sandbox, &err), err);
        assert_ok(talk_begin(job.line, "sleep 2; echo on; exit 6", false, false, &err), err);
        sleep(1);
        close(job.line); /* as when the executor dies: the end of the line is no end of the job */
        engine_close(fixture.engine);
        fixture.engine = open_engine();
        fixture.info = engine_info(fixture.engine);
        found = find_one(fixture.engine, job.id, &n);
        assert_non_null(found);
        assert_true(found->running);
        engine_sandbox_free(fixture.engine, job.sandbox);
        job.sandbox = found;
        job.line = attach(&job, &err);
        assert_true(job.line >= 0);
        assert_ok(talk_resume(job.line, &err), err);
        assert_ok(talk_run(&talk, job.line, JOB_MS, &err), err);
        assert_string_equal(talk.output.data, "on\n");
        assert_int_equal(talk.exit_code, 6);
        job_done(&job);
}

TEST("untrusted code without a network keeps its profile on a daemon elsewhere")
{
        struct job job;
        struct error err = {0};
        scoped_talk struct talk talk = {.output = STR_INIT};

        assert_true(fixture.info->strict_offline);
        job_init(&job);
        fill_workspace(&job);
        job.spec.strict = true;
        assert_int_equal(engine_create(fixture.engine, &job.sandbox, &job.spec, &err),
                         -ERROR_DENIED);
        job.spec.network_none = true;
        job_create(&job);
        job.line = attach(&job, &err);
        assert_true(job.line >= 0);
        assert_ok(engine_start(fixture.engine, job.sandbox, &err), err);
        assert_ok(talk_begin(job.line,
                             "id -u; ./link; touch made && echo writable; "
                             "touch /x 2>/dev/null || echo closed; grep CapEff /proc/self/status",
                             true, true, &err),
                  err);
        assert_ok(talk_run(&talk, job.line, JOB_MS, &err), err);
        assert_string_equal(talk.output.data, "65534\nit runs\nwritable\nclosed\n"
                                              "CapEff:\t0000000000000000\n");
        job_done(&job);
}

TEST("nothing is left over elsewhere")
{
        scoped_text char *left = NULL;

        fixture_close();
        left = run("docker ps -aq; docker volume ls -q", "");
        assert_string_equal(left, "");
        stop_daemon();
}

TEST_MAIN()
