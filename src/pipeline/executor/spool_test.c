#include "pipeline/executor/spool.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "pipeline/topology.h"
#include "ports/bus.h"
#include "tests/support/test.h"
#include "wire/job_result.h"
#include "wire/log_entry.h"

#include "base/banned.h"

/* A bus that keeps in memory what was published, and can be away. */
struct memory_bus {
        struct bus bus;
        pthread_mutex_t lock;
        bool away;
        size_t calls;
        size_t n;
        struct {
                bool log;
                char *body;
        } got[4096];
};

static int memory_publish(struct bus *bus, const char *queue, const struct bus_body *bodies,
                          size_t n, struct error *err)
{
        struct memory_bus *memory = (struct memory_bus *)bus;
        int result = 0;

        pthread_mutex_lock(&memory->lock);
        memory->calls++;
        if (memory->away)
                result = error_set(err, ERROR_UNAVAILABLE, "the bus is away");
        for (size_t i = 0; result == 0 && i < n; i++) {
                memory->got[memory->n].log = strcmp(queue, QUEUE_LOG) == 0;
                memory->got[memory->n++].body =
                        text_format("%.*s", (int)bodies[i].len, (const char *)bodies[i].bytes);
        }
        pthread_mutex_unlock(&memory->lock);
        return result;
}

static const struct bus_ops memory_ops = {.publish = memory_publish};

static void memory_init(struct memory_bus *memory)
{
        memset(memory, 0, sizeof(*memory));
        memory->bus.ops = &memory_ops;
        pthread_mutex_init(&memory->lock, NULL);
}

static void memory_set_away(struct memory_bus *memory, bool away)
{
        pthread_mutex_lock(&memory->lock);
        memory->away = away;
        pthread_mutex_unlock(&memory->lock);
}

static void memory_done(struct memory_bus *memory)
{
        for (size_t i = 0; i < memory->n; i++)
                free(memory->got[i].body);
        pthread_mutex_destroy(&memory->lock);
}

static struct memory_bus memory;
static char path[64];

static void make_path(void)
{
        int fd;

        snprintf(path, sizeof(path), "/tmp/executor-spool-XXXXXX");
        fd = mkstemp(path);
        assert_true(fd >= 0);
        close(fd);
        unlink(path);
}

static struct spool *open_spool(int64_t bytes_max)
{
        struct spool_options options = {
                .path = path, .bus = &memory.bus, .bytes_max = bytes_max, .about = "job"};
        struct spool *spool = NULL;
        struct error err = {0};

        assert_ok(spool_open(&spool, &options, &err), err);
        return spool;
}

static void add_log(struct spool *spool, int64_t seq, const char *text)
{
        scoped_text char *id = text_format("job/1/%lld", (long long)seq);
        struct log_entry entry = {
                .id = id,
                .timestamp_ns = 1,
                .service = "executor",
                .severity = LOG_INFO,
                .build_id = "build",
                .job_id = "job",
                .attempt = 1,
                .seq = seq,
                .stream = LOG_STREAM_STDOUT,
                .first_line = seq,
                .lines = 1,
                .bytes = text,
                .n = strlen(text),
        };

        spool_log(spool, &entry);
}

static void add_result(struct spool *spool, int64_t seq)
{
        struct job_result result = {
                .kind = RESULT_STEP_STARTED,
                .build_id = "build",
                .job_id = "job",
                .attempt = 1,
                .token = "token",
                .seq = seq,
                .executor = "executor",
                .step_name = "a step",
                .reason_text = "",
                .tail = "",
                .at = 1,
        };

        spool_result(spool, &result);
}

static void commit(struct spool *spool, const char *state)
{
        struct error err = {0};

        assert_ok(spool_commit(spool, state, strlen(state), -1, &err), err);
}

static int64_t seq_of(size_t i)
{
        struct log_entry *entry = NULL;
        struct error err = {0};
        int64_t seq;

        assert_ok(log_entry_decode(&entry, memory.got[i].body, strlen(memory.got[i].body), &err),
                  err);
        seq = entry->seq;
        log_entry_free(entry);
        return seq;
}

