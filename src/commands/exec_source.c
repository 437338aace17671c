/*
 * The work tree is copied once, before the first job starts: first the commit, with a .git that
 * works, then over it whatever differs from the commit. The jobs get copies of that copy, so that
 * all see the same files whatever is edited meanwhile.
 *
 * The user's own git is asked here, with the user's own settings: it knows what is ignored and
 * whose folders are safe.
 */
#include "commands/exec.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fs.h"
#include "base/process.h"
#include "base/scoped.h"
#include "commands/build_argument.h"
#include "ports/forge.h"

#include "base/banned.h"

#define GIT_TIMEOUT_MS 60000
#define GIT_OUTPUT_MAX (64 * 1024 * 1024)
#define GIT_ERRORS_MAX 4096
#define GIT_ARGUMENTS 12
#define COPY_BYTES (1024 * 1024)
#define DEPTH_MAX 256

extern char **environ;

/* --- git --- */

/* Output without its last newline; -ERROR_NOT_FOUND when git says no. */
static int ask_git(struct str *ret, const char *folder, const char *const *arguments, int cancel_fd,
                   struct error *err)
{
        scoped_process_result struct process_result result = PROCESS_RESULT_INIT;
        const char *argv[GIT_ARGUMENTS + 1] = {"git"};
        struct process_spec spec = {
                .argv = argv,
                .env = (const char *const *)environ,
                .folder = folder,
                .timeout_ms = GIT_TIMEOUT_MS,
                .output_max = GIT_OUTPUT_MAX,
                .error_max = GIT_ERRORS_MAX,
                .cancel_fd = cancel_fd,
        };

        for (size_t i = 0; arguments[i] && i + 1 < GIT_ARGUMENTS; i++)
                argv[i + 1] = arguments[i];
        if (process_run(&result, &spec, err) < 0)
                return -err->kind;
        if (result.exit_code != 0)
                return error_set(err, ERROR_NOT_FOUND, "git %s: %s", arguments[0],
                                 result.errors.data);
        str_add_bytes(ret, result.output.data, result.output.len);
        return 0;
}

/* One line, on the heap; "" when git says no. */
static char *git_line(const char *folder, const char *const *arguments)
{
        struct str text = STR_INIT;
        struct error err;

        ask_git(&text, folder, arguments, -1, &err);
        str_truncate(&text, strcspn(text.data, "\n"));
        return str_steal(&text);
}

int exec_source_find(struct exec_source *ret, bool clean, struct error *err)
{
        char *folder = realpath(".", NULL);
        const char *name;

        if (!folder)
                return error_set_errno(err, "find this folder");
        ret->top = git_line(".", (const char *const[]){"rev-parse", "--show-toplevel", NULL});
        ret->commit = *ret->top ? git_line(ret->top, (const char *const[]){"rev-parse", "--verify",
                                                                           "HEAD^{commit}", NULL})
                                : text_copy("");
        if (!*ret->top) {
                free(ret->top);
                ret->top = text_copy(folder);
                ret->kind = EXEC_SOURCE_FOLDER;
        } else if (clean) {
                ret->kind = EXEC_SOURCE_COMMIT;
        }
        free(folder);
        if (clean && !*ret->commit)
                return error_set(err, ERROR_INVALID,
                                 "--clean runs a commit, and there is none here");
        ret->url = text_format("file://%s", ret->top);
        ret->branch = *ret->commit
                              ? git_line(ret->top, (const char *const[]){"symbolic-ref", "--short",
                                                                         "-q", "HEAD", NULL})
                              : text_copy("");
        ret->message = git_line(ret->top, (const char *const[]){"log", "-1", "--format=%s", NULL});
        ret->author = git_line(ret->top, (const char *const[]){"log", "-1", "--format=%an", NULL});
        ret->repo = build_argument_repo_here();
        name = strrchr(ret->top, '/') + 1;
        if (!ret->repo)
                ret->repo = text_format("local/%s", *name ? name : "root");
        return 0;
}

void exec_source_done(struct exec_source *source)
{
        free(source->top);
        free(source->url);
        free(source->commit);
        free(source->branch);
        free(source->repo);
        free(source->message);
        free(source->author);
}

/* --- copying --- */

static bool is_cancelled(int fd)
{
        struct pollfd poll_fd = {fd, POLLIN, 0};

        return fd >= 0 && poll(&poll_fd, 1, 0) > 0;
}

static int copy_bytes(int from, int to, const char *name, struct error *err)
{
        scoped_text char *buffer = NULL;
        ssize_t n;

        if (ioctl(to, FICLONE, from) == 0)
                return 0;
        do {
                n = copy_file_range(from, NULL, to, NULL, COPY_BYTES, 0);
        } while (n > 0);
        if (n == 0)
                return 0;
        buffer = xmalloc(COPY_BYTES);
        while ((n = read(from, buffer, COPY_BYTES)) > 0) {
                if (fs_write_all(to, buffer, (size_t)n, err) < 0)
                        return error_wrap(err, "copy '%s'", name);
        }
        return n < 0 ? error_set_errno(err, "read '%s'", name) : 0;
}

