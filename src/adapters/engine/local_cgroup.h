#pragma once
/*
 * local_cgroup - limits of a job of the local engine, by cgroups v1 or v2 where we may make them
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct error;

/**
 * struct cgroups - where ours go
 * @version: 1, 2, or 0: none may be made here
 * @limits: bits of enum engine_limit that they can enforce
 * @base: folder of all our jobs below each hierarchy's root ("argon-1a2b3c4d")
 * @swap: swap is limited too
 */
struct cgroups {
        int version;
        unsigned limits;
        char base[32];
        bool swap;
};

/** struct cgroup_limits - bytes, thousandths of a core, processes; 0: no limit */
struct cgroup_limits {
        int64_t memory;
        int64_t millicpus;
        int64_t pids;
};

/** cgroups_open() - find out by making one; never fails, but may find none. Takes away what killed
 *  servers left empty. */
void cgroups_open(struct cgroups *cgroups, const char *id8);
/** cgroup_make() - for one job, with its limits, without processes */
int cgroup_make(const struct cgroups *cgroups, const char *name, const struct cgroup_limits *limits,
                struct error *err);
/** cgroup_enter() - move a process, whose children then follow it */
int cgroup_enter(const struct cgroups *cgroups, const char *name, pid_t pid, struct error *err);
/** cgroup_oom_kills() - how many processes the memory limit has ended */
int64_t cgroup_oom_kills(const struct cgroups *cgroups, const char *name);
/** cgroup_remove() - end whatever is left in it and take it away; gone is success */
int cgroup_remove(const struct cgroups *cgroups, const char *name, struct error *err);
/** cgroup_path() - folder of a job in one hierarchy; controller is ignored with v2; on the heap */
char *cgroup_path(const struct cgroups *cgroups, const char *controller, const char *name);
