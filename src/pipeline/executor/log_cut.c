/*
 * Raw bytes go through three stages. A lane (one per step and stream) finds ::add-mask:: lines and
 * feeds its mask stream; both may hold bytes back. What they let go is appended to `pending`, which
 * belongs to one step and stream at a time: a change cuts it, so the order of the job's writes is
 * kept. From pending, entries are cut by the rhythm.
 *
 * The position: each frame that was fed is remembered until a lane needs none of its bytes any
 * more. The oldest one that is needed marks the place to read again from; `skip` says for each lane
 * how many of the bytes from there on are done with. pending itself is masked, so it may be saved
 * as it is.
 */
#include "pipeline/executor/log_cut.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/str.h"
#include "domain/mask.h"
#include "pipeline/executor/log_tail.h"
#include "pipeline/executor/pack.h"

#include "base/banned.h"

#define COMMAND "::add-mask::"
#define COMMAND_LEN (sizeof(COMMAND) - 1)
/* every byte of the value may come percent-encoded */
#define COMMAND_MAX (COMMAND_LEN + 3 * MASK_SECRET_BYTES_MAX)
#define LANES_MAX 2048

struct lane {
        int step;
        enum log_stream stream;
        struct mask_stream *mask;
        struct str scan; /* of a line that may become a command */
        bool inside;     /* of a line: no command can begin here */
        uint64_t fed;
        uint64_t skip;
};

/* A frame whose bytes are not all decided; begin and end count its lane's bytes. */
struct fed_frame {
        uint64_t offset;
        struct lane *lane;
        uint64_t begin;
        uint64_t end;
};

struct log_cut {
        struct log_cut_options options;
        struct lane **lanes;
        size_t n_lanes;
        struct fed_frame *frames;
        size_t n_frames;
        size_t cap_frames;
        struct str masked; /* scratch */

        struct str pending;
        int step;
        enum log_stream stream;
        int64_t pending_at;
        size_t whole; /* bytes of pending up to its last newline */
        int64_t last_cut;

        int64_t seq;
        int64_t line;
        int64_t bytes;
        bool full;
        int64_t dropped;
        int64_t dropped_all;

        int tail_step;
        struct log_tail tail;
};

struct log_cut *log_cut_new(const struct log_cut_options *options)
{
        struct log_cut *cut = xcalloc(1, sizeof(*cut));

        cut->options = *options;
        cut->seq = 1;
        cut->line = 1;
        cut->last_cut = INT64_MIN / 2;
        cut->tail_step = LOG_CUT_STEP_NONE;
        str_init(&cut->masked);
        str_init(&cut->pending);
        return cut;
}

void log_cut_free(struct log_cut *cut)
{
        if (!cut)
                return;
        for (size_t i = 0; i < cut->n_lanes; i++) {
                mask_stream_free(cut->lanes[i]->mask);
                str_done(&cut->lanes[i]->scan);
                free(cut->lanes[i]);
        }
        log_tail_clear(&cut->tail);
        free(cut->lanes);
        free(cut->frames);
        str_done(&cut->masked);
        str_done(&cut->pending);
        free(cut);
}

void log_cut_tail_begin(struct log_cut *cut, int step)
{
        cut->tail_step = step;
        log_tail_clear(&cut->tail);
}

void log_cut_tail(const struct log_cut *cut, struct str *ret)
{
        log_tail_text(&cut->tail, ret);
}

/* Entries */

static int64_t count_lines(const char *bytes, size_t n)
{
        const char *end = bytes + n;
        int64_t lines = 0;

        for (const char *at = bytes; at < end; lines++) {
                const char *newline = memchr(at, '\n', (size_t)(end - at));

                at = newline ? newline + 1 : end;
        }
        return lines;
}

static void emit(struct log_cut *cut, int step, enum log_stream stream, int64_t at,
                 const char *bytes, size_t n, bool ended)
{
        struct log_entry entry = {
                .timestamp_ns = wall_ns(),
                .severity = LOG_INFO,
                .seq = cut->seq++,
                .step = step,
                .stream = stream,
                .first_line = cut->line,
                .lines = count_lines(bytes, n),
                .offset = cut->bytes,
                .ms = at,
                .bytes = bytes,
                .n = n,
                .ended = ended,
        };

        cut->line += entry.lines;
        cut->bytes += (int64_t)n;
        cut->options.emit(cut->options.data, &entry);
}

