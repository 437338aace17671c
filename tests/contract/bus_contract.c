#include "tests/contract/bus_contract.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "tests/contract/bus_help.h"

#include "base/banned.h"

TEST("a message arrives with its queue and a first attempt, and is gone once acknowledged")
{
        struct bus *bus = fresh(state);
        struct bus_consumer *consumer = consumer_of(bus, QUEUE, 1);
        int64_t before = wall_ms();
        struct bus_message message;

        publish(bus, QUEUE, "{\"a\":1}");
        message = receive(consumer);
        assert_body(&message, "{\"a\":1}");
        assert_string_equal(message.queue, QUEUE);
        assert_int_equal(message.attempts, 1);
        assert_string_equal(message.reason, "");
        assert_true(message.first_seen >= before && message.first_seen <= wall_ms());
        ack(consumer, &message);
        assert_nothing(consumer, 50);
        assert_depth(bus, QUEUE, 0, 0);
        bus_consumer_close(consumer);
        done(state, bus);
}

TEST("messages come in the order in which they were published")
{
        struct bus *bus = fresh(state);
        struct bus_consumer *consumer = consumer_of(bus, QUEUE, 7);
        struct error err;

        for (int i = 0; i < 100; i += 4) {
                char texts[4][16];
                struct bus_body bodies[4];

                for (int k = 0; k < 4; k++) {
                        snprintf(texts[k], sizeof(texts[k]), "%d", i + k);
                        bodies[k] = (struct bus_body){texts[k], strlen(texts[k])};
                }
                assert_ok(bus_publish_all(bus, QUEUE, bodies, 4, &err), err);
        }
        assert_depth(bus, QUEUE, 100, 0);
        for (int i = 0; i < 100; i++) {
                char text[16];

                snprintf(text, sizeof(text), "%d", i);
                take_and_ack(consumer, text);
        }
        bus_consumer_close(consumer);
        done(state, bus);
}

TEST("several are received and acknowledged at once")
{
        struct bus *bus = fresh(state);
        struct bus_consumer *consumer = consumer_of(bus, QUEUE, 16);
        struct bus_message messages[16];
        uint64_t tags[16];
        struct error err;
        int n = 0;

        for (int i = 0; i < 10; i++)
                publish(bus, QUEUE, "x");
        while (n < 10) {
                int got = bus_receive(consumer, messages + n, 16 - (size_t)n, LONG_MS, &err);

                assert_true(got > 0);
                n += got;
        }
        assert_int_equal(n, 10);
        for (int i = 0; i < n; i++)
                tags[i] = messages[i].tag;
        assert_ok(bus_ack_all(consumer, tags, (size_t)n, &err), err);
        assert_depth(bus, QUEUE, 0, 0);
        bus_consumer_close(consumer);
        done(state, bus);
}

TEST("what a consumer did not settle comes again when it is gone, with its count raised")
{
        struct bus *bus = fresh(state);
        struct bus_consumer *first = consumer_of(bus, QUEUE, 1);
        struct bus_consumer *second;
        struct bus_message message;

        publish(bus, QUEUE, "one");
        message = receive(first);
        assert_depth(bus, QUEUE, 0, 1);
        bus_consumer_close(first);
        second = consumer_of(bus, QUEUE, 1);
        message = receive(second);
        assert_body(&message, "one");
        assert_int_equal(message.attempts, 2);
        ack(second, &message);
        bus_consumer_close(second);
        done(state, bus);
}

TEST("what was published outlives the bus, in order")
{
        struct bus *bus = fresh(state);
        struct bus_consumer *consumer;

        publish(bus, QUEUE, "one");
        publish(bus, QUEUE, "two");
        publish(bus, LOG_QUEUE, "line");
        done(state, bus);
        bus = again(state);
        assert_depth(bus, QUEUE, 2, 0);
        consumer = consumer_of(bus, QUEUE, 1);
        take_and_ack(consumer, "one");
        take_and_ack(consumer, "two");
        bus_consumer_close(consumer);
        consumer = consumer_of(bus, LOG_QUEUE, 1);
        take_and_ack(consumer, "line");
        bus_consumer_close(consumer);
        done(state, bus);
}

