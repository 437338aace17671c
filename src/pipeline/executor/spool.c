/*
 * The file: a head of one page {magic, cursor}, then groups. A group is {magic, bytes, checksum},
 * the state, and messages {kind, bytes, JSON}. The cursor is a pair: where the last published group
 * begins and where it ends. The file is read from the first, because the newest state may be in a
 * group that is published already.
 *
 * Lengths and offsets shared by both threads (`end`, `done`) are behind the lock; the bytes of a
 * group do not change once `end` covers it, so the shipper reads them without it.
 */
#include "pipeline/executor/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/scoped.h"
#include "base/str.h"
#include "pipeline/executor/pack.h"
#include "pipeline/topology.h"
#include "ports/bus.h"
#include "wire/job_result.h"
#include "wire/log_entry.h"

#include "base/banned.h"

#define HEAD_BYTES 4096
#define HEAD_MAGIC INT64_C(0x31306c6f6f707341)  /* "Aspool01" */
#define GROUP_MAGIC INT64_C(0x3130707567727341) /* "Asrgup01" */
#define GROUP_HEAD (3 * (off_t)sizeof(int64_t))
#define BATCH_BYTES (1024 * 1024)
#define PUNCH_BYTES (4 * 1024 * 1024)
#define BACKOFF_FIRST_MS 100
#define BACKOFF_MOST_MS 5000
#define DISK_RETRY_MS 500

enum message_kind { MESSAGE_LOG = 1, MESSAGE_RESULT = 2 };

struct spool {
        struct spool_options options;
        int fd;
        struct str messages; /* of the group being filled */
        struct str state;
        struct str text; /* scratch */

        pthread_t shipper;
        pthread_mutex_t lock;
        pthread_cond_t changed;
        int moved; /* eventfd: the shipper advanced */
        bool stopped;
        off_t end;   /* of the last whole group */
        off_t done;  /* published up to here */
        off_t last;  /* begin of the last published group */
        off_t holes; /* given back up to here */
};

static int64_t checksum(const void *bytes, size_t n)
{
        const unsigned char *at = bytes;
        uint64_t sum = 0xcbf29ce484222325U; /* FNV-1a, over words and then bytes */

        for (; n >= 8; n -= 8, at += 8) {
                uint64_t word;

                memcpy(&word, at, 8);
                sum = (sum ^ word) * 0x100000001b3U;
                sum ^= sum >> 29;
        }
        for (; n > 0; n--, at++)
                sum = (sum ^ *at) * 0x100000001b3U;
        return (int64_t)sum;
}

/* Return: 1 when all n bytes were there, 0 at the end of the file, -1 when it cannot be read. */
static int read_at(int fd, void *bytes, size_t n, off_t at)
{
        char *to = bytes;

        while (n > 0) {
                ssize_t got = pread(fd, to, n, at);

                if (got < 0 && errno == EINTR)
                        continue;
                if (got <= 0)
                        return got < 0 ? -1 : 0;
                to += got;
                at += got;
                n -= (size_t)got;
        }
        return 1;
}

static int write_at(int fd, const void *bytes, size_t n, off_t at)
{
        const char *from = bytes;

        while (n > 0) {
                ssize_t put = pwrite(fd, from, n, at);

                if (put < 0 && errno == EINTR)
                        continue;
                if (put < 0)
                        return -1;
                from += put;
                at += put;
                n -= (size_t)put;
        }
        return 0;
}

/*
 * read_group() - the group at `at` in ret (state, then messages)
 *
 * Return: 1 and its end, 0 when there is no whole group.
 */
static int read_group(int fd, off_t at, struct str *ret, off_t *ret_end)
{
        int64_t head[3];

        if (read_at(fd, head, sizeof(head), at) != 1 || head[0] != GROUP_MAGIC || head[1] < 0 ||
            head[1] > SPOOL_GROUP_MAX)
                return 0;
        str_clear(ret);
        str_reserve(ret, (size_t)head[1]);
        if (read_at(fd, ret->data, (size_t)head[1], at + GROUP_HEAD) != 1 ||
            checksum(ret->data, (size_t)head[1]) != head[2])
                return 0;
        ret->len = (size_t)head[1];
        *ret_end = at + GROUP_HEAD + head[1];
        return 1;
}

static int write_cursor(struct spool *spool)
{
        int64_t cursor[2] = {spool->last, spool->done};

        return write_at(spool->fd, cursor, sizeof(cursor), sizeof(int64_t));
}

