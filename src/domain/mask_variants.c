/*
 * How a secret looks after the programs that people print it with: encoders, quoting shells,
 * serialisers. Each form is made once in full; duplicates fall out where they are stored.
 */
#include <ctype.h>
#include <string.h>

#include "base/str.h"
#include "domain/mask_set.h"

#include "base/banned.h"

struct variants {
        void (*each)(void *data, const char *form, size_t n);
        void *data;
};

static void give(const struct variants *v, struct str *form)
{
        v->each(v->data, form->data, form->len);
        explicit_bzero(form->data, form->len);
        str_clear(form);
}

static void add_hex(struct str *form, const char *prefix, unsigned value, int digits, bool upper)
{
        str_add(form, prefix);
        while (digits-- > 0)
                str_add_char(form, (upper ? "0123456789ABCDEF"
                                          : "0123456789abcdef")[value >> (4 * digits) & 15]);
}

/* --- encodings --- */

static const char base64_standard[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64_url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/*
 * The characters that the secret alone decides when `before` other bytes stand in front of it: what
 * mixes its bits with those of its neighbours is left out.
 */
static void base64(const struct variants *v, struct str *form, const unsigned char *bytes, size_t n,
                   size_t before, const char *alphabet)
{
        size_t first = (before * 8 + 5) / 6;
        size_t end = (before + n) * 8 / 6;

        str_reserve(form, end);
        for (size_t i = first; i < end; i++) {
                size_t bit = i * 6 - before * 8;
                unsigned two = (unsigned)bytes[bit / 8] << 8;

                if (bit / 8 + 1 < n)
                        two |= bytes[bit / 8 + 1];
                str_add_char(form, alphabet[two >> (10 - bit % 8) & 63]);
        }
        give(v, form);
}

static void hex(const struct variants *v, struct str *form, const unsigned char *bytes, size_t n,
                const char *prefix, bool upper)
{
        for (size_t i = 0; i < n; i++)
                add_hex(form, prefix, bytes[i], 2, upper);
        give(v, form);
}

/* @kept: punctuation that stays as it is; @plus: a space becomes + */
static void percent(const struct variants *v, struct str *form, const unsigned char *bytes,
                    size_t n, const char *kept, bool plus, bool upper)
{
        for (size_t i = 0; i < n; i++) {
                unsigned char c = bytes[i];

                if (c < 0x80 && (isalnum(c) || (c && strchr(kept, c))))
                        str_add_char(form, (char)c);
                else if (plus && c == ' ')
                        str_add_char(form, '+');
                else
                        add_hex(form, "%", c, 2, upper);
        }
        give(v, form);
}

static void encodings(const struct variants *v, struct str *form, const unsigned char *bytes,
                      size_t n)
{
        for (size_t before = 0; before < 3; before++) {
                base64(v, form, bytes, n, before, base64_standard);
                base64(v, form, bytes, n, before, base64_url);
        }
        hex(v, form, bytes, n, "", false);
        hex(v, form, bytes, n, "", true);
        for (int upper = 0; upper < 2; upper++) {
                hex(v, form, bytes, n, "%", upper);
                percent(v, form, bytes, n, "-_.~", false, upper);
                percent(v, form, bytes, n, "-_.~/", false, upper);
                percent(v, form, bytes, n, "-_.!~*'()", false, upper);
                percent(v, form, bytes, n, "-_.*", true, upper);
                percent(v, form, bytes, n, "-_.~", true, upper);
        }
}

/* --- escapes --- */

/* The code point at p and how many bytes it takes; a broken sequence is one byte. */
static size_t code_point(const unsigned char *p, size_t n, unsigned *ret)
{
        size_t step = *p < 0x80 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;

        if (step == 1 || step > n || !utf8_valid(p, step)) {
                *ret = *p;
                return 1;
        }
        *ret = *p & (0x7fu >> step);
        for (size_t i = 1; i < step; i++)
                *ret = *ret << 6 | (p[i] & 0x3f);
        return step;
}

static void add_unicode(struct str *form, unsigned c, bool upper)
{
        if (c >= 0x10000) {
                add_hex(form, "\\u", 0xd800 + ((c - 0x10000) >> 10), 4, upper);
                c = 0xdc00 + ((c - 0x10000) & 0x3ff);
        }
        add_hex(form, "\\u", c, 4, upper);
}

/*
 * @upper: letters of \u…; @ascii: everything above ASCII too; @html: < > & too; @slash: / too
 */
static void add_json(struct str *form, const unsigned char *bytes, size_t n, bool upper, bool ascii,
                     bool html, bool slash)
{
        static const char short_for[] = "\"\\\b\f\n\r\t";
        static const char short_letters[] = "\"\\bfnrt";

        for (size_t i = 0; i < n;) {
                unsigned c;
                size_t step = code_point(bytes + i, n - i, &c);
                const char *known = c && c < 0x80 ? strchr(short_for, (int)c) : NULL;

                if (known)
                        str_printf(form, "\\%c", short_letters[known - short_for]);
                else if (slash && c == '/')
                        str_add(form, "\\/");
                else if (c < 0x20 || (ascii && c >= 0x7f) ||
                         (html && (c == '<' || c == '>' || c == '&')))
                        add_unicode(form, c, upper);
                else
                        str_add_bytes(form, bytes + i, step);
                i += step;
        }
}

static void json_forms(const struct variants *v, struct str *form, const unsigned char *bytes,
                       size_t n)
{
        struct str once = STR_INIT;

        for (int upper = 0; upper < 2; upper++) {
                for (unsigned flags = 0; flags < 8; flags++) {
                        add_json(form, bytes, n, upper, flags & 1, flags & 2, flags & 4);
                        give(v, form);
                }
        }
        /* JSON as a text within JSON */
        add_json(&once, bytes, n, false, false, false, false);
        add_json(form, (const unsigned char *)once.data, once.len, false, false, false, false);
        give(v, form);
        explicit_bzero(once.data, once.len);
        str_done(&once);
}

/* Put `before` in front of each byte of the set. */
static void add_escaped(struct str *form, const unsigned char *bytes, size_t n, const char *set)
{
        for (size_t i = 0; i < n; i++) {
                if (bytes[i] && strchr(set, bytes[i]))
                        str_add_char(form, '\\');
                str_add_char(form, (char)bytes[i]);
        }
}

static void add_replaced(struct str *form, const unsigned char *bytes, size_t n, char what,
                         const char *with)
{
        for (size_t i = 0; i < n; i++) {
                if (bytes[i] == (unsigned char)what)
                        str_add(form, with);
                else
                        str_add_char(form, (char)bytes[i]);
        }
}

/* bash's $'…' */
static void add_ansi_c(struct str *form, const unsigned char *bytes, size_t n)
{
        static const char from[] = "\a\b\t\n\v\f\r\033\\'";
        static const char to[] = "abtnvfrE\\'";

        for (size_t i = 0; i < n; i++) {
                const char *known = bytes[i] ? strchr(from, bytes[i]) : NULL;

                if (known)
                        str_printf(form, "\\%c", to[known - from]);
                else if (bytes[i] < 0x20 || bytes[i] >= 0x7f)
                        str_printf(form, "\\%03o", bytes[i]);
                else
                        str_add_char(form, (char)bytes[i]);
        }
}

static void shell_forms(const struct variants *v, struct str *form, const unsigned char *bytes,
                        size_t n)
{
        add_replaced(form, bytes, n, '\'', "'\\''");
        give(v, form);
        add_replaced(form, bytes, n, '\'', "'\"'\"'");
        give(v, form);
        add_escaped(form, bytes, n, "\"\\$`");
        give(v, form);
        add_escaped(form, bytes, n, "\"\\$`!");
        give(v, form);
        add_escaped(form, bytes, n, " \t!\"#$&'()*;<>?[\\]^`{|}~,");
        give(v, form);
        add_escaped(form, bytes, n, " \t!\"#$&'()*;<>?[\\]^`{|}~,=%:");
        give(v, form);
        add_escaped(form, bytes, n, " \t!\"$&'()*;<>?[\\]^`{|},");
        give(v, form);
        add_ansi_c(form, bytes, n);
        give(v, form);
}

static void add_markup(struct str *form, const unsigned char *bytes, size_t n, const char *quote,
                       const char *apostrophe)
{
        for (size_t i = 0; i < n; i++) {
                switch (bytes[i]) {
                case '&':
                        str_add(form, "&amp;");
                        break;
                case '<':
                        str_add(form, "&lt;");
                        break;
                case '>':
                        str_add(form, "&gt;");
                        break;
                case '"':
                        str_add(form, quote);
                        break;
                case '\'':
                        str_add(form, apostrophe);
                        break;
                default:
                        str_add_char(form, (char)bytes[i]);
                }
        }
}

static void markup_forms(const struct variants *v, struct str *form, const unsigned char *bytes,
                         size_t n)
{
        static const char *const quotes[] = {"\"", "&quot;", "&#34;"};
        static const char *const apostrophes[] = {"'", "&#39;", "&#x27;", "&apos;"};

        for (size_t i = 0; i < 3; i++) {
                for (size_t j = 0; j < 4; j++) {
                        add_markup(form, bytes, n, quotes[i], apostrophes[j]);
                        give(v, form);
                }
        }
}

/* --- all of them --- */

static void all_forms(const struct variants *v, const char *bytes, size_t n)
{
        const unsigned char *raw = (const unsigned char *)bytes;
        struct str form = STR_INIT;

        v->each(v->data, bytes, n);
        encodings(v, &form, raw, n);
        json_forms(v, &form, raw, n);
        shell_forms(v, &form, raw, n);
        markup_forms(v, &form, raw, n);
        str_done(&form);
}

/* What is left without the white space at the end, which echo and $(…) drop. */
static size_t trimmed(const char *bytes, size_t n)
{
        while (n > 0 && strchr(" \t\r\n", bytes[n - 1]) && bytes[n - 1])
                n--;
        return n;
}

void mask_variants(const char *bytes, size_t n,
                   void (*each)(void *data, const char *form, size_t n), void *data)
{
        struct variants v = {each, data};
        const char *end = bytes + n;
        size_t shorter = trimmed(bytes, n);

        all_forms(&v, bytes, n);
        if (shorter < n && shorter >= MASK_LENGTH_MIN)
                all_forms(&v, bytes, shorter);
        for (const char *line = bytes; line < end && memchr(bytes, '\n', n);) {
                const char *stop = memchr(line, '\n', (size_t)(end - line));
                size_t length = (size_t)((stop ? stop : end) - line);

                if (length > 0 && line[length - 1] == '\r')
                        length--;
                /* an indented empty line would hide the indentation of everything */
                if (length >= MASK_LENGTH_MIN && trimmed(line, length) > 0)
                        each(data, line, length);
                line = stop ? stop + 1 : end;
        }
}
