#pragma once
/*
 * pack - numbers and byte strings one after the other, for what only this program reads back
 *
 * Host byte order: the bytes never leave the machine. unpack_*() of a text that is too short give
 * zeros and set `bad`, so that a caller asks once at the end.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/str.h"

struct unpack {
        const char *at;
        size_t left;
        bool bad;
};

static inline void pack_int(struct str *str, int64_t value)
{
        str_add_bytes(str, &value, sizeof(value));
}

static inline void pack_bytes(struct str *str, const void *bytes, size_t n)
{
        pack_int(str, (int64_t)n);
        str_add_bytes(str, bytes, n);
}

static inline void pack_text(struct str *str, const char *text)
{
        pack_bytes(str, text ? text : "", text ? strlen(text) : 0);
}

static inline int64_t unpack_int(struct unpack *unpack)
{
        int64_t value = 0;

        if (unpack->left < sizeof(value)) {
                unpack->bad = true;
                return 0;
        }
        memcpy(&value, unpack->at, sizeof(value));
        unpack->at += sizeof(value);
        unpack->left -= sizeof(value);
        return value;
}

/** unpack_bytes() - a view into the packed text */
static inline const char *unpack_bytes(struct unpack *unpack, size_t *ret_n)
{
        int64_t n = unpack_int(unpack);
        const char *bytes = unpack->at;

        if (n < 0 || (uint64_t)n > unpack->left) {
                unpack->bad = true;
                n = 0;
        }
        unpack->at += n;
        unpack->left -= (size_t)n;
        *ret_n = (size_t)n;
        return bytes;
}
