#pragma once
/*
 * run_state - where a job stands, as it is committed with every group of its messages
 *
 * A later process loads it and goes on: same numbers, same entries. Belongs to one thread.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/executor/cause.h"

struct error;
struct log_cut;
struct str;

#define RUN_STATE_VERSION 1

enum run_phase {
        RUN_PHASE_NEW,       /* nothing was said yet */
        RUN_PHASE_PREPARING, /* no step can have started */
        RUN_PHASE_RUNNING,   /* the sandbox was started */
        RUN_PHASE_JUDGED,    /* the verdict stands, nothing more is read from the sandbox */
        RUN_PHASE_FINISHED,  /* `finished` was said */
};

/**
 * struct run_state
 * @starts: how many processes began to prepare it (one that kills its executor is not tried for
 *         ever)
 * @begun_boot: clock_boot_ms() when the attempt began; @saved_boot: at the last commit
 * @zero: ms between the attempt's beginning and the zero of argon-step's times; -1: not known
 * @extra_ms: added to the deadline: the time for which we kept the job waiting
 * @result_seq: of the last result
 * @position: of the supervisor's stream: read again from here; @seen: up to here control frames
 *         are done
 * @step: that runs or ran last, -1: none; @step_running: its end was not told yet; @first_line,
 * @last_line: of its output
 */
struct run_state {
        enum run_phase phase;
        int starts;
        int64_t begun_boot;
        int64_t saved_boot;
        int64_t zero;
        int64_t extra_ms;
        int64_t result_seq;
        uint64_t position;
        uint64_t seen;
        int step;
        bool step_running;
        int64_t first_line;
        int64_t last_line;
        bool cancelled;
        struct cause verdict;
};

void run_state_init(struct run_state *state);
void run_state_done(struct run_state *state);
void run_state_save(const struct run_state *state, struct log_cut *cut, struct str *ret);
/** run_state_load() - cut: a fresh cutter; Return: -ERROR_INVALID for another version or garbage */
int run_state_load(struct run_state *state, struct log_cut *cut, const void *bytes, size_t n,
                   struct error *err);
/** run_state_phase() - only the phase, without a cutter; NEW for nothing or garbage */
enum run_phase run_state_phase(const void *bytes, size_t n);
