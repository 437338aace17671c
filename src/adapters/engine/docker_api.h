#pragma once
/*
 * docker_api - requests to the Docker Engine API (1.41 or newer; Podman's speaks it too)
 *
 * Shared by threads: each request takes a connection from a small pool. While the daemon restarts
 * it does not answer; requests are repeated for DOCKER_RETRY_MS, so every one that is sent without
 * `once` must be one that may be repeated.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

struct docker_api;
struct error;
struct http_call;

#define DOCKER_RETRY_MS 10000

/**
 * struct docker_request - one request; texts and body are borrowed for the call
 * @path: with its query, without the version: "/containers/json?all=1"
 * @body: JSON or NULL; @upload: or a tar to send, read from this descriptor to its end; -1: none
 * @header: one more header line, or NULL
 * @timeout_ms, @idle_ms, @on_data, @data, @cancel_fd: see struct http_call
 * @once: not to be repeated when the daemon does not answer
 */
struct docker_request {
        const char *method;
        const char *path;
        const json_t *body;
        int upload;
        const char *header;
        int64_t timeout_ms;
        int64_t idle_ms;
        int (*on_data)(void *data, const char *bytes, size_t n);
        void *data;
        int cancel_fd;
        bool once;
};

#define DOCKER_REQUEST_INIT                                                         \
        {                                                                           \
                .method = "GET", .upload = -1, .timeout_ms = 60000, .cancel_fd = -1 \
        }

/**
 * docker_api_open() - agree on a version with the daemon
 * @host: as DOCKER_HOST: unix://PATH or tcp://HOST:PORT; NULL: the usual socket
 *
 * Return: 0; -ERROR_UNAVAILABLE when no daemon answers, -ERROR_INVALID for an address or a daemon
 * that cannot be used.
 */
int docker_api_open(struct docker_api **ret, const char *host, struct error *err);
void docker_api_close(struct docker_api *api);
DEFINE_FREEP(docker_api, struct docker_api *, docker_api_close)

/**
 * docker_send() - one request
 * @ret: the answer, an object or array, NULL when it had none; may be NULL
 *
 * Return: 0 for 2xx and 304; -ERROR_NOT_FOUND (404), -ERROR_CONFLICT (409), -ERROR_DENIED (401,
 * 403), -ERROR_INVALID (other 4xx) or -ERROR_UNAVAILABLE (5xx) with the daemon's own words;
 * -ERROR_UNAVAILABLE when it does not answer, -ERROR_CANCELLED.
 */
int docker_send(struct docker_api *api, json_t **ret, const struct docker_request *request,
                struct error *err);
/** docker_get(), docker_post() - the common short forms; ret may be NULL, body too */
int docker_get(struct docker_api *api, json_t **ret, const char *path, struct error *err);
int docker_post(struct docker_api *api, json_t **ret, const char *path, const json_t *body,
                struct error *err);
int docker_delete(struct docker_api *api, const char *path, struct error *err);

/** docker_connect() - the raw connection of an attach: see http_upgrade() */
int docker_connect(struct docker_api *api, int *ret_fd, struct str *ret_early, const char *path,
                   struct error *err);

/** docker_host_is_local() - whether the daemon is reached through a unix socket */
bool docker_host_is_local(const struct docker_api *api);
/** str_add_query() - append text as a value of a query, percent-encoded */
void str_add_query(struct str *str, const char *text);
