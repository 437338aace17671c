#pragma once
/*
 * db - one SQLite file: group commit for those who write, connections for those who read
 *
 * A write is a function that runs inside a transaction on the file's only writing connection.
 * Writes that come while another commits share the next transaction, each in a savepoint of its
 * own: one that fails does not take its neighbours along. The caller blocks until the commit.
 *
 * A write may be run more than once (when its transaction was lost, by a full disk say, it is
 * tried again alone), so it must not change anything but the database before it returns, except
 * results that it sets anew each time.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct sqlite_conn;
struct sqlite_db;

/**
 * struct sqlite_schema - what a file must look like
 * @application: marks the file as ours
 * @migrations: SQL that leads from version i to i + 1; the newest version is their number
 */
struct sqlite_schema {
        int application;
        int page_size;
        const char *const *migrations;
        size_t n_migrations;
};

/**
 * struct sqlite_task - one write
 * @run: inside the transaction; Return: 0, or -kind to undo what it did
 * @committed: right after the commit, in the order of commits, before the caller goes on; may be
 *             NULL. It must be short and must not write.
 * @lazy: need not survive a loss of power (it does survive the death of the process)
 */
struct sqlite_task {
        int (*run)(struct sqlite_conn *conn, void *data, struct error *err);
        void (*committed)(void *data);
        void *data;
        bool lazy;
};

/** struct sqlite_stats - @syncs: commits that waited for the disk */
struct sqlite_stats {
        uint64_t writes;
        uint64_t commits;
        uint64_t syncs;
};

/**
 * sqlite_db_open() - open or make the file, and bring its schema up to date
 *
 * Before a schema is changed, a copy of the file is made beside it (PATH.pre-VERSION).
 * Return: -ERROR_INVALID for a file that is not ours or of a newer Argon.
 */
int sqlite_db_open(struct sqlite_db **ret, const char *path, const struct sqlite_schema *schema,
                   struct error *err);
void sqlite_db_close(struct sqlite_db *db);

int sqlite_db_write(struct sqlite_db *db, const struct sqlite_task *task, struct error *err);
/** sqlite_db_read() - run inside a read transaction: one state of the file throughout */
int sqlite_db_read(struct sqlite_db *db,
                   int (*run)(struct sqlite_conn *conn, void *data, struct error *err), void *data,
                   struct error *err);
/** sqlite_db_copy() - a consistent, compact copy; the target must not exist */
int sqlite_db_copy(struct sqlite_db *db, const char *target, struct error *err);
void sqlite_db_stats(struct sqlite_db *db, struct sqlite_stats *ret);
