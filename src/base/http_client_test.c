#include "base/http_client.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/scoped.h"
#include "tests/support/test.h"

#include "base/banned.h"

/*
 * A server that answers by the path of the request:
 * /ok /missing /big /chunks /stall /drip /echo /raw /busy
 */
struct server {
        char path[100];
        int listener;
        int port;
        int accepted;
        pthread_t thread;
};

static void say(int fd, const char *text)
{
        assert_true(send(fd, text, strlen(text), MSG_NOSIGNAL) >= 0 || errno == EPIPE ||
                    errno == ECONNRESET);
}

static void say_body(int fd, const char *head, const char *body, size_t n)
{
        scoped_str struct str all = STR_INIT;

        str_printf(&all, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n", head, n);
        str_add_bytes(&all, body, n);
        say(fd, all.data);
}

static bool read_more(int fd, struct str *in)
{
        char bytes[4096];
        ssize_t got = recv(fd, bytes, sizeof(bytes), 0);

        if (got <= 0)
                return false;
        str_add_bytes(in, bytes, (size_t)got);
        return true;
}

static void answer(int fd, struct str *in)
{
        char path[32] = "";
        char big[4000];

        memset(big, 'x', sizeof(big));
        sscanf(in->data, "%*s %31s", path);
        if (!strcmp(path, "/ok")) {
                say_body(fd, "200 OK", "fine", 4);
        } else if (!strcmp(path, "/missing")) {
                say_body(fd, "404 Not Found", "{\"message\":\"no such thing\"}", 27);
        } else if (!strcmp(path, "/big")) {
                say_body(fd, "200 OK", big, sizeof(big));
        } else if (!strcmp(path, "/chunks")) {
                say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
                usleep(20000);
                say(fd, "4\r\ndefg\r\n0\r\n\r\n");
        } else if (!strcmp(path, "/drip")) {
                say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                for (int i = 0; i < 6; i++) {
                        usleep(30000);
                        say(fd, "1\r\nz\r\n");
                }
                say(fd, "0\r\n\r\n");
        } else if (!strcmp(path, "/echo")) {
                while (!strstr(in->data, "\r\n0\r\n\r\n") && !strstr(in->data, "the end"))
                        if (!read_more(fd, in))
                                return;
                say_body(fd, "201 Created", in->data, in->len);
        } else if (!strcmp(path, "/raw")) {
                say(fd, "HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\nearly");
                str_clear(in);
                while (read_more(fd, in))
                        if (memchr(in->data, '\n', in->len)) {
                                say(fd, in->data);
                                return;
                        }
        } else if (!strcmp(path, "/busy")) {
                say_body(fd, "500 Oops", "{\"message\":\"daemon is busy\"}", 28);
        }
        /* /stall says nothing */
}

static void *serve(void *data)
{
        struct server *server = data;

        for (;;) {
                scoped_str struct str in = STR_INIT;
                scoped_fd int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);

                if (fd < 0)
                        return NULL;
                server->accepted++;
                while (read_more(fd, &in)) {
                        if (!strstr(in.data, "\r\n\r\n"))
                                continue;
                        answer(fd, &in);
                        if (text_starts(in.data, "POST /raw"))
                                break;
                        str_clear(&in);
                }
        }
}

