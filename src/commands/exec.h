#pragma once
/*
 * exec - `argon exec`: the jobs of a file on this machine, with the executor's own code
 *
 * exec.c reads the command line; exec_input.c environment and secrets; exec_place.c the folders
 * under ~/.cache/argon/exec; exec_source.c what the jobs work on; exec_run.c runs the jobs by the
 * server's rules; exec_view.c shows it; exec_shell.c opens a shell where a job failed.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "pipeline/executor/job_run.h"

struct arena;
struct build;
struct engine;
struct error;
struct forge;
struct invocation;
struct log_entry;
struct order;
struct pipeline_file;
struct settings;

/* --- environment and secrets --- */

/** struct exec_input - everything given by -e, --env-file, --secret and the secrets file; texts
 * live as long as the arena. @masked: values of --env-file: masked, as they may be secrets */
struct exec_input {
        struct arena *arena;
        struct job_secret *secrets;
        size_t n_secrets;
        const char **names; /* of the secrets */
        struct job_secret *env;
        size_t n_env;
        const char **masked;
        size_t n_masked;
};

/**
 * exec_input_read() - from the command line, the environment, files and, where one is missing, a
 * prompt on the terminal
 * @repo: OWNER/NAME, for the user's file of secrets
 */
int exec_input_read(struct exec_input *ret, const struct invocation *invocation, const char *repo,
                    struct error *err);
void exec_input_done(struct exec_input *input);
/** exec_env_file() - K=V lines, # remarks, "export", quotes; each() may fail too */
int exec_env_file(const char *path, const char *text,
                  int (*each)(void *data, const char *name, const char *value, struct error *err),
                  void *data, struct error *err);

/* --- folders --- */

/**
 * struct exec_place - @data: held by this process alone (its lock); @logs: of this run; on the heap
 */
struct exec_place {
        char *data;
        int lock;
        char *jobs;
        char *work;
        char *mirrors;
        char *source;
        char *logs;
};

int exec_place_open(struct exec_place *ret, struct error *err);
/** exec_place_close() - everything is removed but the logs, the mirrors, and what was put beside
 * the logs to be kept */
void exec_place_close(struct exec_place *place);

/* --- source --- */

enum exec_source_kind {
        EXEC_SOURCE_DIRTY,  /* the work tree as it is */
        EXEC_SOURCE_COMMIT, /* --clean: the commit */
        EXEC_SOURCE_FOLDER, /* no git here: all files */
};

/**
 * struct exec_source - what the jobs work on; texts on the heap, "" where there is none
 * @top: top folder of the work tree, or this folder; @commit: of HEAD; @url: file:// of the
 * repository
 */
struct exec_source {
        enum exec_source_kind kind;
        char *top;
        char *url;
        char *commit;
        char *branch;
        char *repo;
        char *message;
        char *author;
        const char *staged; /* a folder with the tree, to be copied; NULL with COMMIT */
};

/** exec_source_find() - look around: git, HEAD, branch, remote */
int exec_source_find(struct exec_source *ret, bool clean, struct error *err);
/**
 * exec_source_stage() - make one copy that all jobs get, whatever is edited meanwhile
 * @ignored: what .gitignore names too
 */
int exec_source_stage(struct exec_source *source, struct forge *forge, const char *folder,
                      bool ignored, int cancel_fd, struct error *err);
/** exec_source_fill() - copy a folder's tree into an empty folder; for job_options */
int exec_source_fill(void *staged, const char *folder, int cancel_fd, struct error *err);
void exec_source_done(struct exec_source *source);

/* --- showing --- */

/**
 * struct exec_view - what people see; the lock is held for every output
 * @redraw: a block of running jobs on standard error; @stream: output of steps to standard output;
 * @prefix: width of the names in front of it, 0: none
 */
struct exec_view {
        pthread_mutex_t lock;
        struct invocation *invocation;
        const struct build *build; /* read by the main thread only */
        const struct exec_place *place;
        bool quiet;
        bool redraw;
        bool stream;
        size_t prefix;
        int drawn;
        bool open_line; /* the last output has no end of line */
        int64_t begun_ms;
        char *block; /* as it is on the screen */
        int *told;   /* per job: what exec_view_change() has said */
};

void exec_view_init(struct exec_view *view, struct invocation *invocation,
                    const struct build *build, const struct exec_place *place);
void exec_view_done(struct exec_view *view);
/** exec_view_line() - one line of ours, above the block */
void exec_view_line(struct exec_view *view, const char *format, ...)
        __attribute__((__format__(__printf__, 2, 3)));
/** exec_view_output() - what a job wrote; from any thread */
void exec_view_output(struct exec_view *view, const char *job, const char *bytes, size_t n);
/** exec_view_change() - jobs of the build have changed: say what is new since the last call */
void exec_view_change(struct exec_view *view);
/** exec_view_tick() - draw the block anew */
void exec_view_tick(struct exec_view *view);
/** exec_view_pause() - take the block away and keep everybody silent, until exec_view_resume() */
void exec_view_pause(struct exec_view *view);
void exec_view_resume(struct exec_view *view);
/** exec_view_end() - the last line: how it ended */
void exec_view_end(struct exec_view *view);
/** exec_view_plan() - `--list`: the jobs as a tree */
void exec_view_plan(struct invocation *invocation, const struct build *build,
                    const struct pipeline_file *file);
/** exec_view_graph() - append "lint, build → test" */
void exec_view_graph(const struct build *build, struct str *ret);

/* --- running --- */

/** struct exec - one run */
struct exec {
        struct invocation *invocation;
        struct settings *settings;
        struct pipeline_file *file;
        struct build *build;
        struct exec_input input;
        struct exec_source source;
        struct exec_place place;
        struct exec_view view;
        struct engine *engine;
        struct forge *forge;
        char *step_binary;
        int slots;
        bool keep;
        bool shell_on_fail;
};

/**
 * exec_run() - all jobs of the build, to the end
 * @signals: readable when SIGINT or SIGTERM came
 *
 * Return: 0, the number of the signal that ended it, or -kind.
 */
int exec_run(struct exec *exec, int signals, struct error *err);

/** exec_shell() - a shell where the job failed, until it is left */
void exec_shell(struct exec *exec, const struct order *order, const struct sandbox *sandbox,
                const char *workspace);
