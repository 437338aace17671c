/*
 * A request whose answer turns the connection into a plain stream. libcurl offers no way to keep
 * such a connection without reading past the head, so the few lines of HTTP are spoken here.
 */
#include "base/http_client.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/parse.h"
#include "base/scoped.h"

#include "base/banned.h"

#define HEAD_MAX 16384
#define REFUSAL_MAX 4096 /* of the text that a refusal brings along */

static int connect_unix(int *ret, const char *path, struct error *err)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        scoped_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (strlen(path) >= sizeof(address.sun_path))
                return error_set(err, ERROR_INVALID, "the path of the socket '%s' is too long",
                                 path);
        memcpy(address.sun_path, path, strlen(path));
        if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
                error_set_errno(err, "connect to '%s'", path);
                if (err)
                        err->kind = ERROR_UNAVAILABLE;
                return -ERROR_UNAVAILABLE;
        }
        *ret = take_fd(&fd);
        return 0;
}

static int connect_tcp(int *ret, const char *host, const char *port, struct error *err)
{
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
        struct addrinfo *found = NULL;
        int code = getaddrinfo(host, port, &hints, &found);
        int fd = -1;

        if (code != 0)
                return error_set(err, ERROR_UNAVAILABLE, "look up '%s': %s", host,
                                 gai_strerror(code));
        for (struct addrinfo *at = found; at && fd < 0; at = at->ai_next) {
                fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
                if (fd >= 0 && connect(fd, at->ai_addr, at->ai_addrlen) < 0) {
                        close(fd);
                        fd = -1;
                }
        }
        freeaddrinfo(found);
        if (fd < 0)
                return error_set(err, ERROR_UNAVAILABLE, "connect to %s port %s: %s", host, port,
                                 strerror(errno));
        *ret = fd;
        return 0;
}

/* "http://HOST[:PORT]/PATH" taken apart; path is a view into url. */
static int split_url(struct str *ret_host, struct str *ret_port, const char **ret_path,
                     const char *url, struct error *err)
{
        const char *host = url + strlen("http://");
        const char *path;
        const char *colon;

        if (!text_starts(url, "http://") || !(path = strchr(host, '/')))
                return error_set(err, ERROR_INVALID, "'%s' is not a plain http address", url);
        if (*host == '[' && (colon = memchr(host, ']', (size_t)(path - host)))) {
                str_add_bytes(ret_host, host + 1, (size_t)(colon - host - 1));
                colon = colon[1] == ':' ? colon + 1 : NULL;
        } else {
                colon = memchr(host, ':', (size_t)(path - host));
                str_add_bytes(ret_host, host, (size_t)((colon ? colon : path) - host));
        }
        if (colon)
                str_add_bytes(ret_port, colon + 1, (size_t)(path - colon - 1));
        else
                str_add(ret_port, "80");
        *ret_path = path;
        return 0;
}

/* One read; the limit on time is of the whole head. Return: bytes, 0 at end of file, -kind. */
static int read_some(int fd, struct str *to, int64_t until, int cancel_fd, struct error *err)
{
        struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.fd = cancel_fd, .events = POLLIN}};
        char bytes[4096];
        ssize_t got;

        do {
                int64_t left = until - clock_ms();

                if (left <= 0)
                        return error_set(err, ERROR_UNAVAILABLE, "no answer in time");
                if (poll(fds, 2, (int)left) < 0 && errno != EINTR)
                        return error_set_errno(err, "wait for an answer");
                if (fds[1].revents)
                        return error_set(err, ERROR_CANCELLED, "cancelled");
        } while (!fds[0].revents);
        got = recv(fd, bytes, sizeof(bytes), 0);
        if (got < 0)
                return error_set(err, ERROR_UNAVAILABLE, "read the answer: %s", strerror(errno));
        str_add_bytes(to, bytes, (size_t)got);
        return (int)got;
}

