#include "commands/data_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/parse.h"
#include "base/scoped.h"
#include "base/str.h"

#include "base/banned.h"

#define LOCK_NAME "lock"
#define LOCK_BYTES_MAX 64
#define LOCK_WAIT_MS 5000
#define LOCK_LOOK_MS 20

static void trim_end(struct str *text)
{
        while (text->len && strchr(" \t\r\n", text->data[text->len - 1]))
                str_truncate(text, text->len - 1);
}

static int read_pid(const char *data)
{
        scoped_text char *path = fs_path(data, LOCK_NAME);
        scoped_str struct str text = STR_INIT;
        int64_t pid;

        if (str_read_file(&text, path, LOCK_BYTES_MAX, NULL) < 0)
                return 0;
        trim_end(&text);
        return parse_int(&pid, text.data, 1, INT32_MAX, NULL) == 0 ? (int)pid : 0;
}

/* A server that was killed leaves its lock a moment later than its pid: it is waited for. */
static int take_lock(int fd, const char *data)
{
        int64_t end = clock_ms() + LOCK_WAIT_MS;

        while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
                int failed = errno;
                int pid = read_pid(data);

                if (failed != EWOULDBLOCK && failed != EINTR) {
                        errno = failed;
                        return -1;
                }
                if (pid == 0 || kill(pid, 0) == 0 || errno != ESRCH || clock_ms() > end) {
                        errno = EWOULDBLOCK;
                        return -1;
                }
                poll(NULL, 0, LOCK_LOOK_MS);
        }
        return 0;
}

static int busy(const char *data, struct error *err)
{
        int pid = read_pid(data);

        if (pid)
                return error_set(err, ERROR_CONFLICT,
                                 "another server (pid %d) uses the data folder '%s'; stop it, or "
                                 "choose another folder with --data",
                                 pid, data);
        return error_set(err, ERROR_CONFLICT,
                         "another server uses the data folder '%s'; choose another one with --data",
                         data);
}

int data_folder_open(const char *data, int *ret_lock, struct error *err)
{
        scoped_text char *path = fs_path(data, LOCK_NAME);
        scoped_text char *pid = text_format("%d\n", (int)getpid());
        scoped_fd int fd = -1;

        if (fs_mkdirs(data, 0700, err) < 0)
                return error_wrap(err, "data folder");
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
                return error_set_errno(err, "open '%s'", path);
        if (take_lock(fd, data) < 0) {
                if (errno == EWOULDBLOCK)
                        return busy(data, err);
                return error_set_errno(err, "lock '%s'", path);
        }
        if (ftruncate(fd, 0) < 0)
                return error_set_errno(err, "write '%s'", path);
        if (fs_write_all(fd, pid, strlen(pid), err) < 0)
                return error_wrap(err, "write '%s'", path);
        *ret_lock = take_fd(&fd);
        return 0;
}

bool data_folder_locked(const char *data, int *ret_pid)
{
        scoped_text char *path = fs_path(data, LOCK_NAME);
        scoped_fd int fd = open(path, O_RDONLY | O_CLOEXEC);

        *ret_pid = 0;
        if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK)
                return false;
        *ret_pid = read_pid(data);
        return true;
}

int data_folder_read(const char *data, const char *name, char **ret, struct error *err)
{
        scoped_text char *path = fs_path(data, name);
        scoped_str struct str text = STR_INIT;

        if (str_read_file(&text, path, DATA_SECRET_BYTES_MAX, err) < 0)
                return err ? -err->kind : -ERROR_NOT_FOUND;
        trim_end(&text);
        if (!text.len || strlen(text.data) != text.len)
                return error_set(err, ERROR_INVALID, "'%s' is empty or not a text", path);
        *ret = str_steal(&text);
        return 0;
}

int data_folder_keep(const char *data, const char *name, const char *text, struct error *err)
{
        scoped_text char *path = fs_path(data, name);
        scoped_text char *line = text_format("%s\n", text);

        return fs_write_atomic(path, line, strlen(line), 0600, err);
}

int data_folder_secret(const char *data, const char *name, char **ret, bool *ret_made,
                       struct error *err)
{
        scoped_text char *path = fs_path(data, name);
        char token[65];

        *ret_made = false;
        if (access(path, F_OK) == 0)
                return data_folder_read(data, name, ret, err);
        id_token(token);
        if (data_folder_keep(data, name, token, err) < 0)
                return err ? -err->kind : -ERROR_UNAVAILABLE;
        *ret_made = true;
        *ret = text_copy(token);
        return 0;
}
