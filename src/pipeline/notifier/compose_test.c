/*
 * Golden mails: what is expected lies in tests/data/mail. To see a difference, run with
 * ARGON_GOLDEN=write and look at what git says has changed.
 */
#include "pipeline/notifier/compose.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/scoped.h"
#include "base/str.h"
#include "tests/support/test.h"
#include "wire/notification.h"

#include "base/banned.h"

static const struct compose_facts facts = {
        .from_name = "Argon CI",
        .from = "ci@ci.example.org",
        .to = "dev1@example.org",
        .reply_to = "",
        .why = "pusher",
        .url = "https://ci.example.org",
        .date_ms = INT64_C(1757671234567),
        .with_log = true,
};

static struct notification_job jobs[] = {
        {"lint", STATE_SUCCESS, 21000, 1},
        {"build", STATE_SUCCESS, 48000, 1},
        {"test", STATE_FAILED, 62000, 2},
        {"deploy", STATE_SKIPPED, 0, 0},
};

static struct notification red(void)
{
        return (struct notification){
                .id = "b/1",
                .build_id = "01993d2c-7a10-7000-8000-000000000001",
                .round = 1,
                .repo = "acme/api",
                .number = 812,
                .ref = "refs/heads/main",
                .branch = "main",
                .commit = "9f2c1ab0000000000000000000000000000000aa",
                .message = "Fix retry loop\n\nIt looped for ever.\n",
                .author = "Dev1",
                .author_email = "dev1@example.org",
                .committer_email = "dev1@example.org",
                .pusher = "dev1",
                .pusher_email = "dev1@example.org",
                .event = "push",
                .state = STATE_FAILED,
                .reason = REASON_EXIT_CODE,
                .reason_text = "test: exited with 1",
                .previous = "success",
                .policy = "",
                .duration_ms = 134000,
                .url = "https://ci.example.org/r/acme/api/builds/812",
                .failing_job = "test",
                .failing_step = "pytest",
                .failing_reason = "exited with 1",
                .failing_attempt = 2,
                .failing_duration_ms = 38000,
                .failing_first_line = 1200,
                .job_url = "https://ci.example.org/r/acme/api/builds/812/jobs/test#L1240",
                .tail = "collecting\n\033[31mE   AssertionError: expected 200, got <500> & "
                        "\"more\"\033[0m\n"
                        "1 failed, 411 passed in 31.44s\n",
                .tail_last_line = 1240,
                .findings = "",
                .jobs = jobs,
                .n_jobs = 4,
        };
}

static struct notification green(void)
{
        struct notification n = red();

        n.state = STATE_SUCCESS;
        n.reason = REASON_NONE;
        n.reason_text = n.failing_job = n.failing_step = n.failing_reason = n.job_url = n.tail = "";
        n.failing_duration_ms = n.tail_last_line = 0;
        n.failing_attempt = 0;
        n.n_jobs = 2;
        return n;
}

static void assert_golden(const char *name, const struct str *text)
{
        const char *root = getenv("ARGON_SOURCE_ROOT");
        scoped_text char *path = NULL;
        scoped_str struct str expected = STR_INIT;
        struct error err = {0};

        assert_non_null(root);
        path = text_format("%s/tests/data/mail/%s", root, name);
        if (getenv("ARGON_GOLDEN"))
                assert_ok(fs_write_atomic(path, text->data, text->len, 0644, &err), err);
        assert_ok(str_read_file(&expected, path, 1 << 20, &err), err);
        assert_string_equal(text->data, expected.data);
}

TEST("a first failure, with its step, its last lines and its incident")
{
        scoped_str struct str text = STR_INIT;
        struct notification n = red();
        struct compose_facts f = facts;

        f.first_red = 812;
        f.last_green = 808;
        compose_mail(&text, &n, &f);
        assert_golden("failed.eml", &text);
}

TEST("a success says little")
{
        scoped_str struct str text = STR_INIT;
        struct notification n = green();

        compose_mail(&text, &n, &facts);
        assert_golden("passed.eml", &text);
}

