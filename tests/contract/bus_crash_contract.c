#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/contract/bus_help.h"

#include "base/banned.h"

/* The child's side of the crash tests: what it writes to the pipe is known to the parent. */
static void publish_until_killed(const struct bus_opener *opener, int to)
{
        struct bus *bus = opener->open(opener->data);

        for (int i = 0;; i++) {
                char text[16];
                size_t n = (size_t)snprintf(text, sizeof(text), "%d", i);

                if (bus_publish(bus, QUEUE, text, n, NULL) < 0 || write(to, &i, sizeof(i)) < 0)
                        _exit(1);
        }
}

/* Until the child is well under way, however slow the machine is. */
static void wait_for_bytes(int from, int n)
{
        struct timespec slice = {0, 5 * 1000000};
        int64_t until = clock_ms() + 30000;
        int there = 0;

        while (there < n && clock_ms() < until) {
                nanosleep(&slice, NULL);
                assert_int_equal(ioctl(from, FIONREAD, &there), 0);
        }
        assert_true(there >= n);
}

static int last_confirmed(int from)
{
        int last = -1;
        int number;

        while (read(from, &number, sizeof(number)) == sizeof(number))
                last = number;
        return last;
}

TEST("every confirmed message is there after the publisher was killed")
{
        struct bus *bus = fresh(state);
        struct timespec pause = {0, 50 * 1000000};
        struct bus_consumer *consumer;
        struct bus_message message;
        struct error err;
        int pipes[2];
        int confirmed;
        int found = 0;
        pid_t pid;

        done(state, bus);
        assert_int_equal(pipe(pipes), 0);
        pid = fork();
        if (pid == 0)
                publish_until_killed(the_opener(state), pipes[1]);
        close(pipes[1]);
        wait_for_bytes(pipes[0], 10 * sizeof(int));
        nanosleep(&pause, NULL);
        kill(pid, SIGKILL);
        confirmed = last_confirmed(pipes[0]);
        close(pipes[0]);
        waitpid(pid, NULL, 0);
        assert_true(confirmed > 0);
        bus = again(state);
        consumer = consumer_of(bus, QUEUE, 64);
        while (bus_receive(consumer, &message, 1, 100, &err) == 1) {
                char text[16];

                snprintf(text, sizeof(text), "%d", found++);
                assert_body(&message, text);
                ack(consumer, &message);
        }
        assert_in_range(found, confirmed + 1, confirmed + 2);
        bus_consumer_close(consumer);
        done(state, bus);
}

static void take_and_hang(const struct bus_opener *opener, int to)
{
        struct bus *bus = opener->open(opener->data);
        struct bus_consumer *consumer = NULL;
        const char *queue = QUEUE;
        struct bus_message message;
        int got;

        if (bus_consume(bus, &consumer, &queue, 1, 1, NULL) < 0)
                _exit(1);
        got = bus_receive(consumer, &message, 1, LONG_MS, NULL);
        if (write(to, &got, sizeof(got)) < 0)
                _exit(1);
        pause();
        _exit(1);
}

TEST("a message that was in the hand of a killed process comes again with its count raised")
{
        struct bus *bus = fresh(state);
        struct bus_consumer *consumer;
        struct bus_message message;

        publish(bus, QUEUE, "held");
        publish(bus, QUEUE, "waiting");
        done(state, bus);
        for (int i = 0; i < 2; i++) {
                int pipes[2];
                int got = 0;
                pid_t pid;

                assert_int_equal(pipe(pipes), 0);
                pid = fork();
                if (pid == 0)
                        take_and_hang(the_opener(state), pipes[1]);
                close(pipes[1]);
                assert_int_equal(read(pipes[0], &got, sizeof(got)), sizeof(got));
                close(pipes[0]);
                kill(pid, SIGKILL);
                waitpid(pid, NULL, 0);
                assert_int_equal(got, 1);
        }
        bus = again(state);
        consumer = consumer_of(bus, QUEUE, 1);
        message = receive(consumer);
        assert_body(&message, "held");
        assert_int_equal(message.attempts, 3);
        ack(consumer, &message);
        message = receive(consumer);
        assert_body(&message, "waiting");
        assert_int_equal(message.attempts, 1);
        ack(consumer, &message);
        bus_consumer_close(consumer);
        done(state, bus);
}

/* What the child of the crash loop tells: about which message, and how far it came. */
struct told {
        int number;
        char what; /* p: published, a: about to acknowledge, A: acknowledged, d: D: the same, dead
                    */
};

#define CRASHES 8
#define CRASH_NUMBERS 100000

struct crash_child {
        struct bus *bus;
        struct bus_consumer *consumer;
        int to;
};

static void tell(const struct crash_child *child, int number, char what)
{
        struct told told = {number, what};

        if (write(child->to, &told, sizeof(told)) != sizeof(told))
                _exit(1);
}

