/*
 * The stored form: the tables below name every member of a build once. Times are whole
 * milliseconds here; the REST form (build_rest.c) is made for people and has fewer members.
 */
#include "wire/build_json.h"

#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "domain/build.h"
#include "wire/codec.h"

#include "base/banned.h"

#define COUNT(table) (sizeof(table) / sizeof(*(table)))
#define NO_LIMIT 0

#define FIELD(owner, name, type, member, flags)                             \
        {                                                                   \
                name, type, offsetof(struct owner, member), flags, NO_LIMIT \
        }
#define TEXT(owner, name, member) FIELD(owner, name, CODEC_TEXT, member, 0)
#define NUMBER(owner, name, member) FIELD(owner, name, CODEC_INT64, member, 0)
#define FLAG(owner, name, member) FIELD(owner, name, CODEC_BOOL, member, 0)

static const struct codec_field fields[] = {
        FIELD(build, "id", CODEC_TEXT, id, CODEC_FILLED),
        FIELD(build, "version", CODEC_INT64, version, CODEC_FILLED),
        FIELD(build, "round", CODEC_INT, round, CODEC_FILLED),
        NUMBER(build, "number", number),
        TEXT(build, "forge", forge),
        FIELD(build, "repo", CODEC_TEXT, repo, CODEC_REQUIRED),
        TEXT(build, "clone_url", clone_url),
        TEXT(build, "ref", ref),
        TEXT(build, "branch", branch),
        TEXT(build, "commit", commit),
        TEXT(build, "message", message),
        TEXT(build, "author", author),
        TEXT(build, "author_email", author_email),
        TEXT(build, "committer_email", committer_email),
        TEXT(build, "pusher", pusher),
        TEXT(build, "pusher_email", pusher_email),
        TEXT(build, "event", event),
        NUMBER(build, "pull_request", pull_request),
        FLAG(build, "fork", fork),
        TEXT(build, "project_type", project_type),
        TEXT(build, "delivery_id", delivery_id),
        TEXT(build, "title", title),
        TEXT(build, "previous", previous),
        TEXT(build, "notify", notify),
        FIELD(build, "findings", CODEC_TEXT_NULL, findings, 0),
        FLAG(build, "cancel_requested", cancel_requested),
        FLAG(build, "notified", notified),
        FIELD(build, "state", CODEC_STATE, state, CODEC_REQUIRED),
        FIELD(build, "reason_code", CODEC_REASON, reason, 0),
        TEXT(build, "reason", reason_text),
        NUMBER(build, "created_at", created_at),
        NUMBER(build, "started_at", started_at),
        NUMBER(build, "finished_at", finished_at),
};

static const struct codec_field job_fields[] = {
        FIELD(job, "id", CODEC_TEXT, id, CODEC_FILLED),
        FIELD(job, "name", CODEC_TEXT, name, CODEC_REQUIRED),
        TEXT(job, "title", title),
        TEXT(job, "image", image),
        FLAG(job, "continue_on_error", continue_on_error),
        FIELD(job, "retry_max", CODEC_INT, retry_max, 0),
        FLAG(job, "retry_infra", retry_infra),
        FLAG(job, "retry_timeout", retry_timeout),
        FLAG(job, "retry_failure", retry_failure),
        TEXT(job, "retry_codes", retry_codes),
        FIELD(job, "state", CODEC_STATE, state, CODEC_REQUIRED),
        FIELD(job, "reason_code", CODEC_REASON, reason, 0),
        TEXT(job, "reason", reason_text),
};

static const struct codec_field attempt_fields[] = {
        FIELD(attempt, "number", CODEC_INT, number, CODEC_FILLED),
        FIELD(attempt, "round", CODEC_INT, round, 0),
        TEXT(attempt, "token", token),
        FIELD(attempt, "state", CODEC_STATE, state, CODEC_REQUIRED),
        FIELD(attempt, "reason_code", CODEC_REASON, reason, 0),
        TEXT(attempt, "reason", reason_text),
        FIELD(attempt, "exit_code", CODEC_INT, exit_code, 0),
        TEXT(attempt, "executor", executor),
        FLAG(attempt, "step_started", step_started),
        NUMBER(attempt, "created_at", created_at),
        NUMBER(attempt, "dispatched_at", dispatched_at),
        NUMBER(attempt, "started_at", started_at),
        NUMBER(attempt, "finished_at", finished_at),
        NUMBER(attempt, "duration_ms", duration_ms),
        NUMBER(attempt, "log_lines", log_lines),
        NUMBER(attempt, "log_bytes", log_bytes),
        FIELD(attempt, "tail", CODEC_TEXT_NULL, tail, 0),
};

static const struct codec_field step_fields[] = {
        FIELD(step_run, "index", CODEC_INT, index, CODEC_REQUIRED),
        TEXT(step_run, "id", id),
        TEXT(step_run, "name", name),
        FIELD(step_run, "state", CODEC_STATE, state, CODEC_REQUIRED),
        FIELD(step_run, "reason_code", CODEC_REASON, reason, 0),
        TEXT(step_run, "reason", reason_text),
        FIELD(step_run, "exit_code", CODEC_INT, exit_code, 0),
        FIELD(step_run, "signal", CODEC_INT, signal, 0),
        NUMBER(step_run, "started_at", started_at),
        NUMBER(step_run, "duration_ms", duration_ms),
        NUMBER(step_run, "cpu_ms", cpu_ms),
        NUMBER(step_run, "max_rss_bytes", max_rss_bytes),
        NUMBER(step_run, "first_line", first_line),
        NUMBER(step_run, "last_line", last_line),
};

const struct codec_field *build_fields(size_t *ret_n)
{
        *ret_n = COUNT(fields);
        return fields;
}

