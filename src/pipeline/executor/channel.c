/*
 * One connection at a time, non-blocking, moved by channel_receive(). What goes out is small and
 * buffered; it is sent when poll says so, and at once if there is room.
 *
 * After a lost connection argon-step repeats the stream from the last acknowledgement. What had
 * already been handed to the caller, who may simply not have recorded it yet, is passed over:
 * `delivered` says up to where.
 *
 * The socket is bound under another name, opened for all by chmod, and renamed: nobody ever meets
 * it without its final permissions, and umask, which belongs to the whole process, is left alone.
 * Binding goes through /proc/self/fd, because an address has room for 107 bytes and a folder may be
 * longer. The name is never removed here: a successor may already have put its own socket in its
 * place.
 */
#include "pipeline/executor/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "pipeline/executor/channel_socket.h"

#include "base/banned.h"

#define READ_BYTES (256 * 1024)
#define HELLO_BYTES_MAX (16 * 1024 * 1024) /* left over from a predecessor before the greeting */
#define KEEP_ALIVE_MS 10000 /* over pipes silence is all that tells argon-step that we are gone */

/**
 * struct channel
 * @next: offset of the stream's first byte that is not parsed yet; @delivered: of the last event
 * @acked: what the caller has recorded; @ack_due: argon-step does not know yet
 * @at: start of the unparsed bytes in `received`
 * @n_steps: of the plan, 0 while unknown
 */
struct channel {
        int folder;
        int listener;
        int fd;
        pid_t peer;
        struct str received;
        size_t at;
        size_t skipped;
        struct str outgoing;
        unsigned char nonce[STEP_NONCE];
        bool greeted;
        bool planned;
        uint64_t next;
        uint64_t delivered;
        uint64_t acked;
        bool ack_due;
        int64_t sent_at;
        struct str plan;
        size_t n_steps;
        bool cancel;
        bool stop;
};

static bool is_remote(const struct channel *channel)
{
        return channel->folder < 0;
}

/* --- opening --- */

/* What is in the buffers may be part of the plan, with its secrets. */
static void wipe(struct str *str, size_t n)
{
        if (str->cap)
                explicit_bzero(str->data, n);
        str_done(str);
}

/* Sending moves what is left to the front: bytes beyond len were once in it. */
static void wipe_outgoing(struct channel *channel)
{
        wipe(&channel->outgoing, channel->outgoing.cap);
}

static void forget_plan(struct channel *channel)
{
        wipe(&channel->plan, channel->plan.len);
        channel->planned = true;
}

static int begin(struct channel *channel, int fd, struct error *err)
{
        struct step_attach attach = {.version = STEP_PROTOCOL, .resume = channel->acked};

        channel->fd = fd;
        channel->greeted = false;
        channel->at = 0;
        channel->skipped = 0;
        str_clear(&channel->received);
        wipe_outgoing(channel);
        if (getrandom(channel->nonce, STEP_NONCE, 0) != STEP_NONCE)
                return error_set_errno(err, "get random bytes");
        memcpy(attach.nonce, channel->nonce, STEP_NONCE);
        if (is_remote(channel))
                step_frame_pad(&channel->outgoing);
        step_attach_encode(&channel->outgoing, &attach);
        channel->ack_due = false;
        return 0;
}

static void hang_up(struct channel *channel)
{
        if (channel->fd >= 0)
                close(channel->fd);
        channel->fd = -1;
        channel->greeted = false;
        wipe_outgoing(channel);
}

static int set_nonblocking(int fd, struct error *err)
{
        int flags = fcntl(fd, F_GETFL);

        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
                return error_set_errno(err, "make descriptor %d non-blocking", fd);
        return 0;
}

