#include "step/ring.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"
#include "wire/step_frame.h"

#include "base/banned.h"

int ring_open(struct ring *ring, struct error *err)
{
        void *data = mmap(NULL, STEP_UNACKED_MAX, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (data == MAP_FAILED)
                return error_set_errno(err, "make the output buffer");
        *ring = (struct ring){.data = data};
        return 0;
}

size_t ring_room(const struct ring *ring)
{
        return STEP_UNACKED_MAX - (size_t)(ring->end - ring->base);
}

static size_t index_of(const struct ring *ring, uint64_t offset)
{
        return (size_t)((offset - ring->origin) % STEP_UNACKED_MAX);
}

void ring_put(struct ring *ring, const void *bytes, size_t n)
{
        size_t at = index_of(ring, ring->end);
        size_t first = STEP_UNACKED_MAX - at < n ? STEP_UNACKED_MAX - at : n;

        assert(n <= ring_room(ring));
        memcpy(ring->data + at, bytes, first);
        memcpy(ring->data, (const unsigned char *)bytes + first, n - first);
        ring->end += n;
}

const unsigned char *ring_peek(const struct ring *ring, uint64_t offset, size_t *ret_n)
{
        size_t at = index_of(ring, offset);
        size_t left = (size_t)(ring->end - offset);

        *ret_n = left < STEP_UNACKED_MAX - at ? left : STEP_UNACKED_MAX - at;
        return ring->data + at;
}

bool ring_drop(struct ring *ring, uint64_t offset)
{
        if (offset > ring->end)
                return false;
        if (offset > ring->base)
                ring->base = offset;
        if (ring->base == ring->end)
                ring->origin = ring->end;
        return true;
}
