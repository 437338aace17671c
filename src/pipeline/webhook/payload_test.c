#include "pipeline/webhook/payload.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "pipeline/webhook/guard.h"
#include "pipeline/webhook/judge.h"
#include "tests/support/test.h"
#include "wire/webhook_event.h"

#include "base/banned.h"

#define SHA "0123456789abcdef0123456789abcdef01234567"
#define ZEROS "0000000000000000000000000000000000000000"
#define REPOSITORY                                                                         \
        "\"repository\":{\"id\":1,\"name\":\"demo\",\"full_name\":\"acme/demo\",\"fork\":" \
        "false,\"clone_url\":\"https://forge.example/acme/demo.git\",\"language\":\"Rust\"}"
#define PERSON "{\"name\":\"Ada\",\"email\":\"ada@example.org\"}"
#define PUSH_OF(ref, after, deleted, message)                                               \
        "{\"ref\":\"" ref "\",\"before\":\"" ZEROS "\",\"after\":\"" after                  \
        "\",\"deleted\":" deleted "," REPOSITORY ",\"commits\":[{\"id\":\"x\",\"ref\":1}]," \
        "\"pusher\":" PERSON ",\"head_commit\":{\"id\":\"" SHA "\",\"message\":\"" message  \
        "\",\"author\":" PERSON ",\"committer\":" PERSON "}}"
#define PUSH PUSH_OF("refs/heads/main", SHA, "false", "Say \\u00e9 \\uD83D\\uDE00\\nmore")
#define PULL_OF(action, head_repo)                                                         \
        "{\"action\":\"" action "\",\"number\":7," REPOSITORY                              \
        ",\"sender\":{\"login\":\"eve\"},\"pull_request\":{\"title\":\"Better\",\"user\":" \
        "{\"login\":\"mallory\"},\"head\":{\"ref\":\"topic/x\",\"sha\":\"" SHA             \
        "\",\"repo\":" head_repo "},\"base\":{\"ref\":\"main\"}}}"

/* In pieces of n bytes; 0: as a whole. */
static struct payload *feed(const char *body, size_t size, size_t n, bool form)
{
        struct payload *payload = payload_new(form);

        for (size_t i = 0; i < size; i += n ? n : size)
                payload_add(payload, body + i, n && n < size - i ? n : size - i);
        return payload;
}

static int reach(struct judgement *ret, const char *body, size_t piece, const char *event,
                 struct error *err)
{
        scoped(payload) struct payload *payload = feed(body, strlen(body), piece, false);
        int result = payload_end(payload, err);

        return result < 0 ? result : judge_event(ret, payload, event, err);
}

TEST("a push has all that the orchestrator needs, however the body is cut")
{
        for (size_t piece = 0; piece < 40; piece++) {
                struct judgement judgement = {0};
                struct error err = {0};
                struct webhook_event *event;

                assert_ok(reach(&judgement, PUSH, piece, "push", &err), err);
                event = judgement.event;
                assert_int_equal(judgement.kind, JUDGED_ACCEPTED);
                assert_string_equal(event->repository_url, "https://forge.example/acme/demo.git");
                assert_string_equal(event->repo_name, "demo");
                assert_string_equal(event->repo_full_name, "acme/demo");
                assert_string_equal(event->branch, "main");
                assert_string_equal(event->ref, "refs/heads/main");
                assert_string_equal(event->commit, SHA);
                assert_string_equal(event->message, "Say é 😀\nmore");
                assert_string_equal(event->pusher, "Ada");
                assert_string_equal(event->pusher_email, "ada@example.org");
                assert_string_equal(event->author_email, "ada@example.org");
                assert_string_equal(event->trigger, "push");
                assert_string_equal(event->project_type, "cargo");
                assert_false(event->fork);
                judgement_done(&judgement);
        }
}

struct judged {
        const char *what;
        const char *event;
        const char *body;
        enum judgement_kind kind;
        const char *reason; /* a part of it */
};