/* write() would raise SIGPIPE when the other side is gone. */
static int send_all(int fd, const struct str *bytes, struct error *err)
{
        size_t sent = 0;

        while (sent < bytes->len) {
                ssize_t put = send(fd, bytes->data + sent, bytes->len - sent, MSG_NOSIGNAL);

                if (put < 0 && errno == EINTR)
                        continue;
                if (put < 0)
                        return error_set(err, ERROR_UNAVAILABLE, "send: %s", strerror(errno));
                sent += (size_t)put;
        }
        return 0;
}

static int refuse(int fd, int status, struct str *rest, int64_t until, int cancel_fd,
                  struct error *err)
{
        enum error_kind kind = status == 404   ? ERROR_NOT_FOUND
                               : status == 409 ? ERROR_CONFLICT
                               : status >= 500 ? ERROR_UNAVAILABLE
                                               : ERROR_INVALID;

        while (rest->len < REFUSAL_MAX && !strchr(rest->data, '}') &&
               read_some(fd, rest, until, cancel_fd, NULL) > 0)
                ;
        for (size_t i = 0; i < rest->len; i++)
                if ((unsigned char)rest->data[i] < ' ')
                        rest->data[i] = ' ';
        return error_set(err, kind, "refused with status %d %s", status, rest->data);
}

static int take_head(int fd, struct str *ret_early, const struct http_call *call, struct error *err)
{
        int64_t until = clock_ms() + (call->timeout_ms > 0 ? call->timeout_ms : 30000);
        scoped_str struct str head = STR_INIT;
        char digits[4] = "";
        int64_t status;
        char *end;
        int got;

        while (!(end = memmem(head.data, head.len, "\r\n\r\n", 4))) {
                if (head.len > HEAD_MAX)
                        return error_set(err, ERROR_INVALID, "the head of the answer is too long");
                got = read_some(fd, &head, until, call->cancel_fd, err);
                if (got < 0)
                        return got;
                if (got == 0)
                        return error_set(err, ERROR_UNAVAILABLE,
                                         "the connection closed before an answer");
        }
        if (!text_starts(head.data, "HTTP/1.") || head.len < 12)
                return error_set(err, ERROR_INVALID, "the answer is not HTTP");
        memcpy(digits, head.data + 9, 3);
        if (parse_int(&status, digits, 100, 599, err) < 0)
                return error_wrap(err, "the answer is not HTTP");
        str_consume(&head, (size_t)(end + 4 - head.data));
        if (status != 101 && status != 200)
                return refuse(fd, (int)status, &head, until, call->cancel_fd, err);
        str_add_bytes(ret_early, head.data, head.len);
        return 0;
}

int http_upgrade(int *ret_fd, struct str *ret_early, const struct http_call *call,
                 struct error *err)
{
        scoped_str struct str host = STR_INIT;
        scoped_str struct str port = STR_INIT;
        scoped_str struct str request = STR_INIT;
        scoped_fd int fd = -1;
        const char *path;
        int result = split_url(&host, &port, &path, call->url, err);

        if (result < 0)
                return result;
        result = call->unix_socket ? connect_unix(&fd, call->unix_socket, err)
                                   : connect_tcp(&fd, host.data, port.data, err);
        if (result < 0)
                return result;
        str_printf(&request, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\n", call->method,
                   path, host.data);
        str_printf(&request, "Upgrade: tcp\r\nContent-Length: %zu\r\n", call->body_len);
        for (size_t i = 0; call->headers && call->headers[i]; i++)
                str_printf(&request, "%s\r\n", call->headers[i]);
        str_add(&request, "\r\n");
        str_add_bytes(&request, call->body ? call->body : "", call->body_len);
        if (send_all(fd, &request, err) < 0)
                return error_wrap(err, "%s %s", call->method, call->url);
        result = take_head(fd, ret_early, call, err);
        if (result < 0) {
                error_wrap(err, "%s %s", call->method, call->url);
                return result;
        }
        *ret_fd = take_fd(&fd);
        return 0;
}
