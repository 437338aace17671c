/*
 * A mail from texts of anybody's making: fields are separated by 0x1e. Whatever they hold, the
 * headers are the ones that we write, every line ends with CRLF and is short enough, and the HTML
 * stays small.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "pipeline/notifier/address.h"
#include "pipeline/notifier/compose.h"
#include "pipeline/notifier/excerpt.h"
#include "wire/notification.h"

#include "base/banned.h"

#define FIELDS 12
#define LINE_MAX_MAIL 998

static void check(bool good)
{
        if (!good)
                abort();
}

static void check_lines(const struct str *mail)
{
        size_t column = 0;

        for (size_t i = 0; i < mail->len; i++) {
                char c = mail->data[i];

                check(c != '\0' && (unsigned char)c < 0x80);
                check(c != '\n' || (i > 0 && mail->data[i - 1] == '\r'));
                check(c != '\r' || mail->data[i + 1] == '\n');
                column = c == '\n' ? 0 : column + 1;
                check(column <= LINE_MAX_MAIL + 2);
        }
}

/* Every header line begins with a name that is ours, or with a blank that continues one. */
static void check_headers(const struct str *mail)
{
        static const char *const names[] = {
                "From",       "To",           "Subject",  "Date",       "Message-ID",
                "List-",      "Auto-",        "X-Auto-",  "Precedence", "In-Reply-To",
                "References", "MIME-Version", "Content-", "X-Argon-",
        };
        const char *end = strstr(mail->data, "\r\n\r\n");

        check(end != NULL);
        for (const char *line = mail->data; line < end; line = strstr(line, "\r\n") + 2) {
                bool known = line[0] == ' ';

                for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
                        known = known || text_starts(line, names[i]);
                check(known);
        }
}

static void compose(char *const *fields, uint8_t choice)
{
        struct notification_job jobs[] = {{fields[0], (enum state)(choice % STATE_BLOCKED), 5, 1},
                                          {fields[1], STATE_SUCCESS, 0, 0}};
        struct notification notification = {
                .id = fields[2],
                .build_id = fields[2],
                .round = 1 + choice % 2,
                .repo = fields[3],
                .number = 812,
                .ref = "",
                .branch = fields[4],
                .commit = fields[5],
                .message = fields[6],
                .author = fields[7],
                .author_email = fields[8],
                .committer_email = "",
                .pusher = fields[7],
                .pusher_email = fields[8],
                .event = "push",
                .state = (enum state)(choice % STATE_BLOCKED),
                .reason_text = fields[9],
                .previous = choice & 16 ? "failed" : "success",
                .policy = "",
                .duration_ms = choice,
                .url = "https://ci.example.org/r/a/b/builds/812",
                .failing_job = fields[0],
                .failing_step = fields[1],
                .failing_reason = fields[9],
                .job_url = choice & 32 ? "https://ci.example.org/x" : "",
                .tail = fields[10],
                .tail_last_line = choice,
                .findings = fields[11],
                .jobs = jobs,
                .n_jobs = 2,
        };
        struct compose_facts facts = {
                .from_name = fields[7],
                .from = "ci@example.org",
                .to = "dev@example.org",
                .reply_to = "",
                .why = "pusher",
                .url = "https://ci.example.org",
                .date_ms = 1757671234567,
                .first_red = choice & 1 ? 800 : 0,
                .last_green = choice & 2 ? 799 : 0,
                .with_log = true,
        };
        scoped_str struct str mail = STR_INIT;
        scoped_str struct str html = STR_INIT;

        compose_mail(&mail, &notification, &facts);
        check_lines(&mail);
        check_headers(&mail);
        compose_html(&html, &notification, &facts);
        check(html.len < COMPOSE_HTML_BYTES_MAX);
        check(!strstr(html.data, "<script"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        char *fields[FIELDS];
        const char *at = (const char *)data;
        size_t left = size;
        scoped_str struct str excerpt = STR_INIT;
        uint8_t choice = size ? data[0] : 0;

        for (size_t i = 0; i < FIELDS; i++) {
                const char *end = left ? memchr(at, 0x1e, left) : NULL;
                size_t n = end ? (size_t)(end - at) : left;

                fields[i] = xmalloc(n + 1);
                if (n)
                        memcpy(fields[i], at, n);
                fields[i][n] = '\0';
                at += end ? n + 1 : n;
                left -= end ? n + 1 : n;
        }
        compose(fields, choice);
        excerpt_add(&excerpt, fields[10], choice);
        check(excerpt.len <= EXCERPT_BYTES_MAX + 8 && utf8_valid(excerpt.data, excerpt.len));
        if (address_valid(fields[8]))
                check(strpbrk(fields[8], " \r\n<>,;:\"") == NULL);
        for (size_t i = 0; i < FIELDS; i++)
                free(fields[i]);
        return 0;
}
