#pragma once
/*
 * assignment - one claimed attempt: from the lease to its release
 *
 * Belongs to the thread of its slot; only `stop` may be touched by others.
 */
#include <stdbool.h>
#include <stdint.h>

#include "pipeline/executor/job_stop.h"

struct bus;
struct engine;
struct error;
struct forge;
struct order;
struct sandbox;
struct store;

/**
 * struct assignment_place - where assignments of one executor live; borrowed
 * @masks: folder on a tmpfs, or NULL; @quit_fd: readable once the process is to end
 */
struct assignment_place {
        struct bus *bus;
        struct store *store;
        struct engine *engine;
        struct forge *forge;
        const char *executor;
        const char *work;
        const char *control;
        const char *spool;
        const char *masks;
        int64_t spool_max;
        int64_t log_max;
        int64_t orphan_max_ms;
        int quit_fd;
};

/** struct assignment - texts and all but the sandbox's engine are its own
 *  @name: of its folders and its spool; @sandbox: found by recovery, or NULL */
struct assignment {
        char *build_id;
        char *job_id;
        int attempt;
        char *token;
        char *name;
        int slot;
        struct order *order;
        struct job_stop *stop;
        struct sandbox *sandbox;
};

/** assignment_new() - reads the order; Return: -ERROR_NOT_FOUND when the store has none,
 *  -ERROR_INVALID when it cannot be understood, -ERROR_UNAVAILABLE */
int assignment_new(struct assignment **ret, struct store *store, const char *job_id, int attempt,
                   const char *token, struct error *err);
void assignment_free(struct assignment *assignment);
static inline void assignment_freep(struct assignment **assignment)
{
        if (*assignment)
                assignment_free(*assignment);
}

/** assignment_name() - of the folders of an attempt: short, a file name; the caller frees */
char *assignment_name(const char *job_id, int attempt);

/** assignment_run() - until it is over and told, or the process is to end */
void assignment_run(struct assignment *assignment, const struct assignment_place *place);
/** assignment_drop() - release the lease and remove the folders of an attempt that is not run */
void assignment_drop(const struct assignment_place *place, const char *job_id, int attempt,
                     const char *token);
