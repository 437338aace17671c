#include "pipeline/logger/logger.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "pipeline/logger/log_relay.h"
#include "pipeline/topology.h"
#include "ports/bus.h"
#include "ports/store.h"
#include "tests/support/test.h"
#include "tests/support/rig.h"
#include "wire/log_entry.h"

#include "base/banned.h"

#define JOB "01993d2c-7a10-7000-8000-0000000000aa"

static struct logger *start(struct rig *rig)
{
        struct logger_options options = {
                .bus = rig->bus,
                .store = rig->store,
                .retention = {.logs_ms = 1000LL * 3600 * 24,
                              .builds_ms = 1000LL * 3600 * 24,
                              .builds_keep = 100,
                              .deliveries_ms = 1000LL * 3600 * 24},
        };
        struct logger *logger = NULL;
        struct error err = {0};

        assert_ok(logger_open(&logger, &options, &err), err);
        return logger;
}

/* The seq-th entry of a job: one line each. */
static void put_line(struct str *ret, int64_t seq, bool ended)
{
        scoped_text char *id = text_format("%s/1/%lld", JOB, (long long)seq);
        scoped_text char *text = text_format("line %05lld\n", (long long)seq);
        struct log_entry entry = {
                .id = id,
                .timestamp_ns = wall_ns(),
                .service = "executor",
                .severity = LOG_INFO,
                .build_id = "b",
                .job_id = JOB,
                .attempt = 1,
                .seq = seq,
                .stream = LOG_STREAM_STDOUT,
                .first_line = seq,
                .lines = 1,
                .offset = (seq - 1) * 11,
                .bytes = text,
                .n = strlen(text),
                .ended = ended,
        };

        log_entry_encode(&entry, ret);
}

static void publish(struct rig *rig, int64_t from, int64_t to)
{
        struct error err = {0};

        for (int64_t seq = from; seq <= to; seq++) {
                scoped_str struct str body = STR_INIT;

                put_line(&body, seq, seq == to);
                assert_ok(bus_publish(rig->bus, QUEUE_LOG, body.data, body.len, &err), err);
        }
}

static void assert_log(struct rig *rig, int64_t lines)
{
        struct log_stats stats = {0};
        struct log_window window = {0};
        struct error err = {0};

        assert_ok(store_log_stats(rig->store, &stats, JOB, 1, &err), err);
        assert_int_equal(stats.lines, lines);
        assert_int_equal(stats.bytes, lines * 11);
        assert_true(stats.ended);
        assert_ok(store_log_lines(rig->store, &window, JOB, 1, lines, 10, &err), err);
        assert_int_equal(window.n, 1);
        assert_int_equal(window.lines[0].number, lines);
        log_window_done(&window);
}

TEST("every entry is stored once, in batches, also those that come twice")
{
        struct rig rig;
        struct logger *logger;

        rig_open(&rig);
        publish(&rig, 1, 1000);
        publish(&rig, 500, 1000);
        logger = start(&rig);
        rig_wait_depth(&rig, QUEUE_LOG, 0);
        assert_log(&rig, 1000);
        logger_close(logger);
        logger = start(&rig);
        publish(&rig, 900, 1000);
        rig_wait_depth(&rig, QUEUE_LOG, 0);
        assert_log(&rig, 1000);
        logger_close(logger);
        rig_close(&rig);
}

TEST("whoever follows a job is told its newest line")
{
        struct rig rig;
        struct logger *logger;
        struct bus_topic *topic;
        struct error err = {0};
        int64_t newest = 0;

        rig_open(&rig);
        assert_ok(bus_topic_subscribe(rig.bus, &topic, "log." JOB, &err), err);
        logger = start(&rig);
        publish(&rig, 1, 20);
        while (newest < 20) {
                scoped_text char *name = NULL;
                scoped_text char *body = NULL;
                int64_t lost = 0;

                assert_int_equal(bus_topic_next(topic, &name, &body, &lost, RIG_WAIT_MS, &err), 1);
                assert_string_equal(name, "log." JOB);
                assert_true(strtol(body, NULL, 10) > newest);
                newest = strtol(body, NULL, 10);
        }
        bus_topic_close(topic);
        logger_close(logger);
        rig_close(&rig);
}

TEST("an entry that cannot be is put aside alone, its neighbours are stored")
{
        struct rig rig;
        struct logger *logger;
        struct error err = {0};

        rig_open(&rig);
        publish(&rig, 1, 5);
        assert_ok(bus_publish(rig.bus, QUEUE_LOG, "{\"v\":1}", 7, &err), err);
        publish(&rig, 6, 10);
        logger = start(&rig);
        rig_wait_depth(&rig, QUEUE_LOG, 0);
        rig_wait_depth(&rig, QUEUE_LOG ".dead", 1);
        assert_log(&rig, 10);
        logger_close(logger);
        rig_close(&rig);
}

TEST("after many crashes the first message is put aside, those behind it are not")
{
        static const char *const queues[] = {QUEUE_LOG};
        struct rig rig;
        struct logger *logger;
        struct error err = {0};
        struct log_stats stats = {0};

        rig_open(&rig);
        publish(&rig, 1, 10);
        for (int i = 0; i < 6; i++) {
                struct bus_consumer *consumer;
                struct bus_message messages[16];

                assert_ok(bus_consume(rig.bus, &consumer, queues, 1, 16, &err), err);
                assert_true(bus_receive(consumer, messages, 16, RIG_WAIT_MS, &err) > 0);
                bus_consumer_close(consumer);
        }
        logger = start(&rig);
        rig_wait_depth(&rig, QUEUE_LOG, 0);
        rig_wait_depth(&rig, QUEUE_LOG ".dead", 1);
        assert_ok(store_log_stats(rig.store, &stats, JOB, 1, &err), err);
        assert_int_equal(stats.last_seq, 10);
        logger_close(logger);
        rig_close(&rig);
}

