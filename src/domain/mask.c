/*
 * A stream keeps the bytes that are not decided yet, a mark for each of them, and how many of them
 * have gone out already. Each feed looks at everything it holds twice:
 *
 *  - as text without terminal sequences and line ends, so that colours inside a secret, CR LF in a
 *    secret of several lines and the wrapping of base64 do not hide it;
 *  - when a terminal sequence is there at all, also as it is, so that a sequence cannot carry one.
 *
 * At each place the longest piece that stands there is marked. A place is undecided while a piece
 * may begin there that is longer than what is left; from the first such place on bytes are held.
 * Which bytes are marked depends on the bytes alone, never on how they were cut into feeds.
 *
 * One thing is traded for live output. Were each line end held whose last letters may begin a
 * secret, a line would often wait for the next one. So what stands before a line end goes out as
 * long as it is fewer than MASK_LENGTH_MIN bytes of a secret; if the rest of it follows, that rest
 * is masked.
 */
#include "domain/mask.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "domain/mask_set.h"

#include "base/banned.h"

#define STARS "***"
/* A job that pads a secret with more terminal sequences than this gets it printed. */
#define HELD_MAX (8 * 1024)
#define FEED_MAX (64 * 1024)

enum mark { MARK_PLAIN, MARK_SECRET, MARK_WITHIN /* a terminal sequence within a secret */ };

/* Clean bytes from `clean` on stand at `raw` on. */
struct segment {
        size_t clean;
        size_t raw;
};

struct mask_stream {
        struct mask_set *set;
        struct str raw;
        struct str marks;
        size_t emitted;   /* of raw, from its beginning */
        bool stars;       /* the last thing emitted was STARS */
        size_t marked;    /* no mark stands from here on */
        struct str given; /* marks that mask_stream_load() brought, of the first bytes ever fed */
        size_t forgotten; /* bytes that were fed and are not in raw any more */
        struct str clean;
        struct segment *segments;
        size_t n_segments;
        size_t cap_segments;
};

/* What the two looks found out: from where on to keep, from where on to hold back. */
struct horizon {
        size_t keep;
        size_t hold;
};

struct mask_stream *mask_stream_new(struct mask_set *set)
{
        struct mask_stream *stream = xcalloc(1, sizeof(*stream));

        stream->set = set;
        str_init(&stream->raw);
        str_init(&stream->marks);
        str_init(&stream->given);
        str_init(&stream->clean);
        return stream;
}

static void wipe(struct str *str)
{
        explicit_bzero(str->data, str->cap);
        str_done(str);
}

void mask_stream_free(struct mask_stream *stream)
{
        if (!stream)
                return;
        wipe(&stream->raw);
        wipe(&stream->clean);
        str_done(&stream->marks);
        str_done(&stream->given);
        free(stream->segments);
        free(stream);
}

/* --- the clean view --- */

static void add_segment(struct mask_stream *stream, size_t raw, const char *bytes, size_t n)
{
        if (!n)
                return;
        if (stream->n_segments == stream->cap_segments) {
                stream->cap_segments = stream->cap_segments ? stream->cap_segments * 2 : 64;
                stream->segments = xrealloc(stream->segments,
                                            stream->cap_segments * sizeof(*stream->segments));
        }
        stream->segments[stream->n_segments++] = (struct segment){stream->clean.len, raw};
        str_add_bytes(&stream->clean, bytes, n);
}

/* The next control character from `at` on; eight bytes at a time while there is none. */
static size_t next_control(const unsigned char *raw, size_t n, size_t at)
{
        const uint64_t ones = UINT64_C(0x0101010101010101);
        uint64_t eight;

        for (; at + sizeof(eight) <= n; at += sizeof(eight)) {
                memcpy(&eight, raw + at, sizeof(eight));
                if ((eight - ones * 0x20) & ~eight & ones * 0x80)
                        break;
        }
        while (at < n && raw[at] >= 0x20)
                at++;
        return at;
}

/* Return: where a sequence begins that the end of the bytes cuts, or their end. */
static size_t make_clean(struct mask_stream *stream, bool *ret_sequences)
{
        const unsigned char *raw = (const unsigned char *)stream->raw.data;
        size_t n = stream->raw.len;
        size_t from = 0;
        size_t at = 0;

        str_clear(&stream->clean);
        str_reserve(&stream->clean, n);
        stream->n_segments = 0;
        *ret_sequences = false;
        while ((at = next_control(raw, n, at)) < n) {
                int length = raw[at] == '\n' || raw[at] == '\r';

                if (raw[at] == 0x1b) {
                        length = mask_sequence(raw + at, n - at);
                        *ret_sequences = true;
                }
                if (length == 0) {
                        at++;
                        continue;
                }
                add_segment(stream, from, stream->raw.data + from, at - from);
                if (length < 0)
                        return at;
                at += (size_t)length;
                from = at;
        }
        add_segment(stream, from, stream->raw.data + from, n - from);
        return n;
}

