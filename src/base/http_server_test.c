#include "base/http_server.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "tests/support/test.h"

#include "base/banned.h"

#define TOKEN "0123456789abcdef"
#define FILE_BYTES 100000
#define UPLOAD_MAX (1 << 20)

static atomic_int handled;
static atomic_int version_now;
static atomic_int streams_freed;

static enum http_result say_hello(struct http_request *request, void *data)
{
        atomic_fetch_add(&handled, 1);
        http_reply_json(request, 200, "{\"hello\":true}");
        return HTTP_DONE;
}

static enum http_result echo(struct http_request *request, void *data)
{
        size_t n;
        const char *body = http_body(request, &n);

        atomic_fetch_add(&handled, 1);
        http_reply(request, 200, "text/plain", body, n);
        return HTTP_DONE;
}

static enum http_result show_params(struct http_request *request, void *data)
{
        scoped_str struct str text = STR_INIT;

        str_printf(&text, "[%s][%s][%s]", http_param(request, 0),
                   text_or(http_param(request, 1), "-"), text_or(http_query(request, "q"), "-"));
        http_reply(request, 200, "text/plain", text.data, text.len);
        return HTTP_DONE;
}

static int count_piece(struct http_request *request, void *data, const char *bytes, size_t n)
{
        size_t *sum = http_context(request);

        if (!sum) {
                sum = xcalloc(1, sizeof(*sum));
                http_set_context(request, sum, free);
        }
        *sum += n;
        return 0;
}

static enum http_result say_count(struct http_request *request, void *data)
{
        scoped_str struct str text = STR_INIT;
        size_t *sum = http_context(request);

        str_printf(&text, "%zu", sum ? *sum : 0);
        http_reply(request, 200, "text/plain", text.data, text.len);
        return HTTP_DONE;
}

static void refuse_at_once(struct http_request *request, void *data)
{
        if (!http_header(request, "X-Ticket"))
                http_reply_problem(request, 401, "no ticket");
}

static ssize_t read_letters(void *data, int64_t offset, char *bytes, size_t n)
{
        for (size_t i = 0; i < n; i++)
                bytes[i] = (char)('a' + (offset + (int64_t)i) % 26);
        if (offset >= FILE_BYTES)
                return 0;
        return offset + (int64_t)n > FILE_BYTES ? FILE_BYTES - offset : (ssize_t)n;
}

static void count_freed(void *data)
{
        atomic_fetch_add(&streams_freed, 1);
}

static enum http_result send_file(struct http_request *request, void *data)
{
        http_reply_stream(request, 200, "text/plain", data ? FILE_BYTES : -1, read_letters, NULL,
                          count_freed);
        return HTTP_DONE;
}

static enum http_result wait_version(struct http_request *request, void *data)
{
        scoped_str struct str text = STR_INIT;
        int64_t *deadline = http_context(request);

        if (!deadline) {
                deadline = xcalloc(1, sizeof(*deadline));
                *deadline = clock_ms() + 5000;
                http_set_context(request, deadline, free);
        }
        if (atomic_load(&version_now) == 0 && clock_ms() < *deadline) {
                http_wait(request, "version", *deadline);
                return HTTP_WAIT;
        }
        str_printf(&text, "version %d", atomic_load(&version_now));
        http_reply(request, 200, "text/plain", text.data, text.len);
        return HTTP_DONE;
}

static const struct http_route routes[] = {
        {.method = "GET", .path = "/hello", .open = true, .handler = say_hello},
        {.method = "POST", .path = "/echo", .open = true, .body_max = UPLOAD_MAX, .handler = echo},
        {.method = "GET", .path = "/echo", .open = true, .handler = say_hello},
        {.method = "GET", .path = "/things/{}/parts/{}", .open = true, .handler = show_params},
        {.method = "GET", .path = "/rest/{}/*", .open = true, .handler = show_params},
        {.method = "GET", .path = "/secret", .handler = say_hello},
        {.method = "POST",
         .path = "/upload",
         .open = true,
         .body_max = UPLOAD_MAX,
         .on_begin = refuse_at_once,
         .on_body = count_piece,
         .handler = say_count},
        {.method = "GET", .path = "/file", .open = true, .handler = send_file, .data = &handled},
        {.method = "GET", .path = "/endless", .open = true, .handler = send_file},
        {.method = "GET", .path = "/version", .open = true, .handler = wait_version},
};

struct fixture {
        struct http_server *server;
        int listen_fd;
        char *address;
        int port;
};

static struct fixture start_with(int connections_max, int64_t header_ms)
{
        struct fixture f = {.listen_fd = -1};
        struct http_options options = {
                .token = TOKEN,
                .threads = 2,
                .connections_max = connections_max,
                .header_ms = header_ms,
                .body_rate = 1000,
                .routes = routes,
                .n_routes = sizeof(routes) / sizeof(*routes),
        };
        struct error err = {0};

        assert_ok(http_listen(&f.listen_fd, &f.address, "127.0.0.1:0", &err), err);
        options.listen_fd = f.listen_fd;
        assert_ok(http_server_open(&f.server, &options, &err), err);
        f.port = (int)strtol(strrchr(f.address, ':') + 1, NULL, 10);
        atomic_store(&handled, 0);
        atomic_store(&version_now, 0);
        return f;
}

static struct fixture start(void)
{
        return start_with(100, 10000);
}

static void stop(struct fixture *f)
{
        http_server_close(f->server);
        close(f->listen_fd);
        free(f->address);
}

static int dial(const struct fixture *f)
{
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)f->port),
                                      .sin_addr = {htonl(INADDR_LOOPBACK)}};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_true(fd >= 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        return fd;
}

