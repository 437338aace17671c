#pragma once
/*
 * files - the two databases of a data folder, opened once and shared by bus and store
 *
 * argon.db holds state and queues, logs.db the logs and their queue; each has one writer. The
 * composition root opens them, hands them as context to bus_sqlite_open() and store_sqlite_open(),
 * and closes them after both. A folder can be open once at a time on this machine: a second try is
 * refused, from this process too.
 */
struct error;
struct sqlite_db;
struct sqlite_files;

/** sqlite_files_open() - makes the folder (0700) and the files if they are missing
 *  Return: -ERROR_CONFLICT when the folder is open already, by whom is in the text */
int sqlite_files_open(struct sqlite_files **ret, const char *folder, struct error *err);
void sqlite_files_close(struct sqlite_files *files);
static inline void sqlite_files_freep(struct sqlite_files **files)
{
        if (*files)
                sqlite_files_close(*files);
}

struct sqlite_db *sqlite_files_state(struct sqlite_files *files);
struct sqlite_db *sqlite_files_logs(struct sqlite_files *files);
const char *sqlite_files_folder(struct sqlite_files *files);
