#include <sys/socket.h>

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

TEST_MAIN()
