/*
 * Every call is one easy handle in the client's multi handle: the multi handle keeps the
 * connections and lets us wait for the caller's cancel_fd and for the descriptor that is uploaded
 * beside curl's own sockets. Time is counted here, in milliseconds, as curl's own limit on slow
 * transfers has whole seconds and an average.
 */
#include "base/http_client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/curl.h"
#include "base/error.h"
#include "base/scoped.h"

#include "base/banned.h"

#define CONNECT_MS 10000L
#define WAIT_MS_MAX 60000

struct http_client {
        struct curl curl;
        CURLM *multi;
        CURL *easy;
        char text[CURL_ERROR_SIZE];
};

/* One call under way. */
struct transfer {
        struct http_client *client;
        const struct http_call *call;
        struct http_answer *answer;
        int64_t began;
        int64_t moved;      /* when the last byte came or went */
        bool upload_waits;  /* curl is paused until call->upload is readable */
        bool too_much;      /* the answer was larger than answer_max */
        bool caller_stops;  /* on_data said so */
        int upload_failure; /* errno of read(), 0: none */
};

void http_answer_done(struct http_answer *answer)
{
        str_done(&answer->body);
}

int http_client_new(struct http_client **ret, struct error *err)
{
        struct http_client *client = xcalloc(1, sizeof(*client));

        if (curl_load(&client->curl, err) < 0) {
                free(client);
                return -ERROR_UNAVAILABLE;
        }
        client->multi = client->curl.multi_init();
        client->easy = client->curl.easy_init();
        if (!client->multi || !client->easy) {
                http_client_free(client);
                return error_set(err, ERROR_UNAVAILABLE, "libcurl does not start");
        }
        *ret = client;
        return 0;
}

void http_client_free(struct http_client *client)
{
        if (!client)
                return;
        if (client->easy)
                client->curl.easy_cleanup(client->easy);
        if (client->multi)
                client->curl.multi_cleanup(client->multi);
        free(client);
}

static int status_of(struct transfer *transfer)
{
        long status = 0;

        transfer->client->curl.easy_getinfo(transfer->client->easy, CURLINFO_RESPONSE_CODE,
                                            &status);
        return (int)status;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *data)
{
        struct transfer *transfer = data;
        const struct http_call *call = transfer->call;
        int status;

        n *= size;
        transfer->moved = clock_ms();
        if (call->on_data) {
                status = status_of(transfer);
                if (status >= 200 && status < 300) {
                        if (call->on_data(call->data, bytes, n) == 0)
                                return n;
                        transfer->caller_stops = true;
                        return 0;
                }
        }
        if (n > call->answer_max || transfer->answer->body.len > call->answer_max - n) {
                transfer->too_much = true;
                return 0;
        }
        str_add_bytes(&transfer->answer->body, bytes, n);
        return n;
}

static size_t on_head(char *bytes, size_t size, size_t n, void *data)
{
        struct transfer *transfer = data;

        transfer->moved = clock_ms();
        return size * n;
}

static size_t on_upload(char *bytes, size_t size, size_t n, void *data)
{
        struct transfer *transfer = data;
        struct pollfd ready = {.fd = transfer->call->upload, .events = POLLIN};
        ssize_t got;

        transfer->moved = clock_ms();
        if (poll(&ready, 1, 0) == 0) {
                transfer->upload_waits = true;
                return CURL_READFUNC_PAUSE;
        }
        do {
                got = read(transfer->call->upload, bytes, size * n);
        } while (got < 0 && errno == EINTR);
        if (got < 0) {
                transfer->upload_failure = errno;
                return CURL_READFUNC_ABORT;
        }
        return (size_t)got;
}

