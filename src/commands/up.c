#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/parse.h"
#include "base/scoped.h"
#include "base/str.h"
#include "commands/command.h"
#include "commands/data_folder.h"
#include "commands/serve.h"
#include "commands/settings.h"
#include "commands/supervise.h"

#include "base/banned.h"

char *up_links_start(const struct settings *settings, const char *listen)
{
        char *url = *text_or(settings->url, "")
                            ? text_copy(settings->url)
                            : text_format("http://%.*s", (int)strcspn(listen, "\n"), listen);

        for (size_t n = strlen(url); n > 0 && url[n - 1] == '/'; n--)
                url[n - 1] = '\0';
        return url;
}

/* What the parent handed on: "LOCK READY LISTEN…". */
static int inherit(const char *text, struct serve_options *options, int *fds, struct error *err)
{
        scoped_text char *copy = text_copy(text);
        char *rest = copy;
        size_t n = 0;

        while (*rest && n < SERVE_LISTENERS_MAX + 2) {
                char *word = rest;
                int64_t fd;

                rest += strcspn(rest, " ");
                if (*rest)
                        *rest++ = '\0';
                if (parse_int(&fd, word, 3, INT32_MAX, err) < 0)
                        return error_wrap(err, SUPERVISE_VARIABLE);
                fcntl((int)fd, F_SETFD, FD_CLOEXEC);
                if (n == 1)
                        options->ready_fd = (int)fd;
                if (n >= 2)
                        fds[options->n_listen_fds++] = (int)fd;
                n++;
        }
        return n > 2 ? 0 : error_set(err, ERROR_INVALID, "%s is incomplete", SUPERVISE_VARIABLE);
}

static int run_child(struct invocation *invocation, struct settings *settings, const char *handed)
{
        int fds[SERVE_LISTENERS_MAX];
        struct serve_options options = {.settings = settings, .listen_fds = fds, .ready_fd = -1};
        scoped_text char *listen = NULL;
        scoped_text char *url = NULL;
        scoped_text char *token = NULL;
        scoped_text char *secret = NULL;
        struct error err = {0};

        if (inherit(handed, &options, fds, &err) < 0 ||
            data_folder_read(settings->data, "listen", &listen, &err) < 0 ||
            data_folder_read(settings->data, "token", &token, &err) < 0)
                return invocation_fail(invocation, &err);
        if (!*text_or(settings->webhook_secret, "") &&
            data_folder_read(settings->data, "webhook-secret", &secret, &err) < 0)
                return invocation_fail(invocation, &err);
        url = up_links_start(settings, listen);
        options.url = url;
        options.token = token;
        options.webhook_secret = secret ? secret : settings->webhook_secret;
        if (serve_run(&options, &err) < 0)
                return invocation_fail(invocation, &err);
        return EXIT_GREEN;
}

static int run_up(struct invocation *invocation)
{
        scoped_text char *handed = text_copy(getenv(SUPERVISE_VARIABLE));
        struct settings *settings;
        struct error err = {0};

        unsetenv(SUPERVISE_VARIABLE);
        if (invocation_settings(invocation, false, &settings, &err) < 0)
                return invocation_fail(invocation, &err);
        return handed ? run_child(invocation, settings, handed)
                      : supervise_run(invocation, settings);
}

static const struct command_option options[] = {
        {"listen", 'l', "ADDR:PORT", "where HTTP is served; port 0 takes a free one", "listen"},
        OPTION_DATA,
        {"engine", 0, "ENGINE", "what runs jobs: auto, docker or local", "engine"},
        {"slots", 0, "N", "jobs that run at once", "slots"},
        OPTION_CONFIG,
        OPTION_END,
};

const struct command command_up = {
        .name = "up",
        .group = "Start here",
        .synopsis = "",
        .summary = "run the whole server in the foreground",
        .description =
                "Takes webhooks, runs the jobs of every push, serves REST and pages, sends mails. "
                "Prints 'listening on http://ADDR:PORT' on standard error once it is ready, and "
                "tells systemd. SIGTERM and Ctrl-C stop taking jobs, wait for ARGON_GRACE, leave "
                "what still runs to be picked up by the next start, and end with 0; a second one "
                "ends at once. SIGHUP reads the settings again.\n\nThe first start makes the "
                "administrator's token (DATA/token) and the webhook's secret "
                "(DATA/webhook-secret).",
        .options = options,
        .arguments_max = 0,
        .run = run_up,
};
