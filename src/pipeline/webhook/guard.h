#pragma once
/*
 * guard - makes JSON from outside harmless for a parser that keeps whole tokens in memory
 *
 * Checks that the bytes are well-formed UTF-8 without NUL (neither raw nor as \u0000), shortens
 * strings to GUARD_STRING_MAX encoded bytes (never within a character or an escape) and refuses
 * numbers over GUARD_NUMBER_MAX digits. Everything else passes as it is: whether it is JSON is the
 * parser's business. Holds no bytes.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUARD_STRING_MAX (64 * 1024)
#define GUARD_NUMBER_MAX 256

/** struct guard - embedded; start with {0} and the sink */
struct guard {
        /* takes a piece; false: no more is wanted */
        bool (*sink)(void *data, const char *bytes, size_t n);
        void *data;
        const char *failed; /* why, or NULL */
        uint64_t seen;      /* bytes so far: where it failed */
        bool in_string;
        bool skipping;     /* the rest of a long string */
        size_t length;     /* of the string or the number */
        int escape;        /* 0: none, 1: after the backslash, 2..5: hex digits */
        unsigned value;    /* of the hex digits */
        int more;          /* bytes that a character still needs */
        unsigned char low; /* what the next of them may be */
        unsigned char high;
};

void guard_add(struct guard *guard, const char *bytes, size_t n);
/** guard_end() - false when the bytes end within a character or a string (behind the last value
 * yajl would let that pass) */
bool guard_end(struct guard *guard);
