#include "adapters/engine/workspace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/scoped.h"

#include "base/banned.h"

#define DEPTH_MAX 512

/* What is done to every entry: a new owner, or more permissions. */
struct change {
        bool give;
        uid_t uid;
        gid_t gid;
};

static int change_one(int folder, const char *name, const struct stat *st,
                      const struct change *change)
{
        mode_t more = S_ISDIR(st->st_mode) || (st->st_mode & 0100) ? 0777 : 0666;

        if (change->give)
                return fchownat(folder, name, change->uid, change->gid, AT_SYMLINK_NOFOLLOW);
        if (!S_ISDIR(st->st_mode) && !S_ISREG(st->st_mode))
                return 0;
        return fchmodat(folder, name, (st->st_mode & 07777) | more, 0);
}

static int change_tree(int folder, const struct change *change, int depth, struct error *err)
{
        int copy = fcntl(folder, F_DUPFD_CLOEXEC, 0);
        DIR *dir = copy < 0 ? NULL : fdopendir(copy);
        struct dirent *entry;
        int result = 0;

        if (!dir || depth > DEPTH_MAX) {
                if (dir)
                        closedir(dir);
                else if (copy >= 0)
                        close(copy);
                return error_set(err, ERROR_LIMIT, "folders nested deeper than %d", DEPTH_MAX);
        }
        while (result == 0 && (entry = readdir(dir))) {
                scoped_fd int below = -1;
                struct stat st;

                if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
                        continue;
                if (fstatat(folder, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
                    change_one(folder, entry->d_name, &st, change) < 0)
                        result = error_set_errno(err, "'%s'", entry->d_name);
                if (result < 0 || !S_ISDIR(st.st_mode))
                        continue;
                below = openat(folder, entry->d_name,
                               O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                result = below < 0 ? error_set_errno(err, "open folder '%s'", entry->d_name)
                                   : change_tree(below, change, depth + 1, err);
        }
        closedir(dir);
        return result;
}

static int change_all(const char *folder, const struct change *change, struct error *err)
{
        scoped_fd int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        struct stat st;
        int result;

        if (fd < 0 || fstat(fd, &st) < 0)
                return error_set_errno(err, "open the workspace '%s'", folder);
        result = change->give ? fchown(fd, change->uid, change->gid)
                              : fchmod(fd, (st.st_mode & 07777) | 0777);
        if (result < 0)
                return error_set_errno(err, "hand the workspace '%s' to the job", folder);
        result = change_tree(fd, change, 0, err);
        if (result < 0)
                error_wrap(err, "hand the workspace '%s' to the job", folder);
        return result;
}

int workspace_give(const char *folder, uid_t uid, gid_t gid, struct error *err)
{
        struct change change = {.give = true, .uid = uid, .gid = gid};

        return change_all(folder, &change, err);
}

int workspace_open(const char *folder, struct error *err)
{
        struct change change = {.give = false};

        return change_all(folder, &change, err);
}
