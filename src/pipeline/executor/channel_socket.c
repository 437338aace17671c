/*
 * The socket is bound under another name, opened for all by chmod, and renamed: nobody ever meets
 * it without its final permissions, and umask, which belongs to the whole process, is left alone.
 * Binding goes through /proc/self/fd, because an address has room for 107 bytes and a folder may be
 * longer. The name is never removed here: a successor may already have put its own socket in its
 * place.
 */
#include "pipeline/executor/channel_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/scoped.h"
#include "pipeline/executor/channel.h"

#include "base/banned.h"

#define SOCKET_NEW "sock.new"
#define BACKLOG 16

int channel_socket_listen(int *ret, int folder, struct error *err)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        scoped_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        if (fd < 0)
                return error_set_errno(err, "make a socket");
        snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" SOCKET_NEW,
                 folder);
        if (unlinkat(folder, SOCKET_NEW, 0) < 0 && errno != ENOENT)
                return error_set_errno(err, "remove an old " SOCKET_NEW);
        if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                return error_set_errno(err, "bind " SOCKET_NEW);
        if (fchmodat(folder, SOCKET_NEW, 0777, 0) < 0 || listen(fd, BACKLOG) < 0 ||
            renameat(folder, SOCKET_NEW, folder, CHANNEL_SOCKET) < 0)
                return error_set_errno(err, "listen on " CHANNEL_SOCKET);
        *ret = take_fd(&fd);
        return 0;
}

/*
 * A process that our own PID namespace does not contain has number 0 here: so it is with every
 * sandbox when the executor itself runs in a container. From a place that sees all processes of the
 * machine 0 is never seen, so nothing is given away.
 */
static bool is_peer(int fd, pid_t peer)
{
        struct ucred who;
        socklen_t len = sizeof(who);

        return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 &&
               (who.pid == peer || who.pid == 0);
}

int channel_socket_accept(int listener, pid_t peer)
{
        for (;;) {
                int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

                if (fd < 0 || is_peer(fd, peer))
                        return fd;
                /* A step may knock as well; it learns nothing. */
                close(fd);
        }
}