static void note_full(struct log_cut *cut, int step, int64_t at)
{
        scoped_str struct str line = STR_INIT;

        str_printf(&line,
                   "argon: the log is full (%lld bytes, ARGON_LOG_MAX): what follows is not kept; "
                   "the job goes on\n",
                   (long long)cut->options.log_max);
        emit(cut, step, LOG_STREAM_ARGON, at, line.data, line.len, false);
}

/* The log takes whole lines up to its limit, then one marker, then nothing. */
static void emit_output(struct log_cut *cut, const char *bytes, size_t n)
{
        int64_t room = cut->options.log_max - cut->bytes;
        size_t fits = n;

        if (cut->step == cut->tail_step)
                log_tail_feed(&cut->tail, bytes, n);
        if (!cut->full && (int64_t)n > room) {
                const char *newline = room > 0 ? memrchr(bytes, '\n', (size_t)room) : NULL;

                fits = newline ? (size_t)(newline - bytes) + 1 : 0;
                cut->full = true;
                if (fits > 0)
                        emit(cut, cut->step, cut->stream, cut->pending_at, bytes, fits, false);
                note_full(cut, cut->step, cut->pending_at);
                cut->dropped += (int64_t)(n - fits);
                cut->dropped_all += (int64_t)(n - fits);
                return;
        }
        if (cut->full) {
                cut->dropped += (int64_t)n;
                cut->dropped_all += (int64_t)n;
                return;
        }
        emit(cut, cut->step, cut->stream, cut->pending_at, bytes, n, false);
}

static void cut_off(struct log_cut *cut, size_t n, int64_t now)
{
        if (n == 0)
                return;
        emit_output(cut, cut->pending.data, n);
        str_consume(&cut->pending, n);
        cut->whole = cut->whole > n ? cut->whole - n : 0;
        cut->last_cut = now;
}

/* A cut line should not end within a character: step back to before it, if it is one. */
static size_t before_cut_character(const char *bytes, size_t n)
{
        for (size_t back = 1; back <= 3 && back < n; back++) {
                unsigned char c = (unsigned char)bytes[n - back];

                if ((c & 0xc0) == 0x80)
                        continue;
                if (c >= 0xc0 && back < (c >= 0xf0 ? 4U : c >= 0xe0 ? 3U : 2U))
                        return n - back;
                break;
        }
        return n;
}

/* Take LOG_ENTRY_BYTES_MAX or a little less: whole lines if there are any, else a piece of one. */
static void cut_full(struct log_cut *cut, int64_t now)
{
        const char *bytes = cut->pending.data;
        size_t n = LOG_ENTRY_BYTES_MAX;
        const char *newline = memrchr(bytes, '\n', n);

        cut_off(cut, newline ? (size_t)(newline - bytes) + 1 : before_cut_character(bytes, n), now);
}

static void append(struct log_cut *cut, int step, enum log_stream stream, const char *bytes,
                   size_t n, int64_t now, int64_t at)
{
        const char *newline;

        if (n == 0)
                return;
        if (cut->pending.len > 0 && (cut->step != step || cut->stream != stream))
                cut_off(cut, cut->pending.len, now);
        if (cut->pending.len == 0) {
                cut->step = step;
                cut->stream = stream;
                cut->pending_at = at;
        }
        newline = memrchr(bytes, '\n', n);
        if (newline)
                cut->whole = cut->pending.len + (size_t)(newline - bytes) + 1;
        str_add_bytes(&cut->pending, bytes, n);
        while (cut->pending.len >= LOG_ENTRY_BYTES_MAX)
                cut_full(cut, now);
}

int64_t log_cut_due(const struct log_cut *cut)
{
        return cut->whole > 0 ? cut->last_cut + LOG_CUT_MS : -1;
}

void log_cut_tick(struct log_cut *cut, int64_t now)
{
        if (cut->whole > 0 && now >= cut->last_cut + LOG_CUT_MS)
                cut_off(cut, cut->whole, now);
}

