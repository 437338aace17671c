/*
 * A value gets its type from the key it stands under; its source text decides, never what YAML 1.1
 * would make of it. Each function stores at its slot only what is right.
 */
#include <ctype.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/parse.h"
#include "base/str.h"
#include "domain/pipeline_check.h"
#include "domain/pipeline_file.h"
#include "domain/pipeline_keys.h"

#include "base/banned.h"

#define LINE_BYTES_MAX 512
#define FOLDER_BYTES_MAX 1024
/* Linux takes no environment variable or argument of 128 KiB or more. */
#define ENV_BYTES_MAX (128 * 1024 - 1)
#define CHOICES_MAX 8
#define EXIT_CODES 256
#define LIST_MAX 256
#define ENV_MAX 1000

static const char *const type_names[] = {
        [KEY_VERSION] = "a version",
        [KEY_TEXT] = "one line of text",
        [KEY_SCRIPT] = "a text",
        [KEY_IMAGE] = "the name of an image",
        [KEY_SHELL] = "sh, bash, python or a command with {0}",
        [KEY_FOLDER] = "the path of a folder",
        [KEY_ID] = "a short name",
        [KEY_CHOICE] = "one word",
        [KEY_CHOICES] = "a list of words",
        [KEY_BOOL] = "true or false",
        [KEY_MINUTES] = "a number of minutes",
        [KEY_CPUS] = "a number of cores",
        [KEY_SIZE] = "a size",
        [KEY_COUNT] = "a whole number",
        [KEY_CODES] = "a list of exit codes",
        [KEY_NAMES] = "a list of names of jobs",
        [KEY_ENV] = "a map of names and texts",
        [KEY_MAP] = "a map",
        [KEY_JOBS] = "a map of jobs",
        [KEY_STEPS] = "a list of steps",
};

static const char *example(struct check *check, const struct key *key)
{
        return arena_format(check->arena, "write %s: %s", key->name, key->example);
}

void check_type_error(struct check *check, const struct key *key, const struct yaml_node *node)
{
        static const char *const kinds[] = {
                [YAML_TEXT] = "a text", [YAML_LIST] = "a list", [YAML_MAP] = "a map"};

        if (node->kind == YAML_TEXT)
                check_error(check, node->place, "wrong-type", example(check, key),
                            "\"%s\" takes %s, not \"%s\"", key->name, type_names[key->type],
                            yaml_shown(check->arena, node->text));
        else
                check_error(check, node->place, "wrong-type", example(check, key),
                            "\"%s\" takes %s, not %s", key->name, type_names[key->type],
                            kinds[node->kind]);
}

/* Where "${{" stands in a text; the text's own place when its source cannot be told apart. */
static struct yaml_place expression_place(struct check *check, const struct yaml_node *node)
{
        const char *at = check->line_start;
        int line = check->line;

        if (line > node->place.line || !at) {
                at = check->source;
                line = 1;
        }
        for (; line < node->place.line && at; line++) {
                at = strchr(at, '\n');
                at = at ? at + 1 : NULL;
        }
        check->line = line;
        check->line_start = at;
        for (; at && line <= node->last_line; line++) {
                const char *end = at + strcspn(at, "\n");
                const char *found = memmem(at, (size_t)(end - at), "${{", 3);
                int column = 1;

                for (const char *p = at; found && p < found; p++)
                        column += ((unsigned char)*p & 0xc0) != 0x80;
                if (found && (line > node->place.line || column >= node->place.column))
                        return (struct yaml_place){line, column, 3};
                at = *end ? end + 1 : NULL;
        }
        return node->place;
}

static void refuse_expression(struct check *check, const struct yaml_node *node)
{
        if (strstr(node->text, "${{"))
                check_error(check, check_full(check) ? node->place : expression_place(check, node),
                            "not-supported-yet",
                            "use a variable of the environment, like $CI_BRANCH",
                            "expressions (${{ … }}) are not supported yet");
}

