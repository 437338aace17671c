/*
 * One route. on_begin looks at the signature's shape only, on_body feeds HMAC and parser with the
 * same bytes, the handler judges in this order: signature, kind of the body, the two headers, the
 * body itself; then it journals and answers. Until the signature is known to be right, whatever
 * else is wrong is not told: a stranger learns nothing but 401.
 */
#include "pipeline/webhook/webhook.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/id.h"
#include "base/json.h"
#include "base/log.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/signature.h"
#include "pipeline/webhook/payload.h"
#include "pipeline/webhook/relay.h"
#include "pipeline/webhook/judge.h"
#include "ports/bus.h"
#include "ports/store.h"
#include "wire/webhook_event.h"

#include "base/banned.h"

#define DELIVERY_ID_MAX 64
#define EVENT_NAME_MAX 64
/* A wrong secret at the forge would fill the log. */
#define REFUSAL_LOG_MS 60000

enum counter {
        ACCEPTED,
        IGNORED,
        DUPLICATES,
        PINGS,
        REFUSED_SIGNATURE,
        REFUSED_REQUEST,
        UNAVAILABLE,
        BYTES,
        COUNTERS,
};

struct webhook {
        struct store *store;
        struct signature_keys *keys;
        struct relay *relay;
        struct http_route route;
        atomic_uint_fast64_t counters[COUNTERS];
        atomic_int_fast64_t refusal_logged_ms; /* 0: never */
        atomic_bool store_is_away;
};

/** struct taking - a body that is arriving; @payload: NULL when its kind is not known */
struct taking {
        struct signature *signature;
        struct payload *payload;
};

static const struct log_context about = {.service = "webhook"};

static void count(struct webhook *webhook, enum counter counter)
{
        atomic_fetch_add(&webhook->counters[counter], 1);
}

static void taking_free(void *data)
{
        struct taking *taking = data;

        signature_free(taking->signature);
        if (taking->payload)
                payload_free(taking->payload);
        free(taking);
}

/* Signature */

static void refuse_signature(struct webhook *webhook, struct http_request *request, const char *why)
{
        int64_t now = clock_ms();
        int64_t last = atomic_load(&webhook->refusal_logged_ms);

        count(webhook, REFUSED_SIGNATURE);
        if ((!last || now - last >= REFUSAL_LOG_MS) &&
            atomic_compare_exchange_strong(&webhook->refusal_logged_ms, &last, now))
                log_event(LOG_WARNING, &about,
                          "a delivery from %s was refused: %s; is the secret at the forge the one "
                          "of this server? (said at most once a minute)",
                          http_peer(request), why);
        http_reply_problem(request, 401, "%s", why);
}

/* "type/subtype" without its parameters. */
static bool type_is(const char *header, const char *type)
{
        size_t n = strlen(type);

        return header && strncasecmp(header, type, n) == 0 &&
               (header[n] == '\0' || header[n] == ';' || header[n] == ' ');
}

static struct payload *payload_of_type(const struct http_request *request)
{
        const char *type = http_header(request, "Content-Type");
        const char *coding = http_header(request, "Content-Encoding");

        if (coding && strcasecmp(coding, "identity") != 0)
                return NULL;
        if (type_is(type, "application/json"))
                return payload_new(false);
        if (type_is(type, "application/x-www-form-urlencoded"))
                return payload_new(true);
        return NULL;
}

static void begin(struct http_request *request, void *data)
{
        struct webhook *webhook = data;
        struct taking *taking;

        if (http_header_count(request, "X-Hub-Signature-256") != 1) {
                refuse_signature(webhook, request,
                                 "exactly one header X-Hub-Signature-256 is needed: set a secret "
                                 "at the forge");
                return;
        }
        if (!signature_header_valid(http_header(request, "X-Hub-Signature-256"))) {
                refuse_signature(webhook, request,
                                 "X-Hub-Signature-256 is not 'sha256=' and 64 lower-case hex "
                                 "digits");
                return;
        }
        taking = xcalloc(1, sizeof(*taking));
        taking->signature = signature_new(webhook->keys);
        taking->payload = payload_of_type(request);
        http_set_context(request, taking, taking_free);
}

static int add(struct http_request *request, void *data, const char *bytes, size_t n)
{
        struct webhook *webhook = data;
        struct taking *taking = http_context(request);

        atomic_fetch_add(&webhook->counters[BYTES], n);
        signature_add(taking->signature, bytes, n);
        if (taking->payload)
                payload_add(taking->payload, bytes, n);
        return 0;
}

/* The two headers */

