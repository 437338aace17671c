#include "domain/reconcile.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/build.h"
#include "domain/fair.h"
#include "tests/support/test.h"

#include "base/banned.h"

#define NOW 1000000

/* "lint; test: lint; deploy: lint test" makes three queued jobs with their needs. */
static struct build *make_build(const char *text)
{
        struct build *build = build_new();
        scoped_text char *copy = text_copy(text);
        char *save = NULL;
        size_t n = 0;

        for (const char *at = text; *at; at++)
                n += *at == ';';
        build->id = "b";
        build->number = 7;
        build_set_jobs(build, n + 1);
        n = 0;
        for (char *part = strtok_r(copy, ";", &save); part; part = strtok_r(NULL, ";", &save)) {
                struct job *job = &build->jobs[n++];
                char *inner = NULL;
                char *word = strtok_r(part, ": ", &inner);

                job->name = job->id = job->title = arena_copy(build->arena, word);
                job->needs = arena_alloc(build->arena, 8 * sizeof(*job->needs));
                while ((word = strtok_r(NULL, ": ", &inner)))
                        job->needs[job->n_needs++] = arena_copy(build->arena, word);
        }
        return build;
}

static struct reconcile_outcome run(struct build *build, const struct reconcile_fact *jobs)
{
        struct reconcile_facts facts = {.now = NOW,
                                        .lost_ms = 30000,
                                        .reissue_ms = 5000,
                                        .dispatch_lost = true,
                                        .jobs = jobs};
        struct reconcile_outcome out;
        struct reconcile_outcome again;

        reconcile(build, &facts, &out);
        reconcile(build, &facts, &again);
        assert_false(again.changed);
        assert_false(again.ended);
        for (size_t i = 0; i < build->n_jobs; i++)
                assert_int_equal(again.jobs[i], out.jobs[i]);
        return out;
}

static struct attempt *start(struct build *build, const char *name, bool step)
{
        struct job *job = build_job(build, name);
        struct attempt *attempt = build_add_attempt(build, job);

        attempt->state = STATE_RUNNING;
        attempt->step_started = step;
        attempt->executor = "here";
        return attempt;
}

static void end(struct build *build, const char *name, enum state state, enum reason reason)
{
        struct attempt *attempt = job_attempt(build_job(build, name));

        if (!attempt || state_ended(attempt->state))
                attempt = start(build, name, true);
        attempt->state = state;
        attempt->reason = reason;
        attempt->reason_text = state == STATE_SUCCESS ? "" : "as the test says";
}

/* States of all jobs, and in the end the build's: "success failed skipped failed". */
static void assert_states(const struct build *build, const char *expected)
{
        scoped_str struct str got = STR_INIT;

        for (size_t i = 0; i < build->n_jobs; i++)
                str_printf(&got, "%s ", state_name(build->jobs[i].state));
        str_add(&got, state_name(build->state));
        assert_string_equal(got.data, expected);
}

TEST("jobs without a path between them are ready at once, dependents wait and say for whom")
{
        scoped(build) struct build *build = make_build("lint;unit;deploy: lint unit");
        struct reconcile_outcome out = run(build, NULL);

        assert_int_equal(out.jobs[0], RECONCILE_READY);
        assert_int_equal(out.jobs[1], RECONCILE_READY);
        assert_int_equal(out.jobs[2], RECONCILE_NOTHING);
        assert_string_equal(build->jobs[2].reason_text, "waits for lint, unit");
        assert_states(build, "queued queued queued queued");
        end(build, "lint", STATE_SUCCESS, REASON_NONE);
        start(build, "unit", true);
        out = run(build, NULL);
        assert_true(out.changed);
        assert_string_equal(build->jobs[2].reason_text, "waits for unit");
        assert_states(build, "success running queued running");
        end(build, "unit", STATE_SUCCESS, REASON_NONE);
        out = run(build, NULL);
        assert_int_equal(out.jobs[2], RECONCILE_READY);
        end(build, "deploy", STATE_SUCCESS, REASON_NONE);
        out = run(build, NULL);
        assert_true(out.notify);
        assert_int_equal(build->finished_at, NOW);
        assert_states(build, "success success success success");
}