static void send_bytes(int fd, const char *bytes, size_t n)
{
        while (n) {
                ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);

                if (sent <= 0)
                        return; /* the server may close before it has read all */
                bytes += sent;
                n -= (size_t)sent;
        }
}

/* Everything until the server closes, or ms without a byte; Return: whether it closed. */
static bool read_all(int fd, struct str *ret, int ms)
{
        for (;;) {
                struct pollfd poll_fd = {fd, POLLIN, 0};
                char bytes[65536];
                ssize_t n;

                if (poll(&poll_fd, 1, ms) <= 0)
                        return false;
                n = recv(fd, bytes, sizeof(bytes), 0);
                if (n <= 0)
                        return true;
                str_add_bytes(ret, bytes, (size_t)n);
        }
}

/* One connection on which bytes are sent; the answer, with "<closed>" when the server closed it. */
static char *exchange_bytes(const struct fixture *f, const char *bytes, size_t n)
{
        struct str answer = STR_INIT;
        scoped_fd int fd = dial(f);

        send_bytes(fd, bytes, n);
        if (read_all(fd, &answer, 300))
                str_add(&answer, "<closed>");
        return str_steal(&answer);
}

static char *exchange(const struct fixture *f, const char *text)
{
        return exchange_bytes(f, text, strlen(text));
}

static int status_of(const char *answer)
{
        return text_starts(answer, "HTTP/1.1 ") ? (int)strtol(answer + 9, NULL, 10) : 0;
}

static int count_answers(const char *text)
{
        int count = 0;

        for (const char *p = text; (p = strstr(p, "HTTP/1.1 ")); p++)
                count++;
        return count;
}

#define assert_status(answer, status)                                             \
        do {                                                                      \
                if (status_of(answer) != (status))                                \
                        fail_msg("expected %d, got: %.300s", (status), (answer)); \
        } while (0)

TEST("a route answers, and the connection is kept")
{
        struct fixture f = start();
        scoped_text char *answer = exchange(&f, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
                                                "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");

        assert_status(answer, 200);
        assert_int_equal(count_answers(answer), 2);
        assert_non_null(strstr(answer, "{\"hello\":true}"));
        assert_null(strstr(answer, "<closed>"));
        stop(&f);
}

TEST("HEAD gets the head of what GET gets")
{
        struct fixture f = start();
        scoped_text char *answer = exchange(&f, "HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n");

        assert_status(answer, 200);
        assert_non_null(strstr(answer, "Content-Length: 14"));
        assert_null(strstr(answer, "hello"));
        stop(&f);
}

TEST("an unknown path is 404 and a wrong method 405 with what is allowed")
{
        struct fixture f = start();
        scoped_text char *none = exchange(&f, "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n");
        scoped_text char *wrong = exchange(&f, "DELETE /echo HTTP/1.1\r\nHost: a\r\n\r\n");

        assert_status(none, 404);
        assert_non_null(strstr(none, "application/problem+json"));
        assert_null(strstr(none, "<closed>"));
        assert_status(wrong, 405);
        assert_non_null(strstr(wrong, "Allow: POST, GET, HEAD"));
        stop(&f);
}

TEST("segments of the path and members of the query are decoded one by one")
{
        struct fixture f = start();
        scoped_text char *two = exchange(
                &f, "GET /things/a%2Fb/parts/c%20d?x=1&q=e+f%26 HTTP/1.1\r\nHost: a\r\n\r\n");
        scoped_text char *rest = exchange(&f, "GET /rest/a/b/c%25 HTTP/1.1\r\nHost: a\r\n\r\n");
        scoped_text char *nul = exchange(&f, "GET /rest/a/b%00 HTTP/1.1\r\nHost: a\r\n\r\n");
        scoped_text char *query = exchange(&f, "GET /hello?a=%zz HTTP/1.1\r\nHost: a\r\n\r\n");

        assert_non_null(strstr(two, "[a/b][c d][e f&]"));
        assert_non_null(strstr(rest, "[a][b/c%][-]"));
        assert_status(nul, 404);
        assert_status(query, 400);
        stop(&f);
}

TEST("a route that is not open wants the token")
{
        struct fixture f = start();
        scoped_text char *none = exchange(&f, "GET /secret HTTP/1.1\r\nHost: a\r\n\r\n");
        scoped_text char *wrong = exchange(&f, "GET /secret HTTP/1.1\r\nHost: a\r\n"
                                               "Authorization: Bearer 0123456789abcdee\r\n\r\n");
        scoped_text char *right = exchange(&f, "GET /secret HTTP/1.1\r\nHost: a\r\n"
                                               "Authorization: Bearer " TOKEN "\r\n\r\n");

        assert_status(none, 401);
        assert_non_null(strstr(none, "WWW-Authenticate: Bearer"));
        assert_status(wrong, 401);
        assert_status(right, 200);
        stop(&f);
}

TEST("a body is taken whole or in chunks, after 100-continue where it is asked for")
{
        struct fixture f = start();
        scoped_text char *whole =
                exchange(&f, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nwhole");
        scoped_text char *chunks =
                exchange(&f, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                             "3\r\nchu\r\n3\r\nnks\r\n0\r\n\r\n");
        scoped_text char *asked =
                exchange(&f, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                             "Expect: 100-continue\r\n\r\nasked");

        assert_true(text_ends(whole, "\r\n\r\nwhole"));
        assert_true(text_ends(chunks, "\r\n\r\nchunks"));
        assert_true(text_starts(asked, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200"));
        assert_true(text_ends(asked, "asked"));
        stop(&f);
}

TEST_MAIN()
