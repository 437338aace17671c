#include "pipeline/executor/log_cut.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "domain/mask.h"
#include "pipeline/executor/pack.h"
#include "tests/support/test.h"

#include "base/banned.h"

#define ENTRIES_MAX 8192

/* What came out: entries with copies of their bytes. */
struct out {
        struct mask_set *masks;
        struct log_cut *cut;
        int64_t log_max;
        size_t n;
        struct log_entry entries[ENTRIES_MAX];
        struct str learned;
};

static struct out out;

static void take_entry(void *data, const struct log_entry *entry)
{
        struct out *to = data;
        char *copy = xmalloc(entry->n + 1);

        assert_true(to->n < ENTRIES_MAX);
        memcpy(copy, entry->bytes, entry->n);
        copy[entry->n] = '\0';
        to->entries[to->n] = *entry;
        to->entries[to->n++].bytes = copy;
}

static void take_learned(void *data, const char *value, size_t n)
{
        struct out *to = data;

        str_add_bytes(&to->learned, value, n);
        str_add_char(&to->learned, '|');
}

static void new_cut(struct out *to)
{
        struct log_cut_options options = {
                .masks = to->masks,
                .log_max = to->log_max,
                .emit = take_entry,
                .learned = take_learned,
                .data = to,
        };

        to->cut = log_cut_new(&options);
}

static void begin(int64_t log_max)
{
        out.n = 0;
        out.log_max = log_max;
        out.masks = mask_set_new();
        str_init(&out.learned);
        new_cut(&out);
}

static void drop_entries(struct out *from, size_t keep)
{
        while (from->n > keep)
                free((char *)from->entries[--from->n].bytes);
}

static void end(void)
{
        drop_entries(&out, 0);
        log_cut_free(out.cut);
        mask_set_free(out.masks);
        str_done(&out.learned);
}

static void feed(enum log_stream stream, const char *text, int64_t now)
{
        log_cut_feed(out.cut, 0, stream, 0, text, strlen(text), now, now);
}

static void assert_entry(size_t i, enum log_stream stream, const char *text)
{
        assert_true(i < out.n);
        assert_int_equal(out.entries[i].stream, stream);
        assert_string_equal(out.entries[i].bytes, text);
}

/* Numbers without holes, offsets and lines that fit the bytes. */
static void assert_consistent(const struct out *all)
{
        int64_t line = 1;
        int64_t offset = 0;

        for (size_t i = 0; i < all->n; i++) {
                const struct log_entry *entry = &all->entries[i];
                int64_t lines = 0;

                for (size_t j = 0; j < entry->n; j++)
                        lines += entry->bytes[j] == '\n' || j + 1 == entry->n;
                assert_int_equal(entry->seq, (int64_t)i + 1);
                assert_int_equal(entry->first_line, line);
                assert_int_equal(entry->lines, lines);
                assert_int_equal(entry->offset, offset);
                assert_true(entry->n <= LOG_ENTRY_BYTES_MAX);
                line += lines;
                offset += (int64_t)entry->n;
        }
}

static void add_stream(const struct out *all, int stream, struct str *ret)
{
        for (size_t i = 0; i < all->n; i++) {
                if (stream < 0 || (int)all->entries[i].stream == stream)
                        str_add_bytes(ret, all->entries[i].bytes, all->entries[i].n);
        }
}

TEST("the first line goes out at once, the next ones together after 50 ms")
{
        begin(1 << 30);
        feed(LOG_STREAM_STDOUT, "one\n", 1000);
        assert_int_equal(out.n, 1);
        assert_int_equal(log_cut_due(out.cut), -1);
        feed(LOG_STREAM_STDOUT, "two\n", 1010);
        feed(LOG_STREAM_STDOUT, "three\nfou", 1020);
        assert_int_equal(out.n, 1);
        assert_int_equal(log_cut_due(out.cut), 1050);
        log_cut_tick(out.cut, 1049);
        assert_int_equal(out.n, 1);
        log_cut_tick(out.cut, 1050);
        assert_entry(1, LOG_STREAM_STDOUT, "two\nthree\n");
        feed(LOG_STREAM_STDOUT, "r\n", 1200);
        assert_entry(2, LOG_STREAM_STDOUT, "four\n");
        assert_consistent(&out);
        end();
}

