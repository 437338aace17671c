#pragma once
/*
 * docker_stream - takes apart what a daemon sends over an attach: pieces of stdout and stderr
 *
 * Each piece has a head of eight bytes: stream (0 to 2), three zeros, length. Pieces may arrive cut
 * anywhere.
 */
#include <stddef.h>
#include <stdint.h>

/** struct docker_stream - zero it to begin */
struct docker_stream {
        unsigned char head[8];
        size_t n_head;
        uint32_t left; /* of the present piece */
};

/**
 * docker_stream_next() - the next run of payload in n bytes
 * @ret_payload: view of *ret_n bytes; *ret_n may be 0
 * @ret_stream: 0, 1 or 2
 *
 * Return: how many bytes were used up, at least 1; -1 when this is no such stream.
 */
long docker_stream_next(struct docker_stream *stream, const unsigned char *bytes, size_t n,
                        const unsigned char **ret_payload, size_t *ret_n, int *ret_stream);
