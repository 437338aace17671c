#pragma once
/*
 * job_stop - stops a job from another thread or from a signal handler
 *
 * Shared by whoever stops and the job_run() that is stopped; outlives the latter.
 */
struct error;

/** enum job_stop_kind - how urgently; a stop only rises
 *  DETACH: give up what has not started a step, leave the rest running for the next process;
 *  CANCEL: end the job (steps get SIGTERM and a short grace), state cancelled;
 *  KILL: the same without any grace;
 *  ABANDON: the attempt is no longer ours: remove everything, tell nothing */
enum job_stop_kind {
        JOB_STOP_NONE,
        JOB_STOP_DETACH,
        JOB_STOP_CANCEL,
        JOB_STOP_KILL,
        JOB_STOP_ABANDON,
};

struct job_stop;

int job_stop_new(struct job_stop **ret, struct error *err);
void job_stop_free(struct job_stop *stop);

static inline void job_stop_freep(struct job_stop **stop)
{
        if (*stop)
                job_stop_free(*stop);
}

/** job_stop_raise() - safe from any thread and signal handler; less than before changes nothing */
void job_stop_raise(struct job_stop *stop, enum job_stop_kind kind);
enum job_stop_kind job_stop_kind(const struct job_stop *stop);
/** job_stop_fd() - readable from a rise until job_stop_seen() */
int job_stop_fd(const struct job_stop *stop);
/** job_stop_seen() - the kind, and the descriptor is quiet until it rises further */
enum job_stop_kind job_stop_seen(struct job_stop *stop);
