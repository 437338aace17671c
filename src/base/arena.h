#pragma once
/*
 * arena - memory that is freed all at once
 *
 * A decoded document owns an arena; the texts and arrays in it live as long as the document.
 */
#include <stddef.h>

struct arena;

struct arena *arena_new(void);
void arena_free(struct arena *arena);
/** arena_alloc() - zeroed memory; cannot fail (aborts) */
void *arena_alloc(struct arena *arena, size_t size);
/** arena_copy() - a copy of the text; NULL stays NULL */
char *arena_copy(struct arena *arena, const char *text);
char *arena_copy_n(struct arena *arena, const char *text, size_t n);
char *arena_format(struct arena *arena, const char *format, ...)
        __attribute__((__format__(__printf__, 2, 3)));