static bool one_line(struct check *check, const struct key *key, const struct yaml_node *node,
                     size_t max)
{
        const char *why = NULL;

        refuse_expression(check, node);
        if (node->n == 0)
                why = "must not be empty";
        else if (node->n > max)
                why = "is too long";
        for (size_t i = 0; i < node->n && !why; i++) {
                if ((unsigned char)node->text[i] < 0x20 || node->text[i] == 0x7f)
                        why = "must be one line without control characters";
        }
        if (why)
                check_error(check, node->place, "bad-value", example(check, key), "\"%s\" %s",
                            key->name, why);
        return !why;
}

static void check_version(struct check *check, const struct key *key, const struct yaml_node *node,
                          void *slot)
{
        size_t major = strspn(node->text, "0123456789");
        const char *dot = node->text + major;
        size_t minor = *dot == '.' ? strspn(dot + 1, "0123456789") : 0;

        *(const char **)slot = node->text;
        if (!major || (*dot && (!minor || dot[1 + minor]))) {
                check_type_error(check, key, node);
                return;
        }
        if (strspn(node->text, "0") != major - 1 || dot[-1] != '1') {
                *(const char **)slot = NULL;
                check_error(check, node->place, "unknown-version",
                            "write version: 1.0, or use a newer argon",
                            "version %s of the language is not known here",
                            yaml_shown(check->arena, node->text));
        } else if (minor && strspn(dot + 1, "0") != minor) {
                check_warning(check, node->place, "unknown-version",
                              "what is new in it may be refused; this argon knows 1.0",
                              "version %s of the language is newer than this argon",
                              yaml_shown(check->arena, node->text));
        }
}

static void check_line(struct check *check, const struct key *key, const struct yaml_node *node,
                       void *slot)
{
        if (one_line(check, key, node, LINE_BYTES_MAX))
                *(const char **)slot = node->text;
}

static void check_script(struct check *check, const struct key *key, const struct yaml_node *node,
                         void *slot)
{
        refuse_expression(check, node);
        if (node->text[strspn(node->text, " \t\r\n")])
                *(const char **)slot = node->text;
        else
                check_error(check, node->place, "bad-value", example(check, key),
                            "\"%s\" must not be empty", key->name);
}

/* A tag stands after the last slash; a port before it is none. */
static bool image_pinned(const char *image)
{
        const char *slash = strrchr(image, '/');
        const char *tag = strrchr(slash ? slash : image, ':');

        return strchr(image, '@') || (tag && strcmp(tag, ":latest") != 0);
}

static void check_image(struct check *check, const struct key *key, const struct yaml_node *node,
                        void *slot)
{
        static const char letters[] =
                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/:@-";

        if (!one_line(check, key, node, LINE_BYTES_MAX) || strstr(node->text, "${{"))
                return;
        if (strspn(node->text, letters) != node->n || !isalnum((unsigned char)*node->text)) {
                check_error(check, node->place, "bad-value", example(check, key),
                            "\"%s\" is not the name of an image",
                            yaml_shown(check->arena, node->text));
                return;
        }
        if (!image_pinned(node->text))
                check_warning(check, node->place, "unpinned-image",
                              "name a version, so that the job runs the same tomorrow",
                              "image \"%s\" is not pinned", yaml_shown(check->arena, node->text));
        *(const char **)slot = node->text;
}

static void check_shell(struct check *check, const struct key *key, const struct yaml_node *node,
                        void *slot)
{
        static const char *const shells[] = {"sh", "bash", "python"};

        if (!one_line(check, key, node, LINE_BYTES_MAX))
                return;
        for (size_t i = 0; i < sizeof(shells) / sizeof(*shells); i++) {
                if (strcmp(shells[i], node->text) == 0)
                        *(const char **)slot = node->text;
        }
        if (*(const char **)slot == node->text)
                return;
        if (strstr(node->text, "{0}")) {
                *(const char **)slot = node->text;
                return;
        }
        check_error(check, node->place, "bad-value",
                    check_did_you_mean(check, node->text, shells, 3,
                                       "write sh, bash, python, or a command like \"zsh -e {0}\" "
                                       "({0} is the script)"),
                    "shell \"%s\" is not known", yaml_shown(check->arena, node->text));
}

