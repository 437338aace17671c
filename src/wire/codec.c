/*
 * One table per message drives both directions, so an encoder cannot write what its decoder does
 * not read. The limit of a text counts its encoded bytes, because a control character takes six
 * bytes in JSON and a quote two: only so can the sum of the limits promise that a message fits.
 */
#include "wire/codec.h"

#include <limits.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/str.h"
#include "domain/build.h"

#include "base/banned.h"

#define CUT_MARK "…"

static size_t encoded_size(unsigned char c)
{
        if (c == '"' || c == '\\' || c == '\n' || c == '\r' || c == '\t' || c == '\b' || c == '\f')
                return 2;
        return c < 0x20 ? 6 : 1;
}

static bool starts_character(unsigned char c)
{
        return (c & 0xc0) != 0x80;
}

/* The longest beginning (or end) of valid UTF-8 whose encoding takes at most max bytes. */
static size_t fitting(const char *text, size_t n, size_t max, bool keep_end)
{
        size_t used = 0;
        size_t fit = 0;

        for (size_t i = 0; i < n; i++) {
                unsigned char c = (unsigned char)text[keep_end ? n - 1 - i : i];

                if (!keep_end && starts_character(c))
                        fit = i;
                used += encoded_size(c);
                if (used > max)
                        return fit;
                if (keep_end && starts_character(c))
                        fit = i + 1;
        }
        return n;
}

json_t *codec_text(const char *bytes, size_t n, size_t max, bool keep_end)
{
        scoped_str struct str text = STR_INIT;
        scoped_str struct str cut = STR_INIT;
        size_t fit;

        str_add_utf8(&text, bytes, n);
        for (char *nul = text.data;
             (nul = memchr(nul, '\0', text.len - (size_t)(nul - text.data)));)
                *nul = ' ';
        fit = max ? fitting(text.data, text.len, max, keep_end) : text.len;
        if (fit == text.len)
                return json_stringn(text.data, text.len);
        fit = fitting(text.data, text.len, max - strlen(CUT_MARK), keep_end);
        if (keep_end)
                str_add(&cut, CUT_MARK);
        str_add_bytes(&cut, keep_end ? text.data + text.len - fit : text.data, fit);
        if (!keep_end)
                str_add(&cut, CUT_MARK);
        return json_stringn(cut.data, cut.len);
}

static json_t *encode_text(const char *text, const struct codec_field *field)
{
        if (!text)
                return field->type == CODEC_TEXT ? json_string("") : json_null();
        return codec_text(text, strlen(text), field->max, field->flags & CODEC_KEEP_END);
}

static json_t *encode_time(int64_t ns)
{
        scoped_str struct str text = STR_INIT;

        str_add_time_ns(&text, ns);
        return json_string(text.data);
}

static json_t *encode_field(const char *place, const struct codec_field *field)
{
        switch (field->type) {
        case CODEC_TEXT:
        case CODEC_TEXT_NULL:
                return encode_text(*(const char *const *)place, field);
        case CODEC_INT:
                return json_integer(*(const int *)place);
        case CODEC_INT64:
                return json_integer(*(const int64_t *)place);
        case CODEC_BOOL:
                return json_boolean(*(const bool *)place);
        case CODEC_STATE:
                return json_string(state_name(*(const enum state *)place));
        case CODEC_REASON:
                return json_string(reason_name(*(const enum reason *)place));
        case CODEC_TIME_NS:
                return encode_time(*(const int64_t *)place);
        }
        return NULL;
}

void codec_encode(json_t *object, const void *value, const struct codec_field *fields, size_t n)
{
        for (size_t i = 0; i < n; i++)
                json_object_set_new(
                        object, fields[i].name,
                        encode_field((const char *)value + fields[i].offset, &fields[i]));
}

/* Exactly n digits; Return: -1 when there are fewer. */
static int digits(const char **text, int n)
{
        int value = 0;

        for (int i = 0; i < n; i++, (*text)++) {
                if (**text < '0' || **text > '9')
                        return -1;
                value = value * 10 + (**text - '0');
        }
        return value;
}

static bool skip(const char **text, char c)
{
        if (**text != c)
                return false;
        (*text)++;
        return true;
}

static bool read_date(struct tm *tm, const char **text)
{
        tm->tm_year = digits(text, 4) - 1900;
        if (tm->tm_year < 0 || !skip(text, '-'))
                return false;
        tm->tm_mon = digits(text, 2) - 1;
        if (tm->tm_mon < 0 || tm->tm_mon > 11 || !skip(text, '-'))
                return false;
        tm->tm_mday = digits(text, 2);
        return tm->tm_mday >= 1 && tm->tm_mday <= 31 && (skip(text, 'T') || skip(text, 't'));
}

static bool read_time(struct tm *tm, const char **text)
{
        tm->tm_hour = digits(text, 2);
        if (tm->tm_hour < 0 || tm->tm_hour > 23 || !skip(text, ':'))
                return false;
        tm->tm_min = digits(text, 2);
        if (tm->tm_min < 0 || tm->tm_min > 59 || !skip(text, ':'))
                return false;
        tm->tm_sec = digits(text, 2);
        return tm->tm_sec >= 0 && tm->tm_sec <= 60;
}

static bool read_fraction(int64_t *ret_ns, const char **text)
{
        int64_t unit = 100000000;

        *ret_ns = 0;
        if (!skip(text, '.'))
                return true;
        if (**text < '0' || **text > '9')
                return false;
        for (; **text >= '0' && **text <= '9'; (*text)++, unit /= 10)
                *ret_ns += (**text - '0') * unit;
        return true;
}

