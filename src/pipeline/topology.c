#include "pipeline/topology.h"

#include "base/banned.h"

static const struct topology_queue queues[] = {
        {QUEUE_WEBHOOK, "webhook", "orchestrator", 1},
        {QUEUE_CONTROL, "dashboard", "orchestrator", 1},
        {QUEUE_SANDBOX, "orchestrator", "executor", 1},
        {QUEUE_RESULT, "executor", "orchestrator", 64},
        {QUEUE_LOG, "webhook orchestrator executor notifier dashboard", "logger", 256},
        {QUEUE_NOTIFICATION, "orchestrator", "notifier", 1},
};

const struct topology_queue *topology_queues(size_t *ret_n)
{
        *ret_n = sizeof(queues) / sizeof(*queues);
        return queues;
}
