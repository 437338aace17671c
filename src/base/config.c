/*
 * All sources end in store_value(): it parses into the member and remembers text and origin. Texts
 * live in an arena, so that values of weaker sources that were replaced need no care.
 *
 * A key of type CONFIG_LINES that comes again in the same source adds a line; from a stronger
 * source it replaces. Every other key may stand only once in a file: a second one is nearly always
 * an edit that somebody believes to be in force and is not.
 */
#include "base/config.h"

#include <ctype.h>
#include <glob.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/parse.h"
#include "base/scoped.h"
#include "base/str.h"
#include "base/suggest.h"

#include "base/banned.h"

#define PREFIX "ARGON_"
#define TWIN_KEY ".file"
#define TWIN_VARIABLE "_FILE"
#define MILLI_MAX (INT64_C(1000000) * 1000)

struct config_state {
        const char *text;
        const char *origin;
        int source; /* number of the source that set it last */
};

struct config {
        struct arena *arena;
        const struct config_key *table;
        size_t n;
        char *target;
        int source;
        struct config_state states[CONFIG_KEYS_MAX];
};

void config_variable(const struct config_key *key, struct str *ret)
{
        if (key->variable) {
                str_add(ret, key->variable);
                return;
        }
        str_add(ret, PREFIX);
        for (const char *at = key->key; *at; at++)
                str_add_char(ret, *at == '.' ? '_' : (char)toupper((unsigned char)*at));
}

int config_find(const struct config *config, const char *key)
{
        for (size_t i = 0; i < config->n; i++) {
                if (strcmp(config->table[i].key, key) == 0)
                        return (int)i;
        }
        return -1;
}

const char *config_value(const struct config *config, size_t i)
{
        return config->states[i].text;
}

const char *config_origin(const struct config *config, size_t i)
{
        return config->states[i].origin;
}

/* "1.5" to 1500; at most three digits after the point. */
static int parse_milli(int64_t *ret, const char *text, struct error *err)
{
        const char *at = text;
        int64_t value = 0;
        int digits = 0;

        for (; isdigit((unsigned char)*at) && value < MILLI_MAX; at++)
                value = value * 10 + (*at - '0');
        if (at == text)
                goto malformed;
        if (*at == '.' && isdigit((unsigned char)at[1])) {
                for (at++; isdigit((unsigned char)*at) && digits < 3; at++, digits++)
                        value = value * 10 + (*at - '0');
        }
        for (; digits < 3; digits++)
                value *= 10;
        if (*at || value > MILLI_MAX)
                goto malformed;
        *ret = value;
        return 0;
malformed:
        return error_set(err, ERROR_INVALID, "'%.64s' is not a number like 2 or 1.5", text);
}

static bool is_word(const char *allowed, const char *text)
{
        size_t n = strlen(text);

        for (const char *at = allowed; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL) {
                if (n && strncmp(at, text, n) == 0 && (at[n] == '|' || at[n] == '\0'))
                        return true;
        }
        return false;
}

static int parse_number(int64_t *ret, const struct config_key *key, const char *text,
                        struct error *err)
{
        bool bounded = key->min || key->max;
        int result;

        if (key->type == CONFIG_DURATION)
                result = parse_duration(ret, text, err);
        else if (key->type == CONFIG_SIZE)
                result = parse_size(ret, text, err);
        else if (key->type == CONFIG_MILLI)
                result = parse_milli(ret, text, err);
        else
                result = parse_int(ret, text, bounded ? key->min : 0,
                                   bounded ? key->max : INT64_MAX, err);
        if (result == 0 && bounded && (*ret < key->min || *ret > key->max))
                return error_set(err, ERROR_INVALID, "'%.64s' is out of range", text);
        return result;
}

static int parse_into(struct config *config, size_t i, const char *text, struct error *err)
{
        const struct config_key *key = &config->table[i];
        void *member = config->target + key->offset;
        int64_t number = 0;

        switch (key->type) {
        case CONFIG_WORD:
                if (!is_word(key->allowed, text))
                        return error_set(err, ERROR_INVALID, "'%.64s' is none of these", text);
                *(const char **)member = text;
                return 0;
        case CONFIG_TEXT:
        case CONFIG_LINES:
                *(const char **)member = text;
                return 0;
        default:
                if (parse_number(&number, key, text, err) < 0)
                        return -ERROR_INVALID;
                *(int64_t *)member = number;
                return 0;
        }
}

static int store_value(struct config *config, size_t i, const char *value, const char *origin,
                       struct error *err)
{
        const struct config_key *key = &config->table[i];
        struct config_state *state = &config->states[i];
        struct error why = {0};
        const char *text;

