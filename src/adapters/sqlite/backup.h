#pragma once
/*
 * backup - both databases of a data folder as one file, and back
 *
 * A backup is a tar of argon.db and logs.db, each as one consistent copy; `tar tf` shows it. The
 * state is copied first: whatever it knows of a log was in the logs by then.
 */
struct error;
struct sqlite_files;

/** sqlite_backup() - while everything runs; the file must not exist, and exists whole or not at all
 */
int sqlite_backup(struct sqlite_files *files, const char *path, struct error *err);

/**
 * sqlite_restore() - a backup into a data folder that is empty or does not exist
 *
 * Both databases are checked (ours, of a known schema, sound) before either takes its place.
 *
 * Return: -ERROR_CONFLICT when the folder is not empty, -ERROR_INVALID when the file is no backup
 * or is damaged.
 */
int sqlite_restore(const char *path, const char *folder, struct error *err);
