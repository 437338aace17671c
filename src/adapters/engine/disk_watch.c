/*
 * One thread for all jobs: it takes the entry that is due first, measures it without holding the
 * lock, and looks it up again afterwards, as it may have gone meanwhile. `busy` names the entry
 * under measurement, so that disk_watch_remove() can wait for a callback that has begun.
 */
#include "adapters/engine/disk_watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"

#include "base/banned.h"

#define FIRST_MS 500
#define INTERVAL_MIN_MS 1000
#define INTERVAL_MAX_MS 30000
#define COST_FACTOR 20 /* measuring takes at most a twentieth of the time */
#define DEPTH_MAX 512
#define UNIT 512 /* of st_blocks */

struct watched {
        char *id;
        char *folder;
        char *folder2;
        char *note;
        int64_t limit;
        int64_t due;
        struct watched *next;
};

struct disk_watch {
        const struct disk_watch_ops *ops;
        void *data;
        pthread_t thread;
        pthread_mutex_t lock;
        pthread_cond_t changed; /* entries, busy, stop */
        struct watched *entries;
        const struct watched *busy; /* out of the list while it is measured, or NULL */
        bool busy_removed;
        bool stop;
};

static int64_t usage_of(int folder, dev_t device, int depth)
{
        int copy = fcntl(folder, F_DUPFD_CLOEXEC, 0);
        DIR *dir = copy < 0 ? NULL : fdopendir(copy);
        struct dirent *entry;
        int64_t sum = 0;

        if (!dir) {
                if (copy >= 0)
                        close(copy);
                return 0;
        }
        while (sum < INT64_MAX && (entry = readdir(dir))) {
                struct stat st;
                int64_t below = 0;

                if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
                    fstatat(folder, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
                    st.st_dev != device)
                        continue;
                if (S_ISDIR(st.st_mode)) {
                        scoped_fd int fd = openat(folder, entry->d_name,
                                                  O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

                        if (depth >= DEPTH_MAX)
                                below = INT64_MAX;
                        else if (fd >= 0)
                                below = usage_of(fd, device, depth + 1);
                        st.st_nlink = 1;
                }
                if (below == INT64_MAX)
                        sum = INT64_MAX;
                else
                        sum += below + st.st_blocks * UNIT / (int64_t)(st.st_nlink ?: 1);
        }
        closedir(dir);
        return sum;
}

int64_t disk_usage(const char *path)
{
        scoped_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return 0;
        return usage_of(fd, st.st_dev, 0);
}

static void watched_free(struct watched *entry)
{
        free(entry->id);
        free(entry->folder);
        free(entry->folder2);
        free(entry->note);
        free(entry);
}

static int64_t measure(struct disk_watch *watch, const struct watched *entry)
{
        int64_t sum = entry->folder ? disk_usage(entry->folder) : 0;

        if (sum <= entry->limit && entry->folder2) {
                int64_t second = disk_usage(entry->folder2);

                sum = second == INT64_MAX ? second : sum + second;
        }
        if (sum <= entry->limit && !entry->folder2 && watch->ops->extra)
                sum += watch->ops->extra(watch->data, entry->id);
        return sum;
}

/* Take the entry that is due first out of the list. The lock is held. */
static struct watched *take_next(struct disk_watch *watch)
{
        struct watched **first = &watch->entries;
        struct watched *entry;

        for (struct watched **at = &watch->entries; *at; at = &(*at)->next)
                if ((*at)->due < (*first)->due)
                        first = at;
        entry = *first;
        *first = entry->next;
        entry->next = NULL;
        return entry;
}

static int64_t next_due(const struct disk_watch *watch)
{
        int64_t due = INT64_MAX;

        for (const struct watched *at = watch->entries; at; at = at->next)
                due = at->due < due ? at->due : due;
        return due;
}

static void wait_until(struct disk_watch *watch, int64_t due)
{
        struct timespec at = {due / 1000, due % 1000 * 1000000};

        if (due == INT64_MAX)
                pthread_cond_wait(&watch->changed, &watch->lock);
        else
                pthread_cond_timedwait(&watch->changed, &watch->lock, &at);
}

/* The lock is held at both ends, but not while measuring. */
static void look_at(struct disk_watch *watch, struct watched *entry)
{
        int64_t began = clock_ms();
        int64_t cost;
        bool over;

        watch->busy = entry;
        watch->busy_removed = false;
        pthread_mutex_unlock(&watch->lock);
        over = measure(watch, entry) > entry->limit;
        cost = (clock_ms() - began) * COST_FACTOR;
        pthread_mutex_lock(&watch->lock);
        if (over && !watch->busy_removed) {
                pthread_mutex_unlock(&watch->lock);
                watch->ops->exceeded(watch->data, entry->id, entry->note);
                pthread_mutex_lock(&watch->lock);
        }
        watch->busy = NULL;
        pthread_cond_broadcast(&watch->changed);
        if (over || watch->busy_removed) {
                watched_free(entry);
                return;
        }
        cost = cost < INTERVAL_MIN_MS ? INTERVAL_MIN_MS : cost;
        entry->due = clock_ms() + (cost > INTERVAL_MAX_MS ? INTERVAL_MAX_MS : cost);
        entry->next = watch->entries;
        watch->entries = entry;
}

static void *watch_thread(void *data)
{
        struct disk_watch *watch = data;

        pthread_mutex_lock(&watch->lock);
        while (!watch->stop) {
                int64_t due = next_due(watch);

                if (due > clock_ms())
                        wait_until(watch, due);
                else
                        look_at(watch, take_next(watch));
        }
        pthread_mutex_unlock(&watch->lock);
        return NULL;
}

int disk_watch_new(struct disk_watch **ret, const struct disk_watch_ops *ops, void *data,
                   struct error *err)
{
        struct disk_watch *watch = xcalloc(1, sizeof(*watch));
        pthread_condattr_t attributes;

        watch->ops = ops;
        watch->data = data;
        pthread_mutex_init(&watch->lock, NULL);
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(&watch->changed, &attributes);
        pthread_condattr_destroy(&attributes);
        if (pthread_create(&watch->thread, NULL, watch_thread, watch) != 0) {
                pthread_cond_destroy(&watch->changed);
                pthread_mutex_destroy(&watch->lock);
                free(watch);
                return error_set(err, ERROR_UNAVAILABLE, "start a thread to watch disk use");
        }
        *ret = watch;
        return 0;
}

void disk_watch_free(struct disk_watch *watch)
{
        if (!watch)
                return;
        pthread_mutex_lock(&watch->lock);
        watch->stop = true;
        pthread_cond_broadcast(&watch->changed);
        pthread_mutex_unlock(&watch->lock);
        pthread_join(watch->thread, NULL);
        while (watch->entries) {
                struct watched *entry = watch->entries;

                watch->entries = entry->next;
                watched_free(entry);
        }
        pthread_cond_destroy(&watch->changed);
        pthread_mutex_destroy(&watch->lock);
        free(watch);
}

static struct watched **find_entry(struct disk_watch *watch, const char *id)
{
        struct watched **at = &watch->entries;

        while (*at && strcmp((*at)->id, id) != 0)
                at = &(*at)->next;
        return at;
}

void disk_watch_add(struct disk_watch *watch, const char *id, int64_t limit, const char *folder,
                    const char *folder2, const char *note)
{
        struct watched *entry;

        pthread_mutex_lock(&watch->lock);
        if (!*find_entry(watch, id) && !(watch->busy && !strcmp(watch->busy->id, id))) {
                entry = xcalloc(1, sizeof(*entry));
                entry->id = text_copy(id);
                entry->folder = text_copy(folder);
                entry->folder2 = text_copy(folder2);
                entry->note = text_copy(note);
                entry->limit = limit;
                entry->due = clock_ms() + FIRST_MS;
                entry->next = watch->entries;
                watch->entries = entry;
                pthread_cond_broadcast(&watch->changed);
        }
        pthread_mutex_unlock(&watch->lock);
}

void disk_watch_remove(struct disk_watch *watch, const char *id)
{
        struct watched **at;
        struct watched *entry;

        pthread_mutex_lock(&watch->lock);
        at = find_entry(watch, id);
        entry = *at;
        if (entry) {
                *at = entry->next;
                watched_free(entry);
        }
        while (watch->busy && !strcmp(watch->busy->id, id)) {
                watch->busy_removed = true;
                pthread_cond_wait(&watch->changed, &watch->lock);
        }
        pthread_mutex_unlock(&watch->lock);
}
