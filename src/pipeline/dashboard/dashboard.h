#pragma once
/*
 * dashboard - what people and programs see: REST under /api/v1, health, metrics, plain-text pages
 *
 * Reads the store, never changes it; what people ask for (cancel, re-run, run) goes to
 * control.queue and is answered with 202. Long polls park without a thread: one thread listens to
 * the live topics and wakes them.
 *
 * Everything but health and version needs the token. REST takes it as `Authorization: Bearer`; the
 * pages, which mails link to, also take it as the password of HTTP Basic (any user name), because
 * that is what a browser can ask for. A token never stands in a URL.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bus;
struct dashboard;
struct error;
struct http_route;
struct http_server;
struct store;

#define DASHBOARD_WAIT_MS_MAX 60000   /* longest long poll */
#define DASHBOARD_BODY_MAX 65536      /* of a request */
#define DASHBOARD_LOG_LINES_MAX 10000 /* of one window */

/**
 * struct dashboard_metric - a number that another service counts
 * @name: of Prometheus, without labels; @labels: `result="accepted"` or ""
 * @type: "counter" or "gauge"; @read: called for each scrape, from any thread
 */
struct dashboard_metric {
        const char *name;
        const char *labels;
        const char *type;
        const char *help;
        int64_t (*read)(void *data);
        void *data;
};

/** struct dashboard_check - one more reason why the server may not be ready
 *  @check: 0, or an error whose text is the reason */
struct dashboard_check {
        const char *name;
        int (*check)(void *data, struct error *err);
        void *data;
};

/**
 * struct dashboard_options - borrowed for the life of the dashboard
 * @url: what links start with, without a slash at the end
 * @token: of the administrator
 * @scratch: folder for backups while they are sent
 */
struct dashboard_options {
        struct bus *bus;
        struct store *store;
        const char *url;
        const char *token;
        const char *scratch;
        const struct dashboard_metric *metrics;
        size_t n_metrics;
        const struct dashboard_check *checks;
        size_t n_checks;
};

int dashboard_open(struct dashboard **ret, const struct dashboard_options *options,
                   struct error *err);
/** dashboard_routes() - for http_server_open(); valid until dashboard_close() */
const struct http_route *dashboard_routes(struct dashboard *dashboard, size_t *ret_n);
/** dashboard_start() - wake the long polls of these servers from now on; the array is borrowed */
int dashboard_start(struct dashboard *dashboard, struct http_server *const *servers, size_t n,
                    struct error *err);
/** dashboard_stop() - before http_server_close() */
void dashboard_stop(struct dashboard *dashboard);
void dashboard_close(struct dashboard *dashboard);
