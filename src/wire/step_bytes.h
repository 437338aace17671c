#pragma once
/*
 * step_bytes - integers and texts inside the frames of step_frame.h
 *
 * Integers are little endian; texts are a 32-bit length, the bytes and a NUL, so that a decoded
 * text is a C string inside the frame and nothing has to be copied. A cursor remembers the first
 * member that was wrong; decoders read on (zeros, empty texts) and look once at the end:
 * cursor_end().
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "wire/step_frame.h"

#define STEP_FRAME_MARK 0xa5

/* --- writing --- */

static inline void put_u8(struct str *ret, unsigned value)
{
        str_add_char(ret, (char)value);
}

static inline void put_le(struct str *ret, uint64_t value, unsigned bytes)
{
        for (unsigned i = 0; i < bytes; i++)
                put_u8(ret, (unsigned)(value >> (8 * i)) & 0xff);
}

static inline void put_u32(struct str *ret, uint32_t value)
{
        put_le(ret, value, 4);
}

static inline void put_u64(struct str *ret, uint64_t value)
{
        put_le(ret, value, 8);
}

static inline void put_text(struct str *ret, const char *text, size_t max)
{
        size_t n = text ? strnlen(text, max) : 0;

        put_u32(ret, (uint32_t)n);
        str_add_bytes(ret, text, n);
        put_u8(ret, 0);
}

static inline void store_u32(unsigned char *at, uint32_t value)
{
        for (unsigned i = 0; i < 4; i++)
                at[i] = (unsigned char)(value >> (8 * i));
}

static inline void store_header(unsigned char *at, enum step_frame_type type, size_t payload)
{
        at[0] = STEP_FRAME_MARK;
        at[1] = (unsigned char)type;
        store_u32(at + 2, (uint32_t)payload);
}

/* Opens a frame; step_frame_close() fills in the length. */
static inline size_t step_frame_open(struct str *ret, enum step_frame_type type)
{
        size_t start = ret->len;
        unsigned char header[STEP_FRAME_HEADER];

        store_header(header, type, 0);
        str_add_bytes(ret, header, sizeof(header));
        return start;
}

static inline void step_frame_close(struct str *ret, size_t start)
{
        store_u32((unsigned char *)ret->data + start + 2,
                  (uint32_t)(ret->len - start - STEP_FRAME_HEADER));
}

/* --- reading --- */

struct cursor {
        const unsigned char *at;
        size_t left;
        const char *broken; /* name of the first member that was wrong */
};

static inline struct cursor cursor_of(const void *bytes, size_t n)
{
        return (struct cursor){.at = bytes, .left = n};
}

static inline uint64_t get_le(struct cursor *c, unsigned bytes, const char *what)
{
        uint64_t value = 0;

        if (c->broken || c->left < bytes) {
                c->broken = c->broken ? c->broken : what;
                return 0;
        }
        for (unsigned i = 0; i < bytes; i++)
                value |= (uint64_t)c->at[i] << (8 * i);
        c->at += bytes;
        c->left -= bytes;
        return value;
}

static inline uint32_t get_u32(struct cursor *c, const char *what)
{
        return (uint32_t)get_le(c, 4, what);
}

static inline unsigned get_choice(struct cursor *c, unsigned limit, const char *what)
{
        unsigned value = (unsigned)get_le(c, 1, what);

        if (value < limit)
                return value;
        c->broken = c->broken ? c->broken : what;
        return 0;
}

static inline bool get_bool(struct cursor *c, const char *what)
{
        return get_choice(c, 2, what);
}

static inline int64_t get_count(struct cursor *c, int64_t max, const char *what)
{
        uint64_t value = get_le(c, 8, what);

        if (value <= (uint64_t)max)
                return (int64_t)value;
        c->broken = c->broken ? c->broken : what;
        return 0;
}

/* Exit codes, signals and step numbers: -1…max. */
static inline int get_small(struct cursor *c, int max, const char *what)
{
        uint32_t value = get_u32(c, what);

        if (value == UINT32_MAX)
                return -1;
        if (value <= (uint32_t)max)
                return (int)value;
        c->broken = c->broken ? c->broken : what;
        return 0;
}

static inline const unsigned char *get_bytes(struct cursor *c, size_t n, const char *what)
{
        const unsigned char *at = c->at;

        if (c->broken || c->left < n) {
                c->broken = c->broken ? c->broken : what;
                return NULL;
        }
        c->at += n;
        c->left -= n;
        return at;
}

static inline const char *get_text(struct cursor *c, size_t max, const char *what)
{
        uint32_t n = get_u32(c, what);
        const char *text;

        if (n > max)
                c->broken = c->broken ? c->broken : what;
        text = (const char *)get_bytes(c, (size_t)n + 1, what);
        if (!text)
                return "";
        if (memchr(text, '\0', (size_t)n + 1) == text + n)
                return text;
        c->broken = what;
        return "";
}

static inline int cursor_end(const struct cursor *c, const char *frame, struct error *err)
{
        if (c->broken)
                return error_set(err, ERROR_INVALID, "frame %s: bad or missing %s", frame,
                                 c->broken);
        if (c->left)
                return error_set(err, ERROR_INVALID, "frame %s: %zu bytes too many", frame,
                                 c->left);
        return 0;
}
