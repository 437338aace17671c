#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "ports/store.h"
#include "tests/contract/store_contract.h"
#include "tests/support/test.h"
#include "wire/log_entry.h"

#include "base/banned.h"

#define DAY_MS INT64_C(86400000)
/* How long a store waits for a late entry before it shows a gap; with some room. */
#define PATIENCE_MS 2500

static struct store *fresh(void **state)
{
        const struct store_opener *opener = *state;

        opener->clean(opener->data);
        return opener->open(opener->data);
}

static void done(void **state, struct store *store)
{
        const struct store_opener *opener = *state;

        opener->close(opener->data, store);
}

/* A writer of one attempt's output, numbering as the executor does. */
struct output {
        const char *job_id;
        int attempt;
        int64_t seq;
        int64_t line;
        int64_t offset;
};

static int64_t count_lines(const char *bytes, size_t n)
{
        int64_t lines = n && bytes[n - 1] != '\n';

        for (size_t i = 0; i < n; i++)
                lines += bytes[i] == '\n';
        return lines;
}

static struct log_entry chunk(struct output *output, const char *bytes, size_t n)
{
        struct log_entry entry = {
                .timestamp_ns = wall_ns(),
                .service = "executor",
                .severity = LOG_INFO,
                .build_id = "build-of-it",
                .job_id = output->job_id,
                .attempt = output->attempt,
                .seq = ++output->seq,
                .step = 1,
                .stream = LOG_STREAM_STDOUT,
                .first_line = output->line + 1,
                .lines = count_lines(bytes, n),
                .offset = output->offset,
                .ms = output->seq * 10,
                .bytes = bytes,
                .n = n,
        };

        output->line += entry.lines;
        output->offset += (int64_t)n;
        return entry;
}

static void append(struct store *store, const struct log_entry *entries, size_t n)
{
        struct error err;

        assert_ok(store_log_append(store, entries, n, &err), err);
}

static void say(struct store *store, struct output *output, const char *text)
{
        struct log_entry entry = chunk(output, text, strlen(text));

        append(store, &entry, 1);
}

static void assert_lines(struct store *store, const char *job_id, int64_t from, int64_t n,
                         const char *expected, bool ended)
{
        scoped_str struct str text = STR_INIT;
        struct log_window window = {0};
        struct error err;

        assert_ok(store_log_lines(store, &window, job_id, 1, from, n, &err), err);
        for (size_t i = 0; i < window.n; i++) {
                const struct log_line *line = &window.lines[i];

                str_printf(&text, "%lld%c", (long long)line->number, "-oe"[line->stream]);
                str_add_bytes(&text, line->text, line->n);
                str_add_char(&text, '|');
        }
        assert_string_equal(text.data, expected);
        assert_int_equal(window.ended, ended);
        log_window_done(&window);
}

TEST("lines keep their numbers, streams and times, from any line on")
{
        struct store *store = fresh(state);
        struct output output = {.job_id = "j", .attempt = 1};
        struct log_entry entries[3];
        struct log_window window = {0};
        struct error err;

        entries[0] = chunk(&output, "one\ntwo\n", 8);
        entries[1] = chunk(&output, "three\n", 6);
        entries[1].stream = LOG_STREAM_STDERR;
        entries[2] = chunk(&output, "\nfive\nsix", 9);
        append(store, entries, 3);
        assert_lines(store, "j", 1, 100, "1oone|2otwo|3ethree|4o|5ofive|6osix|", false);
        assert_lines(store, "j", 0, 2, "1oone|2otwo|", false);
        assert_lines(store, "j", 2, 3, "2otwo|3ethree|4o|", false);
        assert_lines(store, "j", 6, 1, "6osix|", false);
        assert_lines(store, "j", 7, 10, "", false);
        assert_lines(store, "other", 1, 10, "", false);
        assert_ok(store_log_lines(store, &window, "j", 1, 3, 1, &err), err);
        assert_int_equal(window.lines[0].ms, 20);
        assert_int_equal(window.lines[0].step, 1);
        log_window_done(&window);
        assert_ok(store_log_lines(store, &window, "j", 2, 1, 1, &err), err);
        assert_int_equal(window.n, 0);
        log_window_done(&window);
        done(state, store);
}

