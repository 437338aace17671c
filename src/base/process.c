/*
 * How it works: posix_spawn() starts the child in a process group of its own with nothing but the
 * descriptors 0, 1 and 2; one poll() loop feeds its stdin, drains its output and watches a pidfd
 * for its end, the deadline, and the caller's cancel descriptor. Ending it is always done to the
 * group: a program's own children do not outlive it.
 */
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/scoped.h"

#include "base/banned.h"

#define TERM_GRACE_MS 2000
#define DRAIN_AFTER_END_MS 200 /* what a grandchild that keeps our pipe open may still delay us */
#define ERROR_MAX_DEFAULT 8192

/* One running child. Descriptors are -1 once closed. */
struct run {
        const struct process_spec *spec;
        struct process_result *result;
        pid_t pid;
        int pidfd;
        int input;
        int output;
        int errors;
        size_t fed;
        size_t line_start; /* of the stderr line that is being gathered */
        int64_t deadline;
        int64_t kill_at; /* 0: not asked to end yet */
        int stop_kind;   /* why it was asked to end: an error kind, or 0 */
        bool ended;
};

void process_result_done(struct process_result *result)
{
        str_done(&result->output);
        str_done(&result->errors);
}

static void close_fd(int *fd)
{
        if (*fd >= 0)
                close(*fd);
        *fd = -1;
}

/* The child's ends of the pipes, in the order of its descriptors 0, 1, 2. */
static int spawn(struct run *run, const int ends[3], struct error *err)
{
        const struct process_spec *spec = run->spec;
        const char *path = getenv("PATH");
        scoped_text char *path_entry = text_format("PATH=%s", text_or(path, "/usr/bin:/bin"));
        char *const default_env[] = {path_entry, NULL};
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        sigset_t all;
        sigset_t none;
        int number;

        sigfillset(&all);
        sigemptyset(&none);
        posix_spawnattr_init(&attributes);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF |
                                                      POSIX_SPAWN_SETSIGMASK);
        posix_spawnattr_setsigdefault(&attributes, &all);
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawn_file_actions_init(&actions);
        for (int i = 0; i < 3; i++)
                posix_spawn_file_actions_adddup2(&actions, ends[i], i);
        posix_spawn_file_actions_addclosefrom_np(&actions, 3);
        if (spec->folder)
                posix_spawn_file_actions_addchdir_np(&actions, spec->folder);
        number = posix_spawnp(&run->pid, spec->argv[0], &actions, &attributes,
                              (char *const *)spec->argv,
                              spec->env ? (char *const *)spec->env : default_env);
        posix_spawn_file_actions_destroy(&actions);
        posix_spawnattr_destroy(&attributes);
        if (number) {
                errno = number;
                return error_set_errno(err, "start '%s'", spec->argv[0]);
        }
        run->pidfd = (int)syscall(SYS_pidfd_open, run->pid, 0);
        if (spec->file_max) {
                struct rlimit limit = {(rlim_t)spec->file_max, (rlim_t)spec->file_max};

                prlimit(run->pid, RLIMIT_FSIZE, &limit, NULL);
        }
        return 0;
}

/*
 * Standard input is a socket, so that a child that does not read it gives us an error instead of
 * SIGPIPE.
 */
static int start(struct run *run, struct error *err)
{
        int input[2] = {-1, -1};
        int output[2] = {-1, -1};
        int errors[2] = {-1, -1};
        int result = -ERROR_UNAVAILABLE;

        if (run->spec->input) {
                if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, input) < 0)
                        error_set_errno(err, "make a socket for '%s'", run->spec->argv[0]);
        } else {
                input[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        }
        if (input[0] < 0 || pipe2(output, O_CLOEXEC) < 0 || pipe2(errors, O_CLOEXEC) < 0) {
                error_set_errno(err, "make the pipes of '%s'", run->spec->argv[0]);
        } else {
                int ends[3] = {input[0], output[1], errors[1]};

                result = spawn(run, ends, err);
        }
        close_fd(&input[0]);
        close_fd(&output[1]);
        close_fd(&errors[1]);
        run->input = input[1];
        run->output = output[0];
        run->errors = errors[0];
        return result;
}

static void ask_to_end(struct run *run, int kind)
{
        if (run->stop_kind)
                return;
        run->stop_kind = kind;
        run->kill_at = clock_ms() + TERM_GRACE_MS;
        kill(-run->pid, SIGTERM);
}

static void feed(struct run *run)
{
        const char *bytes = run->spec->input;
        ssize_t n = send(run->input, bytes + run->fed, run->spec->input_len - run->fed,
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n > 0)
                run->fed += (size_t)n;
        if (n < 0 || run->fed == run->spec->input_len)
                close_fd(&run->input);
}

