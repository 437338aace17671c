/*
 * The pages that links in mails lead to, as plain text. Texts of a repository (messages, names) are
 * shown with their control characters replaced: a terminal that prints a page must not obey them.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/parse.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/build.h"
#include "pipeline/dashboard/parts.h"
#include "ports/store.h"

#include "base/banned.h"

#define PAGE_BUILDS 50
#define PAGE_TYPE "text/plain; charset=utf-8"
#define COMMIT_SHOWN 10

static void add_safe(struct str *str, const char *text, size_t n)
{
        for (size_t i = 0; i < n && text[i]; i++)
                str_add_char(str, (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? ' ' : text[i]);
}

static void add_first_line(struct str *str, const char *text)
{
        add_safe(str, text, strcspn(text, "\n"));
}

static void reply_page(struct http_request *request, const struct str *text)
{
        http_reply_header(request, "X-Content-Type-Options", "nosniff");
        http_reply_header(request, "Cache-Control", "no-store");
        http_reply(request, 200, PAGE_TYPE, text->data, text->len);
}

static int64_t build_duration(const struct build *build)
{
        int64_t end = build->finished_at ? build->finished_at : wall_ms();

        return build->started_at ? end - build->started_at : 0;
}

static void add_build_line(struct str *str, const struct build *build, const char *url)
{
        scoped_str struct str duration = STR_INIT;

        str_add_duration(&duration, build_duration(build));
        str_printf(str, "%-9s  %s #%lld  ", state_name(build->state), build->repo,
                   (long long)build->number);
        add_safe(str, build->branch, strlen(build->branch));
        str_printf(str, "  %.*s  %s  ", COMMIT_SHOWN, build->commit, duration.data);
        add_first_line(str, text_or(build->title, build->message));
        str_printf(str, "\n           %s/r/%s/builds/%lld\n", url, build->repo,
                   (long long)build->number);
}

/* The newest builds, of one repository or of all (NULL). Return: how many, -1: replied an error. */
static int add_builds(struct dashboard *dashboard, struct http_request *request, struct str *str,
                      const char *repo)
{
        struct build_filter filter = {
                .repo = repo,
                .cursor = http_query(request, "cursor"),
                .limit = PAGE_BUILDS,
        };
        struct build_page page = {0};
        struct error err = {0};
        int n;

        if (store_builds(dashboard->options.store, &page, &filter, &err) < 0) {
                http_reply_error(request, &err);
                return -1;
        }
        for (size_t i = 0; i < page.n; i++)
                add_build_line(str, page.builds[i], dashboard->options.url);
        if (*page.next)
                str_printf(str, "\nolder: %s%s?cursor=%s\n", dashboard->options.url,
                           http_path(request), page.next);
        n = (int)page.n;
        build_page_done(&page);
        return n;
}

enum http_result pages_home(struct http_request *request, void *data)
{
        struct dashboard *dashboard = data;
        scoped_str struct str text = STR_INIT;
        int n;

        if (!page_allowed(dashboard, request))
                return HTTP_DONE;
        str_printf(&text, "argon %s\n\n", ARGON_VERSION);
        n = add_builds(dashboard, request, &text, NULL);
        if (n < 0)
                return HTTP_DONE;
        if (n == 0)
                str_printf(&text,
                           "No build yet. Let the forge send its webhook to\n  %s/webhook\nwith "
                           "the secret of this server (DATA/webhook-secret), and push.\n",
                           dashboard->options.url);
        reply_page(request, &text);
        return HTTP_DONE;
}

enum http_result pages_repo(struct http_request *request, void *data)
{
        struct dashboard *dashboard = data;
        scoped_text char *repo =
                text_format("%s/%s", http_param(request, 0), http_param(request, 1));
        scoped_str struct str text = STR_INIT;
        int n;

        if (!page_allowed(dashboard, request))
                return HTTP_DONE;
        add_safe(&text, repo, strlen(repo));
        str_add(&text, "\n\n");
        n = add_builds(dashboard, request, &text, repo);
        if (n == 0)
                http_reply_problem(request, 404, "no build of '%.128s'", repo);
        if (n > 0)
                reply_page(request, &text);
        return HTTP_DONE;
}

static struct build *find_build(struct dashboard *dashboard, struct http_request *request)
{
        scoped_text char *repo =
                text_format("%s/%s", http_param(request, 0), http_param(request, 1));
        struct build *build = NULL;
        struct error err = {0};
        int64_t number;

        if (!page_allowed(dashboard, request))
                return NULL;
        if (parse_int(&number, http_param(request, 2), 1, INT64_MAX, &err) < 0) {
                http_reply_problem(request, 404, "%s", err.text);
                return NULL;
        }
        if (store_build_of_number(dashboard->options.store, &build, repo, number, &err) < 0) {
                http_reply_error(request, &err);
                return NULL;
        }
        return build;
}

static void add_time(struct str *str, const char *name, int64_t wall)
{
        if (!wall)
                return;
        str_printf(str, "%-10s ", name);
        str_add_time_ms(str, wall);
        str_add_char(str, '\n');
}

static void add_text(struct str *str, const char *name, const char *text)
{
        if (!text || !*text)
                return;
        str_printf(str, "%-10s ", name);
        add_first_line(str, text);
        str_add_char(str, '\n');
}

static void add_head(struct str *str, const struct build *build)
{
        scoped_str struct str duration = STR_INIT;

        str_add_duration(&duration, build_duration(build));
        str_printf(str, "%s #%lld  %s\n\n", build->repo, (long long)build->number,
                   state_name(build->state));
        add_text(str, "reason", build->reason_text);
        add_text(str, "message", text_or(build->title, build->message));
        add_text(str, "ref", build->ref);
        add_text(str, "commit", build->commit);
        add_text(str, "author", build->author);
        add_text(str, "pusher", build->pusher);
        add_text(str, "event", build->event);
        add_time(str, "created", build->created_at);
        add_time(str, "started", build->started_at);
        add_time(str, "finished", build->finished_at);
        if (build->started_at)
                str_printf(str, "%-10s %s\n", "duration", duration.data);
}