TEST("a log is complete once its last entry is there")
{
        struct store *store = fresh(state);
        struct output output = {.job_id = "j", .attempt = 1};
        struct log_entry end;
        struct log_stats stats = {0};
        struct error err;

        say(store, &output, "one\ntwo\n");
        assert_lines(store, "j", 1, 2, "1oone|2otwo|", false);
        end = chunk(&output, "", 0);
        end.ended = true;
        append(store, &end, 1);
        assert_lines(store, "j", 1, 100, "1oone|2otwo|", true);
        assert_lines(store, "j", 1, 2, "1oone|2otwo|", true);
        assert_lines(store, "j", 1, 1, "1oone|", false);
        assert_lines(store, "j", 3, 1, "", true);
        assert_ok(store_log_stats(store, &stats, "j", 1, &err), err);
        assert_int_equal(stats.lines, 2);
        assert_int_equal(stats.bytes, 8);
        assert_int_equal(stats.last_seq, 2);
        assert_true(stats.ended);
        assert_ok(store_log_stats(store, &stats, "nope", 1, &err), err);
        assert_int_equal(stats.last_seq, 0);
        done(state, store);
}

TEST("an entry that comes again is ignored, and one that comes late finds its place")
{
        struct store *store = fresh(state);
        struct output output = {.job_id = "j", .attempt = 1};
        struct log_entry entries[3];
        struct log_stats stats = {0};
        struct error err;

        entries[0] = chunk(&output, "one\n", 4);
        entries[1] = chunk(&output, "two\n", 4);
        entries[2] = chunk(&output, "three\n", 6);
        append(store, &entries[0], 1);
        append(store, &entries[2], 1);
        append(store, &entries[0], 1);
        append(store, entries, 3);
        assert_lines(store, "j", 1, 10, "1oone|2otwo|3othree|", false);
        assert_ok(store_log_stats(store, &stats, "j", 1, &err), err);
        assert_int_equal(stats.lines, 3);
        assert_int_equal(stats.bytes, 14);
        done(state, store);
}

TEST("a hole is waited for a while, then shown, and nothing behind it moves")
{
        struct store *store = fresh(state);
        struct output output = {.job_id = "j", .attempt = 1};
        struct timespec patience = {PATIENCE_MS / 1000, PATIENCE_MS % 1000 * 1000000};
        struct log_entry entries[5];
        char bytes[64];
        size_t n = 0;
        struct error err;

        entries[0] = chunk(&output, "one\n", 4);
        entries[1] = chunk(&output, "two\nthree, quite long a line, longer than its mark\n", 51);
        entries[2] = chunk(&output, "four\n", 5);
        entries[3] = chunk(&output, "five\n", 5);
        entries[4] = chunk(&output, "six\n", 4);
        append(store, &entries[0], 1);
        append(store, &entries[2], 1);
        append(store, &entries[4], 1);
        assert_lines(store, "j", 1, 10, "1oone|", false);
        nanosleep(&patience, NULL);
        assert_lines(store, "j", 1, 10,
                     "1oone|2-[2 lines missing]|4ofour|5-[1 line missing]|6osix|", false);
        assert_lines(store, "j", 3, 10, "3-[1 line missing]|4ofour|5-[1 line missing]|6osix|",
                     false);
        assert_lines(store, "j", 6, 10, "6osix|", false);
        assert_ok(store_log_bytes(store, bytes, sizeof(bytes), &n, "j", 1, 55, &err), err);
        assert_int_equal(n, 14);
        assert_memory_equal(bytes, "four\n    \nsix\n", 14);
        assert_ok(store_log_bytes(store, bytes, 26, &n, "j", 1, 0, &err), err);
        assert_memory_equal(bytes, "one\n[51 bytes missing]    ", 26);
        append(store, &entries[1], 1);
        append(store, &entries[3], 1);
        assert_lines(store, "j", 4, 10, "4ofour|5ofive|6osix|", false);
        done(state, store);
}

static char *noise(size_t n)
{
        char *bytes = xmalloc(n);

        for (size_t i = 0; i < n; i++)
                bytes[i] = random() % 40 ? (char)random() : '\n';
        return bytes;
}

