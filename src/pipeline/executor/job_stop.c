#include "pipeline/executor/job_stop.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"
#include "base/str.h"

#include "base/banned.h"

struct job_stop {
        atomic_int kind;
        int fd;
};

int job_stop_new(struct job_stop **ret, struct error *err)
{
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        struct job_stop *stop;

        if (fd < 0)
                return error_set_errno(err, "make an eventfd");
        stop = xcalloc(1, sizeof(*stop));
        stop->fd = fd;
        *ret = stop;
        return 0;
}

void job_stop_free(struct job_stop *stop)
{
        if (!stop)
                return;
        close(stop->fd);
        free(stop);
}

void job_stop_raise(struct job_stop *stop, enum job_stop_kind kind)
{
        int was = atomic_load(&stop->kind);
        int saved = errno;
        uint64_t one = 1;

        while (was < (int)kind) {
                if (!atomic_compare_exchange_weak(&stop->kind, &was, (int)kind))
                        continue;
                /* cannot fail: the counter would have to reach 2^64 */
                if (write(stop->fd, &one, sizeof(one)) < 0)
                        break;
                break;
        }
        errno = saved;
}

enum job_stop_kind job_stop_kind(const struct job_stop *stop)
{
        return (enum job_stop_kind)atomic_load(&stop->kind);
}

int job_stop_fd(const struct job_stop *stop)
{
        return stop->fd;
}

enum job_stop_kind job_stop_seen(struct job_stop *stop)
{
        uint64_t count;

        /* first quiet, then look: a rise between the two leaves the descriptor readable */
        if (read(stop->fd, &count, sizeof(count)) < 0)
                count = 0;
        return job_stop_kind(stop);
}
