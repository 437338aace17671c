#pragma once
/*
 * str - text that grows
 *
 * data is never NULL and always ends with a NUL that len does not count; bytes may be anything.
 * Appending cannot fail: out of memory aborts the process (the parent restarts it, queues
 * redeliver). What comes from outside is read with a named limit (str_read_fd).
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct error;

struct str {
        char *data;
        size_t len;
        size_t cap; /* 0: data is the shared empty text */
};

extern char str_empty_data[1];
#define STR_INIT                     \
        {                            \
                str_empty_data, 0, 0 \
        }
#define scoped_str __attribute__((__cleanup__(str_done)))

void str_init(struct str *str);
void str_done(struct str *str);
/** str_clear() - empty it, keep the memory */
void str_clear(struct str *str);
/** str_reserve() - room for `more` further bytes */
void str_reserve(struct str *str, size_t more);
/** str_truncate() - shorten to len bytes (at most the present length) */
void str_truncate(struct str *str, size_t len);
/** str_consume() - drop the first n bytes */
void str_consume(struct str *str, size_t n);

void str_add(struct str *str, const char *text);
void str_add_bytes(struct str *str, const void *bytes, size_t n);
void str_add_char(struct str *str, char c);
void str_printf(struct str *str, const char *format, ...)
        __attribute__((__format__(__printf__, 2, 3)));
void str_vprintf(struct str *str, const char *format, va_list args)
        __attribute__((__format__(__printf__, 2, 0)));

/** str_steal() - the text as a heap string that the caller frees; str is empty afterwards */
char *str_steal(struct str *str);

/**
 * str_read_fd() - append everything up to end of file
 * @max: most bytes to take; more is -ERROR_LIMIT
 */
int str_read_fd(struct str *str, int fd, size_t max, struct error *err);
/** str_read_file() - the same for a path */
int str_read_file(struct str *str, const char *path, size_t max, struct error *err);

/** text_copy() - strdup that cannot fail; NULL stays NULL */
char *text_copy(const char *text);
/** text_format() - asprintf that cannot fail; the caller frees */
char *text_format(const char *format, ...) __attribute__((__format__(__printf__, 1, 2)));
/** xmalloc(), xcalloc(), xrealloc() - memory, or abort() */
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *old, size_t size);

bool text_starts(const char *text, const char *prefix);
bool text_ends(const char *text, const char *suffix);
/** text_or() - text, or the fallback when it is NULL or empty */
const char *text_or(const char *text, const char *fallback);
/** utf8_valid() - whether n bytes are well-formed UTF-8 (no surrogates, nothing over U+10FFFF) */
bool utf8_valid(const void *bytes, size_t n);
/** str_add_utf8() - append bytes as valid UTF-8: each run that is none becomes one U+FFFD */
void str_add_utf8(struct str *str, const void *bytes, size_t n);
