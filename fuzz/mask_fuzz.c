/*
 * The masking stream against its slow reference. Input: the number of secrets and the size of the
 * feeds in the first byte, then the secrets, each ended by 0xff, then the text.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "domain/mask.h"
#include "tests/support/mask_reference.h"

#include "base/banned.h"

/* The reference takes time of pieces times text. */
#define SECRET_MAX 80
#define TEXT_MAX 300

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct mask_set *set;
        struct mask_stream *stream;
        struct reference reference;
        struct str expected = STR_INIT;
        struct str out = STR_INIT;
        size_t secrets;
        size_t each;

        if (size < 2)
                return 0;
        secrets = data[0] & 3;
        each = (data[0] >> 2 & 31) + 1;
        data++;
        size--;
        set = mask_set_new();
        stream = mask_stream_new(set);
        reference_init(&reference);
        for (size_t i = 0; i <= secrets; i++) {
                const uint8_t *end = memchr(data, 0xff, size);
                size_t n = end ? (size_t)(end - data) : 0;

                if (!end || n > SECRET_MAX)
                        break;
                if (mask_set_add(set, (const char *)data, n, NULL) == 0)
                        reference_add(&reference, (const char *)data, n);
                data += n + 1;
                size -= n + 1;
        }
        size = size < TEXT_MAX ? size : TEXT_MAX;
        reference_mask(&reference, data, size, &expected);
        for (size_t at = 0; at < size; at += each)
                mask_stream_feed(stream, data + at, size - at < each ? size - at : each, &out);
        mask_stream_flush(stream, &out);
        if (out.len != expected.len || memcmp(out.data, expected.data, out.len) != 0) {
                fprintf(stderr, "stream:    %s\nreference: %s\n", out.data, expected.data);
                abort();
        }
        mask_stream_free(stream);
        mask_set_free(set);
        reference_done(&reference);
        str_done(&expected);
        str_done(&out);
        return 0;
}
