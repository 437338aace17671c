/*
 * One socket in both directions, or two pipes. Reading is level-triggered and always on; the wish
 * to write is told to epoll only while the other side is full.
 *
 * A connection counts for nothing until ATTACH: the kernel completes connect() as soon as there is
 * room in the listener's queue, which says nothing about a living executor.
 *
 * A frame that makes no sense ends a socket's connection: the next one starts clean. A pipe cannot
 * be started anew, so there everything is thrown away until the padding that precedes an ATTACH
 * (step_frame.h), which no frame can contain.
 */
#include "step/line.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "wire/step_frame.h"

#include "base/banned.h"

#define READ_BYTES (64 * 1024)
#define READS_MAX 16 /* in one go, so that a talkative executor cannot keep timers waiting */

static int watch(struct line *line, int fd, uint32_t events, int op, struct error *err)
{
        struct epoll_event event = {.events = events, .data.u64 = LINE_TAG};

        if (epoll_ctl(line->epoll, op, fd, &event) < 0)
                return error_set_errno(err, "watch the connection to the executor");
        return 0;
}

static int set_nonblocking(int fd, struct error *err)
{
        int flags = fcntl(fd, F_GETFL);

        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
                return error_set_errno(err, "make descriptor %d non-blocking", fd);
        return 0;
}

static int open_pipes(struct line *line, struct error *err)
{
        line->in = 0;
        line->out = 1;
        if (set_nonblocking(0, err) < 0 || set_nonblocking(1, err) < 0)
                return -ERROR_UNAVAILABLE;
        return watch(line, 0, EPOLLIN, EPOLL_CTL_ADD, err);
}

int line_open(struct line *line, const char *path, int epoll, struct error *err)
{
        *line = (struct line){.epoll = epoll, .path = path, .in = -1, .out = -1, .zeros = -1};
        str_init(&line->received);
        str_init(&line->hello);
        str_init(&line->plan);
        line->alone_since = clock_boot_ms();
        if (path && strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
                return error_set(err, ERROR_INVALID, "the path of the socket is too long: %s",
                                 path);
        if (ring_open(&line->ring, err) < 0)
                return -ERROR_UNAVAILABLE;
        return path ? 0 : open_pipes(line, err);
}

static void forget_plan(struct line *line)
{
        if (line->planned)
                return;
        explicit_bzero(line->plan.data, line->plan.len);
        str_clear(&line->plan);
}

static void detach(struct line *line)
{
        if (line->attached && line->path)
                line->alone_since = clock_boot_ms();
        line->attached = false;
        str_clear(&line->hello);
        forget_plan(line);
}

static void hang_up(struct line *line)
{
        detach(line);
        if (!line->path)
                return;
        close(line->in);
        line->in = -1;
        line->out = -1;
        line->waits_for_out = false;
        line->retry_at = clock_ms() + LINE_RETRY_MS;
        str_clear(&line->received);
}

static int dial(struct line *line, struct error *err)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        line->retry_at = clock_ms() + LINE_RETRY_MS;
        if (fd < 0)
                return error_set_errno(err, "make a socket");
        memcpy(address.sun_path, line->path, strlen(line->path));
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
                close(fd);
                return 0;
        }
        line->in = fd;
        line->out = fd;
        return watch(line, fd, EPOLLIN, EPOLL_CTL_ADD, err);
}

static bool take_attach(struct line *line, const struct step_frame *frame)
{
        struct step_attach attach;
        struct step_hello hello = {.version = STEP_PROTOCOL};

        if (step_attach_decode(&attach, frame, NULL) < 0)
                return false;
        detach(line);
        memcpy(hello.nonce, attach.nonce, STEP_NONCE);
        hello.planned = line->planned;
        hello.ended = line->ended;
        hello.base = line->ring.base;
        hello.end = line->ring.end;
        step_hello_encode(&line->hello, &hello);
        line->attached = true;
        /* A resume that cannot be served is the executor's to report: it has both figures. */
        line->sent = line->ring.end;
        if (attach.version == STEP_PROTOCOL && attach.resume >= line->ring.base &&
            ring_drop(&line->ring, attach.resume))
                line->sent = attach.resume;
        return true;
}

static bool take_plan(struct line *line, const struct step_frame *frame)
{
        if (line->planned)
                return true;
        if (!line->attached || line->plan.len + frame->len > STEP_PLAN_MAX)
                return false;
        str_add_bytes(&line->plan, frame->payload, frame->len);
        return true;
}

static bool take_go(struct line *line, const struct step_frame *frame)
{
        struct step_go go;

        if (line->planned)
                return true;
        if (step_go_decode(&go, frame, NULL) < 0 || go.length != line->plan.len ||
            go.sum != step_plan_sum(line->plan.data, line->plan.len))
                return false;
        line->planned = true;
        return true;
}

/* An acknowledgement below the base repeats an older one: harmless. */
static bool take_ack(struct line *line, const struct step_frame *frame)
{
        uint64_t offset;

        if (step_ack_decode(&offset, frame, NULL) < 0 || offset > line->sent)
                return false;
        return ring_drop(&line->ring, offset);
}

