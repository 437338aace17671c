/*
 * The version is the oldest that has what we need and that the daemon still speaks: 1.41 (Docker
 * 20.10, Debian 12), or the daemon's own minimum where that is newer.
 */
#include "adapters/engine/docker_api.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/http_client.h"
#include "base/parse.h"
#include "base/str.h"

#include "base/banned.h"

#define API_MINOR 41
#define API_MINOR_MAX 999
#define POOL_MAX 16 /* connections kept for the next request */
#define ANSWER_MAX (8 << 20)
#define FIRST_ANSWER_MS 3000
#define RETRY_PAUSE_MS 200
#define DEFAULT_HOST "unix:///var/run/docker.sock"

struct docker_api {
        char *socket; /* path, or NULL with tcp */
        char *base;   /* "http://docker" */
        char *prefix; /* "/v1.41" */
        pthread_mutex_t lock;
        struct http_client *pool[POOL_MAX]; /* guarded by lock, like n_pool */
        size_t n_pool;
};

static int take_client(struct docker_api *api, struct http_client **ret, struct error *err)
{
        struct http_client *client = NULL;

        pthread_mutex_lock(&api->lock);
        if (api->n_pool > 0)
                client = api->pool[--api->n_pool];
        pthread_mutex_unlock(&api->lock);
        if (!client)
                return http_client_new(ret, err);
        *ret = client;
        return 0;
}

static void give_client(struct docker_api *api, struct http_client *client)
{
        pthread_mutex_lock(&api->lock);
        if (api->n_pool < POOL_MAX)
                api->pool[api->n_pool++] = take(client);
        pthread_mutex_unlock(&api->lock);
        http_client_free(client);
}

/* What the daemon says in {"message": "..."}, or the first line of what it says instead. */
static int refused(const struct http_answer *answer, struct error *err)
{
        scoped(json) json_t *json = NULL;
        const char *text = "";
        int status = answer->status;
        enum error_kind kind = status == 404                    ? ERROR_NOT_FOUND
                               : status == 409                  ? ERROR_CONFLICT
                               : status == 401 || status == 403 ? ERROR_DENIED
                               : status >= 500                  ? ERROR_UNAVAILABLE
                                                                : ERROR_INVALID;

        if (json_parse(&json, answer->body.data, answer->body.len, ANSWER_MAX, NULL) == 0)
                text = json_text_or(json, "message", "");
        if (!*text)
                return error_set(err, kind, "docker answers %d", status);
        return error_set(err, kind, "docker: %s", text);
}

static int send_once(struct docker_api *api, struct http_answer *answer,
                     const struct http_call *call, struct error *err)
{
        struct http_client *client = NULL;
        int result = take_client(api, &client, err);

        if (result < 0)
                return result;
        result = http_call(client, answer, call, err);
        give_client(api, client);
        return result;
}

/* Until the pause is over or cancel_fd is readable; Return: whether to go on. */
static bool pause_unless(int cancel_fd)
{
        struct pollfd cancel = {.fd = cancel_fd, .events = POLLIN};

        return poll(&cancel, 1, RETRY_PAUSE_MS) <= 0;
}

static int exchange(struct docker_api *api, json_t **ret, const char *path,
                    const struct docker_request *request, struct error *err)
{
        scoped_text char *url = text_format("%s%s", api->base, path);
        scoped_http_answer struct http_answer answer = HTTP_ANSWER_INIT;
        scoped_str struct str body = STR_INIT;
        const char *type = request->upload >= 0 ? "Content-Type: application/x-tar"
                                                : "Content-Type: application/json";
        const char *headers[] = {type, request->header, NULL};
        int64_t until = clock_ms() + DOCKER_RETRY_MS;
        struct http_call call = HTTP_CALL_INIT;
        int result;

        if (request->body)
                str_add_json(&body, request->body);
        call.method = request->method;
        call.url = url;
        call.unix_socket = api->socket;
        call.headers = headers;
        call.body = request->body ? body.data : NULL;
        call.body_len = body.len;
        call.upload = request->upload;
        call.timeout_ms = request->timeout_ms;
        call.idle_ms = request->idle_ms;
        call.answer_max = ANSWER_MAX;
        call.on_data = request->on_data;
        call.data = request->data;
        call.cancel_fd = request->cancel_fd;
        for (;;) {
                struct error why = {0};

                result = send_once(api, &answer, &call, &why);
                if (result == 0)
                        break;
                if (result != -ERROR_UNAVAILABLE || request->once || request->upload >= 0 ||
                    clock_ms() >= until || !pause_unless(request->cancel_fd))
                        return error_set(err, why.kind, "docker: %s", why.text);
        }
        if (answer.status != 304 && (answer.status < 200 || answer.status > 299))
                return refused(&answer, err);
        if (!ret)
                return 0;
        *ret = NULL;
        if (answer.body.len == 0)
                return 0;
        if (json_parse(ret, answer.body.data, answer.body.len, ANSWER_MAX, err) < 0)
                return error_wrap(err, "the answer of docker to %s", path);
        return 0;
}

int docker_send(struct docker_api *api, json_t **ret, const struct docker_request *request,
                struct error *err)
{
        scoped_text char *path = text_format("%s%s", api->prefix, request->path);

