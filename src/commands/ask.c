/*
 * rerun, cancel, trigger: what people ask a server to do. Each says what happened and what the next
 * command may be.
 */
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/str.h"
#include "commands/build_argument.h"
#include "commands/client.h"
#include "commands/command.h"
#include "commands/watch.h"

#include "base/banned.h"

#define JOBS_MAX 256
#define TRIGGER_WAIT_MS 15000
#define TRIGGER_LOOK_MS 100

static int find(struct invocation *invocation, const char *text, struct client **ret_client,
                json_t **ret, int *ret_code)
{
        struct build_argument argument = {0};
        struct error err = {0};
        int result;

        if (build_argument_parse(&argument, text, &err) < 0) {
                *ret_code = invocation_usage(invocation, "%s", err.text);
                return -1;
        }
        result = client_open(ret_client, invocation, &err);
        if (result == 0)
                result = build_argument_find(ret, &argument, *ret_client,
                                             invocation_option(invocation, "repo"), &err);
        build_argument_done(&argument);
        if (result < 0)
                *ret_code = invocation_fail(invocation, &err);
        return result;
}

static void tell(const json_t *build, const char *what)
{
        fprintf(stderr, "%s %s #%lld; follow it: argon watch %s#%lld\n", what,
                json_text_or(build, "repo", ""), (long long)json_int_or(build, "number", 0),
                json_text_or(build, "repo", ""), (long long)json_int_or(build, "number", 0));
}

static json_t *rerun_body(const struct invocation *invocation)
{
        const char *names[JOBS_MAX];
        size_t n = invocation_values(invocation, "job", names, JOBS_MAX);
        json_t *body = json_object();
        json_t *jobs = json_array();

        for (size_t i = 0; i < n; i++)
                json_array_append_new(jobs, json_string(names[i]));
        if (n)
                json_object_set(body, "jobs", jobs);
        else
                json_set_text(body, "jobs", invocation_given(invocation, "all") ? "all" : "failed");
        json_decref(jobs);
        return body;
}

static int run_rerun(struct invocation *invocation)
{
        const char *text = invocation->n_arguments ? invocation->arguments[0] : NULL;
        int ways = invocation_given(invocation, "all") + invocation_given(invocation, "failed") +
                   invocation_given(invocation, "job");
        scoped(client) struct client *client = NULL;
        scoped(json) json_t *build = NULL;
        scoped(json) json_t *answer = NULL;
        scoped(json) json_t *body = NULL;
        scoped_text char *path = NULL;
        struct error err = {0};
        int code = 0;

        if (ways > 1)
                return invocation_usage(invocation, "only one of --failed, --all and --job");
        if (find(invocation, text, &client, &build, &code) < 0)
                return code;
        body = rerun_body(invocation);
        path = text_format("/api/v1/builds/%s/rerun", json_text_or(build, "id", ""));
        if (client_post(client, &answer, path, body, &err) < 0)
                return invocation_fail(invocation, &err);
        if (invocation_given(invocation, "watch"))
                return watch_build(invocation, client, answer, json_int_or(answer, "round", 1) + 1);
        if (invocation_given(invocation, "json"))
                return invocation_json(invocation, answer);
        tell(build, "running again:");
        return EXIT_GREEN;
}

static int run_cancel(struct invocation *invocation)
{
        scoped(client) struct client *client = NULL;
        scoped(json) json_t *build = NULL;
        scoped(json) json_t *answer = NULL;
        scoped_text char *path = NULL;
        struct error err = {0};
        int code = 0;

        if (find(invocation, invocation->arguments[0], &client, &build, &code) < 0)
                return code;
        path = text_format("/api/v1/builds/%s/cancel", json_text_or(build, "id", ""));
        if (client_post(client, &answer, path, NULL, &err) < 0)
                return invocation_fail(invocation, &err);
        if (invocation_given(invocation, "json"))
                return invocation_json(invocation, answer);
        tell(build, "cancelling");
        return EXIT_GREEN;
}

