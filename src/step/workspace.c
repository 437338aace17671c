/*
 * Runs when no process of the job is left, so nothing changes under it; still no link is followed
 * and no other file system entered. What cannot be opened or changed is left as it is: the executor
 * then says what it could not remove.
 */
#include "step/workspace.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/scoped.h"

#include "base/banned.h"

#define DEPTH_MAX 128 /* descriptors are kept open on the way down */

struct owner {
        uid_t uid;
        dev_t device;
};

static void give_folder(int fd, const struct owner *owner, int depth);

static void give_entry(int folder, const char *name, const struct owner *owner, int depth)
{
        scoped_fd int fd = -1;
        struct stat st;
        bool ours;

        if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_dev != owner->device)
                return;
        ours = st.st_uid == owner->uid ||
               fchownat(folder, name, owner->uid, (gid_t)-1, AT_SYMLINK_NOFOLLOW) == 0;
        if (!S_ISDIR(st.st_mode))
                return;
        fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return;
        if (!ours && fchmod(fd, 0777) < 0)
                return;
        give_folder(fd, owner, depth + 1);
}

static void give_folder(int fd, const struct owner *owner, int depth)
{
        int copy = depth < DEPTH_MAX ? dup(fd) : -1;
        DIR *folder = copy < 0 ? NULL : fdopendir(copy);
        const struct dirent *entry;

        if (!folder) {
                if (copy >= 0)
                        close(copy);
                return;
        }
        while ((entry = readdir(folder))) {
                if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                        give_entry(fd, entry->d_name, owner, depth);
        }
        closedir(folder);
}

void workspace_give_back(const char *path)
{
        scoped_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        struct owner owner;
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0 || st.st_uid == 0 || st.st_uid == geteuid())
                return;
        owner = (struct owner){st.st_uid, st.st_dev};
        give_folder(fd, &owner, 0);
}
