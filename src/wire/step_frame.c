/*
 * Why zeros are padding: over pipes, the process at one end may die in the middle of a frame and
 * its successor goes on in the same pipe. As the mark byte is not zero and the length is little
 * endian, a frame that is cut anywhere and completed with zeros becomes one of type 0 or one of its
 * own length with zeros at its end; no length can come out larger than it was. ACK with a shortened
 * offset repeats an older one, GO with a wrong sum is no go: nothing harmful can result.
 */
#include "wire/step_frame.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "wire/step_bytes.h"

#include "base/banned.h"

static int expect(const struct step_frame *frame, enum step_frame_type type, const char *name,
                  struct error *err)
{
        if (frame->type == type)
                return 0;
        return error_set(err, ERROR_INVALID, "frame %d where %s was expected", (int)frame->type,
                         name);
}

/* --- frames --- */

int step_frame_next(struct step_frame *ret, const void *bytes, size_t n, struct error *err)
{
        const unsigned char *at = bytes;
        size_t pad = 0;
        struct cursor c;
        uint32_t len;

        while (pad < n && at[pad] == 0)
                pad++;
        ret->size = pad;
        if (pad < n && at[pad] != STEP_FRAME_MARK)
                return error_set(err, ERROR_INVALID, "byte 0x%02x is not the start of a frame",
                                 at[pad]);
        if (n - pad < STEP_FRAME_HEADER)
                return 0;
        c = cursor_of(at + pad + 2, 4);
        len = get_u32(&c, "length");
        if (len > STEP_FRAME_MAX)
                return error_set(err, ERROR_LIMIT, "a frame of %u bytes; at most %d are allowed",
                                 len, STEP_FRAME_MAX);
        if (n - pad - STEP_FRAME_HEADER < len)
                return 0;
        ret->type = at[pad + 1];
        ret->payload = at + pad + STEP_FRAME_HEADER;
        ret->len = len;
        ret->size = pad + STEP_FRAME_HEADER + len;
        return 1;
}

void step_frame_pad(struct str *ret)
{
        str_reserve(ret, STEP_FRAME_HEADER + STEP_FRAME_MAX);
        memset(ret->data + ret->len, 0, STEP_FRAME_HEADER + STEP_FRAME_MAX + 1);
        ret->len += STEP_FRAME_HEADER + STEP_FRAME_MAX;
}

void step_frame_bare(struct str *ret, enum step_frame_type type)
{
        step_frame_close(ret, step_frame_open(ret, type));
}

void step_attach_encode(struct str *ret, const struct step_attach *attach)
{
        size_t start = step_frame_open(ret, STEP_FRAME_ATTACH);

        put_u32(ret, attach->version);
        str_add_bytes(ret, attach->nonce, STEP_NONCE);
        put_u64(ret, attach->resume);
        step_frame_close(ret, start);
}

int step_attach_decode(struct step_attach *ret, const struct step_frame *frame, struct error *err)
{
        struct cursor c = cursor_of(frame->payload, frame->len);
        const unsigned char *nonce;

        if (expect(frame, STEP_FRAME_ATTACH, "ATTACH", err) < 0)
                return -ERROR_INVALID;
        ret->version = get_u32(&c, "version");
        nonce = get_bytes(&c, STEP_NONCE, "nonce");
        if (nonce)
                memcpy(ret->nonce, nonce, STEP_NONCE);
        ret->resume = get_le(&c, 8, "resume");
        return cursor_end(&c, "ATTACH", err);
}

void step_hello_encode(struct str *ret, const struct step_hello *hello)
{
        size_t start = step_frame_open(ret, STEP_FRAME_HELLO);

        str_add_bytes(ret, hello->nonce, STEP_NONCE);
        put_u32(ret, hello->version);
        put_u8(ret, hello->planned);
        put_u8(ret, hello->ended);
        put_u64(ret, hello->base);
        put_u64(ret, hello->end);
        step_frame_close(ret, start);
}

