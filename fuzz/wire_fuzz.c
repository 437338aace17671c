/*
 * The decoders of all messages. The first byte says which; what decodes must encode again, fit,
 * and decode again.
 */
#include <stdlib.h>

#include "base/json.h"
#include "base/str.h"
#include "domain/build.h"
#include "domain/order.h"
#include "wire/build_json.h"
#include "wire/codec.h"
#include "wire/control_request.h"
#include "wire/dispatch.h"
#include "wire/job_result.h"
#include "wire/log_entry.h"
#include "wire/notification.h"
#include "wire/webhook_event.h"

#include "base/banned.h"

#define ROUND_TRIP(name)                                                     \
        static void try_##name(const char *text, size_t n)                   \
        {                                                                    \
                scoped(name) struct name *first = NULL;                      \
                scoped(name) struct name *second = NULL;                     \
                scoped_str struct str again = STR_INIT;                      \
                                                                             \
                if (name##_decode(&first, text, n, NULL) < 0)                \
                        return;                                              \
                name##_encode(first, &again);                                \
                if (again.len > WIRE_BYTES_MAX)                              \
                        abort();                                             \
                if (name##_decode(&second, again.data, again.len, NULL) < 0) \
                        abort();                                             \
        }

ROUND_TRIP(control_request)
ROUND_TRIP(dispatch)
ROUND_TRIP(job_result)
ROUND_TRIP(log_entry)
ROUND_TRIP(notification)
ROUND_TRIP(webhook_event)

static void try_build(const char *text, size_t n)
{
        scoped(build) struct build *build = NULL;
        scoped(json) json_t *stored = NULL;
        scoped(json) json_t *rest = NULL;

        if (build_decode(&build, text, n, NULL) < 0)
                return;
        stored = build_to_json(build);
        rest = build_to_rest(build, "http://localhost", true);
        if (!stored || !rest)
                abort();
}

static void try_order(const char *text, size_t n)
{
        scoped(order) struct order *order = NULL;
        scoped(json) json_t *stored = NULL;

        if (order_decode(&order, text, n, NULL) < 0)
                return;
        stored = order_to_json(order);
        if (!stored)
                abort();
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
        static void (*const decoders[])(const char *text, size_t n) = {
                try_control_request, try_dispatch,      try_job_result, try_log_entry,
                try_notification,    try_webhook_event, try_build,      try_order,
        };
        size_t which = size ? data[0] - (size_t)'0' : 0;

        if (size && which < sizeof(decoders) / sizeof(*decoders))
                decoders[which]((const char *)data + 1, size - 1);
        return 0;
}
