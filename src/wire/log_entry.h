#pragma once
/*
 * log_entry - a message of log.queue: some output of a step, or one line of a service
 *
 * Output: whole lines of one step and one stream (a line over LOG_LINE_MAX is cut in several, and
 * so is one whose stream changes before its end). `bytes` is exactly what the job wrote, newlines
 * included; the JSON's `message` is the same as valid UTF-8 and `raw` (base64) stands beside it
 * where they differ. Lines are numbered by the executor from 1 within the attempt, seq from 1 too.
 *
 * A service's own line: seq 0, `context` holds a JSON object, id is `service/instance/n`.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"

struct arena;
struct error;
struct str;

#define LOG_ENTRY_BYTES_MAX (64 * 1024)
#define LOG_LINE_MAX (64 * 1024)

enum log_stream { LOG_STREAM_ARGON, LOG_STREAM_STDOUT, LOG_STREAM_STDERR };

/**
 * struct log_entry - texts are borrowed by an encoder, owned by the arena when decoded
 * @offset: of its first byte in the attempt's whole log
 * @ms: since the attempt began (monotonic)
 * @lines: how many line numbers it takes
 * @ended: no more output of this attempt follows (its last entry; may have no bytes)
 */
struct log_entry {
        struct arena *arena;
        const char *id;
        int64_t timestamp_ns;
        const char *service;
        enum log_severity severity;
        const char *build_id;
        const char *job_id;
        int attempt;
        int64_t seq;
        int step;
        enum log_stream stream;
        int64_t first_line;
        int64_t lines;
        int64_t offset;
        int64_t ms;
        const char *bytes;
        size_t n;
        bool ended;
        const char *context;
};

struct log_entry *log_entry_new(void);
void log_entry_free(struct log_entry *entry);
static inline void log_entry_freep(struct log_entry **entry)
{
        if (*entry)
                log_entry_free(*entry);
}

/** log_entry_encode() - the message; at most BUS_BODY_MAX for any bytes up to LOG_ENTRY_BYTES_MAX:
 *  control characters that would swell it are carried by `raw` and shown as U+FFFD in `message` */
void log_entry_encode(const struct log_entry *entry, struct str *ret);
int log_entry_decode(struct log_entry **ret, const char *text, size_t n, struct error *err);
