#pragma once
/*
 * http_internal - what the four files of the HTTP server share
 *
 * http_head.c judges a request's head and finds its route, http_request.c holds what handlers see
 * and the reply, http_watch.c keeps deadlines and parked requests, http_server.c runs
 * libmicrohttpd.
 *
 * A request belongs to the thread of libmicrohttpd that serves its connection. What the watching
 * thread sees of it (struct http_parked, struct http_connection) is guarded by the server's lock.
 */
#include <microhttpd.h>
#include <pthread.h>

#include "base/http_server.h"
#include "base/str.h"

/* What a body or a reply may take whatever its size. */
#define HTTP_FREE_MS 10000
#define HTTP_PARAMS_MAX 8
#define HTTP_QUERY_MAX 32
#define HTTP_HEADERS_MAX 100
#define HTTP_REPLY_HEADERS_MAX 16
/* A request that was refused before its body was read: so much of the body is thrown away, for so
 * long, for the client to find the answer instead of a reset connection. */
#define HTTP_LINGER_BYTES ((25 << 20) + (64 << 10))
#define HTTP_LINGER_MS 2000
#define HTTP_LINGERS_MAX 64
/* Connections that were told to make room and are not gone yet. */
#define HTTP_LEAVING_MAX 64
/* Wakes are remembered by a hash of their key, for the gap between a handler's look and its wait.
 */
#define HTTP_WAKE_SLOTS 1024

/** struct http_connection - a socket and when it will be shut down; INT64_MAX: not at all */
struct http_connection {
        struct http_connection *next;
        struct http_connection *prev;
        int fd;
        int64_t deadline_ms;
        bool linger;  /* the reply goes out before the request was read to its end */
        bool waiting; /* for the next head, which may be there in part */
        bool leaving; /* it was shut down to make room */
};

struct http_pair {
        char *name;
        char *value;
};

/** struct http_stream - a body that is read while it is sent; freed by http_stream_free() */
struct http_stream {
        struct http_server *server;
        struct http_connection *connection;
        int64_t first; /* of the range */
        int64_t size;  /* -1: unknown */
        ssize_t (*read_fn)(void *data, int64_t offset, char *bytes, size_t n);
        void *data;
        void (*free_fn)(void *data);
};

struct http_reply {
        int status; /* 0: none was set */
        char *content_type;
        struct str body;
        struct http_stream *stream;
        struct http_pair headers[HTTP_REPLY_HEADERS_MAX];
        size_t n_headers;
        bool close;
};

/** struct http_parked - a request that waits without a thread; guarded by the server's lock */
struct http_parked {
        struct http_parked *next;
        struct http_parked *prev;
        struct MHD_Connection *mhd;
        char *key;
        int64_t deadline_ms;
        bool listed;
        bool suspended;
        bool woken;
};

struct http_request {
        struct http_server *server;
        struct http_connection *connection;
        struct MHD_Connection *mhd;
        const struct http_route *route;
        const char *method;
        char *path;
        size_t target_len; /* bytes of the target up to its first NUL */
        char *target;
        char *params[HTTP_PARAMS_MAX];
        size_t n_params;
        struct http_pair query[HTTP_QUERY_MAX];
        size_t n_query;
        char peer[64];
        bool begun;
        bool has_body;
        struct str body;
        uint64_t received;
        int64_t body_began_ms;
        void *context;
        void (*context_free)(void *context);
        struct http_reply reply;
        struct http_parked parked;
        uint64_t wakes_seen;
};

struct http_server {
        const struct http_route *routes;
        size_t n_routes;
        char *token;
        int connections_max;
        int64_t header_ms;
        int64_t body_rate;
        struct MHD_Daemon *daemon;
        int listen_fd;
        int wake_fd;
        pthread_t watcher;

        pthread_mutex_t lock; /* guards all below */
        pthread_cond_t idle;  /* a request ended */
        struct http_connection *connections;
        int n_connections;
        int n_leaving;
        int n_requests;
        struct http_parked *parked;
        int lingers[HTTP_LINGERS_MAX]; /* descriptors that the watcher takes over */
        size_t n_lingers;
        int64_t next_check_ms;
        uint64_t wakes;
        uint64_t woken_at[HTTP_WAKE_SLOTS];
        bool closing;
        bool stopped;
};

/* http_head.c */

/**
 * http_head_check() - refuse what could be read as more or less than one request
 *
 * Sets the reply when the head is refused; such a reply closes the connection.
 *
 * Return: whether the head is acceptable.
 */
bool http_head_check(struct http_request *request, const char *url, const char *version);
/** http_head_route() - find the route, check the token and the announced size; sets the reply when
 *  there is nothing more to do */
void http_head_route(struct http_request *request);
/** http_percent_decode() - in place; plus: '+' is a space. Return: false when malformed or NUL */
bool http_percent_decode(char *text, bool plus);

/* http_request.c */

struct http_request *http_request_new(struct http_server *server, struct MHD_Connection *mhd,
                                      const char *target);
void http_request_free(struct http_request *request);
/** http_reply_queue() - hand the reply to libmicrohttpd */
enum MHD_Result http_reply_queue(struct http_request *request);
/** http_reply_raw() - send it where libmicrohttpd takes no reply: in the middle of a body */
void http_reply_raw(struct http_request *request);

/* http_watch.c */

/** http_deadline() - when the connection is shut down; INT64_MAX: not at all */
void http_deadline(struct http_server *server, struct http_connection *connection, int64_t ms);
/** http_rate_ms() - how long n bytes may take: HTTP_FREE_MS and then the least rate */
int64_t http_rate_ms(const struct http_server *server, uint64_t n);
/** http_watch_run() - the watching thread; ends once server->stopped is set and it was woken */
void *http_watch_run(void *server);
void http_watch_wake(struct http_server *server);
/** http_waiting() - whether the connection waits for a head: then it may have to make room */
void http_waiting(struct http_server *server, struct http_connection *connection, bool waiting);
/* Callbacks of libmicrohttpd: the cap on connections, and their list. */
enum MHD_Result http_accept_policy(void *server, const struct sockaddr *address, socklen_t n);
void http_notify_connection(void *server, struct MHD_Connection *mhd, void **context,
                            enum MHD_ConnectionNotificationCode code);
/** http_park() - suspend the request until its key is woken or its deadline is over
 *
 * Return: false when the key was woken since the handler began, or the time is over already.
 */
bool http_park(struct http_request *request);
/** http_unpark() - out of the list of the parked ones; called with the lock */
void http_unpark(struct http_server *server, struct http_parked *parked);
/** http_wake_parked() - let its handler run again; called with the lock */
void http_wake_parked(struct http_parked *parked);
