#include "step/passwd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"

#include "base/banned.h"

struct field {
        const char *at;
        size_t n;
};

/* name:password:uid:gid:comment:home:shell */
#define FIELDS 7
enum { FIELD_NAME = 0, FIELD_UID = 2, FIELD_HOME = 5 };

static bool split(struct field fields[FIELDS], const char *line, size_t n)
{
        for (int i = 0; i < FIELDS; i++) {
                const char *colon = memchr(line, ':', n);
                size_t len = colon && i < FIELDS - 1 ? (size_t)(colon - line) : n;

                if (!colon && i < FIELDS - 1)
                        return false;
                fields[i] = (struct field){line, len};
                line += i < FIELDS - 1 ? len + 1 : len;
                n -= i < FIELDS - 1 ? len + 1 : len;
        }
        return true;
}

static bool is_number(const struct field *field, uint32_t number)
{
        uint64_t value = 0;

        if (field->n == 0 || field->n > 10)
                return false;
        for (size_t i = 0; i < field->n; i++) {
                if (field->at[i] < '0' || field->at[i] > '9')
                        return false;
                value = value * 10 + (uint64_t)(field->at[i] - '0');
        }
        return value == number;
}

static bool copy(char *to, size_t size, const struct field *field)
{
        if (field->n == 0 || field->n >= size || memchr(field->at, '\0', field->n))
                return false;
        memcpy(to, field->at, field->n);
        to[field->n] = '\0';
        return true;
}

bool passwd_find(struct passwd_entry *ret, const char *bytes, size_t n, uint32_t uid)
{
        while (n > 0) {
                const char *newline = memchr(bytes, '\n', n);
                size_t len = newline ? (size_t)(newline - bytes) : n;
                struct field fields[FIELDS];

                if (len <= PASSWD_LINE_MAX && split(fields, bytes, len) &&
                    is_number(&fields[FIELD_UID], uid) &&
                    copy(ret->name, sizeof(ret->name), &fields[FIELD_NAME]) &&
                    copy(ret->home, sizeof(ret->home), &fields[FIELD_HOME]))
                        return true;
                len += newline ? 1 : 0;
                bytes += len;
                n -= len;
        }
        return false;
}

bool passwd_lookup(struct passwd_entry *ret, const char *path, uint32_t uid)
{
        scoped_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        scoped_str struct str bytes = STR_INIT;
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
                return false;
        if (str_read_fd(&bytes, fd, PASSWD_BYTES_MAX, NULL) < 0)
                return false;
        return passwd_find(ret, bytes.data, bytes.len, uid);
}
