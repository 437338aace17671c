/*
 * Scripts for shells, from the table of commands. They hold all names: no shell has to ask the
 * program while somebody types.
 */
#include <string.h>

#include "base/str.h"
#include "commands/command.h"

#include "base/banned.h"

extern const struct command_option command_common_options[];

typedef void add_option_fn(struct str *ret, const struct command *command,
                           const struct command_option *option);

static void each_option(struct str *ret, const struct command *command, add_option_fn *add)
{
        for (const struct command_option *at = command->options; at && at->name; at++)
                add(ret, command, at);
        for (const struct command_option *at = command_common_options; at->name; at++)
                add(ret, command, at);
}

/* Text within single quotes of a shell. */
static void add_quoted(struct str *ret, const char *text)
{
        str_add_char(ret, '\'');
        for (; *text; text++) {
                if (*text == '\'')
                        str_add(ret, "'\\''");
                else
                        str_add_char(ret, *text);
        }
        str_add_char(ret, '\'');
}

static void bash_option(struct str *ret, const struct command *command,
                        const struct command_option *option)
{
        str_printf(ret, " --%s", option->name);
        if (option->letter)
                str_printf(ret, " -%c", option->letter);
}

static void add_bash(struct str *ret, const struct invocation *invocation)
{
        str_add(ret, "_argon() {\n"
                     "        local cur=${COMP_WORDS[COMP_CWORD]} words=\n"
                     "        if ((COMP_CWORD == 1)); then\n"
                     "                words='");
        for (size_t i = 0; i < invocation->n_commands; i++)
                str_printf(ret, "%s%s", i ? " " : "", invocation->commands[i]->name);
        str_add(ret, " --help --version'\n"
                     "        elif [[ $cur == -* ]]; then\n"
                     "                case ${COMP_WORDS[1]} in\n");
        for (size_t i = 0; i < invocation->n_commands; i++) {
                str_printf(ret, "                %s) words='", invocation->commands[i]->name);
                each_option(ret, invocation->commands[i], bash_option);
                str_add(ret, "' ;;\n");
        }
        str_add(ret, "                esac\n"
                     "        fi\n"
                     "        if [[ $words ]]; then\n"
                     "                mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
                     "        else\n"
                     "                mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
                     "        fi\n"
                     "}\n"
                     "complete -o filenames -F _argon argon\n");
}

/* _arguments takes '--name[help]' and '--name=[help]:ARGUMENT:'; brackets and colons are its own.
 */
static void zsh_help(struct str *ret, const char *help)
{
        for (; *help; help++) {
                if (strchr("[]:\\", *help))
                        str_add_char(ret, '\\');
                if (*help == '\'')
                        str_add(ret, "'\\''");
                else
                        str_add_char(ret, *help);
        }
}

static void zsh_one(struct str *ret, const char *name, const struct command_option *option)
{
        bool optional = option->argument && *option->argument == '[';

        str_printf(ret, " \\\n                '*%s%s[", name,
                   option->argument && !optional ? (name[1] == '-' ? "=" : "+") : "");
        zsh_help(ret, option->help);
        str_add(ret, "]");
        if (option->argument && !optional) {
                str_add(ret, ":");
                zsh_help(ret, option->argument);
                str_add(ret, strcmp(option->argument, "FILE") && strcmp(option->argument, "DIR")
                                     ? ":"
                                     : ":_files");
        }
        str_add(ret, "'");
}

static void zsh_option(struct str *ret, const struct command *command,
                       const struct command_option *option)
{
        scoped_text char *name = text_format("--%s", option->name);
        char letter[] = {'-', option->letter, '\0'};

        zsh_one(ret, name, option);
        if (option->letter)
                zsh_one(ret, letter, option);
}

static void add_zsh(struct str *ret, const struct invocation *invocation)
{
        str_add(ret, "#compdef argon\n"
                     "_argon() {\n"
                     "        local -a commands=(\n");
        for (size_t i = 0; i < invocation->n_commands; i++) {
                scoped_text char *entry = text_format("%s:%s", invocation->commands[i]->name,
                                                      invocation->commands[i]->summary);

                str_add(ret, "                ");
                add_quoted(ret, entry);
                str_add_char(ret, '\n');
        }
        str_add(ret, "        )\n"
                     "        if ((CURRENT == 2)); then\n"
                     "                _describe command commands\n"
                     "                return\n"
                     "        fi\n"
                     "        local command=$words[2]\n"
                     "        shift words\n"
                     "        ((CURRENT--))\n"
                     "        case $command in\n");
        for (size_t i = 0; i < invocation->n_commands; i++) {
                str_printf(ret, "        %s)\n                _arguments -s -S",
                           invocation->commands[i]->name);
                each_option(ret, invocation->commands[i], zsh_option);
                str_add(ret, " \\\n                '*:argument:_files' ;;\n");
        }
        str_add(ret, "        esac\n"
                     "}\n"
                     "if [ \"$funcstack[1]\" = _argon ]; then\n"
                     "        _argon \"$@\"\n"
                     "else\n"
                     "        compdef _argon argon\n"
                     "fi\n");
}

static void fish_option(struct str *ret, const struct command *command,
                        const struct command_option *option)
{
        str_printf(ret, "complete -c argon -n '__fish_seen_subcommand_from %s' -l %s",
                   command->name, option->name);
        if (option->letter)
                str_printf(ret, " -s %c", option->letter);
        if (option->argument && *option->argument != '[')
                str_add(ret, strcmp(option->argument, "FILE") && strcmp(option->argument, "DIR")
                                     ? " -x"
                                     : " -r");
        str_add(ret, " -d ");
        add_quoted(ret, option->help);
        str_add_char(ret, '\n');
}

static void add_fish(struct str *ret, const struct invocation *invocation)
{
        for (size_t i = 0; i < invocation->n_commands; i++) {
                const struct command *command = invocation->commands[i];

                str_printf(ret, "complete -c argon -n __fish_use_subcommand -f -a %s -d ",
                           command->name);
                add_quoted(ret, command->summary);
                str_add_char(ret, '\n');
                each_option(ret, command, fish_option);
        }
}

static int run_completion(struct invocation *invocation)
{
        const char *shell = invocation->arguments[0];
        scoped_str struct str text = STR_INIT;

        if (strcmp(shell, "bash") == 0)
                add_bash(&text, invocation);
        else if (strcmp(shell, "zsh") == 0)
                add_zsh(&text, invocation);
        else if (strcmp(shell, "fish") == 0)
                add_fish(&text, invocation);
        else
                return invocation_usage(invocation, "'%s' is none of bash, zsh, fish", shell);
        fputs(text.data, stdout);
        return EXIT_GREEN;
}

const struct command command_completion = {
        .name = "completion",
        .group = "Other",
        .synopsis = "{bash | zsh | fish}",
        .summary = "print a script that completes commands and options",
        .description = "  source <(argon completion bash)\n"
                       "  source <(argon completion zsh)\n"
                       "  argon completion fish | source",
        .arguments_min = 1,
        .arguments_max = 1,
        .run = run_completion,
};
