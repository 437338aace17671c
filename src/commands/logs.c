/*
 * Without -f each job's log is fetched window by window. With -f every attempt that begins gets a
 * thread with a connection of its own, which long-polls for lines; the main thread long-polls for
 * changes of the build and starts them.
 */
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "commands/build_argument.h"
#include "commands/client.h"
#include "commands/command.h"
#include "commands/interrupt.h"
#include "commands/log_view.h"
#include "commands/show.h"

#include "base/banned.h"

#define WINDOW 5000
#define FAILED_LINES 200 /* --failed without -n */
#define FOLLOWERS_MAX 1024
#define QUICK_MS 1000 /* an empty answer sooner than this is not a long poll that ran out */
#define PAUSE_MS 200

struct follower {
        struct logs *logs;
        pthread_t thread;
        struct log_source source;
        char *job_id;
        char *job_name;
        int result; /* -kind */
        struct error err;
};

struct logs {
        struct invocation *invocation;
        struct client *client;
        struct log_view view;
        const char *job; /* the only one, or "" */
        bool failed;
        bool raw;
        int64_t last;  /* -n; 0: all */
        int64_t since; /* --since-line */
        int interrupt;
        struct follower *followers[FOLLOWERS_MAX];
        size_t n_followers;
};

static bool went_wrong(const json_t *job)
{
        const char *state = json_text_or(job, "state", "");

        return show_ended(state) && strcmp(state, "success") && strcmp(state, "skipped");
}

/* A job that was skipped, or waits, has written nothing yet. */
static bool has_attempt(const json_t *job)
{
        return json_int_or(job, "attempt", 0) >= 1;
}

static bool wanted(const struct logs *logs, const json_t *job)
{
        if (*logs->job)
                return strcmp(json_text_or(job, "name", ""), logs->job) == 0;
        return !logs->failed || went_wrong(job);
}

static int make_source(struct logs *logs, const json_t *job, struct log_source *ret,
                       struct error *err)
{
        *ret = (struct log_source){
                .job_id = json_text_or(job, "id", ""),
                .job_name = json_text_or(job, "name", ""),
                .attempt = (int)json_int_or(job, "attempt", 1),
                .began_ms = json_time_or_zero(job, "started_at"),
        };
        if (log_view_step(job, logs->view.step, &ret->step_index) < 0)
                return error_set(err, ERROR_NOT_FOUND, "job '%s' has no step '%s'", ret->job_name,
                                 logs->view.step);
        return 0;
}

/* Which lines of the log, [from, …): all, those of a step, the last n. */
static int64_t first_line(const struct logs *logs, const json_t *job,
                          const struct log_source *source)
{
        const json_t *step = source->step_index < 0 ? NULL
                                                    : json_array_get(json_object_get(job, "steps"),
                                                                     (size_t)source->step_index);
        int64_t last = json_int_or(job, "log_lines", 0);
        int64_t from = logs->since > 1 ? logs->since : 1;

        if (step && json_int_or(step, "first_line", 0) > from)
                from = json_int_or(step, "first_line", 0);
        if (step && json_int_or(step, "last_line", 0))
                last = json_int_or(step, "last_line", 0);
        if (logs->last && last - logs->last + 1 > from)
                from = last - logs->last + 1;
        return from;
}

static void head(const struct logs *logs, const json_t *build, const json_t *job, int64_t from)
{
        int64_t all = json_int_or(job, "log_lines", 0);

        fprintf(stderr, "== %s #%lld %s (%s)", json_text_or(build, "repo", ""),
                (long long)json_int_or(build, "number", 0), json_text_or(job, "name", ""),
                json_text_or(job, "state", ""));
        if (!has_attempt(job) && *json_text_or(job, "reason", ""))
                fprintf(stderr, " %s", json_text_or(job, "reason", ""));
        if (from > 1 && all >= from && logs->last)
                fprintf(stderr, " last %lld of %lld lines; all: argon logs %s#%lld/%s",
                        (long long)(all - from + 1), (long long)all,
                        json_text_or(build, "repo", ""), (long long)json_int_or(build, "number", 0),
                        json_text_or(job, "name", ""));
        fprintf(stderr, "\n");
}

static int write_piece(void *data, const char *bytes, size_t n)
{
        return fwrite(bytes, 1, n, stdout) == n ? 0 : -1;
}

static int print_raw(struct logs *logs, const struct log_source *source, struct error *err)
{
        scoped_text char *path =
                text_format("/api/v1/jobs/%s/log.txt?attempt=%d", source->job_id, source->attempt);

        return client_stream(logs->client, path, write_piece, NULL, err);
}

