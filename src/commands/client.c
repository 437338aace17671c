#include "commands/client.h"

#include <ctype.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/http_client.h"
#include "base/scoped.h"
#include "commands/command.h"
#include "commands/data_folder.h"
#include "commands/settings.h"

#include "base/banned.h"

#define ANSWER_BYTES_MAX (64 << 20)
#define CALL_MS 90000         /* above the longest long poll */
#define STREAM_IDLE_MS 600000 /* a backup begins when its copy is made */
#define SHORT_MS 10000
#define REPEAT_MS 500

struct client {
        struct http_client *http;
        char *url;
        char *authorization; /* header line, or NULL */
        bool local;          /* found by DATA/listen */
        int cancel_fd;
        int64_t patience_ms;
};

void str_add_encoded(struct str *str, const char *text)
{
        for (; *text; text++) {
                unsigned char c = (unsigned char)*text;

                if (isalnum(c) || strchr("-._~", c))
                        str_add_char(str, (char)c);
                else
                        str_printf(str, "%%%02X", c);
        }
}

/* The first address of DATA/listen as a URL; one for all addresses means this machine. */
static int find_local(const struct settings *settings, char **ret, struct error *err)
{
        scoped_text char *text = NULL;
        const char *port;
        struct error why = {0};
        size_t n;

        if (data_folder_read(settings->data, "listen", &text, &why) < 0)
                return error_set(err, ERROR_UNAVAILABLE,
                                 "no server is known: '%s/listen' cannot be read; start one with "
                                 "'argon up', or name one with --server",
                                 settings->data);
        n = strcspn(text, "\n");
        text[n] = '\0';
        port = strrchr(text, ':');
        if (text_starts(text, "0.0.0.0:"))
                *ret = text_format("http://127.0.0.1%s", port);
        else if (text_starts(text, "[::]:"))
                *ret = text_format("http://[::1]%s", port);
        else
                *ret = text_format("http://%s", text);
        return 0;
}

static int find_server(struct client *client, const struct settings *settings, struct error *err)
{
        scoped_text char *local = NULL;
        scoped_text char *token = NULL;
        size_t n;

        find_local(settings, &local, NULL);
        if (*text_or(settings->server, ""))
                client->url = text_copy(settings->server);
        else if (find_local(settings, &client->url, err) < 0)
                return -ERROR_UNAVAILABLE;
        for (n = strlen(client->url); n > 0 && client->url[n - 1] == '/'; n--)
                client->url[n - 1] = '\0';
        client->local = local && strcmp(local, client->url) == 0;
        if (*text_or(settings->token, ""))
                token = text_copy(settings->token);
        else if (client->local)
                data_folder_read(settings->data, "token", &token, NULL);
        if (token && strpbrk(token, "\r\n"))
                return error_set(err, ERROR_INVALID, "the token has more than one line");
        if (token)
                client->authorization = text_format("Authorization: Bearer %s", token);
        return 0;
}

int client_open(struct client **ret, struct invocation *invocation, struct error *err)
{
        scoped(client) struct client *client = xcalloc(1, sizeof(*client));
        struct settings *settings;

        client->cancel_fd = -1;
        if (invocation_settings(invocation, true, &settings, err) < 0)
                return err ? -err->kind : -ERROR_INVALID;
        if (find_server(client, settings, err) < 0 || http_client_new(&client->http, err) < 0)
                return err ? -err->kind : -ERROR_UNAVAILABLE;
        *ret = take(client);
        return 0;
}

void client_close(struct client *client)
{
        if (client->http)
                http_client_free(client->http);
        free(client->url);
        free(client->authorization);
        free(client);
}

const char *client_url(const struct client *client)
{
        return client->url;
}

void client_cancel_by(struct client *client, int fd)
{
        client->cancel_fd = fd;
}

void client_patience(struct client *client, int64_t ms)
{
        client->patience_ms = ms;
}

static int kind_of_status(int status)
{
        switch (status) {
        case 401:
        case 403:
                return ERROR_DENIED;
        case 404:
                return ERROR_NOT_FOUND;
        case 409:
                return ERROR_CONFLICT;
        case 413:
                return ERROR_LIMIT;
        default:
                return status >= 500 ? ERROR_UNAVAILABLE : ERROR_INVALID;
        }
}

/* The problem that the server told, in one sentence. */
static int tell_problem(const struct client *client, int status, const struct str *body,
                        struct error *err)
{
        scoped(json) json_t *json = NULL;
        const char *detail = NULL;

        if (json_parse(&json, body->data, body->len, ANSWER_BYTES_MAX, NULL) == 0)
                detail = json_text_or(json, "detail", json_text_or(json, "title", NULL));
        if (status == 401 && !client->authorization)
                return error_set(err, ERROR_DENIED,
                                 "%s needs a token: set ARGON_TOKEN, or 'token = …' in "
                                 "~/.config/argon/config",
                                 client->url);
        if (status == 401)
                return error_set(err, ERROR_DENIED, "%s refuses the token", client->url);
        if (detail)
                return error_set(err, kind_of_status(status), "%.900s", detail);
        return error_set(err, kind_of_status(status), "%s answers %d", client->url, status);
}

