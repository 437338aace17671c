/*
 * argon-step, started for real, by what it says and does. Its ends (limits, cancelling, killing)
 * are in limits_test.c, its line to the executor in line_test.c.
 */
#include <sys/stat.h>

#include "tests/support/step_run.h"

#include "base/banned.h"

TEST("two steps run one after the other and their output, codes and figures come back")
{
        struct step_plan_step steps[] = {
                {.script = "echo one; echo two >&2; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); "
                           "done"},
                {.script = "echo three; exit 0"},
        };
        struct run run;

        run_init(&run);
        assert_int_equal(run_job(&run, RUN_INIT, steps, 2, NULL), 0);
        assert_string_equal(run.out.data, "one\nthree\n");
        assert_string_equal(run.errors.data, "two\n");
        assert_int_equal(run.n_finished, 2);
        assert_int_equal(run.finished[0].exit_code, 0);
        assert_true(run.finished[0].max_rss > 100 * 1024);
        assert_true(run.finished[0].cpu_ms > 0);
        assert_true(run.finished[0].duration_ms >= run.finished[0].cpu_ms);
        assert_int_equal(run.end.result, STEP_JOB_SUCCESS);
        run_done(&run);
}

TEST("a failing step ends the job with its code, and the next one does not start")
{
        struct step_plan_step steps[] = {{.script = "exit 7"}, {.script = "echo never"}};
        struct run run;

        run_init(&run);
        assert_int_equal(run_job(&run, RUN_INIT, steps, 2, NULL), 7);
        assert_int_equal(run.started, 1);
        assert_int_equal(run.end.result, STEP_JOB_FAILED);
        assert_int_equal(run.end.step, 0);
        assert_int_equal(run.end.exit_code, 7);
        assert_string_equal(run.out.data, "");
        run_done(&run);
}

TEST("a failing step that may fail does not end the job")
{
        struct step_plan_step steps[] = {
                {.script = "kill -SEGV $$", .continue_on_error = true},
                {.script = "no-such-program; echo not reached", .continue_on_error = true},
                {.script = "echo on", .shell = "sh"},
        };
        struct run run;

        run_init(&run);
        assert_int_equal(run_job(&run, RUN_INIT, steps, 3, NULL), 0);
        assert_int_equal(run.finished[0].signal, SIGSEGV);
        assert_int_equal(run.finished[0].exit_code, -1);
        assert_int_equal(run.finished[1].exit_code, 127);
        assert_string_equal(run.out.data, "on\n");
        assert_non_null(strstr(run.errors.data, "no-such-program"));
        assert_int_equal(run.end.result, STEP_JOB_SUCCESS);
        run_done(&run);
}

static void expect_order(const char *script, const char *line, int times)
{
        struct step_plan_step steps[] = {{.script = script}};
        scoped_str struct str want = STR_INIT;
        struct run run;

        run_init(&run);
        assert_int_equal(run_job(&run, RUN_INIT, steps, 1, NULL), 0);
        for (int i = 0; i < times; i++)
                str_add(&want, line);
        assert_string_equal(run.all.data, want.data);
        run_done(&run);
}

TEST("what is written to stdout and stderr in turn keeps its order, without any pause")
{
        scoped_str struct str large = STR_INIT;

        expect_order("for i in 1 2 3 4 5 6 7 8 9; do for k in 1 2 3 4 5 6 7 8 9; do "
                     "echo a; echo b; echo c >&2; echo d; echo e >&2; echo f >&2; done; done",
                     "a\nb\nc\nd\ne\nf\n", 81);
        for (int i = 0; i < 5000; i++)
                str_add_char(&large, 'x');
        str_add(&large, "y\n");
        expect_order("exec python3 -c \"import os\nfor i in range(200):\n"
                     " os.write(2, b'x' * 5000); os.write(1, b'y\\n')\"",
                     large.data, 200);
}

