/*
 * The contract of the engine port, kept by every adapter: compiled once for each, as
 * CONTRACT_ENGINE says. The sandboxes run the real argon-step; the image is that of
 * tests/support/image.sh. A test whose server is missing fails, it is never skipped.
 */
#include "tests/contract/engine_fixture.h"

#include <dirent.h>

#include "base/banned.h"

TEST("the engine opens and says what it is and what it lacks")
{
        fixture_open(getenv("DOCKER_HOST"));
        assert_string_equal(fixture.info->name, CONTRACT_ENGINE);
        assert_true(fixture.info->version[0] != '\0');
        assert_true(fixture.info->cpus >= 1);
        assert_int_equal(fixture.info->images, is("docker"));
        note(fixture.info->version, fixture.info->missing);
}

TEST("a job runs in its workspace, and its output and exit code come back")
{
        struct job job;
        scoped_talk struct talk talk = {.output = STR_INIT};
        struct sandbox_end end = {0};
        struct stat st;
        scoped_text char *made = NULL;

        job_init(&job);
        job_run(&job, &talk, &end, "pwd; echo hello >made; id -u >&2; exit 7");
        assert_true(talk.ended);
        assert_int_equal(talk.result, STEP_JOB_FAILED);
        assert_int_equal(talk.exit_code, 7);
        assert_true(text_starts(talk.output.data, "/workspace\n"));
        assert_int_equal(end.gone, false);
        assert_int_equal(end.oom, false);
        assert_int_equal(end.disk, false);
        made = fs_path(job.workspace, "made");
        assert_int_equal(stat(made, &st), 0);
        assert_int_equal(st.st_size, 6);
        job_done(&job);
}

TEST("a sandbox that runs is waited for, cancelled, ended and removed")
{
        struct job job;
        struct error err = {0};
        struct sandbox_end end = {0};
        scoped_fd int bell = eventfd(1, EFD_CLOEXEC);
        int64_t began;

        job_init(&job);
        job_create(&job);
        job_start(&job, "sleep 60");
        began = clock_ms();
        assert_int_equal(engine_wait(fixture.engine, job.sandbox, 300, -1, &end, &err), 0);
        assert_in_range(clock_ms() - began, 290, 5000);
        assert_int_equal(engine_wait(fixture.engine, job.sandbox, 0, -1, &end, &err), 0);
        assert_int_equal(engine_wait(fixture.engine, job.sandbox, 5000, bell, &end, &err),
                         -ERROR_CANCELLED);
        began = clock_ms();
        assert_ok(engine_kill(fixture.engine, job.sandbox, &err), err);
        assert_int_equal(engine_wait(fixture.engine, job.sandbox, 10000, -1, &end, &err), 1);
        assert_true(clock_ms() - began < 5000);
        assert_int_equal(end.exit_code, 137);
        assert_ok(engine_kill(fixture.engine, job.sandbox, &err), err);
        assert_ok(engine_remove(fixture.engine, job.sandbox, &err), err);
        assert_ok(engine_remove(fixture.engine, job.sandbox, &err), err);
        assert_int_equal(engine_wait(fixture.engine, job.sandbox, 1000, -1, &end, &err), 1);
        assert_true(end.gone);
        job_done(&job);
}

TEST("a creation that is repeated finds what the first one made")
{
        struct job job;
        struct error err = {0};
        struct sandbox *again = NULL;

        job_init(&job);
        job_create(&job);
        assert_ok(engine_create(fixture.engine, &again, &job.spec, &err), err);
        assert_string_equal(again->id, job.sandbox->id);
        assert_string_equal(again->token, job.token);
        engine_sandbox_free(fixture.engine, again);
        job_done(&job);
}

