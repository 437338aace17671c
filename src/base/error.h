#pragma once
/*
 * error - what went wrong, as a value on the caller's stack
 *
 * Whatever can fail returns int and takes `struct error *err` last: 0, or -kind. *err is untouched
 * on success, and nothing in it needs freeing. The kind is for the program, the text for people:
 * what was tried, on what, why it failed and what to do. err may be NULL where nobody asks.
 */
#define ERROR_TEXT_MAX 1024

enum error_kind {
        ERROR_INVALID = 1, /* the input is wrong; trying again changes nothing (dead letter) */
        ERROR_NOT_FOUND,   /* what was named does not exist */
        ERROR_DENIED,      /* not allowed, or credentials refused */
        ERROR_LIMIT,       /* a named limit was reached */
        ERROR_UNAVAILABLE, /* try again later (retry) */
        ERROR_CONFLICT,    /* somebody else changed it first: read again and decide anew */
        ERROR_CANCELLED,   /* the caller asked to stop */
        ERROR_BUG,         /* cannot happen: stop */
};

struct error {
        int kind;
        char text[ERROR_TEXT_MAX];
};

/** error_set() - fill *err; Return: -kind, so that `return error_set(...)` reads well */
int error_set(struct error *err, enum error_kind kind, const char *format, ...)
        __attribute__((__format__(__printf__, 3, 4)));

/** error_set_errno() - like error_set() with ": strerror" appended and the kind that errno means */
int error_set_errno(struct error *err, const char *format, ...)
        __attribute__((__format__(__printf__, 2, 3)));

/** error_wrap() - put "context: " before the text; Return: -err->kind (-ERROR_BUG if err is NULL)
 */
int error_wrap(struct error *err, const char *format, ...)
        __attribute__((__format__(__printf__, 2, 3)));

/** error_kind_name() - the kind as a lower-case word, for logs and metrics */
const char *error_kind_name(int kind);
