#pragma once
/*
 * engine - runs one job isolated: a container whose PID 1 is argon-step
 *
 * The executor makes a control folder and a workspace folder, listens on a socket in the control
 * folder, and asks the engine for a sandbox in which argon-step sees the control folder read-only
 * at /argon and the workspace at /workspace. argon-step connects to /argon/sock; everything else
 * (plan, output, results) is between it and the executor. In remote mode, where no folder can be
 * shared, the engine carries the workspace in as an archive and engine_attach() gives a descriptor
 * that stands for the socket.
 *
 * A sandbox outlives its executor: engine_find() finds it again by its labels after a restart.
 * struct engine may be shared by threads.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/scoped.h"

struct engine;

enum engine_limit {
        ENGINE_LIMIT_MEMORY = 1,
        ENGINE_LIMIT_CPUS = 2,
        ENGINE_LIMIT_PIDS = 4,
        ENGINE_LIMIT_DISK = 8,
};

/**
 * struct engine_info - what the engine is and can; texts live as long as the engine
 * @name: "docker", "local"; @version: for people ("docker 20.10.24", "bubblewrap 0.8.0")
 * @images: whether it runs images at all; @remote: folders cannot be shared (archive and attach)
 * @limits: bits of enum engine_limit that it enforces
 * @missing: sentences (one per line) about isolation or limits it lacks here, "" when nothing
 * @strict: whether the strict profile can be kept; @strict_why: why not; @strict_offline: whether
 *         it can for a job without network
 * @network_none: whether it can switch the network off
 */
struct engine_info {
        const char *name;
        const char *version;
        const char *architecture;
        bool images;
        bool remote;
        unsigned limits;
        const char *missing;
        bool strict;
        bool strict_offline;
        const char *strict_why;
        bool network_none;
        int cpus;
};

/**
 * struct sandbox_spec - one sandbox; texts are borrowed for the call
 * @build_id, @job_id, @attempt, @token: its labels; @slot: 0…slots-1, for the slot's network
 * @control, @workspace: folders of the host
 * @strict: security profile
 * @network_none: no network at all
 * @memory, @disk: bytes; @cpus: thousandths of a core; @pids
 */
struct sandbox_spec {
        const char *build_id;
        const char *job_id;
        int attempt;
        const char *token;
        int slot;
        const char *image;
        const char *control;
        const char *workspace;
        bool strict;
        bool network_none;
        int64_t memory;
        int64_t disk;
        int64_t millicpus;
        int64_t pids;
};

/** struct sandbox - a handle; free with engine_sandbox_free() (which does not end the sandbox)
 *  @id: the engine's name for it (container id; "pid:starttime") */
struct sandbox {
        char *id;
        char *job_id;
        int attempt;
        char *token;
        char *control;
        int slot;
        bool running;
        void *adapter;
};

/** struct sandbox_end - @exit_code: of argon-step, -1 unknown; @oom: the engine saw the memory
 * limit break; @disk: the engine ended it for its disk limit */
struct sandbox_end {
        int exit_code;
        bool oom;
        bool disk;
        bool gone; /* the engine no longer knows it */
};

struct engine_ops {
        const struct engine_info *(*info)(struct engine *engine);
        int (*image_ensure)(struct engine *engine, const char *image,
                            void (*progress)(void *data, const char *line), void *data,
                            int cancel_fd, struct error *err);
        int (*create)(struct engine *engine, struct sandbox **ret, const struct sandbox_spec *spec,
                      struct error *err);
        int (*start)(struct engine *engine, struct sandbox *sandbox, struct error *err);
        int (*peer)(struct engine *engine, struct sandbox *sandbox, pid_t *ret, struct error *err);
        int (*attach)(struct engine *engine, struct sandbox *sandbox, int *ret_fd,
                      struct error *err);
        int (*wait)(struct engine *engine, struct sandbox *sandbox, int64_t timeout_ms,
                    int cancel_fd, struct sandbox_end *ret, struct error *err);
        int (*kill)(struct engine *engine, struct sandbox *sandbox, struct error *err);
        int (*remove)(struct engine *engine, struct sandbox *sandbox, struct error *err);
        int (*find)(struct engine *engine, struct sandbox ***ret, size_t *ret_n, struct error *err);
        void (*sandbox_free)(struct sandbox *sandbox);
        void (*close)(struct engine *engine);
};

