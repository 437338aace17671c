/*
 * bwrap forks: its first process stays outside and writes the exit code into the status file when
 * all is over; the second becomes argon-step. It tells us the second one's number and then waits
 * until we have written that down, put it into its cgroup and limited it. So nothing of a job ever
 * runs unlimited or unrecorded. Should we die in between, bwrap goes on, and the status file, which
 * has the number too, lets us find it.
 */
#include "adapters/engine/local_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "adapters/engine/local_seccomp.h"
#include "adapters/engine/workspace.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/parse.h"
#include "base/str.h"

#include "base/banned.h"

#define INFO_MAX 4096
#define INFO_MS 10000
#define ERRORS_MAX 2048
#define FD_FIRST 3 /* of those that bwrap gets beside the standard ones */
#define FD_COUNT 4
#define FD_HIGH 16

static int write_file(const char *private, const char *name, const char *text, struct error *err)
{
        scoped_text char *path = fs_path(private, name);
        scoped_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

        if (fd < 0)
                return error_set_errno(err, "make '%s'", path);
        return fs_write_all(fd, text, strlen(text), err);
}

/* Debian calls it python3 only; files written for an image of Python say python. */
static int name_python(const char *private, struct error *err)
{
        scoped_text char *folder = fs_path(private, "home/.local/bin");
        scoped_text char *link = fs_path(folder, "python");

        if (access("/usr/bin/python", X_OK) == 0 || access("/usr/bin/python3", X_OK) < 0)
                return 0;
        if (fs_mkdirs(folder, 0755, err) < 0)
                return -ERROR_UNAVAILABLE;
        if (symlink("/usr/bin/python3", link) < 0 && errno != EEXIST)
                return error_set_errno(err, "make '%s'", link);
        return 0;
}

int local_prepare(const struct local *local, const char *private, const char *workspace, int slot,
                  struct error *err)
{
        static const struct {
                const char *name;
                mode_t mode;
        } folders[] = {{"tmp", 01777}, {"vartmp", 01777}, {"home", 0755}, {"run", 0755}};
        uid_t uid = local_uid(local, slot);
        gid_t gid = local->root ? uid : getgid();
        scoped_text char *passwd = text_format("root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n"
                                               "ci:x:%u:%u:ci:/home/ci:/bin/sh\n"
                                               "nobody:x:65534:65534:nobody:/nonexistent:"
                                               "/usr/sbin/nologin\n",
                                               uid, gid);
        scoped_text char *home = fs_path(private, "home");
        scoped_text char *group = text_format("root:x:0:\nci:x:%u:\nnogroup:x:65534:\n", gid);

        if (fs_mkdirs(private, 0755, err) < 0 || write_file(private, "passwd", passwd, err) < 0 ||
            write_file(private, "group", group, err) < 0)
                return -ERROR_UNAVAILABLE;
        for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
                scoped_text char *path = fs_path(private, folders[i].name);

                if ((mkdir(path, 0755) < 0 && errno != EEXIST) ||
                    chmod(path, folders[i].mode) < 0 || (local->root && chown(path, uid, gid) < 0))
                        return error_set_errno(err, "make '%s'", path);
        }
        if (name_python(private, err) < 0)
                return -ERROR_UNAVAILABLE;
        if (local->root && workspace_give(home, uid, gid, err) < 0)
                return -ERROR_UNAVAILABLE;
        if (workspace && local->root)
                return workspace_give(workspace, uid, gid, err);
        return 0;
}

/* Only what is safe between fork() and exec(): this process has threads. */
static void become_bwrap(char *const *argv, const int fds[FD_COUNT], int null, int errors)
{
        static char *const environment[] = {NULL};
        sigset_t none;

        setsid();
        for (int i = 1; i < NSIG; i++)
                signal(i, SIG_DFL);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        if (dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(errors, 2) < 0)
                _exit(127);
        for (int i = 0; i < FD_COUNT; i++)
                if (dup2(fds[i], FD_FIRST + i) < 0)
                        _exit(127);
        close_range(FD_FIRST + FD_COUNT, ~0U, 0);
        execve(argv[0], argv, environment);
        _exit(127);
}

/* The descriptors of one start; -1 once closed. */
struct start {
        int info[2];
        int block[2];
        int status;
        int seccomp;
        int errors;
        int null;
};

static void close_one(int *fd)
{
        if (*fd >= 0)
                close(*fd);
        *fd = -1;
}

static void start_done(struct start *start)
{
        close_one(&start->info[0]);
        close_one(&start->info[1]);
        close_one(&start->block[0]);
        close_one(&start->block[1]);
        close_one(&start->status);
        close_one(&start->seccomp);
        close_one(&start->errors);
        close_one(&start->null);
}

static int start_open(struct start *start, const struct local *local, const char *name,
                      struct error *err)
{
        scoped_text char *status = local_record_path(local, name, ".status");
        scoped_text char *errors = local_record_path(local, name, ".err");

