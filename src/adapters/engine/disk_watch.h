#pragma once
/*
 * disk_watch - ends a job that keeps more on disk than it may
 *
 * Where no quota of the kernel can be had, a thread measures the folders of each job now and then
 * (more seldom, the longer that takes) and reports the one that is over its limit, once. A job can
 * be over it for a moment, and files that it deleted but keeps open are not seen: a guard against
 * filling the disk, not a quota. Without jobs the thread sleeps.
 */
#include <stdint.h>

struct disk_watch;
struct error;

/**
 * struct disk_watch_ops - called on the thread of the watch
 * @extra: bytes that no folder shows, asked for sandboxes without a second folder; may be NULL
 * @exceeded: the sandbox is over its limit; it is no longer watched
 */
struct disk_watch_ops {
        int64_t (*extra)(void *data, const char *id);
        void (*exceeded)(void *data, const char *id, const char *note);
};

int disk_watch_new(struct disk_watch **ret, const struct disk_watch_ops *ops, void *data,
                   struct error *err);
/** disk_watch_free() - joins the thread */
void disk_watch_free(struct disk_watch *watch);
/**
 * disk_watch_add() - watch a sandbox
 * @folder, @folder2: what counts; either may be NULL
 * @note: handed to exceeded(); texts are copied
 *
 * An id that is watched already is left as it is.
 */
void disk_watch_add(struct disk_watch *watch, const char *id, int64_t limit, const char *folder,
                    const char *folder2, const char *note);
/** disk_watch_remove() - no callback for this id begins after it returned */
void disk_watch_remove(struct disk_watch *watch, const char *id);

/**
 * disk_usage() - blocks that a tree occupies, in bytes
 *
 * Links are not followed, other file systems not entered, a file with several links counts in
 * parts. What cannot be read counts as nothing; a tree nested too deep to be measured as
 * everything (INT64_MAX).
 */
int64_t disk_usage(const char *path);
