#pragma once
/*
 * settings - everything that can be configured, in one table
 *
 * The table feeds the file, the environment, the flags, `argon config list` and argon.conf(5).
 * Strength: flag, environment, file, default. Files: the one of --config; else
 * /etc/argon/argon.conf, then /etc/argon/conf.d/ (names that end with .conf), and for the command
 * line's own keys (server, token) the user's ~/.config/argon/config.
 *
 * Texts live as long as the settings. Sizes in bytes, times in milliseconds.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "domain/plan.h"

struct config;
struct config_key;
struct error;

#define SETTINGS_FILE "/etc/argon/argon.conf"
#define SETTINGS_FOLDER "/etc/argon/conf.d"

struct settings {
        struct config *config;
        const char *data;
        const char *listen; /* one per line */
        const char *url;    /* NULL: what is listened on */
        const char *server; /* NULL: this machine's */
        const char *webhook_secret;
        const char *token;
        const char *bus;
        const char *store;
        const char *engine;
        const char *docker_host;
        const char *image;
        int64_t slots; /* 0: cores */
        const char *labels;
        const char *git_allow;
        const char *git_rewrite;
        int64_t git_timeout_ms;
        int64_t git_size_max;
        const char *mail;
        const char *mail_from; /* NULL: argon@HOST */
        const char *mail_to;
        const char *mail_policy;
        int64_t job_timeout_ms, job_timeout_max_ms;
        int64_t job_memory, job_memory_max;
        int64_t job_millicpus, job_millicpus_max;
        int64_t job_pids, job_pids_max;
        int64_t job_disk, job_disk_max;
        int64_t retention_logs_ms;
        const char *retention_builds; /* "100 and 180d" */
        int64_t retention_keep;       /* its two halves */
        int64_t retention_builds_ms;
        int64_t retention_deliveries_ms;
        int64_t orphan_max_ms;
        int64_t log_max;
        const char *log_level;
        int64_t grace_ms;
};

/** struct settings_flag - one that was given on the command line: @key of the table */
struct settings_flag {
        const char *key;
        const char *flag;
        const char *value;
};

/**
 * settings_load() - read all sources and check what hangs together
 * @file: of --config, or NULL
 * @client: the caller only speaks to a server: files of the server that may not be read are passed
 *         over (they hold its secrets)
 */
int settings_load(struct settings **ret, const char *file, bool client,
                  const struct settings_flag *flags, size_t n_flags, struct error *err);
void settings_free(struct settings *settings);

static inline void settings_freep(struct settings **settings)
{
        if (*settings)
                settings_free(*settings);
}

const struct config_key *settings_table(size_t *ret_n);
/** settings_files() - the files that settings_load() looks at, one per line, also those that do not
 *  exist; the caller frees */
char *settings_files(const char *file);
/** settings_limits() - what a job gets and may ask for */
void settings_limits(const struct settings *settings, struct plan_limits *ret);
