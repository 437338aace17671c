#include "commands/manual.h"

#include <string.h>

#include "base/config.h"
#include "base/str.h"
#include "commands/command.h"
#include "commands/settings.h"

#include "base/banned.h"

#define HELP_COLUMN 26
#define HELP_WIDTH 80

extern const struct command_option command_common_options[];

/* Words of text from column `indent` on, broken before HELP_WIDTH. */
static void add_wrapped(struct str *ret, const char *text, size_t indent, size_t column)
{
        while (*text) {
                size_t n = strcspn(text, " ");

                if (column > indent && column + 1 + n > HELP_WIDTH) {
                        str_printf(ret, "\n%*s", (int)indent, "");
                        column = indent;
                } else if (column > indent) {
                        str_add_char(ret, ' ');
                        column++;
                }
                str_add_bytes(ret, text, n);
                column += n;
                text += n;
                text += *text == ' ';
        }
        str_add_char(ret, '\n');
}

static void add_option(struct str *ret, const struct command_option *option)
{
        size_t start = ret->len;

        if (option->letter)
                str_printf(ret, "  -%c, --%s", option->letter, option->name);
        else
                str_printf(ret, "      --%s", option->name);
        if (option->argument && *option->argument == '[')
                str_printf(ret, "[=%.*s]", (int)strlen(option->argument) - 2, option->argument + 1);
        else if (option->argument)
                str_printf(ret, "=%s", option->argument);
        if (ret->len - start >= HELP_COLUMN)
                str_printf(ret, "\n%*s", HELP_COLUMN, "");
        else
                str_printf(ret, "%*s", (int)(HELP_COLUMN - (ret->len - start)), "");
        add_wrapped(ret, option->help, HELP_COLUMN, HELP_COLUMN);
}

/* Paragraphs are separated by blank lines; lines that start with a space stay as they are. */
static void add_paragraphs(struct str *ret, const char *text)
{
        while (*text) {
                size_t n = strcspn(text, "\n");
                scoped_text char *line = text_format("%.*s", (int)n, text);

                if (*line == ' ' || *line == '\0')
                        str_printf(ret, "%s\n", line);
                else
                        add_wrapped(ret, line, 0, 0);
                text += n + (text[n] == '\n');
        }
}

void manual_help(FILE *stream, const struct command *command, bool colour)
{
        const char *bold = colour_code(colour, COLOUR_BOLD);
        const char *none = colour_code(colour, COLOUR_NONE);
        scoped_str struct str text = STR_INIT;

        str_printf(&text, "%sUsage:%s argon %s", bold, none, command->name);
        str_printf(&text, "%s%s [OPTION]…\n\n", *command->synopsis ? " " : "", command->synopsis);
        add_wrapped(&text, command->summary, 0, 0);
        if (*command->description) {
                str_add_char(&text, '\n');
                add_paragraphs(&text, command->description);
        }
        str_printf(&text, "\n%sOptions:%s\n", bold, none);
        for (const struct command_option *at = command->options; at && at->name; at++)
                add_option(&text, at);
        for (const struct command_option *at = command_common_options; at->name; at++)
                add_option(&text, at);
        fputs(text.data, stream);
}

static bool is_first_of_group(const struct command *const *commands, size_t i)
{
        for (size_t j = 0; j < i; j++) {
                if (strcmp(commands[j]->group, commands[i]->group) == 0)
                        return false;
        }
        return true;
}

static void add_group(struct str *ret, const struct command *const *commands, size_t n,
                      const char *group)
{
        str_printf(ret, "\n%s\n", group);
        for (size_t i = 0; i < n; i++) {
                if (strcmp(commands[i]->group, group) == 0)
                        str_printf(ret, "  %-12s %s\n", commands[i]->name, commands[i]->summary);
        }
}

void manual_overview(FILE *stream, const struct command *const *commands, size_t n)
{
        scoped_str struct str text = STR_INIT;
        size_t n_topics;
        const struct manual_topic *topics = manual_topics(&n_topics);

        str_add(&text, "Usage: argon COMMAND [ARGUMENT]… [OPTION]…\n\n"
                       "Runs the jobs of .runnerci.yml for every push, and here.\n");
        for (size_t i = 0; i < n; i++) {
                if (is_first_of_group(commands, i))
                        add_group(&text, commands, n, commands[i]->group);
        }
        str_add(&text, "\nTopics (argon help TOPIC)\n");
        for (size_t i = 0; i < n_topics; i++)
                str_printf(&text, "  %-12s %s\n", topics[i].name, topics[i].summary);
        str_add(&text, "\n'argon COMMAND --help' tells about one command.\n");
        fputs(text.data, stream);
}

