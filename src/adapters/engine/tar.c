/*
 * Names and targets of up to 100 bytes and sizes below 8 GiB fit into the plain header; what does
 * not fit stands in a pax record before it.
 */
#include "adapters/engine/tar.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"

#include "base/banned.h"

#define BLOCK 512
#define NAME_SIZE 100
#define PLAIN_SIZE_MAX INT64_C(077777777777)
#define PLAIN_ID_MAX 07777777
#define DEPTH_MAX 512
#define COPY_SIZE (64 * 1024)

/* The header as POSIX draws it. */
struct tar_header {
        char name[NAME_SIZE];
        char mode[8];
        char uid[8];
        char gid[8];
        char size[12];
        char mtime[12];
        char sum[8];
        char type;
        char link[NAME_SIZE];
        char magic[6];
        char version[2];
        char rest[247];
};

_Static_assert(sizeof(struct tar_header) == BLOCK, "a tar header is one block");

struct tar_entry {
        const char *name;
        const char *link; /* target, or "" */
        char type;        /* '0' file, '2' symbolic link, '5' folder, 'x' pax records */
        mode_t mode;
        uid_t uid;
        gid_t gid;
        int64_t size;
        int64_t mtime;
};

static int put(int to, const void *bytes, size_t n, struct error *err)
{
        const char *at = bytes;

        while (n > 0) {
                ssize_t sent = send(to, at, n, MSG_NOSIGNAL);

                if (sent < 0 && errno == EINTR)
                        continue;
                if (sent < 0)
                        return error_set_errno(err, "send an archive");
                at += sent;
                n -= (size_t)sent;
        }
        return 0;
}

static int put_padding(int to, int64_t size, struct error *err)
{
        static const char zeros[BLOCK];
        size_t rest = (size_t)(size % BLOCK);

        return rest ? put(to, zeros, BLOCK - rest, err) : 0;
}

static void octal(char *field, size_t n, int64_t value)
{
        char text[24];

        snprintf(text, sizeof(text), "%0*" PRIo64, (int)n - 1, value);
        memcpy(field, text, n - 1);
}

static int put_header(int to, const struct tar_entry *entry, struct error *err)
{
        struct tar_header header = {.magic = "ustar", .version = {'0', '0'}, .type = entry->type};
        unsigned sum = 0;

        memcpy(header.name, entry->name, strnlen(entry->name, NAME_SIZE));
        memcpy(header.link, entry->link, strnlen(entry->link, NAME_SIZE));
        octal(header.mode, sizeof(header.mode), entry->mode & 07777);
        octal(header.uid, sizeof(header.uid), entry->uid > PLAIN_ID_MAX ? 0 : entry->uid);
        octal(header.gid, sizeof(header.gid), entry->gid > PLAIN_ID_MAX ? 0 : entry->gid);
        octal(header.size, sizeof(header.size), entry->size > PLAIN_SIZE_MAX ? 0 : entry->size);
        octal(header.mtime, sizeof(header.mtime), entry->mtime < 0 ? 0 : entry->mtime);
        memset(header.sum, ' ', sizeof(header.sum));
        for (size_t i = 0; i < sizeof(header); i++)
                sum += ((unsigned char *)&header)[i];
        octal(header.sum, sizeof(header.sum) - 1, sum);
        header.sum[6] = '\0';
        return put(to, &header, sizeof(header), err);
}

/* "LENGTH key=value\n", where LENGTH counts itself. */
static void add_record(struct str *records, const char *key, const char *value)
{
        size_t rest = strlen(key) + strlen(value) + 3;
        size_t n = rest + 1;
        char digits[24];

        while (rest + (size_t)snprintf(digits, sizeof(digits), "%zu", n) != n)
                n = rest + strlen(digits);
        str_printf(records, "%zu %s=%s\n", n, key, value);
}

static void add_number(struct str *records, const char *key, int64_t value)
{
        char digits[24];

        snprintf(digits, sizeof(digits), "%" PRId64, value);
        add_record(records, key, digits);
}

static int put_entry(int to, const struct tar_entry *entry, struct error *err)
{
        scoped_str struct str records = STR_INIT;
        struct tar_entry pax = {.name = "pax", .link = "", .type = 'x', .mode = 0644};

        if (strlen(entry->name) > NAME_SIZE)
                add_record(&records, "path", entry->name);
        if (strlen(entry->link) > NAME_SIZE)
                add_record(&records, "linkpath", entry->link);
        if (entry->size > PLAIN_SIZE_MAX)
                add_number(&records, "size", entry->size);
        if (entry->uid > PLAIN_ID_MAX)
                add_number(&records, "uid", entry->uid);
        if (entry->gid > PLAIN_ID_MAX)
                add_number(&records, "gid", entry->gid);
        if (records.len > 0) {
                pax.size = (int64_t)records.len;
                if (put_header(to, &pax, err) < 0 || put(to, records.data, records.len, err) < 0 ||
                    put_padding(to, pax.size, err) < 0)
                        return -ERROR_UNAVAILABLE;
        }
        return put_header(to, entry, err);
}

