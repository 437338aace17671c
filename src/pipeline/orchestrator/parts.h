#pragma once
/*
 * parts - what the threads of the orchestrator share
 *
 * Private to this folder. The options do not change; everything below `lock` in the struct is
 * guarded by it.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/json.h"
#include "base/log.h"
#include "pipeline/orchestrator/orchestrator.h"

#define ORCHESTRATOR "orchestrator"
#define SOURCE_THREADS_MAX 16

struct build;
struct bus_message;
struct consume;
struct job;
struct order;
struct pipeline_file;

/** struct gate_entry - a source thread at work on a repository, or waiting for its turn there */
struct gate_entry {
        const char *key;
        uint64_t ticket;
};

struct orchestrator {
        struct orchestrator_options options;
        atomic_bool stopped;
        int stop_fd; /* readable once stopped */

        pthread_mutex_t lock;
        pthread_cond_t changed;
        bool kicked;
        struct gate_entry gate[SOURCE_THREADS_MAX];
        size_t n_gate;
        uint64_t tickets;
        char **later; /* ids of builds whose source is to be read */
        size_t n_later;
        char *reading; /* the one in hand, or NULL */

        struct consume *sources[SOURCE_THREADS_MAX];
        pthread_t source_threads[SOURCE_THREADS_MAX];
        int n_sources;
        struct consume *control;
        pthread_t control_thread;
        struct bus_consumer *results;
        pthread_t results_thread;
        pthread_t dispatch_thread;
        pthread_t later_thread;
        int n_started; /* of the four threads above, in the order of orchestrator.c */
};

/** orchestrator_kick() - the dispatcher is to look at all unfinished builds now */
void orchestrator_kick(struct orchestrator *o);
/** orchestrator_wait() - sleep; Return: false when the orchestrator is to stop */
bool orchestrator_wait(struct orchestrator *o, int64_t ms);
/** orchestrator_backoff() - wait after the n-th failure in a row: 200 ms, doubling to 10 s */
bool orchestrator_backoff(struct orchestrator *o, int failures);
/** orchestrator_later() - have the source of this build read; nothing if that is under way */
void orchestrator_later(struct orchestrator *o, const char *build_id);
/** orchestrator_log() - about a build, and a job unless NULL; @context: taken, may be NULL */
void orchestrator_log(enum log_severity severity, const struct build *build, const struct job *job,
                      json_t *context, const char *format, ...)
        __attribute__((__format__(__printf__, 5, 6)));

/* change.c */

/** change_fn - change the build; 1 changed, 0 not, -kind: leave it */
typedef int change_fn(struct build *build, void *data, struct error *err);
/**
 * change_build() - load, change, bring forward, compare and swap; again when somebody was first
 *
 * fn may be called several times, each time on a fresh build. Return: 0, or what fn said;
 * -ERROR_NOT_FOUND when there is no such build, -ERROR_UNAVAILABLE.
 */
int change_build(struct orchestrator *o, const char *id, change_fn *fn, void *data,
                 struct error *err);
/** struct change_before - states of jobs and build before a change, to tell what is new */
struct change_before;
struct change_before *change_remember(const struct build *build);
void change_forget(struct change_before *before);
DEFINE_FREEP(change_before, struct change_before *, change_forget)
/** change_announce() - a changed build was stored: wake its readers, log what ended.
 *  @before: from change_remember(), of the same build. Return: whether a job's state changed */
bool change_announce(struct orchestrator *o, const struct build *build,
                     const struct change_before *before);

/* source.c */

enum source_result { SOURCE_READ = 0, SOURCE_NO_FILE = 1 };
/**
 * source_read() - fetch, read the file, plan: fill the build from its source
 *
 * What is wrong with the source ends the build as an error with its reason and is success here.
 *
 * Return: SOURCE_READ, SOURCE_NO_FILE, -ERROR_CANCELLED when stopping, -ERROR_UNAVAILABLE when our
 * own store is away.
 */
int source_read(struct orchestrator *o, struct build *build, struct error *err);
/** source_file() - the file that a build was planned from, as it was stored then */
int source_file(struct orchestrator *o, const struct build *build, struct pipeline_file **ret,
                struct error *err);
/** source_fail() - end the build as an error */
void source_fail(struct build *build, int reason, const char *text);

/** notify_end() - publish that a build has ended, then mark it as told (notify.c) */
int notify_end(struct orchestrator *o, struct build *build, struct error *err);

/* events.c, manual.c, control.c, results.c, dispatch.c: handlers and bodies of the threads */
int events_handle(void *data, const struct bus_message *message, struct error *err);
void *manual_main(void *data);
/** manual_begin() - a build that somebody asked for, queued until its source is read */
int manual_begin(struct orchestrator *o, const char *request_id, const char *repo, const char *ref,
                 const char *who, struct error *err);
int control_handle(void *data, const struct bus_message *message, struct error *err);
void *results_main(void *data);
void *dispatch_main(void *data);
