#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "commands/client.h"
#include "commands/command.h"
#include "commands/show.h"

#include "base/banned.h"

#define LIMIT_DEFAULT 20
#define LIMIT_MAX 100000
#define PAGE 200

static void add_parameter(const struct invocation *invocation, const char *option, const char *name,
                          struct str *path)
{
        const char *value = invocation_option(invocation, option);

        if (!value)
                return;
        str_printf(path, "&%s=", name);
        str_add_encoded(path, value);
}

/* Page after page until there are enough. */
static int collect(const struct invocation *invocation, struct client *client, int64_t limit,
                   json_t *all, struct error *err)
{
        scoped_text char *cursor = NULL;

        for (;;) {
                int64_t left = limit - (int64_t)json_array_size(all);
                scoped_str struct str path = STR_INIT;
                scoped(json) json_t *answer = NULL;
                const char *next;
                int result;

                str_printf(&path, "/api/v1/builds?limit=%lld",
                           (long long)(left < PAGE ? left : PAGE));
                add_parameter(invocation, "repo", "repo", &path);
                add_parameter(invocation, "branch", "branch", &path);
                add_parameter(invocation, "commit", "commit", &path);
                add_parameter(invocation, "state", "state", &path);
                add_parameter(invocation, "event", "event", &path);
                if (cursor) {
                        str_add(&path, "&cursor=");
                        str_add_encoded(&path, cursor);
                }
                result = client_get(client, &answer, path.data, err);
                if (result < 0)
                        return result;
                json_array_extend(all, json_object_get(answer, "builds"));
                next = json_text_or(answer, "next", NULL);
                if (!next || (int64_t)json_array_size(all) >= limit)
                        return 0;
                free(cursor);
                cursor = text_copy(next);
        }
}

static void print_plain(const json_t *build)
{
        scoped_str struct str line = STR_INIT;

        str_printf(&line, "%s\t%lld\t%s\t", json_text_or(build, "repo", ""),
                   (long long)json_int_or(build, "number", 0), json_text_or(build, "state", ""));
        show_safe(&line, json_text_or(build, "branch", ""), 0);
        str_printf(&line, "\t%s\t%s\t%s\t%lld\t", json_text_or(build, "commit", ""),
                   json_text_or(build, "event", ""), json_text_or(build, "created_at", ""),
                   (long long)json_int_or(build, "duration_ms", 0));
        show_safe(&line, json_text_or(build, "message", ""), 0);
        puts(line.data);
}

static void print_row(const struct invocation *invocation, const json_t *build)
{
        scoped_str struct str line = STR_INIT;
        scoped_str struct str age = STR_INIT;

        show_age(invocation, build, "created_at", &age);
        show_build_head(invocation, build, &line);
        line.data[strcspn(line.data, "\n")] = '\0';
        printf("%s  %s%s%s\n", line.data, colour_code(invocation->colour_out, COLOUR_DIM), age.data,
               colour_code(invocation->colour_out, COLOUR_NONE));
}

static int run_builds(struct invocation *invocation)
{
        scoped(client) struct client *client = NULL;
        scoped(json) json_t *all = json_array();
        struct error err = {0};
        int64_t limit;

        if (invocation_int(invocation, "limit", 1, LIMIT_MAX, LIMIT_DEFAULT, &limit, &err) < 0)
                return invocation_usage(invocation, "%s", err.text);
        if (client_open(&client, invocation, &err) < 0 ||
            collect(invocation, client, limit, all, &err) < 0)
                return invocation_fail(invocation, &err);
        if (invocation_given(invocation, "json"))
                return invocation_json(invocation, all);
        for (size_t i = 0; i < json_array_size(all); i++) {
                if (invocation_given(invocation, "plain"))
                        print_plain(json_array_get(all, i));
                else
                        print_row(invocation, json_array_get(all, i));
        }
        if (json_array_size(all) == 0)
                fprintf(stderr, "no builds\n");
        return EXIT_GREEN;
}

static const struct command_option options[] = {
        {"repo", 'R', "OWNER/NAME", "only of this repository", NULL},
        {"branch", 'b', "BRANCH", "only of this branch", NULL},
        {"commit", 0, "COMMIT", "only of this commit (all its digits)", NULL},
        {"state", 's', "STATE", "only in this state: queued, running, success, failed, error, …",
         NULL},
        {"event", 0, "EVENT", "only of this event: push, tag, pull_request, manual", NULL},
        {"limit", 'L', "N", "at most so many (20)", NULL},
        OPTION_JSON,
        {"plain", 0, NULL, "columns separated by tabs, no header", NULL},
        OPTION_SERVER,
        OPTION_CONFIG,
        OPTION_END,
};

const struct command command_builds = {
        .name = "builds",
        .group = "Builds",
        .synopsis = "",
        .summary = "list builds, the newest first",
        .description = "The columns of --plain are repository, number, state, branch, commit, "
                       "event, time of creation, duration in milliseconds and the first line of "
                       "the message.",
        .options = options,
        .arguments_max = 0,
        .run = run_builds,
};
