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
#include "domain/pipeline_values.h"

#include "base/banned.h"

#define LINE_BYTES_MAX 512
#define FOLDER_BYTES_MAX 1024
#define CHOICES_MAX 8

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

const char *values_example(struct check *check, const struct key *key)
{
        return arena_format(check->arena, "write %s: %s", key->name, key->example);
}

void check_type_error(struct check *check, const struct key *key, const struct yaml_node *node)
{
        static const char *const kinds[] = {
                [YAML_TEXT] = "a text", [YAML_LIST] = "a list", [YAML_MAP] = "a map"};

        if (node->kind == YAML_TEXT)
                check_error(check, node->place, "wrong-type", values_example(check, key),
                            "\"%s\" takes %s, not \"%s\"", key->name, type_names[key->type],
                            yaml_shown(check->arena, node->text));
        else
                check_error(check, node->place, "wrong-type", values_example(check, key),
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

void values_refuse_expression(struct check *check, const struct yaml_node *node)
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

        values_refuse_expression(check, node);
        if (node->n == 0)
                why = "must not be empty";
        else if (node->n > max)
                why = "is too long";
        for (size_t i = 0; i < node->n && !why; i++) {
                if ((unsigned char)node->text[i] < 0x20 || node->text[i] == 0x7f)
                        why = "must be one line without control characters";
        }
        if (why)
                check_error(check, node->place, "bad-value", values_example(check, key),
                            "\"%s\" %s", key->name, why);
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
        values_refuse_expression(check, node);
        if (node->text[strspn(node->text, " \t\r\n")])
                *(const char **)slot = node->text;
        else
                check_error(check, node->place, "bad-value", values_example(check, key),
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
                check_error(check, node->place, "bad-value", values_example(check, key),
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
int values_choose(struct check *check, const struct key *key, const struct yaml_node *node)
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
        if (values_choose(check, key, node) >= 0)
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
                check_error(check, node->place, "bad-value", values_example(check, key),
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
                check_error(check, node->place, "bad-value", values_example(check, key),
                            "\"%s\" is %lld bytes, less than %lld MiB", key->name, (long long)value,
                            (long long)(key->min >> 20));
        else if (value > key->max)
                check_error(check, node->place, "bad-value", values_example(check, key),
                            "\"%s\" is too large", key->name);
        else
                *(int64_t *)slot = value;
}

void values_count(struct check *check, const struct key *key, const struct yaml_node *node,
                  void *slot)
{
        int64_t value;

        if (parse_int(&value, node->text, INT64_MIN, INT64_MAX, NULL) < 0)
                check_type_error(check, key, node);
        else if (value < key->min || value > key->max)
                check_error(check, node->place, "bad-value", values_example(check, key),
                            "\"%s\" must lie between %lld and %lld", key->name, (long long)key->min,
                            (long long)key->max);
        else
                *(int64_t *)slot = value;
}

static void check_node(struct check *check, const struct key *key, const struct yaml_node *node,
                       void *slot)
{
        enum yaml_kind kind = key->type == KEY_STEPS ? YAML_LIST : YAML_MAP;

        if (node->kind != kind)
                check_type_error(check, key, node);
        else if (node->n == 0)
                check_error(check, node->place, "empty", values_example(check, key),
                            "\"%s\" is empty", key->name);
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
        [KEY_CHOICES] = {false, values_choices},
        [KEY_BOOL] = {true, check_bool},
        [KEY_MINUTES] = {true, check_minutes},
        [KEY_CPUS] = {true, check_cpus},
        [KEY_SIZE] = {true, check_size},
        [KEY_COUNT] = {true, values_count},
        [KEY_CODES] = {false, values_codes},
        [KEY_NAMES] = {false, values_names},
        [KEY_ENV] = {false, values_env},
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
