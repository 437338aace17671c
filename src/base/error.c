#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/banned.h"

static int kind_of_errno(int number)
{
        switch (number) {
        case ENOENT:
        case ENOTDIR:
        case ESRCH:
                return ERROR_NOT_FOUND;
        case EACCES:
        case EPERM:
        case EROFS:
                return ERROR_DENIED;
        case ENOSPC:
        case EDQUOT:
        case EFBIG:
        case E2BIG:
        case EMFILE:
        case ENAMETOOLONG:
                return ERROR_LIMIT;
        case EINVAL:
        case EISDIR:
        case ELOOP:
                return ERROR_INVALID;
        default:
                return ERROR_UNAVAILABLE;
        }
}

/* "a: b", where a gives way when both do not fit: the cause is worth more than the context. */
static void join(struct error *err, const char *a, const char *b)
{
        size_t room = sizeof(err->text) - 3;
        size_t n = strnlen(b, room);
        size_t m = strnlen(a, room - n);

        memcpy(err->text, a, m);
        memcpy(err->text + m, ": ", 2);
        memcpy(err->text + m + 2, b, n);
        err->text[m + 2 + n] = '\0';
}

int error_set(struct error *err, enum error_kind kind, const char *format, ...)
{
        va_list args;

        if (!err)
                return -(int)kind;
        va_start(args, format);
        vsnprintf(err->text, sizeof(err->text), format, args);
        va_end(args);
        err->kind = kind;
        return -(int)kind;
}

int error_set_errno(struct error *err, const char *format, ...)
{
        int number = errno;
        int kind = kind_of_errno(number);
        char text[ERROR_TEXT_MAX];
        va_list args;

        if (!err)
                return -kind;
        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        join(err, text, strerror(number));
        err->kind = kind;
        return -kind;
}

int error_wrap(struct error *err, const char *format, ...)
{
        char context[ERROR_TEXT_MAX];
        char old[ERROR_TEXT_MAX];
        va_list args;

        if (!err)
                return -ERROR_BUG;
        va_start(args, format);
        vsnprintf(context, sizeof(context), format, args);
        va_end(args);
        snprintf(old, sizeof(old), "%s", err->text);
        join(err, context, old);
        return -err->kind;
}

const char *error_kind_name(int kind)
{
        switch (kind) {
        case ERROR_INVALID:
                return "invalid";
        case ERROR_NOT_FOUND:
                return "not_found";
        case ERROR_DENIED:
                return "denied";
        case ERROR_LIMIT:
                return "limit";
        case ERROR_UNAVAILABLE:
                return "unavailable";
        case ERROR_CONFLICT:
                return "conflict";
        case ERROR_CANCELLED:
                return "cancelled";
        default:
                return "bug";
        }
}