int step_hello_decode(struct step_hello *ret, const struct step_frame *frame, struct error *err)
{
        struct cursor c = cursor_of(frame->payload, frame->len);
        const unsigned char *nonce;

        if (expect(frame, STEP_FRAME_HELLO, "HELLO", err) < 0)
                return -ERROR_INVALID;
        nonce = get_bytes(&c, STEP_NONCE, "nonce");
        if (nonce)
                memcpy(ret->nonce, nonce, STEP_NONCE);
        ret->version = get_u32(&c, "version");
        ret->planned = get_bool(&c, "planned");
        ret->ended = get_bool(&c, "ended");
        ret->base = get_le(&c, 8, "base");
        ret->end = get_le(&c, 8, "end");
        if (ret->end < ret->base || ret->end - ret->base > STEP_UNACKED_MAX)
                c.broken = c.broken ? c.broken : "end";
        return cursor_end(&c, "HELLO", err);
}

void step_ack_encode(struct str *ret, uint64_t offset)
{
        size_t start = step_frame_open(ret, STEP_FRAME_ACK);

        put_u64(ret, offset);
        step_frame_close(ret, start);
}

int step_ack_decode(uint64_t *ret, const struct step_frame *frame, struct error *err)
{
        struct cursor c = cursor_of(frame->payload, frame->len);

        if (expect(frame, STEP_FRAME_ACK, "ACK", err) < 0)
                return -ERROR_INVALID;
        *ret = get_le(&c, 8, "offset");
        return cursor_end(&c, "ACK", err);
}

int step_go_decode(struct step_go *ret, const struct step_frame *frame, struct error *err)
{
        struct cursor c = cursor_of(frame->payload, frame->len);

        if (expect(frame, STEP_FRAME_GO, "GO", err) < 0)
                return -ERROR_INVALID;
        ret->length = get_u32(&c, "length");
        ret->sum = get_u32(&c, "sum");
        return cursor_end(&c, "GO", err);
}

/* --- the stream --- */

void step_output_header(unsigned char *ret, const struct step_output *output)
{
        uint64_t ms = (uint64_t)output->ms;

        store_header(ret, STEP_FRAME_OUTPUT, STEP_OUTPUT_HEADER + output->n);
        ret += STEP_FRAME_HEADER;
        store_u32(ret, output->step);
        ret[4] = (unsigned char)output->stream;
        store_u32(ret + 5, (uint32_t)ms);
        store_u32(ret + 9, (uint32_t)(ms >> 32));
}

static void output_encode(struct str *ret, const struct step_output *output)
{
        unsigned char header[STEP_FRAME_HEADER + STEP_OUTPUT_HEADER];

        step_output_header(header, output);
        str_add_bytes(ret, header, sizeof(header));
        str_add_bytes(ret, output->bytes, output->n);
}

static void finished_encode(struct str *ret, const struct step_finished *finished)
{
        put_u32(ret, finished->step);
        put_u32(ret, (uint32_t)finished->exit_code);
        put_u32(ret, (uint32_t)finished->signal);
        put_u64(ret, (uint64_t)finished->ms);
        put_u64(ret, (uint64_t)finished->duration_ms);
        put_u64(ret, (uint64_t)finished->cpu_ms);
        put_u64(ret, (uint64_t)finished->max_rss);
        put_u64(ret, (uint64_t)finished->blocked_ms);
        put_u32(ret, finished->killed);
        put_u8(ret, finished->cause);
        put_text(ret, finished->text, STEP_SENTENCE_MAX);
        put_text(ret, finished->warning, STEP_SENTENCE_MAX);
}

static void end_encode(struct str *ret, const struct step_job_end *end)
{
        put_u8(ret, end->result);
        put_u32(ret, (uint32_t)end->step);
        put_u32(ret, (uint32_t)end->exit_code);
        put_u32(ret, (uint32_t)end->signal);
        put_u64(ret, (uint64_t)end->ms);
        put_u32(ret, end->killed);
        put_u8(ret, end->cause);
        put_text(ret, end->text, STEP_SENTENCE_MAX);
        put_text(ret, end->warning, STEP_SENTENCE_MAX);
}

void step_event_encode(struct str *ret, const struct step_event *event)
{
        size_t start;

        if (event->type == STEP_FRAME_OUTPUT) {
                output_encode(ret, &event->output);
                return;
        }
        start = step_frame_open(ret, event->type);
        if (event->type == STEP_FRAME_STEP_STARTED) {
                put_u32(ret, event->started.step);
                put_u64(ret, (uint64_t)event->started.ms);
        } else if (event->type == STEP_FRAME_STEP_FINISHED) {
                finished_encode(ret, &event->finished);
        } else if (event->type == STEP_FRAME_JOB_END) {
                end_encode(ret, &event->end);
        }
        step_frame_close(ret, start);
}

