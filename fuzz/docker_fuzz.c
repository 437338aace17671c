/*
 * What a Docker daemon sends: progress of a pull, and the pieces of an attached stream, which must
 * come out the same in one go and byte by byte.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/engine/docker_pull.h"
#include "adapters/engine/docker_stream.h"
#include "base/error.h"
#include "base/str.h"

#include "base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
        if (!holds)
                abort();
}

static void see_line(void *data, const char *line)
{
        must(strlen(line) < 1024);
}

static void pull(const uint8_t *data, size_t size)
{
        struct docker_pull pull;
        struct error err = {0};

        docker_pull_init(&pull, see_line, NULL);
        pull.told = INT64_MIN / 2; /* tell at once */
        if (docker_pull_feed(&pull, (const char *)data, size) == 0 &&
            docker_pull_end(&pull, &err) < 0)
                must(err.kind > 0);
        must(pull.n_layers <= PULL_LAYERS_MAX && pull.line.len <= PULL_LINE_MAX);
        docker_pull_done(&pull);
}

static int stream(struct str *ret, const uint8_t *data, size_t size, size_t piece)
{
        struct docker_stream state = {0};

        for (size_t at = 0; at < size; at += piece) {
                const uint8_t *part = data + at;
                size_t left = size - at < piece ? size - at : piece;

                while (left > 0) {
                        const unsigned char *payload;
                        size_t n;
                        int which;
                        long used = docker_stream_next(&state, part, left, &payload, &n, &which);

                        if (used < 0)
                                return -1;
                        must(used >= 1 && (size_t)used <= left && n <= left);
                        must(n == 0 || (which >= 0 && which <= 2));
                        str_add_bytes(ret, payload, n);
                        part += used;
                        left -= (size_t)used;
                }
        }
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        scoped_str struct str whole = STR_INIT;
        scoped_str struct str single = STR_INIT;
        int first = stream(&whole, data, size, size ? size : 1);
        int second = stream(&single, data, size, 1);

        must(first == second);
        must(first < 0 || (whole.len == single.len && !memcmp(whole.data, single.data, whole.len)));
        pull(data, size);
        return 0;
}
