/*
 * `argon up` is two processes of the same program. The parent binds the addresses, holds the lock
 * of the data folder and waits; the child runs the services and is started anew when it dies. So
 * the port stays open while the child is away: the kernel keeps the connections until the next
 * child takes them.
 *
 * The child is this program with the same arguments; what it inherits (sockets, lock, the pipe on
 * which it says that it is ready) is named by one variable, which it removes at once. The lock is
 * shared by both, so that the folder is free only when both are gone; when the parent is killed,
 * the kernel kills the child.
 */
#include "commands/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/http_server.h"
#include "base/log.h"
#include "base/scoped.h"
#include "base/str.h"
#include "commands/command.h"
#include "commands/data_folder.h"
#include "commands/serve.h"
#include "commands/settings.h"

#include "base/banned.h"

#define CRASHES_MAX 5
#define CRASHES_WITHIN_MS 60000
#define RESTART_DELAY_MS 200

struct up {
        struct invocation *invocation;
        struct settings *settings;
        int lock;
        int listen_fds[SERVE_LISTENERS_MAX];
        size_t n_listen_fds;
        struct str addresses; /* one per line */
        int signals;
        int ready; /* our end of the child's pipe */
        pid_t child;
        bool told;     /* the ready line was printed */
        bool terminal; /* there was one at the start */
        int stops;     /* SIGTERM or SIGINT so far */
        bool reload;
        int64_t crashes[CRASHES_MAX];
        size_t n_crashes;
};

static const struct log_context about = {.service = "up"};

/* readiness as systemd understands it: a datagram to the socket that it names */
static void notify(const char *text)
{
        const char *path = getenv("NOTIFY_SOCKET");
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        size_t n = path ? strlen(path) : 0;
        scoped_fd int fd = -1;

        if (n == 0 || n >= sizeof(address.sun_path) || (*path != '/' && *path != '@'))
                return;
        memcpy(address.sun_path, path, n);
        if (*path == '@')
                address.sun_path[0] = '\0';
        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&address,
                             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0)
                log_event(LOG_WARNING, &about, "cannot tell systemd that the server is ready: %s",
                          strerror(errno));
}

static int bind_all(struct up *up, struct error *err)
{
        const char *line = up->settings->listen;

        while (*line) {
                scoped_text char *address = text_format("%.*s", (int)strcspn(line, "\n"), line);
                scoped_text char *taken = NULL;

                line += strlen(address);
                line += *line == '\n';
                if (!*address)
                        continue;
                if (up->n_listen_fds == SERVE_LISTENERS_MAX)
                        return error_set(err, ERROR_LIMIT, "more than %d addresses to listen on",
                                         SERVE_LISTENERS_MAX);
                if (http_listen(&up->listen_fds[up->n_listen_fds], &taken, address, err) < 0)
                        return err ? -err->kind : -ERROR_UNAVAILABLE;
                up->n_listen_fds++;
                str_printf(&up->addresses, "%s%s", up->addresses.len ? "\n" : "", taken);
        }
        if (!up->n_listen_fds)
                return error_set(err, ERROR_INVALID, "no address to listen on; set ARGON_LISTEN");
        return 0;
}

/* The token in force stands in DATA/token, also when it was configured: the command line of this
 * machine finds it there. */
static int keep_secrets(struct up *up, struct error *err)
{
        const char *data = up->settings->data;
        scoped_text char *token = NULL;
        scoped_text char *secret = NULL;
        bool made = false;

        if (*text_or(up->settings->token, "")) {
                if (data_folder_keep(data, "token", up->settings->token, err) < 0)
                        return -ERROR_UNAVAILABLE;
        } else {
                if (data_folder_secret(data, "token", &token, &made, err) < 0)
                        return -ERROR_UNAVAILABLE;
                if (made)
                        log_event(LOG_INFO, &about, "made the administrator's token: %s/token",
                                  data);
        }
        if (*text_or(up->settings->webhook_secret, ""))
                return 0;
        if (data_folder_secret(data, "webhook-secret", &secret, &made, err) < 0)
                return -ERROR_UNAVAILABLE;
        if (made)
                log_event(LOG_INFO, &about,
                          "made the webhook's secret, for the forge's settings: %s/webhook-secret",
                          data);
        return 0;
}

