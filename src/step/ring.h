#pragma once
/*
 * ring - the bytes of the job's stream that the executor has not acknowledged yet
 *
 * Every byte has an offset from the beginning of the job; held are those in [base, end), at most
 * STEP_UNACKED_MAX. Memory is touched only as far as it was ever needed: each time the ring runs
 * empty it starts again at its first page.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

struct ring {
        unsigned char *data;
        uint64_t origin; /* offset of the byte at data[0], modulo the size */
        uint64_t base;
        uint64_t end;
};

int ring_open(struct ring *ring, struct error *err);
/** ring_room() - how many bytes ring_put() may take */
size_t ring_room(const struct ring *ring);
/** ring_put() - append n bytes, at most ring_room() */
void ring_put(struct ring *ring, const void *bytes, size_t n);
/** ring_peek() - bytes from offset on that lie in one piece; *ret_n 0 at the end */
const unsigned char *ring_peek(const struct ring *ring, uint64_t offset, size_t *ret_n);
/** ring_drop() - forget what lies before offset; false when that is beyond the end */
bool ring_drop(struct ring *ring, uint64_t offset);
