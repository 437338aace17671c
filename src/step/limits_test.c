/*
 * How steps and jobs end when they do not end by themselves.
 */
#include <sys/resource.h>

#include "tests/support/step_run.h"

#include "base/banned.h"

#define STUBBORN "trap '' TERM; echo up; while :; do sleep 0.05; done"

TEST("a step that ignores SIGTERM is killed after the grace, and the reason has the figure")
{
        struct step_plan_step steps[] = {{.script = STUBBORN, .timeout_ms = 300}};
        struct step_plan plan = {.grace_ms = 200};
        struct run run;

        run_init(&run);
        assert_int_equal(run_job(&run, RUN_INIT, steps, 1, &plan), 124);
        assert_int_equal(run.finished[0].cause, STEP_CAUSE_TIMEOUT);
        assert_int_equal(run.finished[0].signal, SIGKILL);
        assert_string_equal(run.reasons[0], "the step timed out after 0.300 s");
        assert_true(run.finished[0].duration_ms >= 480 && run.finished[0].duration_ms < 3000);
        assert_true(run.finished[0].killed >= 1);
        assert_int_equal(run.end.result, STEP_JOB_TIMEOUT);
        run_done(&run);
}

TEST("a step that ends on SIGTERM may clean up, and one that may fail does not end the job")
{
        struct step_plan_step steps[] = {
                {.script =
                         "trap 'echo cleaned; exit 3' TERM; echo up; while :; do sleep 0.02; done",
                 .timeout_ms = 200,
                 .continue_on_error = true},
                {.script = "echo next"}};
        struct run run;

        run_init(&run);
        assert_int_equal(run_job(&run, RUN_INIT, steps, 2, NULL), 0);
        assert_string_equal(run.out.data, "up\ncleaned\nnext\n");
        assert_int_equal(run.finished[0].exit_code, 3);
        assert_int_equal(run.finished[0].cause, STEP_CAUSE_TIMEOUT);
        assert_int_equal(run.finished[0].killed, 0);
        run_done(&run);
}

TEST("a timeout takes the group along although its leader has already gone")
{
        struct step_plan_step steps[] = {
                {.script = "(trap '' TERM; while :; do echo child; sleep 0.05; done) & sleep 60",
                 .timeout_ms = 200,
                 .continue_on_error = true},
                {.script = "sleep 0.3; echo quiet"}};
        struct step_plan plan = {.grace_ms = 200};
        struct run run;
        const char *after;

        run_init(&run);
        assert_int_equal(run_job(&run, RUN_INIT, steps, 2, &plan), 0);
        assert_int_equal(run.finished[0].signal, SIGTERM);
        assert_true(run.finished[0].killed >= 1);
        after = strstr(run.all.data, "quiet\n");
        assert_non_null(after);
        assert_string_equal(after, "quiet\n");
        run_done(&run);
}

TEST("the job's limit counts over its steps")
{
        struct step_plan_step steps[] = {{.script = "sleep 0.3"}, {.script = "sleep 30"}};
        struct step_plan plan = {.timeout_ms = 600};
        struct run run;

        run_init(&run);
        assert_int_equal(run_job(&run, RUN_INIT, steps, 2, &plan), 124);
        assert_int_equal(run.finished[0].exit_code, 0);
        assert_int_equal(run.finished[1].cause, STEP_CAUSE_JOB_TIMEOUT);
        assert_true(run.finished[1].duration_ms < 2000);
        assert_int_equal(run.end.result, STEP_JOB_TIMEOUT);
        assert_string_equal(run.end_text, "the job timed out after 0.600 s");
        run_done(&run);
}

TEST("a server left behind lives for the next step, keeps its step's number, and dies with the job")
{
        struct step_plan_step steps[] = {
                {.script = "(while [ ! -e go ]; do sleep 0.01; done; echo served; touch done; "
                           "exec sleep 60) &"},
                {.script = "touch go; while [ ! -e done ]; do sleep 0.01; done; sleep 0.1"}};
        struct step_plan plan = {0};
        struct run run;
        struct step_event event;
        int served_by = -1;
        struct error err;

        run_init(&run);
        run_start(&run, RUN_INIT);
        run_listen(&run, 0);
        run_plan(&run, steps, 2, &plan);
        while (!run.ended) {
                assert_int_equal(channel_receive(run.channel, RUN_PATIENCE_MS, -1, &event, &err),
                                 1);
                run_take(&run, &event);
                channel_ack(run.channel, event.offset);
                if (event.type == STEP_FRAME_OUTPUT)
                        served_by = (int)event.output.step;
        }
        assert_int_equal(run.n_finished, 2);
        assert_int_equal(served_by, 0);
        assert_string_equal(run.out.data, "served\n");
        assert_int_equal(run.end.killed, 1);
        assert_int_equal(run_wait(&run), 0);
        run_done(&run);
}