static json_t *attempt_to_json(const struct attempt *attempt)
{
        json_t *json = json_object();
        json_t *steps = json_array();

        codec_encode(json, attempt, attempt_fields, COUNT(attempt_fields));
        for (size_t i = 0; i < attempt->n_steps; i++) {
                json_t *step = json_object();

                codec_encode(step, &attempt->steps[i], step_fields, COUNT(step_fields));
                json_array_append_new(steps, step);
        }
        json_object_set_new(json, "steps", steps);
        return json;
}

static json_t *job_to_json(const struct job *job)
{
        json_t *json = json_object();
        json_t *needs = json_array();
        json_t *attempts = json_array();

        codec_encode(json, job, job_fields, COUNT(job_fields));
        for (size_t i = 0; i < job->n_needs; i++)
                json_array_append_new(
                        needs, codec_text(job->needs[i], strlen(job->needs[i]), NO_LIMIT, false));
        for (size_t i = 0; i < job->n_attempts; i++)
                json_array_append_new(attempts, attempt_to_json(&job->attempts[i]));
        json_object_set_new(json, "needs", needs);
        json_object_set_new(json, "attempts", attempts);
        return json;
}

json_t *jobs_to_json(const struct build *build)
{
        json_t *jobs = json_array();

        for (size_t i = 0; i < build->n_jobs; i++)
                json_array_append_new(jobs, job_to_json(&build->jobs[i]));
        return jobs;
}

json_t *build_to_json(const struct build *build)
{
        json_t *json = json_object();

        json_set_int(json, "v", WIRE_VERSION);
        codec_encode(json, build, fields, COUNT(fields));
        json_object_set_new(json, "jobs", jobs_to_json(build));
        return json;
}

static int read_attempt(struct build *build, struct attempt *attempt, const json_t *json,
                        struct error *err)
{
        const json_t *steps;
        int r;

        attempt->token = attempt->reason_text = attempt->executor = "";
        attempt->exit_code = -1;
        r = codec_decode(attempt, build->arena, json, attempt_fields, COUNT(attempt_fields), err);
        if (r == 0)
                r = codec_array(&steps, json, "steps", err);
        if (r < 0)
                return r;
        build_set_steps(build, attempt, json_array_size(steps));
        for (size_t i = 0; i < attempt->n_steps; i++) {
                r = codec_decode(&attempt->steps[i], build->arena, json_array_get(steps, i),
                                 step_fields, COUNT(step_fields), err);
                if (r < 0) {
                        error_wrap(err, "step %zu", i);
                        return r;
                }
        }
        return 0;
}

static int read_needs(struct build *build, struct job *job, const json_t *json, struct error *err)
{
        const json_t *needs;
        int r;

        r = codec_array(&needs, json, "needs", err);
        if (r < 0)
                return r;
        job->n_needs = json_array_size(needs);
        job->needs = arena_alloc(build->arena, job->n_needs * sizeof(*job->needs));
        for (size_t i = 0; i < job->n_needs; i++) {
                const char *name = json_string_value(json_array_get(needs, i));

                if (!name)
                        return error_set(err, ERROR_INVALID,
                                         "member \"needs\" is no list of texts");
                job->needs[i] = arena_copy(build->arena, name);
        }
        return 0;
}

static int read_job(struct build *build, struct job *job, const json_t *json, struct error *err)
{
        const json_t *attempts;
        int r;

        r = codec_decode(job, build->arena, json, job_fields, COUNT(job_fields), err);
        if (r == 0)
                r = read_needs(build, job, json, err);
        if (r == 0)
                r = codec_array(&attempts, json, "attempts", err);
        if (r < 0)
                return r;
        job->n_attempts = json_array_size(attempts);
        job->attempts = arena_alloc(build->arena, job->n_attempts * sizeof(*job->attempts));
        for (size_t i = 0; i < job->n_attempts; i++) {
                r = read_attempt(build, &job->attempts[i], json_array_get(attempts, i), err);
                if (r < 0) {
                        error_wrap(err, "attempt %zu", i + 1);
                        return r;
                }
        }
        return 0;
}

int jobs_from_json(struct build *build, const json_t *array, struct error *err)
{
        if (!json_is_array(array))
                return error_set(err, ERROR_INVALID, "the jobs of a build are no list");
        build_set_jobs(build, json_array_size(array));
        for (size_t i = 0; i < build->n_jobs; i++) {
                int r = read_job(build, &build->jobs[i], json_array_get(array, i), err);

                if (r < 0) {
                        error_wrap(err, "job %zu", i + 1);
                        return r;
                }
        }
        return 0;
}

int jobs_decode(struct build *build, const char *text, size_t n, struct error *err)
{
        scoped(json) json_t *json = NULL;
        int r;

        r = json_parse(&json, text, n, BUILD_BYTES_MAX, err);
        return r < 0 ? r : jobs_from_json(build, json, err);
}

int build_from_json(struct build **ret, const json_t *json, struct error *err)
{
        scoped(build) struct build *build = build_new();
        const json_t *jobs = NULL;
        int r;

        r = codec_decode(build, build->arena, json, fields, COUNT(fields), err);
        if (r == 0)
                r = codec_array(&jobs, json, "jobs", err);
        if (r == 0 && jobs)
                r = jobs_from_json(build, jobs, err);
        if (r < 0) {
                error_wrap(err, "a stored build");
                return r;
        }
        *ret = take(build);
        return 0;
}

int build_decode(struct build **ret, const char *text, size_t n, struct error *err)
{
        scoped(json) json_t *json = NULL;
        int r;

        r = json_parse(&json, text, n, BUILD_BYTES_MAX, err);
        return r < 0 ? r : build_from_json(ret, json, err);
}
