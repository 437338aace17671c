/*
 * The lock is a flock() of a file beside the databases: it goes with the process, whatever way that
 * ends, and holds against a second opening within the same process too.
 */
#include "adapters/sqlite/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "adapters/sqlite/db.h"
#include "adapters/sqlite/schema.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/scoped.h"
#include "base/str.h"

#include "base/banned.h"

#define LOCK_NAME "store.lock"
#define LOCK_BYTES_MAX 64

struct sqlite_files {
        char *folder;
        int lock_fd;
        struct sqlite_db *state;
        struct sqlite_db *logs;
};

static int refuse(const char *folder, int fd, struct error *err)
{
        scoped_str struct str owner = STR_INIT;

        if (str_read_fd(&owner, fd, LOCK_BYTES_MAX, NULL) < 0 || owner.len == 0)
                str_add(&owner, "another process");
        return error_set(err, ERROR_CONFLICT, "the data folder '%s' is in use by %s", folder,
                         owner.data);
}

static int take_lock(int *ret_fd, const char *folder, struct error *err)
{
        scoped_text char *path = fs_path(folder, LOCK_NAME);
        scoped_text char *owner = text_format("process %d", (int)getpid());
        scoped_fd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

        if (fd < 0)
                return error_set_errno(err, "open '%s'", path);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
                if (errno == EWOULDBLOCK)
                        return refuse(folder, fd, err);
                return error_set_errno(err, "lock '%s'", path);
        }
        if (ftruncate(fd, 0) == 0) /* the name is for people; a full disk must not keep us out */
                fs_write_all(fd, owner, strlen(owner), NULL);
        *ret_fd = take_fd(&fd);
        return 0;
}

/* Made here for its mode, which SQLite's other files take from it. It must be closed before SQLite
 * opens it: closing any descriptor of a file drops all locks that the process has on it. */
static int make_file(const char *path, struct error *err)
{
        scoped_fd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

        return fd < 0 ? error_set_errno(err, "open '%s'", path) : 0;
}

static int open_one(struct sqlite_db **ret, const char *folder, const char *name,
                    const struct sqlite_schema *schema, struct error *err)
{
        scoped_text char *path = fs_path(folder, name);
        int r = make_file(path, err);

        return r < 0 ? r : sqlite_db_open(ret, path, schema, err);
}

int sqlite_files_open(struct sqlite_files **ret, const char *folder, struct error *err)
{
        scoped(sqlite_files) struct sqlite_files *files = xcalloc(1, sizeof(*files));
        int r;

        files->lock_fd = -1;
        files->folder = text_copy(folder);
        r = fs_mkdirs(folder, 0700, err);
        if (r == 0)
                r = take_lock(&files->lock_fd, folder, err);
        if (r < 0)
                return r;
        r = open_one(&files->state, folder, "argon.db", &sqlite_state_schema, err);
        if (r == 0)
                r = open_one(&files->logs, folder, "logs.db", &sqlite_logs_schema, err);
        if (r < 0)
                return r;
        *ret = take(files);
        return 0;
}

void sqlite_files_close(struct sqlite_files *files)
{
        if (!files)
                return;
        sqlite_db_close(files->logs);
        sqlite_db_close(files->state);
        if (files->lock_fd >= 0)
                close(files->lock_fd);
        free(files->folder);
        free(files);
}

struct sqlite_db *sqlite_files_state(struct sqlite_files *files)
{
        return files->state;
}

struct sqlite_db *sqlite_files_logs(struct sqlite_files *files)
{
        return files->logs;
}

const char *sqlite_files_folder(struct sqlite_files *files)
{
        return files->folder;
}