TEST("a change of stream cuts, and the order of the writes is kept")
{
        begin(1 << 30);
        feed(LOG_STREAM_STDOUT, "a\n", 0);
        feed(LOG_STREAM_STDOUT, "b\nhalf", 1);
        feed(LOG_STREAM_STDERR, "error\n", 2);
        feed(LOG_STREAM_STDOUT, " line\n", 3);
        log_cut_end(out.cut, 4, 4);
        assert_entry(0, LOG_STREAM_STDOUT, "a\n");
        assert_entry(1, LOG_STREAM_STDOUT, "b\nhalf");
        assert_int_equal(out.entries[1].lines, 2);
        assert_entry(2, LOG_STREAM_STDERR, "error\n");
        assert_entry(3, LOG_STREAM_STDOUT, " line\n");
        assert_int_equal(out.entries[3].first_line, 5);
        assert_true(out.entries[4].ended);
        assert_int_equal(out.n, 5);
        assert_consistent(&out);
        end();
}

TEST("a line without end is cut in pieces of 64 KiB, none within a character")
{
        scoped_str struct str line = STR_INIT;
        scoped_str struct str all = STR_INIT;

        begin(1 << 30);
        for (int i = 0; i < 100000; i++)
                str_add(&line, "\xe2\x82\xac"); /* 3 bytes: 64 KiB is no multiple */
        for (size_t at = 0; at < line.len; at += 5000) {
                size_t n = line.len - at < 5000 ? line.len - at : 5000;

                log_cut_feed(out.cut, 0, LOG_STREAM_STDOUT, 0, line.data + at, n, 0, 0);
        }
        log_cut_end(out.cut, 0, 0);
        assert_int_equal(out.n, 6);
        for (size_t i = 0; i + 1 < out.n; i++)
                assert_true(utf8_valid(out.entries[i].bytes, out.entries[i].n));
        add_stream(&out, -1, &all);
        assert_int_equal(all.len, line.len);
        assert_memory_equal(all.data, line.data, all.len);
        assert_consistent(&out);
        end();
}

TEST("bytes that are no text come out as they went in")
{
        scoped_str struct str raw = STR_INIT;
        scoped_str struct str all = STR_INIT;

        begin(1 << 30);
        for (int i = 0; i < 200000; i++)
                str_add_char(&raw, (char)(i * 7 + i / 256));
        for (size_t at = 0; at < raw.len; at += 777) {
                size_t n = raw.len - at < 777 ? raw.len - at : 777;

                log_cut_feed(out.cut, 0, LOG_STREAM_STDERR, 0, raw.data + at, n, (int64_t)at, 0);
        }
        log_cut_end(out.cut, 0, 0);
        add_stream(&out, LOG_STREAM_STDERR, &all);
        assert_int_equal(all.len, raw.len);
        assert_memory_equal(all.data, raw.data, all.len);
        assert_consistent(&out);
        end();
}

TEST("a value added by ::add-mask:: is hidden from its own line on, however the line is split")
{
        const char *text = "before hunter2hunter2\n::add-mask::hunter2hunter2\r\nafter "
                           "hunter2hunter2\nx ::add-mask::not-at-the-start\n";

        for (size_t split = 0; split <= strlen(text); split++) {
                scoped_str struct str all = STR_INIT;

                begin(1 << 30);
                log_cut_feed(out.cut, 0, LOG_STREAM_STDOUT, 0, text, split, 0, 0);
                log_cut_feed(out.cut, 0, LOG_STREAM_STDOUT, split, text + split,
                             strlen(text) - split, 0, 0);
                log_cut_end(out.cut, 0, 0);
                add_stream(&out, -1, &all);
                assert_string_equal(all.data, "before hunter2hunter2\n::add-mask::***\r\nafter "
                                              "***\nx ::add-mask::not-at-the-start\n");
                assert_string_equal(out.learned.data, "hunter2hunter2|");
                end();
        }
}

TEST("the value of ::add-mask:: may be percent-encoded, and a short one is refused aloud")
{
        scoped_str struct str all = STR_INIT;

        begin(1 << 30);
        feed(LOG_STREAM_STDOUT, "::add-mask::100%25-secret\n::add-mask::abc\n100%-secret abc\n", 0);
        log_cut_end(out.cut, 0, 0);
        assert_string_equal(out.learned.data, "100%-secret|");
        add_stream(&out, LOG_STREAM_STDOUT, &all);
        assert_non_null(strstr(all.data, "\n*** abc\n"));
        add_stream(&out, LOG_STREAM_ARGON, &all);
        assert_non_null(strstr(all.data, "::add-mask:: has no effect"));
        assert_null(strstr(all.data, "100%-secret"));
        end();
}