TEST("how jobs end decides which jobs are skipped and how the build ends")
{
        static const struct {
                const char *jobs;
                enum state first;
                enum reason reason;
                bool go_on;
                const char *expected;
                const char *why;
        } table[] = {
                {"a;b: a;c: b", STATE_FAILED, REASON_EXIT_CODE, false,
                 "failed skipped skipped failed", "a: as the test says"},
                {"a;b: a", STATE_ERROR, REASON_IMAGE_UNAVAILABLE, false, "error skipped error",
                 "a: as the test says"},
                {"a;b: a", STATE_TIMEOUT, REASON_TIMEOUT, false, "timeout skipped timeout",
                 "a: as the test says"},
                {"a;b: a", STATE_CANCELLED, REASON_CANCELLED, false, "cancelled skipped cancelled",
                 "cancelled"},
                {"a;b: gone", STATE_SUCCESS, REASON_NONE, false, "success skipped success", ""},
                {"a", STATE_FAILED, REASON_EXIT_CODE, true, "failed success", ""},
        };

        for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
                scoped(build) struct build *build = make_build(table[i].jobs);

                build->jobs[0].continue_on_error = table[i].go_on;
                end(build, "a", table[i].first, table[i].reason);
                run(build, NULL);
                assert_states(build, table[i].expected);
                assert_string_equal(build->reason_text, table[i].why);
        }
}

TEST("a dependent of a job that may fail runs, and a failure outweighs an error")
{
        scoped(build) struct build *build = make_build("a;b: a;c");
        struct reconcile_outcome out;

        build->jobs[0].continue_on_error = true;
        end(build, "a", STATE_FAILED, REASON_EXIT_CODE);
        end(build, "c", STATE_ERROR, REASON_INTERNAL);
        out = run(build, NULL);
        assert_int_equal(out.jobs[1], RECONCILE_READY);
        end(build, "b", STATE_FAILED, REASON_EXIT_CODE);
        run(build, NULL);
        assert_states(build, "failed failed error failed");
        assert_string_equal(build->reason_text, "b: as the test says");
}

TEST("a skipped job says which need it was and how that ended")
{
        scoped(build) struct build *build = make_build("a;b: a;c: b");

        end(build, "a", STATE_TIMEOUT, REASON_TIMEOUT);
        run(build, NULL);
        assert_int_equal(build->jobs[1].reason, REASON_NEEDS);
        assert_string_equal(build->jobs[1].reason_text, "skipped: it needs \"a\", which timed out");
        assert_string_equal(build->jobs[2].reason_text,
                            "skipped: it needs \"b\", which was skipped");
}

TEST("an executor that falls silent before a step is replaced three times, then it is an error")
{
        scoped(build) struct build *build = make_build("a");
        struct reconcile_fact fact = {.claimed = true, .silent_ms = 29999};
        struct reconcile_outcome out;

        for (int i = 0; i < RECONCILE_LOST_MAX; i++) {
                start(build, "a", false);
                fact.silent_ms = 29999;
                out = run(build, &fact);
                assert_states(build, "running running");
                fact.silent_ms = 30000;
                out = run(build, &fact);
                assert_int_equal(out.jobs[0], RECONCILE_READY);
                assert_states(build, "queued running");
        }
        start(build, "a", false);
        run(build, &fact);
        assert_states(build, "error error");
        assert_int_equal(build->reason, REASON_EXECUTOR_LOST);
        assert_string_equal(build->reason_text,
                            "a: the executor here has not been heard of for 30 s");
}

TEST("an executor lost after a step began ends the job, unless the file asks to try again")
{
        for (int infra = 0; infra < 2; infra++) {
                scoped(build) struct build *build = make_build("a");
                struct reconcile_fact fact = {.claimed = true, .silent_ms = 31000};
                struct attempt *attempt;

                build->jobs[0].retry_max = 1;
                build->jobs[0].retry_infra = infra;
                attempt = start(build, "a", true);
                build_set_steps(build, attempt, 2);
                attempt->steps[0].state = STATE_RUNNING;
                run(build, &fact);
                assert_states(build, infra ? "queued running" : "error error");
                assert_int_equal(attempt->steps[0].state, STATE_ERROR);
                assert_int_equal(attempt->steps[1].state, STATE_SKIPPED);
                if (!infra)
                        continue;
                start(build, "a", true);
                run(build, &fact);
                assert_states(build, "error error");
        }
}