static int print_job(struct logs *logs, const json_t *job, const struct log_source *source,
                     int64_t from, struct error *err)
{
        const json_t *step = source->step_index < 0 ? NULL
                                                    : json_array_get(json_object_get(job, "steps"),
                                                                     (size_t)source->step_index);
        int64_t last = step ? json_int_or(step, "last_line", 0) : 0;
        int64_t n;

        do {
                int result = log_view_window(&logs->view, logs->client, source, &from, WINDOW,
                                             false, &n, err);

                if (result < 0)
                        return result;
        } while (n > 0 && !(last && from > last));
        return 0;
}

static int print_all(struct logs *logs, const json_t *build, struct error *err)
{
        const json_t *jobs = json_object_get(build, "jobs");
        bool any = false;

        for (size_t i = 0; i < json_array_size(jobs); i++) {
                const json_t *job = json_array_get(jobs, i);
                struct log_source source;
                int64_t from;
                int result;

                if (!wanted(logs, job))
                        continue;
                any = true;
                if (make_source(logs, job, &source, err) < 0)
                        return -ERROR_NOT_FOUND;
                from = first_line(logs, job, &source);
                head(logs, build, job, from);
                if (!has_attempt(job))
                        continue;
                result = logs->raw ? print_raw(logs, &source, err)
                                   : print_job(logs, job, &source, from, err);
                if (result < 0)
                        return result;
        }
        if (!any && logs->failed)
                fprintf(stderr, "no job of %s #%lld failed\n", json_text_or(build, "repo", ""),
                        (long long)json_int_or(build, "number", 0));
        return 0;
}

/* Whether the attempt that is followed is complete: it has ended and all its lines came. */
static int attempt_done(struct follower *follower, struct client *client, int64_t from, bool *ret,
                        struct error *err)
{
        scoped_text char *path = text_format("/api/v1/jobs/%s", follower->job_id);
        scoped(json) json_t *job = NULL;
        int result = client_get(client, &job, path, err);

        if (result < 0)
                return result;
        *ret = json_int_or(job, "attempt", 1) > follower->source.attempt ||
               (show_ended(json_text_or(job, "state", "")) &&
                from > json_int_or(job, "log_lines", 0));
        return 0;
}

static int follow_attempt(struct follower *follower, struct client *client, struct error *err)
{
        struct logs *logs = follower->logs;
        int64_t from = logs->since > 1 ? logs->since : 1;
        bool done = false;

        while (!done) {
                struct pollfd wake = {.fd = logs->interrupt, .events = POLLIN};
                int64_t began = clock_ms();
                int64_t n = 0;
                int result = log_view_window(&logs->view, client, &follower->source, &from, WINDOW,
                                             true, &n, err);

                if (result == 0 && n == 0)
                        result = attempt_done(follower, client, from, &done, err);
                if (result < 0)
                        return result;
                if (n == 0 && !done && clock_ms() - began < QUICK_MS &&
                    poll(&wake, 1, PAUSE_MS) > 0)
                        return -ERROR_CANCELLED;
        }
        return 0;
}

static void *run_follower(void *data)
{
        struct follower *follower = data;
        scoped(client) struct client *client = NULL;

        follower->result = client_open(&client, follower->logs->invocation, &follower->err);
        if (follower->result < 0)
                return NULL;
        client_cancel_by(client, follower->logs->interrupt);
        client_patience(client, CLIENT_PATIENCE_MS);
        follower->result = follow_attempt(follower, client, &follower->err);
        return NULL;
}

static bool followed(const struct logs *logs, const struct log_source *source)
{
        for (size_t i = 0; i < logs->n_followers; i++) {
                if (strcmp(logs->followers[i]->job_id, source->job_id) == 0 &&
                    logs->followers[i]->source.attempt == source->attempt)
                        return true;
        }
        return false;
}

static int start_follower(struct logs *logs, const struct log_source *source, struct error *err)
{
        struct follower *follower;
        int number;

        if (logs->n_followers == FOLLOWERS_MAX)
                return error_set(err, ERROR_LIMIT, "more than %d attempts to follow",
                                 FOLLOWERS_MAX);
        follower = xcalloc(1, sizeof(*follower));
        follower->logs = logs;
        follower->job_id = text_copy(source->job_id);
        follower->job_name = text_copy(source->job_name);
        follower->source = *source;
        follower->source.job_id = follower->job_id;
        follower->source.job_name = follower->job_name;
        number = pthread_create(&follower->thread, NULL, run_follower, follower);
        if (number) {
                free(follower->job_id);
                free(follower->job_name);
                free(follower);
                return error_set(err, ERROR_UNAVAILABLE, "start a thread: %s", strerror(number));
        }
        logs->followers[logs->n_followers++] = follower;
        return 0;
}