static int open_signals(int *ret, struct error *err)
{
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGHUP);
        sigaddset(&set, SIGCHLD);
        sigprocmask(SIG_BLOCK, &set, NULL);
        signal(SIGPIPE, SIG_IGN);
        *ret = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        return *ret < 0 ? error_set_errno(err, "signalfd") : 0;
}

/* In the forked child, before exec: nothing but what it shall have. */
static void become_child(struct up *up, int ready, pid_t parent)
{
        scoped_str struct str variable = STR_INIT;
        sigset_t none;

        setpgid(0, 0);                    /* a Ctrl-C is ours; the child is asked to drain */
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* everything that counts is durable */
        if (getppid() != parent)
                _exit(EXIT_BROKEN);
        str_printf(&variable, "%d %d", up->lock, ready);
        fcntl(up->lock, F_SETFD, 0);
        fcntl(ready, F_SETFD, 0);
        for (size_t i = 0; i < up->n_listen_fds; i++) {
                fcntl(up->listen_fds[i], F_SETFD, 0);
                str_printf(&variable, " %d", up->listen_fds[i]);
        }
        setenv(SUPERVISE_VARIABLE, variable.data, 1);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        execv("/proc/self/exe", up->invocation->argv);
        fprintf(stderr, "argon up: start the services: %s\n", strerror(errno));
        _exit(EXIT_BROKEN);
}

static int start_child(struct up *up, struct error *err)
{
        int pipe_fds[2];
        pid_t parent = getpid();

        if (up->ready >= 0)
                close(up->ready);
        up->ready = -1;
        if (pipe2(pipe_fds, O_CLOEXEC) < 0)
                return error_set_errno(err, "pipe");
        up->child = fork();
        if (up->child == 0)
                become_child(up, pipe_fds[1], parent);
        close(pipe_fds[1]);
        up->ready = pipe_fds[0];
        if (up->child < 0) {
                up->child = 0;
                return error_set_errno(err, "fork");
        }
        return 0;
}

/* For somebody who sits before it: what to do next. Logs of services do without. */
static void say_hello(const struct up *up)
{
        const char *data = up->settings->data;
        scoped_text char *url = up_links_start(up->settings, up->addresses.data);

        fprintf(stderr, "  data     %s\n  webhook  %s/webhook  (JSON; secret: %s/webhook-secret)\n",
                data, url, data);
        fprintf(stderr, "  token    %s/token\n  next     argon doctor, argon builds\n", data);
}

static void take_ready(struct up *up)
{
        const char *line = up->addresses.data;
        char byte;
        ssize_t n = read(up->ready, &byte, 1);

        if (n == 1)
                notify("READY=1\nSTATUS=running");
        if (n == 1 && !up->told) {
                up->told = true;
                while (*line) {
                        int length = (int)strcspn(line, "\n");

                        fprintf(stderr, "listening on http://%.*s\n", length, line);
                        line += length;
                        line += *line == '\n';
                }
                if (up->terminal)
                        say_hello(up);
        }
        close(up->ready);
        up->ready = -1;
}

static bool too_many_crashes(struct up *up)
{
        int64_t now = clock_ms();
        size_t kept = 0;

        for (size_t i = 0; i < up->n_crashes; i++) {
                if (now - up->crashes[i] < CRASHES_WITHIN_MS)
                        up->crashes[kept++] = up->crashes[i];
        }
        up->crashes[kept++] = now;
        up->n_crashes = kept;
        return kept >= CRASHES_MAX;
}

