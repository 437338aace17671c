#pragma once
/*
 * log_view - lines of a job's log, fetched and printed
 *
 * Shared by threads that follow several jobs at once: printing takes turns by a lock.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

struct client;
struct error;
struct invocation;

enum log_times { LOG_TIMES_NONE, LOG_TIMES_ELAPSED, LOG_TIMES_UTC };

/**
 * struct log_view - how lines are shown
 * @prefix: with the job's name before each line (several jobs at once)
 * @step: name, id or number (from 1) of the only step to show, or ""
 */
struct log_view {
        const struct invocation *invocation;
        pthread_mutex_t lock;
        enum log_times times;
        bool json;
        bool prefix;
        const char *step;
};

/** struct log_source - an attempt of a job; texts borrowed
 *  @began_ms: wall time at which its clock is 0; @step_index: -1: all, else only this one */
struct log_source {
        const char *job_id;
        const char *job_name;
        int attempt;
        int64_t began_ms;
        int step_index;
};

/** log_view_step() - index of the step that is meant; Return: 0, -1 when the job has no such step
 */
int log_view_step(const json_t *job, const char *step, int *ret_index);

/**
 * log_view_window() - fetch and print the lines from *from on
 * @wait: long poll until there is one; @ret_n: how many came
 *
 * Moves *from behind the last line. Return: 0 or -kind.
 */
int log_view_window(struct log_view *view, struct client *client, const struct log_source *source,
                    int64_t *from, int64_t lines, bool wait, int64_t *ret_n, struct error *err);
