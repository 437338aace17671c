/*
 * Man pages from the tables of commands, settings and keys of the pipeline file.
 */
#include <string.h>

#include "base/config.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/str.h"
#include "commands/command.h"
#include "commands/manual.h"
#include "commands/roff.h"
#include "commands/settings.h"
#include "domain/pipeline_keys.h"

#include "base/banned.h"

#define PATH_DEPTH_MAX 8

extern const struct command_option command_common_options[];

static void add_option(struct str *ret, const struct command_option *option)
{
        str_add(ret, ".TP\n\\fB");
        if (option->letter)
                str_printf(ret, "\\-%c\\fR, \\fB", option->letter);
        str_add(ret, "\\-\\-");
        roff_add(ret, option->name);
        str_add(ret, "\\fR");
        if (option->argument && *option->argument == '[') {
                str_add(ret, "[=\\fI");
                str_add_bytes(ret, option->argument + 1, strlen(option->argument) - 2);
                str_add(ret, "\\fR]");
        } else if (option->argument) {
                str_add(ret, "=\\fI");
                roff_add(ret, option->argument);
                str_add(ret, "\\fR");
        }
        str_add_char(ret, '\n');
        roff_add(ret, option->help);
        str_add_char(ret, '\n');
}

static void add_command(struct str *ret, const struct command *command)
{
        scoped_text char *name = text_format("argon-%s", command->name);

        roff_title(ret, name, 1, command->summary);
        str_add(ret, ".SH SYNOPSIS\n.B argon ");
        roff_add(ret, command->name);
        str_add_char(ret, '\n');
        if (*command->synopsis) {
                roff_add(ret, command->synopsis);
                str_add_char(ret, '\n');
        }
        str_add(ret, "[\\fIOPTION\\fR]...\n");
        if (*command->description) {
                str_add(ret, ".SH DESCRIPTION\n");
                roff_paragraphs(ret, command->description);
        }
        str_add(ret, ".SH OPTIONS\n");
        for (const struct command_option *at = command->options; at && at->name; at++)
                add_option(ret, at);
        for (const struct command_option *at = command_common_options; at->name; at++)
                add_option(ret, at);
        str_add(ret, ".SH SEE ALSO\n.BR argon (1),\n.BR argon.conf (5),\n.BR runnerci.yml (5)\n");
}

static void add_commands(struct str *ret, const struct command *const *commands, size_t n)
{
        str_add(ret, ".SH COMMANDS\n");
        for (size_t i = 0; i < n; i++) {
                str_add(ret, ".TP\n\\fB");
                roff_add(ret, commands[i]->name);
                str_add(ret, "\\fR ");
                roff_add(ret, commands[i]->synopsis);
                str_add_char(ret, '\n');
                roff_add(ret, commands[i]->summary);
                str_printf(ret, "; see\n.BR argon\\-%s (1)\n", commands[i]->name);
        }
}

static void add_main(struct str *ret, const struct command *const *commands, size_t n)
{
        size_t n_topics;
        const struct manual_topic *topics = manual_topics(&n_topics);

        roff_title(ret, "argon", 1, "continuous integration on one machine");
        str_add(ret, ".SH SYNOPSIS\n.B argon\n\\fICOMMAND\\fR [\\fIARGUMENT\\fR]... "
                     "[\\fIOPTION\\fR]...\n.SH DESCRIPTION\nA push arrives as a webhook, its "
                     ".runnerci.yml is read from the pushed commit, the jobs run isolated, every "
                     "line they print is kept and shown, and the people concerned are told.\n");
        add_commands(ret, commands, n);
        for (size_t i = 0; i < n_topics; i++) {
                scoped_str struct str text = STR_INIT;

                if (strcmp(topics[i].name, "config") == 0)
                        continue; /* argon.conf(5) */
                manual_topic_text(&topics[i], &text);
                str_add(ret, ".SH ");
                for (const char *at = topics[i].name; *at; at++)
                        str_add_char(ret, *at == '-' ? ' ' : (char)(*at - ('a' - 'A')));
                str_add_char(ret, '\n');
                roff_paragraphs(ret, text.data);
        }
        str_add(ret, ".SH SEE ALSO\n.BR argon.conf (5),\n.BR runnerci.yml (5)\n");
}

static void add_setting(struct str *ret, const struct config_key *key)
{
        str_add(ret, ".TP\n\\fB");
        roff_add(ret, key->key);
        str_add(ret, "\\fR");
        if (key->standard && *key->standard) {
                str_add(ret, " = ");
                roff_add(ret, key->standard);
        }
        str_add_char(ret, '\n');
        roff_add(ret, key->help);
        str_add(ret, ". Variable: ");
        config_variable(key, ret);
        if (key->secret)
                str_add(ret, " (or the name of a file in it: _FILE)");
        if (key->allowed) {
                str_add(ret, ". Allowed: ");
                roff_add(ret, key->allowed);
        }
        str_add(ret, ".\n");
}

