/*
 * SMTP by libcurl. Its result code alone does not tell "later" from "never": the server's own code
 * does, and that is only fresh after results that come from an answer (weird reply, send error,
 * login denied). Whatever keeps us from talking to the server at all (no connection, no time, TLS
 * that cannot be trusted) is "later": the administrator may mend it, and the mail waits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/mailer/mailers.h"
#include "adapters/mailer/smtp_url.h"
#include "base/curl.h"
#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "ports/mailer.h"

#include "base/banned.h"

#define CONNECT_MS 15000
#define ANSWER_BYTES_MAX 500

struct smtp {
        struct mailer mailer;
        struct curl curl;
        struct smtp_url url;
        char *ca_file;
};

/* What libcurl's callbacks work on while one mail is sent. */
struct sending {
        const char *message;
        size_t n;
        size_t at;
        struct str answer; /* the server's last line, QUIT's aside */
};

static size_t give_bytes(char *buffer, size_t size, size_t count, void *data)
{
        struct sending *sending = data;
        size_t n = sending->n - sending->at;

        if (n > size * count)
                n = size * count;
        memcpy(buffer, sending->message + sending->at, n);
        sending->at += n;
        return n;
}

static size_t take_answer(char *line, size_t size, size_t count, void *data)
{
        struct sending *sending = data;
        size_t n = size * count;

        if (n >= 3 && memcmp(line, "221", 3) != 0) {
                str_clear(&sending->answer);
                for (size_t i = 0; i < n && i < ANSWER_BYTES_MAX; i++) {
                        if ((unsigned char)line[i] >= 0x20 && line[i] != 0x7f)
                                str_add_char(&sending->answer, line[i]);
                }
        }
        return size * count;
}

static size_t drop_body(char *bytes, size_t size, size_t count, void *data)
{
        return size * count;
}

static long ssl_level(const struct smtp_url *url)
{
        switch (url->tls) {
        case SMTP_TLS_REQUIRED:
                return CURLUSESSL_ALL;
        case SMTP_TLS_NEVER:
                return CURLUSESSL_NONE;
        default:
                return CURLUSESSL_TRY;
        }
}

static void set_server(struct smtp *smtp, CURL *easy)
{
        const struct smtp_url *url = &smtp->url;
        scoped_text char *address =
                url->port ? text_format("%s://%s:%d", url->implicit_tls ? "smtps" : "smtp",
                                        url->host.data, url->port)
                          : text_format("%s://%s", url->implicit_tls ? "smtps" : "smtp",
                                        url->host.data);

        smtp->curl.easy_setopt(easy, CURLOPT_URL, address);
        smtp->curl.easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
        smtp->curl.easy_setopt(easy, CURLOPT_PROXY, "");
        smtp->curl.easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
        smtp->curl.easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        smtp->curl.easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
        smtp->curl.easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
        smtp->curl.easy_setopt(easy, CURLOPT_USE_SSL, ssl_level(url));
        if (smtp->ca_file)
                smtp->curl.easy_setopt(easy, CURLOPT_CAINFO, smtp->ca_file);
        smtp->curl.easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                               (long)(url->timeout_ms < CONNECT_MS ? url->timeout_ms : CONNECT_MS));
        smtp->curl.easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)url->timeout_ms);
        if (url->user.len) {
                smtp->curl.easy_setopt(easy, CURLOPT_USERNAME, url->user.data);
                smtp->curl.easy_setopt(easy, CURLOPT_PASSWORD, url->password.data);
        }
}

static void set_mail(struct smtp *smtp, CURL *easy, const char *from, struct curl_slist *to,
                     struct sending *sending)
{
        smtp->curl.easy_setopt(easy, CURLOPT_MAIL_FROM, from);
        smtp->curl.easy_setopt(easy, CURLOPT_MAIL_RCPT, to);
        smtp->curl.easy_setopt(easy, CURLOPT_UPLOAD, 1L);
        smtp->curl.easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)sending->n);
        smtp->curl.easy_setopt(easy, CURLOPT_READFUNCTION, give_bytes);
        smtp->curl.easy_setopt(easy, CURLOPT_READDATA, sending);
        smtp->curl.easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_answer);
        smtp->curl.easy_setopt(easy, CURLOPT_HEADERDATA, sending);
        smtp->curl.easy_setopt(easy, CURLOPT_WRITEFUNCTION, drop_body);
}