static bool read_offset(int *ret_minutes, const char **text)
{
        int sign = **text == '-' ? -1 : 1;
        int hours;
        int minutes;

        *ret_minutes = 0;
        if (skip(text, 'Z') || skip(text, 'z'))
                return true;
        if (!skip(text, '+') && !skip(text, '-'))
                return false;
        hours = digits(text, 2);
        if (hours < 0 || hours > 23 || !skip(text, ':'))
                return false;
        minutes = digits(text, 2);
        *ret_minutes = sign * (hours * 60 + minutes);
        return minutes >= 0 && minutes <= 59;
}

bool codec_time_ns(int64_t *ret, const char *text)
{
        struct tm tm = {0};
        int64_t ns = 0;
        int offset = 0;

        if (!read_date(&tm, &text) || !read_time(&tm, &text) || !read_fraction(&ns, &text) ||
            !read_offset(&offset, &text) || *text)
                return false;
        if (tm.tm_year > 2261 - 1900) /* int64_t nanoseconds end in 2262 */
                return false;
        *ret = ((int64_t)timegm(&tm) - offset * 60) * 1000000000 + ns;
        return true;
}

static int wrong(const struct codec_field *field, const char *what, struct error *err)
{
        return error_set(err, ERROR_INVALID, "member \"%s\" %s", field->name, what);
}

static int decode_text(char *place, struct arena *arena, const json_t *json,
                       const struct codec_field *field, struct error *err)
{
        if (!json_is_string(json))
                return wrong(field, "is not a text", err);
        if ((field->flags & CODEC_FILLED) && json_string_length(json) == 0)
                return wrong(field, "is empty", err);
        *(const char **)place =
                arena_copy_n(arena, json_string_value(json), json_string_length(json));
        return 0;
}

static int decode_int(char *place, const json_t *json, const struct codec_field *field,
                      struct error *err)
{
        json_int_t value = json_integer_value(json);

        if (!json_is_integer(json))
                return wrong(field, "is not a whole number", err);
        if ((field->flags & CODEC_FILLED) && value < 1)
                return wrong(field, "is less than 1", err);
        if (field->type == CODEC_INT64) {
                *(int64_t *)place = value;
                return 0;
        }
        if (value < INT_MIN || value > INT_MAX)
                return wrong(field, "is out of range", err);
        *(int *)place = (int)value;
        return 0;
}

static int decode_word(char *place, const json_t *json, const struct codec_field *field,
                       struct error *err)
{
        const char *word = json_string_value(json);
        int64_t ns;
        int value;

        if (!word)
                return wrong(field, "is not a text", err);
        if (field->type == CODEC_TIME_NS) {
                if (!codec_time_ns(&ns, word))
                        return wrong(field, "is not a time as RFC 3339 has them", err);
                *(int64_t *)place = ns;
                return 0;
        }
        value = field->type == CODEC_STATE ? state_parse(word) : reason_parse(word);
        if (value < 0)
                return error_set(err, ERROR_INVALID, "member \"%s\" has the unknown value '%.40s'",
                                 field->name, word);
        if (field->type == CODEC_STATE)
                *(enum state *)place = (enum state)value;
        else
                *(enum reason *)place = (enum reason)value;
        return 0;
}

static int decode_field(char *place, struct arena *arena, const json_t *json,
                        const struct codec_field *field, struct error *err)
{
        switch (field->type) {
        case CODEC_TEXT:
        case CODEC_TEXT_NULL:
                return decode_text(place, arena, json, field, err);
        case CODEC_INT:
        case CODEC_INT64:
                return decode_int(place, json, field, err);
        case CODEC_BOOL:
                if (!json_is_boolean(json))
                        return wrong(field, "is neither true nor false", err);
                *(bool *)place = json_is_true(json);
                return 0;
        case CODEC_STATE:
        case CODEC_REASON:
        case CODEC_TIME_NS:
                return decode_word(place, json, field, err);
        }
        return 0;
}

int codec_decode(void *value, struct arena *arena, const json_t *object,
                 const struct codec_field *fields, size_t n, struct error *err)
{
        if (!json_is_object(object))
                return error_set(err, ERROR_INVALID, "not an object");
        for (size_t i = 0; i < n; i++) {
                const struct codec_field *field = &fields[i];
                const json_t *json = json_object_get(object, field->name);

                if (!json || json_is_null(json)) {
                        if (field->flags & (CODEC_REQUIRED | CODEC_FILLED))
                                return wrong(field, "is missing", err);
                        continue;
                }
                if (decode_field((char *)value + field->offset, arena, json, field, err) < 0)
                        return -ERROR_INVALID;
        }
        return 0;
}

int codec_parse(json_t **ret, const char *text, size_t n, struct error *err)
{
        scoped(json) json_t *json = NULL;
        int64_t version;
        int r;

        r = json_parse(&json, text, n, WIRE_BYTES_MAX, err);
        if (r < 0)
                return r;
        if (!json_is_object(json))
                return error_set(err, ERROR_INVALID, "not an object");
        r = json_get_int(&version, json, "v", err);
        if (r < 0)
                return r;
        if (version != WIRE_VERSION)
                return error_set(err, ERROR_INVALID,
                                 "version %lld of this message is not known here, only %d: are "
                                 "all services of the same release?",
                                 (long long)version, WIRE_VERSION);
        *ret = take(json);
        return 0;
}

int codec_array(const json_t **ret, const json_t *object, const char *name, struct error *err)
{
        const json_t *json = json_object_get(object, name);

        *ret = NULL;
        if (!json || json_is_null(json))
                return 0;
        if (!json_is_array(json))
                return error_set(err, ERROR_INVALID, "member \"%s\" is not a list", name);
        *ret = json;
        return 0;
}
