/*
 * A daemon elsewhere: argon-step's stdin and stdout through the API. The caller gets one end of a
 * socket pair; a thread per connection carries bytes between the other end and the daemon, taking
 * the daemon's framing away. What argon-step writes to stderr is not part of the channel.
 */
#include "adapters/engine/docker_private.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "adapters/engine/docker_api.h"
#include "adapters/engine/docker_stream.h"
#include "adapters/engine/tar.h"
#include "base/error.h"
#include "base/str.h"

#include "base/banned.h"

#define COPY_SIZE (64 * 1024)
#define STDOUT 1

struct docker_attach {
        struct docker *docker;
        pthread_t thread;
        int daemon;
        int inner; /* our end of the socket pair; the caller has the other */
        bool finished;
        struct str early;
        struct docker_attach *next;
};

static bool send_all(int fd, const void *bytes, size_t n)
{
        const char *at = bytes;

        while (n > 0) {
                ssize_t sent = send(fd, at, n, MSG_NOSIGNAL);

                if (sent < 0 && errno == EINTR)
                        continue;
                if (sent < 0)
                        return false;
                at += sent;
                n -= (size_t)sent;
        }
        return true;
}

static bool to_caller(struct docker_attach *attach, struct docker_stream *stream,
                      const unsigned char *bytes, size_t n)
{
        while (n > 0) {
                const unsigned char *payload;
                size_t part;
                int which;
                long used = docker_stream_next(stream, bytes, n, &payload, &part, &which);

                if (used < 0 || (which == STDOUT && !send_all(attach->inner, payload, part)))
                        return false;
                bytes += used;
                n -= (size_t)used;
        }
        return true;
}

/* Return: whether the connection goes on. */
static bool carry(struct docker_attach *attach, struct docker_stream *stream, short from_daemon,
                  short from_caller)
{
        unsigned char bytes[COPY_SIZE];
        ssize_t n;

        if (from_daemon) {
                n = recv(attach->daemon, bytes, sizeof(bytes), 0);
                if (n <= 0 || !to_caller(attach, stream, bytes, (size_t)n))
                        return false;
        }
        if (from_caller) {
                n = recv(attach->inner, bytes, sizeof(bytes), 0);
                if (n <= 0 || !send_all(attach->daemon, bytes, (size_t)n))
                        return false;
        }
        return true;
}

static void *attach_thread(void *data)
{
        struct docker_attach *attach = data;
        struct docker_stream stream = {0};
        struct pollfd fds[2] = {{.fd = attach->daemon, .events = POLLIN},
                                {.fd = attach->inner, .events = POLLIN}};
        bool go_on = to_caller(attach, &stream, (const unsigned char *)attach->early.data,
                               attach->early.len);

        while (go_on) {
                if (poll(fds, 2, -1) < 0) {
                        go_on = errno == EINTR;
                        continue;
                }
                go_on = carry(attach, &stream, fds[0].revents, fds[1].revents);
        }
        shutdown(attach->inner, SHUT_RDWR);
        shutdown(attach->daemon, SHUT_RDWR);
        pthread_mutex_lock(&attach->docker->lock);
        attach->finished = true;
        pthread_mutex_unlock(&attach->docker->lock);
        return NULL;
}

static void attach_free(struct docker_attach *attach)
{
        close(attach->daemon);
        close(attach->inner);
        str_done(&attach->early);
        free(attach);
}

/* Join the threads that are at their end. */
static void reap(struct docker *docker)
{
        struct docker_attach *ended = NULL;
        struct docker_attach **at = &docker->attached;

        pthread_mutex_lock(&docker->lock);
        while (*at) {
                struct docker_attach *attach = *at;

                if (!attach->finished) {
                        at = &attach->next;
                        continue;
                }
                *at = attach->next;
                attach->next = ended;
                ended = attach;
        }
        pthread_mutex_unlock(&docker->lock);
        while (ended) {
                struct docker_attach *attach = ended;

                ended = attach->next;
                pthread_join(attach->thread, NULL);
                attach_free(attach);
        }
}

