#include "pipeline/orchestrator/apply.h"

#include <string.h>

#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/build.h"
#include "tests/support/test.h"
#include "wire/job_result.h"

#include "base/banned.h"

static struct build *make_build(size_t steps)
{
        struct build *build = build_new();
        struct attempt *attempt;

        build->id = "b";
        build_set_jobs(build, 1);
        build->jobs[0].id = "j";
        build->jobs[0].name = "test";
        attempt = build_add_attempt(build, &build->jobs[0]);
        attempt->token = "t";
        build_set_steps(build, attempt, steps);
        return build;
}

static struct job_result make(enum result_kind kind)
{
        return (struct job_result){
                .kind = kind,
                .build_id = "b",
                .job_id = "j",
                .attempt = 1,
                .token = "t",
                .executor = "here",
                .step_name = "",
                .reason_text = "",
                .tail = "",
                .at = 5000,
                .exit_code = -1,
        };
}

/* Applied, and applied again: the second time nothing is new. */
static void apply(struct build *build, const struct job_result *result)
{
        struct error err = {0};

        assert_int_equal(apply_result(build, result, &err), 1);
        assert_int_equal(apply_result(build, result, &err), 0);
}

TEST("an attempt goes through its results, each of which counts once")
{
        scoped(build) struct build *build = make_build(2);
        struct attempt *attempt = job_attempt(&build->jobs[0]);
        struct job_result result = make(RESULT_ACCEPTED);

        apply(build, &result);
        assert_int_equal(attempt->state, STATE_RUNNING);
        assert_string_equal(attempt->executor, "here");
        assert_int_equal(attempt->started_at, 0);
        result = make(RESULT_STARTED);
        apply(build, &result);
        assert_int_equal(attempt->started_at, 5000);
        assert_false(attempt->step_started);
        result = make(RESULT_STEP_STARTED);
        result.first_line = 3;
        apply(build, &result);
        assert_true(attempt->step_started);
        assert_int_equal(attempt->steps[0].state, STATE_RUNNING);
        result = make(RESULT_STEP_FINISHED);
        result.state = STATE_FAILED;
        result.reason = REASON_EXIT_CODE;
        result.reason_text = "exited with 3";
        result.exit_code = 3;
        result.tail = "the cause\n";
        result.duration_ms = 40;
        apply(build, &result);
        assert_int_equal(attempt->steps[0].exit_code, 3);
        assert_string_equal(attempt->steps[0].reason_text, "exited with 3");
        assert_string_equal(attempt->tail, "the cause\n");
        result = make(RESULT_FINISHED);
        result.state = STATE_FAILED;
        result.reason = REASON_EXIT_CODE;
        result.reason_text = "step 1 exited with 3";
        result.exit_code = 3;
        result.log_lines = 9;
        result.at = 6000;
        apply(build, &result);
        assert_int_equal(attempt->state, STATE_FAILED);
        assert_int_equal(attempt->log_lines, 9);
        assert_int_equal(attempt->finished_at, 6000);
        assert_int_equal(attempt->steps[1].state, STATE_SKIPPED);
}

TEST("results that overtook each other, or whose forerunners were lost, still tell all")
{
        scoped(build) struct build *build = make_build(2);
        struct attempt *attempt = job_attempt(&build->jobs[0]);
        struct job_result result = make(RESULT_STEP_FINISHED);
        struct error err = {0};

        result.state = STATE_SUCCESS;
        result.exit_code = 0;
        result.duration_ms = 100;
        apply(build, &result);
        assert_int_equal(attempt->state, STATE_RUNNING);
        assert_int_equal(attempt->steps[0].started_at, 4900);
        result = make(RESULT_STEP_STARTED);
        assert_int_equal(apply_result(build, &result, &err), 0);
        assert_int_equal(attempt->steps[0].state, STATE_SUCCESS);
        result = make(RESULT_FINISHED);
        result.state = STATE_TIMEOUT;
        result.reason = REASON_TIMEOUT;
        attempt->steps[1].state = STATE_RUNNING;
        apply(build, &result);
        assert_int_equal(attempt->steps[1].state, STATE_TIMEOUT);
}

