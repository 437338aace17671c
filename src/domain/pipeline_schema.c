/*
 * The JSON Schema for editors, printed from the table of keys. Draft-07, because editors speak it.
 */
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "domain/pipeline_file.h"
#include "domain/pipeline_keys.h"

#include "base/banned.h"

#define NAME_PATTERN "^[A-Za-z_][A-Za-z0-9_-]{0,62}$"
#define IMAGE_PATTERN "^[A-Za-z0-9][A-Za-z0-9._/:@-]*$"
#define SHELL_PATTERN "^(sh|bash|python)$|\\{0\\}"
#define ENV_PATTERN "^[A-Za-z_][A-Za-z0-9_]*$"

static json_t *schema_of_table(const struct key_table *table);

static json_t *words(const char *choices)
{
        json_t *list = json_array();

        while (*choices) {
                size_t n = strcspn(choices, " ");

                json_array_append_new(list, json_stringn(choices, n));
                choices += n + (choices[n] == ' ');
        }
        return list;
}

/* One of them, or a list of them. */
static json_t *one_or_several(json_t *one)
{
        return json_pack("{s:[O, {s:s, s:o, s:i}]}", "anyOf", one, "type", "array", "items", one,
                         "minItems", 1);
}

static json_t *scalar(void)
{
        return json_pack("[s, s, s, s]", "string", "number", "boolean", "null");
}

static json_t *number(const struct key *key, const char *type, double scale)
{
        json_t *schema = json_pack("{s:s}", "type", type);

        if (strcmp(type, "integer") == 0) {
                json_object_set_new(schema, "minimum", json_integer(key->min));
                json_object_set_new(schema, "maximum", json_integer(key->max));
        } else {
                json_object_set_new(schema, "exclusiveMinimum", json_integer(0));
                json_object_set_new(schema, "maximum",
                                    json_integer((json_int_t)((double)key->max / scale)));
        }
        return schema;
}

static json_t *schema_of_type(const struct key *key)
{
        switch (key->type) {
        case KEY_VERSION:
                return json_pack("{s:[i, f, s, s]}", "enum", 1, 1.0, "1", "1.0");
        case KEY_TEXT:
                return json_pack("{s:[s, s, s]}", "type", "string", "number", "boolean");
        case KEY_SCRIPT:
                return json_pack("{s:[s, s, s], s:s}", "type", "string", "number", "boolean",
                                 "pattern", "\\S");
        case KEY_IMAGE:
                return json_pack("{s:s, s:s}", "type", "string", "pattern", IMAGE_PATTERN);
        case KEY_SHELL:
                return json_pack("{s:s, s:s}", "type", "string", "pattern", SHELL_PATTERN);
        case KEY_ID:
                return json_pack("{s:s, s:s}", "type", "string", "pattern", NAME_PATTERN);
        case KEY_CHOICE:
                return json_pack("{s:o}", "enum", words(key->choices));
        case KEY_CHOICES:
                return one_or_several(json_pack("{s:o}", "enum", words(key->choices)));
        case KEY_BOOL:
                return json_pack("{s:s}", "type", "boolean");
        case KEY_MINUTES:
                return number(key, "number", 60000);
        case KEY_CPUS:
                return number(key, "number", 1000);
        case KEY_SIZE:
                return json_pack("{s:[s, s], s:s}", "type", "string", "integer", "pattern",
                                 "^[0-9]+([kKmMgGtT]([iI]?[bB])?|[bB])?$");
        case KEY_COUNT:
                return number(key, "integer", 1);
        case KEY_CODES:
                return one_or_several(number(key, "integer", 1));
        case KEY_NAMES:
                return json_pack("{s:[s, s], s:{s:s}, s:b}", "type", "string", "array", "items",
                                 "type", "string", "uniqueItems", 1);
        case KEY_ENV:
                return json_pack("{s:[s, s], s:{s:s}, s:{s:o}}", "type", "object", "null",
                                 "propertyNames", "pattern", ENV_PATTERN, "additionalProperties",
                                 "type", scalar());
        case KEY_MAP:
                return schema_of_table(key->inside);
        case KEY_JOBS:
                return json_pack("{s:s, s:i, s:i, s:{s:s}, s:o}", "type", "object", "minProperties",
                                 1, "maxProperties", PIPELINE_JOBS_MAX, "propertyNames", "pattern",
                                 NAME_PATTERN, "additionalProperties",
                                 schema_of_table(&pipeline_job_keys));
        case KEY_STEPS:
                return json_pack("{s:s, s:i, s:i, s:o}", "type", "array", "minItems", 1, "maxItems",
                                 PIPELINE_STEPS_MAX, "items", schema_of_table(&pipeline_step_keys));
        default:
                return json_pack("{s:s}", "type", "string");
        }
}

/* A default that is a word of the language becomes one of the schema; a phrase stays a phrase. */
static void add_default(json_t *schema, const struct key *key, struct str *description)
{
        if (!key->fallback)
                return;
        if (key->type == KEY_BOOL)
                json_object_set_new(schema, "default",
                                    json_boolean(strcmp(key->fallback, "true") == 0));
        else if (key->type == KEY_CHOICE || key->type == KEY_SHELL)
                json_object_set_new(schema, "default", json_string(key->fallback));
        else if (strspn(key->fallback, "0123456789") == strlen(key->fallback))
                json_object_set_new(schema, "default",
                                    json_integer(strtoll(key->fallback, NULL, 10)));
        else
                str_printf(description, "; default: %s", key->fallback);
}

static json_t *schema_of_key(const struct key *key)
{
        scoped_str struct str description = STR_INIT;
        json_t *schema = schema_of_type(key);

        str_add(&description, key->help);
        add_default(schema, key, &description);
        json_object_set_new(schema, "description", json_string(description.data));
        return schema;
}

static json_t *schema_of_table(const struct key_table *table)
{
        json_t *properties = json_object();
        json_t *required = json_array();
        json_t *schema = json_pack("{s:s, s:b}", "type", "object", "additionalProperties", 0);

        for (size_t i = 0; i < table->n; i++) {
                const struct key *key = &table->keys[i];

                if (key->type == KEY_LATER)
                        continue;
                json_object_set_new(properties, key->name, schema_of_key(key));
                if (key->required)
                        json_array_append_new(required, json_string(key->name));
        }
        json_object_set_new(schema, "properties", properties);
        if (json_array_size(required))
                json_object_set_new(schema, "required", required);
        else
                json_decref(required);
        return schema;
}

void pipeline_file_schema(struct str *str)
{
        scoped(json) json_t *root = schema_of_table(&pipeline_file_keys);
        scoped(json) json_t *head =
                json_pack("{s:s, s:s, s:s}", "$schema", "http://json-schema.org/draft-07/schema#",
                          "title", ".runnerci.yml", "description", "A pipeline that Argon runs");
        char *text;

        json_object_update(head, root);
        text = json_dumps(head, JSON_INDENT(2));
        if (!text)
                abort();
        str_printf(str, "%s\n", text);
        free(text);
}
