/*
 * A sandbox is a record (local_record.c), private folders, a cgroup where there may be one, and
 * bwrap with argon-step as PID 1 of a namespace of its own, so that its end is the end of all. It
 * outlives us: a later engine knows it by pid and start time. Its exit code stands in the status
 * file that bwrap's outer process writes, which is our child only as long as we live.
 */
#include "adapters/engine/local_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "adapters/engine/disk_watch.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/str.h"

#include "base/banned.h"

#define NAME_TOKEN 12
#define SETTLE_MS 2000 /* for bwrap's outer process to write the exit code */
#define SETTLE_PAUSE_MS 1
#define DISK_MARK "disk-exceeded"

/* What a handle knows beside its record: bwrap's outer process, if it is our child. */
struct local_sandbox {
        char *name;
        pid_t monitor;
};

static const struct engine_info *local_info(struct engine *engine)
{
        return &((struct local *)engine)->info;
}

static int local_image_ensure(struct engine *engine, const char *image,
                              void (*progress)(void *data, const char *line), void *data,
                              int cancel_fd, struct error *err)
{
        return 0;
}

static struct sandbox *sandbox_new(const struct local_record *record, pid_t monitor)
{
        struct sandbox *sandbox = xcalloc(1, sizeof(*sandbox));
        struct local_sandbox *own = xcalloc(1, sizeof(*own));

        own->name = text_copy(record->name);
        own->monitor = monitor;
        sandbox->id = record->pid > 0
                              ? text_format("%d:%lld", (int)record->pid, (long long)record->start)
                              : text_copy(record->name);
        sandbox->job_id = text_copy(record->job_id);
        sandbox->attempt = record->attempt;
        sandbox->token = text_copy(record->token);
        sandbox->control = text_copy(record->control);
        sandbox->slot = record->slot;
        sandbox->running = local_record_alive(record);
        sandbox->adapter = own;
        return sandbox;
}

static void local_sandbox_free(struct sandbox *sandbox)
{
        struct local_sandbox *own;

        if (!sandbox)
                return;
        own = sandbox->adapter;
        if (own->monitor > 0)
                waitpid(own->monitor, NULL, WNOHANG);
        free(own->name);
        free(own);
        free(sandbox->id);
        free(sandbox->job_id);
        free(sandbox->token);
        free(sandbox->control);
        free(sandbox);
}

static const char *name_of(const struct sandbox *sandbox)
{
        return ((const struct local_sandbox *)sandbox->adapter)->name;
}

/* Name of files and cgroup: nothing but letters, digits and "-". */
static char *make_name(const struct sandbox_spec *spec)
{
        scoped_str struct str name = STR_INIT;

        str_printf(&name, "%s-%d-%.*s", spec->job_id, spec->attempt, NAME_TOKEN, spec->token);
        for (size_t i = 0; i < name.len; i++) {
                char c = name.data[i];

                if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z'))
                        name.data[i] = '-';
        }
        return str_steal(&name);
}

/* bwrap needs something to mount argon-step over, as the control folder is mounted read-only. */
static int make_mount_point(const char *control, struct error *err)
{
        scoped_text char *path = fs_path(control, "argon-step");
        scoped_fd int fd = open(path, O_RDONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0444);

        return fd < 0 ? error_set_errno(err, "make '%s'", path) : 0;
}

static int limit_by_cgroup(const struct local *local, const struct local_record *record,
                           struct error *err)
{
        struct cgroup_limits limits = {.memory = record->memory, .pids = record->pids};
        int64_t most = (int64_t)local->info.cpus * 1000;

        limits.millicpus = record->millicpus > most ? most : record->millicpus;
        if (!local->cgroups.version)
                return 0;
        return cgroup_make(&local->cgroups, record->name, &limits, err);
}