static void leave_daemons(int flags)
{
        struct step_plan_step steps[] = {
                {.script = "for i in 1 2 3; do setsid sh -c \"trap '' TERM INT HUP; (trap '' TERM; "
                           "while :; do sleep 0.05; done) & while :; do sleep 0.05; done\" & done; "
                           "sleep 0.2; echo left"}};
        struct run run;

        run_init(&run);
        run_start(&run, flags);
        run_listen(&run, 0);
        run_plan(&run, steps, 1, &(struct step_plan){0});
        run_follow(&run, NULL);
        assert_true(run.end.killed >= 6);
        assert_int_equal(run_wait(&run), 0);
        run_done(&run);
}

TEST("setsid, double forks and ignored signals do not survive the job, as PID 1")
{
        leave_daemons(RUN_INIT);
}

TEST("setsid, double forks and ignored signals do not survive the job, as a plain process")
{
        leave_daemons(RUN_PLAIN);
}

TEST("orphans that end are collected while the step still runs")
{
        struct step_plan_step steps[] = {
                {.script = "for i in 1 2 3 4 5; do (sh -c 'sleep 0.01 &' ) ; done; sleep 0.3; echo "
                           "look; sleep 60"}};
        struct step_plan plan = {0};
        struct run run;
        char path[64];
        scoped_str struct str children = STR_INIT;

        run_init(&run);
        run_start(&run, RUN_INIT);
        run_listen(&run, 0);
        run_plan(&run, steps, 1, &plan);
        run_follow(&run, "look");
        snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)run.pid, (int)run.pid);
        assert_int_equal(str_read_file(&children, path, 4096, NULL), 0);
        /* one number: the step itself */
        assert_ptr_equal(strchr(children.data, ' '), children.data + children.len - 1);
        channel_stop(run.channel);
        run_follow(&run, NULL);
        run_done(&run);
}

TEST("cancel lets a step clean up and ends the job as cancelled")
{
        struct step_plan_step steps[] = {
                {.script =
                         "trap 'echo cleaned; exit 0' TERM; echo up; while :; do sleep 0.02; done"},
                {.script = "echo never"}};
        struct step_plan plan = {0};
        struct run run;

        run_init(&run);
        run_start(&run, RUN_INIT);
        run_listen(&run, 0);
        run_plan(&run, steps, 2, &plan);
        run_follow(&run, "up");
        channel_cancel(run.channel);
        run_follow(&run, NULL);
        assert_string_equal(run.out.data, "up\ncleaned\n");
        assert_int_equal(run.end.result, STEP_JOB_CANCELLED);
        assert_int_equal(run.finished[0].cause, STEP_CAUSE_CANCELLED);
        assert_int_equal(run.started, 1);
        assert_int_equal(run_wait(&run), 130);
        run_done(&run);
}

TEST("stop ends a job at once, also while a cancel is giving grace")
{
        struct step_plan_step steps[] = {{.script = STUBBORN}};
        struct step_plan plan = {.grace_ms = 60000};
        struct run run;
        int64_t began;

        run_init(&run);
        run_start(&run, RUN_INIT);
        run_listen(&run, 0);
        run_plan(&run, steps, 1, &plan);
        run_follow(&run, "up");
        channel_cancel(run.channel);
        began = clock_ms();
        channel_stop(run.channel);
        run_follow(&run, NULL);
        assert_true(clock_ms() - began < 3000);
        assert_int_equal(run.finished[0].signal, SIGKILL);
        run_done(&run);
}

TEST("cancel before the plan ends the job without a step")
{
        struct run run;

        run_init(&run);
        run_start(&run, RUN_INIT);
        run_listen(&run, 0);
        channel_cancel(run.channel);
        run_follow(&run, NULL);
        assert_int_equal(run.end.result, STEP_JOB_CANCELLED);
        assert_int_equal(run.started, 0);
        assert_int_equal(run_wait(&run), 130);
        run_done(&run);
}