static void add_environment(struct str *ret)
{
        size_t n;
        const struct config_key *table = settings_table(&n);

        str_add(ret, "Every setting can be given by a variable. A secret can also be given as the\n"
                     "name of a file that holds it: VARIABLE_FILE.\n\n");
        for (size_t i = 0; i < n; i++) {
                str_add(ret, "  ");
                config_variable(&table[i], ret);
                if (table[i].secret)
                        str_add(ret, ", …_FILE");
                str_add(ret, "\n      ");
                add_wrapped(ret, table[i].help, 6, 6);
        }
        str_add(ret,
                "\nOthers that count:\n"
                "  NO_COLOR, CLICOLOR_FORCE, FORCE_COLOR, TERM   colours of the output\n"
                "  XDG_CONFIG_HOME, XDG_DATA_HOME, HOME          where the user's files are\n"
                "  STATE_DIRECTORY                               data folder under systemd\n"
                "  NOTIFY_SOCKET                                 readiness is told to systemd\n");
}

static void add_config(struct str *ret)
{
        size_t n;
        const struct config_key *table = settings_table(&n);

        str_add(ret,
                "A flag is stronger than the environment, the environment than a file, a file\n"
                "than the default. Files: " SETTINGS_FILE ", then " SETTINGS_FOLDER "/*.conf, or\n"
                "the one of --config; lines are `key = value`, comments start with #. What the\n"
                "command line needs (server, token) may also stand in ~/.config/argon/config.\n"
                "`argon config list --origin` shows what is in force and where it came from.\n");
        for (size_t i = 0; i < n; i++) {
                if (i == 0 || strcmp(table[i].group, table[i - 1].group) != 0)
                        str_printf(ret, "\n%s\n", table[i].group);
                str_printf(ret, "  %s", table[i].key);
                if (table[i].standard && *table[i].standard)
                        str_printf(ret, " = %s", table[i].standard);
                str_add(ret, "\n      ");
                add_wrapped(ret, table[i].help, 6, 6);
                if (table[i].allowed)
                        str_printf(ret, "      allowed: %s\n", table[i].allowed);
        }
}

static const struct manual_topic topics[] = {
        {.name = "environment", .summary = "variables that are read", .add = add_environment},
        {.name = "exit-codes",
         .summary = "what a command's end tells a script",
         .text = "  0    success; for watch, exec and --watch: the build is green\n"
                 "  1    the build or the file is wrong\n"
                 "  2    the command line or a setting is wrong\n"
                 "  3    the build ended in error (infrastructure), or the server is away\n"
                 "  4    a token is missing or refused\n"
                 "  5    what was named does not exist\n"
                 "  6    a timeout\n"
                 "  7    the build was cancelled\n"
                 "  130  ended by Ctrl-C (SIGINT); a build that was watched goes on\n"
                 "  143  ended by SIGTERM\n"},
        {.name = "formatting",
         .summary = "JSON, plain text, colours",
         .text = "Data goes to standard output; progress, hints and errors to standard error.\n\n"
                 "--json prints the members that REST has, stable across versions; --json=FIELDS\n"
                 "(separated by commas) only those. Lists are an array; what follows a build or a\n"
                 "log prints one JSON text per line. --plain prints columns separated by tabs,\n"
                 "without a header.\n\n"
                 "Colours are used on a terminal. NO_COLOR or --color=never turn them off,\n"
                 "CLICOLOR_FORCE=1 or --color=always on. Symbols need a UTF-8 locale; else words\n"
                 "stand in their place. Times are relative on a terminal, RFC 3339 in UTC else.\n"},
        {.name = "config", .summary = "settings, files, what is stronger", .add = add_config},
};

const struct manual_topic *manual_topics(size_t *ret_n)
{
        *ret_n = sizeof(topics) / sizeof(*topics);
        return topics;
}

void manual_topic_text(const struct manual_topic *topic, struct str *ret)
{
        if (topic->add)
                topic->add(ret);
        else
                str_add(ret, topic->text);
}
