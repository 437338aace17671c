/*
 * Every mailer against the same cases, and SMTP against a real server with each of its faults.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "adapters/mailer/mailers.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/parse.h"
#include "base/scoped.h"
#include "base/str.h"
#include "ports/mailer.h"
#include "tests/support/test.h"

#include "base/banned.h"

#define FROM "ci@example.org"
#define GOOD "dev@example.org"

static const char message[] = "From: ci@example.org\r\nTo: dev@example.org\r\n"
                              "Message-ID: <one@example.org>\r\nX-Argon-Repository: acme/api\r\n"
                              "X-Argon-Build: 12\r\nX-Argon-Result: failed\r\nSubject: x\r\n\r\n"
                              "first\r\n.\r\n..two dots\r\nlast\r\n";

static const struct mailer_adapter table[] = {
        {"outbox", mailer_open_outbox, NULL},
        {"none", mailer_open_none, NULL},
        {"smtp", mailer_open_smtp, NULL},
        {"smtps", mailer_open_smtp, NULL},
};

struct server {
        char folder[64];
        int input; /* closing it ends the server */
        pid_t pid;
        int port;
};

static void start_server(struct server *server, const char *first, const char *second,
                         const char *third)
{
        const char *python = getenv("ARGON_TEST_PYTHON");
        scoped_text char *script =
                text_format("%s/tests/support/smtp_server.py", getenv("ARGON_SOURCE_ROOT"));
        int64_t port = 0;
        char line[16] = "";
        int in[2];
        int out[2];

        snprintf(server->folder, sizeof(server->folder), "/tmp/argon-smtp.XXXXXX");
        assert_non_null(mkdtemp(server->folder));
        assert_int_equal(pipe2(in, O_CLOEXEC), 0);
        assert_int_equal(pipe2(out, O_CLOEXEC), 0);
        server->pid = fork();
        if (server->pid == 0) {
                dup2(in[0], 0);
                dup2(out[1], 1);
                execlp(python, python, script, server->folder, first, second, third, NULL);
                _exit(127);
        }
        close(in[0]);
        close(out[1]);
        server->input = in[1];
        for (size_t i = 0; i + 1 < sizeof(line); i++) {
                if (read(out[0], line + i, 1) != 1)
                        fail_msg("%s %s did not start (tools/deps.sh test makes the Python)",
                                 python, script);
                if (line[i] == '\n') {
                        line[i] = '\0';
                        break;
                }
        }
        close(out[0]);
        assert_int_equal(parse_int(&port, line, 1, 65535, NULL), 0);
        server->port = (int)port;
}

static void stop_server(struct server *server)
{
        close(server->input);
        waitpid(server->pid, NULL, 0);
        fs_remove_tree(server->folder, NULL);
}

static struct mailer *open_smtp(const char *url, const char *ca)
{
        struct mailer *mailer = NULL;
        struct error err = {0};

        assert_ok(mailer_open_smtp(&mailer, url, (void *)ca, &err), err);
        return mailer;
}

static int send(struct mailer *mailer, const char *to, char detail[128], struct error *err)
{
        return mailer_send(mailer, FROM, to, message, sizeof(message) - 1, detail, err);
}

static void read_kept(const struct server *server, const char *name, struct str *ret)
{
        scoped_text char *path = fs_path(server->folder, name);
        struct error err = {0};

        assert_ok(str_read_file(ret, path, 1 << 20, &err), err);
}

TEST("every mailer takes a mail, says where it went, and takes the next one too")
{
        struct server server;
        scoped_text char *smtp = NULL;
        scoped_text char *outbox = NULL;

        start_server(&server, NULL, NULL, NULL);
        smtp = text_format("smtp://127.0.0.1:%d", server.port);
        outbox = text_format("outbox:%s/out", server.folder);
        const char *const urls[] = {smtp, outbox, "none"};

        for (size_t i = 0; i < sizeof(urls) / sizeof(*urls); i++) {
                struct mailer *mailer = NULL;
                struct error err = {0};

                assert_ok(mailer_open(&mailer, table, 4, urls[i], &err), err);
                for (int k = 0; k < 2; k++) {
                        char detail[128] = "";

                        assert_ok(send(mailer, GOOD, detail, &err), err);
                        assert_true(detail[0] != '\0');
                }
                mailer_close(mailer);
        }
        stop_server(&server);
}

