#include "tests/contract/step_talk.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/scoped.h"

#include "base/banned.h"

#define STRICT_UID 65534
#define SUPERVISOR_UID 900

int talk_listen(const char *folder, struct error *err)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        scoped_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        scoped_text char *path = text_format("%s/sock", folder);
        mode_t mask;
        int result;

        if (strlen(path) >= sizeof(address.sun_path))
                return error_set(err, ERROR_INVALID, "'%s' is too long", path);
        memcpy(address.sun_path, path, strlen(path));
        mask = umask(0);
        result = bind(fd, (struct sockaddr *)&address, sizeof(address));
        umask(mask);
        if (result < 0 || listen(fd, 4) < 0)
                return error_set_errno(err, "listen at '%s'", path);
        return take_fd(&fd);
}

int talk_accept(int listener, int64_t timeout_ms, struct error *err)
{
        struct pollfd ready = {.fd = listener, .events = POLLIN};
        int fd;

        if (poll(&ready, 1, (int)timeout_ms) <= 0)
                return error_set(err, ERROR_UNAVAILABLE, "nobody connected");
        fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        return fd < 0 ? error_set_errno(err, "accept") : fd;
}

static int put(int fd, const struct str *bytes, struct error *err)
{
        size_t sent = 0;

        while (sent < bytes->len) {
                ssize_t n = send(fd, bytes->data + sent, bytes->len - sent, MSG_NOSIGNAL);

                if (n < 0)
                        return error_set_errno(err, "send to argon-step");
                sent += (size_t)n;
        }
        return 0;
}

int talk_begin(int fd, const char *script, bool own_users, bool strict, struct error *err)
{
        struct step_attach attach = {.version = STEP_PROTOCOL};
        struct step_plan_step step = {
                .name = "only",
                .script = script,
                .shell = "sh",
                .folder = "",
        };
        struct step_plan plan = {
                .workspace = "/workspace",
                .grace_ms = 500,
                .uid = own_users ? STRICT_UID : STEP_ID_KEEP,
                .gid = own_users ? STRICT_UID : STEP_ID_KEEP,
                .supervisor_uid = own_users ? SUPERVISOR_UID : STEP_ID_KEEP,
                .strict = strict,
                .steps = &step,
                .n_steps = 1,
        };
        scoped_str struct str bytes = STR_INIT;
        scoped_str struct str text = STR_INIT;

        step_attach_encode(&bytes, &attach);
        if (step_plan_encode(&text, &plan, err) < 0)
                return -ERROR_INVALID;
        step_plan_frames(&bytes, text.data, text.len);
        return put(fd, &bytes, err);
}

int talk_resume(int fd, struct error *err)
{
        struct step_attach attach = {.version = STEP_PROTOCOL, .nonce = {1}};
        scoped_str struct str bytes = STR_INIT;

        step_frame_pad(&bytes);
        step_attach_encode(&bytes, &attach);
        return put(fd, &bytes, err);
}

static void take_event(struct talk *talk, const struct step_event *event)
{
        if (event->type == STEP_FRAME_OUTPUT)
                str_add_bytes(&talk->output, event->output.bytes, event->output.n);
        if (event->type == STEP_FRAME_STEP_FINISHED) {
                talk->cause = event->finished.cause;
                snprintf(talk->text, sizeof(talk->text), "%s", event->finished.text);
        }
        if (event->type != STEP_FRAME_JOB_END)
                return;
        talk->result = event->end.result;
        talk->exit_code = event->end.exit_code;
        talk->signal = event->end.signal;
        if (event->end.text[0])
                snprintf(talk->text, sizeof(talk->text), "%s", event->end.text);
        talk->ended = true;
}

/* Every whole frame in the buffer; *offset counts the bytes of the stream. */
static int take_frames(struct talk *talk, struct str *in, uint64_t *offset, struct error *err)
{
        struct step_frame frame;
        int got;

        while ((got = step_frame_next(&frame, in->data, in->len, err)) == 1) {
                struct step_event event = {0};

                if (frame.type != STEP_FRAME_HELLO) {
                        if (step_event_decode(&event, &frame, err) < 0)
                                return -ERROR_INVALID;
                        *offset += frame.len + STEP_FRAME_HEADER;
                        take_event(talk, &event);
                }
                str_consume(in, frame.size);
        }
        return got;
}

int talk_run(struct talk *talk, int fd, int64_t timeout_ms, struct error *err)
{
        int64_t until = clock_ms() + timeout_ms;
        scoped_str struct str in = STR_INIT;
        uint64_t offset = 0;

        while (!talk->ended) {
                struct pollfd ready = {.fd = fd, .events = POLLIN};
                scoped_str struct str ack = STR_INIT;
                char bytes[65536];
                ssize_t n;

                if (clock_ms() > until || poll(&ready, 1, (int)(until - clock_ms())) <= 0)
                        return error_set(err, ERROR_UNAVAILABLE,
                                         "the job did not end in time; output so far: %s",
                                         talk->output.data);
                n = recv(fd, bytes, sizeof(bytes), 0);
                if (n <= 0)
                        return 0;
                str_add_bytes(&in, bytes, (size_t)n);
                if (take_frames(talk, &in, &offset, err) < 0)
                        return -ERROR_INVALID;
                step_ack_encode(&ack, offset);
                if (put(fd, &ack, NULL) < 0)
                        return 0;
        }
        return 0;
}

void talk_done(struct talk *talk)
{
        str_done(&talk->output);
}