TEST("after a restart a job is found again, by its labels, and goes on")
{
        struct job job;
        struct error err = {0};
        scoped_talk struct talk talk = {.output = STR_INIT};
        struct sandbox_end end = {0};
        struct sandbox *found;
        struct engine *second;
        size_t n = 0;
        pid_t pid;
        pid_t same_pid;

        job_init(&job);
        job.spec.attempt = 3;
        job_create(&job);
        job_start(&job, "sleep 2; echo still here; exit 9");
        assert_ok(engine_peer(fixture.engine, job.sandbox, &pid, &err), err);
        engine_close(fixture.engine); /* a job runs in it: its slot must survive */
        second = open_engine();
        found = find_one(second, job.id, &n);
        assert_int_equal(n, 1);
        assert_non_null(found);
        assert_true(found->running);
        assert_int_equal(found->attempt, 3);
        assert_string_equal(found->token, job.token);
        assert_string_equal(found->control, job.control);
        assert_int_equal(found->slot, 0);
        assert_ok(engine_peer(second, found, &same_pid, &err), err);
        assert_int_equal(pid, same_pid);
        assert_ok(talk_run(&talk, job.line, JOB_MS, &err), err);
        assert_string_equal(talk.output.data, "still here\n");
        assert_int_equal(talk.exit_code, 9);
        assert_int_equal(engine_wait(second, found, JOB_MS, -1, &end, &err), 1);
        engine_sandbox_free(second, found);
        found = find_one(second, job.id, &n);
        assert_non_null(found); /* ended, not yet removed */
        assert_false(found->running);
        engine_sandbox_free(second, found);
        fixture.engine = second;
        fixture.info = engine_info(second);
        job_done(&job);
        assert_null(find_one(second, job.id, &n));
}

TEST("a job whose start was not written down any more is found all the same")
{
        struct job job;
        struct error err = {0};
        scoped_talk struct talk talk = {.output = STR_INIT};
        struct sandbox *found;
        scoped_text char *path = NULL;
        scoped_str struct str record = STR_INIT;
        char *at;
        size_t n;
        pid_t pid;
        pid_t same;

        if (!is("local")) /* others' daemons write it down themselves */
                return;
        job_init(&job);
        job_create(&job);
        job_start(&job, "sleep 1; echo on");
        assert_ok(engine_peer(fixture.engine, job.sandbox, &pid, &err), err);
        path = text_format("%s/engine/local/%s-1-%.12s.json", fixture.folder, job.id, job.token);
        assert_ok(str_read_file(&record, path, 65536, &err), err);
        at = strstr(record.data, "\"pid\":");
        assert_non_null(at);
        str_truncate(&record, (size_t)(at - record.data));
        str_add(&record, "\"pid\":0,\"start\":0}");
        assert_ok(fs_write_atomic(path, record.data, record.len, 0644, &err), err);
        found = find_one(fixture.engine, job.id, &n);
        assert_non_null(found);
        assert_true(found->running);
        assert_ok(engine_peer(fixture.engine, found, &same, &err), err);
        assert_int_equal(pid, same);
        assert_ok(talk_run(&talk, job.line, JOB_MS, &err), err);
        assert_string_equal(talk.output.data, "on\n");
        engine_sandbox_free(fixture.engine, found);
        job_done(&job);
}

TEST("a job over its memory is ended for that")
{
        struct job job;
        scoped_talk struct talk talk = {.output = STR_INIT};
        struct sandbox_end end = {0};

        if (!(fixture.info->limits & ENGINE_LIMIT_MEMORY)) {
                assert_non_null(strstr(fixture.info->missing, "memory"));
                return;
        }
        job_init(&job);
        job.spec.memory = 48 * MIB;
        job_run(&job, &talk, &end, "exec python3 -c 'x = bytearray(200 * 1048576); print(1)'");
        assert_true(talk.ended);
        assert_int_equal(talk.cause, STEP_CAUSE_OOM);
        assert_non_null(strstr(talk.text, "48 MiB"));
        assert_true(end.oom);
        job_done(&job);
}

/* Processes of this machine with the first letters of a token in their command line. */
static int count_processes(const char *token)
{
        scoped_text char *mark = text_format("bomb-%.8s", token);
        DIR *dir = opendir("/proc");
        struct dirent *entry;
        int count = 0;

        assert_non_null(dir);
        while ((entry = readdir(dir))) {
                scoped_text char *path = text_format("/proc/%s/cmdline", entry->d_name);
                scoped_str struct str line = STR_INIT;

                if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
                    str_read_file(&line, path, 65536, NULL) == 0)
                        count += memmem(line.data, line.len, mark, strlen(mark)) != NULL;
        }
        closedir(dir);
        return count;
}

