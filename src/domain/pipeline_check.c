/*
 * Each key of a map is looked up in the table; what is not there gets a suggestion, first from the
 * words of other systems, which are known exactly, then by nearness among the keys allowed here.
 */
#include "domain/pipeline_check.h"

#include <ctype.h>
#include <stdarg.h>
#include <string.h>

#include "base/arena.h"
#include "base/str.h"
#include "base/suggest.h"
#include "domain/pipeline_keys.h"

#include "base/banned.h"

#define NAME_MAX_BYTES 63
#define KEYS_MAX 32

bool check_full(const struct check *check)
{
        return check->findings->errors + check->findings->warnings >= CHECK_FINDINGS_MAX;
}

__attribute__((__format__(__printf__, 6, 0))) static void
add(struct check *check, enum finding_severity severity, struct yaml_place place, const char *rule,
    const char *hint, const char *format, va_list args)
{
        struct findings *findings = check->findings;
        scoped_str struct str message = STR_INIT;

        if (check_full(check)) {
                findings->more++;
                if (severity == FINDING_ERROR)
                        findings->errors++;
                else
                        findings->warnings++;
                return;
        }
        str_vprintf(&message, format, args);
        findings_add(findings, &(struct finding){
                                       .severity = severity,
                                       .line = place.line,
                                       .column = place.column,
                                       .width = place.width,
                                       .rule = rule,
                                       .message = arena_copy(check->arena, message.data),
                                       .hint = hint ? hint : "",
                                       .allowed = "",
                               });
}

void check_error(struct check *check, struct yaml_place place, const char *rule, const char *hint,
                 const char *format, ...)
{
        va_list args;

        va_start(args, format);
        add(check, FINDING_ERROR, place, rule, hint, format, args);
        va_end(args);
}

void check_warning(struct check *check, struct yaml_place place, const char *rule, const char *hint,
                   const char *format, ...)
{
        va_list args;

        va_start(args, format);
        add(check, FINDING_WARNING, place, rule, hint, format, args);
        va_end(args);
}

bool check_name(const char *text)
{
        size_t n = strlen(text);

        if (n == 0 || n > NAME_MAX_BYTES || (!isalpha((unsigned char)*text) && *text != '_'))
                return false;
        for (; *text; text++) {
                if (!isalnum((unsigned char)*text) && *text != '_' && *text != '-')
                        return false;
        }
        return true;
}

const char *check_did_you_mean(struct check *check, const char *word, const char *const *words,
                               size_t n, const char *fallback)
{
        const char *near = NULL;

        if (!check_full(check))
                near = suggest(word, words, n);
        return near ? arena_format(check->arena, "did you mean \"%s\"?", near) : fallback;
}

/* hints collects what was suggested, to see later which missing key was only mistyped. */
static void unknown_key(struct check *check, const struct key_table *table,
                        const struct yaml_node *node, const char *what, struct str *hints)
{
        const char *names[KEYS_MAX];
        const char *hint = pipeline_foreign_word(table->place, node->text);
        scoped_str struct str allowed = STR_INIT;
        size_t n = 0;

        if (check_full(check)) {
                check_error(check, node->place, "unknown-key", "", "unknown key");
                return;
        }
        for (size_t i = 0; i < table->n && n < KEYS_MAX; i++) {
                names[n++] = table->keys[i].name;
                if (table->keys[i].type != KEY_LATER)
                        str_printf(&allowed, "%s%s", allowed.len ? " " : "", table->keys[i].name);
        }
        if (!hint)
                hint = check_did_you_mean(check, node->text, names, n, "");
        str_add(hints, hint);
        findings_add(check->findings,
                     &(struct finding){
                             .severity = FINDING_ERROR,
                             .line = node->place.line,
                             .column = node->place.column,
                             .width = node->place.width,
                             .rule = "unknown-key",
                             .message = arena_format(check->arena, "unknown key \"%s\" in %s",
                                                     yaml_shown(check->arena, node->text), what),
                             .hint = hint,
                             .allowed = arena_copy(check->arena, allowed.data),
                     });
}

static void known_key(struct check *check, const struct key *key, const struct yaml_pair *pair,
                      void *target, const char *what)
{
        if (key->type == KEY_LATER) {
                check_error(check, pair->key->place, "not-supported-yet",
                            "this version cannot run it: take it out",
                            "key \"%s\" in %s is not supported yet", key->name, what);
                return;
        }
        if (yaml_is_null(pair->value) && key->type != KEY_ENV) {
                check_error(check, pair->key->place, "wrong-type",
                            arena_format(check->arena, "write %s: %s, or take it out", key->name,
                                         key->example),
                            "key \"%s\" has no value", key->name);
                return;
        }
        if (key->type == KEY_MAP)
                check_map(check, pair->value, key->inside, pair->key->place, target,
                          arena_format(check->arena, "\"%s\" of %s", key->name, what));
        else
                check_value(check, key, pair->value, (char *)target + key->offset);
}

static void missing_keys(struct check *check, const struct yaml_node *map,
                         const struct key_table *table, struct yaml_place place, const char *what,
                         const char *hints)
{
        for (size_t i = 0; i < table->n; i++) {
                const struct key *key = &table->keys[i];
                const char *quoted = arena_format(check->arena, "\"%s\"", key->name);
                const char *hint;

                /* A key that is missing because it was mistyped is one mistake, not two. */
                if (!key->required || yaml_get(map, key->name) || strstr(hints, quoted))
                        continue;
                hint = key->type == KEY_VERSION
                               ? "add \"version: 1.0\" as the first line"
                               : arena_format(check->arena, "add %s: %s", key->name, key->example);
                check_error(check, place, "missing-key", hint, "key \"%s\" is missing in %s",
                            key->name, what);
        }
}

void check_map(struct check *check, const struct yaml_node *map, const struct key_table *table,
               struct yaml_place place, void *target, const char *what)
{
        scoped_str struct str hints = STR_INIT;

        if (map->kind != YAML_MAP) {
                check_error(check, map->place, "wrong-type",
                            arena_format(check->arena, "write \"%s: %s\" below it",
                                         table->keys[0].name, table->keys[0].example),
                            "%s must be a map of keys and values, not %s", what,
                            map->kind == YAML_LIST ? "a list" : "a text");
                return;
        }
        for (size_t i = 0; i < map->n; i++) {
                const struct yaml_pair *pair = &map->pairs[i];
                const struct key *key = pipeline_key(table, pair->key->text);

                if (key)
                        known_key(check, key, pair, target, what);
                else
                        unknown_key(check, table, pair->key, what, &hints);
        }
        missing_keys(check, map, table, place, what, hints.data);
}