TEST("SIGTERM from outside ends the job and is told")
{
        struct step_plan_step steps[] = {{.script = "echo up; sleep 60"}};
        struct step_plan plan = {0};
        struct run run;

        run_init(&run);
        run_start(&run, RUN_INIT);
        run_listen(&run, 0);
        run_plan(&run, steps, 1, &plan);
        run_follow(&run, "up");
        kill(run.pid, SIGTERM);
        run_follow(&run, NULL);
        assert_int_equal(run.end.result, STEP_JOB_STOPPED);
        assert_string_equal(run.end_text, "the sandbox was told to stop");
        assert_int_equal(run_wait(&run), 125);
        run_done(&run);
}

TEST("a step cannot end its supervisor, nor stop it, nor make it end the job")
{
        struct step_plan_step steps[] = {
                {.script = "for s in KILL STOP TERM SEGV INT HUP; do kill -$s 1; done; sleep 0.1; "
                           "ulimit -c; echo still here"}};
        struct step_plan plan = {0};
        struct run run;

        run_init(&run);
        assert_int_equal(run_job(&run, RUN_INIT, steps, 1, &plan), 0);
        assert_non_null(strstr(run.out.data, "still here\n"));
        run_done(&run);
}

TEST("an executor that holds the line and takes nothing is none")
{
        struct step_plan_step steps[] = {{.script = "exec yes"}};
        struct step_plan plan = {.orphan_max_ms = 600};
        struct timespec pause = {.tv_sec = 1, .tv_nsec = 500000000};
        struct step_event event;
        struct run run;

        run_init(&run);
        run_start(&run, RUN_INIT);
        run_listen(&run, 0);
        run_plan(&run, steps, 1, &plan);
        assert_int_equal(channel_receive(run.channel, RUN_PATIENCE_MS, -1, &event, NULL), 1);
        run_take(&run, &event);
        nanosleep(&pause, NULL);
        run_follow(&run, NULL);
        assert_int_equal(run.end.result, STEP_JOB_ORPHANED);
        run_done(&run);
}

TEST("a job that nobody asks for ends itself, and tells it to whoever comes later")
{
        struct step_plan_step steps[] = {{.script = "echo up; sleep 60"}};
        struct step_plan plan = {.orphan_max_ms = 700};
        struct run run;
        struct timespec pause = {.tv_sec = 1, .tv_nsec = 100000000};

        run_init(&run);
        run_start(&run, RUN_INIT);
        run_listen(&run, 0);
        run_plan(&run, steps, 1, &plan);
        run_follow(&run, "up");
        channel_close(run.channel);
        run.channel = NULL;
        nanosleep(&pause, NULL);
        run_listen(&run, run.offset);
        run_follow(&run, NULL);
        assert_int_equal(run.end.result, STEP_JOB_ORPHANED);
        assert_int_equal(run.finished[0].cause, STEP_CAUSE_ORPHANED);
        assert_int_equal(run_wait(&run), 125);
        run_done(&run);
}

