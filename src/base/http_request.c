/*
 * What a handler sees of a request, and the reply it makes.
 *
 * A reply is kept with the request until the server hands it to libmicrohttpd: libmicrohttpd closes
 * the connection when a reply comes before the request was read to its end, so for requests without
 * a body even an early refusal waits for that moment.
 */
#include "base/http_internal.h"

#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/parse.h"

#include "base/banned.h"

/* A piece of a stream; a client that takes more than HTTP_FREE_MS for one is cut off. */
#define STREAM_BLOCK (16 * 1024)
#define RETRY_AFTER_S "5"

static void name_peer(struct http_request *request)
{
        const struct sockaddr *address =
                MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS)
                        ->client_addr;
        socklen_t size = sizeof(struct sockaddr_in);

        if (address && address->sa_family == AF_INET6)
                size = sizeof(struct sockaddr_in6);
        if (address && (address->sa_family == AF_INET || address->sa_family == AF_INET6))
                getnameinfo(address, size, request->peer, sizeof(request->peer), NULL, 0,
                            NI_NUMERICHOST);
}

struct http_request *http_request_new(struct http_server *server, struct MHD_Connection *mhd,
                                      const char *target)
{
        struct http_request *request = xcalloc(1, sizeof(*request));

        request->server = server;
        request->mhd = mhd;
        request->target = text_copy(target ? target : "");
        request->target_len = strlen(request->target);
        request->connection =
                MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
        str_init(&request->body);
        str_init(&request->reply.body);
        request->parked.mhd = mhd;
        name_peer(request);
        return request;
}

static void stream_free(void *data)
{
        struct http_stream *stream = data;

        if (!stream)
                return;
        if (stream->free_fn)
                stream->free_fn(stream->data);
        free(stream);
}

void http_request_free(struct http_request *request)
{
        if (request->context_free)
                request->context_free(request->context);
        for (size_t i = 0; i < request->n_params; i++)
                free(request->params[i]);
        for (size_t i = 0; i < request->reply.n_headers; i++) {
                free(request->reply.headers[i].name);
                free(request->reply.headers[i].value);
        }
        stream_free(request->reply.stream);
        free(request->reply.content_type);
        str_done(&request->reply.body);
        str_done(&request->body);
        free(request->parked.key);
        free(request->path);
        free(request->target);
        free(request);
}

const char *http_method(const struct http_request *request)
{
        return request->method;
}

const char *http_path(const struct http_request *request)
{
        return request->path;
}

const char *http_param(const struct http_request *request, size_t i)
{
        return i < request->n_params ? request->params[i] : NULL;
}

const char *http_query(const struct http_request *request, const char *name)
{
        for (size_t i = 0; i < request->n_query; i++) {
                if (strcmp(request->query[i].name, name) == 0)
                        return request->query[i].value;
        }
        return NULL;
}

const char *http_header(const struct http_request *request, const char *name)
{
        return MHD_lookup_connection_value(request->mhd, MHD_HEADER_KIND, name);
}

struct counting {
        const char *name;
        int count;
};

static enum MHD_Result count_header(void *data, enum MHD_ValueKind kind, const char *name,
                                    const char *value)
{
        struct counting *counting = data;

        counting->count += strcasecmp(name, counting->name) == 0;
        return MHD_YES;
}

int http_header_count(const struct http_request *request, const char *name)
{
        struct counting counting = {name, 0};

        MHD_get_connection_values(request->mhd, MHD_HEADER_KIND, count_header, &counting);
        return counting.count;
}

const char *http_body(const struct http_request *request, size_t *ret_n)
{
        *ret_n = request->body.len;
        return request->body.data;
}

const char *http_peer(const struct http_request *request)
{
        return request->peer;
}

void *http_context(const struct http_request *request)
{
        return request->context;
}

void http_set_context(struct http_request *request, void *context, void (*free_fn)(void *))
{
        if (request->context_free)
                request->context_free(request->context);
        request->context = context;
        request->context_free = free_fn;
}

void http_reply(struct http_request *request, int status, const char *content_type,
                const void *body, size_t n)
{
        if (request->reply.status)
                return;
        request->reply.status = status;
        request->reply.content_type = text_copy(content_type);
        str_add_bytes(&request->reply.body, body, n);
}

