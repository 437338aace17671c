/*
 * webhook.queue: each event becomes a build, or an outcome that says why it did not.
 *
 * The delivery's id is unique among builds, so an event that comes twice makes one build. While our
 * own store is away a message stays in hand and is tried again: it must not look like one that
 * crashes us. Events of one repository are handled one after the other in the order in which they
 * came, so that build numbers follow the pushes; those of others do not wait for a slow forge.
 */
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/id.h"
#include "base/json.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/build.h"
#include "pipeline/orchestrator/parts.h"
#include "ports/bus.h"
#include "ports/store.h"
#include "wire/webhook_event.h"

#include "base/banned.h"

/* A message that was handed out so often without being settled has killed us each time. */
#define DELIVERIES_MAX 3

#define OUTCOME_BUILT "built"
#define OUTCOME_NO_FILE "no configuration"
#define OUTCOME_ERROR "error"

static uint64_t gate_enter(struct orchestrator *o, const char *key)
{
        uint64_t ticket;
        bool clear = false;

        pthread_mutex_lock(&o->lock);
        ticket = ++o->tickets;
        o->gate[o->n_gate++] = (struct gate_entry){key, ticket};
        while (!clear) {
                clear = true;
                for (size_t i = 0; i < o->n_gate; i++) {
                        if (o->gate[i].ticket < ticket && strcmp(o->gate[i].key, key) == 0)
                                clear = false;
                }
                if (!clear)
                        pthread_cond_wait(&o->changed, &o->lock);
        }
        pthread_mutex_unlock(&o->lock);
        return ticket;
}

static void gate_leave(struct orchestrator *o, uint64_t ticket)
{
        pthread_mutex_lock(&o->lock);
        for (size_t i = 0; i < o->n_gate; i++) {
                if (o->gate[i].ticket == ticket) {
                        o->gate[i] = o->gate[--o->n_gate];
                        break;
                }
        }
        pthread_cond_broadcast(&o->changed);
        pthread_mutex_unlock(&o->lock);
}

static const char *delivery_of(const struct webhook_event *event)
{
        return event->delivery_id[0] ? event->delivery_id : event->id;
}

static struct build *build_of_event(const struct webhook_event *event)
{
        struct build *build = build_new();
        struct arena *arena = build->arena;
        char id[ID_SIZE];

        id_new(id);
        build->id = arena_copy(arena, id);
        build->forge = arena_copy(arena, event->forge);
        build->repo = arena_copy(arena, event->repo_full_name);
        build->clone_url = arena_copy(arena, event->repository_url);
        build->ref = arena_copy(arena, event->ref);
        build->branch = arena_copy(arena, event->branch);
        build->commit = arena_copy(arena, event->commit);
        build->message = arena_copy(arena, event->message);
        build->author = arena_copy(arena, event->author);
        build->author_email = arena_copy(arena, event->author_email);
        build->committer_email = arena_copy(arena, event->committer_email);
        build->pusher = arena_copy(arena, event->pusher);
        build->pusher_email = arena_copy(arena, event->pusher_email);
        build->event = arena_copy(arena, event->trigger);
        build->pull_request = event->pull_request;
        build->fork = event->fork;
        build->project_type = arena_copy(arena, text_or(event->project_type, "unknown"));
        build->delivery_id = arena_copy(arena, delivery_of(event));
        build->title = arena_copy(arena, text_or(event->pull_request_title, ""));
        build->created_at = wall_ms();
        return build;
}

static int tell_built(struct orchestrator *o, const struct build *build, struct error *err)
{
        int result = store_delivery_outcome(o->options.store, build->delivery_id, OUTCOME_BUILT,
                                            build->reason_text, build->id, err);

        if (result == 0)
                orchestrator_kick(o);
        return result;
}

/* Return: 1 when the delivery has its build already. */
static int find_earlier(struct orchestrator *o, const struct webhook_event *event,
                        struct error *err)
{
        scoped(build) struct build *build = NULL;
        struct error why = {0};
        int result = store_build_of_delivery(o->options.store, &build, delivery_of(event), &why);

        if (result == -ERROR_NOT_FOUND)
                return 0;
        if (result < 0) {
                *err = why;
                return result;
        }
        result = tell_built(o, build, err);
        return result < 0 ? result : 1;
}

