#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/parse.h"
#include "base/scoped.h"
#include "base/str.h"
#include "pipeline/dashboard/parts.h"

#include "base/banned.h"

#define BASIC_BYTES_MAX 1024
#define TOKEN_BYTES_MAX 512

bool query_int(struct http_request *request, const char *name, int64_t min, int64_t max,
               int64_t fallback, int64_t *ret)
{
        const char *text = http_query(request, name);
        struct error err = {0};

        *ret = fallback;
        if (!text || parse_int(ret, text, min, max, &err) == 0)
                return true;
        http_reply_problem(request, 400, "%s: %s", name, err.text);
        return false;
}

bool query_duration(struct http_request *request, const char *name, int64_t max, int64_t *ret)
{
        const char *text = http_query(request, name);
        struct error err = {0};

        *ret = 0;
        if (!text)
                return true;
        if (parse_duration(ret, text, &err) < 0) {
                http_reply_problem(request, 400, "%s: %s", name, err.text);
                return false;
        }
        if (*ret > max)
                *ret = max;
        return true;
}

bool query_time(struct http_request *request, const char *name, int64_t *ret_wall_ms)
{
        const char *text = http_query(request, name);
        scoped(json) json_t *holder = json_object();
        int64_t ago;

        *ret_wall_ms = 0;
        if (!text || !*text)
                return true;
        if (parse_duration(&ago, text, NULL) == 0) {
                *ret_wall_ms = wall_ms() - ago;
                return true;
        }
        json_set_text(holder, "time", text);
        *ret_wall_ms = json_time_or_zero(holder, "time");
        if (*ret_wall_ms > 0)
                return true;
        http_reply_problem(request, 400,
                           "%s: neither a time like 2026-09-12T10:15:02Z nor a duration like 30m",
                           name);
        return false;
}

bool query_body(struct http_request *request, json_t **ret)
{
        size_t n = 0;
        const char *body = http_body(request, &n);
        scoped(json) json_t *json = NULL;
        struct error err = {0};

        if (!body || n == 0) {
                *ret = json_object();
                return true;
        }
        if (json_parse(&json, body, n, DASHBOARD_BODY_MAX, &err) < 0) {
                http_reply_problem(request, 400, "the body is %s", err.text);
                return false;
        }
        if (!json_is_object(json)) {
                http_reply_problem(request, 400, "the body is not a JSON object");
                return false;
        }
        *ret = take(json);
        return true;
}

void reply_json(struct http_request *request, int status, json_t *json)
{
        scoped_str struct str text = STR_INIT;

        str_add_json(&text, json);
        http_reply_json(request, status, text.data);
        json_decref(json);
}

static bool same_token(const char *token, const char *given, size_t n)
{
        size_t length = strlen(token);
        char padded[TOKEN_BYTES_MAX] = {0};

        /* a length tells nothing about the token; its bytes are compared in constant time */
        if (length == 0 || length > sizeof(padded) || n != length)
                return false;
        memcpy(padded, given, n);
        return CRYPTO_memcmp(padded, token, length) == 0;
}

/* "Basic BASE64(user:TOKEN)" */
static bool basic_allowed(const char *token, const char *encoded)
{
        unsigned char decoded[BASIC_BYTES_MAX + 4];
        size_t length = strlen(encoded);
        const char *colon;
        int n;

        if (length == 0 || length > BASIC_BYTES_MAX || length % 4)
                return false;
        n = EVP_DecodeBlock(decoded, (const unsigned char *)encoded, (int)length);
        if (n < 0)
                return false;
        /* EVP_DecodeBlock counts padding as zero bytes */
        for (size_t i = length; i > 0 && encoded[i - 1] == '=' && n > 0; i--)
                n--;
        colon = memchr(decoded, ':', (size_t)n);
        if (!colon)
                return false;
        return same_token(token, colon + 1,
                          (size_t)n - (size_t)(colon + 1 - (const char *)decoded));
}

bool page_allowed(const struct dashboard *dashboard, struct http_request *request)
{
        const char *header = http_header(request, "Authorization");
        const char *token = text_or(dashboard->options.token, "");

        if (header && text_starts(header, "Bearer ") &&
            same_token(token, header + strlen("Bearer "), strlen(header) - strlen("Bearer ")))
                return true;
        if (header && text_starts(header, "Basic ") &&
            basic_allowed(token, header + strlen("Basic ")))
                return true;
        http_reply_header(request, "WWW-Authenticate",
                          "Basic realm=\"argon: the token is the password\", charset=\"UTF-8\"");
        http_reply_problem(request, 401,
                           "this page needs the token (DATA/token): as the password, with any user "
                           "name");
        return false;
}

/* How many bytes at the start of the text are one well-formed sequence; 0: none. */
static size_t sequence(const char *bytes, size_t n)
{
        for (size_t length = 1; length <= 4 && length <= n; length++) {
                if (utf8_valid(bytes, length))
                        return length;
        }
        return 0;
}

void add_utf8(struct str *str, const char *bytes, size_t n)
{
        if (utf8_valid(bytes, n) && !memchr(bytes, '\0', n)) {
                str_add_bytes(str, bytes, n);
                return;
        }
        while (n > 0) {
                size_t length = *bytes ? sequence(bytes, n) : 0;

                if (length)
                        str_add_bytes(str, bytes, length);
                else
                        str_add(str, "\xef\xbf\xbd");
                length = length ? length : 1;
                bytes += length;
                n -= length;
        }
}
