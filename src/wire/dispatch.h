#pragma once
/*
 * dispatch - a message of sandbox.queue: one attempt of one job, as a reference to its order; and
 * the word to cancel one, which travels on the live topic "cancel.JOB" (lossy: the executor also
 * looks at the build when it renews its lease)
 */
#include <stddef.h>

struct arena;
struct error;
struct str;

struct dispatch {
        struct arena *arena;
        const char *id;
        const char *build_id;
        const char *job_id;
        int attempt;
        const char *token;
        const char *labels; /* comma separated, "" for any */
};

struct dispatch *dispatch_new(void);
void dispatch_free(struct dispatch *dispatch);
static inline void dispatch_freep(struct dispatch **dispatch)
{
        if (*dispatch)
                dispatch_free(*dispatch);
}

void dispatch_encode(const struct dispatch *dispatch, struct str *ret);
int dispatch_decode(struct dispatch **ret, const char *text, size_t n, struct error *err);