static int insert(struct orchestrator *o, struct build *build, struct error *err)
{
        scoped(change_before) struct change_before *before = NULL;
        struct build blank = {.state = STATE_QUEUED};
        int result;

        if (FAILPOINT("orchestrator.before_insert"))
                return error_set(err, ERROR_UNAVAILABLE, "failpoint before the insert");
        result = store_build_insert(o->options.store, build, err);
        if (result < 0)
                return result; /* a conflict: somebody else has just made it; look again */
        before = change_remember(&blank);
        if (FAILPOINT("orchestrator.after_insert"))
                return error_set(err, ERROR_UNAVAILABLE, "failpoint after the insert");
        orchestrator_log(LOG_INFO, build, NULL,
                         json_pack("{s:s, s:I, s:s, s:i}", "repo", build->repo, "number",
                                   (json_int_t)build->number, "commit", build->commit, "jobs",
                                   (int)build->n_jobs),
                         "Build queued");
        change_announce(o, build, before);
        return tell_built(o, build, err);
}

static int take_event(struct orchestrator *o, const struct webhook_event *event, struct error *err)
{
        scoped(build) struct build *build = NULL;
        scoped_text char *why = NULL;
        int result = find_earlier(o, event, err);

        if (result != 0)
                return result < 0 ? result : 0;
        build = build_of_event(event);
        result = source_read(o, build, err);
        if (result < 0)
                return result;
        if (result == SOURCE_READ)
                return insert(o, build, err);
        why = text_format("the commit %.12s has no .runnerci.yml", build->commit);
        orchestrator_log(LOG_INFO, NULL, NULL,
                         json_pack("{s:s, s:s, s:s}", "repo", build->repo, "commit", build->commit,
                                   "delivery", build->delivery_id),
                         "No configuration: %s", why);
        return store_delivery_outcome(o->options.store, build->delivery_id, OUTCOME_NO_FILE, why,
                                      "", err);
}

static int take_patiently(struct orchestrator *o, const struct webhook_event *event,
                          struct error *err)
{
        for (int failures = 1;; failures++) {
                int result = take_event(o, event, err);

                if (result != -ERROR_UNAVAILABLE && result != -ERROR_CONFLICT)
                        return result;
                orchestrator_log(LOG_WARNING, NULL, NULL, NULL, "event of %s: will try again: %s",
                                 event->repo_full_name, err->text);
                if (!orchestrator_backoff(o, failures))
                        return error_set(err, ERROR_CANCELLED, "stopping");
        }
}

/* The outcome of a message that cannot be handled, if it says at least whose it is. */
static void tell_broken(struct orchestrator *o, const struct bus_message *message,
                        const char *reason)
{
        scoped(json) json_t *json = NULL;
        struct error ignored;
        const char *delivery;

        if (json_parse(&json, message->body, message->len, BUS_BODY_MAX, &ignored) < 0)
                return;
        delivery = json_text_or(json, "deliveryId", "");
        if (delivery[0])
                store_delivery_outcome(o->options.store, delivery, OUTCOME_ERROR, reason, "",
                                       &ignored);
}

int events_handle(void *data, const struct bus_message *message, struct error *err)
{
        struct orchestrator *o = data;
        scoped(webhook_event) struct webhook_event *event = NULL;
        uint64_t ticket;
        int result;

        if (message->attempts > DELIVERIES_MAX) {
                error_set(err, ERROR_BUG,
                          "handed out %d times without an end: put aside, since it may be what "
                          "stops the orchestrator",
                          message->attempts - 1);
                if (message->attempts == DELIVERIES_MAX + 1)
                        tell_broken(o, message, err->text);
                return -ERROR_BUG;
        }
        if (webhook_event_decode(&event, message->body, message->len, err) < 0) {
                tell_broken(o, message, err->text);
                return -ERROR_INVALID;
        }
        ticket = gate_enter(o, event->repository_url);
        result = take_patiently(o, event, err);
        gate_leave(o, ticket);
        if (result < 0 && result != -ERROR_CANCELLED)
                tell_broken(o, message, err->text);
        return result;
}