/* Lanes */

static struct lane *lane_of(struct log_cut *cut, int step, enum log_stream stream)
{
        struct lane *lane;

        for (size_t i = cut->n_lanes; i-- > 0;) {
                lane = cut->lanes[i];
                if (lane->step == step && lane->stream == stream)
                        return lane;
        }
        if (cut->n_lanes == LANES_MAX) /* step_frame.h allows fewer: cannot happen */
                return cut->lanes[0];
        cut->lanes = xrealloc(cut->lanes, (cut->n_lanes + 1) * sizeof(struct lane *));
        lane = xcalloc(1, sizeof(*lane));
        lane->step = step;
        lane->stream = stream;
        lane->mask = mask_stream_new(cut->options.masks);
        str_init(&lane->scan);
        cut->lanes[cut->n_lanes++] = lane;
        return lane;
}

static uint64_t lane_decided(const struct lane *lane)
{
        return lane->fed - lane->scan.len - mask_stream_kept(lane->mask);
}

static void lane_mask(struct log_cut *cut, struct lane *lane, const char *bytes, size_t n,
                      int64_t now, int64_t at)
{
        str_clear(&cut->masked);
        mask_stream_feed(lane->mask, bytes, n, &cut->masked);
        append(cut, lane->step, lane->stream, cut->masked.data, cut->masked.len, now, at);
}

static int hex_digit(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The value of a command: percent-encoding undone, as a value of several lines needs it. */
static void decode_value(struct str *ret, const char *text, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                int high = text[i] == '%' && n - i > 2 ? hex_digit(text[i + 1]) : -1;
                int low = high >= 0 ? hex_digit(text[i + 2]) : -1;

                if (low < 0) {
                        str_add_char(ret, text[i]);
                        continue;
                }
                str_add_char(ret, (char)(high * 16 + low));
                i += 2;
        }
}

static void learn(struct log_cut *cut, const struct lane *lane, int64_t at)
{
        scoped_str struct str value = STR_INIT;
        const char *text = lane->scan.data + COMMAND_LEN;
        size_t n = lane->scan.len - COMMAND_LEN;
        struct error err;

        while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
                n--;
        decode_value(&value, text, n);
        if (value.len == 0)
                return;
        if (mask_set_add(cut->options.masks, value.data, value.len, &err) < 0)
                log_cut_note(cut, lane->step, at, "::add-mask:: has no effect: %s", err.text);
        else
                cut->options.learned(cut->options.data, value.data, value.len);
        explicit_bzero(value.data, value.len);
}

static bool may_be_command(const struct str *scan)
{
        size_t n = scan->len < COMMAND_LEN ? scan->len : COMMAND_LEN;

        return memcmp(scan->data, COMMAND, n) == 0 && scan->len <= COMMAND_MAX;
}

/* The line in scan is over, or is no command after all. */
static void scan_done(struct log_cut *cut, struct lane *lane, bool line_over, int64_t now,
                      int64_t at)
{
        if (line_over && lane->scan.len > COMMAND_LEN && may_be_command(&lane->scan))
                learn(cut, lane, at);
        if (lane->scan.len > 0)
                lane->inside = lane->scan.data[lane->scan.len - 1] != '\n';
        lane_mask(cut, lane, lane->scan.data, lane->scan.len, now, at);
        str_clear(&lane->scan);
}

static size_t scan_line(struct log_cut *cut, struct lane *lane, const char *bytes, size_t n,
                        int64_t now, int64_t at)
{
        const char *newline = memchr(bytes, '\n', n);
        size_t taken = newline ? (size_t)(newline - bytes) + 1 : n;

        str_add_bytes(&lane->scan, bytes, taken);
        if (newline || !may_be_command(&lane->scan))
                scan_done(cut, lane, newline != NULL, now, at);
        return taken;
}

static void lane_feed(struct log_cut *cut, struct lane *lane, const char *bytes, size_t n,
                      int64_t now, int64_t at)
{
        while (n > 0) {
                size_t taken;

                if (lane->scan.len > 0 || (!lane->inside && *bytes == ':')) {
                        taken = scan_line(cut, lane, bytes, n, now, at);
                } else {
                        const char *next = memmem(bytes, n, "\n:", 2);

                        taken = next ? (size_t)(next - bytes) + 1 : n;
                        lane->inside = bytes[taken - 1] != '\n';
                        lane_mask(cut, lane, bytes, taken, now, at);
                }
                bytes += taken;
                n -= taken;
        }
}