static void check_folder(struct check *check, const struct key *key, const struct yaml_node *node,
                         void *slot)
{
        if (one_line(check, key, node, FOLDER_BYTES_MAX))
                *(const char **)slot = node->text;
}

static void check_id(struct check *check, const struct key *key, const struct yaml_node *node,
                     void *slot)
{
        if (check_name(node->text))
                *(const char **)slot = node->text;
        else
                check_error(check, node->place, "bad-name",
                            "use letters, digits, _ and -, at most 63, no digit or - first",
                            "\"%s\" is not a name for a step",
                            yaml_shown(check->arena, node->text));
}

/* The choices of a key as words; returns how many. */
static size_t split_choices(struct check *check, const struct key *key, const char **words)
{
        char *text = arena_copy(check->arena, key->choices);
        char *rest = NULL;
        size_t n = 0;

        for (char *word = strtok_r(text, " ", &rest); word && n < CHOICES_MAX;
             word = strtok_r(NULL, " ", &rest))
                words[n++] = word;
        return n;
}

/* The index of the word, or -1 with a finding. */
static int choose(struct check *check, const struct key *key, const struct yaml_node *node)
{
        const char *words[CHOICES_MAX];
        size_t n = split_choices(check, key, words);
        const char *all = arena_format(check->arena, "one of: %s", key->choices);

        for (size_t i = 0; i < n; i++) {
                if (strcmp(words[i], node->text) == 0)
                        return (int)i;
        }
        check_error(check, node->place, "bad-value",
                    check_did_you_mean(check, node->text, words, n, all), "\"%s\" cannot be \"%s\"",
                    key->name, yaml_shown(check->arena, node->text));
        return -1;
}

static void check_choice(struct check *check, const struct key *key, const struct yaml_node *node,
                         void *slot)
{
        if (choose(check, key, node) >= 0)
                *(const char **)slot = node->text;
}

static void check_bool(struct check *check, const struct key *key, const struct yaml_node *node,
                       void *slot)
{
        static const char *const yes[] = {"true", "True", "TRUE"};
        static const char *const no[] = {"false", "False", "FALSE"};

        for (size_t i = 0; i < 3 && node->style == YAML_PLAIN; i++) {
                if (strcmp(node->text, yes[i]) == 0) {
                        *(bool *)slot = true;
                        return;
                }
                if (strcmp(node->text, no[i]) == 0)
                        return;
        }
        check_type_error(check, key, node);
}

/* "1.5" times scale as a whole number; -1 when it is none or too large. */
static int64_t decimal(const char *text, int64_t scale)
{
        size_t whole = strspn(text, "0123456789");
        size_t part = text[whole] == '.' ? strspn(text + whole + 1, "0123456789") : 0;
        int64_t value = 0;

        if (whole == 0 || whole > 9 || part > 9 || (text[whole] == '.' && part == 0) ||
            text[whole + part + (part ? 1 : 0)])
                return -1;
        for (size_t i = 0; i < whole; i++)
                value = value * 10 + (text[i] - '0') * scale;
        for (size_t i = 0; i < part; i++) {
                scale /= 10;
                value += (text[whole + 1 + i] - '0') * scale;
        }
        return value;
}

static void check_decimal(struct check *check, const struct key *key, const struct yaml_node *node,
                          int64_t scale, void *slot)
{
        int64_t value = decimal(node->text, scale);

        if (value < 0)
                check_type_error(check, key, node);
        else if (value < key->min || value > key->max)
                check_error(check, node->place, "bad-value", example(check, key),
                            "\"%s\" is too %s", key->name, value < key->min ? "small" : "large");
        else
                *(int64_t *)slot = value;
}

static void check_minutes(struct check *check, const struct key *key, const struct yaml_node *node,
                          void *slot)
{
        check_decimal(check, key, node, 60000, slot);
}