TEST("what is committed is published in order, each message on its queue")
{
        struct spool *spool;

        memory_init(&memory);
        make_path();
        spool = open_spool(0);
        add_log(spool, 1, "one\n");
        add_log(spool, 2, "two\n");
        add_result(spool, 1);
        add_log(spool, 3, "three\n");
        commit(spool, "a");
        assert_int_equal(spool_wait(spool, 5000, -1), 1);
        spool_close(spool);
        assert_int_equal(memory.n, 4);
        assert_true(memory.got[0].log && memory.got[1].log && memory.got[3].log);
        assert_false(memory.got[2].log);
        assert_int_equal(seq_of(0), 1);
        assert_int_equal(seq_of(1), 2);
        assert_int_equal(seq_of(3), 3);
        unlink(path);
        memory_done(&memory);
}

TEST("what was added and not committed is never published")
{
        struct spool *spool;

        memory_init(&memory);
        make_path();
        spool = open_spool(0);
        add_log(spool, 1, "one\n");
        commit(spool, "a");
        assert_int_equal(spool_wait(spool, 5000, -1), 1);
        add_log(spool, 2, "two\n");
        spool_close(spool);
        spool = open_spool(0);
        assert_int_equal(spool_wait(spool, 5000, -1), 1);
        spool_close(spool);
        assert_int_equal(memory.n, 1);
        unlink(path);
        memory_done(&memory);
}

TEST("while the bus is away messages wait on disk, and go out when it is back, also after a "
     "restart")
{
        struct spool *spool;
        const char *blob;
        size_t n;

        memory_init(&memory);
        make_path();
        memory_set_away(&memory, true);
        spool = open_spool(0);
        for (int i = 1; i <= 300; i++) {
                add_log(spool, i, "a line\n");
                commit(spool, i == 300 ? "the last state" : "state");
        }
        assert_int_equal(spool_wait(spool, 300, -1), 0);
        assert_true(spool_pending(spool) > 0);
        spool_close(spool);
        assert_int_equal(memory.n, 0);
        memory_set_away(&memory, false);
        spool = open_spool(0);
        blob = spool_state(spool, &n);
        assert_int_equal(n, 14);
        assert_memory_equal(blob, "the last state", 14);
        assert_int_equal(spool_wait(spool, 10000, -1), 1);
        spool_close(spool);
        assert_int_equal(memory.n, 300);
        for (size_t i = 0; i < 300; i++)
                assert_int_equal(seq_of(i), (int64_t)i + 1);
        assert_true(memory.calls < 100); /* in batches */
        unlink(path);
        memory_done(&memory);
}

TEST("the state survives when everything is published")
{
        struct spool *spool;
        const char *blob;
        size_t n;

        memory_init(&memory);
        make_path();
        spool = open_spool(0);
        add_log(spool, 1, "one\n");
        commit(spool, "first");
        assert_int_equal(spool_wait(spool, 5000, -1), 1);
        commit(spool, "second");
        assert_int_equal(spool_wait(spool, 5000, -1), 1);
        spool_close(spool);
        spool = open_spool(0);
        blob = spool_state(spool, &n);
        assert_int_equal(n, 6);
        assert_memory_equal(blob, "second", 6);
        spool_close(spool);
        assert_int_equal(memory.n, 1);
        unlink(path);
        memory_done(&memory);
}

TEST("a torn group at the end is cut off, whatever its length, and the rest is whole")
{
        struct stat whole, longer;
        struct spool *spool;

        memory_init(&memory);
        memory_set_away(&memory, true);
        make_path();
        spool = open_spool(0);
        add_log(spool, 1, "one\n");
        commit(spool, "first");
        assert_int_equal(stat(path, &whole), 0);
        add_log(spool, 2, "two\n");
        commit(spool, "second");
        spool_close(spool);
        assert_int_equal(stat(path, &longer), 0);
        for (off_t size = longer.st_size - 1; size > whole.st_size; size -= 37) {
                const char *blob;
                struct stat now;
                size_t n;

                assert_int_equal(truncate(path, size), 0);
                spool = open_spool(0);
                blob = spool_state(spool, &n);
                assert_int_equal(n, 5);
                assert_memory_equal(blob, "first", 5);
                assert_int_equal(stat(path, &now), 0);
                assert_int_equal(now.st_size, whole.st_size);
                /* and it can be written again */
                add_log(spool, 2, "two\n");
                commit(spool, "second");
                spool_close(spool);
        }
        unlink(path);
        memory_done(&memory);
}

