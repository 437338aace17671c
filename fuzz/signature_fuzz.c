/*
 * The header X-Hub-Signature-256 against a body: the input is the header, a zero byte, the body.
 * Only the one right text may be taken.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/scoped.h"
#include "base/str.h"
#include "domain/signature.h"

#include "base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
        if (!holds)
                abort();
}

static bool check(const struct signature_keys *keys, const uint8_t *body, size_t n, size_t piece,
                  const char *header)
{
        scoped(signature) struct signature *signature = signature_new(keys);
        char sha256[65];
        bool right;

        for (size_t i = 0; i < n; i += piece)
                signature_add(signature, body + i, piece < n - i ? piece : n - i);
        right = signature_check(signature, header, sha256);
        must(strlen(sha256) == 64);
        return right;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        scoped(signature_keys) struct signature_keys *keys = NULL;
        const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
        scoped_text char *header = NULL;
        const uint8_t *body;
        size_t n;
        char made[72];

        if (!zero)
                return 0;
        must(signature_keys_new(&keys, "first\nsecond", NULL) == 0);
        header = text_copy((const char *)data);
        body = zero + 1;
        n = size - (size_t)(body - data);
        signature_make(keys, body, n, made);
        must(signature_header_valid(made));
        must(check(keys, body, n, 1 + n % 5, made));
        if (check(keys, body, n, n ? n : 1, header)) {
                must(signature_header_valid(header));
                must(strlen(header) == strlen(made));
        } else {
                must(strcmp(header, made) != 0);
        }
        return 0;
}