/* Hands over the complete lines of stderr; '\r' ends one too (progress meters). */
static void tell_lines(struct run *run)
{
        struct str *errors = &run->result->errors;

        while (run->spec->on_line && run->line_start < errors->len) {
                char *start = errors->data + run->line_start;
                size_t n = strcspn(start, "\r\n");
                char kept = start[n];

                if (!kept)
                        return;
                start[n] = '\0';
                if (n)
                        run->spec->on_line(run->spec->data, start);
                start[n] = kept;
                run->line_start += n + 1;
        }
}

/* Keeps the first and the last half of error_max bytes. */
static void limit_errors(struct run *run)
{
        struct str *errors = &run->result->errors;
        size_t max = run->spec->error_max ? run->spec->error_max : ERROR_MAX_DEFAULT;
        size_t cut;

        if (errors->len <= max)
                return;
        cut = errors->len - max;
        memmove(errors->data + max / 2, errors->data + max / 2 + cut, errors->len - max / 2 - cut);
        str_truncate(errors, max);
        run->line_start = run->line_start > cut ? run->line_start - cut : errors->len;
}

static void drain(struct run *run, int *fd)
{
        char bytes[16384];
        ssize_t n = read(*fd, bytes, sizeof(bytes));

        if (n < 0 && errno == EINTR)
                return;
        if (n <= 0) {
                close_fd(fd);
                return;
        }
        if (fd == &run->errors) {
                str_add_bytes(&run->result->errors, bytes, (size_t)n);
                tell_lines(run);
                limit_errors(run);
        } else if (run->result->output.len + (size_t)n > run->spec->output_max) {
                ask_to_end(run, ERROR_LIMIT);
        } else {
                str_add_bytes(&run->result->output, bytes, (size_t)n);
        }
}

static int wait_time(const struct run *run)
{
        int64_t until = run->deadline;
        int64_t now = clock_ms();

        if (run->kill_at && (!until || run->kill_at < until))
                until = run->kill_at;
        if (!until)
                return -1;
        return until <= now ? 0 : (int)(until - now > 60000 ? 60000 : until - now);
}

static void check_time(struct run *run)
{
        int64_t now = clock_ms();

        if (run->kill_at && now >= run->kill_at) {
                kill(-run->pid, SIGKILL);
                run->kill_at = now + TERM_GRACE_MS;
        } else if (!run->kill_at && run->deadline && now >= run->deadline) {
                if (run->ended) {
                        close_fd(&run->output);
                        close_fd(&run->errors);
                } else {
                        ask_to_end(run, ERROR_UNAVAILABLE);
                }
        }
}

static void reap(struct run *run)
{
        int status = 0;

        /* while the zombie still holds its pid, the group cannot be somebody else's */
        kill(-run->pid, SIGKILL);
        while (waitpid(run->pid, &status, 0) < 0 && errno == EINTR)
                ;
        run->ended = true;
        if (WIFEXITED(status))
                run->result->exit_code = WEXITSTATUS(status);
        if (WIFSIGNALED(status))
                run->result->signal = WTERMSIG(status);
        close_fd(&run->pidfd);
        close_fd(&run->input);
        run->kill_at = 0;
        run->deadline = clock_ms() + DRAIN_AFTER_END_MS;
}

static void follow(struct run *run)
{
        while (!run->ended || run->output >= 0 || run->errors >= 0) {
                struct pollfd fds[] = {
                        {run->output, POLLIN, 0},
                        {run->errors, POLLIN, 0},
                        {run->input, POLLOUT, 0},
                        {run->pidfd, POLLIN, 0},
                        {run->stop_kind || run->ended ? -1 : run->spec->cancel_fd, POLLIN, 0},
                };

                poll(fds, 5, wait_time(run));
                if (fds[0].revents)
                        drain(run, &run->output);
                if (fds[1].revents)
                        drain(run, &run->errors);
                if (fds[2].revents)
                        feed(run);
                if (fds[3].revents)
                        reap(run);
                if (fds[4].revents)
                        ask_to_end(run, ERROR_CANCELLED);
                check_time(run);
        }
}

int process_run(struct process_result *ret, const struct process_spec *spec, struct error *err)
{
        struct run run = {.spec = spec, .result = ret, .pidfd = -1};
        int result;

        run.deadline = spec->timeout_ms ? clock_ms() + spec->timeout_ms : 0;
        result = start(&run, err);
        if (result == 0)
                follow(&run);
        close_fd(&run.input);
        close_fd(&run.output);
        close_fd(&run.errors);
        if (result < 0)
                return result;
        switch (run.stop_kind) {
        case 0:
                return 0;
        case ERROR_CANCELLED:
                return error_set(err, ERROR_CANCELLED, "'%s' was cancelled", spec->argv[0]);
        case ERROR_LIMIT:
                return error_set(err, ERROR_LIMIT, "'%s' wrote more than %zu bytes", spec->argv[0],
                                 spec->output_max);
        default:
                return error_set(err, ERROR_LIMIT, "'%s' did not end within %lld s", spec->argv[0],
                                 (long long)(spec->timeout_ms / 1000));
        }
}