/* Where the clean byte stands in raw. */
static size_t raw_of(const struct mask_stream *stream, size_t clean)
{
        size_t low = 0;
        size_t high = stream->n_segments;

        while (high - low > 1) {
                size_t middle = low + (high - low) / 2;

                if (stream->segments[middle].clean <= clean)
                        low = middle;
                else
                        high = middle;
        }
        return stream->segments[low].raw + (clean - stream->segments[low].clean);
}

/* --- marks --- */

/*
 * How many of the first bytes of a secret stay as they are: a line ends after them while they are
 * too few to be masked. @places: of each byte in raw.
 */
static size_t unmasked_head(const struct mask_stream *stream, const size_t *places)
{
        size_t head = 0;

        for (size_t i = 1; i < MASK_LENGTH_MIN; i++) {
                if (memchr(stream->raw.data + places[i - 1], '\n', places[i] - places[i - 1]))
                        head = i;
        }
        return head;
}

static void marked(struct mask_stream *stream, size_t end)
{
        if (stream->marked < end)
                stream->marked = end;
}

static void mark_clean(struct mask_stream *stream, size_t clean, size_t n)
{
        size_t places[MASK_PIECE];
        size_t head;

        for (size_t i = 0; i < n; i++)
                places[i] = raw_of(stream, clean + i);
        head = unmasked_head(stream, places);
        for (size_t i = head; i < n; i++) {
                marked(stream, places[i] + 1);
                stream->marks.data[places[i]] = MARK_SECRET;
                for (size_t at = places[i] + 1; i + 1 < n && at < places[i + 1]; at++) {
                        char c = stream->raw.data[at];

                        if (c != '\n' && c != '\r' && stream->marks.data[at] == MARK_PLAIN)
                                stream->marks.data[at] = MARK_WITHIN;
                }
        }
}

static void mark_raw(struct mask_stream *stream, size_t at, size_t n)
{
        marked(stream, at + n);
        memset(stream->marks.data + at, MARK_SECRET, n);
}

/* --- looking --- */

/*
 * The longest piece at p that is there as a whole, 0: none; n bytes are left, and pieces of these
 * lengths begin like this. @ret_more: what comes next may make it one, or a longer one.
 */
static size_t longest_piece(const struct mask_set *set, const unsigned char *p, size_t n,
                            mask_lengths lengths, bool *ret_more)
{
        *ret_more = n < MASK_PIECE && lengths >> n && mask_set_may_begin(set, p, n);
        for (size_t length = n < MASK_PIECE ? n : MASK_PIECE; length >= MASK_LENGTH_MIN; length--) {
                if (lengths >> (length - 1) & 1 && mask_set_has(set, p, length))
                        return length;
        }
        return 0;
}

/* The beginning of the terminal sequence that the byte is part of, or the byte itself. */
static size_t sequence_start(const struct mask_stream *stream, size_t at)
{
        const unsigned char *raw = (const unsigned char *)stream->raw.data;
        size_t least = at > MASK_SEQUENCE_MAX ? at - MASK_SEQUENCE_MAX : 0;

        for (size_t i = at; i-- > least;) {
                int n = raw[i] == 0x1b ? mask_sequence(raw + i, stream->raw.len - i) : 0;

                if (n < 0 || (size_t)n > at - i)
                        return i;
        }
        return at;
}

/*
 * A piece of the clean view may begin at raw and goes on to the end. @few: so far it has fewer than
 * MASK_LENGTH_MIN bytes: then what stands before the last line end is free.
 */
static void undecided_clean(struct mask_stream *stream, struct horizon *horizon, size_t raw,
                            bool few)
{
        const char *from = stream->raw.data + raw;
        const char *end = few ? memrchr(from, '\n', stream->raw.len - raw) : NULL;
        size_t hold = end ? (size_t)(end + 1 - stream->raw.data) : raw;

        if (raw < horizon->keep)
                horizon->keep = raw;
        if (hold < horizon->hold)
                horizon->hold = hold;
}

static void undecided_raw(struct mask_stream *stream, struct horizon *horizon, size_t raw)
{
        size_t start = sequence_start(stream, raw);

        if (start < horizon->keep)
                horizon->keep = start;
        if (raw < horizon->hold)
                horizon->hold = raw;
}

static void undecided(struct mask_stream *stream, struct horizon *horizon, bool clean, size_t at,
                      bool few)
{
        if (clean)
                undecided_clean(stream, horizon, raw_of(stream, at), few);
        else
                undecided_raw(stream, horizon, at);
}

/* Look at a text; `clean` says whether it is the clean view or raw itself. */
static void look(struct mask_stream *stream, const struct str *text, bool clean, bool flush,
                 struct horizon *horizon)
{
        const unsigned char *p = (const unsigned char *)text->data;
        size_t n = text->len;
        size_t at = 0;

        for (;; at++) {
                mask_lengths lengths;
                size_t found;
                bool more;

                at = mask_set_next(stream->set, p, n, at, &lengths);
                if (!lengths)
                        break;
                found = longest_piece(stream->set, p + at, n - at, lengths, &more);
                if (more && !flush)
                        undecided(stream, horizon, clean, at, false);
                if (found && clean)
                        mark_clean(stream, at, found);
                else if (found)
                        mark_raw(stream, at, found);
        }
        for (; at < n && !flush; at++) {
                if (mask_set_may_begin(stream->set, p + at, n - at))
                        undecided(stream, horizon, clean, at, true);
        }
}

