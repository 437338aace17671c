#pragma once
/*
 * spawn - start the process of a step
 *
 * It leads a session (and so a process group) of its own, reads /dev/null, writes to two pipes, has
 * no other descriptor of ours, default signals, and a raised oom_score_adj.
 */
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "step/shell.h"

struct error;
struct step_plan;
struct step_plan_step;

/** struct spawn_host - what of this process the children need; made once by spawn_open()
 *  @null: for standard input; @oom: our oom_score_adj, opened while we may, or -1; @core: the limit
 *  that we were started with */
struct spawn_host {
        int null;
        int oom;
        int oom_score;
        struct rlimit core;
        char *const *variables;
};

void spawn_open(struct spawn_host *host, char *const *variables);

/**
 * spawn_step() - start it
 * @output: the two writing ends; still the caller's
 * @shell: filled; shell_done() when the step has ended (also after an error)
 *
 * Return: 0 and *ret; an error with a sentence for the one who wrote the step
 */
int spawn_step(pid_t *ret, struct shell *shell, const struct spawn_host *host,
               const struct step_plan *plan, const struct step_plan_step *step, const int output[2],
               struct error *err);
