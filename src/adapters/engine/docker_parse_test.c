#include "adapters/engine/docker_auth.h"
#include "adapters/engine/docker_pull.h"
#include "adapters/engine/docker_stream.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fs.h"
#include "base/scoped.h"
#include "base/str.h"
#include "tests/support/test.h"

#include "base/banned.h"

/* Everything of stdout, when the bytes come in pieces of this size; -1: refused. */
static int demultiplex(struct str *ret, const char *bytes, size_t n, size_t piece)
{
        struct docker_stream stream = {0};

        for (size_t at = 0; at < n; at += piece) {
                const unsigned char *part = (const unsigned char *)bytes + at;
                size_t left = n - at < piece ? n - at : piece;

                while (left > 0) {
                        const unsigned char *payload;
                        size_t length;
                        int which;
                        long used =
                                docker_stream_next(&stream, part, left, &payload, &length, &which);

                        if (used < 0)
                                return -1;
                        assert_in_range(used, 1, left);
                        if (which == 1)
                                str_add_bytes(ret, payload, length);
                        part += used;
                        left -= (size_t)used;
                }
        }
        return 0;
}

TEST("an attached stream is the same wherever it is cut")
{
        static const char bytes[] = "\1\0\0\0\0\0\0\5hello"
                                    "\2\0\0\0\0\0\0\3err"
                                    "\1\0\0\0\0\0\0\0"
                                    "\1\0\0\0\0\0\0\6 world";

        for (size_t piece = 1; piece < sizeof(bytes); piece++) {
                scoped_str struct str out = STR_INIT;

                assert_int_equal(demultiplex(&out, bytes, sizeof(bytes) - 1, piece), 0);
                assert_string_equal(out.data, "hello world");
        }
}

TEST("what is no attached stream is refused")
{
        scoped_str struct str out = STR_INIT;

        assert_int_equal(demultiplex(&out, "HTTP/1.1 200 OK", 15, 15), -1);
        assert_int_equal(demultiplex(&out, "\3\0\0\0\0\0\0\1x", 9, 9), -1);
        assert_int_equal(demultiplex(&out, "\1\0\1\0\0\0\0\1x", 9, 2), -1);
}

static void remember(void *data, const char *line)
{
        str_printf(data, "%s\n", line);
}

TEST("progress of a pull becomes one line for all layers")
{
        struct docker_pull pull;
        scoped_str struct str lines = STR_INIT;
        static const char first[] =
                "{\"status\":\"Pulling from made/tiny\",\"id\":\"1\"}\r\n"
                "{\"status\":\"Pulling fs layer\",\"progressDetail\":{},\"id\":\"aaa\"}\r\n"
                "{\"status\":\"Already exists\",\"progressDetail\":{},\"id\":\"bbb\"}\r\n"
                "{\"status\":\"Downloading\",\"progressDetail\":{\"current\":10485760,\"total\":"
                "41943040},\"id\":\"aaa\"}\r\n{\"status\":\"Down";
        static const char second[] = "loading\",\"progressDetail\":{\"current\":20971520,\"total\":"
                                     "41943040},\"id\":\"aaa\"}\r\n";
        struct error err = {0};

        docker_pull_init(&pull, remember, &lines);
        assert_int_equal(docker_pull_feed(&pull, first, sizeof(first) - 1), 0);
        assert_string_equal(lines.data, ""); /* not yet: now and then only */
        pull.told = 0;
        assert_int_equal(docker_pull_feed(&pull, second, sizeof(second) - 1), 0);
        assert_string_equal(lines.data, "pulling: 1 of 2 layers, 20 MiB of 40 MiB\n");
        assert_ok(docker_pull_end(&pull, &err), err);
        docker_pull_done(&pull);
}

TEST("a failure in the middle of a pull keeps the registry's words and gets their kind")
{
        static const struct {
                const char *text;
                int kind;
        } cases[] = {
                {"manifest for x:1 not found: manifest unknown: manifest unknown", ERROR_NOT_FOUND},
                {"pull access denied for x, repository does not exist or may require 'docker "
                 "login': denied",
                 ERROR_NOT_FOUND},
                {"unauthorized: authentication required", ERROR_DENIED},
                {"Head https://x/v2/: no basic auth credentials", ERROR_DENIED},
                {"Get https://x/v2/: dial tcp: lookup x: no such host", ERROR_UNAVAILABLE},
                {"toomanyrequests: You have reached your pull rate limit", ERROR_UNAVAILABLE},
                {"no matching manifest for linux/arm64 in the manifest list entries",
                 ERROR_INVALID},
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                struct docker_pull pull;
                struct error err = {0};
                scoped_text char *line = text_format("{\"error\":\"%s\"}\n", cases[i].text);

                docker_pull_init(&pull, NULL, NULL);
                assert_int_equal(docker_pull_feed(&pull, line, strlen(line)), 0);
                assert_int_equal(docker_pull_end(&pull, &err), -cases[i].kind);
                assert_string_equal(err.text, cases[i].text);
                docker_pull_done(&pull);
        }
}