static void add_config(struct str *ret)
{
        size_t n;
        const struct config_key *table = settings_table(&n);

        roff_title(ret, "argon.conf", 5, "settings of argon");
        str_add(ret, ".SH DESCRIPTION\n"
                     "Lines are \\fIkey\\fR = \\fIvalue\\fR; a value may stand in double quotes; "
                     "lines that start with # are comments. A flag is stronger than the "
                     "environment, the environment than a file, a file than the default. An "
                     "unknown key or a wrong value is an error with its place.\n.PP\nA secret "
                     "\\fIkey\\fR can also be given as \\fIkey\\fR.file, the name of a file that "
                     "holds it.\n.SH FILES\n.TP\n" SETTINGS_FILE "\n.TP\n" SETTINGS_FOLDER
                     "/*.conf\nIn the order of their names, after the one above.\n.TP\n"
                     "~/.config/argon/config\nOf a user: server and token, for the command "
                     "line.\n");
        for (size_t i = 0; i < n; i++) {
                if (i == 0 || strcmp(table[i].group, table[i - 1].group) != 0) {
                        str_add(ret, ".SH ");
                        for (const char *at = table[i].group; *at; at++)
                                str_add_char(ret, *at >= 'a' ? (char)(*at - ('a' - 'A')) : *at);
                        str_add_char(ret, '\n');
                }
                add_setting(ret, &table[i]);
        }
        str_add(ret, ".SH SEE ALSO\n.BR argon (1),\n.BR argon\\-config (1)\n");
}

static void add_keys(struct str *ret, const struct key_table *table, const char *path, int depth)
{
        for (size_t i = 0; i < table->n && depth < PATH_DEPTH_MAX; i++) {
                const struct key *key = &table->keys[i];
                scoped_text char *name = text_format("%s%s", path, key->name);
                scoped_text char *below = text_format("%s.", name);

                if (!*text_or(key->help, ""))
                        continue; /* known to the language, not run by this version */
                str_add(ret, ".TP\n\\fB");
                roff_add(ret, name);
                str_printf(ret, "\\fR%s\n", key->required ? " (required)" : "");
                roff_add(ret, key->help);
                if (*text_or(key->choices, "")) {
                        str_add(ret, "; one of ");
                        roff_add(ret, key->choices);
                }
                if (*text_or(key->fallback, "")) {
                        str_add(ret, "; default: ");
                        roff_add(ret, key->fallback);
                }
                str_add(ret, ".\n");
                if (key->type == KEY_MAP)
                        add_keys(ret, key->inside, below, depth + 1);
                if (key->type == KEY_JOBS)
                        add_keys(ret, &pipeline_job_keys, "jobs.<id>.", depth + 1);
                if (key->type == KEY_STEPS)
                        add_keys(ret, &pipeline_step_keys, "jobs.<id>.steps[].", depth + 1);
        }
}

static void add_pipeline(struct str *ret)
{
        roff_title(ret, "runnerci.yml", 5, "what a repository wants to be done for each push");
        str_add(ret, ".SH DESCRIPTION\nThe file .runnerci.yml lies in the top folder of a "
                     "repository and is read from the commit that was pushed. "
                     "\\fBargon lint\\fR checks it, \\fBargon exec\\fR runs it here.\n.SH EXAMPLE\n"
                     ".nf\nversion: 1\njobs:\n  test:\n    image: python:3.10\n    steps:\n"
                     "      \\- run: pip install \\-r requirements.txt\n"
                     "      \\- run: python main.py\n.fi\n.SH KEYS\n");
        add_keys(ret, &pipeline_file_keys, "", 0);
        str_add(ret, ".SH SEE ALSO\n.BR argon\\-lint (1),\n.BR argon\\-exec (1)\n");
}

static int write_page(const struct invocation *invocation, const char *name, int section,
                      const struct str *text)
{
        scoped_text char *path = text_format("%s/%s.%d", invocation->arguments[0], name, section);
        struct error err = {0};

        if (fs_write_atomic(path, text->data, text->len, 0644, &err) < 0)
                return invocation_fail(invocation, &err);
        return EXIT_GREEN;
}

static int run_man(struct invocation *invocation)
{
        scoped_str struct str text = STR_INIT;
        struct error err = {0};
        int code;

        if (fs_mkdirs(invocation->arguments[0], 0755, &err) < 0)
                return invocation_fail(invocation, &err);
        add_main(&text, invocation->commands, invocation->n_commands);
        code = write_page(invocation, "argon", 1, &text);
        for (size_t i = 0; i < invocation->n_commands && code == EXIT_GREEN; i++) {
                scoped_text char *name = text_format("argon-%s", invocation->commands[i]->name);

                str_clear(&text);
                add_command(&text, invocation->commands[i]);
                code = write_page(invocation, name, 1, &text);
        }
        str_clear(&text);
        add_config(&text);
        if (code == EXIT_GREEN)
                code = write_page(invocation, "argon.conf", 5, &text);
        str_clear(&text);
        add_pipeline(&text);
        if (code == EXIT_GREEN)
                code = write_page(invocation, "runnerci.yml", 5, &text);
        return code;
}

const struct command command_man = {
        .name = "man",
        .group = "Other",
        .synopsis = "DIR",
        .summary = "write the man pages into a folder",
        .description = "argon.1, a page for each command, argon.conf.5 and runnerci.yml.5.",
        .arguments_min = 1,
        .arguments_max = 1,
        .run = run_man,
};
