#include "pipeline/notifier/compose.h"

#include <ctype.h>
#include <string.h>

#include "base/scoped.h"
#include "base/str.h"
#include "pipeline/notifier/mime.h"
#include "pipeline/notifier/phrases.h"
#include "pipeline/notifier/policy.h"
#include "wire/notification.h"

#include "base/banned.h"

#define SUBJECT_COLUMNS 78
#define PART_COLUMNS_LEAST 8
#define TOKEN_BYTES_MAX 64

static size_t count_columns(const char *text)
{
        size_t n = 0;

        for (; *text; text++)
                n += ((unsigned char)*text & 0xc0) != 0x80;
        return n;
}

/* As much of a text as room allows; a text that is cut ends with "...". */
static void add_fitting(struct str *ret, const char *text, size_t room)
{
        if (room < PART_COLUMNS_LEAST)
                room = PART_COLUMNS_LEAST;
        if (count_columns(text) > room)
                room -= 3;
        phrase_line(ret, text, room);
}

void compose_subject(struct str *ret, const struct notification *notification)
{
        scoped_str struct str head = STR_INIT;
        scoped_str struct str detail = STR_INIT;
        scoped_str struct str end = STR_INIT;
        size_t used;

        str_add_char(&head, '[');
        phrase_line(&head, notification->repo, SUBJECT_COLUMNS);
        str_printf(&head, "] %s #%lld ", told_as_name(policy_told_as(notification)),
                   (long long)notification->number);
        if (notification->state != STATE_SUCCESS && notification->failing_job[0])
                str_printf(&detail, notification->failing_step[0] ? ": %s > %s" : ": %s",
                           notification->failing_job, notification->failing_step);
        if (notification->commit[0])
                str_printf(&end, " (%.7s)", notification->commit);
        str_add(ret, head.data);
        used = count_columns(head.data) + count_columns(end.data);
        add_fitting(ret, notification->branch,
                    used + PART_COLUMNS_LEAST < SUBJECT_COLUMNS
                            ? SUBJECT_COLUMNS - used - (detail.len ? PART_COLUMNS_LEAST : 0)
                            : 0);
        used = count_columns(ret->data) + count_columns(end.data);
        if (detail.len && used + PART_COLUMNS_LEAST <= SUBJECT_COLUMNS)
                add_fitting(ret, detail.data, SUBJECT_COLUMNS - used);
        str_add(ret, end.data);
}

/* A part of a Message-ID or a List-Id: letters, digits, dots and hyphens; the rest is '-'. */
static void add_token(struct str *ret, const char *text)
{
        for (size_t i = 0; text[i] && i < TOKEN_BYTES_MAX; i++) {
                unsigned char c = (unsigned char)text[i];

                if (c == '/')
                        str_add_char(ret, '.');
                else
                        str_add_char(ret, c < 0x80 && isalnum(c) ? (char)tolower(c) : '-');
        }
}

static void add_threading(struct str *ret, const struct notification *notification,
                          const struct compose_facts *facts, const char *domain)
{
        scoped_str struct str id = STR_INIT;
        scoped_str struct str incident = STR_INIT;

        str_printf(&id, "<b%lld.r%d.", (long long)notification->number, notification->round);
        add_token(&id, notification->build_id);
        str_printf(&id, ".%s@%s>", facts->why, domain);
        mime_header(ret, "Message-ID", id.data);
        if (!facts->first_red)
                return;
        str_add(&incident, "<incident.");
        add_token(&incident, notification->repo);
        str_add_char(&incident, '.');
        add_token(&incident, notification->branch);
        str_printf(&incident, ".%lld@%s>", (long long)facts->first_red, domain);
        mime_header(ret, "In-Reply-To", incident.data);
        mime_header(ret, "References", incident.data);
}

static void add_list(struct str *ret, const struct notification *notification,
                     const struct compose_facts *facts, const char *domain)
{
        scoped_str struct str id = STR_INIT;
        scoped_str struct str archive = STR_INIT;
        const char *slash = strrchr(notification->repo, '/');
        const char *name = slash ? slash + 1 : notification->repo;

        phrase_line(&id, notification->repo, 60);
        str_add(&id, " builds <");
        add_token(&id, name);
        if (slash) {
                scoped_text char *owner =
                        text_format("%.*s", (int)(slash - notification->repo), notification->repo);

                str_add_char(&id, '.');
                add_token(&id, owner);
        }
        str_printf(&id, ".%s>", domain);
        mime_header(ret, "List-Id", id.data);
        str_printf(&archive, "<%s/r/%s>", facts->url, notification->repo);
        mime_header(ret, "List-Archive", archive.data);
}

static void add_headers(struct str *ret, const struct notification *notification,
                        const struct compose_facts *facts)
{
        scoped_str struct str subject = STR_INIT;
        scoped_str struct str build = STR_INIT;
        const char *domain = strchr(facts->from, '@') + 1;

        compose_subject(&subject, notification);
        str_printf(&build, "%lld", (long long)notification->number);
        mime_address(ret, "From", facts->from_name, facts->from);
        if (facts->reply_to[0])
                mime_address(ret, "Reply-To", "", facts->reply_to);
        mime_address(ret, "To", "", facts->to);
        mime_header(ret, "Subject", subject.data);
        mime_date(ret, facts->date_ms);
        add_threading(ret, notification, facts, domain);
        add_list(ret, notification, facts, domain);
        mime_header(ret, "Auto-Submitted", "auto-generated");
        mime_header(ret, "Precedence", "bulk");
        mime_header(ret, "X-Auto-Response-Suppress", "All");
        mime_header(ret, "X-Argon-Repository", notification->repo);
        mime_header(ret, "X-Argon-Branch", notification->branch);
        mime_header(ret, "X-Argon-Build", build.data);
        mime_header(ret, "X-Argon-Result", state_name(notification->state));
        mime_header(ret, "X-Argon-Reason", facts->why);
}

void compose_mail(struct str *ret, const struct notification *notification,
                  const struct compose_facts *facts)
{
        scoped_str struct str boundary = STR_INIT;
        scoped_str struct str body = STR_INIT;

        add_headers(ret, notification, facts);
        str_add(&boundary, "argon=_");
        add_token(&boundary, notification->build_id);
        str_printf(&boundary, "_%d", notification->round);
        str_printf(ret,
                   "MIME-Version: 1.0\r\nContent-Type: multipart/alternative;\r\n"
                   " boundary=\"%s\"\r\n\r\n",
                   boundary.data);
        str_printf(ret, "--%s\r\n", boundary.data);
        compose_text(&body, notification, facts);
        mime_part(ret, "text/plain", body.data, body.len);
        str_printf(ret, "\r\n--%s\r\n", boundary.data);
        str_clear(&body);
        compose_html(&body, notification, facts);
        mime_part(ret, "text/html", body.data, body.len);
        str_printf(ret, "\r\n--%s--\r\n", boundary.data);
}