static bool take_frame(struct line *line, const struct step_frame *frame)
{
        switch (frame->type) {
        case STEP_FRAME_PAD:
                return true;
        case STEP_FRAME_ATTACH:
                return take_attach(line, frame);
        case STEP_FRAME_PLAN:
                return take_plan(line, frame);
        case STEP_FRAME_GO:
                return take_go(line, frame);
        case STEP_FRAME_ACK:
                return line->attached && take_ack(line, frame);
        case STEP_FRAME_CANCEL:
                line->cancel = line->cancel || line->attached;
                return line->attached;
        case STEP_FRAME_STOP:
                line->stop = line->stop || line->attached;
                return line->attached;
        default:
                return false;
        }
}

/* Over pipes, after garbage: drop bytes until a whole padding has gone by. */
static void skip_garbage(struct line *line)
{
        size_t at = 0;

        while (at < line->received.len && line->zeros < STEP_FRAME_MAX)
                line->zeros = line->received.data[at++] == 0 ? line->zeros + 1 : 0;
        str_consume(&line->received, at);
        if (line->zeros >= STEP_FRAME_MAX)
                line->zeros = -1;
}

static void take_garbage(struct line *line)
{
        if (line->path) {
                hang_up(line);
                return;
        }
        detach(line);
        line->zeros = 0;
        skip_garbage(line);
}

static void take_frames(struct line *line)
{
        size_t at = 0;

        if (line->zeros >= 0)
                skip_garbage(line);
        for (;;) {
                struct step_frame frame;
                int found = step_frame_next(&frame, line->received.data + at,
                                            line->received.len - at, NULL);

                if (found < 0) {
                        str_consume(&line->received, at);
                        take_garbage(line);
                        return;
                }
                at += frame.size;
                if (found == 0)
                        break;
                if (!line->path)
                        line->alone_since = clock_boot_ms();
                if (take_frame(line, &frame))
                        continue;
                if (line->path) {
                        hang_up(line);
                        return;
                }
        }
        /* The plan holds secrets: leave none of it in the buffer. */
        explicit_bzero(line->received.data, at);
        str_consume(&line->received, at);
}

static int receive(struct line *line, struct error *err)
{
        for (int i = 0; i < READS_MAX && line->in >= 0; i++) {
                ssize_t n;

                str_reserve(&line->received, READ_BYTES);
                n = read(line->in, line->received.data + line->received.len, READ_BYTES);
                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        return 0;
                if (n > 0) {
                        line->received.len += (size_t)n;
                        take_frames(line);
                        continue;
                }
                if (line->path) {
                        hang_up(line);
                        return 0;
                }
                /* End of standard input is never a cancel: who attaches next is heard no more,
                 * and the time alone runs. */
                epoll_ctl(line->epoll, EPOLL_CTL_DEL, line->in, NULL);
                line->in = -1;
        }
        return 0;
}

/* Return: bytes taken; 0: full; -1: the connection is gone. */
static ssize_t put(const struct line *line, const void *bytes, size_t n)
{
        ssize_t done = line->path ? send(line->out, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT)
                                  : write(line->out, bytes, n);

        if (done < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        return done;
}

/* A pipe is watched only while it is full: epoll would tell for ever that its reader has gone. */
static int want_out(struct line *line, bool want, struct error *err)
{
        if (line->waits_for_out == want || line->out < 0)
                return 0;
        line->waits_for_out = want;
        if (line->path)
                return watch(line, line->out, EPOLLIN | (want ? EPOLLOUT : 0), EPOLL_CTL_MOD, err);
        return watch(line, line->out, EPOLLOUT, want ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, err);
}

static ssize_t put_next(struct line *line)
{
        const unsigned char *bytes;
        size_t n;
        ssize_t done;

        if (line->hello.len) {
                done = put(line, line->hello.data, line->hello.len);
                if (done > 0)
                        str_consume(&line->hello, (size_t)done);
                return done;
        }
        bytes = ring_peek(&line->ring, line->sent, &n);
        done = put(line, bytes, n);
        if (done > 0)
                line->sent += (uint64_t)done;
        return done;
}

int line_transmit(struct line *line, struct error *err)
{
        ssize_t done = 1;

        while (line->attached && line->out >= 0 && done > 0 &&
               (line->hello.len || line->sent < line->ring.end))
                done = put_next(line);
        if (done < 0 && line->path) {
                /* what the other side said before it went still counts: a cancel, say */
                receive(line, NULL);
                if (line->in >= 0)
                        hang_up(line);
                return 0;
        }
        if (done < 0) {
                detach(line);
                epoll_ctl(line->epoll, EPOLL_CTL_DEL, line->out, NULL); /* if it was watched */
                line->out = -1;
        }
        return want_out(line, done == 0, err);
}

int line_service(struct line *line, struct error *err)
{
        if (line->path && line->in < 0 && clock_ms() >= line->retry_at && dial(line, err) < 0)
                return -ERROR_UNAVAILABLE;
        if (line->in >= 0 && receive(line, err) < 0)
                return -ERROR_UNAVAILABLE;
        return line_transmit(line, err);
}

int64_t line_wait_ms(const struct line *line)
{
        int64_t left;

        if (!line->path || line->in >= 0)
                return -1;
        left = line->retry_at - clock_ms();
        return left > 0 ? left : 0;
}

bool line_delivered(const struct line *line)
{
        return line->ring.base == line->ring.end;
}