TEST("a secret is hidden across frames, and separately on each stream")
{
        scoped_str struct str all = STR_INIT;
        struct error err = {0};

        begin(1 << 30);
        assert_ok(mask_set_add(out.masks, "correct horse", 13, &err), err);
        feed(LOG_STREAM_STDOUT, "out corr", 0);
        feed(LOG_STREAM_STDERR, "err correct ho", 1);
        feed(LOG_STREAM_STDOUT, "ect horse\n", 2);
        feed(LOG_STREAM_STDERR, "rse\n", 3);
        log_cut_end(out.cut, 4, 4);
        add_stream(&out, -1, &all);
        assert_null(strstr(all.data, "horse"));
        str_clear(&all);
        add_stream(&out, LOG_STREAM_STDOUT, &all);
        assert_string_equal(all.data, "out ***\n");
        str_clear(&all);
        add_stream(&out, LOG_STREAM_STDERR, &all);
        assert_string_equal(all.data, "err ***\n");
        assert_consistent(&out);
        end();
}

TEST("a full log ends with one marker, and the tail goes on")
{
        scoped_str struct str tail = STR_INIT;
        scoped_str struct str all = STR_INIT;
        int64_t dropped = 0;

        begin(100);
        log_cut_tail_begin(out.cut, 0);
        for (int i = 0; i < 100; i++) {
                char line[32];

                snprintf(line, sizeof(line), "line %d\n", i);
                feed(LOG_STREAM_STDOUT, line, i * 100);
                dropped += log_cut_dropped(out.cut);
        }
        log_cut_end(out.cut, 10000, 10000);
        add_stream(&out, LOG_STREAM_STDOUT, &all);
        assert_true(all.len <= 100);
        assert_int_equal(all.data[all.len - 1], '\n');
        assert_true(dropped > 500);
        str_clear(&all);
        add_stream(&out, LOG_STREAM_ARGON, &all);
        assert_non_null(strstr(all.data, "the log is full (100 bytes, ARGON_LOG_MAX)"));
        assert_null(strstr(strstr(all.data, "the log is full") + 1, "the log is full"));
        assert_non_null(strstr(all.data, "bytes of output were not kept"));
        log_cut_tail(out.cut, &tail);
        assert_non_null(strstr(tail.data, "line 99"));
        assert_non_null(strstr(tail.data, "line 70"));
        assert_null(strstr(tail.data, "line 69"));
        assert_consistent(&out);
        end();
}

TEST("the tail is of its step, of whole lines, and valid UTF-8")
{
        scoped_str struct str tail = STR_INIT;

        begin(1 << 30);
        feed(LOG_STREAM_STDOUT, "of no step\n", 0);
        log_cut_tail_begin(out.cut, 1);
        log_cut_feed(out.cut, 1, LOG_STREAM_STDOUT, 0,
                     "good\nb\xff"
                     "d\n",
                     9, 100, 100);
        log_cut_feed(out.cut, 0, LOG_STREAM_STDOUT, 0, "of a step before\n", 17, 200, 200);
        log_cut_flush(out.cut, 1, 300, 300);
        log_cut_tail(out.cut, &tail);
        assert_string_equal(tail.data, "good\nb\xef\xbf\xbd"
                                       "d");
        end();
}

TEST("a note is a line of ours between whole lines")
{
        begin(1 << 30);
        feed(LOG_STREAM_STDOUT, "one\n", 0);
        feed(LOG_STREAM_STDOUT, "two\nthr", 1);
        log_cut_note(out.cut, 0, 2, "argon: %s", "a note");
        feed(LOG_STREAM_STDOUT, "ee\n", 100);
        assert_entry(1, LOG_STREAM_STDOUT, "two\n");
        assert_entry(2, LOG_STREAM_ARGON, "argon: a note\n");
        assert_entry(3, LOG_STREAM_STDOUT, "three\n");
        assert_consistent(&out);
        end();
}

/* A supervisor's stream: frames one after the other, each with a header. */
struct frame {
        enum log_stream stream;
        uint64_t offset;
        size_t n;
        char bytes[64];
};

#define FRAMES 400

static unsigned seed;

static unsigned roll(unsigned n)
{
        seed = seed * 1664525U + 1013904223U;
        return (seed >> 8) % n;
}

