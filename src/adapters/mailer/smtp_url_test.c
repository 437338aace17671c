#include "adapters/mailer/smtp_url.h"

#include <string.h>

#include "base/error.h"
#include "tests/support/test.h"

#include "base/banned.h"

TEST("a mail URL is taken apart, user and password percent-decoded")
{
        static const struct {
                const char *text, *user, *password, *host;
                int port;
                bool implicit;
                enum smtp_tls tls;
                int timeout_ms;
        } table[] = {
                {"smtp://mail.example.org", "", "", "mail.example.org", 0, false, SMTP_TLS_OFFERED,
                 30000},
                {"smtps://mail.example.org:4650/", "", "", "mail.example.org", 4650, true,
                 SMTP_TLS_OFFERED, 30000},
                {"smtp://ci:p%40ss%2Fw%25rd@mail.example.org:587", "ci", "p@ss/w%rd",
                 "mail.example.org", 587, false, SMTP_TLS_REQUIRED, 30000},
                {"smtp://ci%40example.org:a:b@h", "ci@example.org", "a:b", "h", 0, false,
                 SMTP_TLS_REQUIRED, 30000},
                {"smtp://ci@h?tls=never&timeout=5s", "ci", "", "h", 0, false, SMTP_TLS_NEVER, 5000},
                {"smtp://ci:x@localhost:25", "ci", "x", "localhost", 25, false, SMTP_TLS_OFFERED,
                 30000},
                {"smtp://ci:x@127.0.0.1?tls=required", "ci", "x", "127.0.0.1", 0, false,
                 SMTP_TLS_REQUIRED, 30000},
                {"smtp://[::1]:2525", "", "", "[::1]", 2525, false, SMTP_TLS_OFFERED, 30000},
                {"smtp://a@b:c@host", "a@b", "c", "host", 0, false, SMTP_TLS_REQUIRED, 30000},
        };

        for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
                scoped_smtp_url struct smtp_url url;
                struct error err = {0};

                smtp_url_init(&url);
                assert_ok(smtp_url_parse(&url, table[i].text, &err), err);
                assert_string_equal(url.user.data, table[i].user);
                assert_string_equal(url.password.data, table[i].password);
                assert_string_equal(url.host.data, table[i].host);
                assert_int_equal(url.port, table[i].port);
                assert_int_equal(url.implicit_tls, table[i].implicit);
                assert_int_equal(url.tls, table[i].tls);
                assert_int_equal(url.timeout_ms, table[i].timeout_ms);
        }
}

TEST("a mail URL that cannot be is refused without repeating the password")
{
        static const char *const table[] = {
                "smtp://",
                "smtp://:secret@h",
                "smtp://u:secret@",
                "smtp://u:secret@h:0",
                "smtp://u:secret@h:65536",
                "smtp://u:secret@h:25x",
                "smtp://u:secret@h/path",
                "smtp://u:secret%@h",
                "smtp://u:secret%4@h",
                "smtp://u:secret%zz@h",
                "smtp://u:secret%0a@h",
                "smtp://u:secret@h?tls=maybe",
                "smtp://u:secret@h?timeout=0",
                "smtp://u:secret@h?timeout=1h",
                "smtp://u:secret@h?color=red",
                "smtp://u:secret@h h",
                "smtp://u:secret@[::1",
                "smtp://u:secret@-h",
                "http://u:secret@h",
        };

        for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
                scoped_smtp_url struct smtp_url url;
                struct error err = {0};

                smtp_url_init(&url);
                assert_int_equal(smtp_url_parse(&url, table[i], &err), -ERROR_INVALID);
                assert_null(strstr(err.text, "secret"));
                assert_true(strlen(err.text) > 20);
        }
}

TEST_MAIN()
