#include "pipeline/executor/log_tail.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "pipeline/executor/pack.h"

#include "base/banned.h"

void log_tail_clear(struct log_tail *tail)
{
        for (size_t i = 0; i < LOG_TAIL_LINES; i++)
                free(tail->lines[i].text);
        *tail = (struct log_tail){0};
}

static void add_line(struct log_tail *tail, const char *line, size_t n)
{
        struct log_tail_line *slot = &tail->lines[tail->next++ % LOG_TAIL_LINES];

        if (n > LOG_TAIL_LINE_MAX)
                n = LOG_TAIL_LINE_MAX;
        free(slot->text);
        slot->text = xmalloc(n + 1);
        memcpy(slot->text, line, n);
        slot->text[n] = '\0';
        slot->n = n;
}

/* Only the last lines of the bytes can stay: find where they begin, from the back. */
void log_tail_feed(struct log_tail *tail, const char *bytes, size_t n)
{
        const char *end = bytes + n;
        const char *from = n > 0 && end[-1] == '\n' ? end - 1 : end;

        for (int lines = 0; lines < LOG_TAIL_LINES && from > bytes; lines++) {
                const char *newline = memrchr(bytes, '\n', (size_t)(from - bytes));

                from = newline ? newline : bytes;
        }
        if (from > bytes)
                from++;
        while (from < end) {
                const char *newline = memchr(from, '\n', (size_t)(end - from));
                const char *stop = newline ? newline : end;

                add_line(tail, from, (size_t)(stop - from));
                from = stop + 1;
        }
}

static const struct log_tail_line *line_at(const struct log_tail *tail, size_t i)
{
        return &tail->lines[(tail->next + i) % LOG_TAIL_LINES];
}

static size_t character_length(unsigned char c)
{
        return c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
}

/* What is no UTF-8 is shown as U+FFFD, byte by byte. */
static void add_utf8(struct str *ret, const char *bytes, size_t n)
{
        for (size_t i = 0; i < n;) {
                size_t len = character_length((unsigned char)bytes[i]);

                if (bytes[i] == '\0' || len > n - i || !utf8_valid(bytes + i, len)) {
                        str_add(ret, "\xef\xbf\xbd");
                        i++;
                        continue;
                }
                str_add_bytes(ret, bytes + i, len);
                i += len;
        }
}

void log_tail_text(const struct log_tail *tail, struct str *ret)
{
        bool first = true;

        for (size_t i = 0; i < LOG_TAIL_LINES; i++) {
                const struct log_tail_line *line = line_at(tail, i);

                if (!line->text)
                        continue;
                if (!first)
                        str_add_char(ret, '\n');
                first = false;
                add_utf8(ret, line->text, line->n);
        }
}

void log_tail_save(const struct log_tail *tail, struct str *ret)
{
        for (size_t i = 0; i < LOG_TAIL_LINES; i++) {
                const struct log_tail_line *line = line_at(tail, i);

                pack_int(ret, line->text != NULL);
                pack_bytes(ret, line->text ? line->text : "", line->n);
        }
}

void log_tail_load(struct log_tail *tail, struct unpack *from)
{
        log_tail_clear(tail);
        for (size_t i = 0; i < LOG_TAIL_LINES; i++) {
                bool there = unpack_int(from) != 0;
                size_t n;
                const char *bytes = unpack_bytes(from, &n);

                if (there)
                        add_line(tail, bytes, n);
        }
}