static int64_t children_cpu_ms(void)
{
        struct rusage usage;

        getrusage(RUSAGE_CHILDREN, &usage);
        return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
               (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
}

static void abandon(const char *script, bool cancelled)
{
        struct step_plan_step steps[] = {{.script = script}};
        struct step_plan plan = {.orphan_max_ms = 1000, .grace_ms = 200};
        int64_t before;
        struct run run;

        run_init(&run);
        run_start(&run, RUN_INIT);
        run_listen(&run, 0);
        run_plan(&run, steps, 1, &plan);
        run_follow(&run, "up");
        if (cancelled)
                channel_cancel(run.channel);
        channel_close(run.channel);
        run.channel = NULL;
        before = children_cpu_ms();
        assert_int_equal(run_wait(&run), cancelled ? 130 : 125);
        /* It waited for a second and more; it did not spin. */
        if (!cancelled)
                assert_true(children_cpu_ms() - before < 600);
        run_done(&run);
}

TEST("an orphan that nobody comes for at all ends too")
{
        abandon("echo up; exec sleep 60", false);
}

TEST("an orphan that floods its output ends too, also when the step has already gone")
{
        abandon("echo up; exec yes", false);
        abandon("echo up; yes & sleep 0.3; exit 3", false);
}

TEST("a cancelled job whose executor never comes back ends with what it was told")
{
        abandon("trap '' TERM; echo up; while :; do echo more; done", true);
}

static void put(const struct run *run, const char *name, const char *text)
{
        scoped_text char *path = run_path(run, name);
        struct error err;

        assert_ok(fs_write_atomic(path, text, strlen(text), 0644, &err), err);
}

static void make_folder(const struct run *run, const char *name)
{
        scoped_text char *path = run_path(run, name);
        struct error err;

        assert_ok(fs_mkdirs(path, 0755, &err), err);
}

/* Counters as the kernel writes them; the step itself plays the kernel. */
TEST("breaches of limits are told with their figure, from both versions of control groups")
{
        struct step_plan_step steps[] = {
                {.script = "echo 'oom_kill 1' >cg/memory.events", .continue_on_error = true},
                {.script = "echo 'low 0\noom 9\noom_kill 2' >cg/memory.events; exit 1",
                 .continue_on_error = true},
                {.script = "echo 'max 5' >cg/pids.events; exit 2", .continue_on_error = true},
                {.script = "exit 3", .continue_on_error = true},
        };
        struct step_plan plan = {0};
        struct run run;
        scoped_text char *folder = NULL;

        for (int version = 1; version <= 2; version++) {
                run_init(&run);
                make_folder(&run, "cg/memory");
                make_folder(&run, "cg/pids");
                put(&run, version == 2 ? "cg/memory.max" : "cg/memory/memory.limit_in_bytes",
                    "67108864\n");
                put(&run, version == 2 ? "cg/pids.max" : "cg/pids/pids.max", "32\n");
                put(&run, version == 2 ? "cg/memory.events" : "cg/memory/memory.oom_control",
                    "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n");
                put(&run, version == 2 ? "cg/pids.events" : "cg/pids/pids.events", "max 0\n");
                if (version == 1) {
                        steps[0].script = "echo 'oom_kill 1' >cg/memory/memory.oom_control";
                        steps[1].script = "echo 'oom_kill 2' >cg/memory/memory.oom_control; exit 1";
                        steps[2].script = "echo 'max 5' >cg/pids/pids.events; exit 2";
                } else {
                        steps[0].script = "echo 'oom_kill 1' >cg/memory.events";
                        steps[1].script =
                                "printf 'low 0\\noom 9\\noom_kill 2\\n' >cg/memory.events; "
                                "exit 1";
                        steps[2].script = "echo 'max 5' >cg/pids.events; exit 2";
                }
                folder = run_path(&run, "cg");
                run.cgroup = folder;
                plan.workspace = NULL;
                assert_int_equal(run_job(&run, RUN_INIT, steps, 4, &plan), 0);
                assert_int_equal(run.finished[0].cause, STEP_CAUSE_NONE);
                assert_string_equal(run.warnings[0], "a process of this step was killed: out of "
                                                     "memory (64 MiB); the step went on");
                assert_int_equal(run.finished[1].cause, STEP_CAUSE_OOM);
                assert_string_equal(run.reasons[1], "out of memory (64 MiB)");
                assert_int_equal(run.finished[2].cause, STEP_CAUSE_PIDS);
                assert_string_equal(run.reasons[2], "process limit reached (32)");
                assert_int_equal(run.finished[3].cause, STEP_CAUSE_NONE);
                assert_string_equal(run.reasons[3], "");
                run_done(&run);
                free(folder);
                folder = NULL;
        }
}

TEST("512 steps that say nothing run to the end, one more is refused")
{
        static struct step_plan_step steps[STEP_STEPS_MAX + 1];
        struct step_plan plan = {.workspace = "/",
                                 .steps = steps,
                                 .n_steps = STEP_STEPS_MAX,
                                 .uid = STEP_ID_KEEP,
                                 .gid = STEP_ID_KEEP,
                                 .supervisor_uid = STEP_ID_KEEP};
        struct run run;
        struct step_event event;
        struct error err;
        int finished = 0;

        for (int i = 0; i <= STEP_STEPS_MAX; i++)
                steps[i] = (struct step_plan_step){
                        .name = "n", .script = ":", .shell = "sh", .folder = ""};
        run_init(&run);
        run_start(&run, RUN_INIT);
        run_listen(&run, 0);
        plan.n_steps++;
        assert_int_equal(channel_set_plan(run.channel, &plan, &err), -ERROR_LIMIT);
        plan.n_steps--;
        assert_ok(channel_set_plan(run.channel, &plan, &err), err);
        do {
                assert_int_equal(channel_receive(run.channel, RUN_PATIENCE_MS, -1, &event, &err),
                                 1);
                finished += event.type == STEP_FRAME_STEP_FINISHED;
        } while (event.type != STEP_FRAME_JOB_END);
        assert_int_equal(finished, STEP_STEPS_MAX);
        assert_int_equal(event.end.result, STEP_JOB_SUCCESS);
        channel_ack(run.channel, event.offset);
        assert_int_equal(run_wait(&run), 0);
        run_done(&run);
}

TEST_MAIN()
