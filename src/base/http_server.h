#pragma once
/*
 * http_server - an HTTP/1.1 server with limits: routes in, replies out
 *
 * Owns its threads. Strict where smuggling starts: two Content-Length, Content-Length with
 * Transfer-Encoding, a space before a header's colon, NUL in a header are refused before a handler
 * runs. Every connection has a deadline for its headers and a least rate for its body; connections,
 * header bytes and body bytes are capped. Handlers run on the server's threads and may block
 * shortly (a commit to the store); what waits longer answers http_wait().
 *
 * A handler sees the whole request: the body has been taken in memory up to the route's body_max,
 * or was given piece by piece to the route's on_body while it arrived.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct error;
struct http_request;
struct http_server;

enum http_result {
        HTTP_DONE, /* a reply was set */
        HTTP_WAIT, /* http_wait() was called: run the handler again when woken or at the deadline */
};

/**
 * struct http_route - one line of the table
 * @method: "GET", "POST", …; a GET route answers HEAD too
 * @path: segments; "{}" takes one segment (http_param), a last "*" the rest, slashes included
 * @open: true: no token needed. Else `Authorization: Bearer TOKEN` is checked before anything runs
 * @body_max: bytes; more is 413. 0: a body is refused with 413
 * @on_begin: optional, once the headers are in; a reply set here ends the request (body not read)
 * @on_body: optional, pieces of the body as they arrive; the handler then has no body in memory.
 *         Returns 0, or less to break the connection off (a reply that was set is still sent)
 * @handler: makes the reply
 */
struct http_route {
        const char *method;
        const char *path;
        bool open;
        size_t body_max;
        void (*on_begin)(struct http_request *request, void *data);
        int (*on_body)(struct http_request *request, void *data, const char *bytes, size_t n);
        enum http_result (*handler)(struct http_request *request, void *data);
        void *data;
};

/**
 * struct http_options - borrowed for http_server_open() only, but routes and their data must
 * outlive the server
 * @listen_fd: a bound, listening TCP socket (borrowed; the caller may hand it on to a successor)
 * @token: of the administrator; NULL: routes that are not open answer 401
 * @threads: worker threads, at least 1
 * @connections_max: beyond it the connection that has waited longest for its next request makes
 *         room for a new one; when none waits, the new one is closed at once
 * @header_ms: a request's headers must be in by then (and no slower than 10 s), else closed
 * @body_rate: bytes per second that a body must at least bring after its first 10 s
 */
struct http_options {
        int listen_fd;
        const char *token;
        int threads;
        int connections_max;
        int64_t header_ms;
        int64_t body_rate;
        const struct http_route *routes;
        size_t n_routes;
};

int http_server_open(struct http_server **ret, const struct http_options *options,
                     struct error *err);
/** http_server_close() - no new requests, running handlers end, waiting ones are answered 503 */
void http_server_close(struct http_server *server);

/* The request, valid until the reply was sent. Texts are borrowed; NULL where absent. */
const char *http_method(const struct http_request *request);
const char *http_path(const struct http_request *request);
/** http_param() - what the i-th "{}" (or the "*") of the route took, percent-decoded */
const char *http_param(const struct http_request *request, size_t i);
const char *http_query(const struct http_request *request, const char *name);
const char *http_header(const struct http_request *request, const char *name);
/** http_header_count() - how often the header was sent (two signatures are refused) */
int http_header_count(const struct http_request *request, const char *name);
const char *http_body(const struct http_request *request, size_t *ret_n);
/** http_peer() - the client's address as text, for logs */
const char *http_peer(const struct http_request *request);
/** http_context(), http_set_context() - what the route keeps with the request; freed by free_fn */
void *http_context(const struct http_request *request);
void http_set_context(struct http_request *request, void *context, void (*free_fn)(void *));

/* Replies: the first one set counts. Bodies are copied. */
void http_reply(struct http_request *request, int status, const char *content_type,
                const void *body, size_t n);
void http_reply_json(struct http_request *request, int status, const char *json_text);
/** http_reply_problem() - application/problem+json (RFC 9457): type, title, status, detail */
void http_reply_problem(struct http_request *request, int status, const char *format, ...)
        __attribute__((__format__(__printf__, 3, 4)));
/** http_reply_error() - the problem that an error's kind means (404, 401/403, 409, 413, 400, 503)
 */
void http_reply_error(struct http_request *request, const struct error *err);
/** http_reply_header() - one more header for the reply; before or after the reply was set */
void http_reply_header(struct http_request *request, const char *name, const char *value);

/**
 * http_reply_stream() - a body that is read while it is sent
 * @size: bytes, or -1 when unknown (chunked)
 * @read_fn: fills at most n bytes from offset; returns how many, 0 at the end, -1 to break off
 * @free_fn: called once with data in the end, also on failure
 *
 * With a known size a `Range: bytes=` of the request is obeyed: 206, or 416.
 */
void http_reply_stream(struct http_request *request, int status, const char *content_type,
                       int64_t size,
                       ssize_t (*read_fn)(void *data, int64_t offset, char *bytes, size_t n),
                       void *data, void (*free_fn)(void *data));

/**
 * http_wait() - park the request without a thread; then return HTTP_WAIT
 * @key: http_wake() with the same key runs the handler again
 * @deadline_ms: clock_ms() at which it runs again in any case
 *
 * A wake between the handler's look and its return is not lost.
 */
void http_wait(struct http_request *request, const char *key, int64_t deadline_ms);
void http_wake(struct http_server *server, const char *key);

/** http_listen() - bind and listen on "ADDR:PORT" or "[V6]:PORT"; port 0 takes a free one. The
 *  descriptor is close-on-exec. @ret_address: "ADDR:PORT" really taken; the caller frees */
int http_listen(int *ret_fd, char **ret_address, const char *address, struct error *err);