static bool is_word(const char *text, size_t max, const char *also)
{
        size_t n = strlen(text);

        for (const char *p = text; *p; p++) {
                bool plain = (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') ||
                             (*p >= 'A' && *p <= 'Z');

                if (!plain && !strchr(also, *p))
                        return false;
        }
        return n > 0 && n <= max;
}

static const char *one_header(struct http_request *request, const char *name, size_t max,
                              const char *also)
{
        const char *value = http_header(request, name);

        if (http_header_count(request, name) == 1 && is_word(value, max, also))
                return value;
        http_reply_problem(request, 400,
                           "exactly one header %s of 1 to %zu letters, digits and %s is needed",
                           name, max, also);
        return NULL;
}

/* Journal and answer */

/** struct taken - a delivery that is signed rightly and has the shape of its event */
struct taken {
        const char *id;
        const char *event;
        char sha256[65];
        struct judgement judgement;
        struct str message;
};

static void answer(struct http_request *request, int status, const char *id, const char *result,
                   const char *reason)
{
        scoped(json) json_t *json = json_object();
        scoped_str struct str text = STR_INIT;

        json_set_text(json, "delivery", id);
        json_set_text(json, "result", result);
        if (*reason)
                json_set_text(json, "reason", reason);
        str_add_json(&text, json);
        http_reply_json(request, status, text.data);
}

static int encode(struct taken *taken, struct error *err)
{
        struct webhook_event *event = taken->judgement.event;
        char id[ID_SIZE];

        if (taken->judgement.kind != JUDGED_ACCEPTED)
                return 0;
        id_new(id);
        event->id = arena_copy(event->arena, id);
        event->delivery_id = taken->id;
        event->timestamp_ns = wall_ns();
        webhook_event_encode(event, &taken->message);
        if (taken->message.len > BUS_BODY_MAX)
                return error_set(err, ERROR_INVALID,
                                 "the event is too large to be passed on: %zu of %d bytes",
                                 taken->message.len, BUS_BODY_MAX);
        return 0;
}

static int journal(struct webhook *webhook, const struct taken *taken, char first[72],
                   struct error *err)
{
        bool accepted = taken->judgement.kind == JUDGED_ACCEPTED;
        bool pong = taken->judgement.kind == JUDGED_PONG;
        struct delivery delivery = {
                .id = taken->id,
                .event = taken->event,
                .repo = taken->judgement.event->repo_full_name,
                .sha256 = taken->sha256,
                .message = taken->message.data,
                .received_at = wall_ms(),
                .result = accepted ? "accepted" : "ignored",
                .reason = pong ? "the forge tried whether this hook is there"
                               : taken->judgement.reason,
                .outcome = "",
                .outcome_reason = "",
                .build_id = "",
        };

        if (FAILPOINT("webhook.before_commit"))
                return error_set(err, ERROR_UNAVAILABLE, "failpoint");
        if (store_delivery_add(webhook->store, &delivery, first, err) < 0)
                return err->kind == ERROR_CONFLICT ? -ERROR_CONFLICT
                                                   : error_wrap(err, "journal a delivery");
        if (FAILPOINT("webhook.after_commit"))
                return error_set(err, ERROR_UNAVAILABLE, "failpoint");
        return 0;
}

/* Said when it begins and when it ends, not once per delivery. */
static void store_seen(struct webhook *webhook, bool away, const struct error *err)
{
        if (atomic_exchange(&webhook->store_is_away, away) == away)
                return;
        if (away)
                log_event(LOG_ERROR, &about, "deliveries are refused with 503: %s", err->text);
        else
                log_event(LOG_INFO, &about, "deliveries are taken again");
}

static void refuse_unavailable(struct webhook *webhook, struct http_request *request,
                               const struct error *err)
{
        count(webhook, UNAVAILABLE);
        store_seen(webhook, true, err);
        http_reply_header(request, "Retry-After", "5");
        http_reply_problem(request, 503,
                           "the delivery could not be made durable; send it again later");
}

static void log_taken(const struct taken *taken, const char *result)
{
        const struct webhook_event *event = taken->judgement.event;
        scoped(json) json_t *json = json_object();
        scoped_str struct str context = STR_INIT;
        struct log_context with = about;

        json_set_text(json, "delivery", taken->id);
        json_set_text(json, "event", taken->event);
        json_set_text(json, "repo", event->repo_full_name);
        json_set_text(json, "ref", event->ref);
        json_set_text(json, "commit", event->commit);
        str_add_json(&context, json);
        with.context = context.data;
        log_event(LOG_INFO, &with, "Delivery %s: %s of %s%s%s", result, taken->event,
                  text_or(event->repo_full_name, "no repository"),
                  *taken->judgement.reason ? ": " : "", taken->judgement.reason);
}

static void answer_duplicate(struct webhook *webhook, struct http_request *request,
                             const struct taken *taken, const char *first)
{
        scoped_text char *reason = NULL;

        count(webhook, DUPLICATES);
        /* The first one may still be unpublished, in an instance that is gone. */
        relay_wake(webhook->relay);
        if (strcmp(first, taken->id) != 0)
                reason = text_format("the same body was delivered as %s", first);
        answer(request, 200, taken->id, "duplicate", reason ? reason : "");
}

static void settle(struct webhook *webhook, struct http_request *request, struct taken *taken)
{
        char first[72] = "";
        struct error err = {0};
        int result = encode(taken, &err);

        if (result < 0) {
                count(webhook, REFUSED_REQUEST);
                http_reply_error(request, &err);
                return;
        }
        result = journal(webhook, taken, first, &err);
        if (result < 0 && result != -ERROR_CONFLICT) {
                refuse_unavailable(webhook, request, &err);
                return;
        }
        store_seen(webhook, false, NULL);
        if (taken->judgement.kind == JUDGED_PONG) {
                count(webhook, PINGS);
                answer(request, 200, taken->id, "pong", "");
        } else if (result == -ERROR_CONFLICT) {
                answer_duplicate(webhook, request, taken, first);
        } else if (taken->judgement.kind == JUDGED_IGNORED) {
                count(webhook, IGNORED);
                log_taken(taken, "ignored");
                answer(request, 200, taken->id, "ignored", taken->judgement.reason);
        } else {
                count(webhook, ACCEPTED);
                relay_wake(webhook->relay);
                log_taken(taken, "accepted");
                answer(request, 202, taken->id, "accepted", taken->judgement.reason);
        }
}

/* Everything about a request that is signed rightly. Return: false when a refusal was set. */
static bool judge(struct http_request *request, struct taking *taking, struct taken *taken)
{
        struct error err = {0};

        if (!taking->payload) {
                http_reply_problem(request, 415,
                                   "the body must be application/json or "
                                   "application/x-www-form-urlencoded, without Content-Encoding");
                return false;
        }
        taken->id = one_header(request, "X-GitHub-Delivery", DELIVERY_ID_MAX, "-_.:");
        taken->event =
                taken->id ? one_header(request, "X-GitHub-Event", EVENT_NAME_MAX, "_") : NULL;
        if (!taken->event)
                return false;
        if (payload_end(taking->payload, &err) < 0 ||
            judge_event(&taken->judgement, taking->payload, taken->event, &err) < 0) {
                http_reply_error(request, &err);
                return false;
        }
        return true;
}

static enum http_result handle(struct http_request *request, void *data)
{
        struct webhook *webhook = data;
        struct taking *taking = http_context(request);
        struct taken taken = {.message = STR_INIT};

        if (!signature_check(taking->signature, http_header(request, "X-Hub-Signature-256"),
                             taken.sha256)) {
                refuse_signature(webhook, request, "the signature is wrong");
                return HTTP_DONE;
        }
        if (judge(request, taking, &taken)) {
                settle(webhook, request, &taken);
                judgement_done(&taken.judgement);
        } else {
                count(webhook, REFUSED_REQUEST);
        }
        str_done(&taken.message);
        return HTTP_DONE;
}

int webhook_open(struct webhook **ret, const struct webhook_options *options, struct error *err)
{
        struct webhook *webhook = xcalloc(1, sizeof(*webhook));
        int result;

        webhook->store = options->store;
        webhook->route = (struct http_route){
                .method = "POST",
                .path = "/webhook",
                .open = true,
                .body_max = WEBHOOK_BODY_MAX,
                .on_begin = begin,
                .on_body = add,
                .handler = handle,
                .data = webhook,
        };
        result = signature_keys_new(&webhook->keys, options->secrets, err);
        if (result == 0)
                result = relay_open(&webhook->relay, options->bus, options->store, err);
        if (result < 0) {
                webhook_close(webhook);
                return result;
        }
        *ret = webhook;
        return 0;
}

void webhook_close(struct webhook *webhook)
{
        if (!webhook)
                return;
        relay_close(webhook->relay);
        if (webhook->keys)
                signature_keys_free(webhook->keys);
        free(webhook);
}

const struct http_route *webhook_routes(struct webhook *webhook, size_t *ret_n)
{
        *ret_n = 1;
        return &webhook->route;
}

void webhook_stats(struct webhook *webhook, struct webhook_stats *ret)
{
        uint64_t n[COUNTERS];

        for (size_t i = 0; i < COUNTERS; i++)
                n[i] = atomic_load(&webhook->counters[i]);
        *ret = (struct webhook_stats){
                .accepted = n[ACCEPTED],
                .ignored = n[IGNORED],
                .duplicates = n[DUPLICATES],
                .pings = n[PINGS],
                .refused_signature = n[REFUSED_SIGNATURE],
                .refused_request = n[REFUSED_REQUEST],
                .unavailable = n[UNAVAILABLE],
                .bytes = n[BYTES],
        };
        relay_stats(webhook->relay, &ret->published, &ret->publish_failures);
}
