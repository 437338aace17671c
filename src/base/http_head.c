/*
 * The head of a request: is it one request and no other, which route takes it, may it.
 *
 * libmicrohttpd 0.9.75 is lenient: it takes bare LF, folded lines, a space before the colon, and
 * cuts a value at its first NUL without a word. A handler would then see another head than a proxy
 * in front did. So the head is judged a second time, where libmicrohttpd parsed it: it parses in
 * place, from the method's first byte to the end of the head, and puts a NUL over the space after
 * the method and the target, over the colon after a name, and over CR and LF. Every other NUL was
 * sent by the client, every line end that is not CR LF leaves another pattern. Later versions parse
 * otherwise and are strict themselves; for them only what is visible through their interface is
 * checked.
 */
#include "base/http_internal.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/parse.h"

#include "base/banned.h"

#define TARGET_MAX 8192

static bool is_token_char(unsigned char c)
{
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(const char *text, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                if (!is_token_char((unsigned char)text[i]))
                        return false;
        }
        return n > 0;
}

static bool is_value(const char *text, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                unsigned char c = (unsigned char)text[i];

                if ((c < 0x20 && c != '\t') || c == 0x7f)
                        return false;
        }
        return true;
}

/* One line of the head as libmicrohttpd left it: name NUL value NUL NUL. */
static const char *check_line(const char *p, const char *end)
{
        size_t n = strnlen(p, (size_t)(end - p));

        if (!is_token(p, n) || p + n + 3 > end)
                return NULL;
        p += n + 1;
        n = strnlen(p, (size_t)(end - p));
        if (!is_value(p, n) || p + n + 2 > end || p[n + 1] != '\0')
                return NULL;
        return p + n + 2;
}

static bool check_bytes(const struct http_request *request, const char *url, const char *version)
{
        const union MHD_ConnectionInfo *info =
                MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
        const char *end = request->method + info->header_size;
        const char *p = version + strlen(version);

        if (url != request->method + strlen(request->method) + 1 ||
            version != url + request->target_len + 1 || p + 2 > end || p[1] != '\0')
                return false;
        p += 2;
        while (p && p + 2 < end)
                p = check_line(p, end);
        return p && p + 2 == end && p[0] == '\0' && p[1] == '\0';
}

struct seen {
        int lengths;
        int encodings;
        int hosts;
        bool malformed;
};

static enum MHD_Result see_header(void *data, enum MHD_ValueKind kind, const char *name, size_t n,
                                  const char *value, size_t m)
{
        struct seen *seen = data;

        if (!is_token(name, n) || (value && !is_value(value, m)))
                seen->malformed = true;
        if (strcasecmp(name, "Content-Length") == 0) {
                seen->lengths++;
                if (!value || m == 0 || strspn(value, "0123456789") != m)
                        seen->malformed = true;
        }
        if (strcasecmp(name, "Transfer-Encoding") == 0) {
                seen->encodings++;
                if (!value || strcasecmp(value, "chunked") != 0)
                        seen->malformed = true;
        }
        if (strcasecmp(name, "Host") == 0)
                seen->hosts++;
        return MHD_YES;
}

static bool refuse(struct http_request *request, int status, const char *why)
{
        request->reply.close = true;
        http_reply_problem(request, status, "%s", why);
        return false;
}