static int local_create(struct engine *engine, struct sandbox **ret,
                        const struct sandbox_spec *spec, struct error *err)
{
        struct local *local = (struct local *)engine;
        scoped_local_record struct local_record record = {0};
        char *name = make_name(spec);
        int result;

        if (local_record_read(local, &record, name, NULL) == 0) {
                free(name);
                if (strcmp(record.token, spec->token) != 0)
                        return error_set(err, ERROR_CONFLICT, "there is another sandbox '%s'",
                                         record.name);
                *ret = sandbox_new(&record, -1);
                return 0;
        }
        record = (struct local_record){
                .name = name,
                .build_id = text_copy(spec->build_id),
                .job_id = text_copy(spec->job_id),
                .token = text_copy(spec->token),
                .control = text_copy(spec->control),
                .workspace = text_copy(spec->workspace),
                .attempt = spec->attempt,
                .slot = spec->slot,
                .network_none = spec->network_none,
                .memory = spec->memory,
                .disk = spec->disk,
                .millicpus = spec->millicpus,
                .pids = spec->pids,
        };
        if (spec->strict && !(spec->network_none && local->info.strict_offline))
                return error_set(err, ERROR_DENIED, "the strict profile cannot be kept: %s",
                                 local->info.strict_why);
        if (spec->network_none && !local->info.network_none)
                return error_set(err, ERROR_DENIED,
                                 "this machine does not allow to switch a job's network off");
        result = make_mount_point(spec->control, err);
        if (result == 0)
                result = local_record_write(local, &record, err);
        if (result < 0)
                return result;
        *ret = sandbox_new(&record, -1);
        return 0;
}

static void watch_disk(struct local *local, const struct local_record *record)
{
        scoped_text char *private = local_record_path(local, record->name, ".d");

        if (record->disk > 0)
                disk_watch_add(local->watch, record->name, record->disk, record->workspace, private,
                               record->name);
}

static int local_start(struct engine *engine, struct sandbox *sandbox, struct error *err)
{
        struct local *local = (struct local *)engine;
        struct local_sandbox *own = sandbox->adapter;
        scoped_local_record struct local_record record = {0};
        scoped_text char *private = local_record_path(local, own->name, ".d");
        int result = local_record_read(local, &record, own->name, err);

        if (result < 0)
                return result;
        if (record.pid > 0)
                return 0; /* it was started before */
        result = local_prepare(local, private, record.workspace, record.slot, err);
        if (result == 0)
                result = limit_by_cgroup(local, &record, err);
        if (result == 0)
                result = local_spawn(local, &record, err);
        if (result < 0)
                return result;
        own->monitor = result;
        free(sandbox->id);
        sandbox->id = text_format("%d:%lld", (int)record.pid, (long long)record.start);
        sandbox->running = true;
        watch_disk(local, &record);
        return 0;
}

static int local_peer(struct engine *engine, struct sandbox *sandbox, pid_t *ret, struct error *err)
{
        scoped_local_record struct local_record record = {0};
        int result = local_record_read((struct local *)engine, &record, name_of(sandbox), err);

        if (result < 0)
                return result;
        if (record.pid <= 0)
                return error_set(err, ERROR_NOT_FOUND, "the sandbox does not run");
        *ret = record.pid;
        return 0;
}

static int local_attach(struct engine *engine, struct sandbox *sandbox, int *ret_fd,
                        struct error *err)
{
        return error_set(err, ERROR_BUG, "the local engine shares its folders: nothing to attach");
}

/* The code that bwrap's outer process writes once it has seen the end. */
static int exit_code(const struct local *local, struct sandbox *sandbox)
{
        struct local_sandbox *own = sandbox->adapter;
        int64_t until = clock_ms() + SETTLE_MS;
        int64_t code;

        while ((code = local_status(local, own->name, "exit-code")) < 0 && clock_ms() < until) {
                int status;

                if (own->monitor > 0 && waitpid(own->monitor, &status, WNOHANG) == own->monitor) {
                        own->monitor = -1;
                        if (WIFEXITED(status))
                                return WEXITSTATUS(status);
                        break;
                }
                poll(NULL, 0, SETTLE_PAUSE_MS);
        }
        return code < 0 ? -1 : (int)code;
}

