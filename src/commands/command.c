/*
 * argv is parsed in two passes: what stands before the command's name (only options that every
 * command has), then the rest with the command's own table as well.
 */
#include "commands/command.h"

#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/parse.h"
#include "base/str.h"
#include "base/suggest.h"
#include "commands/manual.h"
#include "commands/options.h"
#include "commands/settings.h"

#include "base/banned.h"

#define COMMANDS_MAX 64
#define FLAGS_MAX OPTION_VALUES_MAX

static const struct command_option no_options[] = {OPTION_END};

const struct command_option command_common_options[] = {
        {"help", 'h', NULL, "show this help", NULL},
        {"version", 'V', NULL, "show the version", NULL},
        {"color", 0, "WHEN", "auto, always or never", NULL},
        OPTION_END,
};

int exit_code_of_kind(int kind)
{
        switch (kind) {
        case ERROR_INVALID:
                return EXIT_USAGE;
        case ERROR_CONFLICT:
                return EXIT_RED;
        case ERROR_DENIED:
                return EXIT_DENIED;
        case ERROR_NOT_FOUND:
                return EXIT_NOT_FOUND;
        case ERROR_CANCELLED:
                return EXIT_INTERRUPTED;
        default:
                return EXIT_BROKEN;
        }
}

const char *colour_code(bool on, enum colour colour)
{
        static const char *const codes[] = {
                [COLOUR_NONE] = "\x1b[0m",   [COLOUR_BOLD] = "\x1b[1m",
                [COLOUR_DIM] = "\x1b[2m",    [COLOUR_RED] = "\x1b[31m",
                [COLOUR_GREEN] = "\x1b[32m", [COLOUR_YELLOW] = "\x1b[33m",
                [COLOUR_BLUE] = "\x1b[34m",
        };

        return on ? codes[colour] : "";
}

int invocation_fail(const struct invocation *invocation, const struct error *err)
{
        fprintf(stderr, "%sargon %s:%s %s\n", colour_code(invocation->colour_err, COLOUR_RED),
                invocation->command->name, colour_code(invocation->colour_err, COLOUR_NONE),
                err->text);
        return exit_code_of_kind(err->kind);
}

int invocation_usage(const struct invocation *invocation, const char *format, ...)
{
        scoped_str struct str text = STR_INIT;
        va_list args;

        va_start(args, format);
        str_vprintf(&text, format, args);
        va_end(args);
        fprintf(stderr, "argon %s: %s\nSee 'argon %s --help'.\n", invocation->command->name,
                text.data, invocation->command->name);
        return EXIT_USAGE;
}

const char *invocation_option(const struct invocation *invocation, const char *name)
{
        return options_last(invocation->values, name);
}

bool invocation_given(const struct invocation *invocation, const char *name)
{
        return options_last(invocation->values, name) != NULL;
}

size_t invocation_values(const struct invocation *invocation, const char *name, const char **values,
                         size_t max)
{
        size_t n = 0;

        for (size_t i = 0; i < invocation->values->n && n < max; i++) {
                if (strcmp(invocation->values->items[i].option->name, name) == 0)
                        values[n++] = invocation->values->items[i].value;
        }
        return n;
}

int invocation_int(const struct invocation *invocation, const char *name, int64_t min, int64_t max,
                   int64_t fallback, int64_t *ret, struct error *err)
{
        const char *text = invocation_option(invocation, name);

        if (!text) {
                *ret = fallback;
                return 0;
        }
        if (parse_int(ret, text, min, max, err) < 0)
                return error_wrap(err, "--%s", name);
        return 0;
}

int invocation_settings(struct invocation *invocation, bool client, struct settings **ret,
                        struct error *err)
{
        struct settings_flag flags[FLAGS_MAX];
        size_t n = 0;

        for (size_t i = 0; i < invocation->values->n && !invocation->settings; i++) {
                const struct option_value *value = &invocation->values->items[i];

                if (value->option->setting)
                        flags[n++] = (struct settings_flag){
                                .key = value->option->setting,
                                .flag = value->option->name,
                                .value = value->value,
                        };
        }
        if (!invocation->settings &&
            settings_load(&invocation->settings, invocation_option(invocation, "config"), client,
                          flags, n, err) < 0)
                return err ? -err->kind : -ERROR_INVALID;
        *ret = invocation->settings;
        return 0;
}

static bool stream_colour(const char *when, FILE *stream)
{
        const char *term = getenv("TERM");
        const char *force = getenv("CLICOLOR_FORCE");

        if (when && strcmp(when, "auto") != 0)
                return strcmp(when, "always") == 0;
        if (*text_or(getenv("NO_COLOR"), ""))
                return false;
        if (!force)
                force = getenv("FORCE_COLOR");
        if (force && *force && strcmp(force, "0") != 0)
                return true;
        return isatty(fileno(stream)) && term && strcmp(term, "dumb") != 0;
}