TEST("a group with a flipped bit is not believed")
{
        struct spool *spool;
        struct stat whole;
        const char *blob;
        size_t n;
        char byte;
        int fd;

        memory_init(&memory);
        memory_set_away(&memory, true);
        make_path();
        spool = open_spool(0);
        commit(spool, "first");
        assert_int_equal(stat(path, &whole), 0);
        add_log(spool, 1, "one\n");
        commit(spool, "second");
        spool_close(spool);
        fd = open(path, O_RDWR);
        assert_int_equal(pread(fd, &byte, 1, whole.st_size + 100), 1);
        byte ^= 4;
        assert_int_equal(pwrite(fd, &byte, 1, whole.st_size + 100), 1);
        close(fd);
        spool = open_spool(0);
        blob = spool_state(spool, &n);
        assert_int_equal(n, 5);
        assert_memory_equal(blob, "first", 5);
        spool_close(spool);
        unlink(path);
        memory_done(&memory);
}

TEST("a file that is no spool is refused")
{
        struct spool_options options = {.path = path, .bus = &memory.bus, .about = "job"};
        struct spool *spool = NULL;
        struct error err = {0};
        int fd;

        memory_init(&memory);
        make_path();
        fd = open(path, O_RDWR | O_CREAT, 0600);
        for (int i = 0; i < 1000; i++)
                assert_int_equal(write(fd, "rubbish ", 8), 8);
        close(fd);
        assert_int_equal(spool_open(&spool, &options, &err), -ERROR_INVALID);
        assert_non_null(strstr(err.text, path));
        unlink(path);
        memory_done(&memory);
}

static void *bring_back(void *data)
{
        struct timespec pause = {0, 300 * 1000000};

        nanosleep(&pause, NULL);
        memory_set_away(data, false);
        return NULL;
}

TEST("a full spool slows the writer until the bus is back, and loses nothing")
{
        struct spool *spool;
        pthread_t thread;
        int64_t began = clock_ms();

        memory_init(&memory);
        memory_set_away(&memory, true);
        make_path();
        spool = open_spool(10000);
        assert_int_equal(pthread_create(&thread, NULL, bring_back, &memory), 0);
        for (int i = 1; i <= 200; i++) {
                add_log(spool, i, "a line\n");
                commit(spool, "state");
        }
        assert_true(clock_ms() - began >= 250);
        assert_int_equal(spool_wait(spool, 10000, -1), 1);
        pthread_join(thread, NULL);
        spool_close(spool);
        assert_int_equal(memory.n, 200);
        unlink(path);
        memory_done(&memory);
}

TEST("a cancel ends the wait for room, and the group is kept all the same")
{
        struct spool *spool;
        uint64_t one = 1;
        int fd = eventfd(0, 0);
        struct error err = {0};

        memory_init(&memory);
        memory_set_away(&memory, true);
        make_path();
        spool = open_spool(1);
        assert_int_equal(write(fd, &one, sizeof(one)), (ssize_t)sizeof(one));
        add_log(spool, 1, "one\n");
        assert_ok(spool_commit(spool, "s", 1, fd, &err), err);
        memory_set_away(&memory, false);
        assert_int_equal(spool_wait(spool, 10000, -1), 1);
        spool_close(spool);
        assert_int_equal(memory.n, 1);
        close(fd);
        unlink(path);
        memory_done(&memory);
}