TEST("the outbox holds the exact bytes under a name that people can read, once per mail")
{
        char folder[] = "/tmp/argon-outbox.XXXXXX";
        scoped_text char *url = NULL;
        scoped_str struct str kept = STR_INIT;
        struct mailer *mailer = NULL;
        struct error err = {0};
        char first[128] = "";
        char second[128] = "";
        struct stat status;

        assert_non_null(mkdtemp(folder));
        url = text_format("outbox:%s/deep/er", folder);
        assert_ok(mailer_open(&mailer, table, 4, url, &err), err);
        assert_ok(send(mailer, GOOD, first, &err), err);
        assert_ok(send(mailer, GOOD, second, &err), err);
        assert_string_equal(first, second);
        assert_non_null(strstr(first, "/acme-api-000012-failed-"));
        assert_true(text_ends(first, ".eml"));
        assert_ok(str_read_file(&kept, first, 1 << 20, &err), err);
        assert_string_equal(kept.data, message);
        assert_int_equal(stat(first, &status), 0);
        assert_int_equal(status.st_mode & 0777, 0600);
        assert_ok(fs_remove_tree(folder, &err), err);
        assert_int_equal(fs_write_atomic(folder, "x", 1, 0600, &err), 0);
        assert_int_equal(send(mailer, GOOD, first, &err), -ERROR_UNAVAILABLE);
        assert_int_equal(unlink(folder), 0);
        mailer_close(mailer);
}

TEST("SMTP delivers the bytes as they are, with the envelope as asked")
{
        struct server server;
        scoped_text char *url = NULL;
        scoped_str struct str kept = STR_INIT;
        scoped_str struct str envelope = STR_INIT;
        struct mailer *mailer;
        char detail[128] = "";
        struct error err = {0};

        start_server(&server, NULL, NULL, NULL);
        url = text_format("smtp://127.0.0.1:%d", server.port);
        mailer = open_smtp(url, NULL);
        assert_ok(send(mailer, GOOD, detail, &err), err);
        assert_string_equal(detail, "250 kept as 1");
        read_kept(&server, "0001.eml", &kept);
        assert_string_equal(kept.data, message);
        read_kept(&server, "0001.json", &envelope);
        assert_string_equal(envelope.data,
                            "{\"from\": \"ci@example.org\", \"to\": "
                            "[\"dev@example.org\"], \"tls\": false, \"user\": null}");
        mailer_close(mailer);
        stop_server(&server);
}

TEST("what the server says decides between later and never, in the server's words")
{
        static const struct {
                const char *to;
                int expected;
                const char *words;
        } cases[] = {
                {"code451@example.org", -ERROR_UNAVAILABLE, "451 5.1.1 refused by the test"},
                {"code550@example.org", -ERROR_INVALID, "550 5.1.1 refused by the test"},
                {"data452@example.org", -ERROR_UNAVAILABLE, "452 4.3.1 the disk of the test"},
                {"drop@example.org", -ERROR_UNAVAILABLE, "cannot be used now"},
                {"hang@example.org", -ERROR_UNAVAILABLE, "cannot be used now: Timeout"},
                {GOOD, 0, "250 kept"},
        };
        struct server server;
        scoped_text char *url = NULL;
        struct mailer *mailer;

        start_server(&server, NULL, NULL, NULL);
        url = text_format("smtp://127.0.0.1:%d?timeout=2s", server.port);
        mailer = open_smtp(url, NULL);
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                char detail[128] = "";
                struct error err = {0};
                int64_t began = clock_ms();

                assert_int_equal(send(mailer, cases[i].to, detail, &err), cases[i].expected);
                assert_non_null(strstr(cases[i].expected ? err.text : detail, cases[i].words));
                assert_true(clock_ms() - began < 5000);
        }
        mailer_close(mailer);
        stop_server(&server);
}

