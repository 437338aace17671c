/*
 * epoll is edge-triggered here: a pipe that stays unread for lack of room must not wake us. So a
 * readable pipe is remembered in a queue until a read returns less than was asked for; whatever is
 * written after that is a new edge. The queue is first in, first out.
 *
 * Two pipes do not tell in which order they were written. So each is made to hold one write at a
 * time
 * ("exact": a packet pipe of a single page): whoever writes again before we have read waits, at
 * most one write is in each pipe, and the order in which they became readable is the order of
 * writing. A handover costs a switch of tasks for every write, so there is a budget of them, TOKENS
 * at once and TOKENS_PER_S in the long run; a flood uses it up and goes on through ordinary pipes,
 * where the order between the two streams is only as good as we are quick. Some programs make their
 * standard output non-blocking, for all who share it, and others then fail when a write does not
 * fit: where that is seen the pipe is made large for good.
 */
#include "step/outlets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "step/ring.h"
#include "wire/step_frame.h"

#include "base/banned.h"

#define READ_MIN 4096 /* a packet, which must be read whole; also no crumbs while we are slow */
#define PIPE_EXACT 4096
#define PIPE_FREE (64 * 1024)
#define TOKENS 2000
#define TOKENS_PER_S 1000
#define TOKENS_AGAIN 1000 /* to be exact again */
#define HEADER (STEP_FRAME_HEADER + STEP_OUTPUT_HEADER)

int outlets_open(struct outlets *outlets, struct ring *ring, int epoll, size_t n_steps,
                 int64_t began_at, struct error *err)
{
        *outlets = (struct outlets){.epoll = epoll, .ring = ring, .n = 2 * n_steps};
        outlets->began_at = began_at;
        outlets->blocked_since = -1;
        outlets->list = calloc(outlets->n, sizeof(*outlets->list));
        outlets->queue = calloc(outlets->n, sizeof(*outlets->queue));
        outlets->pairs = calloc(n_steps, sizeof(*outlets->pairs));
        outlets->scratch = malloc(STEP_OUTPUT_MAX);
        if (!outlets->list || !outlets->queue || !outlets->pairs || !outlets->scratch)
                return error_set(err, ERROR_UNAVAILABLE, "no memory for %zu steps", n_steps);
        for (size_t i = 0; i < outlets->n; i++)
                outlets->list[i] = (struct outlet){.fd = -1, .writer = -1};
        return 0;
}

/*
 * Others may write (0622): a step that runs under another uid than ours may open /dev/stdout, which
 * is this pipe, by name. Reading stays ours.
 */
static int add_one(struct outlets *outlets, size_t index, int *ret_write, struct error *err)
{
        struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = index};
        int ends[2];

        if (pipe2(ends, O_CLOEXEC) < 0)
                return error_set_errno(err, "make a pipe");
        if (fchmod(ends[1], 0622) < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0 ||
            epoll_ctl(outlets->epoll, EPOLL_CTL_ADD, ends[0], &event) < 0) {
                error_set_errno(err, "prepare a pipe");
                close(ends[0]);
                close(ends[1]);
                return -ERROR_UNAVAILABLE;
        }
        outlets->list[index].fd = ends[0];
        outlets->list[index].writer = ends[1];
        *ret_write = ends[1];
        return 0;
}

static void close_one(struct outlets *outlets, size_t index)
{
        close(outlets->list[index].fd);
        outlets->list[index].fd = -1;
        outlets->list[index].owed = 0;
}

