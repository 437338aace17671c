/*
 * argon-step - PID 1 of a sandbox: takes a plan from the executor, runs its steps, tells what they
 * do
 *
 *         argon-step [--socket PATH] [--cgroup FOLDER]    connect to PATH (/argon/sock), again and
 *                                                         again until the job has ended
 *         argon-step --stdio                              the same over standard input and output
 *         argon-step --pause                              only wait for SIGTERM: holds namespaces
 *         argon-step --version
 *
 * One thread, one epoll. It stays after the job's end until the executor has acknowledged
 * everything; if none comes for the plan's orphan_max_ms (by the clock that also runs while the
 * machine sleeps) it ends the job, and ends itself after as long again.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "step/job.h"
#include "step/line.h"
#include "step/reaper.h"

#include "base/banned.h"

#define SOCKET_DEFAULT "/argon/sock"
#define WORKSPACE "/workspace"
#define CGROUP_DEFAULT "/sys/fs/cgroup"
#define LAST_WORDS_MS 5000 /* for the end frames after SIGTERM */
#define EVENTS_MAX 64
#define SIGNAL_TAG (UINT64_MAX - 1)
#define SYS_close_range_ 436 /* the same on every architecture */
#define EXIT_BROKEN 70
#define EXIT_USAGE 64

struct options {
        const char *socket;
        const char *cgroup;
        bool stdio;
        bool pause;
};

struct supervisor {
        int epoll;
        int signals;
        struct line line;
        struct reaper reaper;
        struct job job;
        int64_t told_to_stop_at; /* 0: not */
        int64_t ended_at;        /* clock_boot_ms(): no process is left; 0: not yet */
};

static int usage(void)
{
        fprintf(stderr, "usage: argon-step [--socket PATH] [--stdio] [--cgroup FOLDER]\n"
                        "       argon-step --pause | --version\n");
        return EXIT_USAGE;
}

static int broken(const struct error *err)
{
        fprintf(stderr, "argon-step: %s\n", err->text);
        return EXIT_BROKEN;
}

/* Ends with 0 on SIGTERM or SIGINT; collects whoever is left to it. */
static int pause_for_ever(void)
{
        sigset_t set;
        int number;

        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGCHLD);
        sigprocmask(SIG_BLOCK, &set, NULL);
        for (;;) {
                if (sigwait(&set, &number) != 0)
                        return EXIT_BROKEN;
                if (number != SIGCHLD)
                        return 0;
                while (waitpid(-1, NULL, WNOHANG) > 0)
                        ;
        }
}

static int open_signals(struct supervisor *sv, struct error *err)
{
        /* Edge-triggered, so that it stands in epoll's queue where the signal came: behind what the
         * process that ended had written before. */
        struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = SIGNAL_TAG};
        struct sigaction ignore = {.sa_handler = SIG_IGN};
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGCHLD);
        sigaction(SIGPIPE, &ignore, NULL);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return error_set_errno(err, "block signals");
        sv->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
        if (sv->signals < 0 || epoll_ctl(sv->epoll, EPOLL_CTL_ADD, sv->signals, &event) < 0)
                return error_set_errno(err, "receive signals");
        return 0;
}

/*
 * Not dumpable: processes of the same user can neither trace us nor read our memory, environment or
 * descriptors, and the plan with its secrets is in that memory.
 */
static int protect(struct error *err)
{
        struct rlimit none = {0};

        if (getrlimit(RLIMIT_CORE, &none) == 0) {
                none.rlim_cur = 0;
                setrlimit(RLIMIT_CORE, &none);
        }
        if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
                return error_set_errno(err, "protect the supervisor's memory");
        return 0;
}

/* What a launcher left open is not for the steps. Kernels before 5.9 lack the call; there only what
 * we open ourselves is certain to be closed. */
static void close_foreign(void)
{
        syscall(SYS_close_range_, 3U, ~0U, 0U);
}

static int open_all(struct supervisor *sv, const struct options *options, char *const *variables,
                    struct error *err)
{
        sv->epoll = epoll_create1(EPOLL_CLOEXEC);
        if (sv->epoll < 0)
                return error_set_errno(err, "make an epoll");
        if (open_signals(sv, err) < 0 || reaper_open(&sv->reaper, err) < 0)
                return -ERROR_UNAVAILABLE;
        if (line_open(&sv->line, options->stdio ? NULL : options->socket, sv->epoll, err) < 0)
                return -ERROR_UNAVAILABLE;
        /* Opens a file of /proc/self that is closed to us afterwards. */
        job_open(&sv->job, &sv->line, &sv->reaper, options->cgroup, sv->epoll, variables);
        return protect(err);
}

static void take_signals(struct supervisor *sv)
{
        struct signalfd_siginfo info;

        while (read(sv->signals, &info, sizeof(info)) == sizeof(info)) {
                if (info.ssi_signo == SIGCHLD) {
                        reaper_collect(&sv->reaper);
                        continue;
                }
                /* A sender from outside our PID namespace has no number here. A step has one, and
                 * may end itself in simpler ways. */
                if (sv->reaper.init && info.ssi_pid != 0)
                        continue;
                if (!sv->told_to_stop_at)
                        sv->told_to_stop_at = clock_ms();
                job_stop(&sv->job, STEP_CAUSE_STOPPED);
        }
}