TEST("a job cannot have more processes than its limit")
{
        struct job job;
        scoped_talk struct talk talk = {.output = STR_INIT};
        struct sandbox_end end = {0};

        assert_true(fixture.info->limits & ENGINE_LIMIT_PIDS);
        job_init(&job);
        job.spec.pids = 24;
        job_run(&job, &talk, &end,
                "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 "
                "28 29 30; do sleep 20 & done; echo all started");
        assert_true(talk.ended);
        assert_null(strstr(talk.output.data, "all started"));
        assert_non_null(strcasestr(talk.output.data, "fork"));
        job_done(&job);
}

TEST("a job that forks without end, in sessions of its own, is held and all of it ended")
{
        struct job job;
        struct error err = {0};
        struct sandbox_end end = {0};
        scoped_text char *own = NULL;
        int64_t began;

        job_init(&job);
        own = text_format("exec python3 -c 'import os, signal\n"
                          "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
                          "while True:\n"
                          "    try:\n"
                          "        if os.fork() == 0: os.setsid()\n"
                          "    except OSError: pass\n"
                          "' bomb-%.8s",
                          job.token);
        job.spec.pids = 64;
        job_create(&job);
        job_start(&job, own);
        sleep(2);
        began = clock_ms();
        assert_ok(engine_kill(fixture.engine, job.sandbox, &err), err);
        assert_int_equal(engine_wait(fixture.engine, job.sandbox, 15000, -1, &end, &err), 1);
        assert_ok(engine_remove(fixture.engine, job.sandbox, &err), err);
        assert_true(clock_ms() - began < 15000);
        assert_int_equal(count_processes(job.token), 0);
        job_done(&job);
}

TEST("a job gets no more processor time than its limit")
{
        struct job job;
        scoped_talk struct talk talk = {.output = STR_INIT};
        struct sandbox_end end = {0};
        double used;

        if (!(fixture.info->limits & ENGINE_LIMIT_CPUS)) {
                assert_non_null(strstr(fixture.info->missing, "CPU"));
                return;
        }
        job_init(&job);
        job.spec.millicpus = 250;
        job_run(&job, &talk, &end,
                "exec python3 -c 'import time\n"
                "e = time.monotonic() + 2\n"
                "while time.monotonic() < e: pass\n"
                "print(time.process_time())'");
        assert_true(talk.ended);
        used = strtod(talk.output.data, NULL);
        print_message("# %.2f s of CPU in 2 s with a limit of 0.25 cores\n", used);
        assert_true(used > 0.05 && used < 1.0);
        job_done(&job);
}

static void fill_disk(const char *folder)
{
        struct job job;
        struct sandbox_end end = {0};
        struct error err = {0};
        scoped_text char *script = text_format(
                "head -c 40m /dev/zero >%s/big && sync && echo written && sleep 30", folder);
        int64_t began = clock_ms();

        job_init(&job);
        job.spec.disk = 16 * MIB;
        job_create(&job);
        job_start(&job, script);
        assert_int_equal(engine_wait(fixture.engine, job.sandbox, 25000, -1, &end, &err), 1);
        assert_true(end.disk);
        assert_true(clock_ms() - began < 20000);
        job_done(&job);
}

TEST("a job that fills its workspace is ended for its disk limit")
{
        assert_true(fixture.info->limits & ENGINE_LIMIT_DISK);
        fill_disk("/workspace");
}

TEST("a job that fills the rest of its disk is ended for its disk limit")
{
        if (is("docker")) /* the local engine's /tmp has a size and is full at once */
                fill_disk("/var/tmp");
}