static int make_head(struct spool *spool, struct error *err)
{
        int64_t magic = HEAD_MAGIC;

        spool->end = spool->done = spool->last = spool->holes = HEAD_BYTES;
        if (write_cursor(spool) < 0 || write_at(spool->fd, &magic, sizeof(magic), 0) < 0)
                return error_set_errno(err, "write '%s'", spool->options.path);
        return 0;
}

/* Find the end of what is whole, and the newest state on the way. */
static int scan(struct spool *spool, struct error *err)
{
        scoped_str struct str group = STR_INIT;
        off_t at = spool->last;
        off_t next;

        while (read_group(spool->fd, at, &group, &next)) {
                struct unpack unpack = {group.data, group.len, false};
                size_t n;
                const char *state = unpack_bytes(&unpack, &n);

                str_clear(&spool->state);
                str_add_bytes(&spool->state, state, n);
                at = next;
        }
        if (at < spool->done)
                return error_set(err, ERROR_INVALID, "'%s' ends before its published part",
                                 spool->options.path);
        spool->end = at;
        if (ftruncate(spool->fd, at) < 0)
                return error_set_errno(err, "cut '%s'", spool->options.path);
        return 0;
}

static int load(struct spool *spool, struct error *err)
{
        int64_t head[3];
        struct stat st;

        if (fstat(spool->fd, &st) < 0)
                return error_set_errno(err, "stat '%s'", spool->options.path);
        if (read_at(spool->fd, head, sizeof(head), 0) != 1 || head[0] == 0)
                return make_head(spool, err); /* new, or died before its head was whole */
        if (head[0] != HEAD_MAGIC || head[1] < HEAD_BYTES || head[2] < head[1])
                return error_set(err, ERROR_INVALID, "'%s' is no spool of this version",
                                 spool->options.path);
        spool->last = head[1];
        spool->done = head[2];
        spool->holes = HEAD_BYTES;
        return scan(spool, err);
}

/* Shipping */

struct batch {
        struct bus_body bodies[BUS_BATCH_MAX];
        size_t n;
        enum message_kind kind;
};

static int publish_batch(struct spool *spool, struct batch *batch, struct error *err)
{
        const char *queue = batch->kind == MESSAGE_LOG ? QUEUE_LOG : QUEUE_RESULT;
        size_t n = batch->n;

        batch->n = 0;
        return n ? bus_publish_all(spool->options.bus, queue, batch->bodies, n, err) : 0;
}

/* Order holds across both queues: a batch ends where the kind changes. */
static int publish_group(struct spool *spool, const struct str *group, struct batch *batch,
                         struct error *err)
{
        struct unpack unpack = {group->data, group->len, false};
        size_t n;

        unpack_bytes(&unpack, &n);
        while (unpack.left > 0 && !unpack.bad) {
                enum message_kind kind = (enum message_kind)unpack_int(&unpack);
                const char *json = unpack_bytes(&unpack, &n);

                if ((batch->n == BUS_BATCH_MAX || (batch->n > 0 && kind != batch->kind)) &&
                    publish_batch(spool, batch, err) < 0)
                        return -err->kind;
                batch->kind = kind;
                batch->bodies[batch->n++] = (struct bus_body){json, n};
        }
        return 0;
}

/* Read groups from `done` on, as many as make a good batch; they stay in memory until published. */
static int ship_some(struct spool *spool, off_t end, off_t *ret_last, off_t *ret_done,
                     struct error *err)
{
        struct str groups[BUS_BATCH_MAX];
        struct batch batch = {.n = 0};
        off_t at = spool->done;
        size_t bytes = 0;
        size_t n = 0;
        int result = 0;

        while (result == 0 && at < end && n < BUS_BATCH_MAX && bytes < BATCH_BYTES) {
                off_t next;

                str_init(&groups[n]);
                if (!read_group(spool->fd, at, &groups[n], &next)) {
                        str_done(&groups[n]);
                        result = error_set(err, ERROR_UNAVAILABLE, "cannot read '%s' at %lld",
                                           spool->options.path, (long long)at);
                        break;
                }
                *ret_last = at;
                *ret_done = at = next;
                bytes += groups[n].len;
                result = publish_group(spool, &groups[n++], &batch, err);
        }
        if (result == 0)
                result = publish_batch(spool, &batch, err);
        for (size_t i = 0; i < n; i++)
                str_done(&groups[i]);
        return result;
}

/* Give the pages before the last published group back; a file system that cannot do it keeps them
 * until the attempt is over. */