void http_reply_json(struct http_request *request, int status, const char *json_text)
{
        http_reply(request, status, "application/json", json_text, strlen(json_text));
}

void http_reply_problem(struct http_request *request, int status, const char *format, ...)
{
        scoped_str struct str detail = STR_INIT;
        scoped_str struct str text = STR_INIT;
        scoped(json) json_t *problem = json_object();
        va_list args;

        va_start(args, format);
        str_vprintf(&detail, format, args);
        va_end(args);
        json_set_text(problem, "type", "about:blank");
        json_set_text(problem, "title", MHD_get_reason_phrase_for((unsigned)status));
        json_set_int(problem, "status", status);
        json_set_text(problem, "detail", detail.data);
        str_add_json(&text, problem);
        http_reply(request, status, "application/problem+json", text.data, text.len);
}

static int status_of_kind(int kind)
{
        switch (kind) {
        case ERROR_INVALID:
                return 400;
        case ERROR_NOT_FOUND:
                return 404;
        case ERROR_DENIED:
                return 403;
        case ERROR_LIMIT:
                return 413;
        case ERROR_UNAVAILABLE:
        case ERROR_CANCELLED:
                return 503;
        case ERROR_CONFLICT:
                return 409;
        default:
                return 500;
        }
}

void http_reply_error(struct http_request *request, const struct error *err)
{
        int status = status_of_kind(err->kind);

        if (request->reply.status)
                return;
        if (status == 503)
                http_reply_header(request, "Retry-After", RETRY_AFTER_S);
        http_reply_problem(request, status, "%s", err->text);
}

/* A line break in a value would start another header. */
static char *header_value(const char *value)
{
        char *copy = text_copy(value);

        for (char *p = copy; *p; p++) {
                if ((unsigned char)*p < 0x20 || *p == 0x7f)
                        *p = ' ';
        }
        return copy;
}

void http_reply_header(struct http_request *request, const char *name, const char *value)
{
        struct http_reply *reply = &request->reply;

        if (reply->n_headers == HTTP_REPLY_HEADERS_MAX)
                return;
        reply->headers[reply->n_headers].name = text_copy(name);
        reply->headers[reply->n_headers].value = header_value(value);
        reply->n_headers++;
}

/*
 * "bytes=A-B", "bytes=A-" or "bytes=-N". Return: 1 a range, 0 none that is to be obeyed (several
 * ranges, other units, malformed: the whole is sent), -1 beyond the end.
 */
static int parse_range(const char *text, int64_t size, int64_t *ret_first, int64_t *ret_last)
{
        scoped_text char *spec = NULL;
        char *dash;
        int64_t first = -1;
        int64_t last = INT64_MAX;

        if (!text || strncmp(text, "bytes=", 6) != 0 || strchr(text, ','))
                return 0;
        spec = text_copy(text + 6);
        dash = strchr(spec, '-');
        if (!dash)
                return 0;
        *dash++ = '\0';
        if (*spec && parse_int(&first, spec, 0, INT64_MAX, NULL) < 0)
                return 0;
        if (*dash && parse_int(&last, dash, 0, INT64_MAX, NULL) < 0)
                return 0;
        if ((!*spec && !*dash) || (*spec && last < first))
                return 0;
        if (!*spec) {
                first = last < size ? size - last : 0;
                if (last == 0)
                        return -1;
                last = size - 1;
        }
        if (first >= size)
                return -1;
        *ret_first = first;
        *ret_last = last < size ? last : size - 1;
        return 1;
}

/* Takes the range out of the stream; a range that cannot be is answered 416. */
static bool apply_range(struct http_request *request, struct http_stream *stream, int *status)
{
        scoped_text char *text = NULL;
        int64_t first;
        int64_t last;
        int found = parse_range(http_header(request, "Range"), stream->size, &first, &last);

        http_reply_header(request, "Accept-Ranges", "bytes");
        if (found == 0)
                return true;
        if (found < 0) {
                text = text_format("bytes */%lld", (long long)stream->size);
                http_reply_header(request, "Content-Range", text);
                http_reply_problem(request, 416, "the range lies beyond the %lld bytes there are",
                                   (long long)stream->size);
                return false;
        }
        text = text_format("bytes %lld-%lld/%lld", (long long)first, (long long)last,
                           (long long)stream->size);
        http_reply_header(request, "Content-Range", text);
        stream->first = first;
        stream->size = last - first + 1;
        *status = 206;
        return true;
}