/* A thread for each attempt that has begun and has none yet. */
static int start_followers(struct logs *logs, const json_t *build, struct error *err)
{
        const json_t *jobs = json_object_get(build, "jobs");

        for (size_t i = 0; i < json_array_size(jobs); i++) {
                const json_t *job = json_array_get(jobs, i);
                struct log_source source;

                if (!wanted(logs, job) || !has_attempt(job))
                        continue;
                if (make_source(logs, job, &source, err) < 0)
                        return -ERROR_NOT_FOUND;
                if (!followed(logs, &source) && start_follower(logs, &source, err) < 0)
                        return -ERROR_UNAVAILABLE;
        }
        return 0;
}

/* Whether nothing more can come of what is wanted. */
static bool all_ended(const struct logs *logs, const json_t *build)
{
        const json_t *jobs = json_object_get(build, "jobs");

        if (show_ended(json_text_or(build, "state", "")))
                return true;
        for (size_t i = 0; i < json_array_size(jobs); i++) {
                const json_t *job = json_array_get(jobs, i);

                if (wanted(logs, job) && !show_ended(json_text_or(job, "state", "")))
                        return false;
        }
        return *logs->job != '\0' && json_array_size(jobs) > 0;
}

static int follow_build(struct logs *logs, const json_t *first, struct error *err)
{
        json_t *build = json_copy((json_t *)first);
        int result = 0;

        for (;;) {
                scoped_text char *path = text_format("/api/v1/builds/%s?since=%lld&wait=30s",
                                                     json_text_or(build, "id", ""),
                                                     (long long)json_int_or(build, "version", 0));
                json_t *fresh = NULL;

                result = start_followers(logs, build, err);
                if (result < 0 || all_ended(logs, build))
                        break;
                result = client_get(logs->client, &fresh, path, err);
                if (result < 0)
                        break;
                json_decref(build);
                build = fresh;
        }
        json_decref(build);
        return result;
}

static int join_followers(struct logs *logs, int result, struct error *err)
{
        for (size_t i = 0; i < logs->n_followers; i++) {
                struct follower *follower = logs->followers[i];

                pthread_join(follower->thread, NULL);
                if (follower->result < 0 && result == 0) {
                        result = follower->result;
                        *err = follower->err;
                }
                free(follower->job_id);
                free(follower->job_name);
                free(follower);
        }
        logs->n_followers = 0;
        return result;
}

static int follow(struct logs *logs, const json_t *build)
{
        size_t jobs = json_array_size(json_object_get(build, "jobs"));
        struct error err = {0};
        int result;

        if (interrupt_open(&logs->interrupt, &err) < 0)
                return invocation_fail(logs->invocation, &err);
        client_cancel_by(logs->client, logs->interrupt);
        client_patience(logs->client, CLIENT_PATIENCE_MS);
        logs->view.prefix = !*logs->job && jobs != 1;
        result = follow_build(logs, build, &err);
        result = join_followers(logs, result, &err);
        if (result == -ERROR_CANCELLED) {
                int code = interrupt_exit_code(logs->interrupt);

                fprintf(stderr,
                        "\ndetached, the build goes on; re-attach with: argon logs -f "
                        "%s#%lld\n",
                        json_text_or(build, "repo", ""),
                        (long long)json_int_or(build, "number", 0));
                return code ? code : EXIT_INTERRUPTED;
        }
        return result < 0 ? invocation_fail(logs->invocation, &err) : EXIT_GREEN;
}

static int take_options(struct logs *logs)
{
        struct invocation *invocation = logs->invocation;
        const char *times = invocation_option(invocation, "timestamps");
        struct error err = {0};

        logs->failed = invocation_given(invocation, "failed");
        logs->raw = invocation_given(invocation, "raw");
        logs->view.json = invocation_given(invocation, "json");
        if (invocation_int(invocation, "lines", 1, INT64_MAX, logs->failed ? FAILED_LINES : 0,
                           &logs->last, &err) < 0 ||
            invocation_int(invocation, "since-line", 1, INT64_MAX, 0, &logs->since, &err) < 0)
                return invocation_usage(invocation, "%s", err.text);
        if (times && *times && strcmp(times, "elapsed") && strcmp(times, "utc"))
                return invocation_usage(invocation, "--timestamps is elapsed or utc, not '%s'",
                                        times);
        if (times)
                logs->view.times = strcmp(times, "utc") == 0 ? LOG_TIMES_UTC : LOG_TIMES_ELAPSED;
        if (logs->raw && (logs->view.json || times || logs->last || logs->since ||
                          *logs->view.step || invocation_given(invocation, "follow")))
                return invocation_usage(invocation, "--raw is the whole log as it is: it goes "
                                                    "with no other choice of lines or shape");
        if (invocation_given(invocation, "follow") && (logs->last || logs->failed))
                return invocation_usage(invocation, "-f does not go with --lines or --failed; "
                                                    "--since-line says from where to follow");
        return 0;
}

