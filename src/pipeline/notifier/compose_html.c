/*
 * One table of 600 pixels, styles in the elements, no images: what every mail reader shows. Every
 * text goes through add_escaped(); nothing else writes what came from outside.
 */
#include <string.h>

#include "base/scoped.h"
#include "base/str.h"
#include "pipeline/notifier/excerpt.h"
#include "pipeline/notifier/phrases.h"
#include "pipeline/notifier/policy.h"
#include "wire/notification.h"

#include "base/banned.h"

#define PRE_BYTES_MAX (12 * 1024)
#define JOBS_BYTES_MAX (5 * 1024)

static void add_escaped(struct str *ret, const char *text)
{
        for (; *text; text++) {
                if (*text == '<')
                        str_add(ret, "&lt;");
                else if (*text == '>')
                        str_add(ret, "&gt;");
                else if (*text == '&')
                        str_add(ret, "&amp;");
                else if (*text == '"')
                        str_add(ret, "&quot;");
                else if (*text == '\'')
                        str_add(ret, "&#39;");
                else
                        str_add_char(ret, *text);
        }
}

/* Escaped, and not longer than max: the front goes, line by line. */
static void add_pre(struct str *ret, const char *text, size_t max)
{
        scoped_str struct str escaped = STR_INIT;

        add_escaped(&escaped, text);
        while (escaped.len > max && *text) {
                const char *next = strchr(text, '\n');

                text = next ? next + 1 : "";
                str_clear(&escaped);
                add_escaped(&escaped, text);
        }
        if (!escaped.len)
                return;
        str_printf(ret,
                   "<pre style=\"margin:8px 0;padding:10px;background:#f4f4f5;color:#18181b;"
                   "font:12px/1.5 monospace;white-space:pre-wrap\">%s</pre>\n",
                   escaped.data);
}

static void add_paragraph(struct str *ret, const char *style, const char *text)
{
        if (!text[0])
                return;
        str_printf(ret, "<p style=\"margin:8px 0;%s\">", style);
        add_escaped(ret, text);
        str_add(ret, "</p>\n");
}

static const char *colour_of(const struct notification *notification)
{
        switch (notification->state) {
        case STATE_SUCCESS:
                return "#15803d";
        case STATE_CANCELLED:
        case STATE_SKIPPED:
                return "#52525b";
        default:
                return "#b91c1c";
        }
}

/* What readers show beside the subject: which step, and the first line of why. */
static void add_preheader(struct str *ret, const struct notification *notification)
{
        scoped_str struct str text = STR_INIT;

        phrase_failing(&text, notification);
        if (!text.len)
                phrase_line(&text, text_or(notification->reason_text, notification->message),
                            PHRASES_LINE_COLUMNS);
        str_add(ret, "<div style=\"display:none;max-height:0;overflow:hidden\">");
        add_escaped(ret, text.data);
        str_add(ret, "</div>\n");
}

static void add_head(struct str *ret, const struct notification *notification,
                     const struct compose_facts *facts)
{
        scoped_str struct str text = STR_INIT;
        const char *word = told_as_name(policy_told_as(notification));

        phrase_heading(&text, notification);
        str_printf(ret, "<p style=\"margin:0;font-size:18px\"><b style=\"color:%s\">%s %s</b>",
                   colour_of(notification),
                   notification->state == STATE_SUCCESS ? "&#10004;" : "&#10006;", word);
        add_escaped(ret, text.data + strlen(word));
        str_add(ret, "</p>\n");
        str_clear(&text);
        phrase_history(&text, notification, facts);
        add_paragraph(ret, "color:#52525b", text.data);
}

static void add_trouble(struct str *ret, const struct notification *notification,
                        const struct compose_facts *facts)
{
        scoped_str struct str text = STR_INIT;

        phrase_failing(&text, notification);
        if (!text.len)
                phrase_line(&text, notification->reason_text, 4 * PHRASES_LINE_COLUMNS);
        add_paragraph(ret, "font-weight:bold", text.data);
        str_clear(&text);
        if (phrase_excerpt(&text, notification, facts))
                add_pre(ret, text.data, PRE_BYTES_MAX);
        str_clear(&text);
        str_add_utf8(&text, notification->findings, strlen(notification->findings));
        if (text.len > PRE_BYTES_MAX / 2) {
                str_truncate(&text, PRE_BYTES_MAX / 2);
                while (text.len && text.data[text.len - 1] != '\n')
                        str_truncate(&text, text.len - 1);
        }
        add_pre(ret, text.data, PRE_BYTES_MAX / 2);
}

static void add_button(struct str *ret, const char *url, const char *label)
{
        str_add(ret, "<p style=\"margin:16px 0\"><a style=\"padding:8px 14px;background:#1d4ed8;"
                     "color:#ffffff;text-decoration:none;border-radius:4px\" href=\"");
        add_escaped(ret, url);
        str_printf(ret, "\">%s</a></p>\n", label);
}

static void add_jobs(struct str *ret, const struct notification *notification)
{
        scoped_str struct str jobs = STR_INIT;
        scoped_str struct str escaped = STR_INIT;

        phrase_jobs(&jobs, notification);
        add_escaped(&escaped, jobs.data);
        if (escaped.len && escaped.len < JOBS_BYTES_MAX)
                str_printf(ret, "<p style=\"margin:8px 0\">Jobs: %s</p>\n", escaped.data);
        else if (escaped.len)
                str_printf(ret, "<p style=\"margin:8px 0\">%zu jobs</p>\n", notification->n_jobs);
}

void compose_html(struct str *ret, const struct notification *notification,
                  const struct compose_facts *facts)
{
        scoped_str struct str commit = STR_INIT;
        bool failing = notification->state != STATE_SUCCESS && notification->job_url[0];

        str_add(ret, "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\">\n"
                     "<meta name=\"color-scheme\" content=\"light dark\">\n"
                     "<meta name=\"supported-color-schemes\" content=\"light dark\"></head>\n"
                     "<body style=\"margin:0;padding:16px\">\n");
        add_preheader(ret, notification);
        str_add(ret, "<table role=\"presentation\" width=\"600\" cellpadding=\"0\" "
                     "cellspacing=\"0\" style=\"max-width:600px;font:14px/1.5 sans-serif\">"
                     "<tr><td>\n");
        add_head(ret, notification, facts);
        if (notification->state != STATE_SUCCESS)
                add_trouble(ret, notification, facts);
        add_button(ret, failing ? notification->job_url : notification->url,
                   failing ? "Open the log" : "Open the build");
        add_jobs(ret, notification);
        str_add(&commit, "Commit ");
        phrase_commit(&commit, notification);
        add_paragraph(ret, "", commit.data);
        add_paragraph(ret, "color:#71717a;font-size:12px", phrase_why(facts->why));
        if (facts->with_log && notification->tail[0])
                add_paragraph(ret, "color:#71717a;font-size:12px",
                              "Log lines may contain sensitive data.");
        str_add(ret, "</td></tr></table>\n</body></html>\n");
}
