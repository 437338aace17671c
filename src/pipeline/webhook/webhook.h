#pragma once
/*
 * webhook - takes events of a forge over HTTP, journals them durably, passes them on
 *
 * POST /webhook. The body is hashed and parsed while it arrives and never kept. The signature is
 * checked before anything of the request is believed, told or stored. 202 is answered once the
 * delivery is in the store's journal; a thread (the relay) publishes what the journal holds
 * unpublished to webhook.queue, at the start and whenever something is new. A bus that is away is
 * waited for; nothing accepted is lost.
 *
 * Owns the journal of deliveries (the only writer). struct webhook may be shared by threads.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/http_server.h"

struct bus;
struct error;
struct store;
struct webhook;

#define WEBHOOK_BODY_MAX (25 * 1024 * 1024)

/** struct webhook_options - ports are borrowed and must outlive the webhook
 *  @secrets: one per line, all accepted; borrowed for webhook_open() only */
struct webhook_options {
        struct bus *bus;
        struct store *store;
        const char *secrets;
};

/** struct webhook_stats - counted since webhook_open(), for metrics */
struct webhook_stats {
        uint64_t accepted;
        uint64_t ignored;
        uint64_t duplicates;
        uint64_t pings;
        uint64_t refused_signature; /* 401: missing, malformed or wrong */
        uint64_t refused_request;   /* 400 and 415 of requests that were signed rightly */
        uint64_t unavailable;       /* 503: could not be made durable */
        uint64_t published;
        uint64_t publish_failures;
        uint64_t bytes; /* of bodies */
};

int webhook_open(struct webhook **ret, const struct webhook_options *options, struct error *err);
/** webhook_close() - after the HTTP server was closed; what is not yet published stays in the
 *  journal */
void webhook_close(struct webhook *webhook);
/** webhook_routes() - borrowed; they live as long as the webhook */
const struct http_route *webhook_routes(struct webhook *webhook, size_t *ret_n);
void webhook_stats(struct webhook *webhook, struct webhook_stats *ret);