TEST("no more than the prefetch is in hand")
{
        struct bus *bus = fresh(state);
        struct bus_consumer *consumer = consumer_of(bus, QUEUE, 2);
        struct bus_message first;
        struct bus_message second;

        publish(bus, QUEUE, "a");
        publish(bus, QUEUE, "b");
        publish(bus, QUEUE, "c");
        first = receive(consumer);
        second = receive(consumer);
        assert_nothing(consumer, 50);
        assert_depth(bus, QUEUE, 1, 2);
        ack(consumer, &first);
        take_and_ack(consumer, "c");
        ack(consumer, &second);
        bus_consumer_close(consumer);
        done(state, bus);
}

TEST("a retried message waits, then comes with its count and the reason")
{
        struct bus *bus = fresh(state);
        struct bus_consumer *consumer = consumer_of(bus, QUEUE, 1);
        struct bus_message message;
        struct error err;
        int64_t before;

        publish(bus, QUEUE, "one");
        message = receive(consumer);
        before = clock_ms();
        assert_ok(bus_retry(consumer, message.tag, 300, "mail server away", &err), err);
        assert_nothing(consumer, 100);
        message = receive(consumer);
        assert_true(clock_ms() - before >= 290);
        assert_true(clock_ms() - before < 3000);
        assert_body(&message, "one");
        assert_int_equal(message.attempts, 2);
        assert_string_equal(message.reason, "mail server away");
        assert_ok(bus_retry(consumer, message.tag, 0, "again", &err), err);
        message = receive(consumer);
        assert_int_equal(message.attempts, 3);
        ack(consumer, &message);
        assert_depth(bus, QUEUE, 0, 0);
        bus_consumer_close(consumer);
        done(state, bus);
}

TEST("a message that waits does not hold up those behind it")
{
        struct bus *bus = fresh(state);
        struct bus_consumer *consumer = consumer_of(bus, QUEUE, 1);
        struct bus_message message;
        struct error err;

        publish(bus, QUEUE, "slow");
        publish(bus, QUEUE, "next");
        message = receive(consumer);
        assert_ok(bus_retry(consumer, message.tag, 400, "", &err), err);
        take_and_ack(consumer, "next");
        take_and_ack(consumer, "slow");
        bus_consumer_close(consumer);
        done(state, bus);
}

TEST("a dead message lies in the queue of dead letters with its reason, count and first time")
{
        struct bus *bus = fresh(state);
        struct bus_consumer *consumer = consumer_of(bus, QUEUE, 1);
        struct bus_consumer *dead;
        struct bus_message message;
        struct error err;
        int64_t first_seen;

        publish(bus, QUEUE, "poison");
        message = receive(consumer);
        first_seen = message.first_seen;
        assert_ok(bus_retry(consumer, message.tag, 0, "try", &err), err);
        message = receive(consumer);
        assert_ok(bus_dead(consumer, message.tag, "member \"v\" is missing", &err), err);
        assert_nothing(consumer, 50);
        assert_depth(bus, QUEUE, 0, 0);
        assert_depth(bus, QUEUE ".dead", 1, 0);
        dead = consumer_of(bus, QUEUE ".dead", 1);
        message = receive(dead);
        assert_body(&message, "poison");
        assert_string_equal(message.queue, QUEUE ".dead");
        assert_string_equal(message.reason, "member \"v\" is missing");
        assert_int_equal(message.attempts, 2);
        assert_int_equal(message.first_seen, first_seen);
        ack(dead, &message);
        bus_consumer_close(dead);
        bus_consumer_close(consumer);
        done(state, bus);
}

static void publish_numbers(struct bus *bus, int n)
{
        for (int i = 0; i < n;) {
                char texts[BUS_BATCH_MAX][12];
                struct bus_body bodies[BUS_BATCH_MAX];
                struct error err;
                size_t k;

                for (k = 0; k < BUS_BATCH_MAX && i < n; k++, i++)
                        bodies[k] = (struct bus_body){
                                texts[k], (size_t)snprintf(texts[k], sizeof(*texts), "%d", i)};
                assert_ok(bus_publish_all(bus, QUEUE, bodies, k, &err), err);
        }
}

