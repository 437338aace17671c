#pragma once
/*
 * logger - log.queue into the store, and old records out of it
 *
 * The only writer of log entries. One thread takes entries in batches and stores each batch in one
 * commit, then wakes up those who follow a job (topic "log.JOB"). A second one removes what is past
 * its retention, once an hour.
 */
#include "ports/store.h"

struct bus;
struct error;
struct logger;

/** struct logger_options - ports are borrowed; @retention_every_ms: 0: one hour */
struct logger_options {
        struct bus *bus;
        struct store *store;
        struct retention retention;
        int64_t retention_every_ms;
};

int logger_open(struct logger **ret, const struct logger_options *options, struct error *err);
void logger_close(struct logger *logger);