static void give_back(struct spool *spool)
{
        off_t to = spool->last / HEAD_BYTES * HEAD_BYTES;

        if (to - spool->holes < PUNCH_BYTES)
                return;
        if (fallocate(spool->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, spool->holes,
                      to - spool->holes) == 0 ||
            errno == EOPNOTSUPP)
                spool->holes = to;
}

static void wait_until(struct spool *spool, int64_t ms)
{
        struct timespec until;

        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += ms / 1000;
        until.tv_nsec += ms % 1000 * 1000000;
        if (until.tv_nsec >= 1000000000) {
                until.tv_sec++;
                until.tv_nsec -= 1000000000;
        }
        /* a wake-up by a new group does not shorten the back-off */
        while (!spool->stopped &&
               pthread_cond_timedwait(&spool->changed, &spool->lock, &until) != ETIMEDOUT)
                continue;
}

static int64_t backoff(int failures)
{
        int64_t ms = BACKOFF_FIRST_MS;

        for (int i = 1; i < failures && ms < BACKOFF_MOST_MS; i++)
                ms *= 2;
        return ms < BACKOFF_MOST_MS ? ms : BACKOFF_MOST_MS;
}

static void tell_failure(struct spool *spool, int failures, const struct error *err)
{
        struct log_context about = {.service = "executor", .job_id = spool->options.about};

        if (failures == 1)
                log_event(LOG_WARNING, &about,
                          "output is kept on disk until it can be published: %s", err->text);
}

static void *ship(void *data)
{
        struct spool *spool = data;
        uint64_t one = 1;
        int failures = 0;

        pthread_mutex_lock(&spool->lock);
        while (!spool->stopped) {
                struct error err;
                off_t end = spool->end;
                off_t last = spool->last;
                off_t done = spool->done;
                int result;

                if (done == end) {
                        pthread_cond_wait(&spool->changed, &spool->lock);
                        continue;
                }
                pthread_mutex_unlock(&spool->lock);
                result = ship_some(spool, end, &last, &done, &err);
                if (result < 0)
                        tell_failure(spool, ++failures, &err);
                pthread_mutex_lock(&spool->lock);
                if (result < 0) {
                        wait_until(spool, backoff(failures));
                        continue;
                }
                failures = 0;
                spool->last = last;
                spool->done = done;
                /* not marked: it would be published twice after a crash, no more than that */
                if (write_cursor(spool) == 0)
                        give_back(spool);
                if (write(spool->moved, &one, sizeof(one)) < 0)
                        continue;
        }
        pthread_mutex_unlock(&spool->lock);
        return NULL;
}

/* Opening and closing */

static void spool_free(struct spool *spool)
{
        if (spool->fd >= 0)
                close(spool->fd);
        if (spool->moved >= 0)
                close(spool->moved);
        pthread_cond_destroy(&spool->changed);
        pthread_mutex_destroy(&spool->lock);
        str_done(&spool->messages);
        str_done(&spool->state);
        str_done(&spool->text);
        free(spool);
}

static struct spool *spool_new(const struct spool_options *options)
{
        struct spool *spool = xcalloc(1, sizeof(*spool));
        pthread_condattr_t attributes;

        spool->options = *options;
        if (spool->options.bytes_max == 0)
                spool->options.bytes_max = SPOOL_BYTES_MAX;
        spool->fd = spool->moved = -1;
        str_init(&spool->messages);
        str_init(&spool->state);
        str_init(&spool->text);
        pthread_mutex_init(&spool->lock, NULL);
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(&spool->changed, &attributes);
        pthread_condattr_destroy(&attributes);
        return spool;
}