bool http_head_check(struct http_request *request, const char *url, const char *version)
{
        struct seen seen = {0};
        int n = MHD_get_connection_values_n(request->mhd, MHD_HEADER_KIND, see_header, &seen);

        if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
                return refuse(request, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
        if (!is_token(request->method, strlen(request->method)) ||
            (strcmp(MHD_get_version(), "0.9.75") == 0 && !check_bytes(request, url, version)))
                return refuse(request, 400,
                              "the head of the request is malformed: lines end with CR LF, a name "
                              "is followed by its colon at once, and there are no control "
                              "characters in it");
        if (seen.malformed)
                return refuse(request, 400, "a header of the request is malformed");
        if (seen.lengths > 1 || seen.encodings > 1 || (seen.lengths && seen.encodings))
                return refuse(request, 400,
                              "the length of the body is told twice: send one Content-Length or "
                              "one 'Transfer-Encoding: chunked'");
        if (seen.encodings && strcmp(version, "HTTP/1.0") == 0)
                return refuse(request, 400, "HTTP/1.0 knows no Transfer-Encoding");
        if (seen.hosts > 1)
                return refuse(request, 400, "more than one Host header");
        if (n > HTTP_HEADERS_MAX)
                return refuse(request, 431, "more than 100 headers");
        if (request->target[0] != '/')
                return refuse(request, 400, "the target of the request is not a path");
        if (request->target_len > TARGET_MAX)
                return refuse(request, 414, "the target is longer than 8192 bytes");
        return true;
}

static int hex_value(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

bool http_percent_decode(char *text, bool plus)
{
        char *to = text;

        for (const char *p = text; *p; p++) {
                int high;
                int low;

                if (*p != '%') {
                        *to++ = plus && *p == '+' ? ' ' : *p;
                        continue;
                }
                high = hex_value(p[1]);
                low = high < 0 ? -1 : hex_value(p[2]);
                if (low < 0 || (high == 0 && low == 0))
                        return false;
                *to++ = (char)(high << 4 | low);
                p += 2;
        }
        *to = '\0';
        return true;
}

/* "a=1&b" after the question mark; what is malformed is refused as a whole. */
static bool parse_query(struct http_request *request, char *text)
{
        char *rest = text;

        while (rest && *rest) {
                char *name = strsep(&rest, "&");
                char *value = strchr(name, '=');
                struct http_pair *pair = &request->query[request->n_query];

                if (!*name)
                        continue;
                if (request->n_query == HTTP_QUERY_MAX)
                        return false;
                if (value)
                        *value++ = '\0';
                else
                        value = name + strlen(name);
                if (!http_percent_decode(name, true) || !http_percent_decode(value, true))
                        return false;
                pair->name = name;
                pair->value = value;
                request->n_query++;
        }
        return true;
}

static void params_clear(struct http_request *request)
{
        while (request->n_params)
                free(request->params[--request->n_params]);
}

static bool param_add(struct http_request *request, const char *text, size_t n)
{
        char *copy = text_format("%.*s", (int)n, text);

        if (request->n_params == HTTP_PARAMS_MAX || !http_percent_decode(copy, false)) {
                free(copy);
                return false;
        }
        request->params[request->n_params++] = copy;
        return true;
}

/* Segment by segment; "{}" takes one that is not empty, a last "*" takes what is left. */
static bool match(struct http_request *request, const char *pattern)
{
        const char *path = request->path;

        for (;;) {
                size_t want = strcspn(pattern, "/");
                size_t have = strcspn(path, "/");

                if (want == 1 && pattern[0] == '*')
                        return param_add(request, path, strlen(path));
                if (want == 2 && memcmp(pattern, "{}", 2) == 0) {
                        if (have == 0 || !param_add(request, path, have))
                                return false;
                } else if (want != have || memcmp(pattern, path, want) != 0) {
                        return false;
                }
                pattern += want;
                path += have;
                if (!*pattern || !*path)
                        return !*pattern && !*path;
                pattern++;
                path++;
        }
}

static bool method_is(const struct http_request *request, const char *method)
{
        if (strcmp(request->method, method) == 0)
                return true;
        return strcmp(request->method, "HEAD") == 0 && strcmp(method, "GET") == 0;
}

static void find_route(struct http_request *request)
{
        struct http_server *server = request->server;
        scoped_str struct str allow = STR_INIT;

        for (size_t i = 0; i < server->n_routes; i++) {
                const struct http_route *route = &server->routes[i];

                params_clear(request);
                if (!match(request, route->path))
                        continue;
                if (method_is(request, route->method)) {
                        request->route = route;
                        return;
                }
                str_printf(&allow, "%s%s", allow.len ? ", " : "", route->method);
                if (strcmp(route->method, "GET") == 0)
                        str_add(&allow, ", HEAD");
        }
        params_clear(request);
        if (!allow.len) {
                http_reply_problem(request, 404, "there is nothing at %s", request->path);
                return;
        }
        http_reply_header(request, "Allow", allow.data);
        http_reply_problem(request, 405, "%s is not possible here; allowed: %s", request->method,
                           allow.data);
}

static bool token_is_right(const struct http_request *request)
{
        const char *sent = http_header(request, "Authorization");
        const char *token = request->server->token;

        if (!token || !sent || strncasecmp(sent, "Bearer ", 7) != 0)
                return false;
        sent += 7;
        return strlen(sent) == strlen(token) && CRYPTO_memcmp(sent, token, strlen(token)) == 0;
}

static void check_size(struct http_request *request)
{
        const char *length = http_header(request, "Content-Length");
        size_t most = request->route->body_max;
        int64_t n = 0;

        if (length && parse_int(&n, length, 0, INT64_MAX, NULL) < 0)
                n = INT64_MAX;
        if (n > 0 && (uint64_t)n > most)
                http_reply_problem(request, 413,
                                   "the body has %s bytes; at most %zu are taken here", length,
                                   most);
        else if (request->has_body && most == 0)
                http_reply_problem(request, 413, "no body is taken here");
}

void http_head_route(struct http_request *request)
{
        char *query;

        request->path = text_copy(request->target);
        query = strchr(request->path, '?');
        if (query)
                *query++ = '\0';
        if (query && !parse_query(request, query)) {
                http_reply_problem(request, 400,
                                   "the query is malformed: %%XX with two hex digits and not "
                                   "%%00, at most 32 members");
                return;
        }
        find_route(request);
        if (request->reply.status)
                return;
        if (!request->route->open && !token_is_right(request)) {
                http_reply_header(request, "WWW-Authenticate", "Bearer realm=\"argon\"");
                http_reply_problem(request, 401,
                                   "send 'Authorization: Bearer TOKEN' with the token of this "
                                   "server (DATA/token)");
                return;
        }
        check_size(request);
        if (!request->reply.status && request->route->on_begin)
                request->route->on_begin(request, request->route->data);
}
