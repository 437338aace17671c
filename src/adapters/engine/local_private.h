#pragma once
/*
 * local_private - what the files of the local adapter share
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "adapters/engine/local_cgroup.h"
#include "ports/engine.h"

struct disk_watch;
struct str;

/**
 * struct local - bubblewrap, as one server uses it
 * @folder: DATA/engine/local: a record, a status file and private folders per sandbox
 * @root: we are root, so a job gets a user of its own
 */
struct local {
        struct engine engine;
        struct engine_info info;
        struct cgroups cgroups;
        struct disk_watch *watch;
        char *bwrap;
        char *setpriv;
        char *step;
        char *folder;
        char *version;
        char *architecture;
        char *missing;
        bool root;
};

/**
 * struct local_record - one sandbox, as DATA/engine/local/NAME.json keeps it; its texts are its own
 * @name: of its files and its cgroup
 * @pid: of argon-step on this machine, 0: not started; @start: that process's start time, by which
 *         it is told from a later one with the same number
 */
struct local_record {
        char *name;
        char *build_id;
        char *job_id;
        char *token;
        char *control;
        char *workspace;
        int attempt;
        int slot;
        bool network_none;
        int64_t memory;
        int64_t disk;
        int64_t millicpus;
        int64_t pids;
        pid_t pid;
        int64_t start;
};

/* local_sandbox.c */
extern const struct engine_ops local_ops;
void local_free(struct local *local);
/** local_watch_new() - the thread that watches the jobs' disks */
int local_watch_new(struct local *local, struct error *err);

/* local_record.c */
void local_record_done(struct local_record *record);
#define scoped_local_record __attribute__((__cleanup__(local_record_done)))
/** local_record_write() - replace it as a whole */
int local_record_write(const struct local *local, const struct local_record *record,
                       struct error *err);
/** local_record_read() - -ERROR_NOT_FOUND when there is none */
int local_record_read(const struct local *local, struct local_record *ret, const char *name,
                      struct error *err);
/** local_record_path() - DATA/engine/local/NAME and a suffix; on the heap */
char *local_record_path(const struct local *local, const char *name, const char *suffix);
/** local_record_alive() - whether its argon-step still runs */
bool local_record_alive(const struct local_record *record);
/** local_start_time() - of a process, in ticks since the machine started; -1 when there is none */
int64_t local_start_time(pid_t pid);
/** local_status() - a number in what bwrap wrote about the sandbox ("child-pid", "exit-code"), or
 *  -1 */
int64_t local_status(const struct local *local, const char *name, const char *key);

/* local_args.c */
#define LOCAL_ARGS_MAX 256
/** struct local_args - bwrap's arguments; texts are owned */
struct local_args {
        char *argv[LOCAL_ARGS_MAX];
        size_t n;
};

void local_args_done(struct local_args *args);
#define scoped_local_args __attribute__((__cleanup__(local_args_done)))
void local_args_add(struct local_args *args, const char *text);
/** struct local_fds - numbers that the descriptors have in bwrap; -1: not given */
struct local_fds {
        int info;
        int status;
        int block;
        int seccomp;
};
/**
 * local_args_sandbox() - everything before the program
 * @private: folder with tmp, vartmp, home, run, passwd and group of the sandbox; @control,
 * @workspace: may be NULL
 * @cgroup: name of its cgroup to show inside, or NULL
 */
void local_args_sandbox(struct local_args *args, const struct local *local, const char *private,
                        const char *control, const char *workspace, const char *cgroup,
                        bool network_none, const struct local_fds *fds);
/** local_args_program() - argon-step under the job's user, and its own arguments after it */
void local_args_program(struct local_args *args, const struct local *local, int slot,
                        const char *argument);
/** local_uid() - user of jobs in a slot */
uid_t local_uid(const struct local *local, int slot);

/* local_spawn.c */
/** local_prepare() - private folders of a sandbox, owned by the job's user, who is given the
 *  workspace too */
int local_prepare(const struct local *local, const char *private, const char *workspace, int slot,
                  struct error *err);
/** local_spawn() - begin it; record->pid and start are filled and written before anything of the
 *  job runs. Return: pid of bwrap's process outside, a child of ours to be collected; or -kind */
int local_spawn(const struct local *local, struct local_record *record, struct error *err);
/** local_limit() - put record->pid under the job's limits; its control group is there already */
int local_limit(const struct local *local, const struct local_record *record, struct error *err);
