#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/str.h"

#include "base/banned.h"

/* jansson recurses up to 2048 levels; we stop long before it starts. */
static int check_depth(const char *text, size_t n, struct error *err)
{
        int depth = 0;
        bool quoted = false;

        for (size_t i = 0; i < n; i++) {
                if (quoted && text[i] == '\\')
                        i++;
                else if (text[i] == '"')
                        quoted = !quoted;
                else if (!quoted && (text[i] == '[' || text[i] == '{'))
                        depth++;
                else if (!quoted && (text[i] == ']' || text[i] == '}'))
                        depth--;
                if (depth > JSON_DEPTH_LIMIT)
                        return error_set(err, ERROR_LIMIT, "JSON nested deeper than %d",
                                         JSON_DEPTH_LIMIT);
        }
        return 0;
}

int json_parse(json_t **ret, const char *text, size_t n, size_t max, struct error *err)
{
        json_error_t why;
        json_t *json;

        if (n > max)
                return error_set(err, ERROR_LIMIT, "JSON of %zu bytes is over the limit of %zu", n,
                                 max);
        if (check_depth(text, n, err) < 0)
                return -ERROR_LIMIT;
        json = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why);
        if (!json)
                return error_set(err, ERROR_INVALID, "not JSON: %s at line %d, column %d", why.text,
                                 why.line, why.column);
        *ret = json;
        return 0;
}

int json_get_text(const char **ret, const json_t *object, const char *key, struct error *err)
{
        const json_t *value = json_object_get(object, key);

        if (!value)
                return error_set(err, ERROR_INVALID, "member \"%s\" is missing", key);
        if (!json_is_string(value))
                return error_set(err, ERROR_INVALID, "member \"%s\" is not a text", key);
        *ret = json_string_value(value);
        return 0;
}

int json_get_int(int64_t *ret, const json_t *object, const char *key, struct error *err)
{
        const json_t *value = json_object_get(object, key);

        if (!value)
                return error_set(err, ERROR_INVALID, "member \"%s\" is missing", key);
        if (!json_is_integer(value))
                return error_set(err, ERROR_INVALID, "member \"%s\" is not a whole number", key);
        *ret = json_integer_value(value);
        return 0;
}

const char *json_text_or(const json_t *object, const char *key, const char *fallback)
{
        const json_t *value = json_object_get(object, key);

        return json_is_string(value) ? json_string_value(value) : fallback;
}

int64_t json_int_or(const json_t *object, const char *key, int64_t fallback)
{
        const json_t *value = json_object_get(object, key);

        return json_is_integer(value) ? json_integer_value(value) : fallback;
}

bool json_bool_or(const json_t *object, const char *key, bool fallback)
{
        const json_t *value = json_object_get(object, key);

        return json_is_boolean(value) ? json_is_true(value) : fallback;
}

void json_set_text(json_t *object, const char *key, const char *text)
{
        json_t *value = text ? json_string(text) : NULL;

        json_object_set_new(object, key, value ? value : json_null());
}

void json_set_int(json_t *object, const char *key, int64_t value)
{
        json_object_set_new(object, key, json_integer(value));
}

void json_set_bool(json_t *object, const char *key, bool value)
{
        json_object_set_new(object, key, json_boolean(value));
}

void json_set_time(json_t *object, const char *key, int64_t ms)
{
        scoped_str struct str text = STR_INIT;

        if (ms)
                str_add_time_ms(&text, ms);
        json_set_text(object, key, ms ? text.data : NULL);
}

int64_t json_time_or_zero(const json_t *object, const char *key)
{
        const char *text = json_text_or(object, key, NULL);
        struct tm tm = {0};
        int ms = 0;

        if (!text || sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ", &tm.tm_year, &tm.tm_mon,
                            &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &ms) < 6)
                return 0;
        tm.tm_year -= 1900;
        tm.tm_mon -= 1;
        return (int64_t)timegm(&tm) * 1000 + ms;
}

void str_add_json(struct str *str, const json_t *json)
{
        char *text = json_dumps(json, JSON_COMPACT);

        if (!text)
                abort();
        str_add(str, text);
        free(text);
}
