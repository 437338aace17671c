#include "adapters/mailer/smtp_url.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/parse.h"
#include "base/scoped.h"

#include "base/banned.h"

#define TIMEOUT_MS 30000
#define TIMEOUT_MOST_MS 300000
#define USER_BYTES_MAX 1024

static const char shape[] = "write smtp://user:password@host:587, with signs like @ : / ? # % in "
                            "user and password as %40 %3A %2F %3F %23 %25";

void smtp_url_init(struct smtp_url *url)
{
        *url = (struct smtp_url){.timeout_ms = TIMEOUT_MS};
        str_init(&url->user);
        str_init(&url->password);
        str_init(&url->host);
}

void smtp_url_done(struct smtp_url *url)
{
        if (url->password.len)
                explicit_bzero(url->password.data, url->password.len);
        str_done(&url->user);
        str_done(&url->password);
        str_done(&url->host);
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

static int decode(struct str *ret, const char *text, size_t n, const char *what, struct error *err)
{
        for (size_t i = 0; i < n; i++) {
                char c = text[i];

                if (c == '%') {
                        int high = i + 2 < n ? hex_value(text[i + 1]) : -1;
                        int low = i + 2 < n ? hex_value(text[i + 2]) : -1;

                        if (high < 0 || low < 0)
                                return error_set(err, ERROR_INVALID,
                                                 "the %s in the mail URL has a %% that is not "
                                                 "followed by two hex digits; %s",
                                                 what, shape);
                        c = (char)(high << 4 | low);
                        i += 2;
                }
                if ((unsigned char)c < 0x20 || c == 0x7f)
                        return error_set(err, ERROR_INVALID,
                                         "the %s in the mail URL has a control character", what);
                str_add_char(ret, c);
        }
        if (ret->len > USER_BYTES_MAX)
                return error_set(err, ERROR_LIMIT, "the %s in the mail URL is over %d bytes", what,
                                 USER_BYTES_MAX);
        return 0;
}

static int parse_login(struct smtp_url *ret, const char *text, size_t n, struct error *err)
{
        const char *colon = memchr(text, ':', n);
        size_t n_user = colon ? (size_t)(colon - text) : n;

        if (decode(&ret->user, text, n_user, "user", err) < 0)
                return -ERROR_INVALID;
        if (!ret->user.len)
                return error_set(err, ERROR_INVALID, "the mail URL has no user before the @; %s",
                                 shape);
        if (!colon)
                return 0;
        return decode(&ret->password, colon + 1, n - n_user - 1, "password", err);
}

static bool host_valid(const struct str *host)
{
        if (host->len > 2 && host->data[0] == '[')
                return strspn(host->data + 1, "0123456789abcdefABCDEF:.") == host->len - 2 &&
                       host->data[host->len - 1] == ']';
        for (size_t i = 0; i < host->len; i++) {
                unsigned char c = (unsigned char)host->data[i];

                if (c >= 0x80 || !(isalnum(c) || c == '.' || c == '-' || c == '_'))
                        return false;
        }
        return host->len > 0 && host->len < 254 && host->data[0] != '-';
}

static int parse_host(struct smtp_url *ret, const char *text, size_t n, struct error *err)
{
        const char *bracket = text[0] == '[' ? memchr(text, ']', n) : NULL;
        const char *colon =
                memchr(bracket ? bracket : text, ':', n - (bracket ? (size_t)(bracket - text) : 0));
        scoped_text char *port = NULL;
        int64_t number = 0;

        str_add_bytes(&ret->host, text, colon ? (size_t)(colon - text) : n);
        if (!host_valid(&ret->host))
                return error_set(err, ERROR_INVALID, "the mail URL has no usable host; %s", shape);
        if (!colon)
                return 0;
        port = text_format("%.*s", (int)(text + n - colon - 1), colon + 1);
        if (parse_int(&number, port, 1, 65535, NULL) < 0)
                return error_set(err, ERROR_INVALID,
                                 "the port in the mail URL is not a number from 1 to 65535; %s",
                                 shape);
        ret->port = (int)number;
        return 0;
}

static int parse_option(struct smtp_url *ret, const char *option, bool *ret_tls_given,
                        struct error *err)
{
        static const char *const words[] = {"offered", "required", "never"};

        if (text_starts(option, "timeout=")) {
                if (parse_duration(&ret->timeout_ms, option + 8, NULL) == 0 &&
                    ret->timeout_ms >= 1000 && ret->timeout_ms <= TIMEOUT_MOST_MS)
                        return 0;
                return error_set(err, ERROR_INVALID,
                                 "timeout in the mail URL must be from 1s to 5m");
        }
        for (int i = 0; text_starts(option, "tls=") && i < 3; i++) {
                if (strcmp(option + 4, words[i]) == 0) {
                        ret->tls = (enum smtp_tls)i;
                        *ret_tls_given = true;
                        return 0;
                }
        }
        return error_set(err, ERROR_INVALID,
                         "an option in the mail URL is not known; there are tls=offered, "
                         "tls=required, tls=never and timeout=30s");
}

static int parse_options(struct smtp_url *ret, const char *text, bool *ret_tls_given,
                         struct error *err)
{
        scoped_text char *copy = text_copy(text);
        char *save = NULL;

        for (char *option = strtok_r(copy, "&", &save); option;
             option = strtok_r(NULL, "&", &save)) {
                if (parse_option(ret, option, ret_tls_given, err) < 0)
                        return -ERROR_INVALID;
        }
        return 0;
}

static bool is_this_machine(const struct str *host)
{
        return strcasecmp(host->data, "localhost") == 0 || text_starts(host->data, "127.") ||
               strcmp(host->data, "[::1]") == 0;
}

int smtp_url_parse(struct smtp_url *ret, const char *text, struct error *err)
{
        bool tls_given = false;
        const char *at;
        const char *host;
        size_t n;

        ret->implicit_tls = text_starts(text, "smtps://");
        if (!ret->implicit_tls && !text_starts(text, "smtp://"))
                return error_set(err, ERROR_INVALID,
                                 "the mail URL does not start with smtp:// or "
                                 "smtps://");
        host = strstr(text, "://") + 3;
        n = strcspn(host, "?");
        if (host[n] && parse_options(ret, host + n + 1, &tls_given, err) < 0)
                return -ERROR_INVALID;
        if (n && host[n - 1] == '/')
                n--;
        if (memchr(host, '/', n) || memchr(host, '#', n))
                return error_set(err, ERROR_INVALID, "the mail URL has a path; %s", shape);
        at = memrchr(host, '@', n);
        if (at && parse_login(ret, host, (size_t)(at - host), err) < 0)
                return err ? -err->kind : -ERROR_INVALID;
        if (at) {
                n -= (size_t)(at + 1 - host);
                host = at + 1;
        }
        if (parse_host(ret, host, n, err) < 0)
                return -ERROR_INVALID;
        if (!tls_given && ret->user.len && !is_this_machine(&ret->host))
                ret->tls = SMTP_TLS_REQUIRED;
        return 0;
}