TEST("the bytes of a log come back exactly, from any offset, whatever they are")
{
        struct store *store = fresh(state);
        struct output output = {.job_id = "j", .attempt = 1};
        const size_t total = 300000;
        scoped_text char *bytes = NULL;
        scoped_text char *part = xmalloc(total);
        struct error err;
        size_t n = 0;

        srandom(11);
        bytes = noise(total);
        for (size_t at = 0; at < total;) {
                size_t size = 1 + (size_t)random() % 9000;
                struct log_entry entry;

                if (size > total - at)
                        size = total - at;
                entry = chunk(&output, bytes + at, size);
                append(store, &entry, 1);
                at += size;
        }
        assert_ok(store_log_bytes(store, part, total, &n, "j", 1, 0, &err), err);
        assert_int_equal(n, total);
        assert_memory_equal(part, bytes, total);
        for (int i = 0; i < 200; i++) {
                size_t from = (size_t)random() % total;
                size_t want = 1 + (size_t)random() % 20000;
                size_t expected = want < total - from ? want : total - from;

                assert_ok(store_log_bytes(store, part, want, &n, "j", 1, (int64_t)from, &err), err);
                assert_int_equal(n, expected);
                assert_memory_equal(part, bytes + from, n);
        }
        assert_ok(store_log_bytes(store, part, 10, &n, "j", 1, (int64_t)total, &err), err);
        assert_int_equal(n, 0);
        assert_int_equal(store_log_bytes(store, part, 10, &n, "j", 1, -1, &err), -ERROR_INVALID);
        done(state, store);
}

TEST("any window of a long log is the same lines as the whole")
{
        struct store *store = fresh(state);
        struct output output = {.job_id = "j", .attempt = 1};
        struct log_entry entries[64];
        char texts[64][600];
        struct error err;

        srandom(3);
        for (int round = 0; round < 10; round++) {
                for (int i = 0; i < 64; i++) {
                        int64_t line = output.line;
                        size_t n = 0;

                        for (int k = (int)(random() % 20); k >= 0; k--)
                                n += (size_t)snprintf(texts[i] + n, sizeof(texts[i]) - n,
                                                      "line %lld\n", (long long)++line);
                        entries[i] = chunk(&output, texts[i], n);
                }
                append(store, entries, 64);
        }
        for (int i = 0; i < 100; i++) {
                int64_t from = 1 + random() % output.line;
                int64_t want = 1 + random() % 300;
                int64_t expected = output.line - from + 1 < want ? output.line - from + 1 : want;
                struct log_window window = {0};

                assert_ok(store_log_lines(store, &window, "j", 1, from, want, &err), err);
                assert_int_equal(window.n, expected);
                for (size_t k = 0; k < window.n; k++) {
                        char text[32];
                        int n = snprintf(text, sizeof(text), "line %lld",
                                         (long long)from + (long long)k);

                        assert_int_equal(window.lines[k].number, from + (int64_t)k);
                        assert_int_equal(window.lines[k].n, n);
                        assert_memory_equal(window.lines[k].text, text, (size_t)n);
                }
                log_window_done(&window);
        }
        done(state, store);
}

static struct log_entry event(const char *id, const char *service, enum log_severity severity,
                              const char *job_id, const char *build_id, const char *text)
{
        return (struct log_entry){
                .id = id,
                .timestamp_ns = wall_ns(),
                .service = service,
                .severity = severity,
                .job_id = job_id,
                .build_id = build_id,
                .bytes = text,
                .n = strlen(text),
                .context = "{\"image\":\"python:3.10\"}",
        };
}

/* The messages of all pages, separated by |. */
static void assert_logs(struct store *store, struct log_filter filter, const char *expected)
{
        scoped_str struct str text = STR_INIT;
        struct log_page page = {0};
        struct error err = {0};

        do {
                char cursor[64];

                memcpy(cursor, page.next, sizeof(cursor));
                log_page_done(&page);
                filter.cursor = cursor;
                assert_ok(store_logs(store, &page, &filter, &err), err);
                for (size_t i = 0; i < page.n; i++) {
                        scoped(json) json_t *json = NULL;

                        assert_ok(json_parse(&json, page.entries[i], strlen(page.entries[i]),
                                             262144, &err),
                                  err);
                        str_printf(&text, "%s|", json_text_or(json, "message", "?"));
                }
        } while (*page.next);
        log_page_done(&page);
        assert_string_equal(text.data, expected);
}

