#include "base/error.h"
#include "base/str.h"
#include "commands/build_argument.h"
#include "commands/client.h"
#include "commands/command.h"
#include "commands/show.h"

#include "base/banned.h"

static void print_status(const struct invocation *invocation, const json_t *build)
{
        scoped_str struct str text = STR_INIT;

        show_tree(invocation, build, true, &text);
        printf("%s", text.data);
        if (*json_text_or(build, "findings", ""))
                printf("\n%s\n", json_text_or(build, "findings", ""));
        if (json_text_or(build, "url", NULL))
                printf("  %s\n", json_text_or(build, "url", ""));
}

static int run_status(struct invocation *invocation)
{
        const char *text = invocation->n_arguments ? invocation->arguments[0] : NULL;
        struct build_argument argument = {0};
        scoped(client) struct client *client = NULL;
        scoped(json) json_t *build = NULL;
        struct error err = {0};
        int result;
        int code;

        if (build_argument_parse(&argument, text, &err) < 0)
                return invocation_usage(invocation, "%s", err.text);
        result = client_open(&client, invocation, &err);
        if (result == 0)
                result = build_argument_find(&build, &argument, client,
                                             invocation_option(invocation, "repo"), &err);
        build_argument_done(&argument);
        if (result < 0)
                return invocation_fail(invocation, &err);
        code = EXIT_GREEN;
        if (invocation_given(invocation, "json"))
                code = invocation_json(invocation, build);
        else
                print_status(invocation, build);
        if (code == EXIT_GREEN && invocation_given(invocation, "exit-status"))
                code = show_exit_code(json_text_or(build, "state", ""));
        return code;
}

static const struct command_option options[] = {
        {"repo", 'R', "OWNER/NAME", "the repository of BUILD", NULL},
        {"exit-status", 0, NULL, "end with the exit code of the build's state", NULL},
        OPTION_JSON,
        OPTION_SERVER,
        OPTION_CONFIG,
        OPTION_END,
};

const struct command command_status = {
        .name = "status",
        .group = "Builds",
        .synopsis = "[BUILD]",
        .summary = "show one build with its jobs and steps",
        .description = "BUILD is a number (812), OWNER/NAME#812, a URL of its page, a commit, a "
                       "branch, or nothing: the newest build of the branch that is checked out "
                       "here.",
        .options = options,
        .arguments_max = 1,
        .run = run_status,
};