static int check_job(const struct logs *logs, const json_t *build, struct error *err)
{
        const json_t *jobs = json_object_get(build, "jobs");
        scoped_str struct str names = STR_INIT;

        if (!*logs->job)
                return 0;
        for (size_t i = 0; i < json_array_size(jobs); i++) {
                const char *name = json_text_or(json_array_get(jobs, i), "name", "");

                if (strcmp(name, logs->job) == 0)
                        return 0;
                str_printf(&names, "%s%s", names.len ? ", " : "", name);
        }
        return error_set(err, ERROR_NOT_FOUND, "the build has no job '%s'; it has %s", logs->job,
                         names.len ? names.data : "none");
}

static int run_with(struct logs *logs, const struct build_argument *argument)
{
        struct invocation *invocation = logs->invocation;
        scoped(json) json_t *build = NULL;
        struct error err = {0};
        int code = take_options(logs);

        if (code)
                return code;
        if (client_open(&logs->client, invocation, &err) < 0 ||
            build_argument_find(&build, argument, logs->client,
                                invocation_option(invocation, "repo"), &err) < 0 ||
            check_job(logs, build, &err) < 0)
                return invocation_fail(invocation, &err);
        if (show_ended(json_text_or(build, "state", "")) &&
            json_array_size(json_object_get(build, "jobs")) == 0)
                fprintf(stderr, "%s #%lld has no jobs: %s\n", json_text_or(build, "repo", ""),
                        (long long)json_int_or(build, "number", 0),
                        json_text_or(build, "reason", ""));
        if (invocation_given(invocation, "follow"))
                return follow(logs, build);
        if (print_all(logs, build, &err) < 0)
                return invocation_fail(invocation, &err);
        return EXIT_GREEN;
}

static int run_logs(struct invocation *invocation)
{
        const char *text = invocation->n_arguments ? invocation->arguments[0] : NULL;
        struct build_argument argument = {0};
        struct logs logs = {.invocation = invocation, .interrupt = -1};
        struct error err = {0};
        int code;

        if (build_argument_parse(&argument, text, &err) < 0)
                return invocation_usage(invocation, "%s", err.text);
        logs.job = argument.job;
        logs.view.step = argument.step;
        logs.view.invocation = invocation;
        pthread_mutex_init(&logs.view.lock, NULL);
        code = run_with(&logs, &argument);
        pthread_mutex_destroy(&logs.view.lock);
        if (logs.interrupt >= 0)
                close(logs.interrupt);
        client_freep(&logs.client);
        build_argument_done(&argument);
        return code;
}

static const struct command_option options[] = {
        {"follow", 'f', NULL, "go on until the build has ended", NULL},
        {"failed", 0, NULL, "only of jobs that went wrong, the last 200 lines each", NULL},
        {"lines", 'n', "N", "only the last N lines of each job", NULL},
        {"since-line", 0, "N", "only from line N on", NULL},
        {"timestamps", 't', "[elapsed|utc]",
         "before each line: seconds since the job began, or the "
         "time",
         NULL},
        {"raw", 0, NULL, "the exact bytes", NULL},
        {"repo", 'R', "OWNER/NAME", "the repository of BUILD", NULL},
        OPTION_JSON,
        OPTION_SERVER,
        OPTION_CONFIG,
        OPTION_END,
};

const struct command command_logs = {
        .name = "logs",
        .group = "Builds",
        .synopsis = "[BUILD[/JOB[/STEP]]]",
        .summary = "print what jobs wrote",
        .description =
                "Lines go to standard output, headings to standard error. --json prints one object "
                "per line: job, attempt, line, ms, stream, step, text. With -f, lines of several "
                "jobs have the job's name before them; Ctrl-C detaches, the build goes on.\n\n"
                "BUILD is a number (812), OWNER/NAME#812, a URL of its page, a commit, a branch, "
                "or "
                "nothing: the newest build of the branch that is checked out here. STEP is a "
                "step's "
                "name, id or number.",
        .options = options,
        .arguments_max = 1,
        .run = run_logs,
};