TEST("entries of services and steps are found by service, job, build, severity and time")
{
        struct store *store = fresh(state);
        struct output output = {.job_id = "j1", .attempt = 1};
        struct log_entry entries[6];
        int64_t middle;
        struct timespec pause = {0, 20 * 1000000};

        entries[0] = event("w/1", "webhook", LOG_INFO, "", "", "taken");
        entries[1] = event("o/1", "orchestrator", LOG_INFO, "", "build-of-it", "planned");
        entries[2] = event("e/1", "executor", LOG_INFO, "j1", "build-of-it", "pulling");
        append(store, entries, 3);
        nanosleep(&pause, NULL);
        middle = wall_ms();
        entries[3] = chunk(&output, "out\n", 4);
        entries[4] = event("e/2", "executor", LOG_ERROR, "j1", "build-of-it", "broken");
        entries[5] = event("n/1", "notifier", LOG_WARNING, "", "", "mail away");
        append(store, entries + 3, 3);
        append(store, entries, 6);
        for (int limit = 1; limit < 8; limit++) {
                assert_logs(store, (struct log_filter){.limit = limit},
                            "mail away|broken|out\n|pulling|planned|taken|");
                assert_logs(store, (struct log_filter){.limit = limit, .service = "executor"},
                            "broken|out\n|pulling|");
                assert_logs(store, (struct log_filter){.limit = limit, .job_id = "j1"},
                            "broken|out\n|pulling|");
                assert_logs(store, (struct log_filter){.limit = limit, .build_id = "build-of-it"},
                            "broken|out\n|pulling|planned|");
                assert_logs(store, (struct log_filter){.limit = limit, .severity = "ERROR"},
                            "broken|");
                assert_logs(store, (struct log_filter){.limit = limit, .severity = "INFO"},
                            "out\n|pulling|planned|taken|");
                assert_logs(store, (struct log_filter){.limit = limit, .since_ms = middle},
                            "mail away|broken|out\n|");
                assert_logs(store,
                            (struct log_filter){.limit = limit,
                                                .since_ms = middle,
                                                .service = "executor",
                                                .severity = "ERROR"},
                            "broken|");
                assert_logs(store,
                            (struct log_filter){.limit = limit,
                                                .job_id = "j1",
                                                .severity = "INFO",
                                                .service = "executor"},
                            "out\n|pulling|");
                assert_logs(store,
                            (struct log_filter){.limit = limit, .since_ms = wall_ms() + DAY_MS},
                            "");
                assert_logs(store, (struct log_filter){.limit = limit, .job_id = "nope"}, "");
        }
        done(state, store);
}

TEST("an entry comes back with the members it had")
{
        struct store *store = fresh(state);
        struct output output = {.job_id = "j1", .attempt = 1};
        struct log_filter filter = {0};
        struct log_entry entries[2];
        struct log_page page = {0};
        scoped(log_entry) struct log_entry *first = NULL;
        scoped(log_entry) struct log_entry *second = NULL;
        struct error err;

        entries[0] = event("e/1", "executor", LOG_WARNING, "j1", "b1", "pulling");
        entries[1] = chunk(&output, "\xff\0\n", 3);
        append(store, entries, 2);
        assert_ok(store_logs(store, &page, &filter, &err), err);
        assert_int_equal(page.n, 2);
        assert_ok(log_entry_decode(&second, page.entries[0], strlen(page.entries[0]), &err), err);
        assert_ok(log_entry_decode(&first, page.entries[1], strlen(page.entries[1]), &err), err);
        assert_string_equal(first->id, "e/1");
        assert_string_equal(first->context, "{\"image\":\"python:3.10\"}");
        assert_string_equal(first->build_id, "b1");
        assert_int_equal(first->severity, LOG_WARNING);
        assert_true(first->timestamp_ns == entries[0].timestamp_ns);
        assert_string_equal(second->id, "j1/1/1");
        assert_int_equal(second->n, 3);
        assert_memory_equal(second->bytes, "\xff\0\n", 3);
        assert_int_equal(second->first_line, 1);
        assert_int_equal(second->stream, LOG_STREAM_STDOUT);
        log_page_done(&page);
        filter.severity = "LOUD";
        assert_int_equal(store_logs(store, &page, &filter, &err), -ERROR_INVALID);
        filter.severity = NULL;
        filter.cursor = "-1";
        assert_int_equal(store_logs(store, &page, &filter, &err), -ERROR_INVALID);
        done(state, store);
}

TEST("retention removes logs that nothing was added to, and keeps the others")
{
        struct store *store = fresh(state);
        struct output old = {.job_id = "old", .attempt = 1};
        struct output young = {.job_id = "young", .attempt = 1};
        struct retention retention = {
                .logs_ms = 300, .builds_ms = DAY_MS, .builds_keep = 9, .deliveries_ms = DAY_MS};
        struct timespec pause = {0, 400 * 1000000};
        struct log_entry line = event("w/1", "webhook", LOG_INFO, "", "", "old line");
        struct log_entry late = event("w/2", "webhook", LOG_INFO, "", "", "young line");
        int64_t removed = 1;
        struct error err;

        for (int i = 0; i < 1300; i++)
                say(store, &old, "x\n");
        append(store, &line, 1);
        nanosleep(&pause, NULL);
        append(store, &late, 1);
        say(store, &young, "y\n");
        for (int i = 0; removed > 0; i++) {
                assert_true(i < 20);
                assert_ok(store_retain(store, &retention, &removed, &err), err);
                assert_true(removed <= 1100);
        }
        assert_lines(store, "old", 1, 10, "", false);
        assert_lines(store, "young", 1, 10, "1oy|", false);
        assert_logs(store, (struct log_filter){.service = "webhook"}, "young line|");
        done(state, store);
}

