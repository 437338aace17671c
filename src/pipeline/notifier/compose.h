#pragma once
/*
 * compose - an ended build as a mail: headers, text and HTML; pure
 *
 * The same input always gives the same bytes, so a mail that is sent twice after a crash is the
 * same mail with the same Message-ID.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct notification;
struct str;

/* Mail readers cut long HTML off; ours stays well below. */
#define COMPOSE_HTML_BYTES_MAX (30 * 1024)

/**
 * struct compose_facts - what the notification itself does not say; texts are borrowed
 * @from_name, @from: of the sender; @to: recipient, checked; @reply_to: or ""
 * @why: pusher, author, committer or administrator
 * @url: what links start with
 * @date_ms: for the Date header
 * @first_red: number of the build that began the present (or just ended) series of red builds, 0:
 *         none
 * @last_green: number of the last green build before this one, 0: none known
 * @with_log: whether output of the job may be quoted
 */
struct compose_facts {
        const char *from_name;
        const char *from;
        const char *to;
        const char *reply_to;
        const char *why;
        const char *url;
        int64_t date_ms;
        int64_t first_red;
        int64_t last_green;
        bool with_log;
};

/** compose_mail() - append the whole message, lines end with CRLF */
void compose_mail(struct str *ret, const struct notification *notification,
                  const struct compose_facts *facts);

/** compose_subject() - append the subject: at most 78 columns where the repository's name allows */
void compose_subject(struct str *ret, const struct notification *notification);
/** compose_text(), compose_html() - append one of the two bodies */
void compose_text(struct str *ret, const struct notification *notification,
                  const struct compose_facts *facts);
void compose_html(struct str *ret, const struct notification *notification,
                  const struct compose_facts *facts);