int docker_attach(struct engine *engine, struct sandbox *sandbox, int *ret_fd, struct error *err)
{
        struct docker *docker = (struct docker *)engine;
        scoped_text char *path = text_format(
                "/containers/%s/attach?stream=1&stdin=1&stdout=1&stderr=1", sandbox->id);
        struct docker_attach *attach;
        int ends[2];
        int result;

        reap(docker);
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
                return error_set_errno(err, "make a socket");
        attach = xcalloc(1, sizeof(*attach));
        attach->docker = docker;
        attach->inner = ends[0];
        attach->daemon = -1;
        str_init(&attach->early);
        result = docker_connect(docker->api, &attach->daemon, &attach->early, path, err);
        if (result == 0) {
                pthread_mutex_lock(&docker->lock);
                if (pthread_create(&attach->thread, NULL, attach_thread, attach) != 0)
                        result = error_set(err, ERROR_UNAVAILABLE, "start a thread");
                if (result == 0) {
                        attach->next = docker->attached;
                        docker->attached = attach;
                }
                pthread_mutex_unlock(&docker->lock);
        }
        if (result < 0) {
                close(ends[1]);
                attach_free(attach);
                error_wrap(err, "attach to the container %.12s", sandbox->id);
                return result;
        }
        *ret_fd = ends[1];
        return 0;
}

void docker_attach_close_all(struct docker *docker)
{
        pthread_mutex_lock(&docker->lock);
        for (struct docker_attach *at = docker->attached; at; at = at->next)
                shutdown(at->inner, SHUT_RDWR);
        pthread_mutex_unlock(&docker->lock);
        while (docker->attached) {
                struct docker_attach *attach = docker->attached;

                docker->attached = attach->next;
                pthread_join(attach->thread, NULL);
                attach_free(attach);
        }
}

/* An archive on its way: written by a thread, while the request reads it. */
struct archive {
        int to;
        const char *name;
        const char *path;
        bool folder; /* or one file, to be executed */
        int result;
        struct error error;
};

static void *write_archive(void *data)
{
        struct archive *archive = data;

        if (archive->folder)
                archive->result =
                        tar_add_folder(archive->to, archive->name, archive->path, &archive->error);
        else
                archive->result = tar_add_file(archive->to, archive->name, archive->path, 0555,
                                               &archive->error);
        if (archive->result == 0)
                archive->result = tar_finish(archive->to, &archive->error);
        shutdown(archive->to, SHUT_WR);
        return NULL;
}

int docker_put(struct docker *docker, const char *id, const char *target, const char *name,
               const char *path, bool folder, struct error *err)
{
        scoped_text char *request_path = text_format("/containers/%s/archive?path=%s", id, target);
        struct docker_request request = DOCKER_REQUEST_INIT;
        struct archive archive = {.name = name, .path = path, .folder = folder};
        struct error why = {0};
        pthread_t thread;
        int ends[2];
        int result;

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
                return error_set_errno(err, "make a socket");
        archive.to = ends[1];
        if (pthread_create(&thread, NULL, write_archive, &archive) != 0) {
                close(ends[0]);
                close(ends[1]);
                return error_set(err, ERROR_UNAVAILABLE, "start a thread");
        }
        request.method = "PUT";
        request.path = request_path;
        request.upload = ends[0];
        request.timeout_ms = 0;
        request.idle_ms = 60000;
        result = docker_send(docker->api, NULL, &request, &why);
        close(ends[0]);
        pthread_join(thread, NULL);
        close(ends[1]);
        if (result < 0)
                return error_set(err, why.kind, "%s", why.text);
        if (archive.result < 0)
                return error_set(err, archive.error.kind, "%s", archive.error.text);
        return 0;
}
