#pragma once
/*
 * scoped - values that clean up after themselves when their scope ends
 *
 * The owner of a thing is a scoped variable. Giving it away is visible:
 *
 *         scoped(job_order) struct job_order *order = NULL;
 *         ...
 *         *ret = take(order);
 *
 * scoped(x) calls x_freep(&variable), which DEFINE_FREEP(x, type, function) declares.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define scoped(name) __attribute__((__cleanup__(name##_freep)))

/** take() - hand the pointer over: the variable becomes NULL, the caller of take() owns the thing
 */
#define take(variable)                                    \
        ({                                                \
                __typeof__(variable) taken_ = (variable); \
                (variable) = NULL;                        \
                taken_;                                   \
        })

#define DEFINE_FREEP(name, type, function)           \
        static inline void name##_freep(type *thing) \
        {                                            \
                if (*thing)                          \
                        function(*thing);            \
        }

static inline void scoped_fd_close(int *fd)
{
        if (*fd >= 0)
                close(*fd);
}

static inline void scoped_text_free(char **text)
{
        free(*text);
}

DEFINE_FREEP(file, FILE *, fclose)

#define scoped_fd __attribute__((__cleanup__(scoped_fd_close)))
#define scoped_text __attribute__((__cleanup__(scoped_text_free)))

/** take_fd() - hand a descriptor over: the variable becomes -1 */
static inline int take_fd(int *fd)
{
        int taken = *fd;

        *fd = -1;
        return taken;
}
