/*
 * The server: libmicrohttpd's threads and the way of a request through its callbacks.
 *
 * libmicrohttpd runs `threads` threads with poll(2) (its epoll threads stall from about 128 ready
 * connections on). It calls access_handler() once when the head is there, once per piece of the
 * body, and once at the end; a reply that is queued in the first call closes the connection, and
 * between the first and the last call it takes none at all.
 */
#include "base/http_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/parse.h"
#include "base/scoped.h"

#include "base/banned.h"

#define CLOSE_MS 5000 /* how long running requests may take when the server closes */
/* Memory of one connection: head, and pieces of bodies. Above 32 KiB libmicrohttpd maps it, so that
 * what a crowd took goes back when the crowd does. */
#define POOL_BYTES (36 * 1024)
#define BACKLOG 4096

static void set_linger(struct http_request *request)
{
        pthread_mutex_lock(&request->server->lock);
        request->connection->linger = true;
        pthread_mutex_unlock(&request->server->lock);
}

static void *request_begin(void *data, const char *target, struct MHD_Connection *mhd)
{
        struct http_server *server = data;
        struct http_request *request = http_request_new(server, mhd, target);

        pthread_mutex_lock(&server->lock);
        server->n_requests++;
        pthread_mutex_unlock(&server->lock);
        return request;
}

static void request_end(void *data, struct MHD_Connection *mhd, void **context,
                        enum MHD_RequestTerminationCode code)
{
        struct http_server *server = data;
        struct http_request *request = take(*context);

        if (!request)
                return;
        http_deadline(server, request->connection, clock_ms() + server->header_ms);
        if (code == MHD_REQUEST_TERMINATED_WITH_ERROR)
                set_linger(request);
        pthread_mutex_lock(&server->lock);
        request->connection->waiting = true;
        http_unpark(server, &request->parked);
        server->n_requests--;
        pthread_cond_signal(&server->idle);
        pthread_mutex_unlock(&server->lock);
        http_request_free(request);
}

static bool is_closing(struct http_server *server)
{
        bool closing;

        pthread_mutex_lock(&server->lock);
        closing = server->closing;
        pthread_mutex_unlock(&server->lock);
        return closing;
}

static void refuse_closing(struct http_request *request)
{
        request->reply.close = true;
        http_reply_header(request, "Retry-After", "5");
        http_reply_problem(request, 503, "the server is going down; try again");
}

static bool announces_body(const struct http_request *request)
{
        const char *length = http_header(request, "Content-Length");

        return http_header(request, "Transfer-Encoding") ||
               (length && strspn(length, "0") != strlen(length));
}

/* The first call: only the head is there. A reply that is queued now closes the connection, so it
 * is kept for the last call where no body follows. */
static enum MHD_Result head_arrived(struct http_request *request, const char *url,
                                    const char *method, const char *version)
{
        request->begun = true;
        request->method = method;
        request->body_began_ms = clock_ms();
        http_waiting(request->server, request->connection, false);
        http_deadline(request->server, request->connection,
                      request->body_began_ms + http_rate_ms(request->server, 0));
        if (is_closing(request->server))
                refuse_closing(request);
        else if (http_head_check(request, url, version)) {
                request->has_body = announces_body(request);
                /* libmicrohttpd takes bare LF and anything as an extension between chunks: where
                 * such a body ends others may see otherwise, so that nothing is read behind it. */
                request->reply.close = http_header(request, "Transfer-Encoding") != NULL;
                http_head_route(request);
        }
        if (!request->reply.status || (!request->has_body && !request->reply.close))
                return MHD_YES;
        set_linger(request);
        return http_reply_queue(request);
}

/* libmicrohttpd takes no reply here; what is refused now is answered past it. */
static enum MHD_Result break_off(struct http_request *request)
{
        if (request->reply.status && !request->reply.stream) {
                set_linger(request);
                http_reply_raw(request);
        }
        return MHD_NO;
}

static enum MHD_Result body_arrived(struct http_request *request, const char *bytes, size_t *n)
{
        const struct http_route *route = request->route;
        struct http_server *server = request->server;

