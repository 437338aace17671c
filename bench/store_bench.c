/*
 * What the embedded bus and store cost, on the disk that TMPDIR lies on:
 *
 *         ninja -C build bench/store_bench && build/bench/store_bench [BUILDS]
 *
 * prints durable publishes per second by threads, with the syncs and the CPU time that each
 * took; a webhook's three
 * writes; one message from publish to acknowledge; lines per second and bytes per line of a log,
 * with windows into it and its removal; and pages of a list of BUILDS builds (100000).
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "adapters/bus/sqlite.h"
#include "adapters/sqlite/db.h"
#include "adapters/sqlite/files.h"
#include "adapters/store/sqlite.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/parse.h"
#include "base/str.h"
#include "domain/build.h"
#include "ports/bus.h"
#include "ports/store.h"
#include "wire/log_entry.h"

#include "base/banned.h"

#define QUEUE "webhook.queue"
#define BODY_BYTES 1024
#define SECONDS_MS 1500
#define LOG_LINES 1000000
#define ROUNDS 201

struct bench {
        char folder[256];
        struct sqlite_files *files;
        struct bus *bus;
        struct store *store;
};

static void check(int result, const struct error *err)
{
        if (result >= 0)
                return;
        fprintf(stderr, "store_bench: %s\n", err->text);
        exit(1);
}

static void open_all(struct bench *bench)
{
        const char *tmp = text_or(getenv("TMPDIR"), "/tmp");
        struct error err;

        snprintf(bench->folder, sizeof(bench->folder), "%s/store-bench-XXXXXX", tmp);
        if (!mkdtemp(bench->folder)) {
                perror("store_bench");
                exit(1);
        }
        check(sqlite_files_open(&bench->files, bench->folder, &err), &err);
        check(bus_sqlite_open(&bench->bus, "sqlite", bench->files, &err), &err);
        check(store_sqlite_open(&bench->store, "sqlite", bench->files, &err), &err);
}

static void close_all(struct bench *bench)
{
        store_close(bench->store);
        bus_close(bench->bus);
        sqlite_files_close(bench->files);
        fs_remove_tree(bench->folder, NULL);
}

struct worker {
        struct bench *bench;
        int64_t until;
        int64_t done;
};

static void *publish(void *data)
{
        struct worker *worker = data;
        char body[BODY_BYTES];
        struct error err;

        memset(body, 'x', sizeof(body));
        for (; clock_ms() < worker->until; worker->done++)
                check(bus_publish(worker->bench->bus, QUEUE, body, sizeof(body), &err), &err);
        return NULL;
}

/* What taking one webhook writes: the journal, the queue, the journal. */
static void *take_webhook(void *data)
{
        struct worker *worker = data;
        char body[BODY_BYTES];
        struct error err;

        memset(body, 'x', sizeof(body) - 1);
        body[sizeof(body) - 1] = '\0';
        for (; clock_ms() < worker->until; worker->done++) {
                char id[ID_SIZE];
                const char *ids[] = {id};
                char duplicate[72];
                struct delivery delivery = {.id = id,
                                            .event = "push",
                                            .repo = "acme/api",
                                            .sha256 = id,
                                            .message = body,
                                            .result = "accepted"};

                id_new(id);
                check(store_delivery_add(worker->bench->store, &delivery, duplicate, &err), &err);
                check(bus_publish(worker->bench->bus, QUEUE, body, sizeof(body) - 1, &err), &err);
                check(store_delivery_published(worker->bench->store, ids, 1, &err), &err);
        }
        return NULL;
}

static int64_t cpu_us(void)
{
        struct rusage usage;

        getrusage(RUSAGE_SELF, &usage);
        return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec +
               usage.ru_stime.tv_usec;
}

static void run_threads(struct bench *bench, const char *what, int n, void *(*run)(void *))
{
        pthread_t threads[64];
        struct worker workers[64];
        struct sqlite_stats before;
        struct sqlite_stats after;
        int64_t start = clock_ms();
        int64_t cpu = cpu_us();
        int64_t done = 0;

        sqlite_db_stats(sqlite_files_state(bench->files), &before);
        for (int i = 0; i < n; i++) {
                workers[i] = (struct worker){bench, start + SECONDS_MS, 0};
                pthread_create(&threads[i], NULL, run, &workers[i]);
        }
        for (int i = 0; i < n; i++) {
                pthread_join(threads[i], NULL);
                done += workers[i].done;
        }
        sqlite_db_stats(sqlite_files_state(bench->files), &after);
        printf("%-28s %2d threads %8.0f/s   %.2f syncs, %.0f us of CPU each\n", what, n,
               (double)done * 1000 / (double)(clock_ms() - start),
               (double)(after.syncs - before.syncs) / (double)done,
               (double)(cpu_us() - cpu) / (double)done);
}

