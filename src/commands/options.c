/*
 * getopt_long(3) does the work; what is added is the text of its complaints. Every option gets a
 * value of its own above the range of characters, so that a complaint can name the option.
 */
#include "commands/options.h"

#include <getopt.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "base/suggest.h"
#include "commands/command.h"

#include "base/banned.h"

#define VALUE_BASE 1000

struct parser {
        const struct command_option *options[OPTIONS_MAX];
        size_t n;
        struct option longs[OPTIONS_MAX + 1];
        struct str letters;
};

static bool has_letter(const struct parser *parser, char letter)
{
        for (size_t i = 0; i < parser->n; i++) {
                if (parser->options[i]->letter == letter)
                        return true;
        }
        return false;
}

static bool has_name(const struct parser *parser, const char *name)
{
        for (size_t i = 0; i < parser->n; i++) {
                if (strcmp(parser->options[i]->name, name) == 0)
                        return true;
        }
        return false;
}

static int kind_of(const struct command_option *option)
{
        if (!option->argument)
                return no_argument;
        return *option->argument == '[' ? optional_argument : required_argument;
}

static void add_option(struct parser *parser, const struct command_option *option)
{
        if (parser->n == OPTIONS_MAX || has_name(parser, option->name))
                return;
        if (option->letter && !has_letter(parser, option->letter)) {
                str_add_char(&parser->letters, option->letter);
                for (int colons = kind_of(option); colons > 0; colons--)
                        str_add_char(&parser->letters, ':');
        }
        parser->longs[parser->n] = (struct option){
                .name = option->name,
                .has_arg = kind_of(option),
                .val = VALUE_BASE + (int)parser->n,
        };
        parser->options[parser->n++] = option;
}

static const struct command_option *find_option(const struct parser *parser, int value)
{
        if (value >= VALUE_BASE && value < VALUE_BASE + (int)parser->n)
                return parser->options[value - VALUE_BASE];
        for (size_t i = 0; i < parser->n; i++) {
                if (parser->options[i]->letter && parser->options[i]->letter == value)
                        return parser->options[i];
        }
        return NULL;
}

static int unknown_long(const struct parser *parser, const char *argument, struct error *err)
{
        scoped_text char *name = text_format("%.*s", (int)strcspn(argument + 2, "="), argument + 2);
        const char *names[OPTIONS_MAX];
        const char *near;
        int same = 0;

        for (size_t i = 0; i < parser->n; i++) {
                names[i] = parser->options[i]->name;
                same += *name && text_starts(names[i], name);
        }
        if (same > 1)
                return error_set(err, ERROR_INVALID, "'--%s' could mean several options", name);
        near = suggest(name, names, parser->n);
        if (near)
                return error_set(err, ERROR_INVALID, "unknown option '--%s'. Did you mean '--%s'?",
                                 name, near);
        return error_set(err, ERROR_INVALID, "unknown option '--%s'", name);
}

static int complain(const struct parser *parser, int result, const char *argument,
                    struct error *err)
{
        const struct command_option *option = find_option(parser, optopt);

        if (result == ':' && option)
                return error_set(err, ERROR_INVALID, "'--%s' needs a value: --%s %s", option->name,
                                 option->name, option->argument);
        if (option && !option->argument)
                return error_set(err, ERROR_INVALID, "'--%s' takes no value", option->name);
        if (optopt && optopt < VALUE_BASE)
                return error_set(err, ERROR_INVALID, "unknown option '-%c'", optopt);
        return unknown_long(parser, argument, err);
}

static int parse(struct parser *parser, struct option_values *values, int argc, char **argv,
                 struct error *err)
{
        int result;

        optind = 0; /* glibc: start anew, also within one process */
        opterr = 0;
        while ((result = getopt_long(argc, argv, parser->letters.data, parser->longs, NULL)) !=
               -1) {
                if (result == '?' || result == ':')
                        return complain(parser, result, argv[optind - 1], err);
                if (values->n == OPTION_VALUES_MAX)
                        return error_set(err, ERROR_LIMIT, "more than %d options",
                                         OPTION_VALUES_MAX);
                values->items[values->n++] = (struct option_value){
                        .option = find_option(parser, result),
                        .value = optarg ? optarg : "",
                };
        }
        return 0;
}

int options_parse(struct option_values *values, const struct command_option *const *tables,
                  bool first, int argc, char **argv, int *ret_arguments, struct error *err)
{
        struct parser parser = {.letters = STR_INIT};
        int result;

        str_add(&parser.letters, first ? "+:" : ":");
        for (; *tables; tables++) {
                for (const struct command_option *option = *tables; option->name; option++)
                        add_option(&parser, option);
        }
        result = parse(&parser, values, argc, argv, err);
        str_done(&parser.letters);
        if (result == 0)
                *ret_arguments = optind;
        return result;
}

const char *options_last(const struct option_values *values, const char *name)
{
        for (size_t i = values->n; i > 0; i--) {
                if (strcmp(values->items[i - 1].option->name, name) == 0)
                        return values->items[i - 1].value;
        }
        return NULL;
}