static int call_once(struct client *client, struct http_answer *answer, struct http_call *call,
                     const char *path, struct error *err)
{
        const char *headers[] = {"Accept: application/json", "Content-Type: application/json",
                                 client->authorization, NULL};
        scoped_text char *url = text_format("%s%s", client->url, path);
        struct error why = {0};
        int result;

        call->url = url;
        call->headers = headers;
        call->answer_max = ANSWER_BYTES_MAX;
        call->cancel_fd = client->cancel_fd;
        result = http_call(client->http, answer, call, &why);
        if (result == -ERROR_UNAVAILABLE)
                return error_set(err, ERROR_UNAVAILABLE, "no server answers at %s (%.700s)%s",
                                 client->url, why.text,
                                 client->local ? "; start it with 'argon up'" : "");
        if (result < 0)
                return error_set(err, why.kind, "%s", why.text);
        if (answer->status < 200 || answer->status > 299)
                return tell_problem(client, answer->status, &answer->body, err);
        return 0;
}

/* The same, again and again while no server answers, for as long as the caller has patience. */
static int call(struct client *client, struct http_answer *answer, struct http_call *request,
                const char *path, struct error *err)
{
        bool may_repeat = strcmp(request->method, "GET") == 0 && !request->on_data;
        int64_t end = clock_ms() + (may_repeat ? client->patience_ms : 0);
        bool told = false;

        for (;;) {
                struct pollfd wake = {.fd = client->cancel_fd, .events = POLLIN};
                struct error why = {0};
                int result = call_once(client, answer, request, path, &why);

                if (result == -ERROR_UNAVAILABLE && clock_ms() < end) {
                        if (!told)
                                fprintf(stderr, "%s; trying again for up to %lld s\n", why.text,
                                        (long long)client->patience_ms / 1000);
                        told = true;
                        if (poll(&wake, 1, REPEAT_MS) > 0)
                                return error_set(err, ERROR_CANCELLED, "interrupted");
                        str_clear(&answer->body);
                        continue;
                }
                if (result < 0)
                        return error_set(err, why.kind, "%s", why.text);
                return 0;
        }
}

static int call_json(struct client *client, json_t **ret, struct http_call *request,
                     const char *path, struct error *err)
{
        scoped_http_answer struct http_answer answer = HTTP_ANSWER_INIT;
        int result = call(client, &answer, request, path, err);
        struct error why = {0};

        if (result < 0)
                return result;
        if (json_parse(ret, answer.body.data, answer.body.len, ANSWER_BYTES_MAX, &why) < 0)
                return error_set(err, ERROR_UNAVAILABLE, "%s: %.500s; is it an argon server?",
                                 client->url, why.text);
        return 0;
}

int client_get(struct client *client, json_t **ret, const char *path, struct error *err)
{
        struct http_call request = HTTP_CALL_INIT;

        request.timeout_ms = CALL_MS;
        return call_json(client, ret, &request, path, err);
}

int client_post(struct client *client, json_t **ret, const char *path, const json_t *body,
                struct error *err)
{
        struct http_call request = HTTP_CALL_INIT;
        scoped_str struct str text = STR_INIT;

        if (body)
                str_add_json(&text, body);
        request.method = "POST";
        request.timeout_ms = CALL_MS;
        request.body = text.data;
        request.body_len = text.len;
        return call_json(client, ret, &request, path, err);
}

int client_text(struct client *client, struct str *ret, const char *path, struct error *err)
{
        struct http_call request = HTTP_CALL_INIT;
        scoped_http_answer struct http_answer answer = HTTP_ANSWER_INIT;
        int result;

        request.timeout_ms = CALL_MS;
        result = call(client, &answer, &request, path, err);
        if (result == 0)
                str_add_bytes(ret, answer.body.data, answer.body.len);
        return result;
}

int client_stream(struct client *client, const char *path,
                  int (*on_data)(void *data, const char *bytes, size_t n), void *data,
                  struct error *err)
{
        struct http_call request = HTTP_CALL_INIT;
        scoped_http_answer struct http_answer answer = HTTP_ANSWER_INIT;

        request.timeout_ms = 0;
        request.idle_ms = STREAM_IDLE_MS;
        request.on_data = on_data;
        request.data = data;
        return call(client, &answer, &request, path, err);
}

int client_status(struct client *client, const char *url, int *ret_status, struct str *ret_body,
                  struct error *err)
{
        struct http_call request = HTTP_CALL_INIT;
        scoped_http_answer struct http_answer answer = HTTP_ANSWER_INIT;

        request.url = url;
        request.timeout_ms = SHORT_MS;
        if (http_call(client->http, &answer, &request, err) < 0)
                return err ? -err->kind : -ERROR_UNAVAILABLE;
        *ret_status = answer.status;
        str_add_bytes(ret_body, answer.body.data, answer.body.len);
        return 0;
}