/* --- emitting --- */

static void emit(struct mask_stream *stream, size_t end, struct str *ret)
{
        const char *raw = stream->raw.data;
        const char *marks = stream->marks.data;
        size_t at = stream->emitted;

        while (at < end && at < stream->marked) {
                const char mark = marks[at];
                size_t from = at;

                while (at < end && marks[at] == mark)
                        at++;
                if (mark != MARK_SECRET) {
                        str_add_bytes(ret, raw + from, at - from);
                        stream->stars = stream->stars && mark == MARK_WITHIN;
                } else if (!stream->stars) {
                        str_add(ret, STARS);
                        stream->stars = true;
                }
        }
        if (at < end) {
                str_add_bytes(ret, raw + at, end - at);
                stream->stars = false;
        }
        if (end > stream->emitted)
                stream->emitted = end;
}

static void forget(struct mask_stream *stream, size_t n)
{
        explicit_bzero(stream->raw.data, n);
        str_consume(&stream->raw, n);
        str_consume(&stream->marks, n);
        stream->emitted = stream->emitted > n ? stream->emitted - n : 0;
        stream->forgotten += n;
        stream->marked = stream->marked > n ? stream->marked - n : 0;
}

/* Decide what can be decided (everything, when flush) and emit it. */
static void decide(struct mask_stream *stream, bool flush, struct str *ret)
{
        struct horizon horizon = {stream->raw.len, stream->raw.len};
        bool sequences;
        size_t cut = make_clean(stream, &sequences);

        if (!flush && cut < stream->raw.len)
                horizon.keep = horizon.hold = cut;
        look(stream, &stream->clean, true, flush, &horizon);
        if (sequences)
                look(stream, &stream->raw, false, flush, &horizon);
        if (stream->raw.len - horizon.keep > HELD_MAX)
                horizon.keep = horizon.hold = stream->raw.len;
        emit(stream, horizon.hold, ret);
        forget(stream, horizon.keep < stream->emitted ? horizon.keep : stream->emitted);
}

/* New bytes at the end of raw, with their marks. */
static void append(struct mask_stream *stream, const char *bytes, size_t n)
{
        size_t from = stream->raw.len;

        str_add_bytes(&stream->raw, bytes, n);
        str_reserve(&stream->marks, n);
        memset(stream->marks.data + from, MARK_PLAIN, n);
        stream->marks.len += n;
        for (size_t i = from; i < from + n && stream->forgotten + i < stream->given.len; i++) {
                stream->marks.data[i] = stream->given.data[stream->forgotten + i];
                marked(stream, i + 1);
        }
}

void mask_stream_feed(struct mask_stream *stream, const void *bytes, size_t n, struct str *ret)
{
        const char *at = bytes;

        if (mask_set_empty(stream->set) && !stream->given.len) {
                str_add_bytes(ret, bytes, n);
                return;
        }
        while (n > 0) {
                size_t step = n < FEED_MAX ? n : FEED_MAX;

                append(stream, at, step);
                decide(stream, false, ret);
                at += step;
                n -= step;
        }
}

void mask_stream_flush(struct mask_stream *stream, struct str *ret)
{
        if (stream->raw.len)
                decide(stream, true, ret);
        forget(stream, stream->raw.len);
        stream->emitted = 0;
        stream->stars = false;
}

size_t mask_stream_held(const struct mask_stream *stream)
{
        return stream->raw.len > stream->emitted ? stream->raw.len - stream->emitted : 0;
}

size_t mask_stream_kept(const struct mask_stream *stream)
{
        return stream->raw.len;
}

/* Marks tell where secrets are, not what they are: they may lie on a disk, raw may not. */
void mask_stream_save(const struct mask_stream *stream, struct str *ret)
{
        uint64_t emitted = stream->emitted;
        size_t done = stream->forgotten + stream->raw.len;

        str_add_char(ret, (char)stream->stars);
        str_add_bytes(ret, &emitted, sizeof(emitted));
        str_add_bytes(ret, stream->marks.data, stream->marks.len);
        if (done < stream->given.len)
                str_add_bytes(ret, stream->given.data + done, stream->given.len - done);
}

bool mask_stream_load(struct mask_stream *stream, const char *saved, size_t n)
{
        uint64_t emitted;

        if (n < 1 + sizeof(emitted))
                return false;
        memcpy(&emitted, saved + 1, sizeof(emitted));
        stream->stars = saved[0] != 0;
        stream->emitted = (size_t)emitted;
        str_add_bytes(&stream->given, saved + 1 + sizeof(emitted), n - 1 - sizeof(emitted));
        return emitted <= stream->given.len;
}

void mask_text(struct mask_set *set, const char *text, size_t n, struct str *ret)
{
        struct mask_stream *stream = mask_stream_new(set);

        mask_stream_feed(stream, text, n, ret);
        mask_stream_flush(stream, ret);
        mask_stream_free(stream);
}