static int set_streams(struct invocation *invocation)
{
        const char *when = options_last(invocation->values, "color");
        const char *term = text_or(getenv("TERM"), "dumb");

        if (when && strcmp(when, "auto") && strcmp(when, "always") && strcmp(when, "never"))
                return invocation_usage(invocation, "--color is auto, always or never, not '%.32s'",
                                        when);
        setlocale(LC_CTYPE, "");
        invocation->utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
        invocation->colour_out = stream_colour(when, stdout);
        invocation->colour_err = stream_colour(when, stderr);
        invocation->tty_out = isatty(STDOUT_FILENO) && strcmp(term, "dumb") != 0;
        invocation->tty_err = isatty(STDERR_FILENO) && strcmp(term, "dumb") != 0;
        return 0;
}

static const struct command *find_command(const struct command *const *commands, size_t n,
                                          const char *name)
{
        for (size_t i = 0; i < n; i++) {
                if (strcmp(commands[i]->name, name) == 0)
                        return commands[i];
        }
        return NULL;
}

static int unknown_command(const struct command *const *commands, size_t n, const char *name)
{
        const char *names[COMMANDS_MAX];
        const char *near;
        size_t count = n < COMMANDS_MAX ? n : COMMANDS_MAX;

        for (size_t i = 0; i < count; i++)
                names[i] = commands[i]->name;
        near = suggest(name, names, count);
        if (near)
                fprintf(stderr, "argon: '%s' is not a command. Did you mean '%s'?\n", name, near);
        else
                fprintf(stderr, "argon: '%s' is not a command. See 'argon help'.\n", name);
        return EXIT_USAGE;
}

/* Whatever is printed may go into a full disk or a closed pipe: that is not success. */
static int flush_output(int code)
{
        if (fflush(stdout) != 0 || ferror(stdout)) {
                if (code == EXIT_GREEN)
                        perror("argon: write to standard output");
                return code == EXIT_GREEN ? EXIT_BROKEN : code;
        }
        return code;
}

static int run_command(struct invocation *invocation)
{
        const struct command *command = invocation->command;
        int n = invocation->n_arguments;
        int code = set_streams(invocation);

        if (code)
                return code;
        if (options_last(invocation->values, "help")) {
                manual_help(stdout, command, invocation->colour_out);
                return EXIT_GREEN;
        }
        if (options_last(invocation->values, "version")) {
                printf("argon %s\n", ARGON_VERSION);
                return EXIT_GREEN;
        }
        if (n < command->arguments_min)
                return invocation_usage(invocation, "an argument is missing: argon %s %s",
                                        command->name, command->synopsis);
        if (command->arguments_max >= 0 && n > command->arguments_max)
                return invocation_usage(invocation, "'%s' is one argument too many",
                                        invocation->arguments[command->arguments_max]);
        return command->run(invocation);
}

static int overview(const struct command *const *commands, size_t n,
                    const struct option_values *values)
{
        if (options_last(values, "version")) {
                printf("argon %s\n", ARGON_VERSION);
                return EXIT_GREEN;
        }
        manual_overview(options_last(values, "help") ? stdout : stderr, commands, n);
        return options_last(values, "help") ? EXIT_GREEN : EXIT_USAGE;
}

static int run_argv(struct invocation *invocation, struct option_values *values, int argc,
                    char **argv)
{
        const struct command_option *tables[] = {command_common_options, NULL, NULL};
        struct error err = {0};
        int at = 0;

        if (options_parse(values, tables, true, argc, argv, &at, &err) < 0) {
                fprintf(stderr, "argon: %s\nSee 'argon --help'.\n", err.text);
                return EXIT_USAGE;
        }
        if (at >= argc)
                return overview(invocation->commands, invocation->n_commands, values);
        invocation->command = find_command(invocation->commands, invocation->n_commands, argv[at]);
        if (!invocation->command)
                return unknown_command(invocation->commands, invocation->n_commands, argv[at]);
        argv += at;
        argc -= at;
        tables[0] = invocation->command->options ? invocation->command->options : no_options;
        tables[1] = command_common_options;
        if (options_parse(values, tables, false, argc, argv, &at, &err) < 0)
                return invocation_usage(invocation, "%s", err.text);
        invocation->arguments = argv + at;
        invocation->n_arguments = argc - at;
        return run_command(invocation);
}

int command_main(const struct command *const *commands, size_t n, int argc, char **argv)
{
        struct option_values values = {.n = 0};
        struct invocation invocation = {
                .commands = commands,
                .n_commands = n,
                .values = &values,
                .argv = xcalloc((size_t)argc + 1, sizeof(*argv)),
        };
        int code;

        memcpy(invocation.argv, argv, (size_t)argc * sizeof(*argv)); /* getopt permutes */
        code = run_argv(&invocation, &values, argc, argv);
        settings_freep(&invocation.settings);
        free(invocation.argv);
        return flush_output(code);
}
