#pragma once
/*
 * serve - all services in this process, from their ports to their end
 */
#include <stddef.h>

struct dashboard_metric;
struct error;
struct settings;
struct webhook;

#define SERVE_LISTENERS_MAX 16

/**
 * struct serve_options - borrowed for the call
 * @listen_fds: bound and listening, n of them; @url: what links start with, no slash at the end
 * @ready_fd: gets one byte once everything runs
 */
struct serve_options {
        const struct settings *settings;
        const int *listen_fds;
        size_t n_listen_fds;
        const char *url;
        const char *token;
        const char *webhook_secret;
        int ready_fd;
};

/**
 * serve_run() - open everything, run until SIGTERM, SIGINT or SIGHUP, drain, close
 *
 * Must be called before any thread was started.
 *
 * Return: 0 after a drain; -kind when something could not be opened.
 */
int serve_run(const struct serve_options *options, struct error *err);

/** serve_metrics() - what services count, for /metrics; the caller frees */
struct dashboard_metric *serve_metrics(struct webhook *webhook, size_t *ret_n);