        if (key->type == CONFIG_LINES && state->source == config->source && state->text)
                text = arena_format(config->arena, "%s\n%s", state->text, value);
        else
                text = arena_copy(config->arena, value);
        if (parse_into(config, i, text, &why) < 0)
                return error_set(err, ERROR_INVALID, "%s: %s: %s%s%s", origin, key->key,
                                 key->secret ? "the value does not parse" : why.text,
                                 key->allowed ? "; allowed: " : "",
                                 key->allowed ? key->allowed : "");
        state->text = text;
        state->origin = arena_copy(config->arena, origin);
        state->source = config->source;
        return 0;
}

int config_open(struct config **ret, const struct config_key *table, size_t n, void *target,
                struct error *err)
{
        scoped(config) struct config *config = NULL;

        if (n > CONFIG_KEYS_MAX)
                return error_set(err, ERROR_BUG, "more than %d settings", CONFIG_KEYS_MAX);
        config = xcalloc(1, sizeof(*config));
        config->arena = arena_new();
        config->table = table;
        config->n = n;
        config->target = target;
        for (size_t i = 0; i < n; i++) {
                config->states[i].origin = "default";
                if (table[i].standard && store_value(config, i, table[i].standard, "default", err))
                        return err ? -err->kind : -ERROR_BUG;
        }
        config->source = 1;
        *ret = take(config);
        return 0;
}

void config_close(struct config *config)
{
        arena_free(config->arena);
        free(config);
}

/* The content of a secret's file, without the newline that editors put at its end. */
static int store_twin(struct config *config, size_t i, const char *path, const char *origin,
                      struct error *err)
{
        scoped_str struct str text = STR_INIT;
        scoped_text char *full = text_format("%s (%s)", origin, path);

        if (str_read_file(&text, path, CONFIG_SECRET_BYTES_MAX, err) < 0)
                return error_wrap(err, "%s", origin);
        while (text.len && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r'))
                str_truncate(&text, text.len - 1);
        if (!text.len)
                return error_set(err, ERROR_INVALID, "%s: '%s' is empty", origin, path);
        if (strlen(text.data) != text.len)
                return error_set(err, ERROR_INVALID, "%s: '%s' has a NUL byte", origin, path);
        return store_value(config, i, text.data, full, err);
}

/* The key that this name is the file twin of, or -1. */
static int find_twin(const struct config *config, const char *key)
{
        scoped_text char *base = text_copy(key);
        int i;

        if (!text_ends(key, TWIN_KEY))
                return -1;
        base[strlen(base) - strlen(TWIN_KEY)] = '\0';
        i = config_find(config, base);
        return i >= 0 && config->table[i].secret ? i : -1;
}

static int unknown_key(const struct config *config, const char *key, const char *origin,
                       struct error *err)
{
        const char *names[CONFIG_KEYS_MAX];
        const char *near;

        for (size_t i = 0; i < config->n; i++)
                names[i] = config->table[i].key;
        near = suggest(key, names, config->n);
        if (near)
                return error_set(err, ERROR_INVALID,
                                 "%s: unknown setting '%.64s'; did you mean '%s'?", origin, key,
                                 near);
        return error_set(err, ERROR_INVALID,
                         "%s: unknown setting '%.64s'; `argon config list` shows all of them",
                         origin, key);
}

int config_set(struct config *config, const char *key, const char *value, const char *origin,
               struct error *err)
{
        int i = config_find(config, key);