static void server_start(struct server *server, bool tcp)
{
        struct sockaddr_un unix_address = {.sun_family = AF_UNIX};
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t n = sizeof(address);

        *server = (struct server){.listener = -1};
        if (tcp) {
                server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
                assert_int_equal(bind(server->listener, (void *)&address, sizeof(address)), 0);
                getsockname(server->listener, (void *)&address, &n);
                server->port = ntohs(address.sin_port);
        } else {
                snprintf(server->path, sizeof(server->path), "/tmp/argon-http-test-%d",
                         (int)getpid());
                unlink(server->path);
                server->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
                memcpy(unix_address.sun_path, server->path, strlen(server->path));
                assert_int_equal(
                        bind(server->listener, (void *)&unix_address, sizeof(unix_address)), 0);
        }
        assert_int_equal(listen(server->listener, 8), 0);
        assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void server_stop(struct server *server)
{
        shutdown(server->listener, SHUT_RDWR);
        pthread_join(server->thread, NULL);
        close(server->listener);
        if (server->path[0])
                unlink(server->path);
}

/* One call to a fresh server. */
static int once(struct http_answer *ret, struct http_call *call, struct error *err)
{
        struct server server;
        struct http_client *client = NULL;
        int result;

        server_start(&server, false);
        call->unix_socket = server.path;
        assert_ok(http_client_new(&client, err), *err);
        result = http_call(client, ret, call, err);
        http_client_free(client);
        server_stop(&server);
        return result;
}

TEST("an answer comes with its status and body, over one connection for several calls")
{
        struct error err = {0};
        struct server server;
        struct http_client *client = NULL;
        struct http_call call = HTTP_CALL_INIT;

        server_start(&server, false);
        call.unix_socket = server.path;
        assert_ok(http_client_new(&client, &err), err);
        for (int i = 0; i < 3; i++) {
                scoped_http_answer struct http_answer answer = HTTP_ANSWER_INIT;

                call.url = "http://x/ok";
                assert_ok(http_call(client, &answer, &call, &err), err);
                assert_int_equal(answer.status, 200);
                assert_string_equal(answer.body.data, "fine");
                call.url = "http://x/missing";
                assert_ok(http_call(client, &answer, &call, &err), err);
                assert_int_equal(answer.status, 404);
                assert_string_equal(answer.body.data, "{\"message\":\"no such thing\"}");
        }
        http_client_free(client);
        server_stop(&server);
        assert_int_equal(server.accepted, 1);
}

TEST("a socket that is not there is named, with the system's own reason")
{
        struct error err = {0};
        struct http_client *client = NULL;
        struct http_call call = HTTP_CALL_INIT;
        scoped_http_answer struct http_answer answer = HTTP_ANSWER_INIT;

        call.url = "http://x/ok";
        call.unix_socket = "/nonexistent/socket";
        assert_ok(http_client_new(&client, &err), err);
        assert_int_equal(http_call(client, &answer, &call, &err), -ERROR_UNAVAILABLE);
        assert_non_null(strstr(err.text, "/nonexistent/socket"));
        assert_non_null(strstr(err.text, "No such file or directory"));
        http_client_free(client);
}

TEST("plain tcp works as well, and nobody listening is unavailable")
{
        struct error err = {0};
        struct server server;
        struct http_client *client = NULL;
        struct http_call call = HTTP_CALL_INIT;
        scoped_http_answer struct http_answer answer = HTTP_ANSWER_INIT;
        scoped_text char *url = NULL;

        server_start(&server, true);
        url = text_format("http://127.0.0.1:%d/ok", server.port);
        call.url = url;
        assert_ok(http_client_new(&client, &err), err);
        assert_ok(http_call(client, &answer, &call, &err), err);
        assert_string_equal(answer.body.data, "fine");
        http_client_free(client);
        server_stop(&server);
        client = NULL;
        assert_ok(http_client_new(&client, &err), err);
        assert_int_equal(http_call(client, &answer, &call, &err), -ERROR_UNAVAILABLE);
        assert_non_null(strstr(err.text, url));
        http_client_free(client);
}

static int collect(void *data, const char *bytes, size_t n)
{
        str_add_bytes(data, bytes, n);
        return 0;
}

static int refuse_all(void *data, const char *bytes, size_t n)
{
        return -1;
}

TEST("a stream is handed on in pieces, but the text of a refusal is kept")
{
        struct error err = {0};
        struct http_call call = HTTP_CALL_INIT;
        scoped_http_answer struct http_answer answer = HTTP_ANSWER_INIT;
        scoped_str struct str got = STR_INIT;

        call.url = "http://x/chunks";
        call.on_data = collect;
        call.data = &got;
        assert_ok(once(&answer, &call, &err), err);
        assert_string_equal(got.data, "abcdefg");
        assert_int_equal(answer.body.len, 0);
        call.url = "http://x/missing";
        assert_ok(once(&answer, &call, &err), err);
        assert_string_equal(got.data, "abcdefg");
        assert_non_null(strstr(answer.body.data, "no such thing"));
        call.url = "http://x/chunks";
        call.on_data = refuse_all;
        assert_int_equal(once(&answer, &call, &err), -ERROR_CANCELLED);
}

TEST("an answer over its limit is refused, one of just the limit is taken")
{
        struct error err = {0};
        struct http_call call = HTTP_CALL_INIT;
        scoped_http_answer struct http_answer answer = HTTP_ANSWER_INIT;

        call.url = "http://x/big";
        call.answer_max = 3999;
        assert_int_equal(once(&answer, &call, &err), -ERROR_LIMIT);
        assert_non_null(strstr(err.text, "3999"));
        call.answer_max = 4000;
        assert_ok(once(&answer, &call, &err), err);
        assert_int_equal(answer.body.len, 4000);
}

TEST("a server that says nothing runs into the limit of the call")
{
        struct error err = {0};
        struct http_call call = HTTP_CALL_INIT;
        scoped_http_answer struct http_answer answer = HTTP_ANSWER_INIT;
        int64_t began = clock_ms();

        call.url = "http://x/stall";
        call.timeout_ms = 100;
        assert_int_equal(once(&answer, &call, &err), -ERROR_UNAVAILABLE);
        assert_in_range(clock_ms() - began, 95, 5000);
        assert_non_null(strstr(err.text, "within 100 ms"));
}

TEST("the idle limit counts from the last byte, not from the start")
{
        struct error err = {0};
        struct http_call call = HTTP_CALL_INIT;
        scoped_http_answer struct http_answer answer = HTTP_ANSWER_INIT;

        call.timeout_ms = 0;
        call.idle_ms = 150;
        call.url = "http://x/drip"; /* lasts 180 ms, never still for longer than 30 */
        assert_ok(once(&answer, &call, &err), err);
        assert_string_equal(answer.body.data, "zzzzzz");
        call.url = "http://x/stall";
        assert_int_equal(once(&answer, &call, &err), -ERROR_UNAVAILABLE);
        assert_non_null(strstr(err.text, "nothing came"));
}

static void *ring_later(void *data)
{
        usleep(50000);
        eventfd_write(*(int *)data, 1);
        return NULL;
}

TEST("a call is cancelled from another thread")
{
        struct error err = {0};
        struct http_call call = HTTP_CALL_INIT;
        scoped_http_answer struct http_answer answer = HTTP_ANSWER_INIT;
        scoped_fd int bell = eventfd(0, EFD_CLOEXEC);
        int64_t began = clock_ms();
        pthread_t thread;

        call.url = "http://x/stall";
        call.cancel_fd = bell;
        pthread_create(&thread, NULL, ring_later, &bell);
        assert_int_equal(once(&answer, &call, &err), -ERROR_CANCELLED);
        assert_in_range(clock_ms() - began, 45, 5000);
        pthread_join(thread, NULL);
}

TEST("a body is sent as it is and is not called a form")
{
        struct error err = {0};
        struct http_call call = HTTP_CALL_INIT;
        scoped_http_answer struct http_answer answer = HTTP_ANSWER_INIT;
        const char *headers[] = {"X-One: 1", NULL};

        call.method = "PUT";
        call.url = "http://x/echo";
        call.headers = headers;
        call.body = "bytes, the end";
        call.body_len = strlen(call.body);
        assert_ok(once(&answer, &call, &err), err);
        assert_int_equal(answer.status, 201);
        assert_true(text_starts(answer.body.data, "PUT /echo HTTP/1.1\r\n"));
        assert_non_null(strstr(answer.body.data, "X-One: 1\r\n"));
        assert_non_null(strstr(answer.body.data, "Content-Length: 14\r\n"));
        assert_null(strcasestr(answer.body.data, "content-type"));
        assert_true(text_ends(answer.body.data, "\r\n\r\nbytes, the end"));
}

static void *write_slowly(void *data)
{
        int fd = *(int *)data;

        usleep(30000);
        assert_int_equal(write(fd, "first ", 6), 6);
        usleep(30000);
        assert_int_equal(write(fd, "second", 6), 6);
        close(fd);
        return NULL;
}

TEST("an upload follows its descriptor to the end of file")
{
        struct error err = {0};
        struct http_call call = HTTP_CALL_INIT;
        scoped_http_answer struct http_answer answer = HTTP_ANSWER_INIT;
        pthread_t thread;
        int ends[2];

        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        pthread_create(&thread, NULL, write_slowly, &ends[1]);
        call.method = "POST";
        call.url = "http://x/echo";
        call.upload = ends[0];
        assert_ok(once(&answer, &call, &err), err);
        pthread_join(thread, NULL);
        close(ends[0]);
        assert_non_null(strstr(answer.body.data, "Transfer-Encoding: chunked"));
        assert_non_null(strstr(answer.body.data, "6\r\nfirst \r\n"));
        assert_non_null(strstr(answer.body.data, "6\r\nsecond\r\n0\r\n\r\n"));
}

TEST("an upgraded connection is a plain stream, early bytes included")
{
        struct error err = {0};
        struct server server;
        struct http_call call = HTTP_CALL_INIT;
        scoped_str struct str early = STR_INIT;
        scoped_fd int fd = -1;

        server_start(&server, false);
        call.method = "POST";
        call.url = "http://x/raw";
        call.unix_socket = server.path;
        assert_ok(http_upgrade(&fd, &early, &call, &err), err);
        while (early.len < 5)
                assert_true(read_more(fd, &early));
        assert_string_equal(early.data, "early");
        assert_int_equal(write(fd, "ping\n", 5), 5);
        while (early.len < 10)
                assert_true(read_more(fd, &early));
        assert_string_equal(early.data, "earlyping\n");
        close(take_fd(&fd));
        server_stop(&server);
}

TEST("a refused upgrade says the status and the reason")
{
        struct error err = {0};
        struct server server;
        struct http_call call = HTTP_CALL_INIT;
        scoped_str struct str early = STR_INIT;
        int fd;

        server_start(&server, false);
        call.method = "POST";
        call.unix_socket = server.path;
        call.url = "http://x/missing";
        assert_int_equal(http_upgrade(&fd, &early, &call, &err), -ERROR_NOT_FOUND);
        assert_non_null(strstr(err.text, "no such thing"));
        call.url = "http://x/busy";
        assert_int_equal(http_upgrade(&fd, &early, &call, &err), -ERROR_UNAVAILABLE);
        assert_non_null(strstr(err.text, "daemon is busy"));
        server_stop(&server);
        call.url = "ftp://x/busy";
        assert_int_equal(http_upgrade(&fd, &early, &call, &err), -ERROR_INVALID);
}

TEST_MAIN()