struct writer {
        struct store *store;
        char job_id[8];
        int failures;
};

static void *write_log(void *data)
{
        struct writer *writer = data;
        struct output output = {.job_id = writer->job_id, .attempt = 1};

        for (int i = 0; i < 100; i++) {
                struct log_entry entry = chunk(&output, "a\nb\n", 4);

                writer->failures += store_log_append(writer->store, &entry, 1, NULL) < 0;
        }
        return NULL;
}

TEST("many logs grow at once while they are read")
{
        struct store *store = fresh(state);
        struct writer writers[4];
        pthread_t threads[4];
        struct error err;

        for (int i = 0; i < 4; i++) {
                writers[i] = (struct writer){.store = store};
                snprintf(writers[i].job_id, sizeof(writers[i].job_id), "j%d", i);
                pthread_create(&threads[i], NULL, write_log, &writers[i]);
        }
        for (int i = 0; i < 50; i++) {
                struct log_window window = {0};
                struct log_stats stats = {0};

                assert_ok(store_log_stats(store, &stats, "j1", 1, &err), err);
                assert_ok(store_log_lines(store, &window, "j1", 1, 1, 1000, &err), err);
                assert_true((int64_t)window.n >= stats.lines);
                log_window_done(&window);
        }
        for (int i = 0; i < 4; i++) {
                struct log_stats stats = {0};

                pthread_join(threads[i], NULL);
                assert_int_equal(writers[i].failures, 0);
                assert_ok(store_log_stats(store, &stats, writers[i].job_id, 1, &err), err);
                assert_int_equal(stats.lines, 200);
        }
        done(state, store);
}

static void append_until_killed(const struct store_opener *opener, int to)
{
        struct store *store = opener->open(opener->data);
        struct output output = {.job_id = "j", .attempt = 1};

        for (;;) {
                struct log_entry entry = chunk(&output, "line\nline\n", 10);

                if (store_log_append(store, &entry, 1, NULL) < 0 ||
                    write(to, &output.line, sizeof(output.line)) < 0)
                        _exit(1);
        }
}

TEST("every line that was stored is there after the logger was killed, and repeats change nothing")
{
        struct store *store = fresh(state);
        const struct store_opener *opener = *state;
        struct timespec pause = {0, 50 * 1000000};
        struct output output = {.job_id = "j", .attempt = 1};
        struct log_stats stats = {0};
        int64_t confirmed = 0;
        int pipes[2];
        struct error err;
        pid_t pid;

        done(state, store);
        assert_int_equal(pipe(pipes), 0);
        pid = fork();
        if (pid == 0)
                append_until_killed(opener, pipes[1]);
        close(pipes[1]);
        for (int i = 0; i < 5; i++)
                assert_int_equal(read(pipes[0], &confirmed, sizeof(confirmed)), sizeof(confirmed));
        nanosleep(&pause, NULL);
        kill(pid, SIGKILL);
        while (read(pipes[0], &confirmed, sizeof(confirmed)) == sizeof(confirmed))
                ;
        close(pipes[0]);
        waitpid(pid, NULL, 0);
        store = opener->open(opener->data);
        assert_ok(store_log_stats(store, &stats, "j", 1, &err), err);
        assert_in_range(stats.lines, confirmed, confirmed + 2);
        assert_int_equal(stats.bytes, stats.lines * 5);
        while (output.line < confirmed + 4)
                say(store, &output, "line\nline\n");
        assert_ok(store_log_stats(store, &stats, "j", 1, &err), err);
        assert_int_equal(stats.lines, confirmed + 4);
        assert_int_equal(stats.bytes, stats.lines * 5);
        done(state, store);
}

int store_logs_contract_run(const char *name, const struct store_opener *opener)
{
        for (size_t i = 0; i < test_count; i++)
                test_list[i].initial_state = (void *)opener;
        return _cmocka_run_group_tests(name, test_list, test_count, NULL, NULL);
}
