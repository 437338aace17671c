#pragma once
/*
 * plan - from a pipeline file and a build to jobs and orders
 */
#include <stdbool.h>
#include <stdint.h>

struct build;
struct error;
struct job;
struct attempt;
struct order;
struct pipeline_file;

/** struct plan_limits - what a job gets when its file is silent, and the most it may ask for */
struct plan_limits {
        int64_t timeout_ms, timeout_max_ms;
        int64_t memory, memory_max;
        int64_t millicpus, millicpus_max;
        int64_t pids, pids_max;
        int64_t disk, disk_max;
};

/** plan_jobs() - fill build->jobs (ids, names, needs, retry rules, queued) from the file */
void plan_jobs(struct build *build, const struct pipeline_file *file);

/**
 * plan_order() - what this attempt of this job is to do
 * @url: of the build for people (CI_BUILD_URL)
 *
 * What the file asks beyond a limit's maximum is cut down and said in order->notes.
 *
 * Return: 0; -ERROR_NOT_FOUND when the file has no such job.
 */
int plan_order(struct order **ret, const struct pipeline_file *file, const struct build *build,
               const struct job *job, const struct attempt *attempt,
               const struct plan_limits *limits, const char *url, struct error *err);

/** plan_project_type() - maven, gradle, npm, python, go, cargo, cmake, make or unknown, from the
 * names in the top folder (one per line) */
const char *plan_project_type(const char *names);
