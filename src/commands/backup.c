/*
 * backup and restore of a data folder's databases.
 *
 * While a server runs, it makes the copy: it alone may read what it has not checkpointed. Without
 * one the folder is opened here for as long as the copy takes.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapters/sqlite/backup.h"
#include "adapters/sqlite/files.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/scoped.h"
#include "base/str.h"
#include "commands/client.h"
#include "commands/command.h"
#include "commands/data_folder.h"
#include "commands/settings.h"

#include "base/banned.h"

struct sink {
        int fd;
        struct error *err;
        long long bytes;
};

static int write_piece(void *data, const char *bytes, size_t n)
{
        struct sink *sink = data;

        sink->bytes += (long long)n;
        return fs_write_all(sink->fd, bytes, n, sink->err) < 0 ? -1 : 0;
}

static int download(struct invocation *invocation, int fd, long long *ret_bytes, struct error *err)
{
        scoped(client) struct client *client = NULL;
        struct error full = {0};
        struct sink sink = {.fd = fd, .err = &full};
        int result = client_open(&client, invocation, err);

        if (result == 0)
                result = client_stream(client, "/api/v1/backup", write_piece, &sink, err);
        if (full.kind)
                return error_set(err, full.kind, "%s", full.text);
        *ret_bytes = sink.bytes;
        return result;
}

/* Into a temporary name first: a file that is there is whole. */
static int download_to(struct invocation *invocation, const char *path, long long *ret_bytes,
                       struct error *err)
{
        scoped_text char *temporary = text_format("%s.part", path);
        scoped_fd int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        int result;

        if (fd < 0)
                return error_set_errno(err, "make '%s'", temporary);
        result = download(invocation, fd, ret_bytes, err);
        if (result == 0 && fsync(fd) < 0)
                result = error_set_errno(err, "write '%s'", temporary);
        /* link(2) does not replace a file that came in between */
        if (result == 0 && link(temporary, path) < 0)
                result = error_set_errno(err, "name it '%s'", path);
        unlink(temporary);
        return result;
}

static int copy_folder(const char *data, const char *path, struct error *err)
{
        scoped(sqlite_files) struct sqlite_files *files = NULL;
        struct stat st;

        if (stat(data, &st) < 0)
                return error_set_errno(err, "data folder '%s'", data);
        if (sqlite_files_open(&files, data, err) < 0)
                return error_wrap(err, "open the databases of '%s'", data);
        return sqlite_backup(files, path, err);
}

static int run_backup(struct invocation *invocation)
{
        const char *path = invocation->arguments[0];
        struct settings *settings;
        struct error err = {0};
        long long bytes = 0;
        int result;
        int pid;

        if (invocation_settings(invocation, true, &settings, &err) < 0)
                return invocation_fail(invocation, &err);
        if (strcmp(path, "-") != 0 && access(path, F_OK) == 0) {
                fprintf(stderr, "argon backup: '%s' exists; a backup never replaces a file\n",
                        path);
                return EXIT_USAGE;
        }
        if (strcmp(path, "-") == 0)
                result = download(invocation, STDOUT_FILENO, &bytes, &err);
        else if (settings->server || data_folder_locked(settings->data, &pid))
                result = download_to(invocation, path, &bytes, &err);
        else
                result = copy_folder(settings->data, path, &err);
        if (result < 0)
                return invocation_fail(invocation, &err);
        fprintf(stderr, "backup: %s; restore it with: argon restore FILE --data DIR\n", path);
        return EXIT_GREEN;
}

static const struct command_option backup_options[] = {
        OPTION_DATA,
        OPTION_SERVER,
        OPTION_CONFIG,
        OPTION_END,
};

const struct command command_backup = {
        .name = "backup",
        .group = "Server",
        .synopsis = "FILE",
        .summary = "copy the databases into one file, also while the server runs",
        .description = "The file must not exist; - is standard output (a running server only). It "
                       "holds builds, logs, queues and what was sent. Not in it: mirrors and "
                       "workspaces, which are made again, the token and the webhook's secret.",
        .options = backup_options,
        .arguments_min = 1,
        .arguments_max = 1,
        .run = run_backup,
};

static int run_restore(struct invocation *invocation)
{
        const char *path = invocation->arguments[0];
        struct settings *settings;
        struct error err = {0};
        int pid;

        if (invocation_settings(invocation, false, &settings, &err) < 0)
                return invocation_fail(invocation, &err);
        if (data_folder_locked(settings->data, &pid)) {
                fprintf(stderr,
                        "argon restore: a server (pid %d) uses '%s'; stop it, or name an empty "
                        "folder with --data\n",
                        pid, settings->data);
                return EXIT_BROKEN;
        }
        if (sqlite_restore(path, settings->data, &err) < 0)
                return invocation_fail(invocation, &err);
        fprintf(stderr, "restored into %s; start it: argon up --data %s\n", settings->data,
                settings->data);
        return EXIT_GREEN;
}

static const struct command_option restore_options[] = {OPTION_DATA, OPTION_CONFIG, OPTION_END};

const struct command command_restore = {
        .name = "restore",
        .group = "Server",
        .synopsis = "FILE",
        .summary = "put a backup into an empty data folder",
        .description = "The folder is that of --data or ARGON_DATA; it must be empty or not exist, "
                       "and no server may run on it. Copy token and webhook-secret there yourself "
                       "if they shall stay the same.",
        .options = restore_options,
        .arguments_min = 1,
        .arguments_max = 1,
        .run = run_restore,
};