void http_reply_stream(struct http_request *request, int status, const char *content_type,
                       int64_t size,
                       ssize_t (*read_fn)(void *data, int64_t offset, char *bytes, size_t n),
                       void *data, void (*free_fn)(void *data))
{
        struct http_stream *stream = xcalloc(1, sizeof(*stream));

        *stream = (struct http_stream){
                .server = request->server,
                .connection = request->connection,
                .size = size,
                .read_fn = read_fn,
                .data = data,
                .free_fn = free_fn,
        };
        if (request->reply.status ||
            (status == 200 && size >= 0 && !apply_range(request, stream, &status))) {
                stream_free(stream);
                return;
        }
        request->reply.status = status;
        request->reply.content_type = text_copy(content_type);
        request->reply.stream = stream;
}

static ssize_t stream_read(void *data, uint64_t position, char *bytes, size_t n)
{
        struct http_stream *stream = data;
        ssize_t got;

        if (stream->size >= 0 && n > (uint64_t)stream->size - position)
                n = (size_t)((uint64_t)stream->size - position);
        got = stream->read_fn(stream->data, stream->first + (int64_t)position, bytes, n);
        if (got > 0) {
                http_deadline(stream->server, stream->connection, clock_ms() + HTTP_FREE_MS);
                return got;
        }
        if (got == 0 && stream->size < 0)
                return MHD_CONTENT_READER_END_OF_STREAM;
        return MHD_CONTENT_READER_END_WITH_ERROR;
}

static struct MHD_Response *make_response(struct http_reply *reply)
{
        struct http_stream *stream = take(reply->stream);

        if (stream && stream->size == 0) {
                stream_free(stream);
                stream = NULL;
        }
        if (stream)
                return MHD_create_response_from_callback(
                        stream->size < 0 ? MHD_SIZE_UNKNOWN : (uint64_t)stream->size, STREAM_BLOCK,
                        stream_read, stream, stream_free);
        return MHD_create_response_from_buffer(reply->body.len, reply->body.data,
                                               MHD_RESPMEM_MUST_COPY);
}

enum MHD_Result http_reply_queue(struct http_request *request)
{
        struct http_reply *reply = &request->reply;
        size_t n = reply->body.len;
        struct MHD_Response *response = make_response(reply);
        enum MHD_Result result;

        if (!response)
                return MHD_NO;
        if (reply->content_type)
                MHD_add_response_header(response, "Content-Type", reply->content_type);
        for (size_t i = 0; i < reply->n_headers; i++)
                MHD_add_response_header(response, reply->headers[i].name, reply->headers[i].value);
        MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
        if (reply->close)
                MHD_add_response_header(response, "Connection", "close");
        http_deadline(request->server, request->connection,
                      clock_ms() + http_rate_ms(request->server, n));
        result = MHD_queue_response(request->mhd, (unsigned)reply->status, response);
        MHD_destroy_response(response);
        return result;
}

void http_reply_raw(struct http_request *request)
{
        struct http_reply *reply = &request->reply;
        scoped_str struct str text = STR_INIT;

        str_printf(&text, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n",
                   reply->status, MHD_get_reason_phrase_for((unsigned)reply->status),
                   text_or(reply->content_type, "application/octet-stream"), reply->body.len);
        for (size_t i = 0; i < reply->n_headers; i++)
                str_printf(&text, "%s: %s\r\n", reply->headers[i].name, reply->headers[i].value);
        str_add(&text, "Connection: close\r\n\r\n");
        str_add_bytes(&text, reply->body.data, reply->body.len);
        /* Best effort: a socket buffer that is full means a client that does not read. */
        send(request->connection->fd, text.data, text.len, MSG_DONTWAIT | MSG_NOSIGNAL);
}
