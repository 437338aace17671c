#pragma once
/*
 * command - the table of user commands, and what runs one
 *
 * Each command is one file that exports one `const struct command`; main.c lists them. The table
 * drives parsing, --help, the man pages and the completions, so none of these can disagree.
 *
 * Data goes to standard output, everything else to standard error. Colours follow the stream, TERM,
 * NO_COLOR, CLICOLOR_FORCE and --color.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/json.h"

struct error;
struct settings;

/** Exit codes, as `argon help exit-codes` tells them */
enum exit_code {
        EXIT_GREEN = 0,
        EXIT_RED = 1,    /* the build or the file is wrong: the user's fault */
        EXIT_USAGE = 2,  /* the command line is wrong */
        EXIT_BROKEN = 3, /* infrastructure: the build ended in error, the server is away */
        EXIT_DENIED = 4,
        EXIT_NOT_FOUND = 5,
        EXIT_TIMEOUT = 6,
        EXIT_CANCELLED = 7,
        EXIT_INTERRUPTED = 130,
        EXIT_TERMINATED = 143,
};

/**
 * struct command_option - a line of a command's options; the last has a name of NULL
 * @letter: short form, or 0
 * @argument: what it takes, as shown ("DIR"); NULL: nothing; "[X]": optional, only as --name=X
 * @setting: key of the setting that it overrides, or NULL
 */
struct command_option {
        const char *name;
        char letter;
        const char *argument;
        const char *help;
        const char *setting;
};

/* Options that mean the same everywhere. --help, --version and --color belong to every command. */
#define OPTION_JSON                                                                               \
        {                                                                                         \
                "json", 0, "[FIELDS]", "print JSON, of lists and objects only these fields", NULL \
        }
#define OPTION_CONFIG                                                               \
        {                                                                           \
                "config", 'c', "FILE", "read this file instead of /etc/argon", NULL \
        }
#define OPTION_SERVER                                                  \
        {                                                              \
                "server", 0, "URL", "the server to speak to", "server" \
        }
#define OPTION_DATA                                                   \
        {                                                             \
                "data", 0, "DIR", "data folder of the server", "data" \
        }
#define OPTION_END                        \
        {                                 \
                NULL, 0, NULL, NULL, NULL \
        }

struct invocation;

/**
 * struct command
 * @group: heading in `argon help`
 * @synopsis: its arguments, as shown after the name; options are added by --help
 * @summary: one line; @description: paragraphs for --help and the man page, or ""
 * @arguments_min, @arguments_max: positional arguments; -1: any number
 * @run: Return: an exit code
 */
struct command {
        const char *name;
        const char *group;
        const char *synopsis;
        const char *summary;
        const char *description;
        const struct command_option *options;
        int arguments_min;
        int arguments_max;
        int (*run)(struct invocation *invocation);
};

/** struct invocation - one run of a command
 *  @arguments: positional ones
 *  @colour_out, @colour_err: whether that stream gets colours; @tty_err: standard error can be
 *  redrawn; @utf8: symbols may be used */
struct invocation {
        char **argv; /* as it was given, NULL-terminated */
        const struct command *command;
        const struct command *const *commands;
        size_t n_commands;
        char **arguments;
        int n_arguments;
        bool colour_out;
        bool colour_err;
        bool tty_out;
        bool tty_err;
        bool utf8;
        struct option_values *values;
        struct settings *settings;
};

/** command_main() - find the command in argv, parse its options, run it; Return: an exit code */
int command_main(const struct command *const *commands, size_t n, int argc, char **argv);

/* What was given. invocation_option(): the last value, "" for a flag or an optional argument left
 * out, NULL when the option was not given. */
const char *invocation_option(const struct invocation *invocation, const char *name);
bool invocation_given(const struct invocation *invocation, const char *name);
/** invocation_values() - how often it was given; values[i] in order, at most max */
size_t invocation_values(const struct invocation *invocation, const char *name, const char **values,
                         size_t max);
/** invocation_int() - a whole number within [min, max], or the fallback when not given. Return: 0,
 *  or -ERROR_INVALID with a text that names the option */
int invocation_int(const struct invocation *invocation, const char *name, int64_t min, int64_t max,
                   int64_t fallback, int64_t *ret, struct error *err);
/** invocation_settings() - loaded at the first call, with the flags that override; borrowed */
int invocation_settings(struct invocation *invocation, bool client, struct settings **ret,
                        struct error *err);

/** invocation_fail() - print "argon COMMAND: text"; Return: the exit code that its kind means */
int invocation_fail(const struct invocation *invocation, const struct error *err);
/** invocation_usage() - print what is wrong and where help is; Return: EXIT_USAGE */
int invocation_usage(const struct invocation *invocation, const char *format, ...)
        __attribute__((__format__(__printf__, 2, 3)));
/** exit_code_of_kind() - for an error's kind (ERROR_… of base/error.h) */
int exit_code_of_kind(int kind);

/**
 * invocation_json() - print a document when --json was given, cut to the fields it names
 * @json: an object, or an array of objects; borrowed
 *
 * Return: EXIT_GREEN, or EXIT_USAGE when a field is unknown to every object (the known ones are
 * listed).
 */
int invocation_json(const struct invocation *invocation, const json_t *json);

/** Text attributes; "" where colours are off */
enum colour {
        COLOUR_NONE,
        COLOUR_BOLD,
        COLOUR_DIM,
        COLOUR_RED,
        COLOUR_GREEN,
        COLOUR_YELLOW,
        COLOUR_BLUE
};
const char *colour_code(bool on, enum colour colour);

/* One per file of this folder. */
extern const struct command command_backup;
extern const struct command command_builds;
extern const struct command command_cancel;
extern const struct command command_completion;
extern const struct command command_config;
extern const struct command command_doctor;
extern const struct command command_exec;
extern const struct command command_help;
extern const struct command command_init;
extern const struct command command_lint;
extern const struct command command_logs;
extern const struct command command_man;
extern const struct command command_rerun;
extern const struct command command_restore;
extern const struct command command_status;
extern const struct command command_trigger;
extern const struct command command_up;
extern const struct command command_version;
extern const struct command command_watch;
