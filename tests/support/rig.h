#pragma once
/*
 * rig - the real embedded adapters in a folder of their own, a real git repository, and an executor
 * that does exactly what the test says
 *
 * For unit tests of services; include after tests/support/test.h. Every wait has a deadline and
 * fails the test when it is over.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "domain/build.h"
#include "wire/job_result.h"

struct bus;
struct dispatch;
struct forge;
struct sqlite_files;
struct store;

#define RIG_WAIT_MS 30000

struct rig {
        char folder[64];
        char *repository; /* folder of the git repository */
        char *url;        /* file://… */
        char *mirrors;
        struct sqlite_files *files;
        struct bus *bus;
        struct store *store;
        struct forge *forge;
};

void rig_open(struct rig *rig);
void rig_close(struct rig *rig);
/* The same in two halves, for tests in which a process of ours dies: folder and repository, which
 * stay, and the adapters, which one process at a time has open. */
void rig_prepare(struct rig *rig);
void rig_attach(struct rig *rig);
void rig_detach(struct rig *rig);
/**
 * rig_die() - run body in a child with the adapters open, in which the failpoint kills
 *
 * Fails the test unless the child was killed. Needs a build with failpoints.
 */
void rig_die(struct rig *rig, const char *failpoint, void (*body)(struct rig *rig, void *data),
             void *data);

/** rig_commit() - write a file (NULL content: only what is there) and commit; ret: the commit */
void rig_commit(struct rig *rig, const char *name, const char *content, char ret[65]);
/** rig_git() - a git command in the repository */
void rig_git(struct rig *rig, const char *const *arguments);

/** rig_push() - publish an event for webhook.queue */
void rig_push(struct rig *rig, const char *repo, const char *url, const char *commit,
              const char *delivery);
/** rig_ask() - publish a request for control.queue; kind as in control_request.h */
void rig_ask(struct rig *rig, int kind, const char *target, const char *what);

/** rig_take() - the next dispatch; the caller frees; fails the test when none comes */
struct dispatch *rig_take(struct rig *rig);
/** rig_take_none() - that no dispatch comes for ms */
void rig_take_none(struct rig *rig, int64_t ms);
/** rig_claim() - take its lease as this executor; Return: what the store says */
int rig_claim(struct rig *rig, const struct dispatch *dispatch, const char *executor);
/** rig_result() - publish one result for a dispatch */
void rig_result(struct rig *rig, const struct dispatch *dispatch, struct job_result result);
/** rig_run() - claim, accept, start, and finish in this state */
void rig_run(struct rig *rig, const struct dispatch *dispatch, enum state state);
/** rig_finish() - publish the end, and release the lease */
void rig_finish(struct rig *rig, const struct dispatch *dispatch, enum state state,
                enum reason reason, const char *text);

/** rig_build_of() - the build of a delivery, waiting for it; the caller frees */
struct build *rig_build_of(struct rig *rig, const char *delivery);
/** rig_wait() - until the build is in this state; the caller frees */
struct build *rig_wait(struct rig *rig, const char *id, enum state state);
/** rig_wait_job() - until a job of it is in this state; the caller frees the build */
struct build *rig_wait_job(struct rig *rig, const char *id, const char *job, enum state state);
/** rig_depth() - messages of a queue, ready and unsettled */
int64_t rig_depth(struct rig *rig, const char *queue);
/** rig_wait_depth() - until a queue has so many messages */
void rig_wait_depth(struct rig *rig, const char *queue, int64_t depth);