/*
 * Milliseconds until somebody without an executor gives up; INT64_MAX while there is one. One that
 * holds the connection and takes nothing, while the job waits for it, is none.
 */
static int64_t orphan_left(const struct supervisor *sv)
{
        int64_t since = sv->line.alone_since;
        const struct outlets *outlets = &sv->job.outlets;

        if (sv->job.abandoned && !sv->ended_at)
                return INT64_MAX; /* told, and ending by itself */
        if (sv->line.path && sv->line.attached) {
                if (sv->ended_at || !sv->job.outlets_open || outlets->blocked_since < 0)
                        return INT64_MAX;
                return job_orphan_max(&sv->job) - (clock_ms() - outlets->blocked_since);
        }
        if (sv->ended_at > since)
                since = sv->ended_at;
        return job_orphan_max(&sv->job) - (clock_boot_ms() - since);
}

static int64_t words_left(const struct supervisor *sv)
{
        if (!sv->told_to_stop_at || !sv->ended_at)
                return INT64_MAX;
        return LAST_WORDS_MS - (clock_boot_ms() - sv->ended_at);
}

static void look_around(struct supervisor *sv)
{
        if (sv->line.stop)
                job_stop(&sv->job, STEP_CAUSE_STOPPED);
        else if (sv->line.cancel)
                job_stop(&sv->job, STEP_CAUSE_CANCELLED);
        if (!sv->ended_at && orphan_left(sv) <= 0)
                job_stop(&sv->job, STEP_CAUSE_ORPHANED);
        job_tick(&sv->job);
        if (!sv->ended_at && sv->job.phase >= JOB_EMPTYING)
                sv->ended_at = clock_boot_ms();
}

static bool is_over(const struct supervisor *sv)
{
        if (sv->job.phase == JOB_ENDED && line_delivered(&sv->line))
                return true;
        return sv->ended_at && (orphan_left(sv) <= 0 || words_left(sv) <= 0);
}

static int wait_ms(const struct supervisor *sv)
{
        int64_t candidates[] = {line_wait_ms(&sv->line), job_wait_ms(&sv->job), orphan_left(sv),
                                words_left(sv)};
        int64_t wait = 60 * 60 * 1000;

        for (size_t i = 0; i < sizeof(candidates) / sizeof(*candidates); i++) {
                /* The first two mean "never" by -1, the others are due when negative. */
                int64_t ms = i >= 2 && candidates[i] < 0 ? 0 : candidates[i];

                if (ms >= 0 && ms < wait)
                        wait = ms;
        }
        return (int)wait;
}

static int loop(struct supervisor *sv, struct error *err)
{
        struct epoll_event events[EVENTS_MAX];

        for (;;) {
                int n;

                if (line_service(&sv->line, err) < 0)
                        return -ERROR_UNAVAILABLE;
                look_around(sv);
                if (line_transmit(&sv->line, err) < 0)
                        return -ERROR_UNAVAILABLE;
                if (is_over(sv))
                        return job_exit_code(&sv->job);
                n = epoll_wait(sv->epoll, events, EVENTS_MAX, wait_ms(sv));
                /* Any other error would come back at once, for ever. */
                if (n < 0 && errno != EINTR)
                        return error_set_errno(err, "wait for events");
                for (int i = 0; i < n; i++) {
                        if (events[i].data.u64 == SIGNAL_TAG)
                                take_signals(sv);
                        else if (events[i].data.u64 != LINE_TAG && sv->job.outlets_open)
                                outlets_wake(&sv->job.outlets, (size_t)events[i].data.u64);
                }
        }
}

static int parse(struct options *options, int argc, char **argv)
{
        *options = (struct options){.socket = SOCKET_DEFAULT, .cgroup = CGROUP_DEFAULT};
        for (int i = 1; i < argc; i++) {
                if (!strcmp(argv[i], "--stdio"))
                        options->stdio = true;
                else if (!strcmp(argv[i], "--pause"))
                        options->pause = true;
                else if (!strcmp(argv[i], "--socket") && i + 1 < argc)
                        options->socket = argv[++i];
                else if (!strcmp(argv[i], "--cgroup") && i + 1 < argc)
                        options->cgroup = argv[++i];
                else
                        return -1;
        }
        return 0;
}

/*
 * Over a pair of pipes the workspace is a volume that belongs to root, as who made it could not set
 * its mode; nobody outside this sandbox sees it. When it is not ours it stays as it is.
 */
static void open_workspace(const struct options *options)
{
        if (options->stdio && chmod(WORKSPACE, 0777) < 0)
                return;
}

int main(int argc, char **argv, char **variables)
{
        struct supervisor sv = {0};
        struct options options;
        struct error err = {0};
        int result;

        if (argc == 2 && !strcmp(argv[1], "--version")) {
                printf("argon-step %s, protocol %d\n", ARGON_VERSION, STEP_PROTOCOL);
                return 0;
        }
        if (parse(&options, argc, argv) < 0)
                return usage();
        if (options.pause)
                return pause_for_ever();
        close_foreign();
        open_workspace(&options);
        if (open_all(&sv, &options, variables, &err) < 0)
                return broken(&err);
        result = loop(&sv, &err);
        return result < 0 ? broken(&err) : result;
}