        request->received += *n;
        http_deadline(server, request->connection,
                      request->body_began_ms + http_rate_ms(server, request->received));
        if (request->received > route->body_max) {
                http_reply_problem(request, 413, "the body has more than the %zu bytes taken here",
                                   route->body_max);
                return break_off(request);
        }
        if (!route->on_body)
                str_add_bytes(&request->body, bytes, *n);
        else if (route->on_body(request, route->data, bytes, *n) < 0)
                return break_off(request);
        *n = 0;
        return MHD_YES;
}

static void run_handler(struct http_request *request)
{
        const struct http_route *route = request->route;

        do {
                pthread_mutex_lock(&request->server->lock);
                http_unpark(request->server, &request->parked);
                request->wakes_seen = request->server->wakes;
                pthread_mutex_unlock(&request->server->lock);
                if (is_closing(request->server) && request->parked.key) {
                        refuse_closing(request);
                        return;
                }
                if (route->handler(request, route->data) == HTTP_DONE || request->reply.status)
                        return;
        } while (!http_park(request));
}

static enum MHD_Result request_complete(struct http_request *request)
{
        http_deadline(request->server, request->connection, INT64_MAX);
        if (!request->reply.status)
                run_handler(request);
        if (!request->reply.status && request->parked.listed)
                return MHD_YES;
        if (!request->reply.status)
                http_reply_problem(request, 500, "the request was not answered");
        if (is_closing(request->server))
                request->reply.close = true;
        return http_reply_queue(request);
}

static enum MHD_Result access_handler(void *data, struct MHD_Connection *mhd, const char *url,
                                      const char *method, const char *version, const char *bytes,
                                      size_t *n, void **context)
{
        struct http_request *request = *context;

        if (!request->begun)
                return head_arrived(request, url, method, version);
        if (*n)
                return body_arrived(request, bytes, n);
        return request_complete(request);
}

/* Targets are decoded by us, segment by segment: %2F in a segment is not a slash between two. */
static size_t keep_escapes(void *data, struct MHD_Connection *mhd, char *text)
{
        return strlen(text);
}

/* Opening and closing */

static int start_daemon(struct http_server *server, int threads, struct error *err)
{
        unsigned limit = (unsigned)(server->connections_max + 64) * (unsigned)threads;
        struct MHD_OptionItem pool[] = {
                {threads > 1 ? MHD_OPTION_THREAD_POOL_SIZE : MHD_OPTION_END, threads, NULL},
                {MHD_OPTION_END, 0, NULL},
        };

        server->daemon = MHD_start_daemon(
                MHD_USE_POLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, http_accept_policy,
                server, access_handler, server, MHD_OPTION_LISTEN_SOCKET, server->listen_fd,
                MHD_OPTION_CONNECTION_LIMIT, limit, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                (size_t)POOL_BYTES, MHD_OPTION_CONNECTION_TIMEOUT, 0U, MHD_OPTION_STRICT_FOR_CLIENT,
                1, MHD_OPTION_URI_LOG_CALLBACK, request_begin, server, MHD_OPTION_UNESCAPE_CALLBACK,
                keep_escapes, server, MHD_OPTION_NOTIFY_COMPLETED, request_end, server,
                MHD_OPTION_NOTIFY_CONNECTION, http_notify_connection, server, MHD_OPTION_ARRAY,
                pool, MHD_OPTION_END);
        if (!server->daemon)
                return error_set_errno(err, "start the HTTP server");
        return 0;
}

static void server_free(struct http_server *server)
{
        if (server->listen_fd >= 0)
                close(server->listen_fd);
        if (server->wake_fd >= 0)
                close(server->wake_fd);
        for (size_t i = 0; i < server->n_lingers; i++)
                close(server->lingers[i]);
        pthread_mutex_destroy(&server->lock);
        pthread_cond_destroy(&server->idle);
        free(server->token);
        free(server);
}

static void stop_watcher(struct http_server *server)
{
        pthread_mutex_lock(&server->lock);
        server->stopped = true;
        http_watch_wake(server);
        pthread_mutex_unlock(&server->lock);
        pthread_join(server->watcher, NULL);
}

int http_server_open(struct http_server **ret, const struct http_options *options,
                     struct error *err)
{
        struct http_server *server = xcalloc(1, sizeof(*server));
        pthread_condattr_t monotonic;
        int result = 0;