static void remember_frame(struct log_cut *cut, struct lane *lane, uint64_t offset, size_t n)
{
        if (cut->n_frames == cut->cap_frames) {
                cut->cap_frames = cut->cap_frames ? cut->cap_frames * 2 : 16;
                cut->frames = xrealloc(cut->frames, cut->cap_frames * sizeof(*cut->frames));
        }
        cut->frames[cut->n_frames++] = (struct fed_frame){offset, lane, lane->fed, lane->fed + n};
}

/* Forget the decided frames at the front. */
static void forget_frames(struct log_cut *cut)
{
        size_t n = 0;

        while (n < cut->n_frames && lane_decided(cut->frames[n].lane) >= cut->frames[n].end)
                n++;
        if (n == 0)
                return;
        cut->n_frames -= n;
        memmove(cut->frames, cut->frames + n, cut->n_frames * sizeof(*cut->frames));
}

void log_cut_feed(struct log_cut *cut, int step, enum log_stream stream, uint64_t offset,
                  const void *bytes, size_t n, int64_t now, int64_t at)
{
        struct lane *lane = lane_of(cut, step, stream);
        size_t skipped = lane->skip < n ? (size_t)lane->skip : n;

        remember_frame(cut, lane, offset, n);
        lane->skip -= skipped;
        lane->fed += skipped;
        lane->fed += n - skipped;
        lane_feed(cut, lane, (const char *)bytes + skipped, n - skipped, now, at);
        forget_frames(cut);
        log_cut_tick(cut, now);
}

static void lane_flush(struct log_cut *cut, struct lane *lane, int64_t now, int64_t at)
{
        if (lane->scan.len > 0)
                scan_done(cut, lane, true, now, at);
        str_clear(&cut->masked);
        mask_stream_flush(lane->mask, &cut->masked);
        append(cut, lane->step, lane->stream, cut->masked.data, cut->masked.len, now, at);
        lane->inside = false;
}

void log_cut_flush(struct log_cut *cut, int step, int64_t now, int64_t at)
{
        enum log_stream first = cut->stream;

        /* the stream that wrote last goes on with its line before the other one ends its own */
        for (int turn = 0; turn < 2; turn++) {
                for (size_t i = 0; i < cut->n_lanes; i++) {
                        struct lane *lane = cut->lanes[i];

                        if ((lane->stream == first) == (turn == 0) &&
                            (step == LOG_CUT_STEP_NONE || lane->step == step))
                                lane_flush(cut, lane, now, at);
                }
        }
        cut_off(cut, cut->pending.len, now);
        forget_frames(cut);
}

void log_cut_note(struct log_cut *cut, int step, int64_t at, const char *format, ...)
{
        scoped_str struct str text = STR_INIT;
        scoped_str struct str line = STR_INIT;
        va_list args;

        va_start(args, format);
        str_vprintf(&text, format, args);
        va_end(args);
        mask_text(cut->options.masks, text.data, text.len, &line);
        str_add_char(&line, '\n');
        if (line.len > LOG_ENTRY_BYTES_MAX) {
                str_truncate(&line, LOG_ENTRY_BYTES_MAX - 1);
                str_add_char(&line, '\n');
        }
        /* an unfinished line of the job is finished after ours: only whole ones go first */
        cut_off(cut, cut->whole, cut->last_cut);
        emit(cut, step, LOG_STREAM_ARGON, at, line.data, line.len, false);
}

void log_cut_end(struct log_cut *cut, int64_t now, int64_t at)
{
        log_cut_flush(cut, LOG_CUT_STEP_NONE, now, at);
        if (cut->dropped_all > 0)
                log_cut_note(cut, LOG_CUT_STEP_NONE, at,
                             "argon: %lld bytes of output were not kept",
                             (long long)cut->dropped_all);
        emit(cut, LOG_CUT_STEP_NONE, LOG_STREAM_ARGON, at, "", 0, true);
}

