#pragma once
/*
 * parts - the handlers of the dashboard, and what they share
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/http_server.h"
#include "base/id.h"
#include "base/json.h"
#include "pipeline/dashboard/dashboard.h"

struct build;
struct dashboard_live;
struct str;

struct dashboard {
        struct dashboard_options options;
        struct dashboard_live *live;
        struct http_route *routes;
        size_t n_routes;
        int64_t started_ms;     /* clock_ms() */
        char instance[ID_SIZE]; /* new at each start: tells servers at one address apart */
};

/* live.c: waiting without a thread */
int dashboard_live_new(struct dashboard_live **ret, struct bus *bus, struct error *err);
int dashboard_live_start(struct dashboard_live *live, struct http_server *const *servers, size_t n,
                         struct error *err);
void dashboard_live_stop(struct dashboard_live *live);
void dashboard_live_free(struct dashboard_live *live);
/**
 * dashboard_live_wait() - park the request if it asked for `wait`; to be called before the look
 * @key: the live topic
 *
 * Return: true when the handler shall return HTTP_WAIT if it finds nothing new; false when it must
 * answer with what is there (no wait asked, or the time is over).
 */
bool dashboard_live_wait(struct dashboard_live *live, struct http_request *request, const char *key,
                         int64_t wait_ms);

/* query.c: parameters of requests; false: a problem was replied */
bool query_int(struct http_request *request, const char *name, int64_t min, int64_t max,
               int64_t fallback, int64_t *ret);
bool query_duration(struct http_request *request, const char *name, int64_t max, int64_t *ret);
/** query_time() - RFC 3339, or a duration that means "so long ago"; 0 when absent */
bool query_time(struct http_request *request, const char *name, int64_t *ret_wall_ms);
/** query_body() - the body as a JSON object; an absent body is an empty object */
bool query_body(struct http_request *request, json_t **ret);
/** reply_json() - consumes the document */
void reply_json(struct http_request *request, int status, json_t *json);
/** page_allowed() - whether the request has the token, by Bearer or Basic; else 401 was replied */
bool page_allowed(const struct dashboard *dashboard, struct http_request *request);
/** add_utf8() - append n bytes with NUL and what is not UTF-8 shown as U+FFFD */
void add_utf8(struct str *str, const char *bytes, size_t n);

/* Handlers; data is the struct dashboard. */
enum http_result builds_list(struct http_request *request, void *data);
enum http_result builds_one(struct http_request *request, void *data);
enum http_result builds_of_number(struct http_request *request, void *data);
enum http_result builds_of_request(struct http_request *request, void *data);
enum http_result builds_run(struct http_request *request, void *data);
enum http_result builds_rerun(struct http_request *request, void *data);
enum http_result builds_cancel(struct http_request *request, void *data);
enum http_result jobs_one(struct http_request *request, void *data);
enum http_result logs_window(struct http_request *request, void *data);
enum http_result logs_text(struct http_request *request, void *data);
enum http_result logs_list(struct http_request *request, void *data);
enum http_result lists_deliveries(struct http_request *request, void *data);
enum http_result lists_executors(struct http_request *request, void *data);
enum http_result status_health(struct http_request *request, void *data);
enum http_result status_ready(struct http_request *request, void *data);
enum http_result status_version(struct http_request *request, void *data);
enum http_result openapi_json(struct http_request *request, void *data);
enum http_result metrics_text(struct http_request *request, void *data);
enum http_result backup_download(struct http_request *request, void *data);
enum http_result pages_home(struct http_request *request, void *data);
enum http_result pages_repo(struct http_request *request, void *data);
enum http_result pages_build(struct http_request *request, void *data);
enum http_result pages_job(struct http_request *request, void *data);
