/*
 * The small messages: each comes back as it was sent, refuses what is wrong by its name, and fits
 * even when every text is as bad as it can be.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/str.h"
#include "tests/support/test.h"
#include "wire/codec.h"
#include "wire/control_request.h"
#include "wire/dispatch.h"
#include "wire/job_result.h"
#include "wire/notification.h"
#include "wire/webhook_event.h"

#include "base/banned.h"

static const char contract[] =
        "{ \"repositoryUrl\": \"https://github.com/avd1729/CI-CD-Test.git\", \"repoName\": "
        "\"CI-CD-Test\", \"branch\": \"main\", \"commitId\": "
        "\"35ad107c949533f9191cdebc71d3d0d3b1eb7c5a\", \"commitMessage\": \"Update README.md\", "
        "\"pusherName\": \"avd1729\", \"pusherEmail\": "
        "\"94891044+avd1729@users.noreply.github.com\", \"timestamp\": "
        "\"2025-07-26T12:04:09.187547800Z\", \"triggerSource\": \"push\", \"projectType\": "
        "\"maven\", \"v\": 1, \"id\": \"x\", \"forge\": \"github\", \"repoFullName\": "
        "\"avd1729/CI-CD-Test\", \"ref\": \"refs/heads/main\", \"deliveryId\": \"d\", "
        "\"pullRequest\": null }";

TEST("the public example of an event is read and written again with the same members")
{
        scoped(webhook_event) struct webhook_event *event = NULL;
        scoped(json) json_t *before = NULL;
        scoped(json) json_t *after = NULL;
        scoped_str struct str text = STR_INIT;
        struct error err = {0};
        const char *key;
        json_t *value;

        assert_ok(webhook_event_decode(&event, contract, strlen(contract), &err), err);
        assert_string_equal(event->repo_name, "CI-CD-Test");
        assert_string_equal(event->pusher, "avd1729");
        assert_true(event->timestamp_ns == INT64_C(1753531449187547800));
        webhook_event_encode(event, &text);
        assert_true(text_starts(text.data, "{\"repositoryUrl\":\"https://github.com/"));
        assert_ok(json_parse(&before, contract, strlen(contract), 4096, &err), err);
        assert_ok(json_parse(&after, text.data, text.len, 4096, &err), err);
        json_object_foreach(before, key, value)
        {
                if (!json_equal(value, json_object_get(after, key)))
                        fail_msg("member %s differs", key);
        }
}

TEST("a pull request and a fork come back")
{
        scoped(webhook_event) struct webhook_event *event = webhook_event_new();
        scoped(webhook_event) struct webhook_event *again = NULL;
        scoped_str struct str text = STR_INIT;
        struct error err = {0};

        event->id = "i";
        event->forge = "github";
        event->repo_full_name = "a/b";
        event->trigger = "pull_request";
        event->pull_request = 17;
        event->pull_request_title = "Mend it";
        event->fork = true;
        event->author_email = "a@example.org";
        webhook_event_encode(event, &text);
        assert_ok(webhook_event_decode(&again, text.data, text.len, &err), err);
        assert_int_equal(again->pull_request, 17);
        assert_string_equal(again->pull_request_title, "Mend it");
        assert_true(again->fork);
        assert_string_equal(again->author_email, "a@example.org");
}

/* Take each member away in turn: the error names it, or the member is one that may be absent. */
static void assert_members(const char *text, const char *const *required, size_t n,
                           int (*decode)(const char *text, size_t n, struct error *err))
{
        for (size_t i = 0; i < n; i++) {
                scoped(json) json_t *json = NULL;
                scoped_str struct str less = STR_INIT;
                struct error err = {0};

                assert_ok(json_parse(&json, text, strlen(text), WIRE_BYTES_MAX, &err), err);
                assert_int_equal(json_object_del(json, required[i]), 0);
                str_add_json(&less, json);
                assert_int_equal(decode(less.data, less.len, &err), -ERROR_INVALID);
                if (!strstr(err.text, required[i]))
                        fail_msg("'%s' does not name '%s'", err.text, required[i]);
        }
}

static int decode_event(const char *text, size_t n, struct error *err)
{
        scoped(webhook_event) struct webhook_event *event = NULL;

        return webhook_event_decode(&event, text, n, err);
}

TEST("an event without one of its members is refused by the member's name")
{
        static const char *const required[] = {
                "repositoryUrl", "repoName",      "branch",      "commitId",
                "commitMessage", "pusherName",    "pusherEmail", "timestamp",
                "projectType",   "triggerSource", "v",           "id",
                "forge",         "repoFullName",  "ref",         "deliveryId",
        };

        assert_members(contract, required, sizeof(required) / sizeof(*required), decode_event);
}

