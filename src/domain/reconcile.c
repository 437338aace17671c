/*
 * The order matters: first the attempts that are under way are judged by what is known about them,
 * then jobs without one look at what they need (again and again, because one that is skipped may
 * skip others), then the jobs make the state of the build. Every writing goes through set_text() or
 * a comparison, so that an unchanged build stays unchanged and is not stored again.
 */
#include "domain/reconcile.h"

#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"
#include "domain/build.h"

#include "base/banned.h"

#define DOUBLINGS_MAX 16

struct pass {
        struct build *build;
        const struct reconcile_facts *facts;
        struct reconcile_outcome *out;
};

struct attempt *reconcile_live(const struct job *job)
{
        struct attempt *attempt = job_attempt(job);

        return attempt && !state_ended(attempt->state) ? attempt : NULL;
}

static bool is_bad_end(enum state state)
{
        return state == STATE_FAILED || state == STATE_ERROR || state == STATE_TIMEOUT;
}

static void set_job(struct pass *pass, struct job *job, enum state state, enum reason reason,
                    const char *text)
{
        if (job->state == state && job->reason == reason && strcmp(job->reason_text, text) == 0)
                return;
        job->state = state;
        job->reason = reason;
        job->reason_text = arena_copy(pass->build->arena, text);
        pass->out->changed = true;
}

static void end_attempt(struct pass *pass, struct attempt *attempt, enum state state,
                        enum reason reason, const char *text)
{
        attempt->state = state;
        attempt->reason = reason;
        attempt->reason_text = arena_copy(pass->build->arena, text);
        attempt->finished_at = pass->facts->now;
        if (attempt->started_at && !attempt->duration_ms)
                attempt->duration_ms = attempt->finished_at > attempt->started_at
                                               ? attempt->finished_at - attempt->started_at
                                               : 0;
        for (size_t i = 0; i < attempt->n_steps; i++) {
                struct step_run *step = &attempt->steps[i];

                if (state_ended(step->state))
                        continue;
                step->state = step->state == STATE_RUNNING ? state : STATE_SKIPPED;
                step->reason = reason;
        }
        pass->out->changed = true;
}

/* Lost before a step started: by no fault of the job, nothing of it has run. */
static bool was_lost_early(const struct attempt *attempt)
{
        return attempt->state == STATE_ERROR && attempt->reason == REASON_EXECUTOR_LOST &&
               !attempt->step_started;
}

static int count_in_round(const struct build *build, const struct job *job, bool lost_early)
{
        int n = 0;

        for (size_t i = 0; i < job->n_attempts; i++) {
                const struct attempt *attempt = &job->attempts[i];

                if (attempt->round == build->round && is_bad_end(attempt->state) &&
                    was_lost_early(attempt) == lost_early)
                        n++;
        }
        return n;
}

static bool may_try_again(const struct build *build, const struct job *job,
                          const struct attempt *attempt)
{
        bool asked = (attempt->state == STATE_FAILED && job->retry_failure &&
                      job_retries_code(job, attempt->exit_code)) ||
                     (attempt->state == STATE_TIMEOUT && job->retry_timeout) ||
                     (attempt->state == STATE_ERROR && job->retry_infra);
        int lost = count_in_round(build, job, true);
        int tries = count_in_round(build, job, false);

        if (build->cancel_requested || job->n_attempts >= RECONCILE_ATTEMPTS_MAX)
                return false;
        if (attempt->state == STATE_CANCELLED)
                return attempt->reason == REASON_SUPERSEDED;
        if (was_lost_early(attempt) && lost <= RECONCILE_LOST_MAX)
                return true;
        if (lost > RECONCILE_LOST_MAX)
                tries += lost - RECONCILE_LOST_MAX;
        return asked && tries <= job->retry_max;
}

/* What the end of an attempt means for its job. */
static void settle_job(struct pass *pass, struct job *job, const struct attempt *attempt)
{
        const char *text = attempt->reason_text;
        bool ours = attempt->state == STATE_ERROR && attempt->reason == REASON_EXECUTOR_LOST;

        if (may_try_again(pass->build, job, attempt)) {
                text = arena_format(pass->build->arena, "attempt %d: %s; trying again",
                                    attempt->number, text_or(text, state_name(attempt->state)));
                set_job(pass, job, STATE_QUEUED, REASON_NONE, text);
                return;
        }
        if (pass->build->cancel_requested &&
            (ours || (attempt->state == STATE_CANCELLED && attempt->reason == REASON_SUPERSEDED)))
                set_job(pass, job, STATE_CANCELLED, REASON_CANCELLED, "cancelled");
        else if (attempt->state == STATE_CANCELLED && attempt->reason == REASON_SUPERSEDED)
                set_job(pass, job, STATE_ERROR, REASON_INTERNAL,
                        arena_format(pass->build->arena,
                                     "handed back by executors too often (%zu attempts)",
                                     job->n_attempts));
        else
                set_job(pass, job, attempt->state, attempt->reason, text);
}

