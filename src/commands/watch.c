/*
 * On a terminal the long poll lasts a second, so that running times move on; elsewhere it lasts
 * until something changes. The block is redrawn by moving the cursor up over it: no alternate
 * screen, so what was shown stays in the scrollback.
 */
#include "commands/watch.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "commands/build_argument.h"
#include "commands/client.h"
#include "commands/command.h"
#include "commands/interrupt.h"
#include "commands/show.h"

#include "base/banned.h"

#define ROUND_WAIT_MS 60000 /* for the orchestrator to take a re-run up */

struct watch {
        struct invocation *invocation;
        struct client *client;
        bool redraw;
        bool json;
        bool compact;
        int drawn;  /* lines of the block on the screen */
        char *seen; /* "job=state;step" lines told already, when there is no terminal */
};

static int terminal_width(void)
{
        struct winsize size;

        return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

/* A line cut to the width of the terminal: a wrapped one could not be redrawn. Sequences of colours
 * take no room. */
static void add_cut(struct str *ret, const char *line, size_t n, int width)
{
        int column = 0;
        bool escape = false;

        for (size_t i = 0; i < n; i++) {
                unsigned char c = (unsigned char)line[i];

                if (c == 0x1b)
                        escape = true;
                if (!escape && (c & 0xc0) != 0x80 && ++column > width)
                        continue;
                if (escape || column <= width)
                        str_add_char(ret, (char)c);
                if (escape && c == 'm')
                        escape = false;
        }
}

static void draw(struct watch *watch, const struct str *text)
{
        scoped_str struct str out = STR_INIT;
        int width = terminal_width();
        const char *line = text->data;

        if (watch->drawn)
                str_printf(&out, "\x1b[%dA", watch->drawn);
        watch->drawn = 0;
        while (*line) {
                size_t n = strcspn(line, "\n");

                str_add(&out, "\x1b[2K");
                add_cut(&out, line, n, width);
                str_add_char(&out, '\n');
                watch->drawn++;
                line += n;
                line += *line == '\n';
        }
        str_add(&out, "\x1b[0J");
        fwrite(out.data, 1, out.len, stdout);
        fflush(stdout);
}

/* One line for each job whose state is new since the last look. */
static void tell_changes(struct watch *watch, const json_t *build)
{
        const json_t *jobs = json_object_get(build, "jobs");
        scoped_str struct str now = STR_INIT;

        for (size_t i = 0; i < json_array_size(jobs); i++) {
                const json_t *job = json_array_get(jobs, i);
                scoped_text char *mark = text_format("%s=%s/%lld;", json_text_or(job, "name", ""),
                                                     json_text_or(job, "state", ""),
                                                     (long long)json_int_or(job, "attempt", 0));
                scoped_str struct str line = STR_INIT;

                str_add(&now, mark);
                if (watch->seen && strstr(watch->seen, mark))
                        continue;
                show_state(watch->invocation, json_text_or(job, "state", ""), &line);
                str_printf(&line, " %s %s ", json_text_or(job, "name", ""),
                           json_text_or(job, "state", ""));
                show_duration(job, &line);
                if (*json_text_or(job, "reason", "")) {
                        str_add(&line, "  ");
                        show_safe(&line, json_text_or(job, "reason", ""), 0);
                }
                puts(line.data);
        }
        free(watch->seen);
        watch->seen = str_steal(&now);
        fflush(stdout);
}

/* --compact: jobs that are green and quiet need no line. */
static json_t *only_interesting(const json_t *build)
{
        json_t *copy = json_copy((json_t *)build);
        const json_t *jobs = json_object_get(build, "jobs");
        json_t *kept = json_array();

        for (size_t i = 0; i < json_array_size(jobs); i++) {
                json_t *job = json_array_get(jobs, i);
                const char *state = json_text_or(job, "state", "");

                if (strcmp(state, "success") && strcmp(state, "queued") && strcmp(state, "skipped"))
                        json_array_append(kept, job);
        }
        json_object_set_new(copy, "jobs", kept);
        return copy;
}

static int show(struct watch *watch, const json_t *build)
{
        scoped(json) json_t *cut = watch->compact ? only_interesting(build) : NULL;
        scoped_str struct str text = STR_INIT;

        if (watch->json) {
                int code = invocation_json(watch->invocation, build);

                fflush(stdout);
                return code;
        }
        if (watch->redraw) {
                show_tree(watch->invocation, cut ? cut : build, false, &text);
                draw(watch, &text);
        } else {
                tell_changes(watch, cut ? cut : build);
        }
        return EXIT_GREEN;
}

static int detached(const struct watch *watch, const json_t *build, int fd)
{
        int code = interrupt_exit_code(fd);

        fprintf(stderr, "\ndetached, the build goes on; re-attach with: argon watch %s#%lld\n",
                json_text_or(build, "repo", ""), (long long)json_int_or(build, "number", 0));
        return code ? code : EXIT_INTERRUPTED;
}

static int finish(const struct watch *watch, const json_t *build)
{
        bool jobs = json_array_size(json_object_get(build, "jobs")) > 0;
        const char *state = json_text_or(build, "state", "");
        scoped_str struct str text = STR_INIT;

        if (!watch->redraw && !watch->json) {
                show_build_head(watch->invocation, build, &text);
                printf("%s", text.data);
        }
        if (show_exit_code(state) != EXIT_GREEN && !watch->json)
                fprintf(stderr, "see: argon %s %s#%lld%s\n", jobs ? "logs" : "status",
                        json_text_or(build, "repo", ""), (long long)json_int_or(build, "number", 0),
                        jobs ? " --failed" : "");
        return show_exit_code(state);
}

static int next_version(struct watch *watch, json_t **build, int64_t *version, struct error *err)
{
        scoped_text char *path =
                text_format("/api/v1/builds/%s?since=%lld&wait=%s", json_text_or(*build, "id", ""),
                            (long long)*version, watch->redraw ? "1s" : "30s");
        json_t *fresh = NULL;
        int result = client_get(watch->client, &fresh, path, err);

        if (result < 0)
                return result;
        json_decref(*build);
        *build = fresh;
        *version = json_int_or(fresh, "version", 0);
        return 0;
}

static int follow(struct watch *watch, json_t **build, int64_t round, int fd, struct error *err)
{
        int64_t version = json_int_or(*build, "version", 0);
        int64_t give_up = clock_ms() + ROUND_WAIT_MS;
        int64_t shown = -1;

        for (;;) {
                bool now = json_int_or(*build, "round", 1) >= round;
                int result;

                if (now && (version != shown || watch->redraw) && show(watch, *build))
                        return EXIT_USAGE;
                shown = now ? version : shown;
                if (now && show_ended(json_text_or(*build, "state", "")))
                        return finish(watch, *build);
                if (!now && clock_ms() > give_up)
                        return error_set(err, ERROR_UNAVAILABLE,
                                         "the re-run was not taken up within %d s; see 'argon "
                                         "doctor'",
                                         ROUND_WAIT_MS / 1000);
                result = next_version(watch, build, &version, err);
                if (result == -ERROR_CANCELLED)
                        return detached(watch, *build, fd);
                if (result < 0)
                        return result;
        }
}

int watch_build(struct invocation *invocation, struct client *client, const json_t *build,
                int64_t round)
{
        struct watch watch = {
                .invocation = invocation,
                .client = client,
                .json = invocation_given(invocation, "json"),
                .redraw = invocation->tty_out && !invocation_given(invocation, "json"),
                .compact = invocation_given(invocation, "compact"),
        };
        json_t *copy = json_copy((json_t *)build);
        scoped_fd int fd = -1;
        struct error err = {0};
        int code;

        if (interrupt_open(&fd, &err) < 0) {
                json_decref(copy);
                return invocation_fail(invocation, &err);
        }
        client_cancel_by(client, fd);
        client_patience(client, CLIENT_PATIENCE_MS);
        code = follow(&watch, &copy, round, fd, &err);
        if (code < 0)
                code = invocation_fail(invocation, &err);
        json_decref(copy);
        free(watch.seen);
        return code;
}

static int run_watch(struct invocation *invocation)
{
        const char *text = invocation->n_arguments ? invocation->arguments[0] : NULL;
        struct build_argument argument = {0};
        scoped(client) struct client *client = NULL;
        scoped(json) json_t *build = NULL;
        struct error err = {0};
        int result;

        if (build_argument_parse(&argument, text, &err) < 0)
                return invocation_usage(invocation, "%s", err.text);
        result = client_open(&client, invocation, &err);
        if (result == 0)
                result = build_argument_find(&build, &argument, client,
                                             invocation_option(invocation, "repo"), &err);
        build_argument_done(&argument);
        if (result < 0)
                return invocation_fail(invocation, &err);
        return watch_build(invocation, client, build, 0);
}

static const struct command_option options[] = {
        {"repo", 'R', "OWNER/NAME", "the repository of BUILD", NULL},
        {"compact", 0, NULL, "only jobs that run or went wrong", NULL},
        OPTION_JSON,
        OPTION_SERVER,
        OPTION_CONFIG,
        OPTION_END,
};

const struct command command_watch = {
        .name = "watch",
        .group = "Builds",
        .synopsis = "[BUILD]",
        .summary = "follow a build to its end; ends with its exit code",
        .description =
                "Draws jobs and steps while they run; without a terminal it prints a line for each "
                "change, with --json each version of the build as a line. Ctrl-C detaches: the "
                "build goes on.\n\nBUILD is a number (812), OWNER/NAME#812, a URL of its page, a "
                "commit, a branch, or nothing: the newest build of the branch that is checked out "
                "here.",
        .options = options,
        .arguments_max = 1,
        .run = run_watch,
};