static int compare(const void *a, const void *b)
{
        int64_t x = *(const int64_t *)a;
        int64_t y = *(const int64_t *)b;

        return (x > y) - (x < y);
}

static void print_times(const char *what, int64_t *times, size_t n)
{
        qsort(times, n, sizeof(*times), compare);
        printf("%-40s median %8.1f us   99 %% %8.1f us\n", what, (double)times[n / 2] / 1000,
               (double)times[n * 99 / 100] / 1000);
}

static void bench_hop(struct bench *bench)
{
        struct bus_consumer *consumer = NULL;
        const char *queue = "control.queue";
        int64_t times[ROUNDS];
        struct error err;

        check(bus_consume(bench->bus, &consumer, &queue, 1, 1, &err), &err);
        for (size_t i = 0; i < ROUNDS; i++) {
                struct bus_message message;
                int64_t start = clock_ns();

                check(bus_publish(bench->bus, queue, "{}", 2, &err), &err);
                check(bus_receive(consumer, &message, 1, -1, &err), &err);
                check(bus_ack(consumer, message.tag, &err), &err);
                times[i] = clock_ns() - start;
        }
        bus_consumer_close(consumer);
        print_times("publish, receive, acknowledge", times, ROUNDS);
}

static int64_t file_bytes(const struct bench *bench, const char *name)
{
        scoped_text char *path = fs_path(bench->folder, name);
        struct stat st = {0};

        return stat(path, &st) == 0 ? st.st_size : 0;
}

/* @batch: entries of one append: the logger stores what has queued up together. */
static void write_log(struct bench *bench, const char *job_id, int64_t lines, size_t per_entry,
                      size_t batch)
{
        scoped_text char *text = xmalloc(LOG_ENTRY_BYTES_MAX);
        int64_t before = file_bytes(bench, "logs.db") + file_bytes(bench, "logs.db-wal");
        struct log_entry entries[64];
        struct log_entry entry = {.service = "executor",
                                  .job_id = job_id,
                                  .build_id = "b",
                                  .attempt = 1,
                                  .stream = LOG_STREAM_STDOUT,
                                  .first_line = 1,
                                  .bytes = text};
        int64_t start = clock_ns();
        int64_t growth;
        struct error err;

        while (entry.n < LOG_ENTRY_BYTES_MAX - 16 && entry.lines < (int64_t)per_entry) {
                memcpy(text + entry.n, "123456789\n", 10);
                entry.n += 10;
                entry.lines++;
        }
        while (entry.first_line <= lines) {
                for (size_t i = 0; i < batch; i++) {
                        entry.seq++;
                        entries[i] = entry;
                        entry.first_line += entry.lines;
                        entry.offset += (int64_t)entry.n;
                }
                check(store_log_append(bench->store, entries, batch, &err), &err);
        }
        growth = file_bytes(bench, "logs.db") + file_bytes(bench, "logs.db-wal") - before;
        printf("log, %5lld lines an entry %12.0f lines/s   %.1f bytes a line of 10\n",
               (long long)entry.lines, (double)lines * 1e9 / (double)(clock_ns() - start),
               (double)growth / (double)lines);
}

static void bench_windows(struct bench *bench)
{
        int64_t times[ROUNDS];
        struct error err;

        for (size_t i = 0; i < ROUNDS; i++) {
                struct log_window window = {0};
                int64_t start = clock_ns();

                check(store_log_lines(bench->store, &window, "chunks", 1, 1 + random() % LOG_LINES,
                                      500, &err),
                      &err);
                times[i] = clock_ns() - start;
                log_window_done(&window);
        }
        print_times("any window of 500 lines out of 1e6", times, ROUNDS);
}

static void bench_retention(struct bench *bench)
{
        struct retention retention = {.builds_ms = INT64_MAX / 2,
                                      .deliveries_ms = INT64_MAX / 2,
                                      .logs_ms = -1000,
                                      .builds_keep = 1000};
        int64_t start = clock_ms();
        int64_t removed = 1;
        int64_t longest = 0;
        struct error err;

        while (removed > 0) {
                int64_t call = clock_ms();

                check(store_retain(bench->store, &retention, &removed, &err), &err);
                if (clock_ms() - call > longest)
                        longest = clock_ms() - call;
        }
        printf("retention of these logs %10lld ms, longest call %lld ms\n",
               (long long)(clock_ms() - start), (long long)longest);
}