static void fill_end(struct local *local, struct sandbox *sandbox, struct sandbox_end *ret)
{
        scoped_text char *mark = local_record_path(local, name_of(sandbox), "." DISK_MARK);

        *ret = (struct sandbox_end){
                .exit_code = exit_code(local, sandbox),
                .oom = cgroup_oom_kills(&local->cgroups, name_of(sandbox)) > 0,
                .disk = access(mark, F_OK) == 0,
        };
        sandbox->running = false;
        disk_watch_remove(local->watch, name_of(sandbox));
}

/* Until the process has ended. Return: 1, 0 when the time is over, -kind. */
static int wait_for_pid(pid_t pid, int64_t timeout_ms, int cancel_fd, struct error *err)
{
        scoped_fd int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
        struct pollfd fds[2] = {{.fd = pidfd, .events = POLLIN},
                                {.fd = cancel_fd, .events = POLLIN}};
        int64_t until = clock_ms() + timeout_ms;

        if (pidfd < 0)
                return errno == ESRCH ? 1 : error_set_errno(err, "watch process %d", (int)pid);
        for (;;) {
                int64_t left = timeout_ms < 0 ? -1 : until - clock_ms();

                if (timeout_ms >= 0 && left < 0)
                        left = 0;
                if (poll(fds, 2, left > INT32_MAX ? INT32_MAX : (int)left) < 0 && errno != EINTR)
                        return error_set_errno(err, "wait for the sandbox");
                if (fds[0].revents)
                        return 1;
                if (fds[1].revents)
                        return error_set(err, ERROR_CANCELLED, "cancelled");
                if (left == 0)
                        return 0;
        }
}

static int local_wait(struct engine *engine, struct sandbox *sandbox, int64_t timeout_ms,
                      int cancel_fd, struct sandbox_end *ret, struct error *err)
{
        struct local *local = (struct local *)engine;
        scoped_local_record struct local_record record = {0};
        int result = local_record_read(local, &record, name_of(sandbox), err);

        if (result == -ERROR_NOT_FOUND) {
                *ret = (struct sandbox_end){.exit_code = -1, .gone = true};
                return 1;
        }
        if (result < 0)
                return result;
        if (local_record_alive(&record)) {
                result = wait_for_pid(record.pid, timeout_ms, cancel_fd, err);
                if (result != 1)
                        return result;
        }
        if (record.pid > 0)
                fill_end(local, sandbox, ret);
        else
                *ret = (struct sandbox_end){.exit_code = -1}; /* it never began */
        return 1;
}

static int kill_record(const struct local_record *record, struct error *err)
{
        scoped_fd int pidfd = -1;

        if (!local_record_alive(record))
                return 0;
        pidfd = (int)syscall(SYS_pidfd_open, record->pid, 0);
        if (pidfd < 0 || !local_record_alive(record))
                return 0; /* ended meanwhile; the number may be another's by now */
        if (syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
                return error_set_errno(err, "end process %d", (int)record->pid);
        return 0;
}

static int local_kill(struct engine *engine, struct sandbox *sandbox, struct error *err)
{
        scoped_local_record struct local_record record = {0};
        int result = local_record_read((struct local *)engine, &record, name_of(sandbox), err);

        if (result < 0)
                return result == -ERROR_NOT_FOUND ? 0 : result;
        return kill_record(&record, err);
}

static int local_remove(struct engine *engine, struct sandbox *sandbox, struct error *err)
{
        static const char *const suffixes[] = {".status", ".err", ("." DISK_MARK), ".json.new",
                                               ".json"};
        struct local *local = (struct local *)engine;
        struct local_sandbox *own = sandbox->adapter;
        scoped_local_record struct local_record record = {0};
        scoped_text char *private = local_record_path(local, own->name, ".d");
        int result = local_record_read(local, &record, own->name, err);

        disk_watch_remove(local->watch, own->name);
        if (result < 0)
                return result == -ERROR_NOT_FOUND ? 0 : result;
        result = kill_record(&record, err);
        if (result == 0 && record.pid > 0 && local_record_alive(&record) &&
            wait_for_pid(record.pid, SETTLE_MS, -1, err) < 0)
                result = -ERROR_UNAVAILABLE;
        if (result == 0)
                result = cgroup_remove(&local->cgroups, own->name, err);
        if (result == 0)
                result = fs_remove_tree(private, err);
        if (result < 0)
                return result;
        if (own->monitor > 0 && waitpid(own->monitor, NULL, 0) == own->monitor)
                own->monitor = -1;
        for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
                scoped_text char *path = local_record_path(local, own->name, suffixes[i]);

                unlink(path);
        }
        return 0;
}

