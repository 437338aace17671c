#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include "base/error.h"
#include "base/http_client.h"
#include "base/process.h"
#include "base/scoped.h"
#include "base/str.h"
#include "commands/command.h"
#include "commands/doctor.h"
#include "commands/settings.h"

#include "base/banned.h"

#define DOCKER_SOCKET "/var/run/docker.sock"
#define LOOK_MS 5000
#define ANSWER_MAX (1024 * 1024)
#define OUTPUT_MAX 4096
#define DISK_ERROR_BYTES (256LL << 20)
#define DISK_WARNING_BYTES (5LL << 30)
#define GIT_MAJOR 2
#define GIT_MINOR 39

/* The first line that a program prints, or NULL. */
static char *ask(const char *const *argv)
{
        scoped_process_result struct process_result result = PROCESS_RESULT_INIT;
        struct process_spec spec = {
                .argv = argv,
                .timeout_ms = LOOK_MS,
                .output_max = OUTPUT_MAX,
                .error_max = OUTPUT_MAX,
                .cancel_fd = -1,
        };

        if (process_run(&result, &spec, NULL) < 0 || result.exit_code != 0)
                return NULL;
        result.output.data[strcspn(result.output.data, "\n")] = '\0';
        return str_steal(&result.output);
}

static int ask_docker(const char *host, const char *path, json_t **ret, struct error *err)
{
        scoped_http_answer struct http_answer answer = HTTP_ANSWER_INIT;
        struct http_call call = HTTP_CALL_INIT;
        struct http_client *client;
        scoped_text char *url = NULL;
        int result;

        if (text_starts(host, "tcp://")) {
                url = text_format("http://%s%s", host + strlen("tcp://"), path);
        } else {
                call.unix_socket = text_starts(host, "unix://") ? host + strlen("unix://") : host;
                url = text_format("http://docker%s", path);
        }
        call.url = url;
        call.timeout_ms = LOOK_MS;
        call.answer_max = ANSWER_MAX;
        if (http_client_new(&client, err) < 0)
                return -ERROR_UNAVAILABLE;
        result = http_call(client, &answer, &call, err);
        http_client_free(client);
        if (result < 0)
                return result;
        if (answer.status != 200)
                return error_set(err, ERROR_UNAVAILABLE, "it answers %d", answer.status);
        return json_parse(ret, answer.body.data, answer.body.len, ANSWER_MAX, err);
}

static void tell_docker(struct doctor *doctor, const char *host, const json_t *info)
{
        doctor_tell(doctor, "docker", DOCTOR_FINE, NULL, "%s at %s, cgroup v%s, %s",
                    json_text_or(info, "ServerVersion", "?"), host,
                    json_text_or(info, "CgroupVersion", "?"), json_text_or(info, "Driver", "?"));
        if (!json_bool_or(info, "LiveRestoreEnabled", false))
                doctor_tell(doctor, "live-restore", DOCTOR_WARNING,
                            "set \"live-restore\": true in /etc/docker/daemon.json and reload the "
                            "daemon",
                            "off: a restart of the Docker daemon ends the jobs that run");
        else
                doctor_tell(doctor, "live-restore", DOCTOR_FINE, NULL,
                            "on: jobs outlive a restart of the Docker daemon");
}

static void tell_bubblewrap(struct doctor *doctor, bool needed)
{
        static const char *const argv[] = {"bwrap", "--version", NULL};
        static const char *const trial[] = {"bwrap",  "--ro-bind", "/",    "/", "--unshare-pid",
                                            "--proc", "/proc",     "true", NULL};
        scoped_text char *version = ask(argv);
        scoped_text char *tried = version ? ask(trial) : NULL;
        enum doctor_state state = needed ? DOCTOR_ERROR : DOCTOR_WARNING;

        if (!version)
                doctor_tell(doctor, "bubblewrap", state, "apt-get install bubblewrap",
                            "missing: the engine 'local' cannot run jobs");
        else if (!tried)
                doctor_tell(doctor, "bubblewrap", state,
                            "allow user namespaces: sysctl kernel.unprivileged_userns_clone=1",
                            "%s may not make namespaces here", version);
        else
                doctor_tell(doctor, "bubblewrap", DOCTOR_FINE, NULL, "%s", version);
}

void doctor_engine(struct doctor *doctor)
{
        const char *engine = doctor->settings->engine;
        const char *host = text_or(doctor->settings->docker_host, "unix://" DOCKER_SOCKET);
        scoped(json) json_t *info = NULL;
        struct error err = {0};
        bool docker = false;

        if (strcmp(engine, "local") != 0) {
                docker = ask_docker(host, "/info", &info, &err) == 0;
                if (docker)
                        tell_docker(doctor, host, info);
                else
                        doctor_tell(doctor, "docker",
                                    strcmp(engine, "docker") ? DOCTOR_WARNING : DOCTOR_ERROR,
                                    "start the Docker daemon, or set DOCKER_HOST; or use "
                                    "ARGON_ENGINE=local",
                                    "no answer at %s: %s", host, err.text);
        }
        if (strcmp(engine, "docker") != 0)
                tell_bubblewrap(doctor, !docker);
}

