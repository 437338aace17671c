#include "commands/serve.h"

#include <stdint.h>

#include "base/str.h"
#include "pipeline/dashboard/dashboard.h"
#include "pipeline/webhook/webhook.h"

#include "base/banned.h"

#define WEBHOOK_READER(member)                    \
        static int64_t read_##member(void *data)  \
        {                                         \
                struct webhook_stats stats = {0}; \
                                                  \
                webhook_stats(data, &stats);      \
                return (int64_t)stats.member;     \
        }
WEBHOOK_READER(accepted)
WEBHOOK_READER(ignored)
WEBHOOK_READER(duplicates)
WEBHOOK_READER(pings)
WEBHOOK_READER(refused_signature)
WEBHOOK_READER(refused_request)
WEBHOOK_READER(unavailable)
WEBHOOK_READER(published)
WEBHOOK_READER(publish_failures)
WEBHOOK_READER(bytes)

#define DELIVERIES "argon_webhook_deliveries_total"
#define DELIVERIES_HELP "Requests to /webhook, by what came of them."

static const struct dashboard_metric webhook_metrics[] = {
        {DELIVERIES, "result=\"accepted\"", "counter", DELIVERIES_HELP, read_accepted, NULL},
        {DELIVERIES, "result=\"ignored\"", "counter", DELIVERIES_HELP, read_ignored, NULL},
        {DELIVERIES, "result=\"duplicate\"", "counter", DELIVERIES_HELP, read_duplicates, NULL},
        {DELIVERIES, "result=\"pong\"", "counter", DELIVERIES_HELP, read_pings, NULL},
        {DELIVERIES, "result=\"bad_signature\"", "counter", DELIVERIES_HELP, read_refused_signature,
         NULL},
        {DELIVERIES, "result=\"bad_request\"", "counter", DELIVERIES_HELP, read_refused_request,
         NULL},
        {DELIVERIES, "result=\"unavailable\"", "counter", DELIVERIES_HELP, read_unavailable, NULL},
        {"argon_webhook_published_total", "", "counter", "Deliveries handed to the orchestrator.",
         read_published, NULL},
        {"argon_webhook_publish_failures_total", "", "counter",
         "Times that handing on had to be repeated.", read_publish_failures, NULL},
        {"argon_webhook_bytes_total", "", "counter", "Bytes of request bodies.", read_bytes, NULL},
};

struct dashboard_metric *serve_metrics(struct webhook *webhook, size_t *ret_n)
{
        size_t n = sizeof(webhook_metrics) / sizeof(*webhook_metrics);
        struct dashboard_metric *metrics = xcalloc(n, sizeof(*metrics));

        for (size_t i = 0; i < n; i++) {
                metrics[i] = webhook_metrics[i];
                metrics[i].data = webhook;
        }
        *ret_n = n;
        return metrics;
}
