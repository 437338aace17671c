#pragma once
/*
 * http_client - HTTP requests by libcurl, which is loaded at its first use (about 6 MiB that a
 * server without Docker and SMTP does without)
 *
 * One client belongs to one thread; it keeps connections alive between requests. Redirects are not
 * followed. TLS is verified always.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct error;
struct http_client;

/**
 * struct http_call - one request; texts are borrowed for the call
 * @unix_socket: path of a unix socket to go through, or NULL
 * @headers: NULL-terminated "Name: value" array, or NULL
 * @body: sent as it is (also when empty, for POST and PUT); NULL: none
 * @upload: instead of body: a descriptor that is read to its end (chunked); -1: none
 * @timeout_ms: of the whole call; 0: none (streams), then idle_ms counts
 * @idle_ms: the call ends when nothing moves for so long; 0: never
 * @answer_max: bytes of the answer kept in the result; more is -ERROR_LIMIT
 * @on_data: instead of keeping: called with pieces of a 2xx answer; -1 ends the call
 *         (-ERROR_CANCELLED)
 * @cancel_fd: readable means: stop; -1: cannot be cancelled
 */
struct http_call {
        const char *method;
        const char *url;
        const char *unix_socket;
        const char *const *headers;
        const void *body;
        size_t body_len;
        int upload;
        int64_t timeout_ms;
        int64_t idle_ms;
        size_t answer_max;
        int (*on_data)(void *data, const char *bytes, size_t n);
        void *data;
        int cancel_fd;
};

#define HTTP_CALL_INIT                                                                     \
        {                                                                                  \
                .method = "GET", .upload = -1, .timeout_ms = 30000, .answer_max = 4 << 20, \
                .cancel_fd = -1                                                            \
        }

/** struct http_answer - @status: of HTTP; @body: what was kept */
struct http_answer {
        int status;
        struct str body;
};

#define HTTP_ANSWER_INIT    \
        {                   \
                0, STR_INIT \
        }
void http_answer_done(struct http_answer *answer);
#define scoped_http_answer __attribute__((__cleanup__(http_answer_done)))

int http_client_new(struct http_client **ret, struct error *err);
void http_client_free(struct http_client *client);

/**
 * http_call() - send one request and take the answer
 *
 * Return: 0 when an answer with any status came; -ERROR_UNAVAILABLE when none could be had (the
 * text says why), -ERROR_LIMIT, -ERROR_CANCELLED.
 */
int http_call(struct http_client *client, struct http_answer *ret, const struct http_call *call,
              struct error *err);

/**
 * http_upgrade() - a raw connection after a request with `Upgrade: tcp` (Docker's attach)
 * @ret_fd: after the answer's head; the caller closes it. @ret_early: bytes that came already
 *
 * Only for unix sockets and plain tcp.
 */
int http_upgrade(int *ret_fd, struct str *ret_early, const struct http_call *call,
                 struct error *err);
