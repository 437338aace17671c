#pragma once
/*
 * log - what a service tells about itself, once, where an error stops
 *
 * base, domain, wire, ports and adapters return errors and do not log. A line goes to standard
 * error (JSON when it is not a terminal) and to the sink, which publishes it on log.queue.
 */
#include <stdarg.h>

enum log_severity { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };

/** log_severity_name() - DEBUG, INFO, WARNING or ERROR */
const char *log_severity_name(enum log_severity severity);

/**
 * struct log_context - what a line is about; every member may be NULL
 * @context: a JSON object as text (`{"container":"..."}`), valid for the call
 */
struct log_context {
        const char *service;
        const char *build_id;
        const char *job_id;
        int attempt;
        const char *context;
};

/** log_sink - takes a copy of each line; must not block and must not log */
typedef void log_sink(void *data, enum log_severity severity, const struct log_context *about,
                      const char *message);

/** log_set_sink() - at most one sink; NULL takes it away. Thread safe. */
void log_set_sink(log_sink *sink, void *data);
/** log_set_level() - what is less severe is dropped (default LOG_INFO) */
void log_set_level(enum log_severity least);

/** log_event() - one line; control characters in it are escaped */
void log_event(enum log_severity severity, const struct log_context *about, const char *format, ...)
        __attribute__((__format__(__printf__, 3, 4)));
