#pragma once
/*
 * fs - files and folders: made, replaced and removed without surprises
 *
 * Nothing here follows a symbolic link out of the tree it was given.
 */
#include <stddef.h>
#include <sys/types.h>

struct error;

/** fs_mkdirs() - mkdir -p; folders that are missing get the mode */
int fs_mkdirs(const char *path, mode_t mode, struct error *err);
/**
 * fs_write_atomic() - replace a file as a whole: temporary file, fsync, rename, fsync of the folder
 *
 * After a crash the file has its old or its new content, never a mixture.
 */
int fs_write_atomic(const char *path, const void *bytes, size_t n, mode_t mode, struct error *err);
/** fs_remove_tree() - rm -rf of one tree, without following links or crossing file systems; a path
 *  that does not exist is success. Folders without permission bits are opened up on the way. */
int fs_remove_tree(const char *path, struct error *err);
/** fs_write_all() - write n bytes to fd, through EINTR and short writes */
int fs_write_all(int fd, const void *bytes, size_t n, struct error *err);
/** fs_path() - "a/b" on the heap; the caller frees */
char *fs_path(const char *folder, const char *name);