TEST("a file with errors is shown with its carets, names from outside are encoded")
{
        scoped_str struct str text = STR_INIT;
        struct notification n = red();

        n.state = STATE_ERROR;
        n.reason = REASON_CONFIG_INVALID;
        n.reason_text = ".runnerci.yml has 1 error: line 3: \"imgae\" is not a key of a job";
        n.failing_job = n.failing_step = n.failing_reason = n.job_url = n.tail = "";
        n.findings = ".runnerci.yml:3:5: error: \"imgae\" is not a key of a job\n"
                     "   3 |     imgae: alpine\n"
                     "     |     ^^^^^ did you mean \"image\"?\n";
        n.branch = "sch\xc3\xb6n/<b>\r\nBcc: x@example.org";
        n.author = "J\xc3\xb6rg \"<script>\"";
        n.n_jobs = 0;
        compose_mail(&text, &n, &facts);
        assert_golden("config.eml", &text);
}

static void assert_subject(const struct notification *n, const char *expected)
{
        scoped_str struct str text = STR_INIT;

        compose_subject(&text, n);
        assert_string_equal(text.data, expected);
        assert_true(strlen(text.data) <= 78);
}

TEST("subjects begin with where and what, and stay within 78 columns")
{
        struct notification n = red();

        assert_subject(&n, "[acme/api] FAILED #812 main: test > pytest (9f2c1ab)");
        n.previous = "failed";
        assert_subject(&n, "[acme/api] STILL FAILING #812 main: test > pytest (9f2c1ab)");
        n.failing_step = "run every test of the whole system twice, to be sure of it";
        assert_subject(
                &n,
                "[acme/api] STILL FAILING #812 main: test > run every test of the ... (9f2c1ab)");
        n.branch = "feature/a-branch-with-a-name-that-nobody-wants-to-read-in-a-subject-at-all";
        assert_subject(
                &n,
                "[acme/api] STILL FAILING #812 feature/a-branch-with-a-nam...: tes... (9f2c1ab)");
        n = green();
        assert_subject(&n, "[acme/api] PASSED #812 main (9f2c1ab)");
        n.previous = "timeout";
        assert_subject(&n, "[acme/api] FIXED #812 main (9f2c1ab)");
}

TEST("whatever a job prints or a person writes, HTML holds its text only and stays small")
{
        scoped_str struct str html = STR_INIT;
        scoped_str struct str tail = STR_INIT;
        struct notification_job many[256];
        struct notification n = red();

        for (int i = 0; i < 2000; i++)
                str_add(&tail, i % 40 == 39 ? "<&>\n" : "<script>\"&'");
        for (size_t i = 0; i < 256; i++)
                many[i] = (struct notification_job){tail.data, STATE_FAILED, 1, 1};
        n.tail = n.findings = tail.data;
        n.failing_job = n.failing_step = n.failing_reason = tail.data;
        n.message = n.author = n.branch = n.repo = tail.data;
        n.jobs = many;
        n.n_jobs = 256;
        compose_html(&html, &n, &facts);
        assert_null(strstr(html.data, "<script"));
        assert_null(strstr(html.data, "\"&'"));
        assert_true(html.len < COMPOSE_HTML_BYTES_MAX);
}

TEST("no output is quoted where the administrator does not want it")
{
        scoped_str struct str text = STR_INIT;
        struct notification n = red();
        struct compose_facts f = facts;

        f.with_log = false;
        compose_mail(&text, &n, &f);
        assert_null(strstr(text.data, "AssertionError"));
        assert_null(strstr(text.data, "sensitive"));
}

TEST("headers of a mail hold no line of anybody else's making")
{
        scoped_str struct str text = STR_INIT;
        struct notification n = red();
        const char *body;

        n.repo = "acme/api\r\nX-Evil: 1";
        n.branch = "main\nX-Evil: 2";
        n.commit = "9f\r\nX-Evil: 3";
        n.build_id = "id\r\nX-Evil: 4\r\n\r\nbody";
        compose_mail(&text, &n, &facts);
        body = strstr(text.data, "\r\n\r\n");
        assert_non_null(body);
        for (const char *line = text.data; line < body; line = strstr(line, "\r\n") + 2)
                assert_false(text_starts(line, "X-Evil"));
}

TEST_MAIN()
