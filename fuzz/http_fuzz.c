/*
 * Bytes to a real server on a real socket. However many requests are in them, a handler runs at
 * most once per request line that could be read, and sees no more body than its limit; the server
 * always comes to an end with the connection.
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/http_server.h"
#include "base/str.h"

#include "base/banned.h"

#define BODY_MAX 4096
#define END_MS 5000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
        if (!holds)
                abort();
}

static enum http_result handle(struct http_request *request, void *data)
{
        size_t n;
        const char *body = http_body(request, &n);

        must(n <= BODY_MAX && body[n] == '\0');
        must(http_path(request)[0] == '/' && strlen(http_method(request)) > 0);
        for (size_t i = 0; http_param(request, i); i++)
                must(i < 2);
        http_query(request, "a");
        atomic_fetch_add((atomic_int *)data, 1);
        http_reply(request, 200, "text/plain", body, n);
        return HTTP_DONE;
}

/** struct target - one server for all inputs, of this process */
struct target {
        struct http_server *server;
        int port;
        atomic_int handled;
        struct http_route routes[3];
};

static struct target *open_target(void)
{
        struct target *target = xcalloc(1, sizeof(*target));
        struct http_options options = {.threads = 1,
                                       .connections_max = 16,
                                       .header_ms = 10000,
                                       .body_rate = 1000,
                                       .routes = target->routes,
                                       .n_routes = 3};
        char *address = NULL;

        target->routes[0] = (struct http_route){"POST", "/",  true,   BODY_MAX,
                                                NULL,   NULL, handle, &target->handled};
        target->routes[1] = (struct http_route){"GET", "/x/{}/*", true,   0,
                                                NULL,  NULL,      handle, &target->handled};
        target->routes[2] =
                (struct http_route){"GET", "/", true, 0, NULL, NULL, handle, &target->handled};
        must(http_listen(&options.listen_fd, &address, "127.0.0.1:0", NULL) == 0);
        must(http_server_open(&target->server, &options, NULL) == 0);
        target->port = (int)strtol(strrchr(address, ':') + 1, NULL, 10);
        free(address);
        return target;
}

static int request_lines(const uint8_t *data, size_t size)
{
        int count = 0;

        for (size_t i = 0; i + 7 <= size; i++)
                count += memcmp(data + i, "HTTP/1.", 7) == 0;
        return count;
}

static void exchange(int port, const uint8_t *data, size_t size)
{
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)port),
                                      .sin_addr = {htonl(INADDR_LOOPBACK)}};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct linger reset = {1, 0}; /* no TIME_WAIT: ports would run out */
        char answer[4096];

        must(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        if (send(fd, data, size, MSG_NOSIGNAL) >= 0)
                shutdown(fd, SHUT_WR);
        for (;;) {
                struct pollfd poll_fd = {fd, POLLIN, 0};
                int ready = poll(&poll_fd, 1, END_MS);

                if (ready < 0 && errno == EINTR)
                        continue; /* the fuzzer's own clock */
                must(ready == 1);
                if (recv(fd, answer, sizeof(answer), MSG_DONTWAIT) <= 0)
                        break;
        }
        close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static struct target *target;

        if (!target)
                target = open_target();
        atomic_store(&target->handled, 0);
        exchange(target->port, data, size);
        must(atomic_load(&target->handled) <= request_lines(data, size));
        return 0;
}