/* Return: -1 to go on, or the exit code of the whole. */
static int after_child(struct up *up, int status)
{
        struct error err = {0};

        if (up->ready >= 0)
                take_ready(up);
        if (up->stops)
                return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_BROKEN;
        if (WIFEXITED(status) && !up->told)
                return WEXITSTATUS(status); /* it has told why; again would change nothing */
        if (!up->reload) {
                if (WIFSIGNALED(status))
                        log_event(LOG_ERROR, &about, "the services were ended by signal %d (%s)",
                                  WTERMSIG(status), strsignal(WTERMSIG(status)));
                else
                        log_event(LOG_ERROR, &about, "the services ended by themselves with %d",
                                  WEXITSTATUS(status));
                if (too_many_crashes(up)) {
                        log_event(LOG_ERROR, &about,
                                  "given up: the services ended %d times within a minute; the "
                                  "lines above say why",
                                  CRASHES_MAX);
                        return EXIT_BROKEN;
                }
                poll(NULL, 0, RESTART_DELAY_MS << up->n_crashes);
        }
        log_event(LOG_INFO, &about, "starting the services again");
        up->reload = false;
        if (start_child(up, &err) < 0) {
                log_event(LOG_ERROR, &about, "%s", err.text);
                return EXIT_BROKEN;
        }
        return -1;
}

/* The new settings are read by the next child; wrong ones leave everything as it is. */
static void reload(struct up *up)
{
        struct settings *fresh = NULL;
        struct settings *old = up->invocation->settings;
        struct error err = {0};

        up->invocation->settings = NULL;
        if (invocation_settings(up->invocation, false, &fresh, &err) < 0) {
                up->invocation->settings = old;
                log_event(LOG_ERROR, &about, "the settings are kept as they were: %s", err.text);
                return;
        }
        if (strcmp(fresh->data, old->data) || strcmp(fresh->listen, old->listen))
                log_event(LOG_WARNING, &about,
                          "data folder and addresses change only with a restart of 'argon up'");
        settings_free(old);
        up->settings = fresh;
        if (keep_secrets(up, &err) < 0)
                log_event(LOG_ERROR, &about, "%s", err.text);
        up->reload = true;
        notify("RELOADING=1\nSTATUS=reloading");
        log_event(LOG_INFO, &about, "reloading the settings: the services drain and start again");
        kill(up->child, SIGTERM);
}

static void stop(struct up *up)
{
        up->stops++;
        notify("STOPPING=1\nSTATUS=draining");
        if (up->stops == 1)
                kill(up->child, SIGTERM);
        else
                kill(up->child, SIGKILL);
}

static int take_signal(struct up *up)
{
        struct signalfd_siginfo info;
        int status;

        if (read(up->signals, &info, sizeof(info)) != sizeof(info))
                return -1;
        if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
                stop(up);
        if (info.ssi_signo == SIGHUP && up->terminal && !isatty(STDERR_FILENO))
                stop(up); /* the terminal went away: nobody asked for a reload */
        else if (info.ssi_signo == SIGHUP)
                reload(up);
        if (info.ssi_signo == SIGCHLD && waitpid(up->child, &status, WNOHANG) == up->child)
                return after_child(up, status);
        return -1;
}

static int supervise(struct up *up)
{
        int code = -1;

        while (code < 0) {
                struct pollfd fds[] = {
                        {.fd = up->signals, .events = POLLIN},
                        {.fd = up->ready, .events = POLLIN}, /* ignored while it is -1 */
                };

                if (poll(fds, 2, -1) < 0)
                        continue;
                if (fds[1].revents)
                        take_ready(up);
                if (fds[0].revents)
                        code = take_signal(up);
        }
        return code;
}

static int prepare(struct up *up, struct error *err)
{
        const struct settings *settings = up->settings;

        if (data_folder_open(settings->data, &up->lock, err) < 0 || bind_all(up, err) < 0 ||
            keep_secrets(up, err) < 0 ||
            data_folder_keep(settings->data, "listen", up->addresses.data, err) < 0 ||
            open_signals(&up->signals, err) < 0 || start_child(up, err) < 0)
                return err ? -err->kind : -ERROR_UNAVAILABLE;
        return 0;
}

int supervise_run(struct invocation *invocation, struct settings *settings)
{
        struct up up = {
                .invocation = invocation,
                .settings = settings,
                .lock = -1,
                .signals = -1,
                .ready = -1,
                .addresses = STR_INIT,
                .terminal = isatty(STDERR_FILENO),
        };
        struct error err = {0};
        int code;

        code = prepare(&up, &err) < 0 ? invocation_fail(invocation, &err) : supervise(&up);
        for (size_t i = 0; i < up.n_listen_fds; i++)
                close(up.listen_fds[i]);
        str_done(&up.addresses);
        return code;
}