        return exchange(api, ret, path, request, err);
}

int docker_get(struct docker_api *api, json_t **ret, const char *path, struct error *err)
{
        struct docker_request request = DOCKER_REQUEST_INIT;

        request.path = path;
        return docker_send(api, ret, &request, err);
}

int docker_post(struct docker_api *api, json_t **ret, const char *path, const json_t *body,
                struct error *err)
{
        struct docker_request request = DOCKER_REQUEST_INIT;

        request.method = "POST";
        request.path = path;
        request.body = body;
        return docker_send(api, ret, &request, err);
}

int docker_delete(struct docker_api *api, const char *path, struct error *err)
{
        struct docker_request request = DOCKER_REQUEST_INIT;

        request.method = "DELETE";
        request.path = path;
        return docker_send(api, NULL, &request, err);
}

int docker_connect(struct docker_api *api, int *ret_fd, struct str *ret_early, const char *path,
                   struct error *err)
{
        scoped_text char *url = text_format("%s%s%s", api->base, api->prefix, path);
        struct http_call call = HTTP_CALL_INIT;

        call.method = "POST";
        call.url = url;
        call.unix_socket = api->socket;
        return http_upgrade(ret_fd, ret_early, &call, err);
}

bool docker_host_is_local(const struct docker_api *api)
{
        return api->socket != NULL;
}

static int parse_host(struct docker_api *api, const char *host, struct error *err)
{
        if (text_starts(host, "unix://") && host[7] == '/') {
                api->socket = text_copy(host + 7);
                api->base = text_copy("http://docker");
                return 0;
        }
        if (text_starts(host, "tcp://") && host[6] && getenv("DOCKER_TLS_VERIFY"))
                return error_set(err, ERROR_INVALID,
                                 "DOCKER_TLS_VERIFY is set, but TLS to a Docker daemon is not "
                                 "supported; reach it by its unix socket, for example through "
                                 "ssh -L /tmp/docker.sock:/var/run/docker.sock HOST");
        if (text_starts(host, "tcp://") && host[6]) {
                api->base = text_format("http://%s", host + 6);
                if (text_ends(api->base, "/"))
                        api->base[strlen(api->base) - 1] = '\0';
                return 0;
        }
        return error_set(err, ERROR_INVALID,
                         "'%s' is no address of a Docker daemon; use unix:///PATH or "
                         "tcp://HOST:PORT (DOCKER_HOST)",
                         host);
}

/* "1.41" to 41. */
static int parse_version(int64_t *ret_minor, const char *text, struct error *err)
{
        if (!text_starts(text, "1.") || parse_int(ret_minor, text + 2, 0, API_MINOR_MAX, NULL) < 0)
                return error_set(err, ERROR_INVALID, "docker speaks an unknown API version '%s'",
                                 text);
        return 0;
}

static int agree(struct docker_api *api, struct error *err)
{
        struct docker_request request = DOCKER_REQUEST_INIT;
        scoped(json) json_t *version = NULL;
        struct error why = {0};
        int64_t newest;
        int64_t oldest;
        int result;

        request.once = true;
        request.timeout_ms = FIRST_ANSWER_MS;
        result = exchange(api, &version, "/version", &request, &why);
        if (result < 0)
                return error_set(err, why.kind, "no Docker daemon answers at %s (%s)%s",
                                 api->socket ? api->socket : api->base, why.text,
                                 strstr(why.text, "Permission denied")
                                         ? "; the user needs to be in the group of the socket "
                                           "(usermod -aG docker USER)"
                                         : "");
        if (parse_version(&newest, json_text_or(version, "ApiVersion", ""), err) < 0 ||
            parse_version(&oldest, json_text_or(version, "MinAPIVersion", "1.0"), err) < 0)
                return -ERROR_INVALID;
        if (newest < API_MINOR)
                return error_set(err, ERROR_INVALID,
                                 "docker speaks API 1.%lld, but 1.%d is needed (Docker 20.10 or "
                                 "newer)",
                                 (long long)newest, API_MINOR);
        api->prefix = text_format("/v1.%lld", (long long)(oldest > API_MINOR ? oldest : API_MINOR));
        return 0;
}

int docker_api_open(struct docker_api **ret, const char *host, struct error *err)
{
        scoped(docker_api) struct docker_api *api = xcalloc(1, sizeof(*api));
        int result;

        pthread_mutex_init(&api->lock, NULL);
        result = parse_host(api, text_or(host, DEFAULT_HOST), err);
        if (result == 0)
                result = agree(api, err);
        if (result < 0)
                return result;
        *ret = take(api);
        return 0;
}

void docker_api_close(struct docker_api *api)
{
        if (!api)
                return;
        for (size_t i = 0; i < api->n_pool; i++)
                http_client_free(api->pool[i]);
        pthread_mutex_destroy(&api->lock);
        free(api->socket);
        free(api->base);
        free(api->prefix);
        free(api);
}

void str_add_query(struct str *str, const char *text)
{
        for (; *text; text++) {
                unsigned char c = (unsigned char)*text;

                if (strchr("-._~/:@", c) || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                    (c >= 'A' && c <= 'Z'))
                        str_add_char(str, (char)c);
                else
                        str_printf(str, "%%%02X", c);
        }
}
