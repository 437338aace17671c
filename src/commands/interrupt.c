#include "commands/interrupt.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/error.h"
#include "commands/command.h"

#include "base/banned.h"

int interrupt_open(int *ret_fd, struct error *err)
{
        sigset_t set;
        int fd;

        sigemptyset(&set);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGTERM);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return error_set_errno(err, "block signals");
        fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (fd < 0)
                return error_set_errno(err, "signalfd");
        *ret_fd = fd;
        return 0;
}

int interrupt_exit_code(int fd)
{
        struct signalfd_siginfo info;

        if (read(fd, &info, sizeof(info)) != sizeof(info))
                return 0;
        return info.ssi_signo == SIGINT ? EXIT_INTERRUPTED : EXIT_TERMINATED;
}
