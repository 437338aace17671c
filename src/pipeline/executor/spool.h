#pragma once
/*
 * spool - the outbox of one attempt, on disk: what the job said is safe before argon-step may
 * forget it, whether or not the bus is there
 *
 * One file, append only. spool_commit() writes all messages since the last commit and the state of
 * the job as one group with a checksum: after the death of the process the group is there as a
 * whole or not at all (no fsync: this survives the process, not the machine). A thread of the spool
 * publishes groups in order, in batches, with back-off while the bus is away, and moves the cursor
 * in the file's head; what was published and not yet marked is published again after a restart, the
 * same bytes under the same ids. The space of what was published is given back to the file system.
 *
 * When SPOOL_BYTES_MAX (or the option) waits to be published, spool_commit() waits too: the job is
 * slowed by its full pipe, nothing is lost.
 *
 * One thread commits; spool_wait() and spool_close() are for the same one.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bus;
struct error;
struct job_result;
struct log_entry;
struct spool;

#define SPOOL_BYTES_MAX (INT64_C(1) << 30)
#define SPOOL_GROUP_MAX (16 * 1024 * 1024)

/** struct spool_options - borrowed for the life of the spool
 *  @path: of the file, made when it is missing; @bytes_max: unpublished bytes, 0: SPOOL_BYTES_MAX
 *  @about: job id, for the executor's own log */
struct spool_options {
        const char *path;
        struct bus *bus;
        int64_t bytes_max;
        const char *about;
};

/**
 * spool_open() - begin or go on; what is left unpublished goes out at once
 *
 * A torn group at the end (the process died while writing) is cut off.
 *
 * Return: -ERROR_INVALID when the file is no spool.
 */
int spool_open(struct spool **ret, const struct spool_options *options, struct error *err);
/** spool_close() - what is not published stays in the file */
void spool_close(struct spool *spool);
static inline void spool_freep(struct spool **spool)
{
        if (*spool)
                spool_close(*spool);
}

/** spool_state() - what was committed last; NULL when nothing was. Valid until the next commit. */
const char *spool_state(const struct spool *spool, size_t *ret_n);

void spool_log(struct spool *spool, const struct log_entry *entry);
void spool_result(struct spool *spool, const struct job_result *result);
/** spool_forget() - drop what was added since the last commit: it is made again from the state */
void spool_forget(struct spool *spool);
/**
 * spool_commit() - write what was added, with the state
 * @cancel_fd: readable means: do not wait for room; -1: none
 *
 * Waits while too much is unpublished and while the disk is full. Return: 0 when it is written,
 * also when cancelled while waiting for room; -ERROR_LIMIT when it was cancelled on a full disk.
 */
int spool_commit(struct spool *spool, const void *state, size_t n, int cancel_fd,
                 struct error *err);

/** spool_wait() - until all is published; Return: 1, 0 when the time is over (< 0: none) or
 *  cancel_fd is readable */
int spool_wait(struct spool *spool, int64_t timeout_ms, int cancel_fd);
/** spool_pending() - bytes not yet published, for metrics and tests */
int64_t spool_pending(struct spool *spool);