static void publish_some(const struct crash_child *child, int first)
{
        struct bus_body bodies[5];
        char texts[5][16];

        for (int i = 0; i < 5; i++) {
                int n = snprintf(texts[i], sizeof(texts[i]), "%d", first + i);

                bodies[i] = (struct bus_body){texts[i], (size_t)n};
        }
        if (bus_publish_all(child->bus, QUEUE, bodies, 5, NULL) < 0)
                _exit(1);
        for (int i = 0; i < 5; i++)
                tell(child, first + i, 'p');
}

/* Most are acknowledged, some put back, some put aside. */
static void settle_some(const struct crash_child *child)
{
        for (int i = 0; i < 4; i++) {
                struct bus_message message;
                int number;
                int r;

                if (bus_receive(child->consumer, &message, 1, 0, NULL) != 1)
                        return;
                number = (int)strtol(message.body, NULL, 10);
                if (number % 5 == 0 && message.attempts < 3) {
                        r = bus_retry(child->consumer, message.tag, number % 2 * 5, "later", NULL);
                } else if (number % 7 == 0) {
                        tell(child, number, 'd');
                        r = bus_dead(child->consumer, message.tag, "seven", NULL);
                        tell(child, number, 'D');
                } else {
                        tell(child, number, 'a');
                        r = bus_ack(child->consumer, message.tag, NULL);
                        tell(child, number, 'A');
                }
                if (r < 0)
                        _exit(1);
        }
}

static void work_until_killed(const struct bus_opener *opener, int to, int first)
{
        struct crash_child child = {.bus = opener->open(opener->data), .to = to};
        const char *queue = QUEUE;

        if (bus_consume(child.bus, &child.consumer, &queue, 1, 4, NULL) < 0)
                _exit(1);
        for (;; first += 5) {
                publish_some(&child, first);
                settle_some(&child);
        }
}

static int run_and_kill(const struct bus_opener *opener, char *known, int first, long ms)
{
        struct timespec pause = {0, ms * 1000000};
        struct told told;
        int pipes[2];
        pid_t pid;

        assert_int_equal(pipe(pipes), 0);
        pid = fork();
        if (pid == 0)
                work_until_killed(opener, pipes[1], first);
        close(pipes[1]);
        wait_for_bytes(pipes[0], 10 * sizeof(struct told));
        nanosleep(&pause, NULL);
        kill(pid, SIGKILL);
        while (read(pipes[0], &told, sizeof(told)) == sizeof(told)) {
                assert_in_range(told.number, 0, CRASH_NUMBERS - 1);
                known[told.number] = told.what;
                if (told.number >= first)
                        first = told.number + 1;
        }
        close(pipes[0]);
        waitpid(pid, NULL, 0);
        return first + 5; /* the last batch may be there without having been told */
}

/* What is left in a queue; the number of each was counted. */
static void drain(struct bus *bus, const char *queue, char *found)
{
        struct bus_consumer *consumer = consumer_of(bus, queue, 64);
        struct bus_message message;
        struct error err;

        while (bus_receive(consumer, &message, 1, 100, &err) == 1) {
                long number = strtol(message.body, NULL, 10);

                assert_in_range(number, 0, CRASH_NUMBERS - 1);
                found[number]++;
                ack(consumer, &message);
        }
        bus_consumer_close(consumer);
}

TEST("killed again and again in the middle of everything, nothing is lost and nothing comes back")
{
        scoped_text char *known = xcalloc(1, CRASH_NUMBERS);
        scoped_text char *left = xcalloc(1, CRASH_NUMBERS);
        scoped_text char *dead = xcalloc(1, CRASH_NUMBERS);
        struct bus *bus = fresh(state);
        int settled = 0;
        int next = 0;

        done(state, bus);
        for (int i = 0; i < CRASHES; i++)
                next = run_and_kill(the_opener(state), known, next, i * 13);
        bus = again(state);
        drain(bus, QUEUE, left);
        drain(bus, QUEUE ".dead", dead);
        for (int i = 0; i < next; i++) {
                settled += known[i] == 'A' || known[i] == 'D';
                if (left[i] + dead[i] > 1)
                        fail_msg("message %d is there %d times", i, left[i] + dead[i]);
                if (known[i] == 'p' && !left[i])
                        fail_msg("message %d was confirmed and is lost", i);
                if (known[i] == 'A' && left[i] + dead[i])
                        fail_msg("message %d was acknowledged and came back", i);
                if (known[i] == 'd' && !left[i] && !dead[i])
                        fail_msg("message %d was lost on its way to the dead letters", i);
                if (known[i] == 'D' && !dead[i])
                        fail_msg("message %d was put aside and is lost", i);
        }
        assert_true(settled > 20);
        done(state, bus);
}

int bus_crash_contract_run(const char *name, const struct bus_opener *opener)
{
        for (size_t i = 0; i < test_count; i++)
                test_list[i].initial_state = (void *)opener;
        return _cmocka_run_group_tests(name, test_list, test_count, NULL, NULL);
}
