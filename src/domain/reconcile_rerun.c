/*
 * What people ask of a build: to stop, or to run again.
 */
#include "domain/reconcile.h"

#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"
#include "domain/build.h"

#include "base/banned.h"

int reconcile_cancel(struct build *build, const char *who)
{
        if (state_ended(build->state) || build->cancel_requested)
                return 0;
        build->cancel_requested = true;
        build->reason = REASON_CANCELLED;
        build->reason_text = build_text(build, "cancelled by %s", text_or(who, "an administrator"));
        return 1;
}

static bool is_bad_end(enum state state)
{
        return state == STATE_FAILED || state == STATE_ERROR || state == STATE_TIMEOUT;
}

static bool needs_one_of(const struct build *build, const struct job *job, const bool *chosen)
{
        for (size_t i = 0; i < job->n_needs; i++) {
                for (size_t k = 0; k < build->n_jobs; k++) {
                        if (chosen[k] && strcmp(build->jobs[k].name, job->needs[i]) == 0)
                                return true;
                }
        }
        return false;
}

static void add_dependents(const struct build *build, bool *chosen)
{
        bool grew = true;

        while (grew) {
                grew = false;
                for (size_t i = 0; i < build->n_jobs; i++) {
                        if (!chosen[i] && needs_one_of(build, &build->jobs[i], chosen))
                                chosen[i] = grew = true;
                }
        }
}

static int choose_names(const struct build *build, const char *names, bool *chosen,
                        struct error *err)
{
        while (*names) {
                size_t n = strcspn(names, "\n");
                bool found = n == 0;

                for (size_t i = 0; i < build->n_jobs; i++) {
                        if (strlen(build->jobs[i].name) == n &&
                            memcmp(build->jobs[i].name, names, n) == 0)
                                chosen[i] = found = true;
                }
                if (!found)
                        return error_set(err, ERROR_NOT_FOUND, "the build has no job \"%.*s\"",
                                         n < 80 ? (int)n : 80, names);
                names += n + (names[n] == '\n');
        }
        return 0;
}

static void begin_round(struct build *build, const bool *chosen)
{
        if (build->state == STATE_SUCCESS || is_bad_end(build->state))
                build->previous = state_name(build->state);
        build->round++;
        build->state = STATE_QUEUED;
        build->reason = REASON_NONE;
        build->reason_text = "";
        build->findings = NULL;
        build->cancel_requested = build->notified = false;
        build->started_at = build->finished_at = 0;
        for (size_t i = 0; i < build->n_jobs; i++) {
                struct job *job = &build->jobs[i];

                if (!chosen[i])
                        continue;
                job->state = STATE_QUEUED;
                job->reason = REASON_NONE;
                job->reason_text = "";
        }
}

int reconcile_rerun(struct build *build, const char *jobs, struct error *err)
{
        bool *chosen = arena_alloc(build->arena, (build->n_jobs + 1) * sizeof(*chosen));
        bool any = build->n_jobs == 0;

        if (!state_ended(build->state))
                return error_set(err, ERROR_CONFLICT, "build %lld is still %s; cancel it first",
                                 (long long)build->number, state_name(build->state));
        for (size_t i = 0; i < build->n_jobs; i++)
                chosen[i] = strcmp(jobs, "all") == 0 ||
                            (strcmp(jobs, "failed") == 0 && build->jobs[i].state != STATE_SUCCESS);
        if (build->n_jobs && strcmp(jobs, "all") != 0 && strcmp(jobs, "failed") != 0 &&
            choose_names(build, jobs, chosen, err) < 0)
                return err ? -err->kind : -ERROR_NOT_FOUND;
        add_dependents(build, chosen);
        for (size_t i = 0; i < build->n_jobs; i++)
                any = any || chosen[i];
        if (!any)
                return error_set(err, ERROR_INVALID,
                                 "no job of build %lld is left to run again: all succeeded; "
                                 "ask for \"all\"",
                                 (long long)build->number);
        begin_round(build, chosen);
        return 0;
}
