#pragma once
/*
 * pipeline_file - `.runnerci.yml`, read, checked and understood
 *
 * One table of keys feeds the validator, `argon lint` and the JSON Schema. All findings are
 * collected (at most FINDINGS_MAX), each with its place; a file with an error among them cannot be
 * run. Keys of the language that this version does not run yet are findings too, never ignored.
 * Scalars keep their source text: `3.10` is not 3.1.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "domain/finding.h"

struct arena;
struct error;
struct str;

#define PIPELINE_FILE_NAME ".runnerci.yml"
#define PIPELINE_FILE_NAME_LONG ".runnerci.yaml" /* taken too; both at once is an error */
#define PIPELINE_FILE_BYTES_MAX (256 * 1024)
#define PIPELINE_JOBS_MAX 256
#define PIPELINE_STEPS_MAX 256

struct pipeline_env {
        const char *name;
        const char *value;
};

/** struct pipeline_step - @timeout_ms: 0: none given; @shell, @folder: "" when not given */
struct pipeline_step {
        const char *id;
        const char *name; /* its name, or the first line of run */
        const char *run;
        const char *shell;
        const char *folder;
        int64_t timeout_ms;
        bool continue_on_error;
        struct pipeline_env *env;
        size_t n_env;
        int line;
};

/** struct pipeline_job - 0 and "" mean: not given; defaults of the file are already merged in */
struct pipeline_job {
        const char *name;  /* its key */
        const char *title; /* what is shown: name:, or the key */
        const char *image;
        const char **needs;
        size_t n_needs;
        struct pipeline_env *env;
        size_t n_env;
        int64_t timeout_ms;
        bool continue_on_error;
        int64_t memory;
        int64_t disk;
        int64_t millicpus;
        int64_t pids;
        bool network_none;
        int retry_max;
        bool retry_infra;
        bool retry_timeout;
        bool retry_failure;
        const char *retry_codes; /* exit codes that retry_failure is limited to: "75,137", or "" */
        struct pipeline_step *steps;
        size_t n_steps;
        int line;
};

/** struct pipeline_file - jobs in the order of the file; owns everything through its arena */
struct pipeline_file {
        struct arena *arena;
        const char *name;   /* "" when not given */
        const char *notify; /* notify.email, or "" */
        struct pipeline_env *env;
        size_t n_env;
        struct pipeline_job *jobs;
        size_t n_jobs;
        struct findings findings;
};

/**
 * pipeline_file_parse() - understand one file
 * @name: for the findings, as people know it
 * @bytes: n bytes, at most PIPELINE_FILE_BYTES_MAX (more is a finding)
 *
 * Cannot fail: whatever is wrong stands in (*ret)->findings. Use findings_errors() to ask whether
 * it can be run. Time and memory are bounded: 100 ms, 16 MiB for any input.
 */
struct pipeline_file *pipeline_file_parse(const char *name, const char *bytes, size_t n);
void pipeline_file_free(struct pipeline_file *file);

static inline void pipeline_file_freep(struct pipeline_file **file)
{
        if (*file)
                pipeline_file_free(*file);
}

/** pipeline_file_schema() - append the JSON Schema (draft-07) that the table means */
void pipeline_file_schema(struct str *str);
