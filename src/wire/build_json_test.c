#include "wire/build_json.h"

#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"
#include "domain/build.h"
#include "domain/order.h"
#include "tests/support/test.h"

#include "base/banned.h"

static struct build *sample(void)
{
        struct build *build = build_new();
        struct attempt *attempt;
        struct job *job;

        build->id = "b1";
        build->number = 812;
        build->repo = "acme/api";
        build->ref = "refs/heads/main";
        build->branch = "main";
        build->commit = "9f2c1ab000000000000000000000000000000000";
        build->message = "Fix \"it\"\nand more";
        build->author = "Dev \xff";
        build->event = "push";
        build->state = STATE_FAILED;
        build->reason = REASON_EXIT_CODE;
        build->reason_text = "test > pytest exited with 1";
        build->created_at = 1757671200000;
        build->started_at = 1757671201500;
        build->finished_at = 1757671210000;
        build_set_jobs(build, 2);
        job = &build->jobs[1];
        build->jobs[0].id = "j0";
        build->jobs[0].name = "lint";
        job->id = "j1";
        job->name = "test (3.10, alpine)";
        job->image = "python:3.10";
        job->needs = arena_alloc(build->arena, sizeof(*job->needs));
        job->needs[0] = "lint";
        job->n_needs = 1;
        job->state = STATE_FAILED;
        job->retry_max = 1;
        job->retry_infra = true;
        job->retry_codes = "75,137";
        build_add_attempt(build, job)->state = STATE_ERROR;
        attempt = build_add_attempt(build, job);
        attempt->state = STATE_FAILED;
        attempt->token = "secret-token";
        attempt->exit_code = 1;
        attempt->executor = "host-1";
        attempt->started_at = 1757671202000;
        attempt->finished_at = 1757671209000;
        attempt->duration_ms = 7000;
        attempt->log_lines = 41;
        attempt->log_bytes = 900;
        attempt->tail = "boom\n";
        build_set_steps(build, attempt, 2);
        attempt->steps[0].name = "pytest";
        attempt->steps[0].state = STATE_FAILED;
        attempt->steps[0].exit_code = 1;
        attempt->steps[0].started_at = 1757671203000;
        attempt->steps[0].duration_ms = 5000;
        attempt->steps[0].first_line = 3;
        attempt->steps[0].last_line = 41;
        return build;
}

TEST("a stored build comes back with its jobs, attempts and steps")
{
        scoped(build) struct build *build = sample();
        scoped(build) struct build *again = NULL;
        scoped(json) json_t *json = build_to_json(build);
        scoped(json) json_t *json_again = NULL;
        scoped_str struct str text = STR_INIT;
        struct error err = {0};

        str_add_json(&text, json);
        assert_ok(build_decode(&again, text.data, text.len, &err), err);
        assert_string_equal(again->author, "Dev \xef\xbf\xbd");
        assert_null(again->findings);
        assert_int_equal(again->n_jobs, 2);
        assert_string_equal(again->jobs[1].needs[0], "lint");
        assert_int_equal(again->jobs[1].n_attempts, 2);
        assert_string_equal(again->jobs[1].attempts[1].token, "secret-token");
        assert_string_equal(again->jobs[1].attempts[1].tail, "boom\n");
        assert_null(again->jobs[1].attempts[0].tail);
        assert_int_equal(again->jobs[1].attempts[1].steps[0].last_line, 41);
        assert_int_equal(again->jobs[1].attempts[1].steps[1].exit_code, -1);
        json_again = build_to_json(again);
        assert_true(json_equal(json, json_again));
}

TEST("a stored build with a wrong member is refused with its place")
{
        static const char text[] =
                "{\"v\":1,\"id\":\"b\",\"version\":1,\"round\":1,\"repo\":\"a/b\",\"state\":"
                "\"queued\",\"jobs\":[{\"id\":\"j\",\"name\":\"n\",\"state\":\"queued\","
                "\"attempts\":[{\"number\":1,\"state\":\"purple\"}]}]}";
        struct build *build = NULL;
        struct error err = {0};

        assert_int_equal(build_decode(&build, text, strlen(text), &err), -ERROR_INVALID);
        assert_string_equal(err.text, "a stored build: job 1: attempt 1: member \"state\" has the "
                                      "unknown value 'purple'");
}

static void assert_has(const json_t *json, const char *const *names)
{
        for (; *names; names++) {
                if (!json_object_get(json, *names))
                        fail_msg("member '%s' is missing", *names);
        }
}

