#include <string.h>

#include "base/str.h"
#include "base/suggest.h"
#include "commands/command.h"
#include "commands/manual.h"

#include "base/banned.h"

#define NAMES_MAX 64

static int unknown_topic(const struct invocation *invocation, const char *name)
{
        const char *names[NAMES_MAX];
        size_t n_topics;
        const struct manual_topic *topics = manual_topics(&n_topics);
        const char *near;
        size_t n = 0;

        for (size_t i = 0; i < invocation->n_commands && n < NAMES_MAX; i++)
                names[n++] = invocation->commands[i]->name;
        for (size_t i = 0; i < n_topics && n < NAMES_MAX; i++)
                names[n++] = topics[i].name;
        near = suggest(name, names, n);
        fprintf(stderr, "argon help: '%s' is neither a command nor a topic.", name);
        if (near)
                fprintf(stderr, " Did you mean '%s'?\n", near);
        else
                fprintf(stderr, " 'argon help' lists them.\n");
        return EXIT_USAGE;
}

static int run_help(struct invocation *invocation)
{
        const char *name = invocation->n_arguments ? invocation->arguments[0] : NULL;
        size_t n_topics;
        const struct manual_topic *topics = manual_topics(&n_topics);

        if (!name) {
                manual_overview(stdout, invocation->commands, invocation->n_commands);
                return EXIT_GREEN;
        }
        for (size_t i = 0; i < n_topics; i++) {
                /* `config` is both: the topic tells more, and names the command */
                if (strcmp(topics[i].name, name) == 0) {
                        scoped_str struct str text = STR_INIT;

                        manual_topic_text(&topics[i], &text);
                        fputs(text.data, stdout);
                        return EXIT_GREEN;
                }
        }
        for (size_t i = 0; i < invocation->n_commands; i++) {
                if (strcmp(invocation->commands[i]->name, name) == 0) {
                        manual_help(stdout, invocation->commands[i], invocation->colour_out);
                        return EXIT_GREEN;
                }
        }
        return unknown_topic(invocation, name);
}

const struct command command_help = {
        .name = "help",
        .group = "Other",
        .synopsis = "[TOPIC]",
        .summary = "tell about a command or a topic",
        .description = "Topics are environment, exit-codes, formatting and config, and the name of "
                       "every command.",
        .arguments_max = 1,
        .run = run_help,
};
