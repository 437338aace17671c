#pragma once
/*
 * log_tail - the last lines of the step that runs, for when it fails
 */
#include <stddef.h>

struct str;
struct unpack;

#define LOG_TAIL_LINES 30
#define LOG_TAIL_LINE_MAX 1024

struct log_tail_line {
        char *text;
        size_t n;
};

/** struct log_tail - a ring; zero it to begin, log_tail_clear() to end */
struct log_tail {
        struct log_tail_line lines[LOG_TAIL_LINES];
        size_t next;
};

void log_tail_clear(struct log_tail *tail);
/** log_tail_feed() - n bytes of masked output; each piece begins a line */
void log_tail_feed(struct log_tail *tail, const char *bytes, size_t n);
/** log_tail_text() - append the lines, newlines between, as valid UTF-8 without NUL */
void log_tail_text(const struct log_tail *tail, struct str *ret);
void log_tail_save(const struct log_tail *tail, struct str *ret);
void log_tail_load(struct log_tail *tail, struct unpack *from);