static int copy_file(int from_folder, int to_folder, const char *name, mode_t mode,
                     struct error *err)
{
        scoped_fd int from = openat(from_folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        scoped_fd int to = -1;

        if (from < 0)
                return error_set_errno(err, "open '%s'", name);
        unlinkat(to_folder, name, 0);
        to = openat(to_folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode & 0777);
        if (to < 0)
                return error_set_errno(err, "make '%s'", name);
        fchmod(to, mode & 0777); /* whatever the umask is */
        return copy_bytes(from, to, name, err);
}

static int copy_link(int from_folder, int to_folder, const char *name, struct error *err)
{
        char target[PATH_MAX];
        ssize_t n = readlinkat(from_folder, name, target, sizeof(target) - 1);

        if (n < 0)
                return error_set_errno(err, "read the link '%s'", name);
        target[n] = '\0';
        unlinkat(to_folder, name, 0);
        if (symlinkat(target, to_folder, name) < 0)
                return error_set_errno(err, "make the link '%s'", name);
        return 0;
}

static int copy_folder(int from, int to, int depth, int cancel_fd, struct error *err);

static int copy_subfolder(int from, int to, const char *name, mode_t mode, int depth, int cancel_fd,
                          struct error *err)
{
        scoped_fd int from_sub =
                openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        scoped_fd int to_sub = -1;

        if (from_sub < 0)
                return error_set_errno(err, "open '%s'", name);
        if (mkdirat(to, name, 0700) < 0 && errno != EEXIST)
                return error_set_errno(err, "make '%s'", name);
        to_sub = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (to_sub < 0)
                return error_set_errno(err, "open '%s'", name);
        if (copy_folder(from_sub, to_sub, depth + 1, cancel_fd, err) < 0)
                return -err->kind;
        if (fchmod(to_sub, (mode & 0777) | 0700) < 0)
                return error_set_errno(err, "open up '%s'", name);
        return 0;
}

/* Files, folders and links; sockets, pipes and devices are no source. */
static int copy_entry(int from, int to, const char *name, int depth, int cancel_fd,
                      struct error *err)
{
        struct stat stat_buffer;

