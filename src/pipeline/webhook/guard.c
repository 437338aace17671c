/*
 * One pass over the bytes with a few counters. Runs of bytes that pass are handed on as they lie in
 * the caller's buffer, so nothing is copied.
 */
#include "pipeline/webhook/guard.h"

#include "base/banned.h"

#define BAD_UTF8 "the body is not valid UTF-8"
#define NO_NUL "there is a NUL in the body"

/* The first byte of a character of several (Unicode 15, table 3-7). */
static void begin_character(struct guard *guard, unsigned char c)
{
        guard->low = 0x80;
        guard->high = 0xbf;
        if (c >= 0xc2 && c <= 0xdf) {
                guard->more = 1;
        } else if (c >= 0xe0 && c <= 0xef) {
                guard->more = 2;
                if (c == 0xe0)
                        guard->low = 0xa0;
                if (c == 0xed)
                        guard->high = 0x9f;
        } else if (c >= 0xf0 && c <= 0xf4) {
                guard->more = 3;
                if (c == 0xf0)
                        guard->low = 0x90;
                if (c == 0xf4)
                        guard->high = 0x8f;
        } else {
                guard->failed = BAD_UTF8;
        }
}

static void continue_character(struct guard *guard, unsigned char c)
{
        if (c < guard->low || c > guard->high)
                guard->failed = BAD_UTF8;
        guard->low = 0x80;
        guard->high = 0xbf;
        guard->more--;
}

static int hex_value(unsigned char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

static void continue_escape(struct guard *guard, unsigned char c)
{
        int value = hex_value(c);

        if (guard->escape == 1) {
                guard->escape = c == 'u' ? 2 : 0;
                guard->value = 0;
                if (c < 0x20 || c > 0x7e)
                        guard->failed = "a string has an escape that JSON does not know";
                return;
        }
        if (value < 0) {
                guard->failed = "a string has \\u without four hex digits";
                return;
        }
        guard->value = guard->value << 4 | (unsigned)value;
        if (++guard->escape < 6)
                return;
        guard->escape = 0;
        if (guard->value == 0)
                guard->failed = NO_NUL;
}

static void string_byte(struct guard *guard, unsigned char c)
{
        guard->length++;
        if (guard->escape) {
                continue_escape(guard, c);
        } else if (c == '"') {
                guard->in_string = false;
                guard->skipping = false;
                guard->length = 0;
        } else if (c == '\\') {
                guard->escape = 1;
        } else if (c < 0x20) {
                guard->failed = c ? "a string has a raw control character" : NO_NUL;
        }
}

static bool in_number(unsigned char c)
{
        return (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E';
}

static void outer_byte(struct guard *guard, unsigned char c)
{
        guard->length = in_number(c) ? guard->length + 1 : 0;
        if (c == '"')
                guard->in_string = true;
        else if (c == '\0')
                guard->failed = NO_NUL;
        else if (c < 0x20 && c != '\t' && c != '\n' && c != '\r')
                guard->failed = "there is a control character between the values";
        else if (guard->length > GUARD_NUMBER_MAX)
                guard->failed = "a number has more than 256 digits";
}

static void take_byte(struct guard *guard, unsigned char c)
{
        bool within = guard->more > 0;

        if (within)
                continue_character(guard, c);
        else if (c >= 0x80)
                begin_character(guard, c);
        if (guard->failed)
                return;
        if (c >= 0x80 && guard->in_string)
                guard->length++;
        if (c >= 0x80 && guard->escape)
                guard->failed = "a string has an escape that JSON does not know";
        if (c >= 0x80)
                return;
        if (guard->in_string)
                string_byte(guard, c);
        else
                outer_byte(guard, c);
}

static bool is_long(const struct guard *guard)
{
        return guard->in_string && guard->length >= GUARD_STRING_MAX && !guard->escape &&
               !guard->more;
}

void guard_add(struct guard *guard, const char *bytes, size_t n)
{
        size_t first = 0; /* of the run that passes; skipped bytes lie before it */

        for (size_t i = 0; i < n; i++) {
                bool skipped = guard->skipping;

                take_byte(guard, (unsigned char)bytes[i]);
                guard->seen++;
                if (guard->failed)
                        return;
                if (skipped && !guard->skipping)
                        first = i; /* the quote that ends the string */
                if (!guard->skipping && is_long(guard)) {
                        guard->skipping = true;
                        if (!guard->sink(guard->data, bytes + first, i + 1 - first))
                                return;
                }
        }
        if (!guard->skipping && first < n)
                guard->sink(guard->data, bytes + first, n - first);
}

bool guard_end(struct guard *guard)
{
        if (!guard->failed && guard->more)
                guard->failed = BAD_UTF8;
        if (!guard->failed && guard->in_string)
                guard->failed = "the body is not JSON: it ends within a string";
        return !guard->failed;
}
