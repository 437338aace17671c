#pragma once
/*
 * outlets - the pipes into which the job's processes write, and their way into the stream
 *
 * A step has two. They stay open when the step ends, for processes that it left behind, until their
 * last writer has closed them. Bytes are taken in the order in which the pipes became readable,
 * which is the order of writing as far as pipes can tell. When the ring has no room they are left
 * where they are, and the clock of the time that the job is kept waiting by us runs.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct ring;

#define OUTLETS_RESERVE (64 * 1024) /* of the ring, for frames that are no output */

struct outlet {
        int fd;        /* -1: closed */
        int writer;    /* our copy of the writing end while the step runs, or -1 */
        bool readable; /* in the queue */
        size_t owed;   /* bytes that belong before the end of its step */
};

/** struct outlet_pair - of a step; @tokens: handovers that may still be asked for */
struct outlet_pair {
        bool exact;
        bool never; /* exact again */
        int64_t tokens;
        int64_t filled_at;
};

/**
 * struct outlets
 * @list: two for each step: 2 * step + (0 stdout, 1 stderr)
 * @queue: indexes of readable ones, oldest first, a circle of n
 * @blocked_since: clock_ms(), or -1; @blocked_ms: of earlier times
 */
struct outlets {
        int epoll;
        struct ring *ring;
        struct outlet *list;
        struct outlet_pair *pairs;
        size_t n;
        uint32_t *queue;
        size_t first;
        size_t queued;
        unsigned char *scratch;
        int64_t began_at;
        int64_t blocked_since;
        int64_t blocked_ms;
};

/** outlets_open() - none yet, room for n_steps; @began_at: clock_ms() that is 0 in output frames */
int outlets_open(struct outlets *outlets, struct ring *ring, int epoll, size_t n_steps,
                 int64_t began_at, struct error *err);
/** outlets_add() - the pair of a step; ret_write shows the writing ends, which stay ours. Events
 * come from epoll with data.u64 == the outlet's index. */
int outlets_add(struct outlets *outlets, size_t step, int ret_write[2], struct error *err);
/** outlets_release() - the step has ended or never began: let go of the writing ends */
void outlets_release(struct outlets *outlets, size_t step);
/** outlets_wake() - epoll said that this one is readable (or at its end) */
void outlets_wake(struct outlets *outlets, size_t index);
/** outlets_pump() - take what is there, as far as there is room */
void outlets_pump(struct outlets *outlets);
/** outlets_mark() - what lies in the step's pipes now belongs before its end */
void outlets_mark(struct outlets *outlets, size_t step);
/** outlets_marked() - whether some of that is still to come */
bool outlets_marked(const struct outlets *outlets, size_t step);
/** outlets_mark_all(), outlets_any_marked() - the same for the end of the job */
void outlets_mark_all(struct outlets *outlets);
bool outlets_any_marked(const struct outlets *outlets);
/** outlets_blocked() - milliseconds for which output has waited for room, until now */
int64_t outlets_blocked(const struct outlets *outlets);