/* A record without a process, as its executor died while it started: bwrap has written which. */
static void complete(struct local *local, struct local_record *record)
{
        int64_t pid = record->pid > 0 ? 0 : local_status(local, record->name, "child-pid");
        scoped_text char *path = text_format("/proc/%d/cmdline", (int)pid);
        scoped_str struct str line = STR_INIT;
        struct error err;

        if (pid <= 0 || str_read_file(&line, path, 65536, NULL) < 0 ||
            (strcmp(line.data, "/argon/argon-step") != 0 && strcmp(line.data, local->bwrap) != 0))
                return;
        record->pid = (pid_t)pid;
        record->start = local_start_time(record->pid);
        if (local_limit(local, record, &err) < 0) { /* it has no plan yet: it is begun anew */
                kill(record->pid, SIGKILL);
                record->pid = 0;
                return;
        }
        local_record_write(local, record, NULL);
}

static int local_find(struct engine *engine, struct sandbox ***ret, size_t *ret_n,
                      struct error *err)
{
        struct local *local = (struct local *)engine;
        DIR *dir = opendir(local->folder);
        struct sandbox **found = NULL;
        struct dirent *entry;
        size_t n = 0;

        if (!dir)
                return error_set_errno(err, "read '%s'", local->folder);
        while ((entry = readdir(dir))) {
                scoped_local_record struct local_record record = {0};
                scoped_text char *name = NULL;

                if (!text_ends(entry->d_name, ".json"))
                        continue;
                name = text_format("%.*s", (int)strlen(entry->d_name) - 5, entry->d_name);
                if (local_record_read(local, &record, name, NULL) < 0)
                        continue;
                complete(local, &record);
                found = xrealloc(found, (n + 1) * sizeof(struct sandbox *));
                found[n++] = sandbox_new(&record, -1);
                if (local_record_alive(&record))
                        watch_disk(local, &record);
        }
        closedir(dir);
        *ret = found ? found : xcalloc(1, sizeof(struct sandbox *));
        *ret_n = n;
        return 0;
}

static void end_for_disk(void *data, const char *id, const char *name)
{
        struct local *local = data;
        scoped_text char *mark = local_record_path(local, name, "." DISK_MARK);
        scoped_local_record struct local_record record = {0};
        int fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

        if (fd >= 0)
                close(fd);
        if (local_record_read(local, &record, name, NULL) == 0)
                kill_record(&record, NULL);
}

int local_watch_new(struct local *local, struct error *err)
{
        static const struct disk_watch_ops ops = {.exceeded = end_for_disk};

        return disk_watch_new(&local->watch, &ops, local, err);
}

void local_free(struct local *local)
{
        disk_watch_free(local->watch);
        free(local->bwrap);
        free(local->setpriv);
        free(local->step);
        free(local->folder);
        free(local->version);
        free(local->architecture);
        free(local->missing);
        free(local);
}

static void local_close(struct engine *engine)
{
        struct local *local = (struct local *)engine;

        local_free(local);
}

const struct engine_ops local_ops = {
        .info = local_info,
        .image_ensure = local_image_ensure,
        .create = local_create,
        .start = local_start,
        .peer = local_peer,
        .attach = local_attach,
        .wait = local_wait,
        .kill = local_kill,
        .remove = local_remove,
        .find = local_find,
        .sandbox_free = local_sandbox_free,
        .close = local_close,
};
