#pragma once
/*
 * passwd - a user's name and home from /etc/passwd of the image
 *
 * By hand, because the image's own C library may be absent and the file may be hostile: only a
 * regular file, at most PASSWD_BYTES_MAX of it, longer lines than PASSWD_LINE_MAX are passed over.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PASSWD_BYTES_MAX (1024 * 1024)
#define PASSWD_LINE_MAX 1024

struct passwd_entry {
        char name[64];
        char home[PASSWD_LINE_MAX];
};

/** passwd_find() - the first entry of uid in n bytes; false when there is none */
bool passwd_find(struct passwd_entry *ret, const char *bytes, size_t n, uint32_t uid);
/** passwd_lookup() - the same in a file */
bool passwd_lookup(struct passwd_entry *ret, const char *path, uint32_t uid);