struct engine {
        const struct engine_ops *ops;
};

static inline const struct engine_info *engine_info(struct engine *engine)
{
        return engine->ops->info(engine);
}

/**
 * engine_image_ensure() - have the image here, pulling it if it is missing
 * @progress: a line for the job's log now and then ("pulling layer 2 of 5, 34 MiB of 120 MiB")
 *
 * Return: -ERROR_NOT_FOUND or -ERROR_DENIED with the registry's own reason, -ERROR_UNAVAILABLE when
 * engine or registry cannot be reached, -ERROR_CANCELLED. Engines without images return 0.
 */
static inline int engine_image_ensure(struct engine *engine, const char *image,
                                      void (*progress)(void *data, const char *line), void *data,
                                      int cancel_fd, struct error *err)
{
        return engine->ops->image_ensure(engine, image, progress, data, cancel_fd, err);
}

/** engine_create() - made and labelled, not running; the workspace may still be empty */
static inline int engine_create(struct engine *engine, struct sandbox **ret,
                                const struct sandbox_spec *spec, struct error *err)
{
        return engine->ops->create(engine, ret, spec, err);
}

static inline int engine_start(struct engine *engine, struct sandbox *sandbox, struct error *err)
{
        return engine->ops->start(engine, sandbox, err);
}

/** engine_peer() - host pid of argon-step: the only peer whose connection is taken */
static inline int engine_peer(struct engine *engine, struct sandbox *sandbox, pid_t *ret,
                              struct error *err)
{
        return engine->ops->peer(engine, sandbox, ret, err);
}

/** engine_attach() - remote mode: a stream socket to argon-step's stdin and stdout */
static inline int engine_attach(struct engine *engine, struct sandbox *sandbox, int *ret_fd,
                                struct error *err)
{
        return engine->ops->attach(engine, sandbox, ret_fd, err);
}

/**
 * engine_wait() - until the sandbox has ended
 *
 * Return: 1 ended (*ret filled), 0 the time is over, -ERROR_CANCELLED when cancel_fd is readable,
 * -ERROR_UNAVAILABLE when the engine does not answer (the sandbox may still run).
 */
static inline int engine_wait(struct engine *engine, struct sandbox *sandbox, int64_t timeout_ms,
                              int cancel_fd, struct sandbox_end *ret, struct error *err)
{
        return engine->ops->wait(engine, sandbox, timeout_ms, cancel_fd, ret, err);
}

/** engine_kill() - end everything in it at once; one that has ended or is gone is success */
static inline int engine_kill(struct engine *engine, struct sandbox *sandbox, struct error *err)
{
        return engine->ops->kill(engine, sandbox, err);
}

/** engine_remove() - ended or not: afterwards nothing of it is left; gone is success */
static inline int engine_remove(struct engine *engine, struct sandbox *sandbox, struct error *err)
{
        return engine->ops->remove(engine, sandbox, err);
}

/** engine_find() - every sandbox of this data folder, in any state; the caller frees each and *ret
 */
static inline int engine_find(struct engine *engine, struct sandbox ***ret, size_t *ret_n,
                              struct error *err)
{
        return engine->ops->find(engine, ret, ret_n, err);
}

static inline void engine_sandbox_free(struct engine *engine, struct sandbox *sandbox)
{
        if (sandbox)
                engine->ops->sandbox_free(sandbox);
}

static inline void engine_close(struct engine *engine)
{
        if (engine)
                engine->ops->close(engine);
}

/**
 * struct engine_options - for every adapter; texts must outlive the engine
 * @data: folder for what it keeps; also the label that tells our sandboxes from another server's
 * @step_binary: argon-step for this machine
 * @docker_host: as DOCKER_HOST; NULL: unix:///var/run/docker.sock
 * @slots: how many slot networks there may be
 * @default_image: for jobs that name none
 */
struct engine_options {
        const char *data;
        const char *step_binary;
        const char *docker_host;
        int slots;
        const char *default_image;
};

struct engine_adapter {
        const char *name;
        int (*open)(struct engine **ret, const struct engine_options *options, struct error *err);
};

/**
 * engine_open() - the adapter of that name; "auto": docker when it answers, else local
 * @ret_why: a sentence for people about the choice; the caller frees
 */
int engine_open(struct engine **ret, char **ret_why, const struct engine_adapter *table, size_t n,
                const char *name, const struct engine_options *options, struct error *err);