TEST("a pull's answer that is no JSON, or one endless line, is refused")
{
        struct docker_pull pull;
        scoped_text char *endless = xmalloc(PULL_LINE_MAX + 1);

        docker_pull_init(&pull, NULL, NULL);
        assert_int_equal(docker_pull_feed(&pull, "<html>\n", 7), -1);
        docker_pull_done(&pull);
        docker_pull_init(&pull, NULL, NULL);
        memset(endless, 'x', PULL_LINE_MAX + 1);
        assert_int_equal(docker_pull_feed(&pull, endless, PULL_LINE_MAX + 1), -1);
        docker_pull_done(&pull);
}

TEST("more layers than there is room for are pulled without being counted")
{
        struct docker_pull pull;
        scoped_str struct str text = STR_INIT;

        for (int i = 0; i < 2 * PULL_LAYERS_MAX; i++)
                str_printf(&text, "{\"status\":\"Pull complete\",\"id\":\"%d\"}\n", i);
        docker_pull_init(&pull, NULL, NULL);
        assert_int_equal(docker_pull_feed(&pull, text.data, text.len), 0);
        assert_int_equal(pull.n_layers, PULL_LAYERS_MAX);
        docker_pull_done(&pull);
}

TEST("the registry of an image is told by its first part")
{
        static const char *const cases[][2] = {
                {"python:3.10", "https://index.docker.io/v1/"},
                {"library/python", "https://index.docker.io/v1/"},
                {"docker.io/library/python", "https://index.docker.io/v1/"},
                {"ghcr.io/a/b:1", "ghcr.io"},
                {"localhost/x", "localhost"},
                {"127.0.0.1:5000/x@sha256:00", "127.0.0.1:5000"},
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                scoped_text char *registry = docker_auth_registry(cases[i][0]);

                assert_string_equal(registry, cases[i][1]);
        }
}

static int header_with(char **ret, const char *config, const char *image, struct error *err)
{
        char folder[] = "/tmp/argon-auth-XXXXXX";
        scoped_text char *path = NULL;
        int result;

        assert_non_null(mkdtemp(folder));
        path = fs_path(folder, "config.json");
        assert_ok(fs_write_atomic(path, config, strlen(config), 0600, err), *err);
        result = docker_auth_header(ret, image, folder, err);
        assert_ok(fs_remove_tree(folder, err), *err);
        return result;
}

TEST("a login becomes a header, an unknown registry none, a broken file an error")
{
        static const char config[] = "{\"auths\":{\"r.example\":{\"auth\":\"Y2k6cHc=\"},"
                                     "\"https://s.example\":{\"auth\":\"YTpi\"},"
                                     "\"t.example\":{\"auth\":\"nocolon=\"}}}";
        struct error err = {0};
        char *header = NULL;

        assert_ok(header_with(&header, config, "r.example/x:1", &err), err);
        /* {"username":"ci","password":"pw","serveraddress":"r.example"} */
        assert_string_equal(header, "X-Registry-Auth: "
                                    "eyJ1c2VybmFtZSI6ImNpIiwicGFzc3dvcmQiOiJwdyIsInNlcnZlcmFkZHJlc"
                                    "3MiOiJyLmV4YW1wbGUifQ==");
        free(header);
        assert_ok(header_with(&header, config, "s.example/x:1", &err), err);
        assert_non_null(header);
        free(header);
        assert_ok(header_with(&header, config, "other.example/x:1", &err), err);
        assert_null(header);
        assert_int_equal(header_with(&header, config, "t.example/x", &err), -ERROR_INVALID);
        assert_non_null(strstr(err.text, "docker login t.example"));
        assert_true(header_with(&header, "{nonsense", "r.example/x", &err) < 0);
        assert_ok(docker_auth_header(&header, "r.example/x", "/nonexistent", &err), err);
        assert_null(header);
}

TEST("a credential helper is asked for its registry")
{
        char folder[] = "/tmp/argon-helper-XXXXXX";
        scoped_text char *program = NULL;
        scoped_text char *old = text_copy(getenv("PATH"));
        scoped_text char *path = NULL;
        static const char script[] = "#!/bin/sh\n[ \"$1\" = get ] && read registry\n"
                                     "case $registry in r.example) "
                                     "echo '{\"Username\":\"u\",\"Secret\":\"s\"}' ;;\n"
                                     "*) echo 'credentials not found in native keychain'; exit 1 "
                                     ";; esac\n";
        static const char config[] = "{\"credsStore\":\"mine\",\"auths\":{}}";
        struct error err = {0};
        char *header = NULL;

        assert_non_null(mkdtemp(folder));
        program = fs_path(folder, "docker-credential-mine");
        path = text_format("%s:%s", folder, old);
        assert_ok(fs_write_atomic(program, script, strlen(script), 0755, &err), err);
        setenv("PATH", path, 1);
        assert_ok(header_with(&header, config, "r.example/x", &err), err);
        assert_non_null(header);
        free(header);
        assert_ok(header_with(&header, config, "q.example/x", &err), err);
        assert_null(header);
        setenv("PATH", old, 1);
        assert_ok(fs_remove_tree(folder, &err), err);
}

TEST_MAIN()