static struct build *make_build(int64_t i)
{
        struct build *build = build_new();
        char id[ID_SIZE];

        id_new(id);
        build->id = build_text(build, "%s", id);
        build->repo = build_text(build, "acme/repo-%d", (int)(i % 50));
        build->branch = i % 7 ? "main" : build_text(build, "fix-%d", (int)(i % 1000));
        build->commit = build_text(build, "%040lld", (long long)i);
        build->message = "Mend what was broken and say why in a sentence or two";
        build->author = build->pusher = "A Developer";
        build->event = i % 20 ? "push" : "pull_request";
        build->state = i % 1000 == 1 ? STATE_TIMEOUT : STATE_SUCCESS;
        build->notified = true;
        build->created_at = wall_ms();
        build_set_jobs(build, 3);
        for (int k = 0; k < 3; k++)
                build->jobs[k].id = build_text(build, "%s-%d", id, k);
        return build;
}

/* until: how many builds there shall be */
static void *insert(void *data)
{
        struct worker *worker = data;
        struct error err;

        for (; worker->done < worker->until; worker->done++) {
                struct build *build = make_build(worker->done);

                check(store_build_insert(worker->bench->store, build, &err), &err);
                build_free(build);
        }
        return NULL;
}

static void insert_builds(struct bench *bench, int64_t n)
{
        pthread_t threads[32];
        struct worker workers[32];
        int64_t start = clock_ms();

        for (int i = 0; i < 32; i++) {
                workers[i] = (struct worker){bench, n * (i + 1) / 32, n * i / 32};
                pthread_create(&threads[i], NULL, insert, &workers[i]);
        }
        for (int i = 0; i < 32; i++)
                pthread_join(threads[i], NULL);
        printf("builds of 3 jobs, 32 threads %8.0f/s\n",
               (double)n * 1000 / (double)(clock_ms() - start + 1));
}

static void bench_list(struct bench *bench, const char *what, const struct build_filter *filter)
{
        int64_t times[ROUNDS];
        struct error err;
        size_t n = 0;

        for (size_t i = 0; i < ROUNDS; i++) {
                struct build_page page = {0};
                int64_t start = clock_ns();

                check(store_builds(bench->store, &page, filter, &err), &err);
                times[i] = clock_ns() - start;
                n = page.n;
                build_page_done(&page);
        }
        printf("%2zu builds, ", n);
        print_times(what, times, ROUNDS);
}

static void bench_lists(struct bench *bench, int64_t n)
{
        scoped_text char *deep = text_format("%lld", (long long)(n / 2));
        scoped_text char *commit = text_format("%040lld", (long long)(n / 3));
        struct build_filter filters[] = {
                {.limit = 50},
                {.limit = 50, .cursor = deep},
                {.limit = 50, .repo = "acme/repo-7"},
                {.limit = 50, .repo = "acme/repo-7", .branch = "main"},
                {.limit = 50, .state = "timeout"},
                {.limit = 50, .repo = "acme/repo-1", .state = "timeout"},
                {.limit = 50, .commit = commit},
                {.limit = 50, .state = "running"},
                {.limit = 50, .repo = "acme/repo-7", .branch = "main", .state = "running"},
        };
        static const char *const names[] = {
                "newest",     "deep in the list", "repository",
                "its branch", "rare state",       "rare state of repository",
                "commit",     "none running",     "none running of a branch"};

        for (size_t i = 0; i < sizeof(filters) / sizeof(*filters); i++)
                bench_list(bench, names[i], &filters[i]);
}

int main(int argc, char **argv)
{
        struct bench bench = {0};
        int64_t builds = 100000;
        struct error err;

        if (argc > 1)
                check(parse_int(&builds, argv[1], 1000, 10000000, &err), &err);
        open_all(&bench);
        for (int n = 1; n <= 64; n = n == 1 ? 16 : n * 4)
                run_threads(&bench, "durable publish of 1 kB", n, publish);
        for (int n = 1; n <= 64; n = n == 1 ? 16 : n * 4)
                run_threads(&bench, "webhook: journal and queue", n, take_webhook);
        bench_hop(&bench);
        write_log(&bench, "chunks", LOG_LINES, LOG_ENTRY_BYTES_MAX, 4);
        write_log(&bench, "single", LOG_LINES / 10, 1, 64);
        bench_windows(&bench);
        bench_retention(&bench);
        insert_builds(&bench, builds);
        bench_lists(&bench, builds);
        close_all(&bench);
        return 0;
}
