#include "pipeline/notifier/phrases.h"

#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "pipeline/notifier/excerpt.h"
#include "pipeline/notifier/policy.h"
#include "wire/notification.h"

#include "base/banned.h"

#define NAME_COLUMNS 80
#define COMMIT_DIGITS 7

void phrase_line(struct str *ret, const char *text, size_t max)
{
        excerpt_clean(ret, text, strcspn(text, "\r\n"), max);
}

void phrase_heading(struct str *ret, const struct notification *notification)
{
        str_printf(ret, "%s  ", told_as_name(policy_told_as(notification)));
        phrase_line(ret, notification->repo, NAME_COLUMNS);
        str_printf(ret, " #%lld", (long long)notification->number);
        if (notification->branch[0]) {
                str_add(ret, " on ");
                phrase_line(ret, notification->branch, NAME_COLUMNS);
        }
        if (notification->duration_ms > 0) {
                str_add(ret, ", after ");
                str_add_duration(ret, notification->duration_ms);
        }
}

void phrase_history(struct str *ret, const struct notification *notification,
                    const struct compose_facts *facts)
{
        enum told_as as = policy_told_as(notification);
        bool earlier = facts->first_red && facts->first_red < notification->number;

        if (as == TOLD_FIXED && earlier)
                str_printf(ret, "Red since #%lld", (long long)facts->first_red);
        else if (as == TOLD_FIXED && notification->round > 1)
                str_add(ret, "Passed when it was run again: a flaky failure");
        else if (as != TOLD_PASSED && as != TOLD_FIXED && earlier)
                str_printf(ret, "Red since #%lld", (long long)facts->first_red);
        else if (as != TOLD_PASSED && as != TOLD_FIXED && facts->last_green)
                str_printf(ret, "First failure since #%lld", (long long)facts->last_green);
}

void phrase_failing(struct str *ret, const struct notification *notification)
{
        if (!notification->failing_job[0])
                return;
        phrase_line(ret, notification->failing_job, NAME_COLUMNS);
        if (notification->failing_step[0]) {
                str_add(ret, " > ");
                phrase_line(ret, notification->failing_step, NAME_COLUMNS);
        }
        str_add(ret, "   ");
        phrase_line(ret, text_or(notification->failing_reason, "failed"), PHRASES_LINE_COLUMNS);
        if (notification->failing_duration_ms > 0) {
                str_add(ret, ", after ");
                str_add_duration(ret, notification->failing_duration_ms);
        }
        if (notification->failing_attempt > 1)
                str_printf(ret, " (attempt %d)", notification->failing_attempt);
}

static const char *job_word(enum state state)
{
        switch (state) {
        case STATE_SUCCESS:
                return "ok";
        case STATE_FAILED:
                return "FAILED";
        case STATE_ERROR:
                return "ERROR";
        case STATE_TIMEOUT:
                return "TIMED OUT";
        default:
                return state_name(state);
        }
}

void phrase_jobs(struct str *ret, const struct notification *notification)
{
        size_t shown =
                notification->n_jobs < PHRASES_JOBS_MAX ? notification->n_jobs : PHRASES_JOBS_MAX;

        for (size_t i = 0; i < shown; i++) {
                const struct notification_job *job = &notification->jobs[i];

                if (i)
                        str_add(ret, " | ");
                phrase_line(ret, job->name, NAME_COLUMNS);
                str_printf(ret, " %s", job_word(job->state));
                if (job->duration_ms > 0) {
                        str_add_char(ret, ' ');
                        str_add_duration(ret, job->duration_ms);
                }
        }
        if (shown < notification->n_jobs)
                str_printf(ret, " | and %zu more", notification->n_jobs - shown);
}

void phrase_commit(struct str *ret, const struct notification *notification)
{
        const char *author = text_or(notification->author, notification->pusher);

        str_printf(ret, "%.*s", COMMIT_DIGITS, notification->commit);
        if (author[0]) {
                str_add(ret, " by ");
                phrase_line(ret, author, NAME_COLUMNS);
        }
        if (notification->author_email[0]) {
                str_add(ret, " <");
                phrase_line(ret, notification->author_email, NAME_COLUMNS);
                str_add_char(ret, '>');
        }
        if (notification->message[0]) {
                str_add(ret, ": ");
                phrase_line(ret, notification->message, PHRASES_LINE_COLUMNS);
        }
}

const char *phrase_why(const char *why)
{
        if (strcmp(why, "pusher") == 0)
                return "You get this because you pushed this commit.";
        if (strcmp(why, "author") == 0)
                return "You get this because you are the author of this commit.";
        if (strcmp(why, "committer") == 0)
                return "You get this because you committed this commit.";
        return "You get this because ARGON_MAIL_TO of this server names your address.";
}

int phrase_excerpt(struct str *ret, const struct notification *notification,
                   const struct compose_facts *facts)
{
        if (!facts->with_log || !notification->tail[0])
                return 0;
        return excerpt_add(ret, notification->tail, notification->tail_last_line);
}
