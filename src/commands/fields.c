/*
 * --json[=FIELDS]: the same document as REST gives, cut to some of its members.
 */
#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "commands/command.h"

#include "base/banned.h"

static void print_json(const json_t *json)
{
        scoped_str struct str text = STR_INIT;

        str_add_json(&text, json);
        str_add_char(&text, '\n');
        fwrite(text.data, 1, text.len, stdout);
}

/* The named members of one object; adds how many of them it has. */
static json_t *cut_object(const json_t *object, const char *fields, size_t *found)
{
        json_t *cut = json_object();

        while (*fields) {
                size_t n = strcspn(fields, ",");
                scoped_text char *name = text_format("%.*s", (int)n, fields);
                json_t *value = json_object_get(object, name);

                if (*name && value) {
                        json_object_set(cut, name, value);
                        (*found)++;
                }
                fields += n + (fields[n] == ',');
        }
        return cut;
}

static size_t count_fields(const char *fields)
{
        size_t n = 0;

        while (*fields) {
                size_t length = strcspn(fields, ",");

                n += length > 0;
                fields += length + (fields[length] == ',');
        }
        return n;
}

static int unknown_field(const struct invocation *invocation, const char *fields,
                         const json_t *object)
{
        scoped_str struct str known = STR_INIT;
        const char *key;
        json_t *value;

        json_object_foreach((json_t *)object, key, value)
                str_printf(&known, "%s%s", known.len ? "," : "", key);
        return invocation_usage(invocation, "--json=%s: a field is unknown; there are %s", fields,
                                known.data);
}

int invocation_json(const struct invocation *invocation, const json_t *json)
{
        const char *fields = invocation_option(invocation, "json");
        scoped(json) json_t *cut = NULL;
        size_t wanted = fields ? count_fields(fields) : 0;
        size_t found = 0;

        if (!wanted) {
                print_json(json);
                return EXIT_GREEN;
        }
        if (!json_is_array(json)) {
                cut = cut_object(json, fields, &found);
                if (found < wanted)
                        return unknown_field(invocation, fields, json);
                print_json(cut);
                return EXIT_GREEN;
        }
        cut = json_array();
        for (size_t i = 0; i < json_array_size(json); i++) {
                const json_t *object = json_array_get(json, i);

                found = 0;
                json_array_append_new(cut, cut_object(object, fields, &found));
                if (found < wanted)
                        return unknown_field(invocation, fields, object);
        }
        print_json(cut);
        return EXIT_GREEN;
}
