/*
 * control.queue: what people ask for. Whatever cannot be done is refused with a line in the log:
 * the one who asked has gone, and a dead letter would only be in the way.
 */
#include <string.h>

#include "base/error.h"
#include "base/scoped.h"
#include "domain/build.h"
#include "domain/reconcile.h"
#include "pipeline/orchestrator/parts.h"
#include "ports/bus.h"
#include "wire/control_request.h"

#include "base/banned.h"

#define DELIVERIES_MAX 3

static int cancel(struct build *build, void *data, struct error *err)
{
        const struct control_request *request = data;

        return reconcile_cancel(build, request->who);
}

static int rerun(struct build *build, void *data, struct error *err)
{
        const struct control_request *request = data;
        int result = reconcile_rerun(build, request->jobs, err);

        return result < 0 ? result : 1;
}

static int refuse(const struct control_request *request, const struct error *err)
{
        struct log_context about = {.service = ORCHESTRATOR, .build_id = request->build_id};

        log_event(LOG_WARNING, &about, "request of %s refused: %s", request->who, err->text);
        return 0;
}

static int do_request(struct orchestrator *o, struct control_request *request, struct error *err)
{
        static change_fn *const changes[] = {[CONTROL_CANCEL] = cancel, [CONTROL_RERUN] = rerun};
        int result;

        if (request->kind == CONTROL_RUN)
                result = manual_begin(o, request->id, request->repo, request->ref, request->who,
                                      err);
        else
                result = change_build(o, request->build_id, changes[request->kind], request, err);
        if (result < 0 && result != -ERROR_UNAVAILABLE)
                return refuse(request, err);
        return result;
}

int control_handle(void *data, const struct bus_message *message, struct error *err)
{
        struct orchestrator *o = data;
        scoped(control_request) struct control_request *request = NULL;

        if (message->attempts > DELIVERIES_MAX)
                return error_set(err, ERROR_BUG, "handed out %d times without an end",
                                 message->attempts - 1);
        if (control_request_decode(&request, message->body, message->len, err) < 0)
                return -ERROR_INVALID;
        for (int failures = 1;; failures++) {
                int result = do_request(o, request, err);

                if (result != -ERROR_UNAVAILABLE)
                        return result;
                if (!orchestrator_backoff(o, failures))
                        return error_set(err, ERROR_CANCELLED, "stopping");
        }
}