uint64_t log_cut_position(struct log_cut *cut, uint64_t end)
{
        forget_frames(cut);
        return cut->n_frames > 0 ? cut->frames[0].offset : end;
}

int64_t log_cut_dropped(struct log_cut *cut)
{
        int64_t dropped = cut->dropped;

        cut->dropped = 0;
        return dropped;
}

void log_cut_skip(struct log_cut *cut, int64_t n)
{
        cut->seq += n;
        cut->line += n;
}

int64_t log_cut_lines(const struct log_cut *cut)
{
        return cut->line - 1;
}

int64_t log_cut_bytes(const struct log_cut *cut)
{
        return cut->bytes;
}

/* State */

/* How many of the lane's bytes in the frames that will be read again are done already. */
static uint64_t lane_skip(const struct log_cut *cut, const struct lane *lane)
{
        for (size_t i = 0; i < cut->n_frames; i++) {
                if (cut->frames[i].lane == lane)
                        return lane_decided(lane) - cut->frames[i].begin + lane->skip;
        }
        return lane->skip;
}

/* Whether the first byte that is read again lies within a line, where no command can begin. What a
 * mask keeps was judged already; what is in scan begins a line. */
static bool lane_inside(const struct lane *lane)
{
        if (mask_stream_kept(lane->mask) > 0)
                return true;
        return lane->scan.len == 0 && lane->inside;
}

static void save_lane(struct log_cut *cut, const struct lane *lane, struct str *ret)
{
        pack_int(ret, lane->step);
        pack_int(ret, (int64_t)lane->stream);
        pack_int(ret, lane_inside(lane));
        pack_int(ret, (int64_t)lane_skip(cut, lane));
        str_clear(&cut->masked);
        mask_stream_save(lane->mask, &cut->masked);
        pack_bytes(ret, cut->masked.data, cut->masked.len);
}

void log_cut_save(struct log_cut *cut, struct str *ret)
{
        forget_frames(cut);
        pack_int(ret, cut->seq);
        pack_int(ret, cut->line);
        pack_int(ret, cut->bytes);
        pack_int(ret, cut->full);
        pack_int(ret, cut->dropped_all);
        pack_int(ret, cut->step);
        pack_int(ret, (int64_t)cut->stream);
        pack_int(ret, cut->pending_at);
        pack_bytes(ret, cut->pending.data, cut->pending.len);
        pack_int(ret, (int64_t)cut->n_lanes);
        for (size_t i = 0; i < cut->n_lanes; i++)
                save_lane(cut, cut->lanes[i], ret);
        pack_int(ret, cut->tail_step);
        log_tail_save(&cut->tail, ret);
}

void log_cut_load(struct log_cut *cut, struct unpack *from)
{
        const char *bytes;
        int64_t lanes;
        size_t n;

        cut->seq = unpack_int(from);
        cut->line = unpack_int(from);
        cut->bytes = unpack_int(from);
        cut->full = unpack_int(from) != 0;
        cut->dropped_all = unpack_int(from);
        cut->step = (int)unpack_int(from);
        cut->stream = (enum log_stream)unpack_int(from);
        cut->pending_at = unpack_int(from);
        bytes = unpack_bytes(from, &n);
        str_clear(&cut->pending);
        str_add_bytes(&cut->pending, bytes, n);
        bytes = n ? memrchr(cut->pending.data, '\n', n) : NULL;
        cut->whole = bytes ? (size_t)(bytes - cut->pending.data) + 1 : 0;
        lanes = unpack_int(from);
        for (int64_t i = 0; i < lanes && !from->bad; i++) {
                int step = (int)unpack_int(from);
                enum log_stream stream = (enum log_stream)unpack_int(from);
                struct lane *lane = lane_of(cut, step, stream);

                lane->inside = unpack_int(from) != 0;
                lane->skip = (uint64_t)unpack_int(from);
                bytes = unpack_bytes(from, &n);
                if (!mask_stream_load(lane->mask, bytes, n))
                        from->bad = true;
        }
        log_cut_tail_begin(cut, (int)unpack_int(from));
        log_tail_load(&cut->tail, from);
}