TEST("retry counts what the file names and nothing else")
{
        static const struct {
                bool failure, timeout, infra;
                enum state state;
                int expected;
        } table[] = {
                {true, false, false, STATE_FAILED, 3},  {false, true, true, STATE_FAILED, 1},
                {false, true, false, STATE_TIMEOUT, 3}, {true, false, true, STATE_TIMEOUT, 1},
                {false, false, true, STATE_ERROR, 3},   {true, true, false, STATE_ERROR, 1},
                {true, true, true, STATE_CANCELLED, 1},
        };

        for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
                scoped(build) struct build *build = make_build("a");
                int attempts = 0;

                build->jobs[0].retry_max = 2;
                build->jobs[0].retry_failure = table[i].failure;
                build->jobs[0].retry_timeout = table[i].timeout;
                build->jobs[0].retry_infra = table[i].infra;
                while (!state_ended(build->state) && attempts < 9) {
                        start(build, "a", true);
                        end(build, "a", table[i].state, REASON_EXIT_CODE);
                        run(build, NULL);
                        attempts++;
                }
                assert_int_equal(attempts, table[i].expected);
        }
}

TEST("an attempt that was handed back is replaced without counting as a failure")
{
        scoped(build) struct build *build = make_build("a");
        struct reconcile_outcome out;

        for (int i = 0; i < 10; i++) {
                start(build, "a", false);
                end(build, "a", STATE_CANCELLED, REASON_SUPERSEDED);
                out = run(build, NULL);
                assert_int_equal(out.jobs[0], RECONCILE_READY);
        }
        assert_string_equal(build->jobs[0].reason_text,
                            "attempt 10: as the test says; trying again");
        for (int i = 10; i < RECONCILE_ATTEMPTS_MAX; i++) {
                start(build, "a", false);
                end(build, "a", STATE_CANCELLED, REASON_SUPERSEDED);
                run(build, NULL);
        }
        assert_states(build, "error error");
}

TEST("a dispatch that nobody takes is published again, ever more rarely, then withdrawn")
{
        scoped(build) struct build *build = make_build("a");
        struct reconcile_fact fact = {.waiting_ms = 4999};

        build_add_attempt(build, &build->jobs[0]);
        assert_int_equal(run(build, &fact).jobs[0], RECONCILE_NOTHING);
        fact.waiting_ms = 5000;
        assert_int_equal(run(build, &fact).jobs[0], RECONCILE_REPUBLISH);
        fact.republished = 1;
        assert_int_equal(run(build, &fact).jobs[0], RECONCILE_NOTHING);
        fact.waiting_ms = 10000;
        assert_int_equal(run(build, &fact).jobs[0], RECONCILE_REPUBLISH);
        fact.republished = RECONCILE_REPUBLISH_MAX;
        fact.waiting_ms = 40000;
        assert_int_equal(run(build, &fact).jobs[0], RECONCILE_WITHDRAW);
        fact.withdrawn = true;
        assert_int_equal(run(build, &fact).jobs[0], RECONCILE_READY);
        assert_string_equal(build->jobs[0].reason_text,
                            "attempt 1: no executor took the job; trying again");
}

TEST("cancel ends what waits at once and asks whoever runs the rest")
{
        scoped(build) struct build *build = make_build("a;b;c: a");
        struct reconcile_fact facts[3] = {{.claimed = true}, {.waiting_ms = 1}, {0}};
        struct reconcile_outcome out;

        start(build, "a", true);
        build_add_attempt(build, &build->jobs[1]);
        run(build, facts);
        assert_int_equal(reconcile_cancel(build, "dev1"), 1);
        assert_int_equal(reconcile_cancel(build, "dev1"), 0);
        out = run(build, facts);
        assert_int_equal(out.jobs[0], RECONCILE_CANCEL);
        assert_int_equal(out.jobs[1], RECONCILE_WITHDRAW);
        assert_states(build, "running queued cancelled running");
        facts[1].withdrawn = true;
        run(build, facts);
        assert_states(build, "running cancelled cancelled running");
        end(build, "a", STATE_CANCELLED, REASON_CANCELLED);
        out = run(build, facts);
        assert_true(out.notify);
        assert_states(build, "cancelled cancelled cancelled cancelled");
        assert_string_equal(build->reason_text, "cancelled by dev1");
        assert_int_equal(reconcile_cancel(build, "dev1"), 0);
}

TEST("a build whose last job succeeded in spite of a cancel is a success")
{
        scoped(build) struct build *build = make_build("a");

        start(build, "a", true);
        reconcile_cancel(build, "");
        end(build, "a", STATE_SUCCESS, REASON_NONE);
        run(build, NULL);
        assert_states(build, "success success");
        assert_string_equal(build->reason_text, "");
}

TEST("an executor lost while a cancel is on its way leaves the job cancelled, not tried again")
{
        scoped(build) struct build *build = make_build("a");
        struct reconcile_fact fact = {.claimed = true, .silent_ms = 30000};

        start(build, "a", false);
        reconcile_cancel(build, "dev1");
        run(build, &fact);
        assert_states(build, "cancelled cancelled");
}

