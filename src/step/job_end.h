#pragma once
/*
 * job_end - the part of job.h that brings a job to its end, and what both parts say
 */
#include <stddef.h>
#include <stdint.h>

#include "wire/step_frame.h"

struct job;

/** JOB_KILL_PATIENCE_MS - for what does not die of SIGKILL (a dead network disk) */
#define JOB_KILL_PATIENCE_MS 5000

/** job_emit() - put a frame into the stream */
void job_emit(struct job *job, const struct step_event *event);
/** job_ms() - since the plan came */
int64_t job_ms(const struct job *job);
/** job_say_cause() - a sentence for causes that are not the kernel's, else "" */
void job_say_cause(const struct job *job, enum step_cause cause, char *text, size_t size);
/** job_result_of() - what becomes of a job whose step ended for that cause */
enum step_job_result job_result_of(enum step_cause cause);
/** job_warn() - a further line for the warnings of JOB_END */
void job_warn(struct job *job, const char *text);
/** job_finish() - no further step: the result stands, the killing begins */
void job_finish(struct job *job, enum step_job_result result, enum step_cause cause,
                const char *text);
/** job_tick_killing(), job_tick_emptying() - move on in these phases */
void job_tick_killing(struct job *job);
void job_tick_emptying(struct job *job);