        if (i < 0)
                return unknown_key(config, key, origin, err);
        return store_value(config, (size_t)i, value, origin, err);
}

static char *trim(char *text)
{
        char *end;

        while (isspace((unsigned char)*text))
                text++;
        end = text + strlen(text);
        while (end > text && isspace((unsigned char)end[-1]))
                *--end = '\0';
        return text;
}

static int unquote(char **value, const char *where, struct error *err)
{
        size_t n = strlen(*value);

        if (**value != '"')
                return 0;
        if (n < 2 || (*value)[n - 1] != '"')
                return error_set(err, ERROR_INVALID, "%s: the quote is not closed", where);
        (*value)[n - 1] = '\0';
        (*value)++;
        return 0;
}

static bool is_listed(const char *const *only, const char *key)
{
        for (size_t i = 0; only && only[i]; i++) {
                if (strcmp(only[i], key) == 0)
                        return true;
        }
        return !only;
}

static int apply_line(struct config *config, char *line, const char *where, const char *const *only,
                      bool seen[CONFIG_KEYS_MAX], struct error *err)
{
        char *equals = strchr(line, '=');
        char *key;
        char *value;
        int twin;
        int i;

        if (!equals)
                return error_set(err, ERROR_INVALID, "%s: '%.64s' is not `key = value`", where,
                                 trim(line));
        *equals = '\0';
        key = trim(line);
        value = trim(equals + 1);
        if (unquote(&value, where, err) < 0)
                return -ERROR_INVALID;
        twin = find_twin(config, key);
        i = twin >= 0 ? twin : config_find(config, key);
        if (i < 0)
                return unknown_key(config, key, where, err);
        if (!is_listed(only, config->table[i].key))
                return error_set(err, ERROR_INVALID,
                                 "%s: '%s' is a setting of the server; it belongs into "
                                 "/etc/argon/argon.conf",
                                 where, key);
        if (seen[i] && config->table[i].type != CONFIG_LINES)
                return error_set(err, ERROR_INVALID, "%s: '%s' stands twice in this file", where,
                                 key);
        seen[i] = true;
        if (twin >= 0)
                return store_twin(config, (size_t)i, value, where, err);
        return store_value(config, (size_t)i, value, where, err);
}

int config_text(struct config *config, const char *name, const char *bytes, size_t n,
                const char *const *only, struct error *err)
{
        scoped_str struct str text = STR_INIT;
        bool seen[CONFIG_KEYS_MAX] = {false};
        char *next;
        int number = 0;

        if (!utf8_valid(bytes, n) || memchr(bytes, '\0', n))
                return error_set(err, ERROR_INVALID, "%s: not a text file in UTF-8", name);
        str_add_bytes(&text, bytes, n);
        config->source++;
        for (char *line = text.data; line; line = next) {
                scoped_text char *where = text_format("%s:%d", name, ++number);
                char *start;

                next = strchr(line, '\n');
                if (next)
                        *next++ = '\0';
                start = trim(line);
                if (*start == '\0' || *start == '#')
                        continue;
                if (apply_line(config, start, where, only, seen, err) < 0)
                        return err ? -err->kind : -ERROR_INVALID;
        }
        return 0;
}

int config_file(struct config *config, const char *path, const char *const *only, struct error *err)
{
        scoped_str struct str text = STR_INIT;

        if (str_read_file(&text, path, CONFIG_FILE_BYTES_MAX, err) < 0)
                return err ? -err->kind : -ERROR_UNAVAILABLE;
        return config_text(config, path, text.data, text.len, only, err);
}

int config_folder(struct config *config, const char *path, struct error *err)
{
        scoped_text char *pattern = text_format("%s/*.conf", path);
        glob_t found = {0};
        int result = glob(pattern, 0, NULL, &found);

        for (size_t i = 0; result == 0 && i < found.gl_pathc; i++)
                result = config_file(config, found.gl_pathv[i], NULL, err);
        globfree(&found);
        return result < 0 ? result : 0;
}

static int apply_variable(struct config *config, const char *name, const char *value,
                          struct error *err)
{
        scoped_text char *where = text_format("environment %s", name);

        for (size_t i = 0; i < config->n; i++) {
                scoped_str struct str variable = STR_INIT;

                config_variable(&config->table[i], &variable);
                if (strcmp(variable.data, name) == 0)
                        return store_value(config, i, value, where, err);
                if (!config->table[i].secret)
                        continue;
                str_add(&variable, TWIN_VARIABLE);
                if (strcmp(variable.data, name) == 0)
                        return store_twin(config, i, value, where, err);
        }
        return 0;
}

int config_environment(struct config *config, char *const *env, struct error *err)
{
        config->source++;
        for (; *env; env++) {
                const char *equals = strchr(*env, '=');
                scoped_text char *name = text_copy(*env);

                if (!equals)
                        continue;
                name[equals - *env] = '\0';
                if (apply_variable(config, name, equals + 1, err) < 0)
                        return err ? -err->kind : -ERROR_INVALID;
        }
        config->source++;
        return 0;
}

static bool is_variable(const struct config *config, const char *name)
{
        for (size_t i = 0; i < config->n; i++) {
                scoped_str struct str variable = STR_INIT;

                config_variable(&config->table[i], &variable);
                if (strcmp(variable.data, name) == 0)
                        return true;
                str_add(&variable, TWIN_VARIABLE);
                if (config->table[i].secret && strcmp(variable.data, name) == 0)
                        return true;
        }
        return false;
}

static void say_unknown(const struct config *config, const char *name, struct str *ret)
{
        struct arena *arena = arena_new();
        const char *names[CONFIG_KEYS_MAX];
        const char *near;

        for (size_t i = 0; i < config->n; i++) {
                scoped_str struct str variable = STR_INIT;

                config_variable(&config->table[i], &variable);
                names[i] = arena_copy(arena, variable.data);
        }
        near = suggest(name, names, config->n);
        str_printf(ret, "environment %s is no setting%s%s%s\n", name, near ? "; did you mean " : "",
                   near ? near : "", near ? "?" : "");
        arena_free(arena);
}

void config_unknown_variables(const struct config *config, char *const *env,
                              const char *const *known, struct str *ret)
{
        for (; *env; env++) {
                const char *equals = strchr(*env, '=');
                scoped_text char *name = text_copy(*env);

                if (!equals || !text_starts(name, PREFIX))
                        continue;
                name[equals - *env] = '\0';
                if (!is_variable(config, name) && !(known && is_listed(known, name)))
                        say_unknown(config, name, ret);
        }
}