TEST("of too many dead letters the oldest make room")
{
        struct bus *bus = fresh(state);
        struct bus_consumer *consumer = consumer_of(bus, QUEUE, BUS_BATCH_MAX);
        struct bus_consumer *dead;
        struct error err;

        publish_numbers(bus, BUS_DEAD_MAX + 3);
        for (int i = 0; i < BUS_DEAD_MAX + 3; i++) {
                struct bus_message message = receive(consumer);

                assert_ok(bus_dead(consumer, message.tag, "poison", &err), err);
        }
        assert_depth(bus, QUEUE ".dead", BUS_DEAD_MAX, 0);
        dead = consumer_of(bus, QUEUE ".dead", 1);
        take_and_ack(dead, "3");
        bus_consumer_close(dead);
        bus_consumer_close(consumer);
        done(state, bus);
}

TEST("a consumer of several queues starves none of them")
{
        static const char *const queues[] = {QUEUE, OTHER_QUEUE, LOG_QUEUE};
        struct bus *bus = fresh(state);
        struct bus_consumer *consumer = NULL;
        struct error err;
        int seen[3] = {0};

        assert_ok(bus_consume(bus, &consumer, queues, 3, 1, &err), err);
        for (int i = 0; i < 20; i++)
                publish(bus, QUEUE, "busy");
        publish(bus, OTHER_QUEUE, "rare");
        publish(bus, LOG_QUEUE, "line");
        for (int i = 0; i < 6; i++) {
                struct bus_message message = receive(consumer);

                for (int k = 0; k < 3; k++)
                        seen[k] += strcmp(message.queue, queues[k]) == 0;
                ack(consumer, &message);
        }
        assert_int_equal(seen[1], 1);
        assert_int_equal(seen[2], 1);
        bus_consumer_close(consumer);
        done(state, bus);
}

TEST("messages of several queues are acknowledged together")
{
        static const char *const queues[] = {QUEUE, LOG_QUEUE};
        struct bus *bus = fresh(state);
        struct bus_consumer *consumer = NULL;
        uint64_t tags[4];
        struct error err;

        assert_ok(bus_consume(bus, &consumer, queues, 2, 4, &err), err);
        publish(bus, QUEUE, "a");
        publish(bus, LOG_QUEUE, "b");
        publish(bus, QUEUE, "c");
        publish(bus, LOG_QUEUE, "d");
        for (int i = 0; i < 4; i++)
                tags[i] = receive(consumer).tag;
        assert_ok(bus_ack_all(consumer, tags, 4, &err), err);
        assert_depth(bus, QUEUE, 0, 0);
        assert_depth(bus, LOG_QUEUE, 0, 0);
        bus_consumer_close(consumer);
        done(state, bus);
}

TEST("a message can be settled once, and only by who holds it")
{
        struct bus *bus = fresh(state);
        struct bus_consumer *consumer = consumer_of(bus, QUEUE, 1);
        struct bus_message message;

        publish(bus, QUEUE, "one");
        message = receive(consumer);
        assert_int_equal(bus_ack(consumer, message.tag + 1, NULL), -ERROR_INVALID);
        ack(consumer, &message);
        assert_int_equal(bus_ack(consumer, message.tag, NULL), -ERROR_INVALID);
        assert_int_equal(bus_retry(consumer, message.tag, 0, "", NULL), -ERROR_INVALID);
        assert_int_equal(bus_dead(consumer, message.tag, "", NULL), -ERROR_INVALID);
        assert_depth(bus, QUEUE, 0, 0);
        bus_consumer_close(consumer);
        done(state, bus);
}

TEST("a body of any bytes up to the limit arrives whole, one byte more is refused")
{
        struct bus *bus = fresh(state);
        struct bus_consumer *consumer = consumer_of(bus, LOG_QUEUE, 1);
        scoped_text char *bytes = xmalloc(BUS_BODY_MAX + 1);
        struct bus_message message;
        struct error err = {0};

        for (size_t i = 0; i <= BUS_BODY_MAX; i++)
                bytes[i] = (char)(i * 7);
        assert_int_equal(bus_publish(bus, LOG_QUEUE, bytes, BUS_BODY_MAX + 1, &err), -ERROR_LIMIT);
        assert_ok(bus_publish(bus, LOG_QUEUE, bytes, BUS_BODY_MAX, &err), err);
        assert_ok(bus_publish(bus, LOG_QUEUE, "", 0, &err), err);
        message = receive(consumer);
        assert_int_equal(message.len, BUS_BODY_MAX);
        assert_memory_equal(message.body, bytes, BUS_BODY_MAX);
        ack(consumer, &message);
        take_and_ack(consumer, "");
        bus_consumer_close(consumer);
        done(state, bus);
}

