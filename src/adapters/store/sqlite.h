#pragma once
/*
 * sqlite - the store in the data folder's databases
 */
struct error;
struct store;

/** store_sqlite_open() - @context: a struct sqlite_files, which must outlive the store */
int store_sqlite_open(struct store **ret, const char *url, void *context, struct error *err);
