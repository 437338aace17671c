#pragma once
/*
 * slots - the threads that run jobs, one job at a time each, and the table of what runs
 *
 * A slot takes a message only while it is free. Its consumer exists only for as long, so that a
 * broker that hands messages out ahead gives none to a slot that is busy. Recovered assignments go
 * to the slot of their sandbox; where the number of slots was lowered since, to an extra thread
 * that ends with it.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct assignment;
struct assignment_place;
struct error;
struct slots;

/**
 * struct slots_options - borrowed
 * @changed: called (on any thread) when a job begins or ends, without a lock held
 */
struct slots_options {
        const struct assignment_place *place;
        const char *labels;
        int n;
        void (*changed)(void *data);
        void *data;
};

/** slots_open() - recovered: taken, with the array; the threads start now */
int slots_open(struct slots **ret, const struct slots_options *options,
               struct assignment **recovered, size_t n_recovered, struct error *err);
/** slots_drain() - take no more; Return: whether all are idle within the time */
bool slots_drain(struct slots *slots, int64_t timeout_ms);
/** slots_close() - joins: what runs must have been stopped */
void slots_close(struct slots *slots);

int slots_running(struct slots *slots);
/** slots_each() - for every job that runs, under the lock: must be quick and must not call back */
void slots_each(struct slots *slots, void (*visit)(void *data, struct assignment *assignment),
                void *data);
