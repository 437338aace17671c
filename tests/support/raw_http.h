#pragma once
/*
 * raw_http - bytes over a socket, for what no HTTP client would send
 *
 * For unit tests (after test.h); servers on 127.0.0.1.
 */
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"
#include "tests/support/test.h"

/* Silence of so many milliseconds is the end of an answer on a connection that is kept. */
#define RAW_SILENCE_MS 300

static inline int raw_dial(int port)
{
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)port),
                                      .sin_addr = {htonl(INADDR_LOOPBACK)}};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_true(fd >= 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        return fd;
}

/** raw_send() - as far as the server takes it: it may close before it has read all */
static inline void raw_send(int fd, const char *bytes, size_t n)
{
        while (n) {
                ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);

                if (sent <= 0)
                        return;
                bytes += sent;
                n -= (size_t)sent;
        }
}

static inline void raw_send_text(int fd, const char *text)
{
        raw_send(fd, text, strlen(text));
}

/** raw_read() - everything until the server closes, or ms without a byte; Return: whether it
 *  closed */
static inline bool raw_read(int fd, struct str *ret, int ms)
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

/** raw_exchange() - one connection on which bytes are sent; the answer (the caller frees), with
 *  "<closed>" at its end when the server closed it */
static inline char *raw_exchange(int port, const char *bytes, size_t n)
{
        struct str answer = STR_INIT;
        int fd = raw_dial(port);

        raw_send(fd, bytes, n);
        if (raw_read(fd, &answer, RAW_SILENCE_MS))
                str_add(&answer, "<closed>");
        close(fd);
        return str_steal(&answer);
}

static inline int raw_status(const char *answer)
{
        return text_starts(answer, "HTTP/1.1 ") ? (int)strtol(answer + 9, NULL, 10) : 0;
}

static inline int raw_answers(const char *text)
{
        int count = 0;

        for (const char *p = text; (p = strstr(p, "HTTP/1.1 ")); p++)
                count++;
        return count;
}

#define assert_status(answer, status)                                             \
        do {                                                                      \
                if (raw_status(answer) != (status))                               \
                        fail_msg("expected %d, got: %.300s", (status), (answer)); \
        } while (0)
