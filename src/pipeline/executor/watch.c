#include "pipeline/executor/watch.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/str.h"

#include "base/banned.h"

#define AGAIN_MS 500

struct watch {
        struct engine *engine;
        struct sandbox *sandbox;
        pthread_t thread;
        int ended;        /* eventfd, for poll */
        int stop;         /* eventfd */
        atomic_bool over; /* `end` does not change after it was set */
        struct sandbox_end end;
};

static void raise_fd(int fd)
{
        uint64_t one = 1;

        /* cannot fail: the counter would have to reach 2^64 */
        if (write(fd, &one, sizeof(one)) < 0)
                return;
}

static bool fd_raised(int fd, int timeout_ms)
{
        struct pollfd one = {fd, POLLIN, 0};

        return poll(&one, 1, timeout_ms) > 0;
}

static void *run(void *data)
{
        struct watch *watch = data;

        for (;;) {
                struct error err;
                int result = engine_wait(watch->engine, watch->sandbox, -1, watch->stop,
                                         &watch->end, &err);

                if (result == 1)
                        break;
                if (result == -ERROR_CANCELLED || fd_raised(watch->stop, AGAIN_MS))
                        return NULL;
        }
        atomic_store(&watch->over, true);
        raise_fd(watch->ended);
        return NULL;
}

static void watch_free(struct watch *watch)
{
        if (watch->ended >= 0)
                close(watch->ended);
        if (watch->stop >= 0)
                close(watch->stop);
        free(watch);
}

int watch_open(struct watch **ret, struct engine *engine, struct sandbox *sandbox,
               struct error *err)
{
        struct watch *watch = xcalloc(1, sizeof(*watch));
        int code;

        watch->engine = engine;
        watch->sandbox = sandbox;
        watch->ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        watch->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (watch->ended < 0 || watch->stop < 0) {
                error_set_errno(err, "make an eventfd");
                watch_free(watch);
                return -ERROR_UNAVAILABLE;
        }
        code = pthread_create(&watch->thread, NULL, run, watch);
        if (code != 0) {
                watch_free(watch);
                errno = code;
                return error_set_errno(err, "start a thread");
        }
        *ret = watch;
        return 0;
}

void watch_close(struct watch *watch)
{
        if (!watch)
                return;
        raise_fd(watch->stop);
        pthread_join(watch->thread, NULL);
        watch_free(watch);
}

int watch_fd(const struct watch *watch)
{
        return watch->ended;
}

bool watch_ended(struct watch *watch, struct sandbox_end *ret)
{
        if (!atomic_load(&watch->over))
                return false;
        *ret = watch->end;
        return true;
}
