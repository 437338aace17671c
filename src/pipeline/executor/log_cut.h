#pragma once
/*
 * log_cut - the output of a job's steps becomes masked, numbered entries
 *
 * Raw bytes come in per step and stream, as argon-step read them; out come log entries: whole lines
 * of one step and one stream, masked, numbered from 1. An entry is cut at once when the last cut is
 * LOG_CUT_MS ago (so the first line is not kept waiting), else when that time is over, when it has
 * LOG_ENTRY_BYTES_MAX bytes, or when step or stream change. A line over LOG_LINE_MAX is cut in
 * several. `::add-mask::VALUE` at the start of a line adds a secret before the line is masked.
 *
 * Everything in it can be saved and loaded: the position is the place in the supervisor's stream
 * from which the rest must be read again, so that the same bytes lead to the same entries.
 *
 * Belongs to one thread. Times are what the caller says.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/log_entry.h"

struct mask_set;
struct str;
struct unpack;

#define LOG_CUT_MS 50
#define LOG_CUT_STEP_NONE (-1)

/**
 * struct log_cut_options - borrowed for the life of the cutter
 * @masks: grows by ::add-mask::; @log_max: bytes kept, then a marker line and nothing more
 * @emit: takes an entry (bytes valid for the call) with all but id, service and names filled in
 * @learned: a value of ::add-mask:: was added to @masks
 */
struct log_cut_options {
        struct mask_set *masks;
        int64_t log_max;
        void (*emit)(void *data, const struct log_entry *entry);
        void (*learned)(void *data, const char *value, size_t n);
        void *data;
};

struct log_cut;

struct log_cut *log_cut_new(const struct log_cut_options *options);
void log_cut_free(struct log_cut *cut);

/**
 * log_cut_feed() - n raw bytes of a step's stream
 * @offset: where their frame begins in the supervisor's stream
 * @now: monotonic ms, for the rhythm; @at: ms since the attempt began, for the entry
 */
void log_cut_feed(struct log_cut *cut, int step, enum log_stream stream, uint64_t offset,
                  const void *bytes, size_t n, int64_t now, int64_t at);
/** log_cut_note() - a line of our own, on stream 0, at once; masked */
void log_cut_note(struct log_cut *cut, int step, int64_t at, const char *format, ...)
        __attribute__((__format__(__printf__, 4, 5)));
/** log_cut_due() - when log_cut_tick() has something to do, or -1 */
int64_t log_cut_due(const struct log_cut *cut);
void log_cut_tick(struct log_cut *cut, int64_t now);
/** log_cut_flush() - nothing more of this step follows for now: decide and cut all of it;
 *  LOG_CUT_STEP_NONE: of every step */
void log_cut_flush(struct log_cut *cut, int step, int64_t now, int64_t at);
/** log_cut_end() - flush all and emit the attempt's last entry (no bytes, `ended`) */
void log_cut_end(struct log_cut *cut, int64_t now, int64_t at);

/** log_cut_position() - from where the stream must be read again; @end: what was fed up to now */
uint64_t log_cut_position(struct log_cut *cut, uint64_t end);
/** log_cut_dropped() - raw bytes not kept since this was asked last (the log is full) */
int64_t log_cut_dropped(struct log_cut *cut);

int64_t log_cut_lines(const struct log_cut *cut);
int64_t log_cut_bytes(const struct log_cut *cut);
/** log_cut_tail_begin() - from now on the tail is of this step */
void log_cut_tail_begin(struct log_cut *cut, int step);
/** log_cut_tail() - append its last lines, newlines between */
void log_cut_tail(const struct log_cut *cut, struct str *ret);

/** log_cut_skip() - the numbers of entries and lines go on after n: what came before is unknown */
void log_cut_skip(struct log_cut *cut, int64_t n);

/** log_cut_save() - append all of it to the state, for log_cut_load() on a new cutter */
void log_cut_save(struct log_cut *cut, struct str *ret);
void log_cut_load(struct log_cut *cut, struct unpack *from);