static void add_job_line(struct str *str, const struct job *job)
{
        const struct attempt *attempt = job_attempt(job);
        scoped_str struct str duration = STR_INIT;

        if (attempt && attempt->duration_ms)
                str_add_duration(&duration, attempt->duration_ms);
        str_printf(str, "%-9s  %-24s %-8s", state_name(job->state), job->name, duration.data);
        if (attempt && attempt->number > 1)
                str_printf(str, " attempt %d", attempt->number);
        if (*text_or(job->reason_text, "")) {
                str_add(str, "  ");
                add_first_line(str, job->reason_text);
        }
        str_add_char(str, '\n');
}

/* The name of a job as one segment of a path. */
static void add_segment(struct str *str, const char *text)
{
        for (; *text; text++) {
                unsigned char c = (unsigned char)*text;

                if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    strchr("-._~", c))
                        str_add_char(str, (char)c);
                else
                        str_printf(str, "%%%02X", c);
        }
}

enum http_result pages_build(struct http_request *request, void *data)
{
        struct dashboard *dashboard = data;
        scoped(build) struct build *build = find_build(dashboard, request);
        scoped_str struct str text = STR_INIT;

        if (!build)
                return HTTP_DONE;
        add_head(&text, build);
        if (build->n_jobs)
                str_add(&text, "\nJobs\n");
        for (size_t i = 0; i < build->n_jobs; i++) {
                add_job_line(&text, &build->jobs[i]);
                str_printf(&text, "           %s/r/%s/builds/%lld/jobs/", dashboard->options.url,
                           build->repo, (long long)build->number);
                add_segment(&text, build->jobs[i].name);
                str_add_char(&text, '\n');
        }
        if (build->findings)
                str_printf(&text, "\n%s\n", build->findings);
        reply_page(request, &text);
        return HTTP_DONE;
}

static void add_steps(struct str *str, const struct attempt *attempt)
{
        for (size_t i = 0; i < attempt->n_steps; i++) {
                const struct step_run *step = &attempt->steps[i];
                scoped_str struct str duration = STR_INIT;

                if (step->duration_ms)
                        str_add_duration(&duration, step->duration_ms);
                str_printf(str, "%-9s  %d ", state_name(step->state), step->index + 1);
                add_first_line(str, step->name);
                str_printf(str, "  %s", duration.data);
                if (step->first_line)
                        str_printf(str, "  lines %lld to %lld", (long long)step->first_line,
                                   (long long)step->last_line);
                if (*text_or(step->reason_text, "")) {
                        str_add(str, "  ");
                        add_first_line(str, step->reason_text);
                }
                str_add_char(str, '\n');
        }
}

/* A head of our own, then the log's bytes from the store while they are sent. */
struct page_reader {
        struct str head;
        struct store *store;
        char *job_id;
        int attempt;
};

static ssize_t read_page(void *data, int64_t offset, char *bytes, size_t n)
{
        struct page_reader *reader = data;
        size_t got = 0;

        if (offset < (int64_t)reader->head.len) {
                size_t left = reader->head.len - (size_t)offset;

                got = left < n ? left : n;
                memcpy(bytes, reader->head.data + offset, got);
                return (ssize_t)got;
        }
        offset -= (int64_t)reader->head.len;
        if (store_log_bytes(reader->store, bytes, n, &got, reader->job_id, reader->attempt, offset,
                            NULL) < 0)
                return -1;
        return (ssize_t)got;
}

static void free_page(void *data)
{
        struct page_reader *reader = data;

        str_done(&reader->head);
        free(reader->job_id);
        free(reader);
}

enum http_result pages_job(struct http_request *request, void *data)
{
        struct dashboard *dashboard = data;
        scoped(build) struct build *build = find_build(dashboard, request);
        const struct attempt *attempt;
        struct page_reader *reader;
        struct log_stats stats = {0};
        struct job *job;
        struct error err = {0};

        if (!build)
                return HTTP_DONE;
        job = build_job(build, http_param(request, 3));
        if (!job) {
                http_reply_problem(request, 404, "the build has no job '%.64s'",
                                   http_param(request, 3));
                return HTTP_DONE;
        }
        attempt = job_attempt(job);
        if (attempt &&
            store_log_stats(dashboard->options.store, &stats, job->id, attempt->number, &err) < 0 &&
            err.kind != ERROR_NOT_FOUND) {
                http_reply_error(request, &err);
                return HTTP_DONE;
        }
        reader = xcalloc(1, sizeof(*reader));
        str_init(&reader->head);
        reader->store = dashboard->options.store;
        reader->job_id = text_copy(job->id);
        reader->attempt = attempt ? attempt->number : 1;
        add_head(&reader->head, build);
        str_add(&reader->head, "\nJob\n");
        add_job_line(&reader->head, job);
        if (attempt)
                add_steps(&reader->head, attempt);
        str_printf(&reader->head, "\nLog (%lld lines, %lld bytes)\n", (long long)stats.lines,
                   (long long)stats.bytes);
        http_reply_header(request, "X-Content-Type-Options", "nosniff");
        http_reply_header(request, "Cache-Control", "no-store");
        http_reply_stream(request, 200, PAGE_TYPE, (int64_t)reader->head.len + stats.bytes,
                          read_page, reader, free_page);
        return HTTP_DONE;
}
