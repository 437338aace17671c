/*
 * Ours lie directly below the roots, as Docker's do: there the kernel's rule of v2 that a cgroup
 * with processes has no controllers for its children does not apply. Whether they may be made is
 * not asked but tried.
 */
#include "adapters/engine/local_cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/parse.h"
#include "base/scoped.h"
#include "base/str.h"
#include "ports/engine.h"

#include "base/banned.h"

#define ROOT "/sys/fs/cgroup"
#define FILE_MAX 65536
#define PERIOD_US 100000
#define REMOVE_TRIES 200
#define REMOVE_PAUSE_MS 10
#define MAKE_TRIES 100
#define SWEEP_AGE_S 60 /* younger ones may be on their way to a process */

static const struct controller {
        const char *name;
        unsigned limit;
} controllers[] = {
        {"memory", ENGINE_LIMIT_MEMORY},
        {"cpu", ENGINE_LIMIT_CPUS},
        {"pids", ENGINE_LIMIT_PIDS},
};

#define CONTROLLERS (sizeof(controllers) / sizeof(controllers[0]))

static int write_value(const char *folder, const char *file, const char *value, struct error *err)
{
        scoped_text char *path = text_format("%s/%s", folder, file);
        scoped_fd int fd = open(path, O_WRONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : write(fd, value, strlen(value));

        return n < 0 ? error_set_errno(err, "write '%s' to %s", value, path) : 0;
}

static int write_number(const char *folder, const char *file, int64_t value, struct error *err)
{
        char text[24];

        snprintf(text, sizeof(text), "%" PRId64, value);
        return write_value(folder, file, text, err);
}

char *cgroup_path(const struct cgroups *cgroups, const char *controller, const char *name)
{
        if (cgroups->version == 2)
                return text_format(ROOT "/%s/%s", cgroups->base, name);
        return text_format(ROOT "/%s/%s/%s", controller, cgroups->base, name);
}

static char *base_path(const struct cgroups *cgroups, const char *controller)
{
        if (cgroups->version == 2)
                return text_format(ROOT "/%s", cgroups->base);
        return text_format(ROOT "/%s/%s", controller, cgroups->base);
}

/* A server that is killed leaves cgroups that nothing is in any more; whoever comes next sweeps. */
static void sweep_folder(const char *path)
{
        DIR *dir = opendir(path);
        struct dirent *entry;
        struct stat st;

        while (dir && (entry = readdir(dir))) {
                scoped_text char *below = text_format("%s/%s", path, entry->d_name);

                if (entry->d_name[0] != '.' && stat(below, &st) == 0 && S_ISDIR(st.st_mode) &&
                    time(NULL) - st.st_mtime > SWEEP_AGE_S)
                        rmdir(below); /* not while a process is in it */
        }
        if (dir)
                closedir(dir);
        if (stat(path, &st) == 0 && time(NULL) - st.st_mtime > SWEEP_AGE_S)
                rmdir(path);
}

static void sweep(const char *root)
{
        DIR *dir = opendir(root);
        struct dirent *entry;

        while (dir && (entry = readdir(dir))) {
                scoped_text char *path = text_format("%s/%s", root, entry->d_name);

                if (text_starts(entry->d_name, "argon-"))
                        sweep_folder(path);
        }
        if (dir)
                closedir(dir);
}

static void open_v1(struct cgroups *cgroups)
{
        cgroups->version = 1;
        for (size_t i = 0; i < CONTROLLERS; i++) {
                scoped_text char *path = base_path(cgroups, controllers[i].name);

                if (mkdir(path, 0755) == 0 || errno == EEXIST) {
                        scoped_text char *procs = text_format("%s/cgroup.procs", path);

                        if (access(procs, W_OK) == 0)
                                cgroups->limits |= controllers[i].limit;
                }
        }
        cgroups->swap = access(ROOT "/memory/memory.memsw.limit_in_bytes", F_OK) == 0;
        if (!cgroups->limits)
                cgroups->version = 0;
}

/* Return: bits of the limits that jobs below this folder can have. */
static unsigned enable_v2(const char *path)
{
        unsigned limits = 0;

        for (size_t i = 0; i < CONTROLLERS; i++) {
                scoped_text char *enable = text_format("+%s", controllers[i].name);

                write_value(ROOT, "cgroup.subtree_control", enable, NULL); /* mostly done already */
                if (write_value(path, "cgroup.subtree_control", enable, NULL) == 0)
                        limits |= controllers[i].limit;
        }
        return limits;
}

static void open_v2(struct cgroups *cgroups)
{
        scoped_text char *path = NULL;

        cgroups->version = 2;
        path = base_path(cgroups, "");
        if (mkdir(path, 0755) < 0 && errno != EEXIST) {
                cgroups->version = 0;
                return;
        }
        cgroups->limits = enable_v2(path);
        cgroups->swap = true;
        if (!cgroups->limits) {
                rmdir(path);
                cgroups->version = 0;
        }
}

/* It is there only while a job is. */
static void remove_base(const struct cgroups *cgroups)
{
        for (size_t i = 0; cgroups->version && i < CONTROLLERS; i++) {
                scoped_text char *path = base_path(cgroups, controllers[i].name);

                rmdir(path); /* not while a job is in it */
        }
}

void cgroups_open(struct cgroups *cgroups, const char *id8)
{
        *cgroups = (struct cgroups){0};
        snprintf(cgroups->base, sizeof(cgroups->base), "argon-%s", id8);
        if (access(ROOT "/cgroup.controllers", F_OK) == 0)
                open_v2(cgroups);
        else
                open_v1(cgroups);
        remove_base(cgroups);
        for (size_t i = 0; i < CONTROLLERS; i++) {
                scoped_text char *root = text_format(ROOT "/%s", controllers[i].name);

                sweep(cgroups->version == 1 ? root : ROOT);
        }
}

static int set_memory(const struct cgroups *cgroups, const char *folder, int64_t bytes,
                      struct error *err)
{
        if (cgroups->version == 2) {
                write_value(folder, "memory.swap.max", "0", NULL); /* absent without swap */
                write_value(folder, "memory.oom.group", "0", NULL);
                return write_number(folder, "memory.max", bytes, err);
        }
        if (write_number(folder, "memory.limit_in_bytes", bytes, err) < 0)
                return -ERROR_UNAVAILABLE;
        return cgroups->swap ? write_number(folder, "memory.memsw.limit_in_bytes", bytes, err) : 0;
}

static int set_cpus(const struct cgroups *cgroups, const char *folder, int64_t millicpus,
                    struct error *err)
{
        int64_t quota = millicpus * PERIOD_US / 1000;
        char text[48];

        if (cgroups->version == 1)
                return write_number(folder, "cpu.cfs_period_us", PERIOD_US, err) < 0
                               ? -ERROR_UNAVAILABLE
                               : write_number(folder, "cpu.cfs_quota_us", quota, err);
        snprintf(text, sizeof(text), "%" PRId64 " %d", quota, PERIOD_US);
        return write_value(folder, "cpu.max", text, err);
}

static int set_limit(const struct cgroups *cgroups, unsigned limit, const char *folder,
                     const struct cgroup_limits *limits, struct error *err)
{
        if (limit == ENGINE_LIMIT_MEMORY && limits->memory > 0)
                return set_memory(cgroups, folder, limits->memory, err);
        if (limit == ENGINE_LIMIT_CPUS && limits->millicpus > 0)
                return set_cpus(cgroups, folder, limits->millicpus, err);
        if (limit == ENGINE_LIMIT_PIDS && limits->pids > 0)
                return write_number(folder, "pids.max", limits->pids, err);
        return 0;
}

/* The base may be taken away by the end of another job at any moment until ours is in it. */
static int make_folder(const struct cgroups *cgroups, const char *base, const char *path,
                       struct error *err)
{
        for (int i = 0; mkdir(path, 0755) < 0 && errno != EEXIST; i++) {
                if (errno != ENOENT || i >= MAKE_TRIES)
                        return error_set_errno(err, "make cgroup '%s'", path);
                if (mkdir(base, 0755) == 0 && cgroups->version == 2)
                        enable_v2(base);
        }
        return 0;
}

int cgroup_make(const struct cgroups *cgroups, const char *name, const struct cgroup_limits *limits,
                struct error *err)
{
        for (size_t i = 0; i < CONTROLLERS; i++) {
                scoped_text char *path = cgroup_path(cgroups, controllers[i].name, name);
                scoped_text char *base = base_path(cgroups, controllers[i].name);

                if (!(cgroups->limits & controllers[i].limit))
                        continue;
                if (make_folder(cgroups, base, path, err) < 0)
                        return error_wrap(err, "limit the job");
                if (set_limit(cgroups, controllers[i].limit, path, limits, err) < 0)
                        return error_wrap(err, "limit the job");
        }
        return 0;
}

int cgroup_enter(const struct cgroups *cgroups, const char *name, pid_t pid, struct error *err)
{
        for (size_t i = 0; i < CONTROLLERS; i++) {
                scoped_text char *path = cgroup_path(cgroups, controllers[i].name, name);

                if (!(cgroups->limits & controllers[i].limit))
                        continue;
                if (write_number(path, "cgroup.procs", pid, err) < 0)
                        return error_wrap(err, "limit the job");
        }
        return 0;
}

int64_t cgroup_oom_kills(const struct cgroups *cgroups, const char *name)
{
        scoped_text char *folder = cgroup_path(cgroups, "memory", name);
        scoped_text char *path = text_format(
                "%s/%s", folder, cgroups->version == 2 ? "memory.events" : "memory.oom_control");
        scoped_str struct str text = STR_INIT;
        const char *at;
        int64_t kills = 0;

        if (!(cgroups->limits & ENGINE_LIMIT_MEMORY) ||
            str_read_file(&text, path, FILE_MAX, NULL) < 0)
                return 0;
        at = strstr(text.data, "oom_kill ");
        if (at) {
                scoped_text char *digits = text_format("%.*s", (int)strcspn(at + 9, "\n"), at + 9);

                parse_int(&kills, digits, 0, INT64_MAX, NULL);
        }
        return kills;
}

static void kill_all(const char *folder)
{
        scoped_text char *path = text_format("%s/cgroup.procs", folder);
        scoped_str struct str text = STR_INIT;

        if (str_read_file(&text, path, FILE_MAX, NULL) < 0)
                return;
        for (char *at = text.data; *at;) {
                char *end = at + strcspn(at, "\n");
                int64_t pid;
                char kept = *end;

                *end = '\0';
                if (parse_int(&pid, at, 2, INT32_MAX, NULL) == 0)
                        kill((pid_t)pid, SIGKILL);
                at = kept ? end + 1 : end;
        }
}

static int remove_folder(const char *folder, struct error *err)
{
        for (int i = 0; rmdir(folder) < 0; i++) {
                if (errno == ENOENT)
                        return 0;
                if (errno != EBUSY || i >= REMOVE_TRIES)
                        return error_set_errno(err, "remove cgroup '%s'", folder);
                kill_all(folder);
                poll(NULL, 0, REMOVE_PAUSE_MS);
        }
        return 0;
}

int cgroup_remove(const struct cgroups *cgroups, const char *name, struct error *err)
{
        for (size_t i = 0; cgroups->version && i < CONTROLLERS; i++) {
                scoped_text char *path = cgroup_path(cgroups, controllers[i].name, name);

                if (remove_folder(path, err) < 0)
                        return -ERROR_UNAVAILABLE;
        }
        remove_base(cgroups);
        return 0;
}