TEST("a step sees the image's variables, the job's, its own and the secrets, and nothing of ours")
{
        struct step_plan_env job[] = {{"A", "job"}, {"B", "job"}, {"C", "job"}, {"B", "job 2"}};
        struct step_plan_env own[] = {{"B", "step"}, {"C", "step"}};
        struct step_plan_env secret[] = {{"C", "sec\nret"}};
        struct step_plan_step steps[] = {{.script = "env | sort", .env = own, .n_env = 2},
                                         {.script = "echo \"$B\""}};
        struct step_plan plan = {
                .env = job, .n_env = 4, .secrets = secret, .n_secrets = 1, .workspace = "/tmp"};
        struct run run;

        run_init(&run);
        assert_int_equal(run_job(&run, RUN_INIT, steps, 2, &plan), 0);
        if (geteuid() == 0)
                assert_string_equal(run.out.data,
                                    "A=job\nB=step\nC=sec\nFROM_IMAGE=yes\nHOME=/home/image\n"
                                    "LOGNAME=root\nPATH=/usr/bin:/bin\nPWD=/tmp\nUSER=root\nret\n"
                                    "job 2\n");
        assert_non_null(strstr(run.out.data, "A=job\nB=step\nC=sec\nFROM_IMAGE=yes\n"));
        run_done(&run);
}

TEST("standard input is at its end, no other descriptor is open, signals are at their defaults")
{
        struct step_plan_step steps[] = {
                {.script = "cat; readlink /proc/self/fd/0; ls /proc/self/fd | tr '\\n' ' '; "
                           "grep -E '^Sig(Blk|Ign)' /proc/self/status",
                 .shell = "bash"}};
        struct run run;

        run_init(&run);
        assert_int_equal(run_job(&run, RUN_PLAIN, steps, 1, NULL), 0);
        /* 3 is ls itself, reading the folder */
        assert_string_equal(run.out.data, "/dev/null\n0 1 2 3 SigBlk:\t0000000000000000\n"
                                          "SigIgn:\t0000000000000000\n");
        run_done(&run);
}

TEST("bash stops at a failing part of a pipe, sh does not, both stop at the first failing line")
{
        struct step_plan_step steps[] = {
                {.script = "false | true\necho sh\nfalse\necho never", .continue_on_error = true},
                {.script = "false | true\necho never", .shell = "bash", .continue_on_error = true},
                {.script = "echo $BASH_VERSION | grep -c '[.]'", .shell = "bash"},
        };
        struct run run;

        run_init(&run);
        assert_int_equal(run_job(&run, RUN_INIT, steps, 3, NULL), 0);
        assert_string_equal(run.out.data, "sh\n1\n");
        assert_int_equal(run.finished[0].exit_code, 1);
        assert_int_equal(run.finished[1].exit_code, 1);
        run_done(&run);
}

TEST("python finds modules of the workspace, under either of its names")
{
        struct step_plan_step steps[] = {
                {.script = "import own\nprint(own.x)\n", .shell = "python"}};
        struct run run;
        scoped_text char *path = NULL;
        struct error err;

        run_init(&run);
        path = run_path(&run, "own.py");
        assert_ok(fs_write_atomic(path, "x = 42\n", 7, 0644, &err), err);
        assert_int_equal(run_job(&run, RUN_INIT, steps, 1, NULL), 0);
        assert_string_equal(run.out.data, "42\n");
        run_done(&run);
}

TEST("a command of one's own gets the script's path for {0}, and the file is gone afterwards")
{
        struct step_plan_step steps[] = {
                {.script = "print \"$0 $ARGV[0]\\n\"", .shell = "perl -w {0} 'two words'"},
                {.script = "#!/bin/sh\necho direct", .shell = "{0}"},
        };
        struct run run;
        char *end;

        run_init(&run);
        assert_int_equal(run_job(&run, RUN_INIT, steps, 2, NULL), 0);
        end = strstr(run.out.data, " two words\ndirect\n");
        assert_non_null(end);
        *end = '\0';
        assert_true(text_starts(run.out.data, "/tmp/argon-step-"));
        assert_int_equal(access(run.out.data, F_OK), -1);
        run_done(&run);
}

