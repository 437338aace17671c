/*
 * A job's log in three shapes: windows of lines as JSON, the exact bytes, and among the entries of
 * all services.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/id.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/build.h"
#include "pipeline/dashboard/parts.h"
#include "ports/store.h"

#include "base/banned.h"

#define LOG_LINES 1000
#define LOGS_LIMIT 100
#define WINDOW_BYTES_MAX (8 * 1024 * 1024)
/* The end of a job and its last lines come by different queues: whoever asks for the whole log
 * right after the end waits for them, but not for ever. */
#define LOG_LAG_MS 5000
#define LOG_LAG_AGE_MS 60000

static void add_line(struct str *str, const struct log_line *line)
{
        scoped_str struct str text = STR_INIT;
        scoped(json) json_t *json = json_array();

        add_utf8(&text, line->text, line->n);
        json_array_append_new(json, json_integer(line->number));
        json_array_append_new(json, json_integer(line->ms));
        json_array_append_new(json, json_integer(line->stream));
        json_array_append_new(json, json_integer(line->step));
        json_array_append_new(json, json_stringn(text.data, text.len));
        str_add_json(str, json);
        str_add_char(str, '\n');
}

/* How many bytes the log of an attempt that has just ended will have; 0: it is not expected to
 * grow.
 */
static int64_t bytes_to_come(const struct job *job, int number)
{
        for (size_t i = 0; i < job->n_attempts; i++) {
                const struct attempt *attempt = &job->attempts[i];

                if (attempt->number == number && state_ended(attempt->state) &&
                    attempt->finished_at > wall_ms() - LOG_LAG_AGE_MS)
                        return attempt->log_bytes;
        }
        return 0;
}

/* The attempt that the query names, or the newest. 0: a problem was replied; *ret_any is false when
 * no attempt was made yet; *ret_bytes as in bytes_to_come(). */
static int find_attempt(struct dashboard *dashboard, struct http_request *request, bool *ret_any,
                        int64_t *ret_bytes)
{
        const char *id = http_param(request, 0);
        scoped(build) struct build *build = NULL;
        const struct job *job;
        struct error err = {0};
        int64_t wanted;

        if (!query_int(request, "attempt", 1, INT32_MAX, 0, &wanted))
                return 0;
        if (!id_valid(id)) {
                http_reply_problem(request, 404, "no job has the id '%.64s'", text_or(id, ""));
                return 0;
        }
        if (store_build_of_job(dashboard->options.store, &build, id, &err) < 0) {
                http_reply_error(request, &err);
                return 0;
        }
        job = build_job_by_id(build, id);
        if (!job || (wanted > (int64_t)job->n_attempts)) {
                http_reply_problem(request, 404, "the job has %zu attempts",
                                   job ? job->n_attempts : (size_t)0);
                return 0;
        }
        *ret_any = job->n_attempts > 0;
        if (!wanted)
                wanted = job->n_attempts ? job_attempt(job)->number : 1;
        *ret_bytes = bytes_to_come(job, (int)wanted);
        return (int)wanted;
}

enum http_result logs_window(struct http_request *request, void *data)
{
        struct dashboard *dashboard = data;
        const char *id = http_param(request, 0);
        scoped_text char *key = text_format("log.%s", text_or(id, ""));
        scoped_str struct str text = STR_INIT;
        struct log_window window = {0};
        struct error err = {0};
        bool may_wait;
        bool any = false;
        int64_t bytes;
        int64_t from;
        int64_t n;
        int64_t wait;
        int attempt;