TEST("a login is made, and a refused one shows neither user nor password")
{
        struct server server;
        struct mailer *mailer;
        scoped_str struct str envelope = STR_INIT;
        char detail[128] = "";
        struct error err = {0};

        start_server(&server, "--auth", NULL, NULL);
        {
                scoped_text char *url =
                        text_format("smtp://ci:p%%40ss%%2Fw%%25rd@127.0.0.1:%d", server.port);

                mailer = open_smtp(url, NULL);
                assert_ok(send(mailer, GOOD, detail, &err), err);
                mailer_close(mailer);
        }
        read_kept(&server, "0001.json", &envelope);
        assert_non_null(strstr(envelope.data, "\"user\": \"ci\""));
        {
                scoped_text char *url = text_format("smtp://ci:wrong@127.0.0.1:%d", server.port);

                mailer = open_smtp(url, NULL);
                assert_int_equal(send(mailer, GOOD, detail, &err), -ERROR_DENIED);
                assert_non_null(strstr(err.text, "535"));
                assert_null(strstr(err.text, "wrong"));
                mailer_close(mailer);
        }
        {
                scoped_text char *url = text_format("smtp://127.0.0.1:%d", server.port);

                mailer = open_smtp(url, NULL);
                assert_int_equal(send(mailer, GOOD, detail, &err), -ERROR_DENIED);
                assert_non_null(strstr(err.text, "530"));
                mailer_close(mailer);
        }
        stop_server(&server);
}

static void try_tls(const char *mode, const char *format, bool trusted, int expected,
                    const char *words, bool encrypted)
{
        struct server server;
        scoped_text char *url = NULL;
        scoped_text char *ca = NULL;
        scoped_str struct str envelope = STR_INIT;
        struct mailer *mailer;
        char detail[128] = "";
        struct error err = {0};

        start_server(&server, mode ? "--tls" : NULL, mode, NULL);
        url = text_format("%.*s%d%s", (int)strcspn(format, "%"), format, server.port,
                          strchr(format, '%') + 1);
        ca = fs_path(server.folder, "ca.pem");
        mailer = open_smtp(url, trusted ? ca : NULL);
        assert_int_equal(send(mailer, GOOD, detail, &err), expected);
        if (expected)
                assert_non_null(strstr(err.text, words));
        else
                read_kept(&server, "0001.json", &envelope);
        if (!expected)
                assert_non_null(
                        strstr(envelope.data, encrypted ? "\"tls\": true" : "\"tls\": false"));
        mailer_close(mailer);
        stop_server(&server);
}

TEST("TLS is used where it is offered, insisted on where it is required, and always verified")
{
        try_tls("offered", "smtp://localhost:%", true, 0, "", true);
        try_tls("offered", "smtp://localhost:%?tls=required", true, 0, "", true);
        try_tls("offered", "smtp://localhost:%?tls=never", true, 0, "", false);
        try_tls("required", "smtp://localhost:%", true, 0, "", true);
        try_tls("required", "smtp://localhost:%?tls=never", true, -ERROR_DENIED, "530", false);
        try_tls("implicit", "smtps://localhost:%", true, 0, "", true);
        try_tls(NULL, "smtp://localhost:%?tls=required", false, -ERROR_UNAVAILABLE, "offers no TLS",
                false);
        try_tls("offered", "smtp://localhost:%", false, -ERROR_UNAVAILABLE, "SSL", false);
        try_tls("implicit", "smtps://localhost:%", false, -ERROR_UNAVAILABLE, "SSL", false);
}

TEST("a server that is not there is waited for")
{
        struct mailer *mailer = open_smtp("smtp://127.0.0.1:1?timeout=2s", NULL);
        char detail[128] = "";
        struct error err = {0};

        assert_int_equal(send(mailer, GOOD, detail, &err), -ERROR_UNAVAILABLE);
        assert_non_null(strstr(err.text, "127.0.0.1 cannot be used now"));
        mailer_close(mailer);
}

TEST_MAIN()