        *server = (struct http_server){
                .routes = options->routes,
                .n_routes = options->n_routes,
                .token = text_copy(options->token),
                .connections_max = options->connections_max,
                .header_ms = options->header_ms < HTTP_FREE_MS ? options->header_ms : HTTP_FREE_MS,
                .body_rate = options->body_rate > 0 ? options->body_rate : 1,
                .next_check_ms = INT64_MAX,
        };
        pthread_mutex_init(&server->lock, NULL);
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&server->idle, &monotonic);
        pthread_condattr_destroy(&monotonic);
        /* A descriptor of our own: the caller's one can go to a successor while this server ends.
         */
        server->listen_fd = fcntl(options->listen_fd, F_DUPFD_CLOEXEC, 0);
        server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (server->listen_fd < 0 || server->wake_fd < 0)
                result = error_set_errno(err, "start the HTTP server");
        else if ((errno = pthread_create(&server->watcher, NULL, http_watch_run, server)) != 0)
                result = error_set_errno(err, "start a thread of the HTTP server");
        else if ((result = start_daemon(server, options->threads, err)) < 0)
                stop_watcher(server);
        if (result < 0) {
                server_free(server);
                return result;
        }
        *ret = server;
        return 0;
}

/* Called with the lock. Waits for the requests that run, for a moment. */
static void wait_idle(struct http_server *server)
{
        int64_t until = clock_ms() + CLOSE_MS;
        struct timespec at = {until / 1000, until % 1000 * 1000000};

        while (server->n_requests && pthread_cond_timedwait(&server->idle, &server->lock, &at) == 0)
                ;
}

void http_server_close(struct http_server *server)
{
        if (!server)
                return;
        MHD_quiesce_daemon(server->daemon);
        pthread_mutex_lock(&server->lock);
        server->closing = true;
        for (struct http_parked *p = server->parked; p; p = p->next)
                http_wake_parked(p);
        wait_idle(server);
        pthread_mutex_unlock(&server->lock);
        stop_watcher(server);
        MHD_stop_daemon(server->daemon);
        server_free(server);
}

/* "ADDR:PORT" or "[V6]:PORT" in two; host has room for all of address. */
static int split_address(const char *address, char *host, const char **ret_port, struct error *err)
{
        const char *colon = strrchr(address, ':');
        size_t n = colon ? (size_t)(colon - address) : 0;
        int64_t port;

        if (n > 2 && address[0] == '[' && address[n - 1] == ']') {
                address++;
                n -= 2;
        } else if (memchr(address, ':', n)) {
                n = 0;
        }
        if (n == 0 || n > 255 || parse_int(&port, colon + 1, 0, 65535, NULL) < 0)
                return error_set(err, ERROR_INVALID,
                                 "'%s' is no address to listen on; write ADDR:PORT or [V6]:PORT, "
                                 "such as 127.0.0.1:8080; port 0 takes a free one",
                                 address);
        memcpy(host, address, n);
        host[n] = '\0';
        *ret_port = colon + 1;
        return 0;
}

static int bind_one(const struct addrinfo *info, const char *address, struct error *err)
{
        scoped_fd int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int on = 1;

        if (fd < 0)
                return error_set_errno(err, "listen on %s", address);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
                return error_set_errno(err, "listen on %s", address);
        return take_fd(&fd);
}

static char *bound_address(int fd)
{
        struct sockaddr_storage storage;
        socklen_t size = sizeof(storage);
        char host[NI_MAXHOST];
        char port[NI_MAXSERV];

        if (getsockname(fd, (struct sockaddr *)&storage, &size) < 0 ||
            getnameinfo((struct sockaddr *)&storage, size, host, sizeof(host), port, sizeof(port),
                        NI_NUMERICHOST | NI_NUMERICSERV) != 0)
                return text_copy("?");
        return text_format(strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

int http_listen(int *ret_fd, char **ret_address, const char *address, struct error *err)
{
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
        struct addrinfo *found = NULL;
        const char *port;
        char host[256];
        int result = split_address(address, host, &port, err);

        if (result < 0)
                return result;
        result = getaddrinfo(host, port, &hints, &found);
        if (result != 0)
                return error_set(err, ERROR_INVALID, "listen on %s: %s", address,
                                 gai_strerror(result));
        result = bind_one(found, address, err);
        freeaddrinfo(found);
        if (result < 0)
                return result;
        *ret_fd = result;
        *ret_address = bound_address(result);
        return 0;
}
