#include "pipeline/notifier/policy.h"

#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "pipeline/notifier/address.h"
#include "tests/support/test.h"
#include "wire/notification.h"

#include "base/banned.h"

static struct notification make(enum state state, const char *previous)
{
        return (struct notification){
                .repo = "acme/api",
                .state = state,
                .reason = state == STATE_ERROR ? REASON_EXECUTOR_LOST : REASON_NONE,
                .previous = previous,
                .policy = "",
                .pusher_email = "dev1@example.org",
                .author_email = "dev2@example.org",
                .committer_email = "dev3@example.org",
        };
}

static const char *told(const struct notification *notification, const char *policy,
                        const char *administrator)
{
        static struct recipient recipient;
        const char *why = "";

        return policy_recipient(&recipient, &why, notification, policy, administrator)
                       ? recipient.address
                       : "";
}

TEST("each policy tells the ends that it names, and a file can only narrow")
{
        static const struct {
                enum state state;
                const char *previous;
                const char *expected; /* under always, failure, change, never: y or n */
        } table[] = {
                {STATE_SUCCESS, "", "ynnn"},        {STATE_SUCCESS, "success", "ynnn"},
                {STATE_SUCCESS, "failed", "ynyn"},  {STATE_SUCCESS, "timeout", "ynyn"},
                {STATE_FAILED, "success", "yyyn"},  {STATE_FAILED, "failed", "yyyn"},
                {STATE_TIMEOUT, "", "yyyn"},        {STATE_CANCELLED, "failed", "nnnn"},
                {STATE_SKIPPED, "success", "nnnn"},
        };
        static const char *const policies[] = {"always", "failure", "change", "never"};

        for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
                for (size_t admin = 0; admin < 4; admin++) {
                        for (size_t file = 0; file < 5; file++) {
                                struct notification n = make(table[i].state, table[i].previous);
                                bool wanted = table[i].expected[admin] == 'y' &&
                                              (file == 4 || table[i].expected[file] == 'y');

                                n.policy = file == 4 ? "" : policies[file];
                                assert_string_equal(told(&n, policies[admin], ""),
                                                    wanted ? "dev1@example.org" : "");
                        }
                }
        }
}

TEST("an address behind which nobody reads is passed over for the next one")
{
        struct notification n = make(STATE_FAILED, "");

        n.pusher_email = "94891044+avd1729@users.noreply.github.com";
        assert_string_equal(told(&n, "always", "ops@example.org"), "dev2@example.org");
        n.author_email = "x@USERS.noreply.GitHub.com";
        assert_string_equal(told(&n, "always", "ops@example.org"), "dev3@example.org");
        n.committer_email = "noreply@github.com";
        assert_string_equal(told(&n, "always", "ops@example.org"), "ops@example.org");
        assert_string_equal(told(&n, "always", ""), "");
        n.pusher_email = "dev1@example.org\r\nBcc: everyone@example.org";
        assert_string_equal(told(&n, "always", ""), "");
}

TEST("builds of forks, and under `change` errors of ours, go to the administrator alone")
{
        struct notification n = make(STATE_FAILED, "");

        n.fork = true;
        assert_string_equal(told(&n, "always", ""), "");
        assert_string_equal(told(&n, "always", "ops@example.org"), "ops@example.org");
        n = make(STATE_ERROR, "");
        assert_string_equal(told(&n, "change", "ops@example.org"), "ops@example.org");
        assert_string_equal(told(&n, "change", ""), "");
        assert_string_equal(told(&n, "always", ""), "dev1@example.org");
        n.reason = REASON_CONFIG_INVALID;
        assert_string_equal(told(&n, "change", ""), "dev1@example.org");
}

TEST("only addresses that cannot break out of a header are addresses")
{
        static const char *const good[] = {"a@b", "dev.one+ci@mail.example.org", "x_y@1.example",
                                           "o'neil@example.org", "!#$%&'*@example.org"};
        static const char *const bad[] = {"",
                                          "a",
                                          "@b",
                                          "a@",
                                          "a@b@c",
                                          "a b@c",
                                          ".a@b",
                                          "a.@b",
                                          "a..b@c",
                                          "a@b.",
                                          "a@.b",
                                          "a@-b",
                                          "a@b-.c",
                                          "a@b..c",
                                          "a@b\n",
                                          "a\r@b",
                                          "<a@b>",
                                          "a@b,c@d",
                                          "\"a b\"@c",
                                          "a@[127.0.0.1]",
                                          "j\xc3\xb6rg@example.org",
                                          "a@ex\xc3\xa4mple.org"};
        char big[400];

        for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
                assert_true(address_valid(good[i]));
        for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
                assert_false(address_valid(bad[i]));
        memset(big, 'a', sizeof(big));
        big[64] = '@';
        big[67] = '\0';
        assert_true(address_valid(big));
        big[65] = '@';
        big[64] = 'a';
        assert_false(address_valid(big));
}

TEST("a sender is an address, or a name with one")
{
        static const struct {
                const char *text, *name, *address;
        } table[] = {
                {"ci@example.org", "", "ci@example.org"},
                {"<ci@example.org>", "", "ci@example.org"},
                {"Argon CI <ci@example.org>", "Argon CI", "ci@example.org"},
                {"\"Argon, CI\" <ci@example.org>", "Argon, CI", "ci@example.org"},
        };
        struct error err = {0};

        for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
                scoped_str struct str name = STR_INIT;
                scoped_str struct str address = STR_INIT;

                assert_ok(address_split(&name, &address, table[i].text, &err), err);
                assert_string_equal(name.data, table[i].name);
                assert_string_equal(address.data, table[i].address);
        }
        {
                scoped_str struct str name = STR_INIT;
                scoped_str struct str address = STR_INIT;

                assert_int_equal(address_split(&name, &address, "Argon CI", &err), -ERROR_INVALID);
                assert_non_null(strstr(err.text, "'Argon CI' is not a mail address"));
        }
}

TEST_MAIN()