TEST("an event with endless texts fits, and its text is valid")
{
        scoped(webhook_event) struct webhook_event *event = webhook_event_new();
        scoped(webhook_event) struct webhook_event *again = NULL;
        scoped_text char *endless = xmalloc(1 << 20);
        scoped_str struct str text = STR_INIT;
        struct error err = {0};

        for (size_t i = 0; i < (1 << 20) - 1; i++)
                endless[i] = "\x01\xff\"\xc3"[i % 4];
        endless[(1 << 20) - 1] = '\0';
        event->id = event->forge = event->repo_full_name = event->trigger = endless;
        event->message = event->branch = event->ref = event->pusher = endless;
        event->author = event->author_email = event->pusher_email = endless;
        event->committer_email = event->commit = event->repository_url = endless;
        event->repo_name = event->project_type = event->delivery_id = endless;
        event->requested_by = event->pull_request_title = endless;
        event->pull_request = 1;
        webhook_event_encode(event, &text);
        assert_true(text.len <= WIRE_BYTES_MAX);
        assert_ok(webhook_event_decode(&again, text.data, text.len, &err), err);
}

TEST("requests name what they need")
{
        static const struct control_request good[] = {
                {.id = "1", .kind = CONTROL_CANCEL, .build_id = "b", .who = "me"},
                {.id = "2", .kind = CONTROL_RERUN, .build_id = "b", .jobs = "failed"},
                {.id = "3", .kind = CONTROL_RUN, .repo = "a/b", .ref = "main"},
        };
        static const struct control_request bad[] = {
                {.id = "1", .kind = CONTROL_CANCEL},
                {.id = "2", .kind = CONTROL_RERUN, .build_id = "b"},
                {.id = "3", .kind = CONTROL_RUN, .ref = "main"},
        };
        static const char *const missing[] = {"build_id", "jobs", "repo"};

        for (int i = 0; i < 3; i++) {
                scoped(control_request) struct control_request *request = NULL;
                scoped_str struct str text = STR_INIT;
                scoped_str struct str wrong = STR_INIT;
                struct error err = {0};

                control_request_encode(&good[i], &text);
                assert_ok(control_request_decode(&request, text.data, text.len, &err), err);
                assert_int_equal(request->kind, good[i].kind);
                assert_string_equal(request->build_id, text_or(good[i].build_id, ""));
                assert_string_equal(request->jobs, text_or(good[i].jobs, ""));
                assert_string_equal(request->repo, text_or(good[i].repo, ""));
                assert_string_equal(request->who, text_or(good[i].who, ""));
                control_request_encode(&bad[i], &wrong);
                assert_int_equal(control_request_decode(&request, wrong.data, wrong.len, &err),
                                 -ERROR_INVALID);
                assert_non_null(strstr(err.text, missing[i]));
        }
}

TEST("a dispatch comes back and needs all but labels")
{
        static const char *const required[] = {"id", "build_id", "job_id", "attempt", "token", "v"};
        scoped(dispatch) struct dispatch *dispatch = NULL;
        scoped_str struct str text = STR_INIT;
        struct dispatch sent = {.id = "i",
                                .build_id = "b",
                                .job_id = "j",
                                .attempt = 3,
                                .token = "t",
                                .labels = "gpu,arm64"};
        struct error err = {0};

        dispatch_encode(&sent, &text);
        assert_ok(dispatch_decode(&dispatch, text.data, text.len, &err), err);
        assert_string_equal(dispatch->job_id, "j");
        assert_int_equal(dispatch->attempt, 3);
        assert_string_equal(dispatch->labels, "gpu,arm64");
        for (size_t i = 0; i < 6; i++) {
                scoped(json) json_t *json = NULL;
                scoped_str struct str less = STR_INIT;
                struct dispatch *none = NULL;

                assert_ok(json_parse(&json, text.data, text.len, 4096, &err), err);
                json_object_del(json, required[i]);
                str_add_json(&less, json);
                assert_int_equal(dispatch_decode(&none, less.data, less.len, &err), -ERROR_INVALID);
                assert_non_null(strstr(err.text, required[i]));
        }
}

TEST("a result comes back with its figures")
{
        scoped(job_result) struct job_result *result = job_result_new();
        scoped(job_result) struct job_result *again = NULL;
        scoped_str struct str text = STR_INIT;
        struct error err = {0};

        result->kind = RESULT_STEP_FINISHED;
        result->build_id = "b";
        result->job_id = "j";
        result->attempt = 2;
        result->token = "t";
        result->seq = 9;
        result->step = 1;
        result->step_name = "pytest";
        result->state = STATE_TIMEOUT;
        result->reason = REASON_TIMEOUT;
        result->reason_text = "timed out after 60 s";
        result->signal = 9;
        result->at = 1753531449187;
        result->duration_ms = 60001;
        result->cpu_ms = 100;
        result->max_rss_bytes = INT64_C(5) << 30;
        result->first_line = 3;
        result->last_line = 99;
        result->log_lines = 99;
        result->log_bytes = 12345;
        result->tail = "last\n";
        job_result_encode(result, &text);
        assert_non_null(strstr(text.data, "\"id\":\"j/2/9\""));
        assert_ok(job_result_decode(&again, text.data, text.len, &err), err);
        assert_int_equal(again->kind, RESULT_STEP_FINISHED);
        assert_int_equal(again->state, STATE_TIMEOUT);
        assert_int_equal(again->reason, REASON_TIMEOUT);
        assert_string_equal(again->reason_text, "timed out after 60 s");
        assert_int_equal(again->exit_code, -1);
        assert_int_equal(again->signal, 9);
        assert_true(again->max_rss_bytes == INT64_C(5) << 30);
        assert_int_equal(again->last_line, 99);
        assert_string_equal(again->tail, "last\n");
}

