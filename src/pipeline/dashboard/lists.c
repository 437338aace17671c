#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "pipeline/dashboard/parts.h"
#include "ports/store.h"

#include "base/banned.h"

#define DELIVERIES_LIMIT 50

/* The orchestrator's word about a delivery replaces the webhook's once it is there. */
static json_t *delivery_to_rest(const struct delivery *delivery)
{
        bool told = *text_or(delivery->outcome, "");
        json_t *json = json_object();
        json_t *builds = json_array();

        json_set_text(json, "id", delivery->id);
        json_set_text(json, "event", delivery->event);
        json_set_text(json, "repository", delivery->repo);
        json_set_time(json, "received_at", delivery->received_at);
        json_set_text(json, "result", told ? delivery->outcome : delivery->result);
        json_set_text(
                json, "reason",
                text_or(told ? delivery->outcome_reason : "", text_or(delivery->reason, NULL)));
        if (*text_or(delivery->build_id, ""))
                json_array_append_new(builds, json_string(delivery->build_id));
        json_object_set_new(json, "builds", builds);
        json_set_bool(json, "published", delivery->published);
        return json;
}

enum http_result lists_deliveries(struct http_request *request, void *data)
{
        struct dashboard *dashboard = data;
        struct delivery_page page = {0};
        struct error err = {0};
        json_t *answer;
        json_t *list;
        int64_t limit;

        if (!query_int(request, "limit", 1, STORE_PAGE_MAX, DELIVERIES_LIMIT, &limit))
                return HTTP_DONE;
        if (store_deliveries(dashboard->options.store, &page, (int)limit,
                             http_query(request, "cursor"), &err) < 0) {
                http_reply_error(request, &err);
                return HTTP_DONE;
        }
        list = json_array();
        for (size_t i = 0; i < page.n; i++)
                json_array_append_new(list, delivery_to_rest(&page.deliveries[i]));
        answer = json_object();
        json_object_set_new(answer, "deliveries", list);
        json_set_text(answer, "next", *page.next ? page.next : NULL);
        delivery_page_done(&page);
        reply_json(request, 200, answer);
        return HTTP_DONE;
}

static json_t *split_labels(const char *labels)
{
        json_t *list = json_array();

        while (*labels) {
                size_t n = strcspn(labels, ",");

                if (n)
                        json_array_append_new(list, json_stringn(labels, n));
                labels += n + (labels[n] == ',');
        }
        return list;
}

static json_t *executor_to_rest(const struct executor_row *row)
{
        json_t *json = json_object();

        json_set_text(json, "id", row->id);
        json_set_text(json, "name", row->name);
        json_set_text(json, "engine", row->engine);
        json_object_set_new(json, "labels", split_labels(text_or(row->labels, "")));
        json_set_int(json, "slots", row->slots);
        json_set_int(json, "jobs", row->running);
        json_set_bool(json, "draining", row->draining);
        json_set_time(json, "last_seen", row->seen_at);
        return json;
}

enum http_result lists_executors(struct http_request *request, void *data)
{
        struct dashboard *dashboard = data;
        struct executor_list list = {0};
        struct error err = {0};
        json_t *rows;
        json_t *answer;

        if (store_executors(dashboard->options.store, &list, &err) < 0) {
                http_reply_error(request, &err);
                return HTTP_DONE;
        }
        rows = json_array();
        for (size_t i = 0; i < list.n; i++)
                json_array_append_new(rows, executor_to_rest(&list.rows[i]));
        executor_list_done(&list);
        answer = json_object();
        json_object_set_new(answer, "executors", rows);
        reply_json(request, 200, answer);
        return HTTP_DONE;
}