TEST("a receiver that waits goes on at once when a message comes, is woken, or its time is over")
{
        struct bus *bus = fresh(state);
        struct bus_consumer *consumer = consumer_of(bus, QUEUE, 1);
        int64_t before = clock_ms();

        assert_nothing(consumer, 120);
        assert_true(clock_ms() - before >= 115);
        assert_nothing(consumer, 0);
        bus_consumer_wake(consumer);
        before = clock_ms();
        assert_nothing(consumer, LONG_MS);
        assert_true(clock_ms() - before < 1000);
        bus_consumer_close(consumer);
        done(state, bus);
}

struct later {
        struct bus *bus;
        struct bus_consumer *wake;
};

static void *act_later(void *data)
{
        struct later *later = data;
        struct timespec pause = {0, 100 * 1000000};

        nanosleep(&pause, NULL);
        if (later->wake)
                bus_consumer_wake(later->wake);
        else
                bus_publish(later->bus, QUEUE, "late", 4, NULL);
        return NULL;
}

TEST("another thread's message or wake ends a wait without an end")
{
        struct bus *bus = fresh(state);
        struct bus_consumer *consumer = consumer_of(bus, QUEUE, 1);
        struct later later = {.bus = bus};
        struct bus_message message = {0};
        struct error err;
        pthread_t thread;

        pthread_create(&thread, NULL, act_later, &later);
        assert_int_equal(bus_receive(consumer, &message, 1, -1, &err), 1);
        assert_body(&message, "late");
        ack(consumer, &message);
        pthread_join(thread, NULL);
        later.wake = consumer;
        pthread_create(&thread, NULL, act_later, &later);
        assert_int_equal(bus_receive(consumer, &message, 1, -1, &err), 0);
        pthread_join(thread, NULL);
        bus_consumer_close(consumer);
        done(state, bus);
}

#define PUBLISHERS 4
#define CONSUMERS 4
#define EACH 150

struct crowd {
        struct bus *bus;
        int number;
        atomic_int *seen;
        atomic_int *total;
};

static void *publish_many(void *data)
{
        struct crowd *crowd = data;

        for (int i = 0; i < EACH; i++) {
                char text[16];

                snprintf(text, sizeof(text), "%d", crowd->number * EACH + i);
                if (bus_publish(crowd->bus, QUEUE, text, strlen(text), NULL) < 0)
                        return (void *)"publish failed";
        }
        return NULL;
}

static void *consume_many(void *data)
{
        struct crowd *crowd = data;
        struct bus_consumer *consumer = NULL;
        const char *queue = QUEUE;

        if (bus_consume(crowd->bus, &consumer, &queue, 1, 1 + crowd->number * 5, NULL) < 0)
                return (void *)"consume failed";
        while (atomic_load(crowd->total) < PUBLISHERS * EACH) {
                struct bus_message message;
                int n = bus_receive(consumer, &message, 1, 50, NULL);

                if (n < 0)
                        return (void *)"receive failed";
                if (n == 0)
                        continue;
                atomic_fetch_add(&crowd->seen[strtol(message.body, NULL, 10)], 1);
                atomic_fetch_add(crowd->total, 1);
                if (bus_ack(consumer, message.tag, NULL) < 0)
                        return (void *)"ack failed";
        }
        bus_consumer_close(consumer);
        return NULL;
}