/* The verb and what is sent with it. */
static void set_method(struct transfer *transfer)
{
        const struct curl *curl = &transfer->client->curl;
        const struct http_call *call = transfer->call;
        CURL *easy = transfer->client->easy;

        if (call->upload >= 0) {
                curl->easy_setopt(easy, CURLOPT_UPLOAD, 1L);
                curl->easy_setopt(easy, CURLOPT_READFUNCTION, on_upload);
                curl->easy_setopt(easy, CURLOPT_READDATA, transfer);
        } else if (call->body) {
                curl->easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_len);
                curl->easy_setopt(easy, CURLOPT_POSTFIELDS, call->body);
        } else if (!strcmp(call->method, "HEAD")) {
                curl->easy_setopt(easy, CURLOPT_NOBODY, 1L);
                return;
        } else if (!strcmp(call->method, "POST") || !strcmp(call->method, "PUT")) {
                curl->easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)0);
                curl->easy_setopt(easy, CURLOPT_POSTFIELDS, "");
        }
        curl->easy_setopt(easy, CURLOPT_CUSTOMREQUEST, call->method);
}

static struct curl_slist *headers_of(const struct http_client *client, const struct http_call *call)
{
        struct curl_slist *list = NULL;
        bool type = false;

        for (size_t i = 0; call->headers && call->headers[i]; i++) {
                list = client->curl.slist_append(list, call->headers[i]);
                type |= strncasecmp(call->headers[i], "content-type:", 13) == 0;
        }
        /* curl would wait a second for "100 Continue", and call any body a form */
        list = client->curl.slist_append(list, "Expect:");
        if (!type)
                list = client->curl.slist_append(list, "Content-Type:");
        return list;
}

static int set_up(struct transfer *transfer, struct curl_slist *headers, struct error *err)
{
        const struct curl *curl = &transfer->client->curl;
        const struct http_call *call = transfer->call;
        CURL *easy = transfer->client->easy;

        curl->easy_reset(easy);
        transfer->client->text[0] = '\0';
        curl->easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->client->text);
        curl->easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        curl->easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
        curl->easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
        if (curl->easy_setopt(easy, CURLOPT_URL, call->url) != CURLE_OK ||
            curl->easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") != CURLE_OK)
                return error_set(err, ERROR_UNAVAILABLE, "libcurl is too old or out of memory");
        if (call->unix_socket) {
                curl->easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, call->unix_socket);
                curl->easy_setopt(easy, CURLOPT_NOPROXY, "*");
        }
        curl->easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
        curl->easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
        curl->easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
        curl->easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_head);
        curl->easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
        set_method(transfer);
        return 0;
}

/* How long to wait for; 0 when one of the two limits has passed, which *err tells. */
static int time_left(const struct transfer *transfer, struct error *err)
{
        const struct http_call *call = transfer->call;
        int64_t now = clock_ms();
        int64_t left = WAIT_MS_MAX;

        if (call->timeout_ms > 0) {
                int64_t whole = transfer->began + call->timeout_ms - now;

                if (whole <= 0) {
                        error_set(err, ERROR_UNAVAILABLE, "no complete answer within %lld ms",
                                  (long long)call->timeout_ms);
                        return 0;
                }
                left = whole < left ? whole : left;
        }
        if (call->idle_ms > 0) {
                int64_t idle = transfer->moved + call->idle_ms - now;

                if (idle <= 0) {
                        error_set(err, ERROR_UNAVAILABLE, "nothing came for %lld ms",
                                  (long long)call->idle_ms);
                        return 0;
                }
                left = idle < left ? idle : left;
        }
        return (int)left;
}

