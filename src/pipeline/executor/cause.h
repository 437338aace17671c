#pragma once
/*
 * cause - what became of a step or a job, from what argon-step and the engine saw
 *
 * Pure: values in, values out. The sentences carry the figures of the order's limits.
 */
#include <stdbool.h>
#include <stdint.h>

#include "domain/build.h"

struct order;
struct sandbox_end;
struct step_finished;
struct step_job_end;
struct str;

/** struct cause - @text: a sentence, not yet masked; zero it to begin, cause_done() frees its text
 */
struct cause {
        enum state state;
        enum reason reason;
        char *text;
        int exit_code;
        int signal;
        int step;
};

void cause_done(struct cause *verdict);
/** cause_set() - replace all of it; the text is copied */
void cause_set(struct cause *verdict, enum state state, enum reason reason, const char *text);

/** cause_of_step() - @asked: we asked argon-step to stop: then `stopped` is our cancel */
void cause_of_step(struct cause *ret, const struct order *order,
                   const struct step_finished *finished, bool asked);
void cause_of_job(struct cause *ret, const struct order *order, const struct step_job_end *end,
                  bool asked);
/** cause_of_sandbox() - it ended without a word from argon-step */
void cause_of_sandbox(struct cause *ret, const struct order *order, const struct sandbox_end *end);
/** cause_of_deadline() - argon-step did not keep the job's time limit, we did */
void cause_of_deadline(struct cause *ret, const struct order *order);

/** cause_of_absence() - no executor was there for so long that argon-step gave up */
void cause_of_absence(struct cause *ret, int64_t orphan_max_ms);

/** str_add_size() - "512 MiB", "1.5 GiB", "100 bytes" */
void str_add_size(struct str *str, int64_t bytes);