/* The orchestrator makes the build a moment after the request was taken. */
static int wait_for_build(struct client *client, const char *request, json_t **ret,
                          struct error *err)
{
        scoped_text char *path = text_format("/api/v1/requests/%s", request);
        int64_t end = clock_ms() + TRIGGER_WAIT_MS;
        int result;

        while ((result = client_get(client, ret, path, err)) == -ERROR_NOT_FOUND) {
                if (clock_ms() > end)
                        return error_set(err, ERROR_UNAVAILABLE,
                                         "the request was taken, but no build came of it within "
                                         "%d s; see 'argon builds' and 'argon doctor'",
                                         TRIGGER_WAIT_MS / 1000);
                poll(NULL, 0, TRIGGER_LOOK_MS);
        }
        return result;
}

static int run_trigger(struct invocation *invocation)
{
        const char *repo = invocation->n_arguments ? invocation->arguments[0] : NULL;
        scoped_text char *here = repo ? NULL : build_argument_repo_here();
        scoped(client) struct client *client = NULL;
        scoped(json) json_t *answer = NULL;
        scoped(json) json_t *build = NULL;
        scoped(json) json_t *body = json_object();
        struct error err = {0};

        if (!repo && !here)
                return invocation_usage(invocation, "name a repository: argon trigger OWNER/NAME "
                                                    "(no git checkout with a remote is here)");
        json_set_text(body, "repo", repo ? repo : here);
        if (invocation_given(invocation, "ref"))
                json_set_text(body, "ref", invocation_option(invocation, "ref"));
        if (client_open(&client, invocation, &err) < 0 ||
            client_post(client, &answer, "/api/v1/builds", body, &err) < 0 ||
            wait_for_build(client, json_text_or(answer, "request", ""), &build, &err) < 0)
                return invocation_fail(invocation, &err);
        if (invocation_given(invocation, "watch"))
                return watch_build(invocation, client, build, 0);
        if (invocation_given(invocation, "json"))
                return invocation_json(invocation, build);
        tell(build, "started");
        return EXIT_GREEN;
}

static const struct command_option rerun_options[] = {
        {"failed", 0, NULL, "only the jobs that did not succeed, and what needs them (default)",
         NULL},
        {"all", 0, NULL, "every job", NULL},
        {"job", 'j', "JOB", "this job; may be given several times", NULL},
        {"watch", 'w', NULL, "follow the build; ends with its exit code", NULL},
        {"repo", 'R', "OWNER/NAME", "the repository of BUILD", NULL},
        OPTION_JSON,
        OPTION_SERVER,
        OPTION_CONFIG,
        OPTION_END,
};

const struct command command_rerun = {
        .name = "rerun",
        .group = "Builds",
        .synopsis = "[BUILD]",
        .summary = "run a build's jobs again",
        .description =
                "The build stays the same and counts a further round; every attempt of a job "
                "is kept.",
        .options = rerun_options,
        .arguments_max = 1,
        .run = run_rerun,
};

static const struct command_option cancel_options[] = {
        {"repo", 'R', "OWNER/NAME", "the repository of BUILD", NULL},
        OPTION_JSON,
        OPTION_SERVER,
        OPTION_CONFIG,
        OPTION_END,
};

const struct command command_cancel = {
        .name = "cancel",
        .group = "Builds",
        .synopsis = "BUILD",
        .summary = "end a build that has not ended",
        .description = "",
        .options = cancel_options,
        .arguments_min = 1,
        .arguments_max = 1,
        .run = run_cancel,
};

static const struct command_option trigger_options[] = {
        {"ref", 'b', "REF", "branch, tag or commit (default: the repository's default branch)",
         NULL},
        {"watch", 'w', NULL, "follow the build; ends with its exit code", NULL},
        OPTION_JSON,
        OPTION_SERVER,
        OPTION_CONFIG,
        OPTION_END,
};

const struct command command_trigger = {
        .name = "trigger",
        .group = "Builds",
        .synopsis = "[OWNER/NAME]",
        .summary = "build a repository now, without a push",
        .description = "The repository is the one that is checked out here, or the one named; a "
                       "clone URL is fine too.",
        .options = trigger_options,
        .arguments_max = 1,
        .run = run_trigger,
};