static const struct judged judged[] = {
        {"a tag", "push", PUSH_OF("refs/tags/v1", SHA, "false", "x"), JUDGED_ACCEPTED, ""},
        {"a branch with a slash", "push", PUSH_OF("refs/heads/a/b", SHA, "false", "x"),
         JUDGED_ACCEPTED, ""},
        {"a deleted branch", "push", PUSH_OF("refs/heads/x", ZEROS, "true", "x"), JUDGED_IGNORED,
         "branch was deleted"},
        {"a deleted tag", "push", PUSH_OF("refs/tags/x", ZEROS, "true", "x"), JUDGED_IGNORED,
         "tag was deleted"},
        {"a note", "push", PUSH_OF("refs/notes/x", SHA, "false", "x"), JUDGED_IGNORED,
         "neither a branch nor a tag"},
        {"[skip ci]", "push", PUSH_OF("refs/heads/x", SHA, "false", "Words [skip ci]"),
         JUDGED_IGNORED, "[skip ci]"},
        {"[CI SKIP]", "push", PUSH_OF("refs/heads/x", SHA, "false", "A\\n\\n[CI SKIP] b"),
         JUDGED_IGNORED, "[skip ci]"},
        {"an opened pull request", "pull_request",
         PULL_OF("opened", "{\"full_name\":\"acme/demo\"}"), JUDGED_ACCEPTED, ""},
        {"a synchronized pull request", "pull_request",
         PULL_OF("synchronize", "{\"full_name\":\"acme/demo\"}"), JUDGED_ACCEPTED, ""},
        {"a reopened pull request", "pull_request", PULL_OF("reopened", "null"), JUDGED_ACCEPTED,
         ""},
        {"a closed pull request", "pull_request", PULL_OF("closed", "null"), JUDGED_IGNORED,
         "closed"},
        {"a ping", "ping", "{\"zen\":\"Keep it\",\"hook_id\":1}", JUDGED_PONG, ""},
        {"a new branch", "create", "{\"ref\":\"x\",\"ref_type\":\"branch\"," REPOSITORY "}",
         JUDGED_IGNORED, "new branch"},
        {"a deleted ref", "delete", "{\"ref\":\"x\",\"ref_type\":\"tag\"," REPOSITORY "}",
         JUDGED_IGNORED, "tag was deleted"},
        {"an event that nobody knows", "star", "{\"action\":\"created\"}", JUDGED_IGNORED,
         "'star'"},
        {"an empty object", "fork", " {} ", JUDGED_IGNORED, "'fork'"},
};

TEST("each event is judged, with the reason for what is left alone")
{
        for (size_t i = 0; i < sizeof(judged) / sizeof(*judged); i++) {
                const struct judged *j = &judged[i];
                struct judgement judgement = {0};
                struct error err = {0};

                if (reach(&judgement, j->body, 0, j->event, &err) < 0)
                        fail_msg("%s: %s", j->what, err.text);
                if (judgement.kind != j->kind || !strstr(judgement.reason, j->reason))
                        fail_msg("%s: %d, %s", j->what, judgement.kind, judgement.reason);
                judgement_done(&judgement);
        }
}

TEST("a tag is built at its commit, a pull request at its head")
{
        struct judgement judgement = {0};
        struct error err = {0};

        assert_ok(reach(&judgement,
                        PUSH_OF("refs/tags/v1.0", "1111111111111111111111111111111111111111",
                                "false", "x"),
                        0, "push", &err),
                  err);
        assert_string_equal(judgement.event->trigger, "tag");
        assert_string_equal(judgement.event->branch, "v1.0");
        assert_string_equal(judgement.event->commit, SHA);
        judgement_done(&judgement);
        assert_ok(reach(&judgement, PULL_OF("opened", "{\"full_name\":\"acme/demo\"}"), 0,
                        "pull_request", &err),
                  err);
        assert_string_equal(judgement.event->trigger, "pull_request");
        assert_string_equal(judgement.event->ref, "refs/pull/7/head");
        assert_string_equal(judgement.event->branch, "topic/x");
        assert_string_equal(judgement.event->commit, SHA);
        assert_string_equal(judgement.event->pusher, "eve");
        assert_int_equal(judgement.event->pull_request, 7);
        assert_string_equal(judgement.event->pull_request_title, "Better");
        assert_false(judgement.event->fork);
        judgement_done(&judgement);
}

TEST("a pull request whose head is in another repository, or in none any more, is from a fork")
{
        static const char *const bodies[] = {
                PULL_OF("opened", "{\"full_name\":\"mallory/demo\"}"),
                PULL_OF("opened", "null"),
                PULL_OF("opened", "{}"),
        };

        for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++) {
                struct judgement judgement = {0};
                struct error err = {0};

                assert_ok(reach(&judgement, bodies[i], 0, "pull_request", &err), err);
                assert_true(judgement.event->fork);
                assert_int_equal(judgement.kind, JUDGED_ACCEPTED);
                assert_non_null(strstr(judgement.reason, "fork"));
                judgement_done(&judgement);
        }
}

struct refused {
        const char *event;
        const char *body;
        const char *says;
};

