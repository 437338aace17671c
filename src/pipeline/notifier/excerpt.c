#include "pipeline/notifier/excerpt.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "base/scoped.h"
#include "base/str.h"

#include "base/banned.h"

/* More lines than any tail has; what is before them is not looked at. */
#define LINES_MAX 256
#define LINES_BEFORE 5

struct line {
        const char *text;
        size_t n;
        bool wanted;
};

/* How many bytes an escape sequence takes; never a part of a character. */
static size_t skip_escape(const char *text, size_t n)
{
        size_t i = 2;

        if (n < 2 || (unsigned char)text[1] >= 0x80)
                return 1;
        if (text[1] == ']') { /* operating system command: up to BEL or ESC \ */
                while (i < n && text[i] != '\a' && text[i] != '\033')
                        i++;
                if (i + 1 < n && text[i] == '\033' && text[i + 1] == '\\')
                        return i + 2;
                return i < n && text[i] == '\a' ? i + 1 : i;
        }
        if (text[1] != '[')
                return 2;
        while (i < n && (text[i] < 0x40 || text[i] > 0x7e))
                i++;
        return i < n ? i + 1 : n;
}

void excerpt_clean(struct str *ret, const char *text, size_t n, size_t max)
{
        scoped_str struct str valid = STR_INIT;
        size_t columns = 0;

        str_add_utf8(&valid, text, n);
        for (size_t i = 0; i < valid.len; i++) {
                unsigned char c = (unsigned char)valid.data[i];

                if (c == '\033') {
                        i += skip_escape(valid.data + i, valid.len - i) - 1;
                        continue;
                }
                if (c == '\t')
                        c = ' ';
                if (c < 0x20 || c == 0x7f)
                        continue;
                /* U+0080 to U+009F are control characters as well */
                if (c == 0xc2 && (unsigned char)valid.data[i + 1] < 0xa0) {
                        i++;
                        continue;
                }
                if ((c & 0xc0) != 0x80 && columns++ == max) {
                        str_add(ret, "...");
                        return;
                }
                str_add_char(ret, (char)c);
        }
}

static bool contains_word(const char *text, size_t n, const char *word)
{
        size_t len = strlen(word);

        for (size_t i = 0; i + len <= n; i++) {
                if (strncasecmp(text + i, word, len) == 0)
                        return true;
        }
        return false;
}

static bool looks_like_error(const struct line *line)
{
        static const char *const words[] = {"error",     "fail",      "fatal", "assert",
                                            "exception", "traceback", "panic", "not found",
                                            "undefined", "denied",    "abort", "segmentation"};

        for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
                if (contains_word(line->text, line->n, words[i]))
                        return true;
        }
        return false;
}

/* The last LINES_MAX lines of the tail. */
static size_t split(struct line *lines, const char *tail)
{
        size_t total = 0;
        size_t n = 0;

        for (const char *at = tail; *at; at++)
                total += *at == '\n' || !at[1];
        for (const char *at = tail; *at; total--) {
                size_t len = strcspn(at, "\n");

                if (total <= LINES_MAX)
                        lines[n++] = (struct line){at, len, false};
                at += len + (at[len] == '\n');
        }
        return n;
}

static void choose(struct line *lines, size_t n)
{
        size_t hit = 0;
        size_t from = n > EXCERPT_LINES ? n - EXCERPT_LINES : 0;
        size_t to = n;

        while (hit < n && !looks_like_error(&lines[hit]))
                hit++;
        if (hit < n) {
                from = hit > LINES_BEFORE ? hit - LINES_BEFORE : 0;
                to = from + EXCERPT_LINES < n ? from + EXCERPT_LINES : n;
        }
        for (size_t i = 0; i < n; i++)
                lines[i].wanted = (i >= from && i < to) || i + EXCERPT_LAST_LINES >= n;
}

static void add_line(struct str *ret, const struct line *line, int64_t number)
{
        str_add(ret, "  ");
        if (number > 0)
                str_printf(ret, "%lld | ", (long long)number);
        excerpt_clean(ret, line->text, line->n, EXCERPT_COLUMNS);
        str_add_char(ret, '\n');
}

/* Shorter from the front: the end of an output says most. */
static void cut_front(struct str *text, size_t max)
{
        const char *from;

        if (text->len <= max)
                return;
        from = strchr(text->data + (text->len - max + 8), '\n');
        str_consume(text, from ? (size_t)(from + 1 - text->data) : text->len);
}

int excerpt_add(struct str *ret, const char *tail, int64_t last_line)
{
        scoped_str struct str text = STR_INIT;
        struct line lines[LINES_MAX];
        size_t n = split(lines, tail);
        size_t previous = 0;
        int count = 0;

        choose(lines, n);
        for (size_t i = 0; i < n; i++) {
                int64_t number = last_line - (int64_t)(n - 1 - i);

                if (!lines[i].wanted)
                        continue;
                if (count && i != previous + 1)
                        str_add(&text, "  ...\n");
                add_line(&text, &lines[i], last_line > 0 ? number : 0);
                previous = i;
                count++;
        }
        if (text.len > EXCERPT_BYTES_MAX) {
                cut_front(&text, EXCERPT_BYTES_MAX);
                str_add(ret, "  ...\n");
        }
        str_add_bytes(ret, text.data, text.len);
        return count;
}
