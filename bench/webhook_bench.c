/*
 * Signed pushes of 8 kB over a few connections that are kept, each durable before it is answered.
 *
 *         webhook_bench HOST:PORT SECRET SECONDS CONNECTIONS [RATE]
 *
 * Without RATE as fast as the server answers; with it so many per second in all, whereby a request
 * that could not begin in time counts from the moment when it should have begun. The pushes ask to
 * be skipped, so that what is measured is signature, parser, journal and answer, and not builds.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/id.h"
#include "base/parse.h"
#include "base/str.h"
#include "domain/signature.h"

#include "base/banned.h"

#define BODY_BYTES 8192
#define CONNECTIONS_MAX 64
#define SAMPLES_MAX 2000000
#define SHA "0123456789abcdef0123456789abcdef01234567"

struct sender {
        const char *host;
        const char *port;
        struct signature_keys *keys;
        int64_t begun_ns;
        int64_t until_ns;
        int64_t every_ns; /* 0: as fast as possible */
        pthread_t thread;
        int64_t *samples_ns;
        size_t n;
        size_t refused;
};

static void die(const char *what)
{
        fprintf(stderr, "webhook_bench: %s: %s\n", what, strerror(errno));
        exit(1);
}

static int dial(const char *host, const char *port)
{
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
        struct addrinfo *found = NULL;
        int on = 1;
        int fd;

        if (getaddrinfo(host, port, &hints, &found) != 0)
                die("address");
        fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) < 0)
                die("connect");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        freeaddrinfo(found);
        return fd;
}

static void make_request(struct sender *sender, struct str *ret)
{
        scoped_str struct str body = STR_INIT;
        char signature[72];
        char id[ID_SIZE];

        id_new(id);
        str_printf(&body,
                   "{\"ref\":\"refs/heads/main\",\"before\":\"" SHA "\",\"after\":\"" SHA
                   "\",\"repository\":{\"id\":1,\"name\":\"demo\",\"full_name\":\"acme/demo\","
                   "\"clone_url\":\"https://forge.example/acme/demo.git\",\"language\":\"C\"},"
                   "\"pusher\":{\"name\":\"ada\",\"email\":\"ada@example.org\"},\"head_commit\":{"
                   "\"id\":\"" SHA "\",\"message\":\"%s [skip ci]\"},\"commits\":[",
                   id);
        for (int i = 0; body.len < BODY_BYTES - 120; i++)
                str_printf(&body, "%s{\"id\":\"" SHA "\",\"added\":[],\"modified\":[\"file-%d\"]}",
                           i ? "," : "", i);
        str_add(&body, "]}");
        while (body.len < BODY_BYTES)
                str_add_char(&body, '\n');
        signature_make(sender->keys, body.data, body.len, signature);
        str_clear(ret);
        str_printf(ret,
                   "POST /webhook HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
                   "X-GitHub-Event: push\r\nX-GitHub-Delivery: %s\r\nX-Hub-Signature-256: %s\r\n"
                   "Content-Length: %zu\r\n\r\n",
                   id, signature, body.len);
        str_add_bytes(ret, body.data, body.len);
}

/* Head and body of the answer are small and come together. Return: the status. */
static int exchange(int fd, const struct str *request)
{
        char answer[4096];
        size_t n = 0;

        for (size_t sent = 0; sent < request->len;) {
                ssize_t more = send(fd, request->data + sent, request->len - sent, MSG_NOSIGNAL);

                if (more < 0)
                        die("send");
                sent += (size_t)more;
        }
        while (!n || !memchr(answer, '}', n)) {
                ssize_t more = recv(fd, answer + n, sizeof(answer) - 1 - n, 0);

                if (more <= 0)
                        die("receive");
                n += (size_t)more;
        }
        answer[n] = '\0';
        return (int)strtol(answer + 9, NULL, 10);
}

static void sleep_until(int64_t ns)
{
        int64_t left = ns - clock_ns();
        struct timespec time = {left / 1000000000, left % 1000000000};

        if (left > 0)
                nanosleep(&time, NULL);
}

static void *send_all(void *data)
{
        struct sender *sender = data;
        scoped_str struct str request = STR_INIT;
        int fd = dial(sender->host, sender->port);
        int64_t due = sender->begun_ns;

        while (clock_ns() < sender->until_ns && sender->n < SAMPLES_MAX) {
                make_request(sender, &request);
                if (sender->every_ns)
                        sleep_until(due);
                else
                        due = clock_ns();
                sender->refused += exchange(fd, &request) != 200;
                sender->samples_ns[sender->n++] = clock_ns() - due;
                due += sender->every_ns;
        }
        close(fd);
        return NULL;
}

static int by_value(const void *a, const void *b)
{
        int64_t x = *(const int64_t *)a;
        int64_t y = *(const int64_t *)b;

        return (x > y) - (x < y);
}

static void report(struct sender *senders, size_t n, double seconds)
{
        int64_t *all = NULL;
        size_t count = 0;
        size_t refused = 0;

        for (size_t i = 0; i < n; i++) {
                all = xrealloc(all, (count + senders[i].n) * sizeof(*all));
                memcpy(all + count, senders[i].samples_ns, senders[i].n * sizeof(*all));
                count += senders[i].n;
                refused += senders[i].refused;
                free(senders[i].samples_ns);
        }
        if (!count)
                die("no answer");
        qsort(all, count, sizeof(*all), by_value);
        printf("%zu connections: %.0f/s, p50 %.2f ms, p99 %.2f ms, most %.2f ms, %zu not taken\n",
               n, (double)count / seconds, (double)all[count / 2] / 1e6,
               (double)all[count * 99 / 100] / 1e6, (double)all[count - 1] / 1e6, refused);
        free(all);
}

int main(int argc, char **argv)
{
        struct sender senders[CONNECTIONS_MAX] = {0};
        struct signature_keys *keys = NULL;
        struct error err = {0};
        int64_t seconds = 0;
        int64_t n = 0;
        int64_t rate = 0;
        char *colon = argc > 1 ? strrchr(argv[1], ':') : NULL;

        if (argc < 5 || !colon || signature_keys_new(&keys, argv[2], &err) < 0 ||
            parse_int(&seconds, argv[3], 1, 3600, &err) < 0 ||
            parse_int(&n, argv[4], 1, CONNECTIONS_MAX, &err) < 0 ||
            (argc > 5 && parse_int(&rate, argv[5], 1, 1000000, &err) < 0)) {
                fprintf(stderr, "webhook_bench HOST:PORT SECRET SECONDS CONNECTIONS [RATE] %s\n",
                        err.text);
                return 2;
        }
        *colon = '\0';
        for (int64_t i = 0; i < n; i++) {
                int64_t begun = clock_ns();

                senders[i] = (struct sender){
                        .host = argv[1],
                        .port = colon + 1,
                        .keys = keys,
                        .begun_ns = begun,
                        .until_ns = begun + seconds * 1000000000,
                        .every_ns = rate ? n * 1000000000 / rate : 0,
                        .samples_ns = xmalloc(SAMPLES_MAX * sizeof(int64_t)),
                };
                errno = pthread_create(&senders[i].thread, NULL, send_all, &senders[i]);
                if (errno)
                        die("thread");
        }
        for (int64_t i = 0; i < n; i++)
                pthread_join(senders[i].thread, NULL);
        report(senders, (size_t)n, (double)seconds);
        signature_keys_free(keys);
        return 0;
}