static const struct refused refused[] = {
        {"pull_request", PUSH, "action"},
        {"ping", PUSH, "zen"},
        {"create", PUSH, "ref_type"},
        {"issues", PUSH, "commits"},
        {"push", PULL_OF("opened", "null"), "ref"},
        {"push", "{\"zen\":\"x\"}", "ref"},
        {"push", "{}", "ref"},
        {"push", PUSH_OF("main", SHA, "false", "x"), "refs/"},
        {"push", PUSH_OF("refs/heads/main", "HEAD", "false", "x"), "after"},
        {"push", PUSH_OF("refs/heads/a\\nb", SHA, "false", "x"), "control"},
        {"push",
         "{\"ref\":\"refs/heads/x\",\"before\":\"" ZEROS "\",\"after\":\"" SHA
         "\",\"repository\":{\"name\":\"demo\",\"full_name\":\"../demo\",\"clone_url\":\"u\"}}",
         "OWNER/NAME"},
        {"push",
         "{\"ref\":\"refs/heads/x\",\"before\":\"" ZEROS "\",\"after\":\"" SHA
         "\",\"repository.full_name\":\"acme/demo\",\"repository\":{}}",
         "repository.full_name"},
        {"push", "{\"ref\":\"a\",\"ref\":\"b\"}", "twice"},
        {"pull_request",
         "{\"action\":\"opened\",\"number\":0," REPOSITORY ",\"pull_request\":{\"head\":{\"ref\":"
         "\"x\",\"sha\":\"" SHA "\"}}}",
         "number"},
        {"push", "[]", "object"},
        {"push", "\"text\"", "object"},
        {"push", "17", "object"},
        {"push", "null", "object"},
        {"push", "", "JSON"},
        {"push", "   ", "JSON"},
        {"push", "{", "JSON"},
        {"push", "{\"a\":1}}", "JSON"},
        {"push", "{\"a\":1} {\"b\":2}", "JSON"},
        {"push", "{\"a\":1}\"b", "JSON"},
        {"push", "{\"a\":\"b", "JSON"},
        {"push", "{\"a\":1,}", "JSON"},
        {"push", "{'a':1}", "JSON"},
        {"push", "{\"a\":nul}", "JSON"},
        {"push", "{\"a\":/* x */1}", "JSON"},
        {"push", "{\"a\":\"x\ny\"}", "control"},
        {"push", "{\v\"a\":1}", "control"},
        {"push", "{\f\"a\":1}", "control"},
        {"push", "{\"a\":\"\\x41\"}", "JSON"},
        {"push", "{\"a\":\"\\u12g4\"}", "hex"},
        {"push", "{\"a\":\"\\u0000\"}", "NUL"},
        {"push", "{\"a\\u0000\":1}", "NUL"},
        {"push", "{\"a\":\"\xff\"}", "UTF-8"},
        {"push", "{\"a\":\"\xc0\x80\"}", "UTF-8"},
        {"push", "{\"a\":\"\xed\xa0\x80\"}", "UTF-8"},
        {"push", "{\"a\":\"\xe2\x99\"}", "UTF-8"},
        {"push", "{\"a\":\"x\xe2\x99", "UTF-8"},
        {"push", "\xef\xbb\xbf{}", "JSON"},
};

TEST("what is not JSON, not UTF-8 or not the event of the header is refused, however it is cut")
{
        for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
                for (size_t piece = 0; piece < 3; piece++) {
                        const struct refused *r = &refused[i];
                        struct judgement judgement = {0};
                        struct error err = {0};

                        if (reach(&judgement, r->body, piece, r->event, &err) != -ERROR_INVALID)
                                fail_msg("taken: %s %s", r->event, r->body);
                        if (!strstr(err.text, r->says))
                                fail_msg("%s %s: %s", r->event, r->body, err.text);
                }
        }
}

TEST("a raw NUL is refused wherever it stands")
{
        static const char body[] = "{\"a\":\"x\",\"b\":1}";

        for (size_t i = 0; i < sizeof(body) - 1; i++) {
                char with[sizeof(body)];
                struct error err = {0};
                scoped(payload) struct payload *payload = NULL;

                memcpy(with, body, sizeof(body));
                with[i] = '\0';
                payload = feed(with, sizeof(body) - 1, 0, false);
                assert_int_equal(payload_end(payload, &err), -ERROR_INVALID);
        }
}

TEST("64 levels are taken and 65 are not")
{
        for (int depth = 64; depth <= 1000; depth += depth == 64 ? 1 : 935) {
                scoped_str struct str body = STR_INIT;
                scoped(payload) struct payload *payload = NULL;
                struct error err = {0};

                str_add(&body, "{\"a\":");
                for (int i = 1; i < depth; i++)
                        str_add(&body, "[");
                for (int i = 1; i < depth; i++)
                        str_add(&body, "]");
                str_add(&body, "}");
                payload = feed(body.data, body.len, 0, false);
                assert_int_equal(payload_end(payload, &err), depth == 64 ? 0 : -ERROR_INVALID);
        }
}

