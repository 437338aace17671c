#include "pipeline/orchestrator/tell.h"

#include <ctype.h>
#include <string.h>

#include "base/arena.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/build.h"
#include "wire/notification.h"

#include "base/banned.h"

static void add_segment(struct str *url, const char *text)
{
        for (; *text; text++) {
                unsigned char c = (unsigned char)*text;

                if (isalnum(c) || strchr("-._~", c))
                        str_add_char(url, (char)c);
                else
                        str_printf(url, "%%%02X", c);
        }
}

static bool is_bad(enum state state)
{
        return state == STATE_FAILED || state == STATE_ERROR || state == STATE_TIMEOUT;
}

/* The job that people should look at first: the first that gave the build its state. */
static const struct job *find_failing_job(const struct build *build)
{
        const struct job *other = NULL;

        if (!is_bad(build->state))
                return NULL;
        for (size_t i = 0; i < build->n_jobs; i++) {
                const struct job *job = &build->jobs[i];

                if (!is_bad(job->state) || job->continue_on_error)
                        continue;
                if (job->state == build->state)
                        return job;
                if (!other)
                        other = job;
        }
        return other;
}

/* The step that ended the job is the last that went wrong: one before it was allowed to. */
static const struct step_run *find_failing_step(const struct attempt *attempt)
{
        for (size_t i = attempt->n_steps; i > 0; i--) {
                if (is_bad(attempt->steps[i - 1].state))
                        return &attempt->steps[i - 1];
        }
        return NULL;
}

static void add_failing(struct notification *ret, const struct build *build)
{
        const struct job *job = find_failing_job(build);
        const struct attempt *attempt = job ? job_attempt(job) : NULL;
        const struct step_run *step = attempt ? find_failing_step(attempt) : NULL;
        scoped_str struct str url = STR_INIT;

        if (!job)
                return;
        str_printf(&url, "%s/jobs/", ret->url);
        add_segment(&url, job->name);
        ret->failing_job = job->name;
        ret->failing_reason = job->reason_text;
        if (attempt) {
                ret->failing_attempt = attempt->number;
                ret->failing_duration_ms = attempt->duration_ms;
                ret->tail = attempt->tail ? attempt->tail : "";
        }
        if (step) {
                ret->failing_step = step->name;
                ret->failing_duration_ms = step->duration_ms;
                if (step->reason == REASON_EXIT_CODE)
                        ret->failing_reason =
                                arena_format(ret->arena, "exited with %d", step->exit_code);
                else if (step->reason_text[0])
                        ret->failing_reason = step->reason_text;
                ret->failing_first_line = step->first_line;
                ret->tail_last_line = step->last_line;
                if (step->last_line > 0)
                        str_printf(&url, "#L%lld", (long long)step->last_line);
        }
        ret->job_url = arena_copy(ret->arena, url.data);
}

static void add_jobs(struct notification *ret, const struct build *build)
{
        ret->jobs = arena_alloc(ret->arena, (build->n_jobs + 1) * sizeof(*ret->jobs));
        ret->n_jobs = build->n_jobs;
        for (size_t i = 0; i < build->n_jobs; i++) {
                const struct attempt *attempt = job_attempt(&build->jobs[i]);

                ret->jobs[i] = (struct notification_job){
                        .name = build->jobs[i].name,
                        .state = build->jobs[i].state,
                        .duration_ms = attempt ? attempt->duration_ms : 0,
                        .attempt = attempt ? attempt->number : 0,
                };
        }
}

struct notification *tell_build(const struct build *build, const char *url)
{
        struct notification *ret = notification_new();

        ret->id = arena_format(ret->arena, "%s/%d", build->id, build->round);
        ret->build_id = build->id;
        ret->round = build->round;
        ret->repo = build->repo;
        ret->number = build->number;
        ret->ref = build->ref;
        ret->branch = build->branch;
        ret->commit = build->commit;
        ret->message = build->message;
        ret->author = build->author;
        ret->author_email = build->author_email;
        ret->committer_email = build->committer_email;
        ret->pusher = build->pusher;
        ret->pusher_email = build->pusher_email;
        ret->event = build->event;
        ret->fork = build->fork;
        ret->state = build->state;
        ret->reason = build->reason;
        ret->reason_text = build->reason_text;
        ret->previous = build->previous;
        ret->policy = build->notify;
        if (build->started_at && build->finished_at > build->started_at)
                ret->duration_ms = build->finished_at - build->started_at;
        ret->url = arena_format(ret->arena, "%s/r/%s/builds/%lld", url, build->repo,
                                (long long)build->number);
        ret->failing_job = ret->failing_step = ret->failing_reason = "";
        ret->job_url = ret->tail = "";
        ret->findings = build->findings ? build->findings : "";
        add_failing(ret, build);
        add_jobs(ret, build);
        return ret;
}
