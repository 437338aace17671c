#include "pipeline/dashboard/dashboard.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "pipeline/dashboard/parts.h"

#include "base/banned.h"

/* The whole surface. Pages are open to the server because they check the token by themselves. */
static const struct http_route table[] = {
        {.method = "GET", .path = "/healthz", .open = true, .handler = status_health},
        {.method = "GET", .path = "/readyz", .open = true, .handler = status_ready},
        {.method = "GET", .path = "/version", .open = true, .handler = status_version},
        {.method = "GET", .path = "/metrics", .handler = metrics_text},
        {.method = "GET", .path = "/api/v1/builds", .handler = builds_list},
        {.method = "POST",
         .path = "/api/v1/builds",
         .body_max = DASHBOARD_BODY_MAX,
         .handler = builds_run},
        {.method = "GET", .path = "/api/v1/builds/{}", .handler = builds_one},
        {.method = "POST",
         .path = "/api/v1/builds/{}/rerun",
         .body_max = DASHBOARD_BODY_MAX,
         .handler = builds_rerun},
        {.method = "POST",
         .path = "/api/v1/builds/{}/cancel",
         .body_max = DASHBOARD_BODY_MAX,
         .handler = builds_cancel},
        {.method = "GET", .path = "/api/v1/repos/{}/{}/builds/{}", .handler = builds_of_number},
        {.method = "GET", .path = "/api/v1/requests/{}", .handler = builds_of_request},
        {.method = "GET", .path = "/api/v1/jobs/{}", .handler = jobs_one},
        {.method = "GET", .path = "/api/v1/jobs/{}/log", .handler = logs_window},
        {.method = "GET", .path = "/api/v1/jobs/{}/log.txt", .handler = logs_text},
        {.method = "GET", .path = "/api/v1/logs", .handler = logs_list},
        {.method = "GET", .path = "/api/v1/deliveries", .handler = lists_deliveries},
        {.method = "GET", .path = "/api/v1/executors", .handler = lists_executors},
        {.method = "GET", .path = "/api/v1/backup", .handler = backup_download},
        {.method = "GET", .path = "/api/v1/openapi.json", .handler = openapi_json},
        {.method = "GET", .path = "/", .open = true, .handler = pages_home},
        {.method = "GET", .path = "/r/{}/{}", .open = true, .handler = pages_repo},
        {.method = "GET", .path = "/r/{}/{}/builds/{}", .open = true, .handler = pages_build},
        {.method = "GET", .path = "/r/{}/{}/builds/{}/jobs/{}", .open = true, .handler = pages_job},
};

#define TABLE_LENGTH (sizeof(table) / sizeof(*table))

int dashboard_open(struct dashboard **ret, const struct dashboard_options *options,
                   struct error *err)
{
        struct dashboard *dashboard = xcalloc(1, sizeof(*dashboard));

        dashboard->options = *options;
        dashboard->started_ms = clock_ms();
        id_new(dashboard->instance);
        if (dashboard_live_new(&dashboard->live, options->bus, err) < 0) {
                free(dashboard);
                return err ? error_wrap(err, "listen to live topics") : -ERROR_UNAVAILABLE;
        }
        dashboard->routes = xcalloc(TABLE_LENGTH, sizeof(*dashboard->routes));
        dashboard->n_routes = TABLE_LENGTH;
        for (size_t i = 0; i < TABLE_LENGTH; i++) {
                dashboard->routes[i] = table[i];
                dashboard->routes[i].data = dashboard;
        }
        *ret = dashboard;
        return 0;
}

const struct http_route *dashboard_routes(struct dashboard *dashboard, size_t *ret_n)
{
        *ret_n = dashboard->n_routes;
        return dashboard->routes;
}

int dashboard_start(struct dashboard *dashboard, struct http_server *const *servers, size_t n,
                    struct error *err)
{
        return dashboard_live_start(dashboard->live, servers, n, err);
}

void dashboard_stop(struct dashboard *dashboard)
{
        dashboard_live_stop(dashboard->live);
}

void dashboard_close(struct dashboard *dashboard)
{
        if (!dashboard)
                return;
        dashboard_live_free(dashboard->live);
        free(dashboard->routes);
        free(dashboard);
}