static void judge_withdrawn(struct pass *pass, struct attempt *attempt)
{
        if (pass->build->cancel_requested)
                end_attempt(pass, attempt, STATE_CANCELLED, REASON_CANCELLED, "cancelled");
        else
                end_attempt(pass, attempt, STATE_ERROR, REASON_EXECUTOR_LOST,
                            "no executor took the job");
}

static enum reconcile_action judge_unclaimed(struct pass *pass, const struct reconcile_fact *fact)
{
        int doublings = fact->republished < DOUBLINGS_MAX ? fact->republished : DOUBLINGS_MAX;

        if (pass->build->cancel_requested)
                return RECONCILE_WITHDRAW;
        if (!pass->facts->dispatch_lost || fact->waiting_ms < pass->facts->reissue_ms << doublings)
                return RECONCILE_NOTHING;
        return fact->republished < RECONCILE_REPUBLISH_MAX ? RECONCILE_REPUBLISH
                                                           : RECONCILE_WITHDRAW;
}

static enum reconcile_action judge_claimed(struct pass *pass, struct attempt *attempt,
                                           const struct reconcile_fact *fact)
{
        if (fact->silent_ms >= pass->facts->lost_ms) {
                const char *who = attempt->executor[0] ? attempt->executor : "that ran it";

                end_attempt(pass, attempt, STATE_ERROR, REASON_EXECUTOR_LOST,
                            arena_format(pass->build->arena,
                                         "the executor %s has not been heard of for %lld s", who,
                                         (long long)(pass->facts->lost_ms / 1000)));
                return RECONCILE_NOTHING;
        }
        return pass->build->cancel_requested ? RECONCILE_CANCEL : RECONCILE_NOTHING;
}

static void judge_attempt(struct pass *pass, size_t i)
{
        struct job *job = &pass->build->jobs[i];
        struct attempt *attempt = reconcile_live(job);
        const struct reconcile_fact *fact = pass->facts->jobs ? &pass->facts->jobs[i] : NULL;
        enum reconcile_action action = RECONCILE_NOTHING;

        if (attempt && fact && fact->withdrawn)
                judge_withdrawn(pass, attempt);
        else if (attempt && fact && (fact->claimed || attempt->state == STATE_RUNNING))
                action = judge_claimed(pass, attempt, fact);
        else if (attempt && fact)
                action = judge_unclaimed(pass, fact);
        pass->out->jobs[i] = action;

        attempt = job_attempt(job);
        if (!state_ended(job->state) && attempt && attempt->round == pass->build->round &&
            state_ended(attempt->state))
                settle_job(pass, job, attempt);
        else if (attempt && attempt->state == STATE_RUNNING && job->state == STATE_QUEUED)
                set_job(pass, job, STATE_RUNNING, REASON_NONE, "");
}

/* A need that ended badly but may (continue-on-error) lets its dependents run. */
static bool is_satisfied(const struct job *need)
{
        return need->state == STATE_SUCCESS || (need->continue_on_error && is_bad_end(need->state));
}

static void add_name(struct str *list, const char *name)
{
        if (list->len)
                str_add(list, ", ");
        str_add(list, name);
}

/* A job that has no attempt under way and has not ended: wait, be skipped, or be ready. */
static void look_at_needs(struct pass *pass, struct job *job, enum reconcile_action *action)
{
        scoped_str struct str waits = STR_INIT;

        for (size_t i = 0; i < job->n_needs; i++) {
                const struct job *need = build_job(pass->build, job->needs[i]);

                if (!need || (state_ended(need->state) && !is_satisfied(need))) {
                        set_job(pass, job, STATE_SKIPPED, REASON_NEEDS,
                                arena_format(pass->build->arena,
                                             "skipped: it needs \"%s\", which %s", job->needs[i],
                                             !need                          ? "is not there"
                                             : need->state == STATE_ERROR   ? "ended with an error"
                                             : need->state == STATE_TIMEOUT ? "timed out"
                                             : need->state == STATE_FAILED  ? "failed"
                                             : need->state == STATE_SKIPPED ? "was skipped"
                                                                            : "was cancelled"));
                        return;
                }
                if (!state_ended(need->state))
                        add_name(&waits, need->name);
        }
        if (waits.len) {
                set_job(pass, job, STATE_QUEUED, REASON_NONE,
                        arena_format(pass->build->arena, "waits for %s", waits.data));
                return;
        }
        *action = RECONCILE_READY;
        if (!job->reason_text[0] || text_starts(job->reason_text, "waits for"))
                set_job(pass, job, STATE_QUEUED, REASON_NONE, "waits for a free executor");
}

