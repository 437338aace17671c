/*
 * A notification carries all that a mail shows, so that the notifier needs no other service. Its
 * texts are bounded so that even a build of JOBS_MAX jobs whose every text is at its limit fits.
 */
#include "wire/notification.h"

#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"
#include "wire/codec.h"

#include "base/banned.h"

#define EXCERPT_MAX (32 * 1024)
#define MESSAGE_MAX (16 * 1024)
#define SHORT_TEXT_MAX 2048
#define JOB_NAME_MAX 256
#define JOBS_MAX 256
#define COUNT(table) (sizeof(table) / sizeof(*(table)))

#define FIELD(name, type, member, flags, max)                                 \
        {                                                                     \
                name, type, offsetof(struct notification, member), flags, max \
        }
#define TEXT(name, member, flags) FIELD(name, CODEC_TEXT, member, flags, SHORT_TEXT_MAX)
#define NUMBER(name, member, flags) FIELD(name, CODEC_INT64, member, flags, 0)

static const struct codec_field fields[] = {
        TEXT("id", id, CODEC_FILLED),
        TEXT("build_id", build_id, CODEC_FILLED),
        FIELD("round", CODEC_INT, round, CODEC_FILLED, 0),
        TEXT("repo", repo, CODEC_FILLED),
        NUMBER("number", number, CODEC_REQUIRED),
        TEXT("ref", ref, CODEC_REQUIRED),
        TEXT("branch", branch, CODEC_REQUIRED),
        TEXT("commit", commit, CODEC_REQUIRED),
        FIELD("message", CODEC_TEXT, message, 0, MESSAGE_MAX),
        TEXT("author", author, 0),
        TEXT("author_email", author_email, 0),
        TEXT("committer_email", committer_email, 0),
        TEXT("pusher", pusher, 0),
        TEXT("pusher_email", pusher_email, 0),
        TEXT("event", event, 0),
        FIELD("fork", CODEC_BOOL, fork, 0, 0),
        FIELD("state", CODEC_STATE, state, CODEC_REQUIRED, 0),
        FIELD("reason_code", CODEC_REASON, reason, 0, 0),
        TEXT("reason", reason_text, 0),
        TEXT("previous", previous, 0),
        TEXT("policy", policy, 0),
        NUMBER("duration_ms", duration_ms, 0),
        TEXT("url", url, 0),
        TEXT("failing_job", failing_job, 0),
        TEXT("failing_step", failing_step, 0),
        TEXT("failing_reason", failing_reason, 0),
        FIELD("failing_attempt", CODEC_INT, failing_attempt, 0, 0),
        NUMBER("failing_duration_ms", failing_duration_ms, 0),
        NUMBER("failing_first_line", failing_first_line, 0),
        TEXT("job_url", job_url, 0),
        FIELD("tail", CODEC_TEXT, tail, CODEC_KEEP_END, EXCERPT_MAX),
        NUMBER("tail_last_line", tail_last_line, 0),
        FIELD("findings", CODEC_TEXT, findings, 0, EXCERPT_MAX),
};

static const struct codec_field job_fields[] = {
        {"name", CODEC_TEXT, offsetof(struct notification_job, name), CODEC_REQUIRED, JOB_NAME_MAX},
        {"state", CODEC_STATE, offsetof(struct notification_job, state), CODEC_REQUIRED, 0},
        {"duration_ms", CODEC_INT64, offsetof(struct notification_job, duration_ms), 0, 0},
        {"attempt", CODEC_INT, offsetof(struct notification_job, attempt), 0, 0},
};

struct notification *notification_new(void)
{
        struct arena *arena = arena_new();
        struct notification *notification = arena_alloc(arena, sizeof(*notification));

        *notification = (struct notification){.arena = arena, .round = 1};
        for (size_t i = 0; i < COUNT(fields); i++) {
                if (fields[i].type == CODEC_TEXT)
                        *(const char **)((char *)notification + fields[i].offset) = "";
        }
        return notification;
}

void notification_free(struct notification *notification)
{
        if (notification)
                arena_free(notification->arena);
}

void notification_encode(const struct notification *notification, struct str *ret)
{
        scoped(json) json_t *json = json_object();
        json_t *jobs = json_array();

        json_set_int(json, "v", WIRE_VERSION);
        codec_encode(json, notification, fields, COUNT(fields));
        for (size_t i = 0; i < notification->n_jobs && i < JOBS_MAX; i++) {
                json_t *job = json_object();

                codec_encode(job, &notification->jobs[i], job_fields, COUNT(job_fields));
                json_array_append_new(jobs, job);
        }
        json_object_set_new(json, "jobs", jobs);
        str_add_json(ret, json);
}

static int decode_jobs(struct notification *notification, const json_t *json, struct error *err)
{
        const json_t *jobs;
        int r;

        r = codec_array(&jobs, json, "jobs", err);
        if (r < 0)
                return r;
        notification->n_jobs = json_array_size(jobs);
        notification->jobs = arena_alloc(notification->arena,
                                         notification->n_jobs * sizeof(*notification->jobs));
        for (size_t i = 0; i < notification->n_jobs; i++) {
                r = codec_decode(&notification->jobs[i], notification->arena,
                                 json_array_get(jobs, i), job_fields, COUNT(job_fields), err);
                if (r < 0) {
                        error_wrap(err, "job %zu", i + 1);
                        return r;
                }
        }
        return 0;
}

int notification_decode(struct notification **ret, const char *text, size_t n, struct error *err)
{
        scoped(notification) struct notification *notification = notification_new();
        scoped(json) json_t *json = NULL;
        int r;

        r = codec_parse(&json, text, n, err);
        if (r == 0)
                r = codec_decode(notification, notification->arena, json, fields, COUNT(fields),
                                 err);
        if (r == 0)
                r = decode_jobs(notification, json, err);
        if (r < 0) {
                error_wrap(err, "message for the notifier");
                return r;
        }
        *ret = take(notification);
        return 0;
}
