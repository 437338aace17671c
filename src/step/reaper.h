#pragma once
/*
 * reaper - every process of the sandbox that ends, and the end of those that do not want to
 *
 * As PID 1 we inherit all orphans, and kill(-1) reaches all there is. Outside a PID namespace of
 * our own (tests, odd engines) we are the subreaper instead and kill our descendants one generation
 * after the other; kill(-1) is then never used.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

struct error;

/**
 * struct reaper
 * @watched: the process of the running step, or 0; @gone, @status, @usage: how it ended
 * @reaped: all that ended so far
 * @alone: there is no child left
 */
struct reaper {
        bool init;
        pid_t watched;
        bool gone;
        int status;
        struct rusage usage;
        uint32_t reaped;
        bool alone;
};

int reaper_open(struct reaper *reaper, struct error *err);
/** reaper_watch() - the process whose end is of interest from now on */
void reaper_watch(struct reaper *reaper, pid_t pid);
/** reaper_collect() - take whatever has ended, without waiting */
void reaper_collect(struct reaper *reaper);
/** reaper_kill_all() - SIGKILL to all there is but us */
void reaper_kill_all(const struct reaper *reaper);