void doctor_git(struct doctor *doctor)
{
        static const char *const argv[] = {"git", "--version", NULL};
        scoped_text char *version = ask(argv);
        int major = 0;
        int minor = 0;

        if (!version || sscanf(version, "git version %d.%d", &major, &minor) != 2)
                doctor_tell(doctor, "git", DOCTOR_ERROR, "apt-get install git", "missing");
        else if (major < GIT_MAJOR || (major == GIT_MAJOR && minor < GIT_MINOR))
                doctor_tell(doctor, "git", DOCTOR_ERROR, "install a newer git",
                            "%s is older than %d.%d", version, GIT_MAJOR, GIT_MINOR);
        else
                doctor_tell(doctor, "git", DOCTOR_FINE, NULL, "%s",
                            version + strlen("git version "));
}

void doctor_clock(struct doctor *doctor)
{
        struct timex state = {0};

        if (adjtimex(&state) == TIME_ERROR || (state.status & STA_UNSYNC))
                doctor_tell(doctor, "clock", DOCTOR_WARNING,
                            "run an NTP client (systemd-timesyncd, chrony)",
                            "the kernel does not know it as synchronised; times in logs and mails "
                            "may be wrong");
        else
                doctor_tell(doctor, "clock", DOCTOR_FINE, NULL, "synchronised, error below %ld ms",
                            state.maxerror / 1000);
}

void doctor_disk(struct doctor *doctor)
{
        const char *data = doctor->settings->data;
        struct statvfs disk;
        long long room;

        if (statvfs(data, &disk) < 0) {
                doctor_tell(doctor, "disk", DOCTOR_FINE, NULL,
                            "data folder '%s' is made at the first start", data);
                return;
        }
        room = (long long)disk.f_bavail * (long long)disk.f_frsize;
        doctor_tell(doctor, "disk",
                    room < DISK_ERROR_BYTES     ? DOCTOR_ERROR
                    : room < DISK_WARNING_BYTES ? DOCTOR_WARNING
                                                : DOCTOR_FINE,
                    room < DISK_WARNING_BYTES ? "make room, or shorten ARGON_RETENTION_LOGS" : NULL,
                    "%lld MiB free in %s", room >> 20, data);
        if (access(data, W_OK) < 0 && getuid() == 0)
                doctor_tell(doctor, "disk", DOCTOR_ERROR, "mount it writable",
                            "'%s' cannot be written", data);
}

/* "HOST" and "PORT" of smtp[s]://[user:pass@]host[:port][?…] */
static bool mail_host(const char *url, char **ret_host, char **ret_port)
{
        const char *rest = strstr(url, "://") + 3;
        const char *at = strrchr(rest, '@');
        scoped_text char *host = NULL;
        char *colon;

        rest = at ? at + 1 : rest;
        host = text_format("%.*s", (int)strcspn(rest, "/?"), rest);
        colon = strrchr(host, ':');
        if (colon)
                *colon = '\0';
        if (!*host)
                return false;
        *ret_port = text_copy(colon ? colon + 1 : text_starts(url, "smtps") ? "465" : "25");
        *ret_host = take(host);
        return true;
}

static bool can_connect(const char *host, const char *port)
{
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
        struct addrinfo *list = NULL;
        bool connected = false;

        if (getaddrinfo(host, port, &hints, &list) != 0)
                return false;
        for (struct addrinfo *at = list; at && !connected; at = at->ai_next) {
                scoped_fd int fd =
                        socket(at->ai_family, at->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
                struct pollfd wait = {.fd = fd, .events = POLLOUT};
                int failed = 0;
                socklen_t n = sizeof(failed);

                if (fd < 0)
                        continue;
                connected = connect(fd, at->ai_addr, at->ai_addrlen) == 0 ||
                            (poll(&wait, 1, LOOK_MS) == 1 &&
                             getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &n) == 0 && !failed);
        }
        freeaddrinfo(list);
        return connected;
}

void doctor_mail(struct doctor *doctor)
{
        const char *mail = doctor->settings->mail;
        scoped_text char *host = NULL;
        scoped_text char *port = NULL;

        if (strcmp(mail, "none") == 0) {
                doctor_tell(doctor, "mail", DOCTOR_WARNING, "set ARGON_MAIL",
                            "off: nobody is told about builds");
        } else if (text_starts(mail, "outbox")) {
                doctor_tell(doctor, "mail", DOCTOR_WARNING,
                            "set ARGON_MAIL=smtp://[USER:PASSWORD@]HOST to deliver them",
                            "mails are only written to a folder, as .eml files");
        } else if (!text_starts(mail, "smtp") || !strstr(mail, "://") ||
                   !mail_host(mail, &host, &port)) {
                doctor_tell(doctor, "mail", DOCTOR_ERROR,
                            "ARGON_MAIL is outbox[:DIR], smtp://…, smtps://… or none",
                            "the value is not understood");
        } else if (!can_connect(host, port)) {
                doctor_tell(doctor, "mail", DOCTOR_ERROR,
                            "check host, port and firewall of ARGON_MAIL",
                            "no connection to %s, port %s", host, port);
        } else {
                doctor_tell(doctor, "mail", DOCTOR_FINE, NULL, "%s, port %s answers", host, port);
        }
}
