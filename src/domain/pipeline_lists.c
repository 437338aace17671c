/*
 * Where a key takes one value or a list of them, and maps of variables.
 */
#include <ctype.h>
#include <string.h>

#include "base/arena.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/pipeline_check.h"
#include "domain/pipeline_file.h"
#include "domain/pipeline_keys.h"
#include "domain/pipeline_values.h"

#include "base/banned.h"

/* Linux takes no environment variable or argument of 128 KiB or more. */
#define ENV_BYTES_MAX (128 * 1024 - 1)
#define EXIT_CODES 256
#define LIST_MAX 256
#define ENV_MAX 1000

/* Calls one for the node, or for each item of a list; other kinds are findings. */
static void each(struct check *check, const struct key *key, const struct yaml_node *node,
                 void (*one)(struct check *check, const struct key *key,
                             const struct yaml_node *node, void *slot),
                 void *slot)
{
        if (node->kind == YAML_TEXT) {
                one(check, key, node, slot);
                return;
        }
        if (node->kind == YAML_MAP) {
                check_type_error(check, key, node);
                return;
        }
        if (node->n == 0)
                check_error(check, node->place, "bad-value", values_example(check, key),
                            "\"%s\" is an empty list", key->name);
        if (node->n > LIST_MAX) {
                check_error(check, node->place, "too-many", "", "\"%s\" has more than %d items",
                            key->name, LIST_MAX);
                return;
        }
        for (size_t i = 0; i < node->n; i++) {
                if (node->items[i]->kind == YAML_TEXT)
                        one(check, key, node->items[i], slot);
                else
                        check_type_error(check, key, node->items[i]);
        }
}

static void one_choice(struct check *check, const struct key *key, const struct yaml_node *node,
                       void *slot)
{
        int chosen = values_choose(check, key, node);

        if (chosen >= 0)
                *(unsigned *)slot |= 1u << chosen;
}

static void one_code(struct check *check, const struct key *key, const struct yaml_node *node,
                     void *slot)
{
        bool *codes = slot;
        int64_t value = 0;

        values_count(check, key, node, &value);
        codes[value] = true;
}

static void one_name(struct check *check, const struct key *key, const struct yaml_node *node,
                     void *slot)
{
        struct text_list *list = slot;

        (void)check;
        (void)key;
        list->items[list->n++] = node->text;
}

void values_names(struct check *check, const struct key *key, const struct yaml_node *node,
                  void *slot)
{
        struct text_list *list = slot;
        size_t n = node->kind == YAML_LIST ? node->n : 1;

        list->items = arena_alloc(check->arena, (n + 1) * sizeof(*list->items));
        if (node->kind == YAML_LIST && node->n == 0)
                return;
        each(check, key, node, one_name, list);
}

static bool env_name(const char *name)
{
        if (!isalpha((unsigned char)*name) && *name != '_')
                return false;
        for (; *name; name++) {
                if (!isalnum((unsigned char)*name) && *name != '_')
                        return false;
        }
        return true;
}

static bool env_entry(struct check *check, const struct yaml_pair *pair)
{
        const char *shown = yaml_shown(check->arena, pair->key->text);

        if (!env_name(pair->key->text)) {
                check_error(check, pair->key->place, "bad-name",
                            "use letters, digits and _, no digit first",
                            "\"%s\" is not the name of a variable", shown);
                return false;
        }
        if (pair->value->kind != YAML_TEXT) {
                check_error(check, pair->value->place, "wrong-type",
                            "quote the value if it is meant as text",
                            "variable \"%s\" takes a text, not a %s", shown,
                            pair->value->kind == YAML_LIST ? "list" : "map");
                return false;
        }
        if (pair->key->n + pair->value->n >= ENV_BYTES_MAX) {
                check_error(check, pair->key->place, "bad-value",
                            "put it into a file of the repository",
                            "variable \"%s\" is longer than Linux takes (128 KiB)", shown);
                return false;
        }
        values_refuse_expression(check, pair->value);
        return true;
}

void values_env(struct check *check, const struct key *key, const struct yaml_node *node,
                void *slot)
{
        struct env_list *list = slot;

        if (yaml_is_null(node))
                return;
        if (node->kind != YAML_MAP) {
                check_type_error(check, key, node);
                return;
        }
        if (node->n > ENV_MAX) {
                check_error(check, node->place, "too-many", "", "more than %d variables", ENV_MAX);
                return;
        }
        list->items = arena_alloc(check->arena, (node->n + 1) * sizeof(*list->items));
        for (size_t i = 0; i < node->n; i++) {
                const struct yaml_pair *pair = &node->pairs[i];

                if (env_entry(check, pair))
                        list->items[list->n++] = (struct pipeline_env){
                                pair->key->text,
                                yaml_is_null(pair->value) ? "" : pair->value->text};
        }
}

void values_choices(struct check *check, const struct key *key, const struct yaml_node *node,
                    void *slot)
{
        each(check, key, node, one_choice, slot);
}

void values_codes(struct check *check, const struct key *key, const struct yaml_node *node,
                  void *slot)
{
        bool codes[EXIT_CODES] = {false};
        scoped_str struct str text = STR_INIT;

        each(check, key, node, one_code, codes);
        for (int code = 1; code < EXIT_CODES; code++) {
                if (codes[code])
                        str_printf(&text, "%s%d", text.len ? "," : "", code);
        }
        if (text.len)
                *(const char **)slot = arena_copy(check->arena, text.data);
}