TEST("with the network switched off a job has none")
{
        struct job job;
        scoped_talk struct talk talk = {.output = STR_INIT};
        struct sandbox_end end = {0};

        assert_true(fixture.info->network_none);
        job_init(&job);
        job.spec.network_none = true;
        job_run(&job, &talk, &end, "grep -c : /proc/net/dev; grep lo: /proc/net/dev");
        assert_true(text_starts(talk.output.data, "1\n"));
        job_done(&job);
}

/* Without what the strict profile needs a job is not run in a weaker one. */
static void assert_strict_refused(struct job *job)
{
        struct error err = {0};

        assert_true(fixture.info->strict_why[0] != '\0');
        assert_int_equal(engine_create(fixture.engine, &job->sandbox, &job->spec, &err),
                         -ERROR_DENIED);
        assert_non_null(strstr(err.text, fixture.info->strict_why));
        job_done(job);
}

TEST("nothing of the host lies open to a job, in either profile")
{
        static const char script[] =
                "set +e\n"
                "cat /proc/self/status | grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):'\n"
                "for f in /var/run/docker.sock /run/docker.sock /root/.ssh /home/* "
                "/dev/mem /dev/sda /dev/vda /dev/kmsg; do\n"
                "  [ $f = /home/ci ] && continue\n"
                "  [ -e $f ] && echo \"SEEN $f\"\n"
                "done\n"
                "mkdir -p /workspace/m\n"
                "mount -t tmpfs x /workspace/m 2>/dev/null && echo DONE mount\n"
                "mount -o remount,rw / 2>/dev/null && echo DONE remount\n"
                "mount -o remount,rw /usr 2>/dev/null && echo DONE remount usr\n"
                "unshare -Ur true 2>/dev/null && echo DONE userns\n"
                "unshare -m true 2>/dev/null && echo DONE mountns\n"
                "chroot / true 2>/dev/null && echo DONE chroot\n"
                "mknod /workspace/n b 8 0 2>/dev/null && echo DONE mknod\n"
                "(echo x >/proc/sys/kernel/core_pattern) 2>/dev/null && echo DONE core_pattern\n"
                "(echo b >/proc/sysrq-trigger) 2>/dev/null && echo DONE sysrq\n"
                "[ -s /proc/kcore ] && head -c 1 /proc/kcore 2>/dev/null | grep -q . && echo DONE "
                "kcore\n"
                "for f in /sys/fs/cgroup/release_agent /sys/fs/cgroup/*/release_agent; do\n"
                "  [ -e $f ] && (echo x >$f) 2>/dev/null && echo DONE $f\n"
                "done\n"
                "(echo x >/argon/made) 2>/dev/null && echo DONE control folder\n"
                "rm -f /argon/sock 2>/dev/null; [ -S /argon/sock ] || echo DONE remove socket\n"
                "(echo x >>/argon/argon-step) 2>/dev/null && echo DONE write argon-step\n"
                "cat /proc/1/environ >/dev/null 2>&1 && echo DONE environ of 1\n"
                "ls -l /proc/1/exe 2>/dev/null | grep -q argon && echo DONE exe of 1\n"
                "cat /etc/shadow 2>/dev/null | grep -q '^root:[$]' && echo SEEN shadow\n"
                "dmesg >/dev/null 2>&1 && echo DONE dmesg\n"
                "echo end\n";

        for (int strict = 0; strict <= 1; strict++) {
                struct job job;
                scoped_talk struct talk talk = {.output = STR_INIT};
                struct sandbox_end end = {0};

                job_init(&job);
                job.spec.strict = strict;
                job.spec.network_none = strict && !fixture.info->strict;
                if (strict && !fixture.info->strict && !fixture.info->strict_offline) {
                        assert_strict_refused(&job);
                        continue;
                }
                job_run(&job, &talk, &end, script);
                note(strict ? "strict" : "default", talk.output.data);
                assert_null(strstr(talk.output.data, "DONE "));
                assert_null(strstr(talk.output.data, "SEEN "));
                assert_non_null(strstr(talk.output.data, "end\n"));
                if (strict) {
                        assert_non_null(strstr(talk.output.data, "CapEff:\t0000000000000000\n"));
                        assert_non_null(strstr(talk.output.data, "NoNewPrivs:\t1\n"));
                        assert_non_null(strstr(talk.output.data, "Seccomp:\t2\n"));
                }
                job_done(&job);
        }
}

