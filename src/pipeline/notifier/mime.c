#include "pipeline/notifier/mime.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "base/scoped.h"
#include "base/str.h"

#include "base/banned.h"

#define LINE_MAX_MIME 76
#define LINE_MAX_PLAIN 900
#define VALUE_BYTES_MAX 800
/* An encoded word has =?UTF-8?B? and ?= around its base64; its line is at most 76 bytes. */
#define WORD_FRAME 12
#define WORD_BYTES_LEAST 12

static const char base64_digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void add_base64(struct str *ret, const char *bytes, size_t n)
{
        for (size_t i = 0; i < n; i += 3) {
                unsigned a = (unsigned char)bytes[i];
                unsigned b = i + 1 < n ? (unsigned char)bytes[i + 1] : 0;
                unsigned c = i + 2 < n ? (unsigned char)bytes[i + 2] : 0;

                str_add_char(ret, base64_digits[a >> 2]);
                str_add_char(ret, base64_digits[(a & 3) << 4 | b >> 4]);
                str_add_char(ret, i + 1 < n ? base64_digits[(b & 15) << 2 | c >> 6] : '=');
                str_add_char(ret, i + 2 < n ? base64_digits[c & 63] : '=');
        }
}

/* Valid UTF-8 without control characters, and not so long that its line could not be sent. */
static void add_clean(struct str *ret, const char *value)
{
        scoped_str struct str valid = STR_INIT;

        str_add_utf8(&valid, value, strlen(value));
        for (size_t i = 0; i < valid.len; i++) {
                unsigned char c = (unsigned char)valid.data[i];

                if (i >= VALUE_BYTES_MAX && (c & 0xc0) != 0x80)
                        return;
                str_add_char(ret, c < 0x20 || c == 0x7f ? ' ' : (char)c);
        }
}

static bool is_ascii(const struct str *text)
{
        for (size_t i = 0; i < text->len; i++) {
                if ((unsigned char)text->data[i] >= 0x80)
                        return false;
        }
        return true;
}

/* "=?" in a plain value would be read as an encoded word. */
static bool needs_encoding(const struct str *text)
{
        return !is_ascii(text) || strstr(text->data, "=?");
}

static void add_words(struct str *ret, size_t column, const struct str *text)
{
        for (size_t at = 0; at < text->len;) {
                size_t room = column + WORD_FRAME < LINE_MAX_MIME
                                      ? (LINE_MAX_MIME - column - WORD_FRAME) / 4 * 3
                                      : 0;
                size_t n;

                if (room < WORD_BYTES_LEAST)
                        room = WORD_BYTES_LEAST;
                n = text->len - at < room ? text->len - at : room;
                while (at + n < text->len && ((unsigned char)text->data[at + n] & 0xc0) == 0x80)
                        n--;
                if (at)
                        str_add(ret, "\r\n ");
                str_add(ret, "=?UTF-8?B?");
                add_base64(ret, text->data + at, n);
                str_add(ret, "?=");
                at += n;
                column = 1;
        }
}

/* Break at blanks so that no line is longer than it should be; a word may be. */
static void add_folded(struct str *ret, size_t column, const struct str *text)
{
        for (size_t at = 0; at < text->len;) {
                size_t n = strcspn(text->data + at + 1, " ") + 1;

                if (column + n > LINE_MAX_MIME && column > 1 && text->data[at] == ' ' &&
                    strspn(text->data + at, " ") < text->len - at) {
                        str_add(ret, "\r\n");
                        column = 0;
                }
                str_add_bytes(ret, text->data + at, n);
                column += n;
                at += n;
        }
}

void mime_header(struct str *ret, const char *name, const char *value)
{
        scoped_str struct str clean = STR_INIT;

        add_clean(&clean, value);
        str_printf(ret, "%s: ", name);
        if (needs_encoding(&clean))
                add_words(ret, strlen(name) + 2, &clean);
        else
                add_folded(ret, strlen(name) + 2, &clean);
        str_add(ret, "\r\n");
}

static bool is_phrase(const struct str *text)
{
        return strspn(text->data, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                  "!#$%&'*+-/=?^_`{|}~ ") == text->len;
}

void mime_address(struct str *ret, const char *name, const char *display, const char *address)
{
        scoped_str struct str clean = STR_INIT;

        add_clean(&clean, display);
        str_printf(ret, "%s: ", name);
        if (needs_encoding(&clean)) {
                add_words(ret, strlen(name) + 2, &clean);
        } else if (is_phrase(&clean)) {
                str_add_bytes(ret, clean.data, clean.len);
        } else {
                str_add_char(ret, '"');
                for (size_t i = 0; i < clean.len; i++) {
                        if (clean.data[i] == '"' || clean.data[i] == '\\')
                                str_add_char(ret, '\\');
                        str_add_char(ret, clean.data[i]);
                }
                str_add_char(ret, '"');
        }
        str_printf(ret, clean.len ? " <%s>\r\n" : "%s\r\n", address);
}

void mime_date(struct str *ret, int64_t wall_ms)
{
        static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
        static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
        time_t seconds = (time_t)(wall_ms / 1000);
        struct tm tm;

        gmtime_r(&seconds, &tm);
        str_printf(ret, "Date: %s, %d %s %d %02d:%02d:%02d +0000\r\n", days[tm.tm_wday], tm.tm_mday,
                   months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* "=_" begins every boundary of ours; quoted-printable cannot contain it, so that a text that does
 * is never sent as it is and cannot end its part. */
static bool is_plain(const char *text, size_t n)
{
        size_t column = 0;

        if (memmem(text, n, "=_", 2))
                return false;

        for (size_t i = 0; i < n; i++) {
                unsigned char c = (unsigned char)text[i];

                column = c == '\n' ? 0 : column + 1;
                if (c >= 0x7f || (c < 0x20 && c != '\n' && c != '\t') || column > LINE_MAX_PLAIN)
                        return false;
        }
        return true;
}

static void add_plain(struct str *ret, const char *text, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                if (text[i] == '\n')
                        str_add_char(ret, '\r');
                str_add_char(ret, text[i]);
        }
}

static void add_quoted_printable(struct str *ret, const char *text, size_t n)
{
        size_t column = 0;

        for (size_t i = 0; i < n; i++) {
                unsigned char c = (unsigned char)text[i];
                bool at_end = i + 1 == n || text[i + 1] == '\n';
                bool literal = c >= 0x20 && c < 0x7f && c != '=' && !(c == ' ' && at_end);
                size_t width = literal ? 1 : 3;

                if (c == '\n') {
                        str_add(ret, "\r\n");
                        column = 0;
                        continue;
                }
                if (column + width > LINE_MAX_MIME - 1) {
                        str_add(ret, "=\r\n");
                        column = 0;
                }
                if (literal)
                        str_add_char(ret, (char)c);
                else
                        str_printf(ret, "=%02X", c);
                column += width;
        }
}

void mime_part(struct str *ret, const char *type, const char *text, size_t n)
{
        bool plain = is_plain(text, n);

        str_printf(ret, "Content-Type: %s; charset=utf-8\r\n", type);
        str_printf(ret, "Content-Transfer-Encoding: %s\r\n\r\n",
                   plain ? "7bit" : "quoted-printable");
        if (plain)
                add_plain(ret, text, n);
        else
                add_quoted_printable(ret, text, n);
        if (n && text[n - 1] != '\n')
                str_add(ret, "\r\n");
}
