#include "step/reaper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/scoped.h"

#include "base/banned.h"

#define CHILDREN_BYTES_MAX (64 * 1024)

int reaper_open(struct reaper *reaper, struct error *err)
{
        *reaper = (struct reaper){.init = getpid() == 1, .alone = true};
        if (!reaper->init && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
                return error_set_errno(err, "become the parent of orphans");
        return 0;
}

void reaper_watch(struct reaper *reaper, pid_t pid)
{
        reaper->watched = pid;
        reaper->gone = false;
        reaper->alone = false;
}

void reaper_collect(struct reaper *reaper)
{
        for (;;) {
                struct rusage usage;
                int status;
                pid_t pid = wait4(-1, &status, WNOHANG, &usage);

                if (pid < 0 && errno == EINTR)
                        continue;
                reaper->alone = pid < 0;
                if (pid <= 0)
                        return;
                reaper->reaped++;
                if (pid != reaper->watched)
                        continue;
                reaper->gone = true;
                reaper->status = status;
                reaper->usage = usage;
        }
}

/* Our own children; theirs become ours when they are dead, and are killed the next time. */
static void kill_children(void)
{
        char path[64];
        char text[CHILDREN_BYTES_MAX];
        scoped_fd int fd = -1;
        ssize_t n;
        char *at = text;

        snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
        fd = open(path, O_RDONLY | O_CLOEXEC);
        n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
        if (n <= 0)
                return;
        text[n] = '\0';
        for (;;) {
                char *end;
                long pid = strtol(at, &end, 10);

                /* A number at the very end may have been cut. */
                if (end == at || *end == '\0')
                        return;
                if (pid > 1)
                        kill((pid_t)pid, SIGKILL);
                at = end;
        }
}

void reaper_kill_all(const struct reaper *reaper)
{
        if (reaper->init)
                kill(-1, SIGKILL);
        else
                kill_children();
}