static void check_cpus(struct check *check, const struct key *key, const struct yaml_node *node,
                       void *slot)
{
        check_decimal(check, key, node, 1000, slot);
}

static void check_size(struct check *check, const struct key *key, const struct yaml_node *node,
                       void *slot)
{
        int64_t value;

        if (parse_size(&value, node->text, NULL) < 0)
                check_type_error(check, key, node);
        else if (value < key->min)
                check_error(check, node->place, "bad-value", example(check, key),
                            "\"%s\" is %lld bytes, less than %lld MiB", key->name, (long long)value,
                            (long long)(key->min >> 20));
        else if (value > key->max)
                check_error(check, node->place, "bad-value", example(check, key),
                            "\"%s\" is too large", key->name);
        else
                *(int64_t *)slot = value;
}

static void check_count(struct check *check, const struct key *key, const struct yaml_node *node,
                        void *slot)
{
        int64_t value;

        if (parse_int(&value, node->text, INT64_MIN, INT64_MAX, NULL) < 0)
                check_type_error(check, key, node);
        else if (value < key->min || value > key->max)
                check_error(check, node->place, "bad-value", example(check, key),
                            "\"%s\" must lie between %lld and %lld", key->name, (long long)key->min,
                            (long long)key->max);
        else
                *(int64_t *)slot = value;
}

/* --- one or several --- */

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
                check_error(check, node->place, "bad-value", example(check, key),
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
        int chosen = choose(check, key, node);

        if (chosen >= 0)
                *(unsigned *)slot |= 1u << chosen;
}

static void one_code(struct check *check, const struct key *key, const struct yaml_node *node,
                     void *slot)
{
        bool *codes = slot;
        int64_t value = 0;

        check_count(check, key, node, &value);
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

static void check_names(struct check *check, const struct key *key, const struct yaml_node *node,
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
        refuse_expression(check, pair->value);
        return true;
}

static void check_env(struct check *check, const struct key *key, const struct yaml_node *node,
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

static void check_choices(struct check *check, const struct key *key, const struct yaml_node *node,
                          void *slot)
{
        each(check, key, node, one_choice, slot);
}

static void check_codes(struct check *check, const struct key *key, const struct yaml_node *node,
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

static void check_node(struct check *check, const struct key *key, const struct yaml_node *node,
                       void *slot)
{
        enum yaml_kind kind = key->type == KEY_STEPS ? YAML_LIST : YAML_MAP;

        if (node->kind != kind)
                check_type_error(check, key, node);
        else if (node->n == 0)
                check_error(check, node->place, "empty", example(check, key), "\"%s\" is empty",
                            key->name);
        else
                *(const struct yaml_node **)slot = node;
}

static const struct {
        bool text_only;
        void (*check)(struct check *check, const struct key *key, const struct yaml_node *node,
                      void *slot);
} checks[] = {
        [KEY_VERSION] = {true, check_version},
        [KEY_TEXT] = {true, check_line},
        [KEY_SCRIPT] = {true, check_script},
        [KEY_IMAGE] = {true, check_image},
        [KEY_SHELL] = {true, check_shell},
        [KEY_FOLDER] = {true, check_folder},
        [KEY_ID] = {true, check_id},
        [KEY_CHOICE] = {true, check_choice},
        [KEY_CHOICES] = {false, check_choices},
        [KEY_BOOL] = {true, check_bool},
        [KEY_MINUTES] = {true, check_minutes},
        [KEY_CPUS] = {true, check_cpus},
        [KEY_SIZE] = {true, check_size},
        [KEY_COUNT] = {true, check_count},
        [KEY_CODES] = {false, check_codes},
        [KEY_NAMES] = {false, check_names},
        [KEY_ENV] = {false, check_env},
        [KEY_JOBS] = {false, check_node},
        [KEY_STEPS] = {false, check_node},
};

void check_value(struct check *check, const struct key *key, const struct yaml_node *node,
                 void *slot)
{
        if (checks[key->type].text_only && node->kind != YAML_TEXT)
                check_type_error(check, key, node);
        else
                checks[key->type].check(check, key, node, slot);
}