TEST("a build that waits for its source can be cancelled")
{
        scoped(build) struct build *build = build_new();

        assert_false(run(build, NULL).changed);
        reconcile_cancel(build, "dev1");
        assert_true(run(build, NULL).notify);
        assert_int_equal(build->state, STATE_CANCELLED);
}

static void fail_in_the_middle(struct build *build)
{
        end(build, "a", STATE_SUCCESS, REASON_NONE);
        end(build, "b", STATE_FAILED, REASON_EXIT_CODE);
        end(build, "d", STATE_SUCCESS, REASON_NONE);
        run(build, NULL);
        assert_states(build, "success failed skipped success failed");
}

TEST("a re-run takes what is named and whatever needs it, in a new round of the same build")
{
        static const struct {
                const char *jobs;
                const char *expected;
        } table[] = {
                {"failed", "success queued queued success queued"},
                {"all", "queued queued queued queued queued"},
                {"a", "queued queued queued success queued"},
                {"d", "success failed skipped queued queued"},
                {"c\nd\n", "success failed queued queued queued"},
        };

        for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
                scoped(build) struct build *build = make_build("a;b: a;c: b;d");
                struct error err = {0};

                fail_in_the_middle(build);
                build->notified = true;
                assert_ok(reconcile_rerun(build, table[i].jobs, &err), err);
                assert_states(build, table[i].expected);
                assert_int_equal(build->round, 2);
                assert_false(build->notified);
                assert_string_equal(build->previous, "failed");
                run(build, NULL);
        }
}

TEST("attempts of an earlier round do not count against the new one")
{
        scoped(build) struct build *build = make_build("a");
        struct error err = {0};

        build->jobs[0].retry_failure = true;
        build->jobs[0].retry_max = 1;
        for (int i = 0; i < 2; i++) {
                start(build, "a", true);
                end(build, "a", STATE_FAILED, REASON_EXIT_CODE);
                run(build, NULL);
        }
        assert_states(build, "failed failed");
        assert_ok(reconcile_rerun(build, "failed", &err), err);
        assert_int_equal(run(build, NULL).jobs[0], RECONCILE_READY);
        start(build, "a", true);
        end(build, "a", STATE_FAILED, REASON_EXIT_CODE);
        run(build, NULL);
        assert_states(build, "queued running");
        assert_int_equal(build->jobs[0].n_attempts, 3);
}

TEST("a re-run that cannot be is refused with its reason and changes nothing")
{
        scoped(build) struct build *build = make_build("a;b");
        struct error err = {0};

        assert_int_equal(reconcile_rerun(build, "all", &err), -ERROR_CONFLICT);
        assert_string_equal(err.text, "build 7 is still queued; cancel it first");
        end(build, "a", STATE_SUCCESS, REASON_NONE);
        end(build, "b", STATE_SUCCESS, REASON_NONE);
        run(build, NULL);
        assert_int_equal(reconcile_rerun(build, "failed", &err), -ERROR_INVALID);
        assert_int_equal(reconcile_rerun(build, "a\nx", &err), -ERROR_NOT_FOUND);
        assert_string_equal(err.text, "the build has no job \"x\"");
        assert_int_equal(build->round, 1);
        assert_states(build, "success success success");
}

TEST("a build without jobs goes back to its start")
{
        scoped(build) struct build *build = build_new();
        struct error err = {0};

        build->state = STATE_ERROR;
        build->reason = REASON_SOURCE_UNAVAILABLE;
        assert_ok(reconcile_rerun(build, "failed", &err), err);
        assert_int_equal(build->state, STATE_QUEUED);
        assert_int_equal(build->round, 2);
}

TEST("repositories take turns and each keeps its own order")
{
        static const char *const repos[] = {"a", "a", "a", "b", "a", "c", "b"};
        size_t got[7];

        assert_int_equal(fair_pick(repos, 7, 7, "", got), 7);
        assert_memory_equal(got, ((size_t[]){0, 3, 5, 1, 6, 2, 4}), sizeof(got));
        assert_int_equal(fair_pick(repos, 7, 3, "a", got), 3);
        assert_memory_equal(got, ((size_t[]){3, 5, 0}), 3 * sizeof(*got));
        assert_int_equal(fair_pick(repos, 7, 2, "c", got), 2);
        assert_memory_equal(got, ((size_t[]){0, 3}), 2 * sizeof(*got));
        assert_int_equal(fair_pick(repos, 7, 0, "", got), 0);
        assert_int_equal(fair_pick(repos, 0, 5, "zzz", got), 0);
}

TEST_MAIN()
