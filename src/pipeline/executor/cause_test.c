#include "pipeline/executor/cause.h"

#include <string.h>

#include "base/str.h"
#include "domain/order.h"
#include "ports/engine.h"
#include "tests/support/test.h"
#include "wire/step_frame.h"

#include "base/banned.h"

static struct order_step steps[] = {{.name = "first", .timeout_ms = 60000}, {.name = "second"}};

static const struct order order = {
        .timeout_ms = 3600000,
        .memory = INT64_C(512) << 20,
        .disk = INT64_C(10) << 30,
        .pids = 32,
        .steps = steps,
        .n_steps = 2,
};

static void assert_verdict(struct cause *verdict, enum state want, enum reason reason,
                           const char *text)
{
        assert_string_equal(state_name(verdict->state), state_name(want));
        assert_string_equal(reason_name(verdict->reason), reason_name(reason));
        assert_string_equal(verdict->text, text);
        cause_done(verdict);
}

static struct cause of_step(enum step_cause cause, int exit_code, int signal, const char *text,
                            bool asked)
{
        struct step_finished finished = {.exit_code = exit_code,
                                         .signal = signal,
                                         .cause = cause,
                                         .text = text,
                                         .warning = ""};
        struct cause verdict = {0};

        cause_of_step(&verdict, &order, &finished, asked);
        return verdict;
}

TEST("a step's end is told by its exit code or signal")
{
        struct cause verdict = of_step(STEP_CAUSE_NONE, 0, 0, "", false);

        assert_verdict(&verdict, STATE_SUCCESS, REASON_NONE, "");
        verdict = of_step(STEP_CAUSE_NONE, 3, 0, "", false);
        assert_int_equal(verdict.exit_code, 3);
        assert_verdict(&verdict, STATE_FAILED, REASON_EXIT_CODE, "exited with 3");
        verdict = of_step(STEP_CAUSE_NONE, -1, 11, "", false);
        assert_int_equal(verdict.signal, 11);
        assert_verdict(&verdict, STATE_FAILED, REASON_SIGNAL, "killed by signal 11 (SIGSEGV)");
}

TEST("a limit's breach has its reason with the figure")
{
        struct cause verdict = of_step(STEP_CAUSE_TIMEOUT, -1, 15, "", false);

        assert_verdict(&verdict, STATE_TIMEOUT, REASON_TIMEOUT, "timed out after 60 s");
        verdict = of_step(STEP_CAUSE_JOB_TIMEOUT, -1, 15, "", false);
        assert_verdict(&verdict, STATE_TIMEOUT, REASON_TIMEOUT, "timed out after 3600 s");
        verdict = of_step(STEP_CAUSE_OOM, 137, 0, "", false);
        assert_verdict(&verdict, STATE_FAILED, REASON_OUT_OF_MEMORY, "out of memory (512 MiB)");
        verdict = of_step(STEP_CAUSE_PIDS, 2, 0, "", false);
        assert_verdict(&verdict, STATE_FAILED, REASON_PIDS_LIMIT, "process limit (32)");
        verdict = of_step(STEP_CAUSE_DISK, 1, 0, "", false);
        assert_verdict(&verdict, STATE_FAILED, REASON_DISK_LIMIT, "disk limit (10 GiB)");
        verdict = of_step(STEP_CAUSE_OOM, 137, 0, "out of memory (64 MiB)", false);
        assert_verdict(&verdict, STATE_FAILED, REASON_OUT_OF_MEMORY, "out of memory (64 MiB)");
}

TEST("stopped is cancelled when we asked for it, an error when nobody did")
{
        struct cause verdict = of_step(STEP_CAUSE_STOPPED, -1, 9, "", true);

        assert_verdict(&verdict, STATE_CANCELLED, REASON_CANCELLED, "cancelled");
        verdict = of_step(STEP_CAUSE_STOPPED, -1, 9, "", false);
        assert_verdict(&verdict, STATE_ERROR, REASON_ENGINE_UNAVAILABLE,
                       "the sandbox was stopped from outside");
}

TEST("a job's end takes the cause of the step that decided")
{
        struct step_job_end end = {.result = STEP_JOB_FAILED,
                                   .step = 1,
                                   .exit_code = 7,
                                   .cause = STEP_CAUSE_NONE,
                                   .text = "",
                                   .warning = ""};
        struct cause verdict = {0};

        cause_of_job(&verdict, &order, &end, false);
        assert_int_equal(verdict.step, 1);
        assert_int_equal(verdict.exit_code, 7);
        assert_verdict(&verdict, STATE_FAILED, REASON_EXIT_CODE, "exited with 7");
        end.result = STEP_JOB_SUCCESS;
        cause_of_job(&verdict, &order, &end, true);
        assert_int_equal(verdict.exit_code, 0);
        assert_verdict(&verdict, STATE_SUCCESS, REASON_NONE, "");
        end.result = STEP_JOB_CANCELLED;
        cause_of_job(&verdict, &order, &end, true);
        assert_verdict(&verdict, STATE_CANCELLED, REASON_CANCELLED, "cancelled");
        end.result = STEP_JOB_ERROR;
        end.cause = STEP_CAUSE_START;
        end.text = "there is no sh in the image";
        cause_of_job(&verdict, &order, &end, false);
        assert_verdict(&verdict, STATE_ERROR, REASON_CONFIG_INVALID, "there is no sh in the image");
}

TEST("a sandbox that ended without a word is told by what the engine saw")
{
        struct sandbox_end end = {.exit_code = 137};
        struct cause verdict = {0};

        cause_of_sandbox(&verdict, &order, &end);
        assert_verdict(&verdict, STATE_ERROR, REASON_ENGINE_UNAVAILABLE,
                       "the sandbox was ended from outside (exit code 137)");
        end.oom = true;
        cause_of_sandbox(&verdict, &order, &end);
        assert_verdict(&verdict, STATE_FAILED, REASON_OUT_OF_MEMORY, "out of memory (512 MiB)");
        end.disk = true;
        cause_of_sandbox(&verdict, &order, &end);
        assert_verdict(&verdict, STATE_FAILED, REASON_DISK_LIMIT, "disk limit (10 GiB)");
        end = (struct sandbox_end){.exit_code = -1, .gone = true};
        cause_of_sandbox(&verdict, &order, &end);
        assert_verdict(&verdict, STATE_ERROR, REASON_ENGINE_UNAVAILABLE,
                       "the sandbox is gone: it was removed from outside");
}

TEST("sizes are told in the largest unit that fits")
{
        scoped_str struct str text = STR_INIT;

        str_add_size(&text, 100);
        str_add(&text, ", ");
        str_add_size(&text, 1024);
        str_add(&text, ", ");
        str_add_size(&text, INT64_C(1536) << 20);
        str_add(&text, ", ");
        str_add_size(&text, INT64_C(2) << 40);
        assert_string_equal(text.data, "100 bytes, 1 KiB, 1.5 GiB, 2 TiB");
}

TEST_MAIN()