static void assert_result_refused(const char *text, const char *why)
{
        struct job_result *result = NULL;
        struct error err = {0};

        assert_int_equal(job_result_decode(&result, text, strlen(text), &err), -ERROR_INVALID);
        if (!strstr(err.text, why))
                fail_msg("'%s' does not say '%s'", err.text, why);
}

#define RESULT_HEAD \
        "{\"v\":1,\"build_id\":\"b\",\"job_id\":\"j\",\"attempt\":1,\"token\":\"t\",\"seq\":1,"

TEST("a result that says the impossible is refused")
{
        assert_result_refused(RESULT_HEAD "\"kind\":\"exploded\"}", "unknown value 'exploded'");
        assert_result_refused(RESULT_HEAD "\"kind\":\"finished\"}", "\"state\" is missing");
        assert_result_refused(RESULT_HEAD "\"kind\":\"finished\",\"state\":\"running\"}",
                              "which is no end");
        assert_result_refused(RESULT_HEAD "\"kind\":\"finished\",\"state\":\"green\"}",
                              "unknown value 'green'");
        assert_result_refused(RESULT_HEAD "\"kind\":\"step_started\"}", "\"step\" is missing");
        assert_result_refused(RESULT_HEAD "\"kind\":\"step_started\",\"step\":-1}", "negative");
        assert_result_refused("{\"v\":1}", "\"kind\" is missing");
}

static struct notification *full_notification(const char *text, size_t n_jobs)
{
        struct notification *notification = notification_new();

        notification->id = notification->build_id = notification->repo = text;
        notification->ref = notification->branch = notification->commit = text;
        notification->message = notification->author = notification->author_email = text;
        notification->committer_email = notification->pusher = notification->pusher_email = text;
        notification->event = notification->reason_text = notification->previous = text;
        notification->policy = notification->url = notification->failing_job = text;
        notification->failing_step = notification->failing_reason = notification->job_url = text;
        notification->tail = notification->findings = text;
        notification->jobs = calloc(n_jobs, sizeof(*notification->jobs));
        notification->n_jobs = n_jobs;
        for (size_t i = 0; i < n_jobs; i++) {
                notification->jobs[i].name = text;
                notification->jobs[i].state = STATE_FAILED;
                notification->jobs[i].duration_ms = 1234;
                notification->jobs[i].attempt = 2;
        }
        return notification;
}

TEST("a notification comes back")
{
        scoped(notification) struct notification *sent = full_notification("text", 2);
        scoped(notification) struct notification *again = NULL;
        scoped_str struct str text = STR_INIT;
        struct error err = {0};

        sent->number = 812;
        sent->round = 3;
        sent->fork = true;
        sent->state = STATE_FAILED;
        sent->failing_attempt = 2;
        sent->tail_last_line = 1240;
        notification_encode(sent, &text);
        free(sent->jobs);
        assert_ok(notification_decode(&again, text.data, text.len, &err), err);
        assert_int_equal(again->number, 812);
        assert_int_equal(again->round, 3);
        assert_true(again->fork);
        assert_int_equal(again->state, STATE_FAILED);
        assert_int_equal(again->failing_attempt, 2);
        assert_int_equal(again->tail_last_line, 1240);
        assert_string_equal(again->job_url, "text");
        assert_int_equal(again->n_jobs, 2);
        assert_string_equal(again->jobs[1].name, "text");
        assert_int_equal(again->jobs[1].state, STATE_FAILED);
        assert_int_equal(again->jobs[1].duration_ms, 1234);
        assert_int_equal(again->jobs[1].attempt, 2);
}

TEST("a notification of endless texts and jobs fits and keeps the end of the log")
{
        scoped_text char *endless = xmalloc(1 << 18);
        scoped(notification) struct notification *sent = NULL;
        scoped(notification) struct notification *again = NULL;
        scoped_str struct str text = STR_INIT;
        struct error err = {0};

        for (size_t i = 0; i < (1 << 18) - 1; i++)
                endless[i] = "\x01\xff\"\xc3"[i % 4];
        memcpy(endless + (1 << 18) - 5, "END", 4);
        endless[(1 << 18) - 1] = '\0';
        sent = full_notification(endless, 1000);
        notification_encode(sent, &text);
        free(sent->jobs);
        assert_true(text.len <= WIRE_BYTES_MAX);
        assert_ok(notification_decode(&again, text.data, text.len, &err), err);
        assert_true(text_ends(again->tail, "END"));
        assert_true(text_ends(again->findings, "…"));
}

TEST_MAIN()
