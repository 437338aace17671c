#pragma once
/*
 * channel - the executor's end of the line to argon-step in one sandbox
 *
 * channel_open() listens on FOLDER/sock (the control folder, which the engine shows the sandbox
 * read-only at /argon) or takes a descriptor that engine_attach() gave. channel_receive() does the
 * rest: accepts, checks the peer, sends the plan until argon-step has it, decodes, and when the
 * connection breaks waits for the next one and goes on where it was.
 *
 * How nothing is lost or doubled. For every event: write what follows from it, record event.offset
 * durably with it, then channel_ack(event.offset) (one record and one ack may cover many events).
 * After a restart: cut the own output back to the record, channel_open() with the recorded offset
 * as `resume`. That repeats the acknowledgement, without which a full argon-step would wait for
 * ever. "Ended" belongs in the record too: after the acknowledgement of JOB_END argon-step is gone
 * and nobody connects again. While waiting also look at engine_wait(): a sandbox that ended without
 * JOB_END was killed from outside, and at most STEP_UNACKED_MAX bytes of its output are lost.
 *
 * Order: channel_open(), engine_create(), engine_start(), engine_peer(), channel_set_peer(),
 * channel_receive() until JOB_END, channel_ack(), engine_wait(), channel_close(): argon-step ends
 * when it has got the last acknowledgement, which whoever relays it must have time to do. The plan
 * may be given later than the rest (channel_set_plan()), when secrets and workspace are ready.
 *
 * A channel belongs to one thread; only its wake descriptor may be touched by others.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire/step_frame.h"

struct channel;
struct error;

/** name of the socket within the control folder */
#define CHANNEL_SOCKET "sock"

/**
 * struct channel_options
 * @folder: control folder; of any length (it exists); NULL: remote mode, with `attached`
 * @attached: with folder NULL, the descriptor from engine_attach(); owned by the channel on success
 * @resume: offset on record; 0 for a new job
 */
struct channel_options {
        const char *folder;
        int attached;
        uint64_t resume;
};

int channel_open(struct channel **ret, const struct channel_options *options, struct error *err);
/** channel_close() - takes the socket away from the folder too; argon-step would wait for the next
 */
void channel_close(struct channel *channel);
static inline void channel_freep(struct channel **channel)
{
        if (*channel)
                channel_close(*channel);
}

/** channel_set_peer() - host pid of argon-step; before that no connection is taken, after it only
 *  from this process */
void channel_set_peer(struct channel *channel, pid_t pid);

/**
 * channel_set_plan() - what argon-step is to do; copied
 *
 * Give it after a restart too: the old executor may have died before argon-step had it whole. The
 * copy is wiped as soon as argon-step is known to have it.
 *
 * Return: 0; -ERROR_LIMIT or -ERROR_INVALID when it breaks a limit of step_frame.h.
 */
int channel_set_plan(struct channel *channel, const struct step_plan *plan, struct error *err);

/**
 * channel_receive() - the next event of the job
 * @timeout_ms: how long to wait for it; < 0: for ever
 * @wake_fd: readable means: return at once (it is not read); -1: none
 * @ret: its texts and bytes are valid until the next call
 *
 * Return: 1 and *ret; 0 when the time is over; -ERROR_CANCELLED when wake_fd is readable;
 * -ERROR_UNAVAILABLE in remote mode when the attached descriptor has ended (attach again and
 * channel_attach()); -ERROR_INVALID for garbage, another protocol version, or a stream that does
 * not begin at `resume`: end the job in error.
 */
int channel_receive(struct channel *channel, int64_t timeout_ms, int wake_fd,
                    struct step_event *ret, struct error *err);

/** channel_attach() - remote mode: a new descriptor after the old one ended; owned */
void channel_attach(struct channel *channel, int fd);

/** channel_ack() - everything before offset is recorded; goes out now, or with the next connection
 */
void channel_ack(struct channel *channel, uint64_t offset);
/** channel_cancel() - end the job: SIGTERM, the plan's grace, SIGKILL, JOB_END (cancelled). Kept
 *  for the next connection when there is none. */
void channel_cancel(struct channel *channel);
/** channel_stop() - the same without grace (JOB_END says stopped) */
void channel_stop(struct channel *channel);

/** channel_connected() - whether argon-step is on the line and has said hello */
bool channel_connected(const struct channel *channel);
/** channel_planned() - whether argon-step is known to have the plan (the job has begun) */
bool channel_planned(const struct channel *channel);
