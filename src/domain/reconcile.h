#pragma once
/*
 * reconcile - what must happen next to a build: a pure rule
 *
 * reconcile() looks at a build and at what is known about its attempts, brings the build's own
 * records forward (jobs that are skipped, ended or tried again, the state of the whole) and says
 * what is left to be done outside. Applied a second time to its own result it changes nothing. The
 * caller stores the changed build first and acts afterwards; an action that was lost comes out of
 * the next call again.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct attempt;
struct build;
struct error;
struct job;

/* An attempt that was lost before its first step is tried again by itself so often in a round. */
#define RECONCILE_LOST_MAX 3
/* Attempts of one job over all rounds; what comes back more often ends as an error. */
#define RECONCILE_ATTEMPTS_MAX 100
/* A dispatch that nobody takes is published again so often, then the attempt is withdrawn. */
#define RECONCILE_REPUBLISH_MAX 3

/**
 * enum reconcile_action - what is to be done outside for one job
 * @RECONCILE_READY: may have its next attempt as soon as a slot is free
 * @RECONCILE_REPUBLISH: the message of its attempt seems lost: publish it again
 * @RECONCILE_WITHDRAW: nobody has taken its attempt: fence it, then say so in the fact
 * @RECONCILE_CANCEL: tell the executor that runs it to stop
 */
enum reconcile_action {
        RECONCILE_NOTHING,
        RECONCILE_READY,
        RECONCILE_REPUBLISH,
        RECONCILE_WITHDRAW,
        RECONCILE_CANCEL,
};

/**
 * struct reconcile_fact - what is known about the newest attempt of a job
 * @claimed: an executor has, or had, its lease
 * @withdrawn: it was fenced: no executor can claim it any more
 * @silent_ms: how long its lease has not moved; counts for claimed and running attempts
 * @waiting_ms: since its message was last published; @republished: how often it was published again
 */
struct reconcile_fact {
        bool claimed;
        bool withdrawn;
        int64_t silent_ms;
        int64_t waiting_ms;
        int republished;
};

/**
 * struct reconcile_facts
 * @now: wall-clock milliseconds, for people
 * @lost_ms: an executor that is silent for so long is lost
 * @reissue_ms: a dispatch waits so long before it can count as lost (doubled each time)
 * @dispatch_lost: the queue holds fewer messages than there are attempts that nobody has taken
 * @jobs: one for each job of the build, or NULL: nothing is known
 */
struct reconcile_facts {
        int64_t now;
        int64_t lost_ms;
        int64_t reissue_ms;
        bool dispatch_lost;
        const struct reconcile_fact *jobs;
};

/**
 * struct reconcile_outcome
 * @changed: the build is to be stored; @ended: it ended in this call
 * @notify: it has ended and nobody was told yet
 * @jobs: an action for each job; lives as long as the build
 */
struct reconcile_outcome {
        bool changed;
        bool ended;
        bool notify;
        enum reconcile_action *jobs;
};

void reconcile(struct build *build, const struct reconcile_facts *facts,
               struct reconcile_outcome *ret);

/** reconcile_live() - the newest attempt of a job if it has not ended, else NULL */
struct attempt *reconcile_live(const struct job *job);

/**
 * reconcile_cancel() - somebody wants the build to stop
 *
 * Return: 1 changed, 0 when it has ended or was asked before.
 */
int reconcile_cancel(struct build *build, const char *who);

/**
 * reconcile_rerun() - one more round of an ended build
 * @jobs: "failed" (whatever did not succeed), "all", or names one per line; jobs that need one of
 *         them run again too
 *
 * A build without jobs (its source could not be read) goes back to the very start.
 *
 * Return: 0; -ERROR_CONFLICT when it has not ended; -ERROR_NOT_FOUND for an unknown name;
 * -ERROR_INVALID when nothing is left to run. The build is unchanged then.
 */
int reconcile_rerun(struct build *build, const char *jobs, struct error *err);