static int open_end(struct channel *channel, const struct channel_options *options,
                    struct error *err)
{
        if (!options->folder) {
                if (set_nonblocking(options->attached, err) < 0)
                        return -ERROR_UNAVAILABLE;
                return begin(channel, options->attached, err);
        }
        channel->folder = open(options->folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (channel->folder < 0)
                return error_set_errno(err, "open");
        return channel_socket_listen(&channel->listener, channel->folder, err);
}

int channel_open(struct channel **ret, const struct channel_options *options, struct error *err)
{
        struct channel *channel = xcalloc(1, sizeof(*channel));
        int result;

        *channel = (struct channel){.folder = -1, .listener = -1, .fd = -1};
        str_init(&channel->received);
        str_init(&channel->outgoing);
        str_init(&channel->plan);
        channel->acked = options->resume;
        channel->delivered = options->resume;
        result = open_end(channel, options, err);
        if (result < 0) {
                channel->fd = -1; /* still the caller's */
                channel_close(channel);
                return options->folder ? error_wrap(err, "the job's folder '%s'", options->folder)
                                       : result;
        }
        *ret = channel;
        return 0;
}

void channel_close(struct channel *channel)
{
        hang_up(channel);
        if (channel->listener >= 0)
                close(channel->listener);
        if (channel->folder >= 0)
                close(channel->folder);
        str_done(&channel->received);
        wipe(&channel->plan, channel->plan.len);
        free(channel);
}

void channel_set_peer(struct channel *channel, pid_t pid)
{
        channel->peer = pid;
}

void channel_attach(struct channel *channel, int fd)
{
        hang_up(channel);
        if (set_nonblocking(fd, NULL) < 0 || begin(channel, fd, NULL) < 0) {
                close(fd);
                channel->fd = -1; /* channel_receive() reports it */
        }
}

/* --- sending --- */

static void transmit(struct channel *channel)
{
        for (;;) {
                ssize_t n;

                if (channel->outgoing.len == 0 && channel->ack_due && channel->greeted) {
                        step_ack_encode(&channel->outgoing, channel->acked);
                        channel->ack_due = false;
                }
                if (channel->fd < 0 || channel->outgoing.len == 0)
                        return;
                n = send(channel->fd, channel->outgoing.data, channel->outgoing.len,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
                /* A broken connection shows when it is read. */
                if (n <= 0)
                        return;
                channel->sent_at = clock_ms();
                str_consume(&channel->outgoing, (size_t)n);
        }
}

static void send_plan(struct channel *channel)
{
        if (!channel->greeted || channel->planned || channel->plan.len == 0)
                return;
        /* As below: one allocation, with room for the headers of the parts. */
        str_reserve(&channel->outgoing, channel->plan.len + channel->plan.len / 1024 + 1024);
        step_plan_frames(&channel->outgoing, channel->plan.data, channel->plan.len);
        transmit(channel);
}

int channel_set_plan(struct channel *channel, const struct step_plan *plan, struct error *err)
{
        struct str encoded = STR_INIT;
        int result;

        /* Room for the largest at once: growing would leave copies of secrets behind. */
        str_reserve(&encoded, STEP_PLAN_MAX);
        result = step_plan_encode(&encoded, plan, err);
        if (result < 0) {
                wipe(&encoded, encoded.len);
                return result;
        }
        channel->n_steps = plan->n_steps;
        wipe(&channel->plan, channel->plan.len);
        if (channel->planned) {
                wipe(&encoded, encoded.len);
                return 0;
        }
        channel->plan = encoded;
        send_plan(channel);
        return 0;
}

void channel_ack(struct channel *channel, uint64_t offset)
{
        if (offset <= channel->acked || offset > channel->delivered)
                return;
        channel->acked = offset;
        channel->ack_due = true;
        transmit(channel);
}

static void send_bare(struct channel *channel, enum step_frame_type type)
{
        if (!channel->greeted)
                return;
        step_frame_bare(&channel->outgoing, type);
        transmit(channel);
}

void channel_cancel(struct channel *channel)
{
        if (!channel->cancel)
                send_bare(channel, STEP_FRAME_CANCEL);
        channel->cancel = true;
}

void channel_stop(struct channel *channel)
{
        if (!channel->stop)
                send_bare(channel, STEP_FRAME_STOP);
        channel->stop = true;
}

/* --- receiving --- */

static void accept_peer(struct channel *channel)
{
        int fd = channel_socket_accept(channel->listener, channel->peer);

        if (fd < 0 || begin(channel, fd, NULL) == 0)
                return;
        close(fd);
        channel->fd = -1;
}

/* Drop what comes before the greeting (in remote mode a predecessor's rest). */
static void seek_greeting(struct channel *channel)
{
        unsigned char want[2 + 4 + STEP_NONCE];
        scoped_str struct str sample = STR_INIT;
        struct step_hello hello = {.version = STEP_PROTOCOL};
        const char *bytes = channel->received.data + channel->at;
        size_t left = channel->received.len - channel->at;
        const char *found;
        size_t skip;

        memcpy(hello.nonce, channel->nonce, STEP_NONCE);
        step_hello_encode(&sample, &hello);
        memcpy(want, sample.data, sizeof(want));
        found = memmem(bytes, left, want, sizeof(want));
        if (found)
                skip = (size_t)(found - bytes);
        else
                skip = left < sizeof(want) ? 0 : left - sizeof(want) + 1;
        channel->at += skip;
        channel->skipped += skip;
}

static int check_hello(const struct channel *channel, const struct step_hello *hello,
                       struct error *err)
{
        if (memcmp(hello->nonce, channel->nonce, STEP_NONCE) != 0)
                return error_set(err, ERROR_INVALID, "the sandbox greets with a foreign number");
        if (hello->version != STEP_PROTOCOL)
                return error_set(
                        err, ERROR_INVALID,
                        "argon-step in the sandbox speaks version %u of the protocol, this "
                        "executor version %d: the job was started by another version",
                        hello->version, STEP_PROTOCOL);
        if (channel->acked < hello->base || channel->acked > hello->end)
                return error_set(
                        err, ERROR_INVALID,
                        "the sandbox holds output from %llu to %llu, the record says %llu: "
                        "output is missing",
                        (unsigned long long)hello->base, (unsigned long long)hello->end,
                        (unsigned long long)channel->acked);
        return 0;
}

/* Return: 1 greeted, 0 more bytes are needed. */
static int take_greeting(struct channel *channel, struct error *err)
{
        struct step_frame frame;
        struct step_hello hello;
        int found;

        if (is_remote(channel))
                seek_greeting(channel);
        if (channel->skipped > HELLO_BYTES_MAX)
                return error_set(err, ERROR_INVALID, "the sandbox does not greet");
        found = step_frame_next(&frame, channel->received.data + channel->at,
                                channel->received.len - channel->at,
                                is_remote(channel) ? NULL : err);
        if (found < 0 && is_remote(channel))
                return 0;
        if (found <= 0)
                return found;
        if (is_remote(channel) && frame.type != STEP_FRAME_HELLO)
                return 0; /* a rest that looks like a frame; too short to be told from the greeting
                           */
        if (step_hello_decode(&hello, &frame, err) < 0 || check_hello(channel, &hello, err) < 0)
                return -ERROR_INVALID;
        channel->at += frame.size;
        channel->next = channel->acked;
        channel->greeted = true;
        if (hello.planned)
                forget_plan(channel);
        send_plan(channel);
        if (channel->cancel)
                send_bare(channel, STEP_FRAME_CANCEL);
        if (channel->stop)
                send_bare(channel, STEP_FRAME_STOP);
        return 1;
}

static int check_event(const struct channel *channel, const struct step_event *event,
                       struct error *err)
{
        uint32_t step = event->type == STEP_FRAME_STEP_STARTED    ? event->started.step
                        : event->type == STEP_FRAME_OUTPUT        ? event->output.step
                        : event->type == STEP_FRAME_STEP_FINISHED ? event->finished.step
                        : event->end.step < 0                     ? 0
                                                                  : (uint32_t)event->end.step;

        if (channel->n_steps == 0 || step < channel->n_steps)
                return 0;
        return error_set(err, ERROR_INVALID, "the sandbox speaks of step %u of %zu", step + 1,
                         channel->n_steps);
}

/* Return: 1 and *ret, 0 when more bytes are needed. */
static int take_event(struct channel *channel, struct step_event *ret, struct error *err)
{
        for (;;) {
                struct step_frame frame;
                int found = step_frame_next(&frame, channel->received.data + channel->at,
                                            channel->received.len - channel->at, err);

                if (found <= 0)
                        return found;
                if (step_event_decode(ret, &frame, err) < 0 || check_event(channel, ret, err) < 0)
                        return -ERROR_INVALID;
                channel->at += frame.size;
                channel->next += frame.size;
                if (!channel->planned)
                        forget_plan(channel);
                if (channel->next <= channel->delivered)
                        continue;
                channel->delivered = channel->next;
                ret->offset = channel->next;
                return 1;
        }
}

/* Return: 1 and *ret, 0 when nothing whole has come yet. */
static int take_next(struct channel *channel, struct step_event *ret, struct error *err)
{
        int result = 1;

        if (channel->fd < 0)
                return 0;
        if (!channel->greeted)
                result = take_greeting(channel, err);
        if (result > 0)
                result = take_event(channel, ret, err);
        if (result >= 0)
                return result;
        error_wrap(err, "argon-step");
        if (err)
                err->kind = ERROR_INVALID; /* a frame that is too long is garbage as well */
        return -ERROR_INVALID;
}

/* Return: whether the connection still stands. */
static bool fill(struct channel *channel)
{
        ssize_t n;

        str_consume(&channel->received, channel->at);
        channel->at = 0;
        str_reserve(&channel->received, READ_BYTES);
        n = read(channel->fd, channel->received.data + channel->received.len, READ_BYTES);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return true;
        if (n <= 0)
                return false;
        channel->received.len += (size_t)n;
        return true;
}

static void keep_alive(struct channel *channel)
{
        if (is_remote(channel) && channel->greeted &&
            clock_ms() - channel->sent_at >= KEEP_ALIVE_MS) {
                channel->ack_due = true;
                transmit(channel);
        }
}

/* Return: 1 something happened on the line, 0 time or a signal, -1 woken. */
static int wait_for_it(struct channel *channel, int64_t wait_ms, int wake_fd)
{
        bool connected = channel->fd >= 0;
        struct pollfd fds[2] = {
                {.fd = connected       ? channel->fd
                       : channel->peer ? channel->listener
                                       : -1,
                 .events = POLLIN | (connected && channel->outgoing.len ? POLLOUT : 0)},
                {.fd = wake_fd, .events = POLLIN},
        };
        int wait = wait_ms < 0 || wait_ms > KEEP_ALIVE_MS ? KEEP_ALIVE_MS : (int)wait_ms;
        int n = poll(fds, 2, wait);

        if (n > 0 && fds[1].revents)
                return -1;
        if (n <= 0 || !fds[0].revents)
                return 0;
        if (!connected)
                accept_peer(channel);
        else if (fds[0].revents & ~POLLOUT && !fill(channel))
                hang_up(channel);
        transmit(channel);
        return 1;
}

int channel_receive(struct channel *channel, int64_t timeout_ms, int wake_fd,
                    struct step_event *ret, struct error *err)
{
        int64_t end = clock_ms() + timeout_ms;

        for (;;) {
                int64_t left = timeout_ms < 0 ? -1 : end - clock_ms();
                int result = take_next(channel, ret, err);

                if (result != 0)
                        return result;
                if (is_remote(channel) && channel->fd < 0)
                        return error_set(err, ERROR_UNAVAILABLE,
                                         "the connection to the sandbox has ended");
                keep_alive(channel);
                result = wait_for_it(channel, left < 0 && timeout_ms >= 0 ? 0 : left, wake_fd);
                if (result < 0)
                        return error_set(err, ERROR_CANCELLED, "woken");
                if (result == 0 && timeout_ms >= 0 && clock_ms() >= end)
                        return 0;
        }
}

bool channel_connected(const struct channel *channel)
{
        return channel->greeted;
}

bool channel_planned(const struct channel *channel)
{
        return channel->planned;
}