TEST("a script larger than an argument may be runs all the same")
{
        struct step_plan_step steps[] = {{.name = "long"}, {.name = "bash", .shell = "bash"}};
        scoped_str struct str script = STR_INIT;
        struct run run;

        while (script.len < 900 * 1024)
                str_add(&script, ": a line that does nothing but take room\n");
        str_add(&script, "echo the end");
        steps[0].script = script.data;
        steps[1].script = script.data;
        run_init(&run);
        assert_int_equal(run_job(&run, RUN_INIT, steps, 2, NULL), 0);
        assert_string_equal(run.out.data, "the end\nthe end\n");
        run_done(&run);
}

TEST("a flood passes through ordinary pipes, and a non-blocking output never meets a small one")
{
        struct step_plan_step steps[] = {
                {.script = "import os\nfor i in range(100000): os.write(1, b'a line\\n')",
                 .shell = "python"},
                {.script = "import os, time\nos.set_blocking(1, False)\nos.write(1, b'x')\n"
                           "time.sleep(0.3)\nfor i in range(60): os.write(1, b'y' * 1000)",
                 .shell = "python"}};
        struct run run;

        run_init(&run);
        assert_int_equal(run_job(&run, RUN_INIT, steps, 2, NULL), 0);
        assert_int_equal(run.out.len, 700000 + 1 + 60000);
        run_done(&run);
}

static void expect_reason(struct step_plan_step step, struct step_plan_env *env, const char *want)
{
        struct step_plan plan = {.env = env, .n_env = env ? 1 : 0};
        struct run run;

        run_init(&run);
        assert_int_equal(run_job(&run, RUN_INIT, &step, 1, &plan), 127);
        assert_int_equal(run.finished[0].cause, STEP_CAUSE_START);
        assert_int_equal(run.finished[0].exit_code, -1);
        assert_int_equal(run.end.result, STEP_JOB_FAILED);
        if (!strstr(run.reasons[0], want))
                fail_msg("'%s' instead of '%s'", run.reasons[0], want);
        assert_string_equal(run.end_text, run.reasons[0]);
        run_done(&run);
}

TEST("what cannot be started is said in words: shell, folder, command, variables")
{
        struct step_plan_env nowhere = {"PATH", "/nowhere"};
        scoped_str struct str large = STR_INIT;
        struct step_plan_env big = {"BIG", NULL};

        expect_reason((struct step_plan_step){.script = "x", .shell = "fish"}, NULL,
                      "shell 'fish' is not known; a command of your own needs {0}");
        expect_reason((struct step_plan_step){.script = "x", .shell = "fish {0}"}, NULL,
                      "shell 'fish {0}': this image has no program 'fish' (PATH is /usr/bin:/bin)");
        expect_reason((struct step_plan_step){.script = "x", .shell = "bash"}, &nowhere,
                      "shell 'bash': this image has no program 'bash' (PATH is /nowhere)");
        expect_reason((struct step_plan_step){.script = "x", .shell = "sh 'a {0}"}, NULL,
                      "`shell` has a ' that is not closed");
        expect_reason((struct step_plan_step){.script = "x", .folder = "no/such"}, NULL,
                      "no/such': No such file or directory");
        expect_reason((struct step_plan_step){.script = "x", .folder = "/etc/passwd"}, NULL,
                      "working directory '/etc/passwd': Not a directory");
        expect_reason((struct step_plan_step){.script = "x", .shell = "/etc/passwd {0}"}, NULL,
                      "Permission denied");
        while (large.len < 200 * 1024)
                str_add(&large, "0123456789");
        big.value = large.data;
        expect_reason((struct step_plan_step){.script = "x"}, &big,
                      "larger than the kernel hands to a program");
}