static size_t count_logs(struct rig *rig, const char *words)
{
        struct log_filter filter = {.limit = 200};
        struct log_page page = {0};
        struct error err = {0};
        size_t n = 0;

        assert_ok(store_logs(rig->store, &page, &filter, &err), err);
        for (size_t i = 0; i < page.n; i++)
                n += strstr(page.entries[i], words) != NULL;
        log_page_done(&page);
        return n;
}

TEST("a service's own lines reach the store with what they are about")
{
        struct rig rig;
        struct logger *logger;
        struct log_relay *relay;
        struct log_context about = {.service = "webhook",
                                    .build_id = "b1",
                                    .job_id = JOB,
                                    .context = "{\"container\":\"c1\"}"};
        struct error err = {0};

        rig_open(&rig);
        logger = start(&rig);
        assert_ok(log_relay_open(&relay, rig.bus, &err), err);
        log_relay_sink(relay, LOG_WARNING, &about, "Creating container");
        log_relay_sink(relay, LOG_INFO, &(struct log_context){0}, "plain");
        for (int64_t end = clock_ms() + RIG_WAIT_MS; clock_ms() < end; usleep(5000)) {
                if (count_logs(&rig, "Creating container") && count_logs(&rig, "plain"))
                        break;
        }
        assert_int_equal(count_logs(&rig, "\"container\":\"c1\""), 1);
        assert_int_equal(count_logs(&rig, "\"build_id\":\"b1\""), 1);
        assert_int_equal(count_logs(&rig, "\"severity\":\"WARNING\""), 1);
        assert_int_equal(count_logs(&rig, "\"service\":\"argon\""), 1);
        log_relay_close(relay);
        logger_close(logger);
        rig_close(&rig);
}

/* A bus that does not take anything until it is told to, and counts what it took. */
struct stuck_bus {
        struct bus bus;
        _Atomic int open;
        _Atomic int taken;
        _Atomic int markers;
};

static int stuck_publish(struct bus *bus, const char *queue, const struct bus_body *bodies,
                         size_t n, struct error *err)
{
        struct stuck_bus *stuck = (struct stuck_bus *)bus;

        if (!stuck->open)
                return error_set(err, ERROR_UNAVAILABLE, "stuck");
        for (size_t i = 0; i < n; i++)
                stuck->markers += memmem(bodies[i].bytes, bodies[i].len, "were lost", 9) != NULL;
        stuck->taken += (int)n;
        return 0;
}

TEST("a bus that is away costs nobody time: the oldest lines go, and it is said how many")
{
        static const struct bus_ops ops = {.publish = stuck_publish};
        struct stuck_bus stuck = {.bus = {.ops = &ops}};
        struct log_relay *relay;
        struct error err = {0};
        int64_t began = clock_ms();

        assert_ok(log_relay_open(&relay, &stuck.bus, &err), err);
        for (int i = 0; i < 10000; i++)
                log_relay_sink(relay, LOG_INFO, &(struct log_context){0}, "a line");
        assert_true(clock_ms() - began < 5000);
        stuck.open = 1;
        for (int64_t end = clock_ms() + RIG_WAIT_MS; clock_ms() < end && stuck.taken < 4000;)
                usleep(5000);
        log_relay_close(relay);
        assert_true(stuck.taken >= 4096 && stuck.taken < 5000);
        assert_int_equal(stuck.markers, 1);
}

TEST("closing hands over what waits, and gives up on a bus that stays away")
{
        static const struct bus_ops ops = {.publish = stuck_publish};
        struct stuck_bus stuck = {.bus = {.ops = &ops}, .open = 1};
        struct log_relay *relay;
        struct error err = {0};
        int64_t began;

        assert_ok(log_relay_open(&relay, &stuck.bus, &err), err);
        for (int i = 0; i < 1000; i++)
                log_relay_sink(relay, LOG_INFO, &(struct log_context){0}, "a line");
        log_relay_close(relay);
        assert_int_equal(stuck.taken, 1000);
        stuck.open = 0;
        assert_ok(log_relay_open(&relay, &stuck.bus, &err), err);
        log_relay_sink(relay, LOG_INFO, &(struct log_context){0}, "a line");
        began = clock_ms();
        log_relay_close(relay);
        assert_true(clock_ms() - began < 6000);
}

#ifdef ARGON_FAILPOINTS
static void publish_and_log(struct rig *rig, void *data)
{
        publish(rig, 1, 600);
        start(rig);
}

TEST("killed before or after a batch was stored, every line is there once")
{
        static const char *const places[] = {"logger.before_store=kill", "logger.after_store=kill",
                                             "logger.before_store=kill:4",
                                             "logger.after_store=kill:4"};

        for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
                struct rig rig;
                struct logger *logger;

                rig_prepare(&rig);
                rig_die(&rig, places[i], publish_and_log, NULL);
                rig_attach(&rig);
                logger = start(&rig);
                rig_wait_depth(&rig, QUEUE_LOG, 0);
                assert_log(&rig, 600);
                assert_int_equal(rig_depth(&rig, QUEUE_LOG ".dead"), 0);
                logger_close(logger);
                rig_close(&rig);
        }
}
#endif

TEST_MAIN()