static void look_at_waiting(struct pass *pass)
{
        for (size_t round = 0; round <= pass->build->n_jobs; round++) {
                bool before = pass->out->changed;

                pass->out->changed = false;
                for (size_t i = 0; i < pass->build->n_jobs; i++) {
                        struct job *job = &pass->build->jobs[i];

                        if (job->state != STATE_QUEUED || reconcile_live(job))
                                continue;
                        if (pass->build->cancel_requested)
                                set_job(pass, job, STATE_CANCELLED, REASON_CANCELLED, "cancelled");
                        else
                                look_at_needs(pass, job, &pass->out->jobs[i]);
                }
                if (!pass->out->changed) {
                        pass->out->changed = before;
                        return;
                }
        }
}

/* Which end states give the whole build its state, the strongest first. */
static const enum state strongest[] = {STATE_FAILED, STATE_TIMEOUT, STATE_ERROR, STATE_CANCELLED};

static const struct job *find_deciding(const struct build *build, enum state state)
{
        for (size_t i = 0; i < build->n_jobs; i++) {
                const struct job *job = &build->jobs[i];

                if (job->state == state && !(job->continue_on_error && is_bad_end(state)))
                        return job;
        }
        return NULL;
}

static void end_build(struct pass *pass)
{
        struct build *build = pass->build;
        const struct job *deciding =
                build->cancel_requested ? find_deciding(build, STATE_CANCELLED) : NULL;

        for (size_t i = 0; !deciding && i < sizeof(strongest) / sizeof(*strongest); i++)
                deciding = find_deciding(build, strongest[i]);
        build->state = deciding ? deciding->state : STATE_SUCCESS;
        build->reason = deciding ? deciding->reason : REASON_NONE;
        if (!deciding)
                build->reason_text = "";
        else if (deciding->state != STATE_CANCELLED)
                build->reason_text =
                        build_text(build, "%s: %s", deciding->name,
                                   text_or(deciding->reason_text, state_name(deciding->state)));
        else if (!build->reason_text[0])
                build->reason_text = "cancelled";
        build->finished_at = pass->facts->now;
        pass->out->changed = pass->out->ended = true;
}

/* When an executor first began an attempt of this round; 0 when none has. Results come in batches:
 * a job may have begun and ended since the last look. */
static int64_t find_begin(const struct pass *pass)
{
        int64_t begin = 0;

        for (size_t i = 0; i < pass->build->n_jobs; i++) {
                const struct job *job = &pass->build->jobs[i];

                for (size_t k = 0; k < job->n_attempts; k++) {
                        const struct attempt *attempt = &job->attempts[k];
                        int64_t at = attempt->started_at ? attempt->started_at : pass->facts->now;

                        if (attempt->round == pass->build->round && attempt->executor[0] &&
                            (!begin || at < begin))
                                begin = at;
                }
        }
        return begin;
}

static void look_at_build(struct pass *pass)
{
        struct build *build = pass->build;
        int64_t begin = build->started_at ? build->started_at : find_begin(pass);
        size_t ended = 0;

        for (size_t i = 0; i < build->n_jobs; i++)
                ended += state_ended(build->jobs[i].state);
        if (begin && build->state != STATE_RUNNING) {
                build->state = STATE_RUNNING;
                if (!build->cancel_requested)
                        build->reason_text = "";
                build->started_at = begin;
                pass->out->changed = true;
        }
        if (build->n_jobs == 0 && build->cancel_requested) {
                build->state = STATE_CANCELLED;
                build->reason = REASON_CANCELLED;
                build->finished_at = pass->facts->now;
                pass->out->changed = pass->out->ended = true;
        } else if (build->n_jobs > 0 && ended == build->n_jobs) {
                end_build(pass);
        }
}

void reconcile(struct build *build, const struct reconcile_facts *facts,
               struct reconcile_outcome *ret)
{
        struct pass pass = {build, facts, ret};

        *ret = (struct reconcile_outcome){
                .jobs = arena_alloc(build->arena, (build->n_jobs + 1) * sizeof(*ret->jobs)),
        };
        if (!state_ended(build->state)) {
                for (size_t i = 0; i < build->n_jobs; i++)
                        judge_attempt(&pass, i);
                look_at_waiting(&pass);
                look_at_build(&pass);
        }
        ret->notify = state_ended(build->state) && !build->notified;
}