TEST("a program whose loader is missing is told from one that is missing")
{
        struct step_plan_step step = {.script = "x"};
        scoped_text char *shell = NULL;
        scoped_text char *path = NULL;
        struct run run;
        struct error err;

        run_init(&run);
        path = run_path(&run, "odd");
        shell = text_format("%s {0}", path);
        step.shell = shell;
        assert_ok(fs_write_atomic(path, "#!/no/such/loader\n", 18, 0755, &err), err);
        assert_int_equal(run_job(&run, RUN_INIT, &step, 1, NULL), 127);
        assert_non_null(strstr(run.reasons[0], "its loader or interpreter is missing"));
        run_done(&run);
}

TEST("working directories are relative to the workspace or absolute")
{
        struct step_plan_step steps[] = {{.script = "mkdir sub"},
                                         {.script = "pwd", .folder = "sub"},
                                         {.script = "pwd", .folder = "/usr"}};
        struct run run;
        scoped_text char *want = NULL;

        run_init(&run);
        want = text_format("%s/sub\n/usr\n", run.folder);
        assert_int_equal(run_job(&run, RUN_INIT, steps, 3, NULL), 0);
        assert_string_equal(run.out.data, want);
        run_done(&run);
}

TEST("a step may open /dev/stdout and /dev/stderr by name")
{
        struct step_plan_step steps[] = {{.script = "echo a >/dev/stdout; echo b >/dev/stderr; "
                                                    "echo c | tee /dev/stderr"}};
        struct step_plan plan = {0};
        struct run run;

        if (geteuid() == 0)
                plan = (struct step_plan){.uid = 65534,
                                          .gid = 65534,
                                          .supervisor_uid = STEP_ID_KEEP,
                                          .workspace = "/"};
        run_init(&run);
        assert_int_equal(run_job(&run, RUN_PLAIN, steps, 1, &plan), 0);
        assert_string_equal(run.out.data, "a\nc\n");
        assert_string_equal(run.errors.data, "b\nc\n");
        run_done(&run);
}

TEST("strict steps have another user, no group, no capability, and cannot get one")
{
        struct step_plan_step steps[] = {
                {.script =
                         "id -u; id -G; echo $HOME $USER; "
                         "grep -E '^(CapEff|CapPrm|CapInh|CapAmb|NoNewPrivs)' /proc/self/status"}};
        struct step_plan plan = {.uid = 65534,
                                 .gid = 65534,
                                 .supervisor_uid = 900,
                                 .strict = true,
                                 .workspace = "/"};
        struct run run;

        if (geteuid() != 0)
                return;
        run_init(&run);
        assert_int_equal(chmod(run.folder, 0755), 0);
        assert_int_equal(run_job(&run, RUN_INIT, steps, 1, &plan), 0);
        assert_string_equal(run.out.data, "65534\n65534\n/tmp nobody\n"
                                          "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n"
                                          "CapEff:\t0000000000000000\nCapAmb:\t0000000000000000\n"
                                          "NoNewPrivs:\t1\n");
        run_done(&run);
}

TEST("strict for uid 0 lasts over exec")
{
        struct step_plan_step steps[] = {
                {.script = "grep CapEff /proc/self/status; chown 1 /dev/null"}};
        struct step_plan plan = {.uid = STEP_ID_KEEP,
                                 .gid = STEP_ID_KEEP,
                                 .supervisor_uid = STEP_ID_KEEP,
                                 .strict = true};
        struct run run;

        run_init(&run);
        assert_int_not_equal(run_job(&run, RUN_INIT, steps, 1, &plan), 0);
        assert_string_equal(run.out.data, "CapEff:\t0000000000000000\n");
        run_done(&run);
}

