#pragma once
/*
 * line - argon-step's end of the connection to the executor
 *
 * Either a socket to which it connects, and connects again LINE_RETRY_MS after it was lost, or its
 * standard input and output. Nothing here blocks. What the executor asks for is left in members for
 * the supervisor to look at.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "step/ring.h"

struct error;

#define LINE_RETRY_MS 20

/**
 * struct line
 * @path: of the socket; NULL: descriptors 0 and 1
 * @in, @out: -1: not connected (equal for a socket)
 * @attached: the executor has said from where to go on; only then anything is sent
 * @alone_since: clock_boot_ms() from which on there was no executor; over pipes, when it was last
 *         heard
 * @plan: bytes of the plan so far; @planned: it is whole, GO was seen
 * @cancel, @stop: asked for
 * @zeros: over pipes after garbage: zeros in a row so far; -1: all is well
 */
struct line {
        int epoll;
        const char *path;
        int in;
        int out;
        bool waits_for_out;
        bool attached;
        bool ended;
        int64_t alone_since;
        int64_t retry_at;
        struct str received;
        struct str hello;
        struct ring ring;
        uint64_t sent;
        struct str plan;
        bool planned;
        bool cancel;
        bool stop;
        int64_t zeros;
};

/** line_open() - events of its descriptors come from `epoll` with data.u64 == tag */
int line_open(struct line *line, const char *path, int epoll, struct error *err);
/** line_service() - connect when it is time, read what is there, send what can be sent
 *
 *  Return: 0, or an error after which there is no hope (descriptors or epoll unusable). */
int line_service(struct line *line, struct error *err);
/** line_transmit() - only the last of these: for what has come into the ring since */
int line_transmit(struct line *line, struct error *err);
/** line_wait_ms() - when line_service() wants to be called although nothing happened; -1: never */
int64_t line_wait_ms(const struct line *line);
/** line_delivered() - whether everything so far was acknowledged */
bool line_delivered(const struct line *line);

#define LINE_TAG UINT64_MAX