static void set_file_limit(rlim_t bytes)
{
        struct rlimit limit = {bytes, RLIM_INFINITY};

        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void *make_space(void *data)
{
        struct timespec pause = {0, 300 * 1000000};

        nanosleep(&pause, NULL);
        set_file_limit(RLIM_INFINITY);
        return NULL;
}

TEST("a full disk slows the writer until there is space again, and loses nothing")
{
        struct spool *spool;
        pthread_t thread;
        int64_t began = clock_ms();

        signal(SIGXFSZ, SIG_IGN);
        memory_init(&memory);
        make_path();
        spool = open_spool(0);
        set_file_limit(6000);
        assert_int_equal(pthread_create(&thread, NULL, make_space, NULL), 0);
        for (int i = 1; i <= 50; i++) {
                add_log(spool, i, "a line of some length, to fill what is left\n");
                commit(spool, "state");
        }
        pthread_join(thread, NULL);
        assert_true(clock_ms() - began >= 250);
        assert_int_equal(spool_wait(spool, 10000, -1), 1);
        spool_close(spool);
        assert_int_equal(memory.n, 50);
        for (size_t i = 0; i < 50; i++)
                assert_int_equal(seq_of(i), (int64_t)i + 1);
        unlink(path);
        memory_done(&memory);
}

TEST("a cancel on a full disk is told, and what was not written goes with the next commit")
{
        struct spool *spool;
        uint64_t one = 1;
        int fd = eventfd(0, 0);
        struct error err = {0};

        memory_init(&memory);
        make_path();
        spool = open_spool(0);
        assert_int_equal(write(fd, &one, sizeof(one)), (ssize_t)sizeof(one));
        set_file_limit(4097);
        add_log(spool, 1, "one\n");
        assert_int_equal(spool_commit(spool, "s", 1, fd, &err), -ERROR_LIMIT);
        set_file_limit(RLIM_INFINITY);
        add_log(spool, 2, "two\n");
        commit(spool, "t");
        assert_int_equal(spool_wait(spool, 10000, -1), 1);
        spool_close(spool);
        assert_int_equal(memory.n, 2);
        close(fd);
        unlink(path);
        memory_done(&memory);
}

/* The child appends until it is killed; what it reported as committed must be there. */
static void append_for_ever(int report)
{
        struct spool *spool = open_spool(0);
        char line[2000];

        memset(line, 'x', sizeof(line));
        line[sizeof(line) - 2] = '\n';
        line[sizeof(line) - 1] = '\0';
        for (int64_t i = 1;; i++) {
                char state[32];
                int n = snprintf(state, sizeof(state), "%lld", (long long)i);

                add_log(spool, i, line);
                if (spool_commit(spool, state, (size_t)n, -1, NULL) < 0 ||
                    write(report, &i, sizeof(i)) < 0)
                        _exit(1);
        }
}

TEST("kill -9 in the middle of appending loses nothing that was committed and leaves no half group")
{
        for (int round = 0; round < 20; round++) {
                struct timespec pause = {0, (20 + 7 * round) * 1000000L};
                struct spool *spool;
                const char *blob;
                int64_t reported = 0, value;
                int fds[2];
                pid_t pid;
                size_t n;

                memory_init(&memory);
                memory_set_away(&memory, true);
                make_path();
                assert_int_equal(pipe(fds), 0);
                pid = fork();
                if (pid == 0)
                        append_for_ever(fds[1]);
                close(fds[1]);
                nanosleep(&pause, NULL);
                kill(pid, SIGKILL);
                waitpid(pid, NULL, 0);
                while (read(fds[0], &value, sizeof(value)) == (ssize_t)sizeof(value))
                        reported = value;
                close(fds[0]);
                spool = open_spool(0);
                blob = spool_state(spool, &n);
                if (reported > 0) {
                        scoped_text char *text = text_format("%.*s", (int)n, blob);
                        int64_t kept = strtoll(text, NULL, 10);

                        assert_true(kept == reported || kept == reported + 1);
                }
                spool_close(spool);
                unlink(path);
                memory_done(&memory);
        }
}

TEST_MAIN()
