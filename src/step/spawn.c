/*
 * The child tells over a close-on-exec pipe how far it came: end of file means that the program
 * runs, a report means that it did not get that far. Everything that needs memory is made before
 * the fork.
 *
 * oom_score_adj is raised by raising our own for the moment of the fork: a child of a process that
 * is not dumpable may not open its own /proc/self files once it is another user. Going back down
 * needs no capability as long as it is not below where we were started.
 */
#include "step/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "step/environment.h"
#include "step/rights.h"
#include "wire/step_frame.h"

#include "base/banned.h"

#define SIGNALS 64 /* of the kernel, on every architecture but MIPS */
#define OOM_SCORE 500
#define START_MAX_MS                                                                 \
        10000 /* from fork to exec: only a folder on a dead file system takes longer \
               */
#define PATH_ENTRY_MAX 4096

enum stage { STAGE_SETUP, STAGE_RIGHTS, STAGE_FOLDER, STAGE_EXEC };

struct report {
        int stage;
        int number;
        int denied; /* a program was found that may not be run */
        char text[256];
};

struct start {
        const struct spawn_host *host;
        const struct step_plan *plan;
        const struct shell *shell;
        const struct environment *environment;
        const char *folder;
        const int *output;
        int report;
};

void spawn_open(struct spawn_host *host, char *const *variables)
{
        char text[16] = "";
        int ends[2];

        *host = (struct spawn_host){.variables = variables};
        host->null = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (host->null < 0 && pipe2(ends, O_CLOEXEC) == 0) {
                /* An image without /dev: a pipe whose writer has gone is at its end as well. */
                host->null = ends[0];
                close(ends[1]);
        }
        getrlimit(RLIMIT_CORE, &host->core);
        host->oom = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
        if (host->oom >= 0 && pread(host->oom, text, sizeof(text) - 1, 0) > 0)
                host->oom_score = (int)strtol(text, NULL, 10);
}

static void set_oom_score(const struct spawn_host *host, int score)
{
        char text[16];
        int n = snprintf(text, sizeof(text), "%d", score);

        if (host->oom >= 0 && host->oom_score < OOM_SCORE &&
            pwrite(host->oom, text, (size_t)n, 0) < 0)
                return; /* a kindness to the supervisor, nothing depends on it */
}

/* --- in the child --- */

static _Noreturn void give_up(const struct start *start, enum stage stage, int denied,
                              const char *text)
{
        struct report report = {.stage = stage, .number = errno, .denied = denied};
        ssize_t n;

        snprintf(report.text, sizeof(report.text), "%s", text);
        n = write(start->report, &report, sizeof(report));
        _exit(n == sizeof(report) ? 127 : 126);
}

/*
 * By the system call: the C library keeps some real-time signals to itself and refuses to touch
 * them, yet whoever started us may have left them ignored. All zeroes mean the default action.
 */
static int default_signals(void)
{
        static const unsigned long action[8];
        sigset_t none;

        for (int number = 1; number <= SIGNALS; number++) {
                if (number != SIGKILL && number != SIGSTOP)
                        syscall(SYS_rt_sigaction, number, action, NULL, SIGNALS / 8);
        }
        sigemptyset(&none);
        return sigprocmask(SIG_SETMASK, &none, NULL);
}

static int set_up(const struct start *start)
{
        if (default_signals() < 0 || setsid() < 0)
                return -1;
        setrlimit(RLIMIT_CORE, &start->host->core); /* ours is 0 */
        umask(022);
        if (dup2(start->host->null, 0) < 0 || dup2(start->output[0], 1) < 0 ||
            dup2(start->output[1], 2) < 0)
                return -1;
        return 0;
}

/* Like execvp(), with the step's PATH and not ours. Returns only when it failed. */
static void try_program(const struct start *start, char *const *argv, int *denied)
{
        const char *path = environment_get(start->environment, "PATH");
        char full[PATH_ENTRY_MAX];

        if (strchr(argv[0], '/')) {
                execve(argv[0], argv, start->environment->list);
                return;
        }
        while (path) {
                const char *colon = strchr(path, ':');
                int n = colon ? (int)(colon - path) : (int)strnlen(path, PATH_ENTRY_MAX);

                if (n == 0)
                        snprintf(full, sizeof(full), "./%s", argv[0]);
                else if (snprintf(full, sizeof(full), "%.*s/%s", n, path, argv[0]) >=
                         (int)sizeof(full))
                        full[0] = '\0';
                execve(full, argv, start->environment->list);
                if (errno == EACCES)
                        *denied = 1;
                else if (errno != ENOENT && errno != ENOTDIR)
                        return;
                else if (access(full, X_OK) == 0)
                        return; /* it exists; its interpreter or loader does not */
                path = colon ? colon + 1 : NULL;
        }
        errno = ENOENT;
}

static _Noreturn void child(const struct start *start)
{
        struct error err = {0};
        int denied = 0;

        if (set_up(start) < 0)
                give_up(start, STAGE_SETUP, 0, "");
        if (rights_step(start->plan, &err) < 0)
                give_up(start, STAGE_RIGHTS, 0, err.text);
        if (chdir(start->folder) < 0)
                give_up(start, STAGE_FOLDER, 0, "");
        for (size_t i = 0; i < start->shell->choices; i++) {
                try_program(start, start->shell->argv[i], &denied);
                if (errno != ENOENT)
                        break;
        }
        give_up(start, STAGE_EXEC, denied, "");
}

