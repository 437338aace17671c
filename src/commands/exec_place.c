/*
 * ~/.cache/argon/exec/
 *   0, 1, …           data folders, each held by one process at a time: the engine's leftovers of
 * one that was killed are found and removed by the next that takes its folder 20260912-101502/ logs
 * of one run; the newest are kept
 */
#include "commands/exec.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fs.h"
#include "base/scoped.h"

#include "base/banned.h"

#define PLACES_MAX 32
#define RUNS_KEPT 20
#define RUN_NAME_LENGTH 15
#define SAME_SECOND_MAX 100

static char *cache_folder(void)
{
        const char *cache = getenv("XDG_CACHE_HOME");
        const char *home = getenv("HOME");

        if (cache && *cache == '/')
                return text_format("%s/argon/exec", cache);
        return home && *home == '/' ? text_format("%s/.cache/argon/exec", home) : NULL;
}

/* Return: 1 taken, 0 somebody has it. */
static int take_place(struct exec_place *place, const char *cache, int number, struct error *err)
{
        scoped_text char *data = text_format("%s/%d", cache, number);
        scoped_text char *lock = fs_path(data, "lock");
        scoped_fd int fd = -1;

        if (fs_mkdirs(data, 0700, err) < 0)
                return -ERROR_UNAVAILABLE;
        fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
                return error_set_errno(err, "open '%s'", lock);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
                return errno == EWOULDBLOCK ? 0 : error_set_errno(err, "lock '%s'", lock);
        place->data = take(data);
        place->lock = take_fd(&fd);
        return 1;
}

static bool is_run(const char *name)
{
        return strlen(name) >= RUN_NAME_LENGTH && name[8] == '-' &&
               strspn(name, "0123456789-") == strlen(name);
}

static int compare_names(const void *a, const void *b)
{
        return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Old runs go; their names sort by time. */
static void forget_runs(const char *cache)
{
        DIR *folder = opendir(cache);
        const struct dirent *entry;
        char **names = NULL;
        size_t n = 0;

        while (folder && (entry = readdir(folder))) {
                if (!is_run(entry->d_name))
                        continue;
                names = xrealloc(names, (n + 1) * sizeof(*names));
                names[n++] = text_copy(entry->d_name);
        }
        if (folder)
                closedir(folder);
        if (n)
                qsort(names, n, sizeof(*names), compare_names);
        for (size_t i = 0; i < n; i++) {
                scoped_text char *path = fs_path(cache, names[i]);

                if (i + RUNS_KEPT < n)
                        fs_remove_tree(path, NULL);
                free(names[i]);
        }
        free(names);
}

static int make_logs(struct exec_place *place, const char *cache, struct error *err)
{
        time_t now = time(NULL);
        struct tm tm;
        char name[32];

        localtime_r(&now, &tm);
        strftime(name, sizeof(name), "%Y%m%d-%H%M%S", &tm);
        for (int i = 1; i <= SAME_SECOND_MAX; i++) {
                free(place->logs);
                place->logs = i == 1 ? text_format("%s/%s", cache, name)
                                     : text_format("%s/%s-%d", cache, name, i);
                if (mkdir(place->logs, 0700) == 0)
                        return 0;
                if (errno != EEXIST)
                        break;
        }
        return error_set_errno(err, "make '%s'", place->logs);
}

/* What a run that was killed left there. Files of a container's root, whose end nobody saw, may not
 * be ours to remove: they are put aside. */
static int remove_left(const struct exec_place *place, const char *folder, struct error *err)
{
        scoped_text char *aside = NULL;
        int result = fs_remove_tree(folder, err);

        if (result != -ERROR_DENIED)
                return result < 0 ? error_wrap(err, "remove what an earlier run left") : 0;
        aside = text_format("%s/left-%lld", place->data, (long long)time(NULL));
        if (rename(folder, aside) < 0)
                return error_set_errno(err, "put '%s' aside", folder);
        fprintf(stderr,
                "argon exec: a run that was killed left files of another user; remove them "
                "as root: %s\n",
                aside);
        return 0;
}

static int make_folders(struct exec_place *place, struct error *err)
{
        char *const folders[] = {place->jobs, place->work, place->mirrors, place->source};

        for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
                /* mirrors are kept, they save time */
                if (folders[i] != place->mirrors && remove_left(place, folders[i], err) < 0)
                        return -err->kind;
                if (fs_mkdirs(folders[i], 0700, err) < 0)
                        return -ERROR_UNAVAILABLE;
        }
        return 0;
}

int exec_place_open(struct exec_place *ret, struct error *err)
{
        scoped_text char *cache = cache_folder();
        struct exec_place place = {.lock = -1};
        int result = 0;

        if (!cache)
                return error_set(err, ERROR_INVALID, "HOME is not set; set it or XDG_CACHE_HOME");
        for (int i = 0; i < PLACES_MAX && result == 0; i++)
                result = take_place(&place, cache, i, err);
        if (result < 0)
                return result;
        if (result == 0)
                return error_set(err, ERROR_LIMIT, "%d runs of argon exec are under way already",
                                 PLACES_MAX);
        forget_runs(cache);
        place.jobs = fs_path(place.data, "jobs");
        place.work = fs_path(place.data, "work");
        place.mirrors = fs_path(place.data, "mirrors");
        place.source = fs_path(place.data, "source");
        *ret = place;
        if (make_folders(ret, err) < 0 || make_logs(ret, cache, err) < 0)
                return -ERROR_UNAVAILABLE;
        return 0;
}

void exec_place_close(struct exec_place *place)
{
        if (!place->data)
                return;
        fs_remove_tree(place->jobs, NULL);
        fs_remove_tree(place->source, NULL);
        fs_remove_tree(place->work, NULL);
        close(place->lock);
        free(place->data);
        free(place->jobs);
        free(place->work);
        free(place->mirrors);
        free(place->source);
        free(place->logs);
        *place = (struct exec_place){.lock = -1};
}