        if (is_cancelled(cancel_fd))
                return error_set(err, ERROR_CANCELLED, "stopped while files were copied");
        if (fstatat(from, name, &stat_buffer, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : error_set_errno(err, "look at '%s'", name);
        if (S_ISREG(stat_buffer.st_mode))
                return copy_file(from, to, name, stat_buffer.st_mode, err);
        if (S_ISLNK(stat_buffer.st_mode))
                return copy_link(from, to, name, err);
        if (S_ISDIR(stat_buffer.st_mode))
                return copy_subfolder(from, to, name, stat_buffer.st_mode, depth, cancel_fd, err);
        return 0;
}

static int copy_folder(int from, int to, int depth, int cancel_fd, struct error *err)
{
        int again = dup(from);
        DIR *folder = again < 0 ? NULL : fdopendir(again);
        const struct dirent *entry;
        int result = 0;

        if (!folder)
                return error_set_errno(err, "read a folder");
        if (depth > DEPTH_MAX)
                result = error_set(err, ERROR_LIMIT, "folders are nested more than %d deep",
                                   DEPTH_MAX);
        rewinddir(folder);
        while (result == 0 && (entry = readdir(folder))) {
                if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                        result = copy_entry(from, to, entry->d_name, depth, cancel_fd, err);
        }
        closedir(folder);
        return result;
}

int exec_source_fill(void *staged, const char *folder, int cancel_fd, struct error *err)
{
        scoped_fd int from = open(staged, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        scoped_fd int to = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (from < 0 || to < 0)
                return error_set_errno(err, "open '%s'", from < 0 ? (char *)staged : folder);
        return copy_folder(from, to, 0, cancel_fd, err);
}

/* --- staging --- */

/* The folders above a path, opened one by one so that no link leads out of the tree. */
static int open_parent(int top, const char *path, bool make, int *ret, const char **ret_name,
                       struct error *err)
{
        int folder = dup(top);

        while (folder >= 0) {
                size_t n = strcspn(path, "/");
                scoped_text char *name = text_format("%.*s", (int)n, path);
                int next;

                if (!path[n]) {
                        *ret = folder;
                        *ret_name = path;
                        return 0;
                }
                if (make && mkdirat(folder, name, 0755) < 0 && errno == EEXIST) {
                        struct stat stat_buffer;

                        /* a file of the commit became a folder */
                        if (fstatat(folder, name, &stat_buffer, AT_SYMLINK_NOFOLLOW) == 0 &&
                            !S_ISDIR(stat_buffer.st_mode) && unlinkat(folder, name, 0) == 0)
                                mkdirat(folder, name, 0755);
                }
                next = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                close(folder);
                folder = next;
                path += n + 1;
        }
        return error_set_errno(err, "open a folder above '%s'", path);
}

/* Make one path of the copy what it is in the work tree: a file, a link, or gone. */
static int stage_path(int top, int to, const char *path, int cancel_fd, struct error *err)
{
        const char *name;
        const char *to_name;
        scoped_fd int from_folder = -1;
        scoped_fd int to_folder = -1;
        struct stat stat_buffer;

        if (open_parent(top, path, false, &from_folder, &name, NULL) < 0 ||
            fstatat(from_folder, name, &stat_buffer, AT_SYMLINK_NOFOLLOW) < 0) {
                if (open_parent(to, path, false, &to_folder, &to_name, NULL) == 0)
                        unlinkat(to_folder, to_name, 0);
                return 0;
        }
        if (S_ISDIR(stat_buffer.st_mode)) /* a submodule or another repository in it */
                return 0;
        if (open_parent(to, path, true, &to_folder, &to_name, err) < 0)
                return -ERROR_UNAVAILABLE;
        if (fstatat(to_folder, name, &stat_buffer, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISDIR(stat_buffer.st_mode)) { /* a folder of the commit became a file */
                scoped_text char *full = text_format("/proc/self/fd/%d/%s", to_folder, name);

                if (fs_remove_tree(full, err) < 0)
                        return -err->kind;
        }
        return copy_entry(from_folder, to_folder, name, 0, cancel_fd, err);
}

static int stage_list(int top, int to, const struct str *list, int cancel_fd, struct error *err)
{
        int result = 0;

        for (size_t at = 0; at < list->len && result == 0;) {
                const char *path = list->data + at;

                result = stage_path(top, to, path, cancel_fd, err);
                at += strlen(path) + 1;
        }
        return result;
}

/* What differs from the commit, or everything where there is none. */
static int list_changes(const struct exec_source *source, bool ignored, struct str *ret,
                        int cancel_fd, struct error *err)
{
        static const char *const changed[] = {
                "diff", "--name-only", "--no-renames", "-z", "--ignore-submodules", "HEAD", NULL};
        static const char *const tracked[] = {"ls-files", "-z", "--cached", NULL};
        static const char *const others[] = {"ls-files", "-z", "--others", "--exclude-standard",
                                             NULL};
        static const char *const all_others[] = {"ls-files", "-z", "--others", NULL};

        if (ask_git(ret, source->top, *source->commit ? changed : tracked, cancel_fd, err) < 0 ||
            ask_git(ret, source->top, ignored ? all_others : others, cancel_fd, err) < 0)
                return -err->kind;
        return 0;
}

static int stage_commit(const struct exec_source *source, struct forge *forge, const char *folder,
                        int cancel_fd, struct error *err)
{
        scoped_text char *ref = text_format("refs/heads/%s", source->branch);
        struct forge_source from = {source->url, *source->branch ? ref : "HEAD", source->commit};

        if (forge_fetch(forge, &from, NULL, NULL, cancel_fd, err) < 0 ||
            forge_checkout(forge, &from, folder, cancel_fd, err) < 0)
                return -err->kind;
        return 0;
}

static bool lies_within(const char *path, const char *folder)
{
        scoped_text char *real = realpath(path, NULL);
        size_t n = strlen(folder);

        return real && strncmp(real, folder, n) == 0 && (real[n] == '/' || folder[n - 1] == '/');
}

int exec_source_stage(struct exec_source *source, struct forge *forge, const char *folder,
                      bool ignored, int cancel_fd, struct error *err)
{
        scoped_str struct str list = STR_INIT;
        scoped_fd int top = open(source->top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        scoped_fd int to = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (top < 0 || to < 0)
                return error_set_errno(err, "open '%s'", top < 0 ? source->top : folder);
        source->staged = folder;
        if (source->kind == EXEC_SOURCE_FOLDER && lies_within(folder, source->top))
                return error_set(err, ERROR_INVALID,
                                 "'%s' is no project: it holds argon's own folder too; go to the "
                                 "project's folder",
                                 source->top);
        if (source->kind == EXEC_SOURCE_FOLDER)
                return copy_folder(top, to, 0, cancel_fd, err);
        if (*source->commit && stage_commit(source, forge, folder, cancel_fd, err) < 0)
                return error_wrap(err, "copy the commit");
        if (list_changes(source, ignored, &list, cancel_fd, err) < 0 ||
            stage_list(top, to, &list, cancel_fd, err) < 0)
                return error_wrap(err, "copy the work tree");
        return 0;
}
