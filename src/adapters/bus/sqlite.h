#pragma once
/*
 * sqlite - a bus for one process: queues in the data folder's databases, topics in memory
 */
struct bus;
struct error;

/** bus_sqlite_open() - @context: a struct sqlite_files, which must outlive the bus */
int bus_sqlite_open(struct bus **ret, const char *url, void *context, struct error *err);