TEST("with many publishers and consumers each message arrives exactly once")
{
        static atomic_int seen[PUBLISHERS * EACH];
        struct bus *bus = fresh(state);
        struct crowd crowds[PUBLISHERS + CONSUMERS];
        pthread_t threads[PUBLISHERS + CONSUMERS];
        atomic_int total = 0;

        memset(seen, 0, sizeof(seen));
        for (int i = 0; i < PUBLISHERS + CONSUMERS; i++) {
                bool publishes = i < PUBLISHERS;

                crowds[i] = (struct crowd){bus, publishes ? i : i - PUBLISHERS, seen, &total};
                pthread_create(&threads[i], NULL, publishes ? publish_many : consume_many,
                               &crowds[i]);
        }
        for (int i = 0; i < PUBLISHERS + CONSUMERS; i++) {
                void *why = NULL;

                pthread_join(threads[i], &why);
                if (why)
                        fail_msg("%s", (const char *)why);
        }
        for (int i = 0; i < PUBLISHERS * EACH; i++)
                assert_int_equal(seen[i], 1);
        assert_depth(bus, QUEUE, 0, 0);
        done(state, bus);
}

static void assert_next(struct bus_topic *topic, const char *name, const char *body, int64_t lost)
{
        scoped_text char *is_name = NULL;
        scoped_text char *is_body = NULL;
        int64_t is_lost = -1;
        struct error err;

        assert_int_equal(bus_topic_next(topic, &is_name, &is_body, &is_lost, LONG_MS, &err), 1);
        assert_string_equal(is_name, name);
        assert_string_equal(is_body, body);
        assert_int_equal(is_lost, lost);
}

static void assert_silent(struct bus_topic *topic, int64_t ms)
{
        char *name = NULL;
        char *body = NULL;
        int64_t lost = 0;
        struct error err;

        assert_int_equal(bus_topic_next(topic, &name, &body, &lost, ms, &err), 0);
}

TEST("a topic reaches those who listen to its prefix, from when they began")
{
        struct bus *bus = fresh(state);
        struct bus_topic *builds = NULL;
        struct bus_topic *one = NULL;
        struct error err;

        bus_topic_publish(bus, "build.1", "0", 1);
        assert_ok(bus_topic_subscribe(bus, &builds, "build.", &err), err);
        assert_ok(bus_topic_subscribe(bus, &one, "build.2", &err), err);
        bus_topic_publish(bus, "build.1", "7", 1);
        bus_topic_publish(bus, "log.1", "8", 1);
        bus_topic_publish(bus, "build.2", "9", 1);
        assert_next(builds, "build.1", "7", 0);
        assert_next(builds, "build.2", "9", 0);
        assert_silent(builds, 20);
        assert_next(one, "build.2", "9", 0);
        bus_topic_wake(one);
        assert_silent(one, LONG_MS);
        bus_topic_close(one);
        bus_topic_publish(bus, "build.2", "10", 2);
        assert_next(builds, "build.2", "10", 0);
        bus_topic_close(builds);
        done(state, bus);
}

TEST("a slow listener loses the oldest and is told how many")
{
        struct bus *bus = fresh(state);
        struct bus_topic *topic = NULL;
        struct error err;
        int64_t lost = 0;
        int received = 0;
        long first = -1;

        assert_ok(bus_topic_subscribe(bus, &topic, "log.", &err), err);
        for (int i = 0; i < 20000; i++) {
                char text[16];

                bus_topic_publish(bus, "log.j", text,
                                  (size_t)snprintf(text, sizeof(text), "%d", i));
        }
        for (;;) {
                scoped_text char *name = NULL;
                scoped_text char *body = NULL;
                int64_t more = 0;

                if (bus_topic_next(topic, &name, &body, &more, 200, &err) != 1)
                        break;
                if (first < 0)
                        first = strtol(body, NULL, 10);
                lost += more;
                received++;
        }
        assert_true(lost > 0);
        assert_int_equal(first, lost);
        assert_int_equal(received + lost, 20000);
        bus_topic_close(topic);
        done(state, bus);
}

TEST("a consumer that makes no sense is refused")
{
        struct bus *bus = fresh(state);
        struct bus_consumer *consumer = NULL;
        const char *queue = QUEUE;

        assert_int_equal(bus_consume(bus, &consumer, &queue, 0, 1, NULL), -ERROR_INVALID);
        assert_int_equal(bus_consume(bus, &consumer, &queue, 1, 0, NULL), -ERROR_INVALID);
        assert_null(consumer);
        done(state, bus);
}

int bus_contract_run(const char *name, const struct bus_opener *opener)
{
        for (size_t i = 0; i < test_count; i++)
                test_list[i].initial_state = (void *)opener;
        return _cmocka_run_group_tests(name, test_list, test_count, NULL, NULL);
}
