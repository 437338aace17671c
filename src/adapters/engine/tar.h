#pragma once
/*
 * tar - archives written to a socket: what a Docker daemon takes instead of a folder
 *
 * POSIX tar (pax). Written are files, folders and symbolic links with their modes and numeric
 * owners; a hard link becomes a file of its own; FIFOs, sockets and devices are left out.
 * The descriptor must be a socket, as nobody may raise SIGPIPE here.
 */
#include <sys/types.h>

struct error;

/** tar_add_file() - one regular file under another name and mode, owned by root */
int tar_add_file(int to, const char *name, const char *path, mode_t mode, struct error *err);
/** tar_add_folder() - a folder under another name, and everything below it, without following links
 *  or crossing file systems */
int tar_add_folder(int to, const char *name, const char *folder, struct error *err);
/** tar_finish() - the end of the archive */
int tar_finish(int to, struct error *err);
