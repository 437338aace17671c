#include "base/http_server.h"

#include <errno.h>
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
#include "tests/support/raw_http.h"
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

/* One connection on which bytes are sent; the answer, with "<closed>" when the server closed it. */
static char *exchange_bytes(const struct fixture *f, const char *bytes, size_t n)
{
        return raw_exchange(f->port, bytes, n);
}

static char *exchange(const struct fixture *f, const char *text)
{
        return raw_exchange(f->port, text, strlen(text));
}

TEST("a route answers, and the connection is kept")
{
        struct fixture f = start();
        scoped_text char *answer = exchange(&f, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
                                                "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");

        assert_status(answer, 200);
        assert_int_equal(raw_answers(answer), 2);
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
        assert_true(text_ends(chunks, "\r\n\r\nchunks<closed>"));
        assert_true(text_starts(asked, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200"));
        assert_true(text_ends(asked, "asked"));
        stop(&f);
}

#define HEAD "POST /echo HTTP/1.1\r\nHost: a\r\n"
#define BODY "Content-Length: 5\r\n\r\nhello"
/* Another request hides behind the one that is refused. */
#define HIDDEN "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"

struct shape {
        const char *what;
        const char *bytes;
        size_t n;
};
#define SHAPE(what, bytes)                     \
        {                                      \
                what, bytes, sizeof(bytes) - 1 \
        }

static const struct shape smuggling[] = {
        SHAPE("two Content-Length", HEAD "Content-Length: 4\r\n" BODY HIDDEN),
        SHAPE("the same Content-Length twice", HEAD "Content-Length: 5\r\n" BODY HIDDEN),
        SHAPE("a list as Content-Length", HEAD "Content-Length: 5, 5\r\n\r\nhello" HIDDEN),
        SHAPE("a sign in Content-Length", HEAD "Content-Length: +5\r\n\r\nhello" HIDDEN),
        SHAPE("a negative Content-Length", HEAD "Content-Length: -1\r\n\r\nhello" HIDDEN),
        SHAPE("an empty Content-Length", HEAD "Content-Length: \r\n\r\nhello" HIDDEN),
        SHAPE("a space after Content-Length", HEAD "Content-Length: 5 \r\n\r\nhello" HIDDEN),
        SHAPE("a hexadecimal Content-Length", HEAD "Content-Length: 0x5\r\n\r\nhello" HIDDEN),
        SHAPE("a huge Content-Length",
              HEAD "Content-Length: 99999999999999999999999\r\n\r\nhello" HIDDEN),
        SHAPE("Content-Length and Transfer-Encoding",
              HEAD "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" HIDDEN),
        SHAPE("Transfer-Encoding and Content-Length",
              HEAD "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" HIDDEN),
        SHAPE("Transfer-Encoding twice", HEAD "Transfer-Encoding: chunked\r\nTransfer-Encoding: "
                                              "identity\r\n\r\n0\r\n\r\n" HIDDEN),
        SHAPE("chunked twice", HEAD "Transfer-Encoding: chunked\r\nTransfer-Encoding: "
                                    "chunked\r\n\r\n0\r\n\r\n" HIDDEN),
        SHAPE("an unknown coding", HEAD "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" HIDDEN),
        SHAPE("a list of codings", HEAD "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" HIDDEN),
        SHAPE("chunked with a vertical tab",
              HEAD "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n" HIDDEN),
        SHAPE("Transfer-Encoding in HTTP/1.0",
              "POST /echo HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: "
              "chunked\r\n\r\n0\r\n\r\n" HIDDEN),
        SHAPE("a space before the colon", HEAD "Content-Length : 5\r\n\r\nhello" HIDDEN),
        SHAPE("a tab before the colon",
              HEAD "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n" HIDDEN),
        SHAPE("a space within a name", HEAD "X Y: 1\r\n" BODY HIDDEN),
        SHAPE("a line without a name", HEAD ": 1\r\n" BODY HIDDEN),
        SHAPE("a line without a colon", HEAD "X\r\n" BODY HIDDEN),
        SHAPE("NUL in a value", HEAD "X: a\0b\r\n" BODY HIDDEN),
        SHAPE("NUL at the end of a value", HEAD "X: a\0\r\n" BODY HIDDEN),
        SHAPE("NUL at the end of the last value", HEAD "Content-Length: 5\0\r\n\r\nhello" HIDDEN),
        SHAPE("NUL as a value", HEAD "X: \0\r\n" BODY HIDDEN),
        SHAPE("NUL in a name", HEAD "X\0Y: 1\r\n" BODY HIDDEN),
        SHAPE("NUL after a name", HEAD "X\0: 1\r\n" BODY HIDDEN),
        SHAPE("NUL before a name", HEAD "\0X: 1\r\n" BODY HIDDEN),
        SHAPE("NUL in the target", "POST /echo\0x HTTP/1.1\r\nHost: a\r\n" BODY HIDDEN),
        SHAPE("NUL in the query", "POST /echo?a=1\0&b HTTP/1.1\r\nHost: a\r\n" BODY HIDDEN),
        SHAPE("NUL in the method", "PO\0ST /echo HTTP/1.1\r\nHost: a\r\n" BODY HIDDEN),
        SHAPE("NUL in the version", "POST /echo HTTP/1.1\0\r\nHost: a\r\n" BODY HIDDEN),
        SHAPE("a bare CR in a value", HEAD "X: a\rContent-Length: 9\r\n" BODY HIDDEN),
        SHAPE("a control character in a value", HEAD "X: a\x01\r\n" BODY HIDDEN),
        SHAPE("a bare LF at the end of a line", HEAD "X: a\n" BODY HIDDEN),
        SHAPE("a bare LF at the end of the head", HEAD "Content-Length: 5\r\n\nhello" HIDDEN),
        SHAPE("a bare LF after the request line", "POST /echo HTTP/1.1\nHost: a\r\n" BODY HIDDEN),
        SHAPE("a folded line", HEAD "X: a\r\n Content-Length: 9\r\n" BODY HIDDEN),
        SHAPE("a fold before all headers",
              "POST /echo HTTP/1.1\r\n X: a\r\nHost: a\r\n" BODY HIDDEN),
        SHAPE("two spaces before the target", "POST  /echo HTTP/1.1\r\nHost: a\r\n" BODY HIDDEN),
        SHAPE("a space in the target", "POST /ec ho HTTP/1.1\r\nHost: a\r\n" BODY HIDDEN),
        SHAPE("a space after the version", "POST /echo HTTP/1.1 \r\nHost: a\r\n" BODY HIDDEN),
        SHAPE("no version", "POST /echo\r\nHost: a\r\n" BODY HIDDEN),
        SHAPE("version 2", "POST /echo HTTP/2.0\r\nHost: a\r\n" BODY HIDDEN),
        SHAPE("no Host", "POST /echo HTTP/1.1\r\n" BODY HIDDEN),
        SHAPE("two Hosts", HEAD "Host: b\r\n" BODY HIDDEN),
        SHAPE("a method that is no word", "PO(ST /echo HTTP/1.1\r\nHost: a\r\n" BODY HIDDEN),
        SHAPE("a target that is no path", "POST http://a/echo HTTP/1.1\r\nHost: a\r\n" BODY HIDDEN),
        SHAPE("a chunk of no number",
              HEAD "Transfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n" HIDDEN),
        SHAPE("a chunk of a negative number",
              HEAD "Transfer-Encoding: chunked\r\n\r\n-5\r\nabcde\r\n0\r\n\r\n" HIDDEN),
        SHAPE("a chunk of a huge number", HEAD
              "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc\r\n0\r\n\r\n" HIDDEN),
        SHAPE("a chunk that is longer than it says",
              HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n" HIDDEN),
};

TEST("what could be read as two requests is refused, and nothing behind it is read")
{
        struct fixture f = start();

        for (size_t i = 0; i < sizeof(smuggling) / sizeof(*smuggling); i++) {
                const struct shape *shape = &smuggling[i];
                scoped_text char *answer = exchange_bytes(&f, shape->bytes, shape->n);
                int status = raw_status(answer);

                /* A malformed Content-Length is told twice by libmicrohttpd itself. */
                if ((status && status < 400) || strstr(answer, "HTTP/1.1 2") ||
                    atomic_load(&handled) || !text_ends(answer, "<closed>"))
                        fail_msg("%s: handled %d times, answered: %s", shape->what,
                                 atomic_load(&handled), answer);
        }
        stop(&f);
}

TEST("nothing is read behind a body in chunks, for its end may be seen otherwise elsewhere")
{
        static const char *const bodies[] = {
                "5\r\nhello\r\n0\r\n\r\n",         "5;x=y\r\nhello\r\n0\r\n\r\n",
                "5;\nhello\r\n0\r\n\r\n",          "5\nhello\n0\n\n",
                "5\r\nhello\r\n0\r\nX: y\r\n\r\n", "5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n",
        };
        struct fixture f = start();

        for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++) {
                scoped_text char *request =
                        text_format(HEAD "Transfer-Encoding: chunked\r\n\r\n%s" HIDDEN, bodies[i]);
                scoped_text char *answer = exchange(&f, request);

                if (raw_answers(answer) > 1 || !text_ends(answer, "<closed>") ||
                    atomic_exchange(&handled, 0) > 1)
                        fail_msg("%s: %s", bodies[i], answer);
        }
        stop(&f);
}

TEST("spaces and tabs around a value, and an empty value, are fine")
{
        struct fixture f = start();
        scoped_text char *answer = exchange(
                &f, "POST /echo HTTP/1.1\r\nHost:a\r\nX:\t a b\tc \t\r\nEmpty:\r\nBlank:  \r\n"
                    "Cookie: a=1; b=2\r\nContent-Length:5\r\n\r\nhello");

        assert_status(answer, 200);
        stop(&f);
}

TEST("more than 100 headers, a head of 64 KiB and a target of 9000 bytes are refused")
{
        struct fixture f = start();
        scoped_str struct str many = STR_INIT;
        scoped_str struct str large = STR_INIT;
        scoped_str struct str target = STR_INIT;
        scoped_text char *answer = NULL;

        str_add(&many, "GET /hello HTTP/1.1\r\nHost: a\r\n");
        for (int i = 0; i < 1000; i++)
                str_printf(&many, "X-%d: 1\r\n", i);
        str_add(&many, "\r\n");
        answer = exchange(&f, many.data);
        assert_true(raw_status(answer) == 431 && text_ends(answer, "<closed>"));
        free(answer);
        str_printf(&large, "GET /hello HTTP/1.1\r\nHost: a\r\nX: %65536d\r\n\r\n", 1);
        answer = exchange(&f, large.data);
        assert_true(raw_status(answer) == 431 && text_ends(answer, "<closed>"));
        free(answer);
        str_printf(&target, "GET /hello?%09000d HTTP/1.1\r\nHost: a\r\n\r\n", 1);
        answer = exchange(&f, target.data);
        assert_true(raw_status(answer) == 414 && text_ends(answer, "<closed>"));
        assert_int_equal(atomic_load(&handled), 0);
        stop(&f);
}

TEST("a body over the limit is 413, told before it was read or in its middle")
{
        struct fixture f = start();
        scoped_str struct str told = STR_INIT;
        scoped_str struct str chunks = STR_INIT;
        scoped_text char *first = NULL;
        scoped_text char *second = NULL;
        scoped_text char *none =
                exchange(&f, "GET /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");

        assert_status(none, 413);
        str_printf(&told, HEAD "Content-Length: %d\r\n\r\n", 8 * UPLOAD_MAX);
        for (int i = 0; i < 8; i++)
                str_printf(&told, "%0*d", UPLOAD_MAX, i);
        first = exchange_bytes(&f, told.data, told.len);
        assert_status(first, 413);
        assert_true(text_ends(first, "<closed>"));
        str_add(&chunks, HEAD "Transfer-Encoding: chunked\r\n\r\n");
        for (int i = 0; i < 2 * UPLOAD_MAX / 4096; i++)
                str_printf(&chunks, "1000\r\n%04096d\r\n", i);
        second = exchange_bytes(&f, chunks.data, chunks.len);
        assert_status(second, 413);
        assert_true(text_ends(second, "<closed>"));
        assert_int_equal(atomic_load(&handled), 0);
        stop(&f);
}

TEST("a route may refuse a request before its body is read")
{
        struct fixture f = start();
        scoped_text char *refused = exchange(&f, "POST /upload HTTP/1.1\r\nHost: a\r\n"
                                                 "Content-Length: 1000\r\n\r\n");
        scoped_text char *taken = exchange(&f, "POST /upload HTTP/1.1\r\nHost: a\r\nX-Ticket: 1\r\n"
                                               "Content-Length: 5\r\n\r\nhello");

        assert_status(refused, 401);
        assert_true(text_ends(refused, "<closed>"));
        assert_true(text_ends(taken, "\r\n\r\n5"));
        stop(&f);
}

TEST("a stream obeys Range, and ends chunked when its size is unknown")
{
        static const struct {
                const char *range;
                int status;
                const char *want;
        } cases[] = {
                {"bytes=0-3", 206, "Content-Range: bytes 0-3/100000"},
                {"bytes=99998-", 206, "Content-Range: bytes 99998-99999/100000"},
                {"bytes=-2", 206, "Content-Range: bytes 99998-99999/100000"},
                {"bytes=99999-200000", 206, "Content-Range: bytes 99999-99999/100000"},
                {"bytes=-200000", 206, "Content-Range: bytes 0-99999/100000"},
                {"bytes=100000-", 416, "Content-Range: bytes */100000"},
                {"bytes=-0", 416, "Content-Range: bytes */100000"},
                {"bytes=5-2", 200, "Content-Length: 100000"},
                {"bytes=0-1,3-4", 200, "Content-Length: 100000"},
                {"lines=0-1", 200, "Content-Length: 100000"},
                {"bytes=x-y", 200, "Content-Length: 100000"},
        };
        struct fixture f = start();
        scoped_text char *chunked = exchange(&f, "GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                scoped_text char *request = text_format(
                        "GET /file HTTP/1.1\r\nHost: a\r\nRange: %s\r\n\r\n", cases[i].range);
                scoped_text char *answer = exchange(&f, request);

                assert_status(answer, cases[i].status);
                if (!strstr(answer, cases[i].want))
                        fail_msg("%s: %.400s", cases[i].range, answer);
        }
        assert_non_null(strstr(chunked, "Transfer-Encoding: chunked"));
        assert_true(text_ends(chunked, "\r\n0\r\n\r\n"));
        assert_true(strlen(chunked) > FILE_BYTES);
        stop(&f);
        assert_int_equal(atomic_load(&streams_freed), 12);
}

struct later {
        struct http_server *server;
        int ms;
};

static void *wake_later(void *data)
{
        struct later *later = data;

        usleep((useconds_t)later->ms * 1000);
        atomic_store(&version_now, 7);
        http_wake(later->server, "another");
        http_wake(later->server, "version");
        return NULL;
}

TEST("a parked request is answered when its key is woken, without a thread")
{
        struct fixture f = start();
        struct later later = {f.server, 200};
        pthread_t thread;
        int fds[20];
        int64_t begun = clock_ms();

        for (size_t i = 0; i < 20; i++) {
                fds[i] = raw_dial(f.port);
                raw_send_text(fds[i], "GET /version HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        pthread_create(&thread, NULL, wake_later, &later);
        for (size_t i = 0; i < 20; i++) {
                scoped_str struct str answer = STR_INIT;
                struct pollfd poll_fd = {fds[i], POLLIN, 0};

                assert_int_equal(poll(&poll_fd, 1, 3000), 1);
                raw_read(fds[i], &answer, 20);
                assert_true(text_ends(answer.data, "version 7"));
                close(fds[i]);
        }
        assert_in_range(clock_ms() - begun, 190, 2500);
        pthread_join(thread, NULL);
        stop(&f);
}

TEST("closing answers parked requests with 503 and is quick")
{
        struct fixture f = start();
        scoped_fd int fd = raw_dial(f.port);
        scoped_str struct str answer = STR_INIT;
        int64_t begun;

        raw_send_text(fd, "GET /version HTTP/1.1\r\nHost: a\r\n\r\n");
        usleep(100000);
        begun = clock_ms();
        stop(&f);
        assert_in_range(clock_ms() - begun, 0, 3000);
        assert_true(raw_read(fd, &answer, 300));
        assert_status(answer.data, 503);
}

TEST("a head that drips is cut off, however often a byte comes, and so is silence")
{
        struct fixture f = start_with(100, 400);
        scoped_fd int drip = raw_dial(f.port);
        scoped_fd int silent = raw_dial(f.port);
        scoped_fd int kept = raw_dial(f.port);
        scoped_str struct str answer = STR_INIT;
        scoped_str struct str nothing = STR_INIT;
        int64_t begun = clock_ms();
        bool closed = false;

        raw_send_text(kept, HIDDEN);
        raw_send_text(drip, "GET /hello HTTP/1.1\r\nX: ");
        while (!closed && clock_ms() < begun + 3000) {
                raw_send(drip, "a", 1);
                closed = raw_read(drip, &answer, 50);
        }
        assert_true(closed);
        assert_in_range(clock_ms() - begun, 350, 2900);
        assert_true(raw_read(silent, &nothing, 1000));
        str_clear(&answer);
        assert_true(raw_read(kept, &answer, 1000));
        assert_status(answer.data, 200);
        assert_int_equal(nothing.len, 0);
        stop(&f);
}

TEST("beyond the most connections who has waited longest makes room")
{
        struct fixture f = start_with(4, 10000);
        scoped_str struct str nothing = STR_INIT;
        int fds[20];

        for (size_t i = 0; i < 20; i++) {
                fds[i] = raw_dial(f.port);
                usleep(20000);
        }
        for (size_t i = 0; i < 16; i++)
                assert_true(raw_read(fds[i], &nothing, 500));
        assert_int_equal(nothing.len, 0);
        for (size_t i = 16; i < 20; i++) {
                scoped_str struct str answer = STR_INIT;

                raw_send_text(fds[i], HIDDEN);
                assert_false(raw_read(fds[i], &answer, 200));
                assert_status(answer.data, 200);
        }
        for (size_t i = 0; i < 20; i++)
                close(fds[i]);
        stop(&f);
}

TEST("a connection with a request makes no room: beyond the most the new one is closed")
{
        struct fixture f = start_with(4, 10000);
        scoped_str struct str answer = STR_INIT;
        scoped_str struct str last = STR_INIT;
        int fds[5];

        for (size_t i = 0; i < 5; i++) {
                fds[i] = raw_dial(f.port);
                raw_send_text(fds[i], "GET /version HTTP/1.1\r\nHost: a\r\n\r\n");
                usleep(50000);
        }
        assert_true(raw_read(fds[4], &last, 500));
        assert_int_equal(last.len, 0);
        atomic_store(&version_now, 3);
        http_wake(f.server, "version");
        assert_false(raw_read(fds[0], &answer, 300));
        assert_status(answer.data, 200);
        for (size_t i = 0; i < 5; i++)
                close(fds[i]);
        stop(&f);
}

TEST("an address to listen on says what it took, and a wrong one what is allowed")
{
        static const char *const wrong[] = {
                "8080",    ":8080", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000", "::1:80",
                "[::1:80", ""};
        struct error err = {0};
        char *address = NULL;
        int fd = -1;

        assert_ok(http_listen(&fd, &address, "127.0.0.1:0", &err), err);
        assert_true(text_starts(address, "127.0.0.1:") && !text_ends(address, ":0"));
        close(fd);
        free(address);
        for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
                if (http_listen(&fd, &address, wrong[i], &err) >= 0)
                        fail_msg("'%s' was taken as %s", wrong[i], address);
        }
}

TEST_MAIN()