static uint32_t get_index(struct cursor *c)
{
        int step = get_small(c, STEP_STEPS_MAX - 1, "step");

        if (step < 0)
                c->broken = c->broken ? c->broken : "step";
        return step < 0 ? 0 : (uint32_t)step;
}

static int started_decode(struct step_started *ret, struct cursor *c, struct error *err)
{
        ret->step = get_index(c);
        ret->ms = get_count(c, STEP_TIME_MAX_MS, "ms");
        return cursor_end(c, "STEP_STARTED", err);
}

static int output_decode(struct step_output *ret, struct cursor *c, struct error *err)
{
        unsigned stream;

        ret->step = get_index(c);
        stream = get_choice(c, STEP_STREAM_STDERR + 1, "stream");
        if (stream == 0)
                c->broken = c->broken ? c->broken : "stream";
        ret->stream = stream;
        ret->ms = get_count(c, STEP_TIME_MAX_MS, "ms");
        ret->n = c->left;
        ret->bytes = get_bytes(c, c->left, "bytes");
        return cursor_end(c, "OUTPUT", err);
}

static int finished_decode(struct step_finished *ret, struct cursor *c, struct error *err)
{
        ret->step = get_index(c);
        ret->exit_code = get_small(c, 255, "exit code");
        ret->signal = get_small(c, 64, "signal");
        ret->ms = get_count(c, STEP_TIME_MAX_MS, "ms");
        ret->duration_ms = get_count(c, STEP_TIME_MAX_MS, "duration");
        ret->cpu_ms = get_count(c, INT64_MAX, "cpu time");
        ret->max_rss = get_count(c, INT64_MAX, "memory");
        ret->blocked_ms = get_count(c, STEP_TIME_MAX_MS, "blocked time");
        ret->killed = get_u32(c, "killed");
        ret->cause = get_choice(c, STEP_CAUSES, "cause");
        ret->text = get_text(c, STEP_SENTENCE_MAX, "text");
        ret->warning = get_text(c, STEP_SENTENCE_MAX, "warning");
        return cursor_end(c, "STEP_FINISHED", err);
}

static int end_decode(struct step_job_end *ret, struct cursor *c, struct error *err)
{
        ret->result = get_choice(c, STEP_JOB_RESULTS, "result");
        ret->step = get_small(c, STEP_STEPS_MAX - 1, "step");
        ret->exit_code = get_small(c, 255, "exit code");
        ret->signal = get_small(c, 64, "signal");
        ret->ms = get_count(c, STEP_TIME_MAX_MS, "ms");
        ret->killed = get_u32(c, "killed");
        ret->cause = get_choice(c, STEP_CAUSES, "cause");
        ret->text = get_text(c, STEP_SENTENCE_MAX, "text");
        ret->warning = get_text(c, STEP_SENTENCE_MAX, "warning");
        return cursor_end(c, "JOB_END", err);
}

int step_event_decode(struct step_event *ret, const struct step_frame *frame, struct error *err)
{
        struct cursor c = cursor_of(frame->payload, frame->len);

        ret->type = frame->type;
        switch (frame->type) {
        case STEP_FRAME_STEP_STARTED:
                return started_decode(&ret->started, &c, err);
        case STEP_FRAME_OUTPUT:
                return output_decode(&ret->output, &c, err);
        case STEP_FRAME_STEP_FINISHED:
                return finished_decode(&ret->finished, &c, err);
        case STEP_FRAME_JOB_END:
                return end_decode(&ret->end, &c, err);
        default:
                return error_set(err, ERROR_INVALID, "frame %d is not part of a job's stream",
                                 (int)frame->type);
        }
}

const char *step_cause_name(enum step_cause cause)
{
        static const char *const names[STEP_CAUSES] = {
                "",          "timeout", "job timeout", "oom",   "pids",     "disk",
                "cancelled", "stopped", "orphaned",    "start", "internal",
        };

        return cause < STEP_CAUSES ? names[cause] : "";
}
