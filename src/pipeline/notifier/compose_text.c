#include <string.h>

#include "base/scoped.h"
#include "base/str.h"
#include "pipeline/notifier/excerpt.h"
#include "pipeline/notifier/phrases.h"
#include "wire/notification.h"

#include "base/banned.h"

#define FINDINGS_BYTES_MAX (8 * 1024)

static void add_failing(struct str *ret, const struct notification *notification)
{
        scoped_str struct str failing = STR_INIT;

        phrase_failing(&failing, notification);
        if (failing.len)
                str_printf(ret, "\n  %s\n", failing.data);
        else if (notification->reason_text[0]) {
                str_add(ret, "\n  ");
                phrase_line(ret, notification->reason_text, 4 * PHRASES_LINE_COLUMNS);
                str_add_char(ret, '\n');
        }
        if (notification->job_url[0])
                str_printf(ret, "  %s\n", notification->job_url);
}

static void add_excerpt(struct str *ret, const struct notification *notification,
                        const struct compose_facts *facts)
{
        scoped_str struct str lines = STR_INIT;
        int n = phrase_excerpt(&lines, notification, facts);

        if (!n)
                return;
        str_printf(ret, "\n%d line%s of ", n, n == 1 ? "" : "s");
        phrase_line(ret, text_or(notification->failing_step, notification->failing_job), 80);
        str_printf(ret, " (secrets masked, colours removed):\n%s", lines.data);
}

/* What `argon lint` says, line by line: carets must stay below what they point at. */
static void add_findings(struct str *ret, const char *findings)
{
        scoped_str struct str text = STR_INIT;

        if (!findings[0])
                return;
        while (*findings && text.len < FINDINGS_BYTES_MAX) {
                size_t n = strcspn(findings, "\n");

                str_add(&text, n ? "  " : "");
                excerpt_clean(&text, findings, n, PHRASES_LINE_COLUMNS);
                str_add_char(&text, '\n');
                findings += n + (findings[n] == '\n');
        }
        str_printf(ret, "\n%s", text.data);
}

static bool can_rerun(const struct notification *notification)
{
        return notification->state != STATE_SUCCESS && notification->n_jobs > 0;
}

void compose_text(struct str *ret, const struct notification *notification,
                  const struct compose_facts *facts)
{
        scoped_str struct str history = STR_INIT;
        scoped_str struct str jobs = STR_INIT;

        phrase_heading(ret, notification);
        str_add_char(ret, '\n');
        phrase_history(&history, notification, facts);
        if (history.len)
                str_printf(ret, "%s\n", history.data);
        if (notification->state != STATE_SUCCESS) {
                add_failing(ret, notification);
                add_excerpt(ret, notification, facts);
                add_findings(ret, notification->findings);
        }
        phrase_jobs(&jobs, notification);
        str_add_char(ret, '\n');
        if (jobs.len)
                str_printf(ret, "Jobs: %s\n", jobs.data);
        str_add(ret, "Commit ");
        phrase_commit(ret, notification);
        str_printf(ret, "\nBuild: %s\n", notification->url);
        if (can_rerun(notification))
                str_printf(ret, "Run what failed again: argon rerun %lld --failed\n",
                           (long long)notification->number);
        if (notification->failing_job[0]) {
                str_add(ret, "Reproduce, in a clone at this commit: argon exec ");
                phrase_line(ret, notification->failing_job, 80);
                str_add_char(ret, '\n');
        }
        str_printf(ret, "\n-- \n%s\n", phrase_why(facts->why));
        if (facts->with_log && notification->tail[0])
                str_add(ret, "Log lines may contain sensitive data.\n");
}