        *start = (struct start){{-1, -1}, {-1, -1}, -1, -1, -1, -1};
        if (pipe2(start->info, O_CLOEXEC) < 0 || pipe2(start->block, O_CLOEXEC) < 0)
                return error_set_errno(err, "make a pipe");
        start->status = open(status, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        start->errors = open(errors, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        start->null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (start->status < 0 || start->errors < 0 || start->null < 0)
                return error_set_errno(err, "make '%s'", status);
        return local_seccomp_open(&start->seccomp, err);
}

/* Numbers far from those that they get in the child, where one must not overwrite another. */
static int move_up(int *fd, struct error *err)
{
        int high = fcntl(*fd, F_DUPFD_CLOEXEC, FD_HIGH);

        if (high < 0)
                return error_set_errno(err, "duplicate a descriptor");
        close(*fd);
        *fd = high;
        return 0;
}

static int fork_bwrap(struct start *start, char *const *argv, pid_t *ret, struct error *err)
{
        int *const all[] = {&start->info[1], &start->status, &start->block[0],
                            &start->seccomp, &start->null,   &start->errors};
        int fds[FD_COUNT];
        pid_t pid;

        for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
                if (move_up(all[i], err) < 0)
                        return -ERROR_UNAVAILABLE;
        for (int i = 0; i < FD_COUNT; i++)
                fds[i] = *all[i];
        pid = fork();
        if (pid < 0)
                return error_set_errno(err, "start bwrap");
        if (pid == 0)
                become_bwrap(argv, fds, start->null, start->errors);
        close_one(&start->info[1]);
        close_one(&start->block[0]);
        *ret = pid;
        return 0;
}

/* {"child-pid": N, …} from the pipe. Return: N, or -kind with what bwrap complained about. */
static int read_child(struct start *start, const struct local *local, const char *name,
                      struct error *err)
{
        scoped_text char *path = local_record_path(local, name, ".err");
        int64_t until = clock_ms() + INFO_MS;
        scoped_str struct str text = STR_INIT;
        scoped_str struct str errors = STR_INIT;
        const char *at;

        while (!strchr(text.data, '}') && text.len < INFO_MAX && clock_ms() < until) {
                struct pollfd ready = {.fd = start->info[0], .events = POLLIN};
                char bytes[512];
                ssize_t n;

                if (poll(&ready, 1, (int)(until - clock_ms())) <= 0)
                        continue;
                n = read(start->info[0], bytes, sizeof(bytes));
                if (n <= 0)
                        break;
                str_add_bytes(&text, bytes, (size_t)n);
        }
        at = strstr(text.data, "\"child-pid\":");
        if (at && strchr(text.data, '}')) {
                scoped_text char *digits =
                        text_format("%.*s", (int)strspn(at + 13, "0123456789"), at + 13);
                int64_t pid;

                if (parse_int(&pid, digits, 1, INT32_MAX, NULL) == 0)
                        return (int)pid;
        }
        str_read_file(&errors, path, ERRORS_MAX, NULL);
        return error_set(err, ERROR_UNAVAILABLE, "bubblewrap does not start: %s",
                         text_or(errors.data, "it says nothing"));
}

static void set_rlimit(pid_t pid, int which, int64_t value)
{
        struct rlimit limit = {(rlim_t)value, (rlim_t)value};

        prlimit(pid, which, &limit, NULL);
}

/* What cgroups cannot do here is done for each process, and for the number of processes of the
 * job's user, as far as that goes. */
static void set_rlimits(const struct local *local, const struct local_record *record)
{
        set_rlimit(record->pid, RLIMIT_CORE, 0);
        if (record->disk > 0)
                set_rlimit(record->pid, RLIMIT_FSIZE, record->disk);
        if (record->memory > 0 && !(local->cgroups.limits & ENGINE_LIMIT_MEMORY))
                set_rlimit(record->pid, RLIMIT_DATA, record->memory);
        if (record->pids > 0 && !(local->cgroups.limits & ENGINE_LIMIT_PIDS))
                set_rlimit(record->pid, RLIMIT_NPROC, record->pids);
}

int local_limit(const struct local *local, const struct local_record *record, struct error *err)
{
        set_rlimits(local, record);
        if (!local->cgroups.version)
                return 0;
        return cgroup_enter(&local->cgroups, record->name, record->pid, err);
}

static int admit(const struct local *local, struct local_record *record, struct start *start,
                 struct error *err)
{
        int child = read_child(start, local, record->name, err);

        if (child < 0)
                return child;
        record->pid = child;
        record->start = local_start_time(child);
        /* limited first: a pid on record means that it is */
        if (local_limit(local, record, err) < 0 || local_record_write(local, record, err) < 0)
                return -ERROR_UNAVAILABLE;
        return fs_write_all(start->block[1], "x", 1, err);
}

int local_spawn(const struct local *local, struct local_record *record, struct error *err)
{
        struct local_fds fds = {FD_FIRST, FD_FIRST + 1, FD_FIRST + 2, FD_FIRST + 3};
        scoped_text char *private = local_record_path(local, record->name, ".d");
        scoped_local_args struct local_args args = {0};
        struct start start;
        pid_t monitor = -1;
        int result = start_open(&start, local, record->name, err);

        local_args_sandbox(&args, local, private, record->control, record->workspace, record->name,
                           record->network_none, &fds);
        local_args_program(&args, local, record->slot, NULL);
        if (result == 0)
                result = fork_bwrap(&start, args.argv, &monitor, err);
        if (result == 0)
                result = admit(local, record, &start, err);
        if (result < 0 && monitor > 0) {
                if (record->pid > 0)
                        kill(record->pid, SIGKILL);
                kill(monitor, SIGKILL);
                waitpid(monitor, NULL, 0);
        }
        start_done(&start);
        return result < 0 ? result : monitor;
}
