#include "adapters/engine/docker_stream.h"

#include "base/banned.h"

long docker_stream_next(struct docker_stream *stream, const unsigned char *bytes, size_t n,
                        const unsigned char **ret_payload, size_t *ret_n, int *ret_stream)
{
        const unsigned char *head = stream->head;
        size_t used = 0;

        *ret_payload = bytes;
        *ret_n = 0;
        while (stream->left == 0 && stream->n_head < sizeof(stream->head) && used < n)
                stream->head[stream->n_head++] = bytes[used++];
        if (stream->left == 0 && stream->n_head == sizeof(stream->head)) {
                if (head[0] > 2 || head[1] || head[2] || head[3])
                        return -1;
                stream->left = (uint32_t)head[4] << 24 | (uint32_t)head[5] << 16 |
                               (uint32_t)head[6] << 8 | (uint32_t)head[7];
                stream->n_head = 0;
        }
        *ret_stream = head[0] <= 2 ? head[0] : 0;
        if (stream->left > 0 && used < n) {
                size_t part = n - used < stream->left ? n - used : stream->left;

                *ret_payload = bytes + used;
                *ret_n = part;
                stream->left -= (uint32_t)part;
                used += part;
        }
        return (long)used;
}
