/*
 * The form for REST, the command line and scripts. What is not known is null, never 0 or "": an
 * exit code that is null is not an exit code of 0. A job shows its newest attempt at its top and
 * every attempt below `attempts`.
 */
#include <string.h>

#include "base/str.h"
#include "domain/build.h"
#include "wire/build_json.h"
#include "wire/codec.h"

#include "base/banned.h"

static void set_text(json_t *json, const char *name, const char *text)
{
        if (text)
                json_object_set_new(json, name, codec_text(text, strlen(text), 0, false));
        else
                json_object_set_new(json, name, json_null());
}

static void set_known(json_t *json, const char *name, bool known, int64_t value)
{
        json_object_set_new(json, name, known ? json_integer(value) : json_null());
}

static void set_state(json_t *json, enum state state, enum reason reason, const char *text)
{
        json_set_text(json, "state", state_name(state));
        json_set_text(json, "reason_code", reason == REASON_NONE ? NULL : reason_name(reason));
        set_text(json, "reason", text && *text ? text : NULL);
}

static int64_t between(int64_t from, int64_t to)
{
        return to > from ? to - from : 0;
}

/* A segment of a path; slashes of "owner/name" stay. */
static void add_segment(struct str *str, const char *text, const char *keep)
{
        static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                    "-._~";

        for (; *text; text++) {
                if (strchr(plain, *text) || strchr(keep, *text))
                        str_add_char(str, *text);
                else
                        str_printf(str, "%%%02X", (unsigned char)*text);
        }
}

static void set_url(json_t *json, const struct build *build, const struct job *job, const char *url)
{
        scoped_str struct str text = STR_INIT;

        str_add(&text, url);
        str_add(&text, "/r/");
        add_segment(&text, build->repo, "/");
        str_printf(&text, "/builds/%lld", (long long)build->number);
        if (job) {
                str_add(&text, "/jobs/");
                add_segment(&text, job->name, "");
        }
        set_text(json, "url", text.data);
}

static json_t *step_to_rest(const struct step_run *step)
{
        json_t *json = json_object();
        bool ran = step->started_at != 0;

        json_set_int(json, "index", step->index);
        set_text(json, "id", *step->id ? step->id : NULL);
        set_text(json, "name", step->name);
        set_state(json, step->state, step->reason, step->reason_text);
        set_known(json, "exit_code", step->exit_code >= 0, step->exit_code);
        set_known(json, "signal", step->signal > 0, step->signal);
        json_set_time(json, "started_at", step->started_at);
        set_known(json, "duration_ms", ran && state_ended(step->state), step->duration_ms);
        set_known(json, "cpu_ms", ran && state_ended(step->state), step->cpu_ms);
        set_known(json, "max_rss_bytes", step->max_rss_bytes > 0, step->max_rss_bytes);
        set_known(json, "first_line", step->first_line > 0, step->first_line);
        set_known(json, "last_line", step->last_line > 0, step->last_line);
        return json;
}

static json_t *steps_to_rest(const struct attempt *attempt)
{
        json_t *steps = json_array();

        for (size_t i = 0; attempt && i < attempt->n_steps; i++)
                json_array_append_new(steps, step_to_rest(&attempt->steps[i]));
        return steps;
}

/* What a job and each of its attempts have in common. */
static void add_run(json_t *json, const struct attempt *attempt)
{
        bool known = attempt && attempt->exit_code >= 0;
        bool ended = attempt && attempt->started_at && state_ended(attempt->state);

        set_known(json, "exit_code", known, known ? attempt->exit_code : 0);
        set_text(json, "executor", attempt && *attempt->executor ? attempt->executor : NULL);
        json_set_time(json, "started_at", attempt ? attempt->started_at : 0);
        json_set_time(json, "finished_at", attempt ? attempt->finished_at : 0);
        set_known(json, "duration_ms", ended, ended ? attempt->duration_ms : 0);
        json_set_int(json, "log_lines", attempt ? attempt->log_lines : 0);
        json_set_int(json, "log_bytes", attempt ? attempt->log_bytes : 0);
}

static json_t *attempts_to_rest(const struct job *job)
{
        json_t *attempts = json_array();

        for (size_t i = 0; i < job->n_attempts; i++) {
                const struct attempt *attempt = &job->attempts[i];
                json_t *json = json_object();

                json_set_int(json, "number", attempt->number);
                json_set_int(json, "round", attempt->round);
                set_state(json, attempt->state, attempt->reason, attempt->reason_text);
                add_run(json, attempt);
                json_object_set_new(json, "steps", steps_to_rest(attempt));
                json_array_append_new(attempts, json);
        }
        return attempts;
}

static json_t *needs_to_rest(const struct job *job)
{
        json_t *needs = json_array();

        for (size_t i = 0; i < job->n_needs; i++)
                json_array_append_new(needs,
                                      codec_text(job->needs[i], strlen(job->needs[i]), 0, false));
        return needs;
}

json_t *job_to_rest(const struct build *build, const struct job *job, const char *url)
{
        const struct attempt *attempt = job_attempt(job);
        json_t *json = json_object();

        set_text(json, "id", job->id);
        set_text(json, "build_id", build->id);
        set_text(json, "name", job->name);
        set_text(json, "title", *job->title ? job->title : job->name);
        set_state(json, job->state, job->reason, job->reason_text);
        set_text(json, "image", *job->image ? job->image : NULL);
        set_known(json, "attempt", attempt != NULL, attempt ? attempt->number : 0);
        add_run(json, attempt);
        json_object_set_new(json, "needs", needs_to_rest(job));
        json_set_bool(json, "continue_on_error", job->continue_on_error);
        set_url(json, build, job, url);
        json_object_set_new(json, "steps", steps_to_rest(attempt));
        json_object_set_new(json, "attempts", attempts_to_rest(job));
        return json;
}

static void add_commit(json_t *json, const struct build *build)
{
        set_text(json, "repo", build->repo);
        set_text(json, "ref", build->ref);
        set_text(json, "branch", build->branch);
        set_text(json, "commit", build->commit);
        set_text(json, "message", build->message);
        set_text(json, "author", build->author);
        set_text(json, "pusher", build->pusher);
        set_text(json, "event", build->event);
        set_known(json, "pull_request", build->pull_request > 0, build->pull_request);
        set_text(json, "title", *build->title ? build->title : NULL);
}

static void add_times(json_t *json, const struct build *build)
{
        json_set_time(json, "created_at", build->created_at);
        json_set_time(json, "started_at", build->started_at);
        json_set_time(json, "finished_at", build->finished_at);
        set_known(json, "queued_ms", build->started_at > 0,
                  between(build->created_at, build->started_at));
        set_known(json, "duration_ms", build->started_at > 0 && build->finished_at > 0,
                  between(build->started_at, build->finished_at));
}

json_t *build_to_rest(const struct build *build, const char *url, bool jobs)
{
        json_t *json = json_object();
        json_t *list;

        set_text(json, "id", build->id);
        json_set_int(json, "version", build->version);
        json_set_int(json, "round", build->round);
        json_set_int(json, "number", build->number);
        add_commit(json, build);
        set_state(json, build->state, build->reason, build->reason_text);
        json_set_bool(json, "cancel_requested", build->cancel_requested);
        add_times(json, build);
        set_url(json, build, NULL, url);
        if (!jobs)
                return json;
        set_text(json, "findings", build->findings);
        list = json_array();
        for (size_t i = 0; i < build->n_jobs; i++)
                json_array_append_new(list, job_to_rest(build, &build->jobs[i], url));
        json_object_set_new(json, "jobs", list);
        return json;
}
