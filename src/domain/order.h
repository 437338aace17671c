#pragma once
/*
 * order - everything an executor must know to run one attempt of one job
 *
 * Made by plan_order() from a pipeline file and a build; stored with the attempt, read again by
 * a restarted executor. Holds names of secrets, never values. Owns its texts through its arena.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

struct order_env {
        const char *name;
        const char *value;
};

/**
 * struct order_step
 * @shell: "sh", "bash", "python" or a command with {0} that stands for the script's path
 * @folder: working directory, relative to /workspace or absolute; "" is /workspace
 * @timeout_ms: 0: only the job's limit
 * @env: of this step alone; the job's env is in the order
 */
struct order_step {
        const char *id;
        const char *name;
        const char *run;
        const char *shell;
        const char *folder;
        int64_t timeout_ms;
        bool continue_on_error;
        struct order_env *env;
        size_t n_env;
};

/**
 * struct order
 * @env: for every step: the CI_… variables, the file's env, the job's env, in this order (the later
 *         one of a name wins)
 * @memory, @disk: bytes; @millicpus: thousandths of a core
 * @strict: security profile of untrusted code
 * @notes: sentences for the job's log, one per line ("memory 64GiB cut down to 8GiB (…_MAX)"), or
 * ""
 */
struct order {
        struct arena *arena;
        const char *build_id;
        const char *job_id;
        int attempt;
        const char *token;
        const char *repo;
        const char *clone_url;
        const char *ref;
        const char *commit;
        const char *job_name;
        const char *image;
        bool strict;
        bool network_none;
        int64_t timeout_ms;
        int64_t memory;
        int64_t disk;
        int64_t millicpus;
        int64_t pids;
        const char **secrets;
        size_t n_secrets;
        struct order_env *env;
        size_t n_env;
        struct order_step *steps;
        size_t n_steps;
        const char *notes;
};

struct order *order_new(void);
void order_free(struct order *order);

static inline void order_freep(struct order **order)
{
        if (*order)
                order_free(*order);
}