/* Exactly size bytes, whatever happens to the file meanwhile: cut, or filled up with zeros. */
static int put_content(int to, int fd, int64_t size, struct error *err)
{
        char bytes[COPY_SIZE];
        int64_t left = size;

        while (left > 0) {
                size_t want = left < (int64_t)sizeof(bytes) ? (size_t)left : sizeof(bytes);
                ssize_t got = read(fd, bytes, want);

                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0)
                        return error_set_errno(err, "read a file for an archive");
                if (got == 0) {
                        memset(bytes, 0, want);
                        got = (ssize_t)want;
                }
                if (put(to, bytes, (size_t)got, err) < 0)
                        return -ERROR_UNAVAILABLE;
                left -= got;
        }
        return put_padding(to, size, err);
}

int tar_add_file(int to, const char *name, const char *path, mode_t mode, struct error *err)
{
        scoped_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
        struct tar_entry entry = {.name = name, .link = "", .type = '0', .mode = mode};
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return error_set_errno(err, "read '%s'", path);
        entry.size = st.st_size;
        if (put_entry(to, &entry, err) < 0)
                return -ERROR_UNAVAILABLE;
        return put_content(to, fd, entry.size, err);
}

static int add_entries(int to, int folder, dev_t device, struct str *name, int depth,
                       struct error *err);

static int add_folder(int to, int parent, const char *base, const struct tar_entry *entry,
                      dev_t device, struct str *name, int depth, struct error *err)
{
        scoped_fd int fd = openat(parent, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        if (fd < 0)
                return error_set_errno(err, "open folder '%s'", name->data);
        if (depth >= DEPTH_MAX)
                return error_set(err, ERROR_LIMIT, "folders nested deeper than %d", DEPTH_MAX);
        if (put_entry(to, entry, err) < 0)
                return -ERROR_UNAVAILABLE;
        return add_entries(to, fd, device, name, depth + 1, err);
}

static int add_link(int to, int parent, const char *base, struct tar_entry *entry,
                    struct error *err)
{
        char target[PATH_MAX];
        ssize_t n = readlinkat(parent, base, target, sizeof(target) - 1);

        if (n < 0)
                return error_set_errno(err, "read link '%s'", entry->name);
        target[n] = '\0';
        entry->link = target;
        entry->type = '2';
        return put_entry(to, entry, err);
}

static int add_regular(int to, int parent, const char *base, struct tar_entry *entry,
                       struct error *err)
{
        scoped_fd int fd = openat(parent, base, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return error_set_errno(err, "read '%s'", entry->name);
        if (!S_ISREG(st.st_mode))
                return 0;
        entry->type = '0';
        entry->size = st.st_size;
        if (put_entry(to, entry, err) < 0)
                return -ERROR_UNAVAILABLE;
        return put_content(to, fd, entry->size, err);
}

static int add_entry(int to, int parent, const char *base, dev_t device, struct str *name,
                     int depth, struct error *err)
{
        struct tar_entry entry = {.link = "", .type = '5'};
        struct stat st;

        if (fstatat(parent, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : error_set_errno(err, "stat '%s'", name->data);
        entry.name = name->data;
        entry.mode = st.st_mode;
        entry.uid = st.st_uid;
        entry.gid = st.st_gid;
        entry.mtime = st.st_mtime;
        if (S_ISDIR(st.st_mode) && st.st_dev == device)
                return add_folder(to, parent, base, &entry, device, name, depth, err);
        if (S_ISLNK(st.st_mode))
                return add_link(to, parent, base, &entry, err);
        if (S_ISREG(st.st_mode))
                return add_regular(to, parent, base, &entry, err);
        return 0;
}

static int add_entries(int to, int folder, dev_t device, struct str *name, int depth,
                       struct error *err)
{
        int copy = fcntl(folder, F_DUPFD_CLOEXEC, 0);
        DIR *dir = copy < 0 ? NULL : fdopendir(copy);
        struct dirent *entry;
        size_t before = name->len;
        int result = 0;

        if (!dir) {
                error_set_errno(err, "read folder '%s'", name->data);
                if (copy >= 0)
                        close(copy);
                return -ERROR_UNAVAILABLE;
        }
        while (result == 0 && (entry = readdir(dir))) {
                if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
                        continue;
                str_printf(name, "%s%s", before ? "/" : "", entry->d_name);
                result = add_entry(to, folder, entry->d_name, device, name, depth, err);
                str_truncate(name, before);
        }
        closedir(dir);
        return result;
}

int tar_add_folder(int to, const char *name, const char *folder, struct error *err)
{
        scoped_fd int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        scoped_str struct str path = STR_INIT;
        struct stat st;

        struct tar_entry self = {.name = name, .link = "", .type = '5'};

        if (fd < 0 || fstat(fd, &st) < 0)
                return error_set_errno(err, "open folder '%s'", folder);
        self.mode = st.st_mode;
        self.uid = st.st_uid;
        self.gid = st.st_gid;
        self.mtime = st.st_mtime;
        if (put_entry(to, &self, err) < 0)
                return -ERROR_UNAVAILABLE;
        str_add(&path, name);
        return add_entries(to, fd, st.st_dev, &path, 0, err);
}

int tar_finish(int to, struct error *err)
{
        static const char zeros[2 * BLOCK];

        return put(to, zeros, sizeof(zeros), err);
}