        if (!query_int(request, "from", 1, INT64_MAX, 1, &from) ||
            !query_int(request, "n", 1, DASHBOARD_LOG_LINES_MAX, LOG_LINES, &n) ||
            !query_duration(request, "wait", DASHBOARD_WAIT_MS_MAX, &wait))
                return HTTP_DONE;
        may_wait = id_valid(id) && dashboard_live_wait(dashboard->live, request, key, wait);
        attempt = find_attempt(dashboard, request, &any, &bytes);
        if (!attempt)
                return HTTP_DONE;
        if (store_log_lines(dashboard->options.store, &window, id, attempt, from, n, &err) < 0) {
                http_reply_error(request, &err);
                return HTTP_DONE;
        }
        /* a window that was cut short is still a window: who asks goes on behind its last line */
        for (size_t i = 0; i < window.n && text.len < WINDOW_BYTES_MAX; i++)
                add_line(&text, &window.lines[i]);
        may_wait = may_wait && window.n == 0 && !window.ended;
        log_window_done(&window);
        if (may_wait)
                return HTTP_WAIT;
        http_reply(request, 200, "application/jsonl; charset=utf-8", text.data, text.len);
        return HTTP_DONE;
}

struct reader {
        struct store *store;
        char job_id[ID_SIZE];
        int attempt;
};

static ssize_t read_log(void *data, int64_t offset, char *bytes, size_t n)
{
        struct reader *reader = data;
        size_t got = 0;

        if (store_log_bytes(reader->store, bytes, n, &got, reader->job_id, reader->attempt, offset,
                            NULL) < 0)
                return -1;
        return (ssize_t)got;
}

enum http_result logs_text(struct http_request *request, void *data)
{
        struct dashboard *dashboard = data;
        struct log_stats stats = {0};
        struct reader *reader;
        struct error err = {0};
        const char *id = http_param(request, 0);
        scoped_text char *key = text_format("log.%s", text_or(id, ""));
        bool may_wait =
                id_valid(id) && dashboard_live_wait(dashboard->live, request, key, LOG_LAG_MS);
        bool any = false;
        int64_t bytes = 0;
        int attempt = find_attempt(dashboard, request, &any, &bytes);

        if (!attempt)
                return HTTP_DONE;
        if (any && store_log_stats(dashboard->options.store, &stats, http_param(request, 0),
                                   attempt, &err) < 0) {
                http_reply_error(request, &err);
                return HTTP_DONE;
        }
        if (may_wait && stats.bytes < bytes)
                return HTTP_WAIT;
        reader = xcalloc(1, sizeof(*reader));
        reader->store = dashboard->options.store;
        memcpy(reader->job_id, http_param(request, 0), ID_SIZE);
        reader->attempt = attempt;
        /* bytes are the job's: never let a browser guess that they are a page */
        http_reply_header(request, "X-Content-Type-Options", "nosniff");
        http_reply_stream(request, 200, "text/plain; charset=utf-8", stats.bytes, read_log, reader,
                          free);
        return HTTP_DONE;
}

enum http_result logs_list(struct http_request *request, void *data)
{
        struct dashboard *dashboard = data;
        struct log_filter filter = {
                .service = http_query(request, "service"),
                .job_id = http_query(request, "job_id"),
                .build_id = http_query(request, "build_id"),
                .severity = http_query(request, "severity"),
                .cursor = http_query(request, "cursor"),
        };
        scoped_str struct str text = STR_INIT;
        struct log_page page = {0};
        struct error err = {0};
        int64_t limit;

        if (!query_int(request, "limit", 1, STORE_PAGE_MAX, LOGS_LIMIT, &limit) ||
            !query_time(request, "since", &filter.since_ms))
                return HTTP_DONE;
        filter.limit = (int)limit;
        if (store_logs(dashboard->options.store, &page, &filter, &err) < 0) {
                http_reply_error(request, &err);
                return HTTP_DONE;
        }
        str_add(&text, "{\"logs\":[");
        for (size_t i = 0; i < page.n; i++)
                str_printf(&text, "%s%s", i ? "," : "", page.entries[i]);
        str_add(&text, "],\"next\":");
        if (*page.next)
                str_printf(&text, "\"%s\"}", page.next); /* cursors are plain words of the store */
        else
                str_add(&text, "null}");
        log_page_done(&page);
        http_reply_json(request, 200, text.data);
        return HTTP_DONE;
}