/* Wait for curl's sockets, the upload and the cancel_fd. */
static int wait_for_more(struct transfer *transfer, struct error *err)
{
        const struct curl *curl = &transfer->client->curl;
        const struct http_call *call = transfer->call;
        struct curl_waitfd extra[2];
        unsigned n = 0;
        int left = time_left(transfer, err);
        CURLMcode code;

        if (left <= 0)
                return -ERROR_UNAVAILABLE;
        if (call->cancel_fd >= 0)
                extra[n++] =
                        (struct curl_waitfd){.fd = call->cancel_fd, .events = CURL_WAIT_POLLIN};
        if (transfer->upload_waits)
                extra[n++] = (struct curl_waitfd){.fd = call->upload, .events = CURL_WAIT_POLLIN};
        code = curl->multi_poll(transfer->client->multi, extra, n, left, NULL);
        if (code != CURLM_OK)
                return error_set(err, ERROR_UNAVAILABLE, "wait for an answer: %s",
                                 curl->multi_strerror(code));
        if (call->cancel_fd >= 0) {
                struct pollfd cancel = {.fd = call->cancel_fd, .events = POLLIN};

                if (poll(&cancel, 1, 0) > 0)
                        return error_set(err, ERROR_CANCELLED, "cancelled");
        }
        if (transfer->upload_waits) {
                struct pollfd upload = {.fd = call->upload, .events = POLLIN};

                if (poll(&upload, 1, 0) != 0) {
                        transfer->upload_waits = false;
                        curl->easy_pause(transfer->client->easy, CURLPAUSE_CONT);
                }
        }
        return 0;
}

static int outcome(struct transfer *transfer, CURLcode code, struct error *err)
{
        struct http_client *client = transfer->client;
        long number = 0;

        if (transfer->caller_stops)
                return error_set(err, ERROR_CANCELLED, "cancelled");
        if (transfer->too_much)
                return error_set(err, ERROR_LIMIT, "the answer has more than %zu bytes",
                                 transfer->call->answer_max);
        if (transfer->upload_failure) {
                errno = transfer->upload_failure;
                return error_set_errno(err, "read what is to be sent");
        }
        if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL)
                return error_set(err, ERROR_INVALID, "'%s' is not an http or https address",
                                 transfer->call->url);
        if (code == CURLE_COULDNT_CONNECT && transfer->call->unix_socket)
                client->curl.easy_getinfo(client->easy, CURLINFO_OS_ERRNO, &number);
        if (number) /* curl would speak of a port */
                return error_set(err, ERROR_UNAVAILABLE, "connect: %s", strerror((int)number));
        if (code != CURLE_OK)
                return error_set(err, ERROR_UNAVAILABLE, "%s",
                                 client->text[0] ? client->text : client->curl.easy_strerror(code));
        transfer->answer->status = status_of(transfer);
        return 0;
}

static int run(struct transfer *transfer, struct error *err)
{
        const struct curl *curl = &transfer->client->curl;
        CURLM *multi = transfer->client->multi;

        for (;;) {
                int running = 0;
                CURLMcode code = curl->multi_perform(multi, &running);
                CURLMsg *message;
                int left;

                if (code != CURLM_OK)
                        return error_set(err, ERROR_UNAVAILABLE, "%s", curl->multi_strerror(code));
                while ((message = curl->multi_info_read(multi, &left)))
                        if (message->msg == CURLMSG_DONE)
                                return outcome(transfer, message->data.result, err);
                if (wait_for_more(transfer, err) < 0)
                        return err ? -err->kind : -ERROR_UNAVAILABLE;
        }
}

int http_call(struct http_client *client, struct http_answer *ret, const struct http_call *call,
              struct error *err)
{
        struct error own = {0};
        struct transfer transfer = {
                .client = client,
                .call = call,
                .answer = ret,
                .began = clock_ms(),
        };
        struct curl_slist *headers = headers_of(client, call);
        int result;

        transfer.moved = transfer.began;
        ret->status = 0;
        str_clear(&ret->body);
        result = set_up(&transfer, headers, &own);
        if (result == 0) {
                client->curl.multi_add_handle(client->multi, client->easy);
                result = run(&transfer, &own);
                client->curl.multi_remove_handle(client->multi, client->easy);
        }
        client->curl.slist_free_all(headers);
        if (result < 0)
                return error_set(err, own.kind, "%s %s%s%s: %s", call->method, call->url,
                                 call->unix_socket ? " at " : "",
                                 call->unix_socket ? call->unix_socket : "", own.text);
        return 0;
}