TEST("a supervisor of another user still answers, starts steps and kills them")
{
        struct step_plan_step steps[] = {
                {.script = "id -u; trap '' TERM; setsid sleep 60 & sleep 0.1"}};
        struct step_plan plan = {
                .uid = 0, .gid = 0, .supervisor_uid = 900, .workspace = "/", .strict = false};
        struct run run;
        struct step_plan_step more = steps[0];

        if (geteuid() != 0)
                return;
        run_init(&run);
        assert_int_equal(chmod(run.folder, 0755), 0);
        run_start(&run, RUN_INIT);
        run_listen(&run, 0);
        more.name = "n";
        more.shell = "sh";
        more.folder = "";
        plan.steps = &more;
        plan.n_steps = 1;
        assert_int_equal(channel_set_plan(run.channel, &plan, NULL), 0);
        run_follow(&run, NULL);
        assert_int_equal(run_wait(&run), 0);
        assert_string_equal(run.out.data, "0\n");
        assert_true(run.end.killed >= 1);
        run_done(&run);
}

TEST("a profile that cannot be kept is an error, not a weaker one")
{
        struct step_plan_step steps[] = {{.script = "echo never"}};
        struct step_plan plan = {.uid = 12345, .gid = 12345, .supervisor_uid = STEP_ID_KEEP};
        struct run run;
        pid_t pid;
        int status;

        if (geteuid() == 0) {
                /* the same as a user who may not change to another */
                pid = fork();
                if (pid == 0) {
                        if (setresgid(1000, 1000, 1000) < 0 || setresuid(1000, 1000, 1000) < 0)
                                _exit(98);
                        run_init(&run);
                        run_job(&run, RUN_PLAIN, steps, 1, &plan);
                        _exit(run.finished[0].cause == STEP_CAUSE_START && run.out.len == 0 &&
                                              strstr(run.reasons[0],
                                                     "security profile cannot be kept")
                                      ? 0
                                      : 97);
                }
                assert_int_equal(waitpid(pid, &status, 0), pid);
                assert_int_equal(status, 0);
                return;
        }
        run_init(&run);
        run_job(&run, RUN_PLAIN, steps, 1, &plan);
        assert_int_equal(run.finished[0].cause, STEP_CAUSE_START);
        run_done(&run);
}

TEST("steps are the kernel's first choice when memory runs out, the supervisor is not")
{
        struct step_plan_step steps[] = {
                {.script = "cat /proc/self/oom_score_adj; echo now; sleep 5"}};
        struct step_plan plan = {0};
        struct run run;
        char path[64];
        scoped_str struct str text = STR_INIT;

        run_init(&run);
        run_start(&run, RUN_INIT);
        run_listen(&run, 0);
        run_plan(&run, steps, 1, &plan);
        run_follow(&run, "now");
        snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)run.pid);
        assert_int_equal(str_read_file(&text, path, 64, NULL), 0);
        assert_int_equal(strtol(run.out.data, NULL, 10) >= 500, 1);
        assert_true(strtol(text.data, NULL, 10) < 500);
        channel_stop(run.channel);
        run_follow(&run, NULL);
        run_done(&run);
}

TEST("the same file is installed once, and put right when it was changed")
{
        struct run run;
        struct stat before;
        struct stat after;
        scoped_text char *again = NULL;
        struct error err;

        run_init(&run);
        assert_int_equal(stat(run.binary, &before), 0);
        assert_int_equal(before.st_mode & 07777, 0755);
        assert_ok(step_install(&again, run.folder, &err), err);
        assert_string_equal(again, run.binary);
        assert_non_null(strstr(again, step_image_hash()));
        assert_int_equal(stat(run.binary, &after), 0);
        assert_int_equal(before.st_ino, after.st_ino);
        assert_int_equal(truncate(run.binary, 100), 0);
        free(again);
        again = NULL;
        assert_ok(step_install(&again, run.folder, &err), err);
        assert_int_equal(stat(run.binary, &after), 0);
        assert_int_equal(before.st_size, after.st_size);
        run_done(&run);
}

TEST_MAIN()
