#pragma once
/*
 * client - the command line's end of REST
 *
 * The server is named by --server, ARGON_SERVER or the user's config; else it is the one of this
 * machine, found by DATA/listen. The token comes from the settings; that of DATA/token goes to this
 * machine's server only.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "base/str.h"

struct client;
struct error;
struct invocation;

/* For commands that follow something: longer than a server takes to start again. */
#define CLIENT_PATIENCE_MS 60000

int client_open(struct client **ret, struct invocation *invocation, struct error *err);
void client_close(struct client *client);

static inline void client_freep(struct client **client)
{
        if (*client)
                client_close(*client);
}

/** client_url() - of the server, without a slash at the end */
const char *client_url(const struct client *client);
/** client_cancel_by() - a descriptor that, once readable, ends calls with -ERROR_CANCELLED */
void client_cancel_by(struct client *client, int fd);

/** client_patience() - what is only read is asked for again for so long when no server answers (it
 *  may be starting again); it says so once on standard error */
void client_patience(struct client *client, int64_t ms);

/**
 * client_get() - a JSON document
 *
 * Return: 0; else the kind that the status means, with the server's own words: -ERROR_DENIED,
 * -ERROR_NOT_FOUND, -ERROR_CONFLICT, -ERROR_INVALID, -ERROR_UNAVAILABLE (also when none answers),
 * -ERROR_CANCELLED.
 */
int client_get(struct client *client, json_t **ret, const char *path, struct error *err);
/** client_post() - body is borrowed and may be NULL */
int client_post(struct client *client, json_t **ret, const char *path, const json_t *body,
                struct error *err);
/** client_text() - append a body as it is */
int client_text(struct client *client, struct str *ret, const char *path, struct error *err);
/** client_stream() - hand the body on piece by piece; on_data returns -1 to end it */
int client_stream(struct client *client, const char *path,
                  int (*on_data)(void *data, const char *bytes, size_t n), void *data,
                  struct error *err);
/** client_status() - the HTTP status of a GET without a token; for doctor */
int client_status(struct client *client, const char *url, int *ret_status, struct str *ret_body,
                  struct error *err);

/** str_add_encoded() - append text percent-encoded for a query or a path's segment */
void str_add_encoded(struct str *str, const char *text);