/* What Docker's own filter leaves open: both up to versions 22 to 24. */
static bool is_known(const char *line)
{
        return text_starts(line, "DONE io_uring_setup\n") ||
               text_starts(line, "DONE socket to the hypervisor\n");
}

/* How many attempts of a probe were not refused, but for what is known. */
static int count_done(const char *output, bool some_are_known)
{
        int count = 0;

        for (const char *at = output; (at = strstr(at, "DONE ")); at += 5)
                count += !(some_are_known && is_known(at));
        return count;
}

TEST("a program that tries every way out finds none, in either profile")
{
        for (int strict = 0; strict <= 1; strict++) {
                struct job job;
                scoped_talk struct talk talk = {.output = STR_INIT};
                struct sandbox_end end = {0};
                scoped_text char *copy = NULL;
                scoped_str struct str bytes = STR_INIT;
                struct error err = {0};

                if (strict && !fixture.info->strict && !fixture.info->strict_offline)
                        continue; /* its refusal is tested above */
                job_init(&job);
                job.spec.strict = strict;
                job.spec.network_none = strict && !fixture.info->strict;
                copy = fs_path(job.workspace, "probe");
                assert_ok(str_read_file(&bytes, getenv("ARGON_PROBE"), 4 << 20, &err), err);
                assert_ok(fs_write_atomic(copy, bytes.data, bytes.len, 0755, &err), err);
                job_run(&job, &talk, &end, "./probe");
                note(strict ? "strict" : "default", talk.output.data);
                assert_true(talk.ended);
                assert_int_equal(talk.exit_code, 0);
                assert_non_null(strstr(talk.output.data, "end\n"));
                assert_int_equal(count_done(talk.output.data, is("docker") && !strict), 0);
                job_done(&job);
        }
}

TEST("the strict profile's root cannot be written, /tmp and the workspace can")
{
        struct job job;
        scoped_talk struct talk talk = {.output = STR_INIT};
        struct sandbox_end end = {0};

        if (!fixture.info->strict && !fixture.info->strict_offline)
                return; /* its refusal is tested above */
        job_init(&job);
        job.spec.strict = true;
        job.spec.network_none = !fixture.info->strict;
        job_run(&job, &talk, &end,
                "set +e; [ $(id -u) = 0 ] && echo ROOT; touch /x /usr/x /etc/x 2>/dev/null; ls /x "
                "/usr/x /etc/x "
                "2>/dev/null; "
                "touch /tmp/a /workspace/b && echo fine; su -c id 2>/dev/null && echo GAIN; "
                "sudo -n id 2>/dev/null && echo GAIN; true");
        assert_string_equal(talk.output.data, "fine\n");
        job_done(&job);
}

TEST("typical tools work in a job")
{
        struct job job;
        scoped_talk struct talk talk = {.output = STR_INIT};
        struct sandbox_end end = {0};

        job_init(&job);
        job_run(&job, &talk, &end,
                "set -e\n"
                "git init -q r && cd r && git config user.email a@b && git config user.name n\n"
                "echo 'all: ; @echo made' >Makefile && git add . && git commit -qm one\n"
                "git log --format=%s\n"
                "make -s\n"
                "python -c 'import ssl, tempfile; print(tempfile.gettempdir())'\n"
                "echo ~ | grep -q /; touch ~/.rc\n"
                "getent passwd $(id -u) >/dev/null && echo known\n"
                "echo text | tr a-z A-Z; mktemp >/dev/null; : >/dev/null; ls /proc/self/fd "
                ">/dev/null\n");
        assert_int_equal(talk.exit_code, 0);
        assert_string_equal(talk.output.data, "one\nmade\n/tmp\nknown\nTEXT\n");
        job_done(&job);
}

TEST("nothing is left over")
{
        fixture_close();
}

TEST_MAIN()
