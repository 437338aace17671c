/*
 * Prometheus text (version 0.0.4). What cannot be read right now is left out of the scrape and
 * counted in argon_scrape_errors, so that a dashboard shows a gap and not a wrong number.
 */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/build.h"
#include "pipeline/dashboard/parts.h"
#include "pipeline/topology.h"
#include "ports/bus.h"
#include "ports/store.h"

#include "base/banned.h"

static void add_head(struct str *str, const char *name, const char *type, const char *help)
{
        str_printf(str, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static int add_builds(struct str *str, struct store *store)
{
        struct error err = {0};
        int64_t counts[STORE_STATES];

        if (store_build_counts(store, counts, &err) < 0)
                return 1;
        add_head(str, "argon_builds", "gauge", "Builds that are kept, by state.");
        for (int state = 0; state < STORE_STATES; state++)
                str_printf(str, "argon_builds{state=\"%s\"} %lld\n", state_name((enum state)state),
                           (long long)counts[state]);
        return 0;
}

static int add_jobs(struct str *str, struct store *store)
{
        struct build_page page = {0};
        struct error err = {0};
        int64_t counts[STORE_STATES] = {0};

        if (store_builds_unfinished(store, &page, &err) < 0)
                return 1;
        for (size_t i = 0; i < page.n; i++) {
                for (size_t j = 0; j < page.builds[i]->n_jobs; j++)
                        counts[page.builds[i]->jobs[j].state]++;
        }
        build_page_done(&page);
        add_head(str, "argon_jobs", "gauge", "Jobs of builds that have not ended, by state.");
        for (int state = 0; state < STORE_STATES; state++)
                str_printf(str, "argon_jobs{state=\"%s\"} %lld\n", state_name((enum state)state),
                           (long long)counts[state]);
        return 0;
}

static int add_queue(struct str *ready, struct str *unsettled, struct bus *bus, const char *queue)
{
        int64_t n_ready;
        int64_t n_unsettled;
        struct error err = {0};

        if (bus_depth(bus, queue, &n_ready, &n_unsettled, &err) < 0)
                return 1;
        str_printf(ready, "argon_queue_ready{queue=\"%s\"} %lld\n", queue, (long long)n_ready);
        str_printf(unsettled, "argon_queue_unsettled{queue=\"%s\"} %lld\n", queue,
                   (long long)n_unsettled);
        return 0;
}

static int add_queues(struct str *str, struct bus *bus)
{
        scoped_str struct str ready = STR_INIT;
        scoped_str struct str unsettled = STR_INIT;
        size_t n;
        const struct topology_queue *queues = topology_queues(&n);
        int errors = 0;

        for (size_t i = 0; i < n; i++) {
                scoped_text char *dead = text_format("%s.dead", queues[i].name);

                errors += add_queue(&ready, &unsettled, bus, queues[i].name);
                errors += add_queue(&ready, &unsettled, bus, dead);
        }
        add_head(str, "argon_queue_ready", "gauge", "Messages that wait for a consumer.");
        str_add(str, ready.data);
        add_head(str, "argon_queue_unsettled", "gauge", "Messages that a consumer has in hand.");
        str_add(str, unsettled.data);
        return errors;
}

static int add_executors(struct str *str, struct store *store)
{
        struct executor_list list = {0};
        struct error err = {0};
        int64_t slots = 0;
        int64_t running = 0;

        if (store_executors(store, &list, &err) < 0)
                return 1;
        for (size_t i = 0; i < list.n; i++) {
                slots += list.rows[i].slots;
                running += list.rows[i].running;
        }
        executor_list_done(&list);
        add_head(str, "argon_executor_slots", "gauge", "Jobs that executors can run at once.");
        str_printf(str, "argon_executor_slots %lld\n", (long long)slots);
        add_head(str, "argon_executor_jobs", "gauge", "Jobs that executors run.");
        str_printf(str, "argon_executor_jobs %lld\n", (long long)running);
        return 0;
}

static void add_services(struct str *str, const struct dashboard_options *options)
{
        const char *last = "";

        for (size_t i = 0; i < options->n_metrics; i++) {
                const struct dashboard_metric *metric = &options->metrics[i];

                if (strcmp(metric->name, last) != 0)
                        add_head(str, metric->name, metric->type, metric->help);
                last = metric->name;
                str_add(str, metric->name);
                if (*metric->labels)
                        str_printf(str, "{%s}", metric->labels);
                str_printf(str, " %lld\n", (long long)metric->read(metric->data));
        }
}

static int count_descriptors(void)
{
        DIR *dir = opendir("/proc/self/fd");
        int n = 0;

        if (!dir)
                return 0;
        while (readdir(dir))
                n++;
        closedir(dir);
        return n > 3 ? n - 3 : 0; /* ".", ".." and the folder itself */
}

static void add_process(struct str *str, const struct dashboard *dashboard)
{
        scoped(file) FILE *file = fopen("/proc/self/statm", "re");
        long total = 0;
        long resident = 0;

        if (file && fscanf(file, "%ld %ld", &total, &resident) == 2) {
                add_head(str, "process_resident_memory_bytes", "gauge", "Memory in RAM.");
                str_printf(str, "process_resident_memory_bytes %lld\n",
                           (long long)resident * sysconf(_SC_PAGESIZE));
        }
        add_head(str, "process_open_fds", "gauge", "Open file descriptors.");
        str_printf(str, "process_open_fds %d\n", count_descriptors());
        add_head(str, "argon_uptime_seconds", "gauge", "Time since the services started.");
        str_printf(str, "argon_uptime_seconds %lld\n",
                   (long long)(clock_ms() - dashboard->started_ms) / 1000);
        add_head(str, "argon_info", "gauge", "Always 1, with the version.");
        str_printf(str, "argon_info{version=\"%s\"} 1\n", ARGON_VERSION);
}

enum http_result metrics_text(struct http_request *request, void *data)
{
        struct dashboard *dashboard = data;
        scoped_str struct str text = STR_INIT;
        int errors = 0;

        errors += add_builds(&text, dashboard->options.store);
        errors += add_jobs(&text, dashboard->options.store);
        errors += add_queues(&text, dashboard->options.bus);
        errors += add_executors(&text, dashboard->options.store);
        add_services(&text, &dashboard->options);
        add_process(&text, dashboard);
        add_head(&text, "argon_scrape_errors", "gauge",
                 "Numbers that could not be read for this scrape.");
        str_printf(&text, "argon_scrape_errors %d\n", errors);
        http_reply(request, 200, "text/plain; version=0.0.4; charset=utf-8", text.data, text.len);
        return HTTP_DONE;
}
