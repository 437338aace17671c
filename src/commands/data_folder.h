#pragma once
/*
 * data_folder - the files by which a server and the command line of one machine find each other
 *
 * DATA/lock    held by the server, with the pid of its parent process
 * DATA/listen  ADDR:PORT, one per line
 * DATA/token   the administrator's token, mode 0600
 * DATA/webhook-secret  made at the first start, mode 0600
 */
#include <stdbool.h>

struct error;

#define DATA_SECRET_BYTES_MAX (64 * 1024)

/** data_folder_open() - make it where it is missing (0700), and take its lock
 *  @ret_lock: descriptor that holds the lock (close-on-exec)
 *
 *  Return: -ERROR_CONFLICT when another server has it; the text names its pid. */
int data_folder_open(const char *data, int *ret_lock, struct error *err);
/** data_folder_locked() - whether a server runs on it, and its pid (0: unknown) */
bool data_folder_locked(const char *data, int *ret_pid);
/** data_folder_secret() - read DATA/name, or make it (64 hex digits, 0600)
 *  @ret: on the heap, without newlines at its end; @ret_made: whether it is new */
int data_folder_secret(const char *data, const char *name, char **ret, bool *ret_made,
                       struct error *err);
/** data_folder_keep() - make DATA/name hold this text (0600) */
int data_folder_keep(const char *data, const char *name, const char *text, struct error *err);
/** data_folder_read() - a small text file of it, on the heap, trimmed; -ERROR_NOT_FOUND */
int data_folder_read(const char *data, const char *name, char **ret, struct error *err);