TEST("REST has every promised member, and what is not known is null")
{
        static const char *const build_members[] = {
                "id",        "version",     "round",   "number",     "repo",       "ref",
                "branch",    "commit",      "message", "author",     "pusher",     "event",
                "state",     "reason_code", "reason",  "created_at", "started_at", "finished_at",
                "queued_ms", "duration_ms", "url",     "jobs",       NULL};
        static const char *const job_members[] = {
                "id",          "name",      "state",     "reason_code", "reason",     "image",
                "attempt",     "exit_code", "executor",  "needs",       "started_at", "finished_at",
                "duration_ms", "log_lines", "log_bytes", "steps",       NULL};
        static const char *const step_members[] = {"index",       "id",          "name",
                                                   "state",       "reason_code", "reason",
                                                   "exit_code",   "signal",      "started_at",
                                                   "duration_ms", "cpu_ms",      "max_rss_bytes",
                                                   "first_line",  "last_line",   NULL};
        scoped(build) struct build *build = sample();
        scoped(json) json_t *json = build_to_rest(build, "http://ci", true);
        const json_t *first = json_array_get(json_object_get(json, "jobs"), 0);
        const json_t *second = json_array_get(json_object_get(json, "jobs"), 1);
        const json_t *step = json_array_get(json_object_get(second, "steps"), 0);

        assert_has(json, build_members);
        assert_has(second, job_members);
        assert_has(step, step_members);
        assert_int_equal(json_int_or(json, "queued_ms", -1), 1500);
        assert_int_equal(json_int_or(json, "duration_ms", -1), 8500);
        assert_string_equal(json_text_or(json, "url", ""), "http://ci/r/acme/api/builds/812");
        assert_string_equal(json_text_or(second, "url", ""),
                            "http://ci/r/acme/api/builds/812/jobs/test%20%283.10%2C%20alpine%29");
        assert_string_equal(json_text_or(json, "created_at", ""), "2025-09-12T10:00:00.000Z");
        assert_true(json_is_null(json_object_get(first, "exit_code")));
        assert_true(json_is_null(json_object_get(first, "started_at")));
        assert_true(json_is_null(json_object_get(step, "signal")));
        assert_int_equal(json_int_or(second, "attempt", 0), 2);
        assert_int_equal(json_array_size(json_object_get(second, "attempts")), 2);
}

TEST("REST never shows a token, and a list has no jobs")
{
        scoped(build) struct build *build = sample();
        scoped(json) json_t *json = build_to_rest(build, "", true);
        scoped(json) json_t *list = build_to_rest(build, "", false);
        scoped_str struct str text = STR_INIT;

        str_add_json(&text, json);
        assert_null(strstr(text.data, "secret-token"));
        assert_null(json_object_get(list, "jobs"));
}

TEST("an order comes back with its steps, variables and names of secrets")
{
        struct order_env env[] = {{"CI", "true"}, {"GREETING", "h\xc3\xa9 \"x\""}};
        struct order_step steps[2] = {
                {.id = "", .name = "Install", .run = "pip install\n", .shell = "sh", .folder = ""},
                {.id = "t",
                 .name = "Test",
                 .run = "pytest",
                 .shell = "bash",
                 .folder = "src",
                 .timeout_ms = 60000,
                 .continue_on_error = true,
                 .env = env + 1,
                 .n_env = 1},
        };
        const char *secrets[] = {"TOKEN"};
        struct order order = {.build_id = "b",
                              .job_id = "j",
                              .attempt = 2,
                              .token = "t",
                              .repo = "a/b",
                              .clone_url = "https://x/y.git",
                              .ref = "refs/heads/main",
                              .commit = "c",
                              .job_name = "test",
                              .image = "python:3.10",
                              .strict = true,
                              .network_none = true,
                              .timeout_ms = 3600000,
                              .memory = INT64_C(2) << 30,
                              .disk = INT64_C(10) << 30,
                              .millicpus = 1500,
                              .pids = 1024,
                              .secrets = secrets,
                              .n_secrets = 1,
                              .env = env,
                              .n_env = 2,
                              .steps = steps,
                              .n_steps = 2,
                              .notes = "memory cut down"};
        scoped(json) json_t *json = order_to_json(&order);
        scoped(json) json_t *json_again = NULL;
        scoped(order) struct order *again = NULL;
        scoped_str struct str text = STR_INIT;
        struct error err = {0};

        str_add_json(&text, json);
        assert_ok(order_decode(&again, text.data, text.len, &err), err);
        assert_true(again->strict);
        assert_true(again->memory == INT64_C(2) << 30);
        assert_string_equal(again->secrets[0], "TOKEN");
        assert_string_equal(again->env[1].value, "h\xc3\xa9 \"x\"");
        assert_string_equal(again->steps[1].env[0].name, "GREETING");
        assert_int_equal(again->steps[1].timeout_ms, 60000);
        assert_true(again->steps[1].continue_on_error);
        json_again = order_to_json(again);
        assert_true(json_equal(json, json_again));
        json_object_del(json, "strict");
        str_clear(&text);
        str_add_json(&text, json);
        assert_int_equal(order_decode(&again, text.data, text.len, &err), -ERROR_INVALID);
        assert_string_equal(err.text, "a stored order: member \"strict\" is missing");
}

TEST_MAIN()