static uint64_t make_frames(struct frame *frames, struct str raw[3])
{
        static const char *const pieces[] = {"correct horse battery",
                                             "corr",
                                             "\n",
                                             "some text\n",
                                             ":",
                                             "::add-mask::",
                                             "add-mask::late secret\n",
                                             "late secret",
                                             "\r\n",
                                             "\xe2\x82\xac"};
        uint64_t offset = 0;

        for (size_t i = 0; i < FRAMES; i++) {
                struct frame *frame = &frames[i];
                const char *piece = pieces[roll(sizeof(pieces) / sizeof(*pieces))];
                size_t from = roll(2) ? 0 : roll((unsigned)strlen(piece));

                frame->stream = roll(4) ? LOG_STREAM_STDOUT : LOG_STREAM_STDERR;
                frame->offset = offset;
                frame->n = strlen(piece) - from;
                memcpy(frame->bytes, piece + from, frame->n);
                str_add_bytes(&raw[frame->stream], frame->bytes, frame->n);
                offset += 19 + frame->n;
        }
        return offset;
}

static void feed_frame(const struct frame *frame, int64_t now)
{
        log_cut_feed(out.cut, 0, frame->stream, frame->offset, frame->bytes, frame->n, now, now);
}

static size_t frame_at(const struct frame *frames, uint64_t offset)
{
        for (size_t i = 0; i < FRAMES; i++) {
                if (frames[i].offset == offset)
                        return i;
        }
        return FRAMES;
}

/* Dies at random places: what was not committed is gone, the rest is read again. */
static void feed_with_deaths(const struct frame *frames, uint64_t length)
{
        scoped_str struct str state = STR_INIT;
        uint64_t position = 0;
        size_t committed = 0;
        size_t n_committed_learned = 0;

        log_cut_save(out.cut, &state);
        for (size_t i = 0; i < FRAMES;) {
                feed_frame(&frames[i], (int64_t)i * 20);
                i++;
                if (out.n > committed && roll(3) > 0) {
                        uint64_t seen = i < FRAMES ? frames[i].offset : length;

                        position = log_cut_position(out.cut, seen);
                        str_clear(&state);
                        log_cut_save(out.cut, &state);
                        committed = out.n;
                        n_committed_learned = out.learned.len;
                }
                if (roll(10) == 0) {
                        struct unpack from = {state.data, state.len, false};

                        drop_entries(&out, committed);
                        log_cut_free(out.cut);
                        new_cut(&out);
                        log_cut_load(out.cut, &from);
                        assert_false(from.bad);
                        assert_int_equal(from.left, 0);
                        i = position == length ? FRAMES : frame_at(frames, position);
                }
        }
        assert_true(n_committed_learned <= out.learned.len);
        log_cut_end(out.cut, 0, 0);
}

static void collect(const struct frame *frames, uint64_t length, bool deaths, struct str ret[3])
{
        struct error err = {0};

        begin(1 << 30);
        assert_ok(mask_set_add(out.masks, "correct horse battery", 21, &err), err);
        /* what the job learned is kept over the death of a process: known from the beginning here
         */
        assert_ok(mask_set_add(out.masks, "late secret", 11, &err), err);
        if (deaths) {
                feed_with_deaths(frames, length);
        } else {
                for (size_t i = 0; i < FRAMES; i++)
                        feed_frame(&frames[i], (int64_t)i * 20);
                log_cut_end(out.cut, 0, 0);
        }
        assert_consistent(&out);
        add_stream(&out, LOG_STREAM_STDOUT, &ret[1]);
        add_stream(&out, LOG_STREAM_STDERR, &ret[2]);
        end();
}

TEST("a process that dies and goes on from the state leads to the same bytes")
{
        struct frame *frames = xcalloc(FRAMES, sizeof(*frames));

        for (unsigned round = 0; round < 300; round++) {
                struct str raw[3] = {STR_INIT, STR_INIT, STR_INIT};
                struct str alive[3] = {STR_INIT, STR_INIT, STR_INIT};
                struct str killed[3] = {STR_INIT, STR_INIT, STR_INIT};
                uint64_t length;

                seed = round * 7919 + 1;
                length = make_frames(frames, raw);
                collect(frames, length, false, alive);
                collect(frames, length, true, killed);
                for (int i = 1; i <= 2; i++) {
                        assert_int_equal(alive[i].len, killed[i].len);
                        assert_memory_equal(alive[i].data, killed[i].data, alive[i].len);
                        assert_null(strstr(alive[i].data, "correct horse battery"));
                }
                for (int i = 0; i < 3; i++) {
                        str_done(&raw[i]);
                        str_done(&alive[i]);
                        str_done(&killed[i]);
                }
        }
        free(frames);
}

TEST_MAIN()
