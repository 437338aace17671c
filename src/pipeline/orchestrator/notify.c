/*
 * The end of a build, published before it is marked: a crash in between publishes it twice, and
 * the notifier's ledger takes the second one out.
 */
#include "base/arena.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/build.h"
#include "pipeline/orchestrator/parts.h"
#include "pipeline/orchestrator/tell.h"
#include "pipeline/topology.h"
#include "ports/bus.h"
#include "ports/store.h"
#include "wire/notification.h"

#include "base/banned.h"

int notify_end(struct orchestrator *o, struct build *build, struct error *err)
{
        struct store *store = o->options.store;
        scoped(notification) struct notification *notification = NULL;
        scoped_str struct str body = STR_INIT;
        char previous[16] = "";

        if (!build->previous[0]) {
                if (store_build_previous_state(store, previous, build->repo, build->branch,
                                               build->number, err) < 0)
                        return -err->kind;
                build->previous = arena_copy(build->arena, previous);
        }
        notification = tell_build(build, o->options.url);
        notification_encode(notification, &body);
        if (FAILPOINT("orchestrator.before_notify"))
                return error_set(err, ERROR_UNAVAILABLE, "failpoint before the notification");
        if (bus_publish(o->options.bus, QUEUE_NOTIFICATION, body.data, body.len, err) < 0)
                return -err->kind;
        if (FAILPOINT("orchestrator.after_notify"))
                return error_set(err, ERROR_UNAVAILABLE, "failpoint after the notification");
        build->notified = true;
        return store_build_update(store, build, err);
}
