#pragma once
/*
 * watch - a thread that waits for the end of one sandbox
 *
 * An engine that does not answer is not the end of the sandbox: it is asked again until it does.
 */
#include "ports/engine.h"

struct watch;

int watch_open(struct watch **ret, struct engine *engine, struct sandbox *sandbox,
               struct error *err);
void watch_close(struct watch *watch);
static inline void watch_freep(struct watch **watch)
{
        if (*watch)
                watch_close(*watch);
}

/** watch_fd() - readable once the sandbox has ended */
int watch_fd(const struct watch *watch);
/** watch_ended() - whether it has; then *ret says how */
bool watch_ended(struct watch *watch, struct sandbox_end *ret);
