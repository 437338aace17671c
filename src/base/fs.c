#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/id.h"
#include "base/scoped.h"
#include "base/str.h"

#include "base/banned.h"

#define TREE_DEPTH_MAX 512 /* a job may nest folders as it likes; the stack may not */

char *fs_path(const char *folder, const char *name)
{
        return text_format("%s/%s", folder, name);
}

int fs_mkdirs(const char *path, mode_t mode, struct error *err)
{
        scoped_text char *copy = text_copy(path);

        for (char *at = copy + 1; at[-1]; at++) {
                char kept = *at;

                if (kept != '/' && kept != '\0')
                        continue;
                *at = '\0';
                if (mkdir(copy, mode) < 0 && errno != EEXIST)
                        return error_set_errno(err, "make folder '%s'", copy);
                *at = kept;
                if (!kept)
                        break;
        }
        return 0;
}

int fs_write_all(int fd, const void *bytes, size_t n, struct error *err)
{
        const char *at = bytes;

        while (n > 0) {
                ssize_t put = write(fd, at, n);

                if (put < 0 && errno == EINTR)
                        continue;
                if (put < 0)
                        return error_set_errno(err, "write");
                at += put;
                n -= (size_t)put;
        }
        return 0;
}

static int sync_folder_of(const char *path, struct error *err)
{
        scoped_text char *folder = text_copy(path);
        char *slash = strrchr(folder, '/');
        scoped_fd int fd = -1;

        if (slash)
                *slash = '\0';
        fd = open(slash ? (*folder ? folder : "/") : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || fsync(fd) < 0)
                return error_set_errno(err, "sync the folder of '%s'", path);
        return 0;
}

int fs_write_atomic(const char *path, const void *bytes, size_t n, mode_t mode, struct error *err)
{
        scoped_text char *temporary = text_format("%s.XXXXXX", path);
        scoped_fd int fd = mkostemp(temporary, O_CLOEXEC);

        if (fd < 0)
                return error_set_errno(err, "make '%s'", temporary);
        if (fchmod(fd, mode) < 0 || fs_write_all(fd, bytes, n, err) < 0 || fsync(fd) < 0 ||
            rename(temporary, path) < 0) {
                error_set_errno(err, "write '%s'", path);
                unlink(temporary);
                return err ? -err->kind : -ERROR_UNAVAILABLE;
        }
        return sync_folder_of(path, err);
}

/* A tree that is being removed: @top is its root, @moved whether a folder was moved up into it. */
struct removal {
        dev_t device;
        int top;
        bool moved;
};

static int remove_entries(int fd, struct removal *removal, int depth, struct error *err);

/* Too deep to go on: put it directly into the root, where this or the next round finds it. */
static int move_up(int folder, const char *name, struct removal *removal, struct error *err)
{
        char fresh[ID_SIZE];

        id_new(fresh);
        if (renameat(folder, name, removal->top, fresh) < 0)
                return error_set_errno(err, "move folder '%s'", name);
        removal->moved = true;
        return 0;
}

static int remove_entry(int folder, const char *name, struct removal *removal, int depth,
                        struct error *err)
{
        struct stat st;
        scoped_fd int fd = -1;

        if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : error_set_errno(err, "stat '%s'", name);
        if (!S_ISDIR(st.st_mode)) {
                if (unlinkat(folder, name, 0) < 0 && errno != ENOENT)
                        return error_set_errno(err, "remove '%s'", name);
                return 0;
        }
        if (st.st_dev != removal->device)
                return error_set(err, ERROR_INVALID, "'%s' is another file system", name);
        if ((st.st_mode & 0700) != 0700)
                if (fchmodat(folder, name, 0700, AT_SYMLINK_NOFOLLOW) < 0)
                        return error_set_errno(err, "open up folder '%s'", name);
        if (depth >= TREE_DEPTH_MAX)
                return move_up(folder, name, removal, err);
        fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return error_set_errno(err, "open folder '%s'", name);
        if (remove_entries(fd, removal, depth + 1, err) < 0)
                return -ERROR_UNAVAILABLE;
        if (unlinkat(folder, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
                return error_set_errno(err, "remove folder '%s'", name);
        return 0;
}

static int remove_entries(int fd, struct removal *removal, int depth, struct error *err)
{
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        DIR *dir = copy < 0 ? NULL : fdopendir(copy);
        struct dirent *entry;
        int result = 0;

        if (!dir) {
                error_set_errno(err, "read folder");
                if (copy >= 0)
                        close(copy);
                return -ERROR_UNAVAILABLE;
        }
        while (result == 0 && (entry = readdir(dir))) {
                if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
                        continue;
                result = remove_entry(fd, entry->d_name, removal, depth, err);
        }
        closedir(dir);
        return result;
}

int fs_remove_tree(const char *path, struct error *err)
{
        struct removal removal = {.top = -1};
        scoped_fd int top = -1;
        struct error why = {0};
        struct stat st;
        int result;

        if (lstat(path, &st) < 0)
                return errno == ENOENT ? 0 : error_set_errno(err, "stat '%s'", path);
        if (S_ISDIR(st.st_mode)) {
                top = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (top < 0)
                        return error_set_errno(err, "open '%s'", path);
        }
        removal.device = st.st_dev;
        removal.top = top;
        do { /* each round with a move brings something TREE_DEPTH_MAX levels up: it ends */
                removal.moved = false;
                result = remove_entry(AT_FDCWD, path, &removal, 0, &why);
        } while (result < 0 && removal.moved);
        if (result < 0)
                return error_set(err, why.kind, "remove '%s': %s", path, why.text);
        return 0;
}