/* --- in the parent --- */

/* Whether a program of that name lies in PATH, so that "not found" means its loader. */
static bool lies_in_path(const struct environment *environment, const char *name)
{
        scoped_text char *path = text_copy(environment_get(environment, "PATH"));
        char *rest = NULL;

        if (strchr(name, '/'))
                return access(name, F_OK) == 0;
        for (char *folder = strtok_r(path ? path : (char[]){""}, ":", &rest); folder;
             folder = strtok_r(NULL, ":", &rest)) {
                scoped_text char *full = text_format("%s/%s", folder, name);

                if (access(full, F_OK) == 0)
                        return true;
        }
        return false;
}

static int explain_exec(const struct start *start, const struct report *report, const char *shell,
                        struct error *err)
{
        const char *program = start->shell->argv[0][0];

        errno = report->number;
        if (report->number == E2BIG)
                return error_set(err, ERROR_LIMIT,
                                 "variables and script together are larger than the kernel hands "
                                 "to a program; make `env` or `run` shorter");
        if (report->number != ENOENT)
                return error_set_errno(err, "run '%s'", program);
        if (report->denied)
                return error_set(err, ERROR_DENIED, "'%s' may not be run by this user", program);
        if (lies_in_path(start->environment, program))
                return error_set(err, ERROR_NOT_FOUND,
                                 "'%s' cannot run in this image: its loader or interpreter is "
                                 "missing (built for another system?)",
                                 program);
        if (!strcmp(program, "sh"))
                return error_set(err, ERROR_NOT_FOUND,
                                 "this image has no /bin/sh; use an image with a shell, or "
                                 "`shell:` with a program that it has (`shell: prog {0}`)");
        return error_set(err, ERROR_NOT_FOUND,
                         "shell '%s': this image has no program '%s' (PATH is %s)", shell, program,
                         environment_get(start->environment, "PATH"));
}

static int explain(const struct start *start, const struct report *report, const char *shell,
                   struct error *err)
{
        errno = report->number;
        switch (report->stage) {
        case STAGE_RIGHTS:
                return error_set(err, ERROR_DENIED, "the security profile cannot be kept: %s",
                                 report->text);
        case STAGE_FOLDER:
                return error_set_errno(err, "working directory '%s'", start->folder);
        case STAGE_EXEC:
                return explain_exec(start, report, shell, err);
        default:
                return error_set_errno(err, "prepare the step's process");
        }
}

/* Return: 1 report filled, 0 the program runs, -1 it hangs. */
static int await_start(int fd, struct report *report)
{
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        ssize_t n;

        for (;;) {
                int ready = poll(&poll_fd, 1, START_MAX_MS);

                if (ready < 0 && errno == EINTR)
                        continue;
                if (ready <= 0)
                        return -1;
                n = read(fd, report, sizeof(*report));
                if (n < 0 && errno == EINTR)
                        continue;
                report->text[sizeof(report->text) - 1] = '\0';
                return n == sizeof(*report);
        }
}

static int start_child(pid_t *ret, struct start *start, const char *shell, struct error *err)
{
        struct report report = {0};
        int ends[2];
        pid_t pid;
        int state;

        if (pipe2(ends, O_CLOEXEC) < 0)
                return error_set_errno(err, "make a pipe");
        start->report = ends[1];
        set_oom_score(start->host, OOM_SCORE);
        pid = fork();
        if (pid == 0)
                child(start);
        set_oom_score(start->host, start->host->oom_score);
        close(ends[1]);
        if (pid < 0) {
                error_set_errno(err, "start a process");
                close(ends[0]);
                return -ERROR_UNAVAILABLE;
        }
        state = await_start(ends[0], &report);
        close(ends[0]);
        *ret = pid;
        if (state == 0)
                return 0;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        if (state < 0)
                return error_set(err, ERROR_UNAVAILABLE, "the step did not start within %d s",
                                 START_MAX_MS / 1000);
        return explain(start, &report, shell, err);
}

static char *folder_of(const struct step_plan *plan, const struct step_plan_step *step)
{
        if (!*step->folder)
                return text_copy(plan->workspace);
        if (step->folder[0] == '/')
                return text_copy(step->folder);
        return text_format("%s/%s", plan->workspace, step->folder);
}

int spawn_step(pid_t *ret, struct shell *shell, const struct spawn_host *host,
               const struct step_plan *plan, const struct step_plan_step *step, const int output[2],
               struct error *err)
{
        scoped_text char *folder = folder_of(plan, step);
        struct environment environment;
        struct start start = {.host = host,
                              .plan = plan,
                              .shell = shell,
                              .environment = &environment,
                              .folder = folder,
                              .output = output};
        int result = shell_prepare(shell, step, err);

        if (result < 0)
                return result;
        environment_make(&environment, host->variables, plan, step, folder);
        result = start_child(ret, &start, step->shell, err);
        environment_done(&environment);
        return result;
}
