#include "commands/log_view.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/parse.h"
#include "base/scoped.h"
#include "base/str.h"
#include "base/clock.h"
#include "commands/client.h"
#include "commands/command.h"

#include "base/banned.h"

#define LINE_BYTES_MAX (1024 * 1024)

int log_view_step(const json_t *job, const char *step, int *ret_index)
{
        const json_t *steps = json_object_get(job, "steps");
        int64_t number = 0;

        *ret_index = -1;
        if (!*step)
                return 0;
        for (size_t i = 0; i < json_array_size(steps); i++) {
                const json_t *one = json_array_get(steps, i);

                if (strcmp(json_text_or(one, "name", ""), step) == 0 ||
                    strcmp(json_text_or(one, "id", ""), step) == 0) {
                        *ret_index = (int)i;
                        return 0;
                }
        }
        if (parse_int(&number, step, 1, (int64_t)json_array_size(steps), NULL) < 0)
                return -1;
        *ret_index = (int)number - 1;
        return 0;
}

static void print_text(struct log_view *view, const struct log_source *source, int64_t ms,
                       const char *text, size_t n)
{
        scoped_str struct str line = STR_INIT;
        const char *dim = colour_code(view->invocation->colour_out, COLOUR_DIM);
        const char *none = colour_code(view->invocation->colour_out, COLOUR_NONE);

        if (view->prefix)
                str_printf(&line, "%s%s |%s ", dim, source->job_name, none);
        if (view->times == LOG_TIMES_ELAPSED)
                str_printf(&line, "%s%6lld.%03lld%s ", dim, (long long)ms / 1000,
                           (long long)ms % 1000, none);
        if (view->times == LOG_TIMES_UTC) {
                str_add_time_ms(&line, source->began_ms + ms);
                str_add_char(&line, ' ');
        }
        str_add_bytes(&line, text, n);
        str_add_char(&line, '\n');
        fwrite(line.data, 1, line.len, stdout);
}

static void print_json(struct log_view *view, const struct log_source *source, const json_t *line)
{
        scoped(json) json_t *object = json_object();

        json_set_text(object, "job", source->job_name);
        json_set_int(object, "attempt", source->attempt);
        json_object_set(object, "line", json_array_get(line, 0));
        json_object_set(object, "ms", json_array_get(line, 1));
        json_object_set(object, "stream", json_array_get(line, 2));
        json_object_set(object, "step", json_array_get(line, 3));
        json_object_set(object, "text", json_array_get(line, 4));
        invocation_json(view->invocation, object);
}

static int print_line(struct log_view *view, const struct log_source *source, const char *text,
                      size_t n, int64_t *from, struct error *err)
{
        scoped(json) json_t *line = NULL;
        const json_t *words;

        if (json_parse(&line, text, n, LINE_BYTES_MAX, err) < 0)
                return error_wrap(err, "a line of the log");
        words = json_array_get(line, 4);
        if (!json_is_string(words) || !json_is_integer(json_array_get(line, 0)))
                return error_set(err, ERROR_UNAVAILABLE, "a line of the log is malformed");
        *from = json_integer_value(json_array_get(line, 0)) + 1;
        if (source->step_index >= 0 &&
            json_integer_value(json_array_get(line, 3)) != source->step_index)
                return 0;
        if (view->json)
                print_json(view, source, line);
        else
                print_text(view, source, json_integer_value(json_array_get(line, 1)),
                           json_string_value(words), json_string_length(words));
        return 0;
}

int log_view_window(struct log_view *view, struct client *client, const struct log_source *source,
                    int64_t *from, int64_t lines, bool wait, int64_t *ret_n, struct error *err)
{
        scoped_text char *path = text_format("/api/v1/jobs/%s/log?attempt=%d&from=%lld&n=%lld%s",
                                             source->job_id, source->attempt, (long long)*from,
                                             (long long)lines, wait ? "&wait=30s" : "");
        scoped_str struct str body = STR_INIT;
        const char *at;
        int result = client_text(client, &body, path, err);

        if (result < 0)
                return result;
        *ret_n = 0;
        pthread_mutex_lock(&view->lock);
        for (at = body.data; *at && result == 0; (*ret_n)++) {
                size_t n = strcspn(at, "\n");

                result = print_line(view, source, at, n, from, err);
                at += n;
                at += *at == '\n';
        }
        fflush(stdout);
        pthread_mutex_unlock(&view->lock);
        return result;
}