static bool is_from_answer(CURLcode code)
{
        return code == CURLE_WEIRD_SERVER_REPLY || code == CURLE_SEND_ERROR ||
               code == CURLE_LOGIN_DENIED;
}

static int explain(struct smtp *smtp, CURLcode code, long response, const struct sending *sending,
                   struct error *err)
{
        const char *host = smtp->url.host.data;
        const char *words = sending->answer.data;

        if (is_from_answer(code) && response >= 400 && response < 500)
                return error_set(err, ERROR_UNAVAILABLE, "the mail server %s says: %s", host,
                                 words);
        if (code == CURLE_LOGIN_DENIED)
                return error_set(err, ERROR_DENIED,
                                 "the mail server %s refuses the login: %s; check user and "
                                 "password in ARGON_MAIL",
                                 host, text_or(words, "no way to log in that both sides know"));
        if (is_from_answer(code) && response == 530)
                return error_set(err, ERROR_DENIED,
                                 "the mail server %s says: %s; ARGON_MAIL may need a user and "
                                 "password, or tls=required",
                                 host, words);
        if (is_from_answer(code) && response >= 500)
                return error_set(err, ERROR_INVALID, "the mail server %s says: %s", host, words);
        if (code == CURLE_USE_SSL_FAILED)
                return error_set(err, ERROR_UNAVAILABLE,
                                 "the mail server %s offers no TLS, and it is required (it always "
                                 "is where a password is sent to another machine; ?tls=never "
                                 "allows it)",
                                 host);
        return error_set(err, ERROR_UNAVAILABLE, "the mail server %s cannot be used now: %s", host,
                         smtp->curl.easy_strerror(code));
}

static int perform(struct smtp *smtp, CURL *easy, struct sending *sending, char ret_detail[128],
                   struct error *err)
{
        CURLcode code = smtp->curl.easy_perform(easy);
        long response = 0;

        smtp->curl.easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &response);
        if (code != CURLE_OK)
                return explain(smtp, code, response, sending, err);
        snprintf(ret_detail, 128, "%s", sending->answer.data);
        return 0;
}

static int smtp_send(struct mailer *mailer, const char *from, const char *to, const char *message,
                     size_t n, char ret_detail[128], struct error *err)
{
        struct smtp *smtp = (struct smtp *)mailer;
        struct sending sending = {.message = message, .n = n, .answer = STR_INIT};
        CURL *easy = smtp->curl.easy_init();
        struct curl_slist *recipients = smtp->curl.slist_append(NULL, to);
        int result;

        if (!easy || !recipients)
                abort(); /* out of memory */
        set_server(smtp, easy);
        set_mail(smtp, easy, from, recipients, &sending);
        result = perform(smtp, easy, &sending, ret_detail, err);
        smtp->curl.easy_cleanup(easy);
        smtp->curl.slist_free_all(recipients);
        str_done(&sending.answer);
        return result;
}

static void smtp_close(struct mailer *mailer)
{
        struct smtp *smtp = (struct smtp *)mailer;

        smtp_url_done(&smtp->url);
        free(smtp->ca_file);
        free(smtp);
}

static const struct mailer_ops smtp_ops = {.send = smtp_send, .close = smtp_close};

int mailer_open_smtp(struct mailer **ret, const char *url, void *context, struct error *err)
{
        struct smtp *smtp = xcalloc(1, sizeof(*smtp));
        int result;

        smtp->mailer.ops = &smtp_ops;
        smtp->ca_file = text_copy(context);
        smtp_url_init(&smtp->url);
        result = smtp_url_parse(&smtp->url, url, err);
        if (result == 0)
                result = curl_load(&smtp->curl, err);
        if (result < 0) {
                smtp_close(&smtp->mailer);
                return result;
        }
        *ret = &smtp->mailer;
        return 0;
}