TEST("a form gives the same as its JSON, whatever stands beside it")
{
        scoped_str struct str form = STR_INIT;

        str_add(&form, "other=%7B&pay%6Coad=");
        for (const char *p = PUSH; *p; p++) {
                if (*p == ' ')
                        str_add_char(&form, '+');
                else if (strchr("{}\":,\\/", *p))
                        str_printf(&form, "%%%02X", *p);
                else
                        str_add_char(&form, *p);
        }
        str_add(&form, "&payloads=1");
        for (size_t piece = 0; piece < 10; piece++) {
                scoped(payload) struct payload *payload = feed(form.data, form.len, piece, true);
                struct judgement judgement = {0};
                struct error err = {0};

                assert_ok(payload_end(payload, &err), err);
                assert_ok(judge_event(&judgement, payload, "push", &err), err);
                assert_string_equal(judgement.event->message, "Say é 😀\nmore");
                judgement_done(&judgement);
        }
}

TEST("a form without a payload, with two, or with a broken escape is refused")
{
        static const char *const wrong[] = {
                "",
                "payload",
                "payloa=%7B%7D",
                "xpayload=%7B%7D",
                "payload=%7B%7",
                "payload=%7B%7D%",
                "payload=%7g",
                "payload=%7B%7D&payload=%7B%7D",
                "payload=",
                "%7B%7D",
                "payload=%00",
        };

        for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
                scoped(payload) struct payload *payload = feed(wrong[i], strlen(wrong[i]), 0, true);
                struct error err = {0};

                if (payload_end(payload, &err) != -ERROR_INVALID)
                        fail_msg("taken: %s", wrong[i]);
        }
}

TEST("people's texts are cut to whole characters, what names things is refused when too long")
{
        scoped_str struct str body = STR_INIT;
        scoped_str struct str url = STR_INIT;
        scoped(payload) struct payload *message = NULL;
        scoped(payload) struct payload *name = NULL;
        struct error err = {0};
        const char *text;

        str_add(&body, "{\"head_commit\":{\"message\":\"x");
        for (int i = 0; i < 100000; i++)
                str_add(&body, "é");
        str_add(&body, "\"},\"ref\":\"after\"}");
        message = feed(body.data, body.len, 1000, false);
        assert_ok(payload_end(message, &err), err);
        text = payload_text(message, PAYLOAD_HEAD_COMMIT_MESSAGE);
        assert_in_range(strlen(text), 32767, 32768);
        assert_true(utf8_valid(text, strlen(text)));
        assert_string_equal(payload_text(message, PAYLOAD_REF), "after");
        str_printf(&url, "{\"repository\":{\"clone_url\":\"%3000d\"}}", 1);
        name = feed(url.data, url.len, 0, false);
        assert_int_equal(payload_end(name, &err), -ERROR_INVALID);
        assert_non_null(strstr(err.text, "repository.clone_url"));
}

static bool add_length(void *data, const char *bytes, size_t n)
{
        *(size_t *)data += n;
        return true;
}

TEST("the parser never sees more than 64 KiB of a string, and no number of 257 digits")
{
        scoped_text char *piece = text_format("%01000d", 7);
        size_t passed = 0;
        struct guard guard = {.sink = add_length, .data = &passed};

        guard_add(&guard, "{\"a\":\"", 6);
        for (int i = 0; i < 25000; i++)
                guard_add(&guard, piece, 1000);
        guard_add(&guard, "\",\"b\":\"c\"}", 10);
        assert_true(guard_end(&guard));
        assert_int_equal(passed, 6 + GUARD_STRING_MAX + 10);
        guard_add(&guard, piece, 256);
        assert_null(guard.failed);
        guard_add(&guard, piece, 1);
        assert_non_null(guard.failed);
}

TEST("a body that comes byte by byte costs no more than its bytes")
{
        scoped(payload) struct payload *payload = payload_new(false);
        struct error err = {0};
        int64_t begun = clock_ms();

        payload_add(payload, "{\"a\":[0", 7);
        for (int i = 0; i < 64; i++) {
                payload_add(payload, ",\"", 2);
                for (int j = 0; j < 65000; j++)
                        payload_add(payload, "x", 1);
                payload_add(payload, "\"", 1);
        }
        payload_add(payload, "]}", 2);
        assert_ok(payload_end(payload, &err), err);
        assert_in_range(clock_ms() - begun, 0, 10000);
}

TEST_MAIN()
