#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/scoped.h"

#include "base/banned.h"

char str_empty_data[1];

void *xmalloc(size_t size)
{
        void *memory = malloc(size ? size : 1);

        if (!memory)
                abort();
        return memory;
}

void *xcalloc(size_t count, size_t size)
{
        void *memory = calloc(count ? count : 1, size ? size : 1);

        if (!memory)
                abort();
        return memory;
}

void *xrealloc(void *old, size_t size)
{
        void *memory = realloc(old, size ? size : 1);

        if (!memory)
                abort();
        return memory;
}

void str_init(struct str *str)
{
        str->data = str_empty_data;
        str->len = 0;
        str->cap = 0;
}

void str_done(struct str *str)
{
        if (str->cap)
                free(str->data);
        str_init(str);
}

void str_clear(struct str *str)
{
        str_truncate(str, 0);
}

void str_reserve(struct str *str, size_t more)
{
        size_t need = str->len + more + 1;
        size_t cap = str->cap ? str->cap : 32;

        if (need <= more)
                abort();
        if (need <= str->cap)
                return;
        while (cap < need)
                cap += cap / 2 + 16;
        str->data = xrealloc(str->cap ? str->data : NULL, cap);
        str->cap = cap;
        str->data[str->len] = '\0';
}

void str_truncate(struct str *str, size_t len)
{
        if (len >= str->len)
                return;
        str->len = len;
        str->data[len] = '\0';
}

void str_consume(struct str *str, size_t n)
{
        if (n >= str->len) {
                str_clear(str);
                return;
        }
        if (!n)
                return;
        memmove(str->data, str->data + n, str->len - n + 1);
        str->len -= n;
}

void str_add_bytes(struct str *str, const void *bytes, size_t n)
{
        if (!n)
                return;
        str_reserve(str, n);
        memcpy(str->data + str->len, bytes, n);
        str->len += n;
        str->data[str->len] = '\0';
}

void str_add(struct str *str, const char *text)
{
        str_add_bytes(str, text, strlen(text));
}

void str_add_char(struct str *str, char c)
{
        str_add_bytes(str, &c, 1);
}

void str_vprintf(struct str *str, const char *format, va_list args)
{
        va_list again;
        int n;

        va_copy(again, args);
        n = vsnprintf(NULL, 0, format, again);
        va_end(again);
        if (n < 0)
                abort();
        str_reserve(str, (size_t)n);
        vsnprintf(str->data + str->len, (size_t)n + 1, format, args);
        str->len += (size_t)n;
}

void str_printf(struct str *str, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        str_vprintf(str, format, args);
        va_end(args);
}

char *str_steal(struct str *str)
{
        char *text = str->cap ? str->data : text_copy("");

        str_init(str);
        return text;
}

int str_read_fd(struct str *str, int fd, size_t max, struct error *err)
{
        size_t taken = 0;

        for (;;) {
                size_t want = max - taken < 65536 ? max - taken + 1 : 65536;
                ssize_t n;

                str_reserve(str, want);
                n = read(fd, str->data + str->len, want);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_set_errno(err, "read");
                if (n == 0)
                        return 0;
                taken += (size_t)n;
                if (taken > max)
                        return error_set(err, ERROR_LIMIT, "more than %zu bytes", max);
                str->len += (size_t)n;
                str->data[str->len] = '\0';
        }
}

int str_read_file(struct str *str, const char *path, size_t max, struct error *err)
{
        scoped_fd int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd < 0)
                return error_set_errno(err, "open '%s'", path);
        if (str_read_fd(str, fd, max, err) < 0)
                return error_wrap(err, "read '%s'", path);
        return 0;
}

char *text_copy(const char *text)
{
        size_t size;
        char *copy;

        if (!text)
                return NULL;
        size = strlen(text) + 1;
        copy = xmalloc(size);
        memcpy(copy, text, size);
        return copy;
}

char *text_format(const char *format, ...)
{
        struct str str = STR_INIT;
        va_list args;

        va_start(args, format);
        str_vprintf(&str, format, args);
        va_end(args);
        return str_steal(&str);
}

bool text_starts(const char *text, const char *prefix)
{
        return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool text_ends(const char *text, const char *suffix)
{
        size_t n = strlen(text);
        size_t m = strlen(suffix);

        return n >= m && memcmp(text + n - m, suffix, m) == 0;
}

const char *text_or(const char *text, const char *fallback)
{
        return text && *text ? text : fallback;
}

/* The length of the well-formed sequence at p, or 0 (Unicode 15, table 3-7). */
static size_t utf8_sequence(const unsigned char *p, const unsigned char *end)
{
        size_t n = 0;
        unsigned low = 0x80;
        unsigned high = 0xbf;

        if (*p < 0x80)
                return 1;
        if (*p >= 0xc2 && *p <= 0xdf)
                n = 2;
        else if (*p >= 0xe0 && *p <= 0xef)
                n = 3;
        else if (*p >= 0xf0 && *p <= 0xf4)
                n = 4;
        if (n == 0 || (size_t)(end - p) < n)
                return 0;
        if (*p == 0xe0)
                low = 0xa0;
        if (*p == 0xed)
                high = 0x9f;
        if (*p == 0xf0)
                low = 0x90;
        if (*p == 0xf4)
                high = 0x8f;
        if (p[1] < low || p[1] > high)
                return 0;
        for (size_t i = 2; i < n; i++) {
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
        }
        return n;
}

bool utf8_valid(const void *bytes, size_t n)
{
        const unsigned char *p = bytes;
        const unsigned char *end = p + n;

        while (p < end) {
                size_t step = utf8_sequence(p, end);

                if (step == 0)
                        return false;
                p += step;
        }
        return true;
}

void str_add_utf8(struct str *str, const void *bytes, size_t n)
{
        const unsigned char *p = bytes;
        const unsigned char *end = p + n;

        while (p < end) {
                const unsigned char *from = p;
                size_t step = 1;

                while (p < end && (step = utf8_sequence(p, end)) > 0)
                        p += step;
                str_add_bytes(str, from, (size_t)(p - from));
                if (p == end)
                        return;
                while (p < end && utf8_sequence(p, end) == 0)
                        p++;
                str_add(str, "\xef\xbf\xbd");
        }
}