static int start(struct spool *spool, struct error *err)
{
        int code;

        spool->fd = open(spool->options.path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (spool->fd < 0)
                return error_set_errno(err, "open '%s'", spool->options.path);
        if (load(spool, err) < 0)
                return err ? -err->kind : -ERROR_INVALID;
        spool->moved = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (spool->moved < 0)
                return error_set_errno(err, "make an eventfd");
        code = pthread_create(&spool->shipper, NULL, ship, spool);
        if (code != 0) {
                errno = code;
                return error_set_errno(err, "start a thread");
        }
        return 0;
}

int spool_open(struct spool **ret, const struct spool_options *options, struct error *err)
{
        struct spool *spool = spool_new(options);
        int result = start(spool, err);

        if (result < 0) {
                spool_free(spool);
                return result;
        }
        *ret = spool;
        return 0;
}

void spool_close(struct spool *spool)
{
        if (!spool)
                return;
        pthread_mutex_lock(&spool->lock);
        spool->stopped = true;
        pthread_cond_broadcast(&spool->changed);
        pthread_mutex_unlock(&spool->lock);
        pthread_join(spool->shipper, NULL);
        spool_free(spool);
}

const char *spool_state(const struct spool *spool, size_t *ret_n)
{
        *ret_n = spool->state.len;
        return spool->state.len ? spool->state.data : NULL;
}

/* Committing */

static void add_message(struct spool *spool, enum message_kind kind)
{
        pack_int(&spool->messages, kind);
        pack_bytes(&spool->messages, spool->text.data, spool->text.len);
        str_clear(&spool->text);
}

void spool_log(struct spool *spool, const struct log_entry *entry)
{
        log_entry_encode(entry, &spool->text);
        add_message(spool, MESSAGE_LOG);
}

void spool_result(struct spool *spool, const struct job_result *result)
{
        job_result_encode(result, &spool->text);
        add_message(spool, MESSAGE_RESULT);
}

void spool_forget(struct spool *spool)
{
        str_clear(&spool->messages);
}

/* Return: whether cancel_fd became readable within the time (or `moved` did, which is drained). */
static bool wait_moved(struct spool *spool, int64_t ms, int cancel_fd)
{
        struct pollfd fds[2] = {{spool->moved, POLLIN, 0}, {cancel_fd, POLLIN, 0}};
        uint64_t count;

        if (poll(fds, 2, (int)ms) <= 0)
                return false;
        if ((fds[0].revents & POLLIN) && read(spool->moved, &count, sizeof(count)) < 0)
                return false;
        return (fds[1].revents & POLLIN) != 0;
}

static int write_group(struct spool *spool, const void *state, size_t n, int cancel_fd,
                       struct error *err)
{
        scoped_str struct str group = STR_INIT;
        off_t at = spool->end; /* only this thread moves it */
        int64_t head[3] = {GROUP_MAGIC, 0, 0};
        bool told = false;

        str_add_bytes(&group, head, sizeof(head));
        pack_bytes(&group, state, n);
        str_add_bytes(&group, spool->messages.data, spool->messages.len);
        head[1] = (int64_t)(group.len - sizeof(head));
        head[2] = checksum(group.data + sizeof(head), (size_t)head[1]);
        memcpy(group.data, head, sizeof(head));
        if (head[1] > SPOOL_GROUP_MAX)
                return error_set(err, ERROR_BUG, "a group of %lld bytes", (long long)head[1]);
        while (write_at(spool->fd, group.data, group.len, at) < 0) {
                error_set_errno(err, "keep output in '%s'", spool->options.path);
                if (!told)
                        tell_failure(spool, 1, err);
                told = true;
                if (wait_moved(spool, DISK_RETRY_MS, cancel_fd))
                        return -err->kind;
        }
        pthread_mutex_lock(&spool->lock);
        spool->end = at + (off_t)group.len;
        pthread_cond_broadcast(&spool->changed);
        pthread_mutex_unlock(&spool->lock);
        return 0;
}

int64_t spool_pending(struct spool *spool)
{
        int64_t pending;

        pthread_mutex_lock(&spool->lock);
        pending = spool->end - spool->done;
        pthread_mutex_unlock(&spool->lock);
        return pending;
}

int spool_commit(struct spool *spool, const void *state, size_t n, int cancel_fd, struct error *err)
{
        struct error why;

        if (write_group(spool, state, n, cancel_fd, &why) < 0)
                return error_set(err, ERROR_LIMIT, "%s", why.text);
        str_clear(&spool->messages);
        str_clear(&spool->state);
        str_add_bytes(&spool->state, state, n);
        while (spool_pending(spool) > spool->options.bytes_max) {
                if (wait_moved(spool, BACKOFF_MOST_MS, cancel_fd))
                        break;
        }
        return 0;
}

int spool_wait(struct spool *spool, int64_t timeout_ms, int cancel_fd)
{
        int64_t until = timeout_ms < 0 ? INT64_MAX : clock_ms() + timeout_ms;

        while (spool_pending(spool) > 0) {
                int64_t left = until - clock_ms();

                if (left <= 0)
                        return 0;
                if (wait_moved(spool, left < BACKOFF_MOST_MS ? left : BACKOFF_MOST_MS, cancel_fd))
                        return spool_pending(spool) == 0;
        }
        return 1;
}
