#pragma once
/*
 * cause - which limit of the sandbox a step ran into
 *
 * The kernel counts breaches of the memory and process limits of a control group; the counters are
 * read before and after a step. They are files inside the sandbox, of version 1 or 2; without them
 * (no /sys, or no control group) nothing is known and the exit code stands alone.
 */
#include <stdbool.h>
#include <stdint.h>

#include "wire/step_frame.h"

/** struct cause_counters - -1: cannot be read */
struct cause_counters {
        int64_t oom;
        int64_t pids;
};

#define CAUSE_SENTENCE_MAX 256

/** cause_read() - @cgroup: a folder that holds memory.events and pids.events, or memory/… and
 * pids/…
 */
struct cause_counters cause_read(const char *cgroup);
/**
 * cause_of() - what happened between two readings
 * @failed: the step did not end with 0
 * @sentence: "out of memory (512 MiB)", or "" for STEP_CAUSE_NONE
 * @warning: what happened though the step was not hurt by it, or ""
 */
enum step_cause cause_of(const char *cgroup, const char *workspace,
                         const struct cause_counters *before, bool failed,
                         char sentence[CAUSE_SENTENCE_MAX], char warning[CAUSE_SENTENCE_MAX]);