TEST("who has not the token, or comes after the end, is refused")
{
        scoped(build) struct build *build = make_build(1);
        struct job_result result = make(RESULT_ACCEPTED);
        struct error err = {0};

        result.token = "other";
        assert_int_equal(apply_result(build, &result, &err), -ERROR_DENIED);
        assert_non_null(strstr(err.text, "stale executor"));
        result = make(RESULT_ACCEPTED);
        result.attempt = 2;
        assert_int_equal(apply_result(build, &result, &err), -ERROR_DENIED);
        result = make(RESULT_ACCEPTED);
        result.job_id = "k";
        assert_int_equal(apply_result(build, &result, &err), -ERROR_DENIED);
        assert_int_equal(job_attempt(&build->jobs[0])->state, STATE_QUEUED);
        job_attempt(&build->jobs[0])->state = STATE_ERROR;
        result = make(RESULT_FINISHED);
        result.state = STATE_SUCCESS;
        assert_int_equal(apply_result(build, &result, &err), -ERROR_DENIED);
        assert_non_null(strstr(err.text, "a later end as success is refused"));
        assert_int_equal(job_attempt(&build->jobs[0])->state, STATE_ERROR);
        result = make(RESULT_STEP_STARTED);
        assert_int_equal(apply_result(build, &result, &err), 0);
}

TEST("a result that cannot be changes nothing")
{
        scoped(build) struct build *build = make_build(1);
        struct job_result result = make(RESULT_STEP_STARTED);
        struct error err = {0};

        result.step = -1;
        assert_int_equal(apply_result(build, &result, &err), -ERROR_INVALID);
        result.step = APPLY_STEPS_MAX;
        assert_int_equal(apply_result(build, &result, &err), -ERROR_INVALID);
        result = make(RESULT_FINISHED);
        result.state = STATE_RUNNING;
        assert_int_equal(apply_result(build, &result, &err), -ERROR_INVALID);
        result = make(RESULT_STEP_FINISHED);
        result.state = STATE_QUEUED;
        assert_int_equal(apply_result(build, &result, &err), -ERROR_INVALID);
        assert_int_equal(job_attempt(&build->jobs[0])->state, STATE_QUEUED);
        assert_int_equal(job_attempt(&build->jobs[0])->steps[0].state, STATE_QUEUED);
}

TEST("steps that the plan did not name find their place")
{
        scoped(build) struct build *build = make_build(1);
        struct attempt *attempt = job_attempt(&build->jobs[0]);
        struct job_result result = make(RESULT_STEP_STARTED);

        attempt->steps[0].name = "first";
        result.step = 3;
        result.step_name = "late";
        apply(build, &result);
        assert_int_equal(attempt->n_steps, 4);
        assert_string_equal(attempt->steps[0].name, "first");
        assert_string_equal(attempt->steps[3].name, "late");
        assert_int_equal(attempt->steps[3].index, 3);
}

TEST("of long last lines the end is kept, from the beginning of a line or of a character")
{
        scoped(build) struct build *build = make_build(2);
        struct attempt *attempt = job_attempt(&build->jobs[0]);
        struct job_result result = make(RESULT_STEP_FINISHED);
        scoped_str struct str tail = STR_INIT;

        for (int i = 0; i < 3000; i++)
                str_printf(&tail, "line %d\n", i);
        result.state = STATE_FAILED;
        result.tail = tail.data;
        apply(build, &result);
        assert_true(strlen(attempt->tail) <= APPLY_TAIL_BYTES_MAX);
        assert_true(text_starts(attempt->tail, "line "));
        assert_true(text_ends(attempt->tail, "\nline 2999\n"));
        str_clear(&tail);
        for (int i = 0; i < 9000; i++)
                str_add(&tail, "\xe2\x99\xa5");
        result.step = 1;
        result.tail = tail.data;
        apply(build, &result);
        assert_true(strlen(attempt->tail) > APPLY_TAIL_BYTES_MAX - 4);
        assert_true(utf8_valid(attempt->tail, strlen(attempt->tail)));
}

TEST("work handed back before a step is superseded, after one it is an error")
{
        for (int begun = 0; begun < 2; begun++) {
                scoped(build) struct build *build = make_build(1);
                struct attempt *attempt = job_attempt(&build->jobs[0]);
                struct job_result result = make(RESULT_RETURNED);

                attempt->step_started = begun;
                apply(build, &result);
                assert_int_equal(attempt->state, begun ? STATE_ERROR : STATE_CANCELLED);
                assert_int_equal(attempt->reason, begun ? REASON_EXECUTOR_LOST : REASON_SUPERSEDED);
                assert_string_equal(attempt->reason_text, "handed back by the executor here");
        }
}

TEST_MAIN()
