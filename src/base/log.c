#include "base/log.h"

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scoped.h"
#include "base/str.h"

#include "base/banned.h"

/* The one mutable global of base: where lines go. Guarded by its lock. */
static struct {
        pthread_mutex_t lock;
        log_sink *sink;
        void *data;
        enum log_severity least;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .least = LOG_INFO};

const char *log_severity_name(enum log_severity severity)
{
        static const char *const names[] = {"DEBUG", "INFO", "WARNING", "ERROR"};

        return names[severity];
}

void log_set_sink(log_sink *sink, void *data)
{
        pthread_mutex_lock(&state.lock);
        state.sink = sink;
        state.data = data;
        pthread_mutex_unlock(&state.lock);
}

void log_set_level(enum log_severity least)
{
        pthread_mutex_lock(&state.lock);
        state.least = least;
        pthread_mutex_unlock(&state.lock);
}

static void add_terminal_line(struct str *line, enum log_severity severity,
                              const struct log_context *about, const char *message)
{
        str_add_time_ms(line, wall_ms());
        str_printf(line, " %-7s %s: ", log_severity_name(severity), about->service);
        for (const char *at = message; *at; at++) {
                if ((unsigned char)*at < 0x20 || *at == 0x7f)
                        str_printf(line, "\\x%02x", (unsigned char)*at);
                else
                        str_add_char(line, *at);
        }
        if (about->job_id)
                str_printf(line, " (job %s)", about->job_id);
        else if (about->build_id)
                str_printf(line, " (build %s)", about->build_id);
        if (about->context)
                str_printf(line, " %s", about->context);
}

static void add_json_line(struct str *line, enum log_severity severity,
                          const struct log_context *about, const char *message)
{
        scoped_str struct str time = STR_INIT;
        json_t *object;
        char *text;

        str_add_time_ns(&time, wall_ns());
        object = json_pack("{s:s, s:s, s:s, s:s, s:s}", "timestamp", time.data, "service",
                           about->service, "job_id", text_or(about->job_id, ""), "message",
                           utf8_valid(message, __builtin_strlen(message)) ? message : "(not UTF-8)",
                           "severity", log_severity_name(severity));
        if (about->build_id)
                json_object_set_new(object, "build_id", json_string(about->build_id));
        if (about->context)
                json_object_set_new(object, "context", json_loads(about->context, 0, NULL));
        text = json_dumps(object, JSON_COMPACT);
        str_add(line, text ? text : "{}");
        free(text);
        json_decref(object);
}

void log_event(enum log_severity severity, const struct log_context *about, const char *format, ...)
{
        struct log_context full = about ? *about : (struct log_context){0};
        scoped_str struct str message = STR_INIT;
        scoped_str struct str line = STR_INIT;
        log_sink *sink;
        void *data;
        bool wanted;
        va_list args;

        if (!full.service)
                full.service = "argon";
        pthread_mutex_lock(&state.lock);
        sink = state.sink;
        data = state.data;
        wanted = severity >= state.least;
        pthread_mutex_unlock(&state.lock);
        if (!wanted)
                return;
        va_start(args, format);
        str_vprintf(&message, format, args);
        va_end(args);
        if (isatty(STDERR_FILENO))
                add_terminal_line(&line, severity, &full, message.data);
        else
                add_json_line(&line, severity, &full, message.data);
        str_add_char(&line, '\n');
        /* one write: lines of several threads do not mix; nowhere to tell that stderr is gone */
        if (write(STDERR_FILENO, line.data, line.len) < 0)
                wanted = false;
        if (sink)
                sink(data, severity, &full, message.data);
}