/* Return: whether the pipe is now what was asked for. */
static bool shape(const struct outlet *outlet, bool exact)
{
        int flags = outlet->writer < 0 ? -1 : fcntl(outlet->writer, F_GETFL);

        if (flags < 0 || (exact && (flags & O_NONBLOCK)))
                return false;
        if (fcntl(outlet->writer, F_SETPIPE_SZ, exact ? PIPE_EXACT : PIPE_FREE) < 0 && exact)
                return false; /* more is in it than would fit */
        return fcntl(outlet->writer, F_SETFL, exact ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

static void set_exact(struct outlets *outlets, size_t step, bool exact)
{
        struct outlet *list = &outlets->list[2 * step];
        struct outlet_pair *pair = &outlets->pairs[step];

        exact = exact && !pair->never && shape(&list[0], true) && shape(&list[1], true);
        if (!exact) {
                shape(&list[0], false);
                shape(&list[1], false);
        }
        pair->exact = exact;
}

/* After each read: one token less, or, in a flood, a few more. */
static void account(struct outlets *outlets, size_t index)
{
        struct outlet_pair *pair = &outlets->pairs[index / 2];
        int64_t now = clock_ms();

        pair->tokens += (now - pair->filled_at) * TOKENS_PER_S / 1000;
        if (pair->tokens > TOKENS)
                pair->tokens = TOKENS;
        pair->filled_at = now;
        if (pair->exact && fcntl(outlets->list[index].writer, F_GETFL) & O_NONBLOCK)
                pair->never = true;
        if (pair->exact && (--pair->tokens <= 0 || pair->never))
                set_exact(outlets, index / 2, false);
        else if (!pair->exact && !pair->never && pair->tokens >= TOKENS_AGAIN)
                set_exact(outlets, index / 2, true);
}

int outlets_add(struct outlets *outlets, size_t step, int ret_write[2], struct error *err)
{
        if (add_one(outlets, 2 * step, &ret_write[0], err) < 0)
                return -ERROR_UNAVAILABLE;
        if (add_one(outlets, 2 * step + 1, &ret_write[1], err) < 0) {
                close_one(outlets, 2 * step);
                outlets_release(outlets, step);
                return -ERROR_UNAVAILABLE;
        }
        outlets->pairs[step].tokens = TOKENS;
        outlets->pairs[step].filled_at = clock_ms();
        /* A packet is at most a page, and must fit into what we read at least. */
        outlets->pairs[step].never = sysconf(_SC_PAGESIZE) > READ_MIN;
        set_exact(outlets, step, true);
        return 0;
}

void outlets_release(struct outlets *outlets, size_t step)
{
        struct outlet *list = &outlets->list[2 * step];

        set_exact(outlets, step, false);
        for (int i = 0; i < 2; i++) {
                if (list[i].writer >= 0)
                        close(list[i].writer);
                list[i].writer = -1;
        }
        outlets->pairs[step].never = true;
}

void outlets_wake(struct outlets *outlets, size_t index)
{
        if (index >= outlets->n || outlets->list[index].fd < 0 || outlets->list[index].readable)
                return;
        outlets->list[index].readable = true;
        outlets->queue[(outlets->first + outlets->queued++) % outlets->n] = (uint32_t)index;
}

static size_t room(const struct outlets *outlets)
{
        size_t all = ring_room(outlets->ring);
        size_t most;

        if (all < OUTLETS_RESERVE + HEADER + READ_MIN)
                return 0;
        most = all - OUTLETS_RESERVE - HEADER;
        return most < STEP_OUTPUT_MAX ? most : STEP_OUTPUT_MAX;
}

static void put_output(struct outlets *outlets, size_t index, size_t n)
{
        unsigned char header[HEADER];
        struct step_output output = {
                .step = (uint32_t)(index / 2),
                .stream = index % 2 ? STEP_STREAM_STDERR : STEP_STREAM_STDOUT,
                .ms = clock_ms() - outlets->began_at,
                .n = n,
        };

        step_output_header(header, &output);
        ring_put(outlets->ring, header, sizeof(header));
        ring_put(outlets->ring, outlets->scratch, n);
}

/* Return: whether there may be more in it. */
static bool take_some(struct outlets *outlets, size_t index, size_t most)
{
        struct outlet *outlet = &outlets->list[index];
        ssize_t n = read(outlet->fd, outlets->scratch, most);

        if (n < 0)
                return errno == EINTR;
        if (n == 0) {
                close_one(outlets, index);
                return false;
        }
        put_output(outlets, index, (size_t)n);
        account(outlets, index);
        outlet->owed -= outlet->owed < (size_t)n ? outlet->owed : (size_t)n;
        return (size_t)n == most;
}

static void note_blocked(struct outlets *outlets, bool blocked)
{
        if (blocked && outlets->blocked_since < 0)
                outlets->blocked_since = clock_ms();
        if (!blocked && outlets->blocked_since >= 0) {
                outlets->blocked_ms += clock_ms() - outlets->blocked_since;
                outlets->blocked_since = -1;
        }
}

void outlets_pump(struct outlets *outlets)
{
        /* Bounded, so that a flood leaves time for timers and signals. */
        for (size_t rounds = 0; outlets->queued > 0 && rounds < 64; rounds++) {
                uint32_t index = outlets->queue[outlets->first];
                size_t most = room(outlets);

                if (most == 0)
                        break;
                outlets->first = (outlets->first + 1) % outlets->n;
                outlets->queued--;
                outlets->list[index].readable = false;
                if (take_some(outlets, index, most))
                        outlets_wake(outlets, index);
        }
        note_blocked(outlets, outlets->queued > 0 && room(outlets) == 0);
}

static void mark_one(struct outlets *outlets, size_t index)
{
        struct outlet *outlet = &outlets->list[index];
        int n = 0;

        if (outlet->fd < 0 || ioctl(outlet->fd, FIONREAD, &n) < 0 || n <= 0)
                return;
        outlet->owed = (size_t)n;
        outlets_wake(outlets, index);
}

void outlets_mark(struct outlets *outlets, size_t step)
{
        mark_one(outlets, 2 * step);
        mark_one(outlets, 2 * step + 1);
}

bool outlets_marked(const struct outlets *outlets, size_t step)
{
        return outlets->list[2 * step].owed || outlets->list[2 * step + 1].owed;
}

void outlets_mark_all(struct outlets *outlets)
{
        for (size_t i = 0; i < outlets->n; i++)
                mark_one(outlets, i);
}

bool outlets_any_marked(const struct outlets *outlets)
{
        for (size_t i = 0; i < outlets->n; i++) {
                if (outlets->list[i].owed)
                        return true;
        }
        return false;
}

int64_t outlets_blocked(const struct outlets *outlets)
{
        int64_t now = outlets->blocked_since < 0 ? 0 : clock_ms() - outlets->blocked_since;

        return outlets->blocked_ms + now;
}
