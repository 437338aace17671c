/*
 * The first ten members keep the names of the public contract; what came later follows the same
 * spelling. A pull request is an object of its own, null for everything else.
 */
#include "wire/webhook_event.h"

#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"
#include "wire/codec.h"

#include "base/banned.h"

#define MESSAGE_MAX (64 * 1024)

#define TEXT(name, member, flags)                                                              \
        {                                                                                      \
                name, CODEC_TEXT, offsetof(struct webhook_event, member), flags, WIRE_TEXT_MAX \
        }

static const struct codec_field fields[] = {
        TEXT("repositoryUrl", repository_url, CODEC_REQUIRED),
        TEXT("repoName", repo_name, CODEC_REQUIRED),
        TEXT("branch", branch, CODEC_REQUIRED),
        TEXT("commitId", commit, CODEC_REQUIRED),
        {"commitMessage", CODEC_TEXT, offsetof(struct webhook_event, message), CODEC_REQUIRED,
         MESSAGE_MAX},
        TEXT("pusherName", pusher, CODEC_REQUIRED),
        TEXT("pusherEmail", pusher_email, CODEC_REQUIRED),
        {"timestamp", CODEC_TIME_NS, offsetof(struct webhook_event, timestamp_ns), CODEC_REQUIRED,
         0},
        TEXT("triggerSource", trigger, CODEC_FILLED),
        TEXT("projectType", project_type, CODEC_REQUIRED),
};

static const struct codec_field more_fields[] = {
        TEXT("id", id, CODEC_FILLED),
        TEXT("forge", forge, CODEC_FILLED),
        TEXT("repoFullName", repo_full_name, CODEC_FILLED),
        TEXT("ref", ref, CODEC_REQUIRED),
        TEXT("deliveryId", delivery_id, CODEC_REQUIRED),
        TEXT("authorName", author, 0),
        TEXT("authorEmail", author_email, 0),
        TEXT("committerEmail", committer_email, 0),
        TEXT("requestedBy", requested_by, 0),
};

static const struct codec_field pull_request_fields[] = {
        {"number", CODEC_INT64, offsetof(struct webhook_event, pull_request), CODEC_FILLED, 0},
        TEXT("title", pull_request_title, 0),
        {"fork", CODEC_BOOL, offsetof(struct webhook_event, fork), 0, 0},
};

#define COUNT(table) (sizeof(table) / sizeof(*(table)))

struct webhook_event *webhook_event_new(void)
{
        struct arena *arena = arena_new();
        struct webhook_event *event = arena_alloc(arena, sizeof(*event));

        *event = (struct webhook_event){
                .arena = arena,
                .id = "",
                .forge = "",
                .repository_url = "",
                .repo_name = "",
                .repo_full_name = "",
                .branch = "",
                .ref = "",
                .commit = "",
                .message = "",
                .pusher = "",
                .pusher_email = "",
                .author = "",
                .author_email = "",
                .committer_email = "",
                .trigger = "",
                .project_type = "unknown",
                .delivery_id = "",
                .pull_request_title = "",
                .requested_by = "",
        };
        return event;
}

void webhook_event_free(struct webhook_event *event)
{
        if (event)
                arena_free(event->arena);
}

void webhook_event_encode(const struct webhook_event *event, struct str *ret)
{
        scoped(json) json_t *json = json_object();
        json_t *pull_request = json_null();

        codec_encode(json, event, fields, COUNT(fields));
        json_set_int(json, "v", WIRE_VERSION);
        codec_encode(json, event, more_fields, COUNT(more_fields));
        if (event->pull_request > 0) {
                pull_request = json_object();
                codec_encode(pull_request, event, pull_request_fields, COUNT(pull_request_fields));
        }
        json_object_set_new(json, "pullRequest", pull_request);
        str_add_json(ret, json);
}

static int decode(struct webhook_event *event, const json_t *json, struct error *err)
{
        const json_t *pull_request = json_object_get(json, "pullRequest");
        int r;

        r = codec_decode(event, event->arena, json, fields, COUNT(fields), err);
        if (r < 0)
                return r;
        r = codec_decode(event, event->arena, json, more_fields, COUNT(more_fields), err);
        if (r < 0 || !pull_request || json_is_null(pull_request))
                return r;
        r = codec_decode(event, event->arena, pull_request, pull_request_fields,
                         COUNT(pull_request_fields), err);
        if (r < 0)
                error_wrap(err, "member \"pullRequest\"");
        return r;
}

int webhook_event_decode(struct webhook_event **ret, const char *text, size_t n, struct error *err)
{
        scoped(webhook_event) struct webhook_event *event = webhook_event_new();
        scoped(json) json_t *json = NULL;
        int r;

        r = codec_parse(&json, text, n, err);
        if (r == 0)
                r = decode(event, json, err);
        if (r < 0) {
                error_wrap(err, "message for the orchestrator about an event");
                return r;
        }
        *ret = take(event);
        return 0;
}
