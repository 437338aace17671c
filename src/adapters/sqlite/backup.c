/*
 * The container is a plain POSIX tar of two regular files, written and read here: it needs two
 * kinds of block, and a library of archives would weigh more in memory than all of this program.
 * Reading takes nothing but those two names, each once.
 */
#include "adapters/sqlite/backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapters/sqlite/conn.h"
#include "adapters/sqlite/db.h"
#include "adapters/sqlite/files.h"
#include "adapters/sqlite/schema.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/str.h"

#include "base/banned.h"

#define BLOCK 512
#define COPY_BYTES (256 * 1024)
#define N_PARTS 2

static const struct part {
        const char *name;
        const struct sqlite_schema *schema;
} parts[N_PARTS] = {
        {"argon.db", &sqlite_state_schema},
        {"logs.db", &sqlite_logs_schema},
};

struct tar_header {
        char name[100];
        char mode[8];
        char uid[8];
        char gid[8];
        char size[12];
        char mtime[12];
        char checksum[8];
        char type;
        char link[100];
        char magic[6];
        char version[2];
        char rest[247];
};
_Static_assert(sizeof(struct tar_header) == BLOCK, "a tar header is one block");

static unsigned checksum(const struct tar_header *header)
{
        struct tar_header copy = *header;
        const unsigned char *bytes = (const unsigned char *)&copy;
        unsigned sum = 0;

        memset(copy.checksum, ' ', sizeof(copy.checksum));
        for (size_t i = 0; i < BLOCK; i++)
                sum += bytes[i];
        return sum;
}

/* Sizes over 8 GiB do not fit in octal: GNU's form is the top bit and a big-endian number. */
static void set_size(struct tar_header *header, int64_t size)
{
        if (size < INT64_C(1) << 33) {
                snprintf(header->size, sizeof(header->size), "%011llo", (unsigned long long)size);
                return;
        }
        for (size_t i = sizeof(header->size); i > 0; i--, size >>= 8)
                header->size[i - 1] = (char)(size & 0xff);
        header->size[0] = (char)0x80;
}

static bool get_octal(const char *text, size_t n, int64_t *ret)
{
        *ret = 0;
        for (size_t i = 0; i < n && text[i] && text[i] != ' '; i++) {
                if (text[i] < '0' || text[i] > '7')
                        return false;
                *ret = *ret * 8 + (text[i] - '0');
        }
        return true;
}

static bool get_size(const struct tar_header *header, int64_t *ret)
{
        if (!((unsigned char)header->size[0] & 0x80))
                return get_octal(header->size, sizeof(header->size), ret);
        *ret = 0;
        for (size_t i = sizeof(header->size) - 8; i < sizeof(header->size); i++)
                *ret = (int64_t)((uint64_t)*ret << 8 | (unsigned char)header->size[i]);
        return *ret >= 0;
}

static int write_header(int to, const char *name, int64_t size, struct error *err)
{
        struct tar_header header = {.type = '0', .magic = "ustar", .version = {'0', '0'}};

        snprintf(header.name, sizeof(header.name), "%s", name);
        snprintf(header.mode, sizeof(header.mode), "%07o", 0600);
        snprintf(header.uid, sizeof(header.uid), "%07o", 0);
        snprintf(header.gid, sizeof(header.gid), "%07o", 0);
        snprintf(header.mtime, sizeof(header.mtime), "%011llo",
                 (unsigned long long)(wall_ms() / 1000));
        set_size(&header, size);
        snprintf(header.checksum, sizeof(header.checksum), "%06o", checksum(&header));
        header.checksum[7] = ' ';
        return fs_write_all(to, &header, sizeof(header), err);
}

/* Exactly n bytes; fewer in the source is an error. */
static int copy_bytes(int to, int from, int64_t n, const char *source, struct error *err)
{
        scoped_text char *buffer = xmalloc(COPY_BYTES);
        int r;

        while (n > 0) {
                size_t want = n < COPY_BYTES ? (size_t)n : COPY_BYTES;
                ssize_t got = read(from, buffer, want);

                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0)
                        return error_set_errno(err, "read '%s'", source);
                if (got == 0)
                        return error_set(err, ERROR_INVALID, "'%s' ends too early", source);
                r = fs_write_all(to, buffer, (size_t)got, err);
                if (r < 0)
                        return r;
                n -= got;
        }
        return 0;
}

static int64_t padding(int64_t size)
{
        return (BLOCK - size % BLOCK) % BLOCK;
}

static int add_part(int to, const char *name, const char *copy, struct error *err)
{
        static const char zeros[BLOCK];
        scoped_fd int from = open(copy, O_RDONLY | O_CLOEXEC);
        struct stat st;
        int r;

        if (from < 0 || fstat(from, &st) < 0)
                return error_set_errno(err, "open '%s'", copy);
        r = write_header(to, name, st.st_size, err);
        if (r == 0)
                r = copy_bytes(to, from, st.st_size, copy, err);
        if (r == 0)
                r = fs_write_all(to, zeros, (size_t)padding(st.st_size), err);
        return r;
}

static int write_parts(int to, struct sqlite_files *files, const char *path, struct error *err)
{
        struct sqlite_db *dbs[N_PARTS] = {sqlite_files_state(files), sqlite_files_logs(files)};
        static const char end[2 * BLOCK];
        int r = 0;

        for (size_t i = 0; r == 0 && i < N_PARTS; i++) {
                scoped_text char *copy = text_format("%s.%s", path, parts[i].name);

                r = sqlite_db_copy(dbs[i], copy, err);
                if (r == 0)
                        r = add_part(to, parts[i].name, copy, err);
                if (r != -ERROR_CONFLICT)
                        unlink(copy);
        }
        if (r == 0)
                r = fs_write_all(to, end, sizeof(end), err);
        if (r == 0 && fsync(to) < 0)
                r = error_set_errno(err, "sync '%s'", path);
        return r;
}

static int sync_folder_of(const char *path, struct error *err)
{
        const char *slash = strrchr(path, '/');
        scoped_text char *folder =
                slash ? text_format("%.*s/", (int)(slash - path), path) : text_copy(".");
        scoped_fd int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0 || fsync(fd) < 0)
                return error_set_errno(err, "sync the folder '%s'", folder);
        return 0;
}

int sqlite_backup(struct sqlite_files *files, const char *path, struct error *err)
{
        scoped_text char *partial = text_format("%s.partial", path);
        scoped_fd int fd = -1;
        int r;

        if (access(path, F_OK) == 0)
                return error_set(err, ERROR_CONFLICT, "'%s' exists: a backup overwrites nothing",
                                 path);
        fd = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
                return error_set_errno(err, "make the backup '%s'", partial);
        r = write_parts(fd, files, partial, err);
        if (r == 0 && link(partial, path) < 0)
                r = error_set_errno(err, "name the backup '%s'", path);
        unlink(partial);
        if (r == 0)
                r = sync_folder_of(path, err);
        if (r < 0)
                error_wrap(err, "backup");
        return r;
}

static int check_empty(const char *folder, struct error *err)
{
        DIR *dir = opendir(folder);
        struct dirent *entry;
        bool empty = true;

        if (!dir)
                return error_set_errno(err, "open the folder '%s'", folder);
        while (empty && (entry = readdir(dir)))
                empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        closedir(dir);
        if (!empty)
                return error_set(err, ERROR_CONFLICT,
                                 "'%s' is not empty: name an empty folder, or move this one away",
                                 folder);
        return 0;
}

static int no_backup(const char *path, const char *why, struct error *err)
{
        return error_set(err, ERROR_INVALID, "'%s' is no backup of Argon: %s", path, why);
}

/* Return: 1 there is a part, 0 the archive ends here, -kind. */
static int read_header(int from, const char *path, size_t *ret_part, int64_t *ret_size,
                       struct error *err)
{
        struct tar_header header;
        int64_t sum = 0;
        ssize_t n = read(from, &header, sizeof(header));

        if (n < 0)
                return error_set_errno(err, "read '%s'", path);
        if (n != sizeof(header))
                return no_backup(path, "it ends too early", err);
        if (header.name[0] == '\0')
                return 0;
        if (memcmp(header.magic, "ustar", 5) != 0 ||
            !get_octal(header.checksum, sizeof(header.checksum), &sum) ||
            sum != (int64_t)checksum(&header) || !get_size(&header, ret_size))
                return no_backup(path, "a header is damaged", err);
        for (*ret_part = 0; *ret_part < N_PARTS; (*ret_part)++) {
                if (strncmp(header.name, parts[*ret_part].name, sizeof(header.name)) == 0 &&
                    header.type == '0')
                        return 1;
        }
        return no_backup(path, "it holds something else than argon.db and logs.db", err);
}

static char *restoring(const char *folder, size_t part)
{
        return text_format("%s/%s.restoring", folder, parts[part].name);
}

static int extract(int from, const char *path, const char *folder, size_t part, int64_t size,
                   struct error *err)
{
        scoped_text char *target = restoring(folder, part);
        scoped_fd int to = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        int r;

        if (to < 0 && errno == EEXIST)
                return no_backup(path, "a database is in it twice", err);
        if (to < 0)
                return error_set_errno(err, "make '%s'", target);
        r = copy_bytes(to, from, size, path, err);
        if (r == 0 && lseek(from, padding(size), SEEK_CUR) < 0)
                r = error_set_errno(err, "read '%s'", path);
        if (r == 0 && fsync(to) < 0)
                r = error_set_errno(err, "sync '%s'", target);
        return r;
}

static int is_sound(struct sqlite_conn *conn, const char *name, struct error *err)
{
        scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
        int r;

        r = sqlite_query(conn, &stmt, "PRAGMA integrity_check(1)", SQL_NONE, err);
        if (r == 0)
                r = sqlite_next(conn, stmt, err);
        if (r < 0)
                return error_set(err, ERROR_INVALID, "%s in the backup is damaged", name);
        if (r == 0 || strcmp((const char *)sqlite3_column_text(stmt, 0), "ok") != 0)
                return error_set(err, ERROR_INVALID, "%s in the backup is damaged: %s", name,
                                 r ? (const char *)sqlite3_column_text(stmt, 0) : "no answer");
        return 0;
}

static int check_part(const char *folder, size_t part, struct error *err)
{
        scoped_text char *file = restoring(folder, part);
        struct sqlite_conn *conn = NULL;
        int64_t application = 0;
        int r;

        if (access(file, F_OK) < 0)
                return error_set(err, ERROR_INVALID, "%s is missing in the backup",
                                 parts[part].name);
        r = sqlite_conn_open(&conn, file, SQLITE_MODE_READ, 0, err);
        if (r == 0)
                r = is_sound(conn, parts[part].name, err);
        if (r == 0)
                r = sqlite_schema_check(conn, parts[part].name, parts[part].schema, err);
        if (r == 0)
                r = sqlite_get_int(conn, &application, "PRAGMA application_id", SQL_NONE, err);
        if (r > 0)
                r = 0;
        if (r == 0 && application != parts[part].schema->application)
                r = error_set(err, ERROR_INVALID, "%s in the backup is empty", parts[part].name);
        sqlite_conn_close(conn);
        return r;
}

static int put_in_place(const char *folder, struct error *err)
{
        scoped_text char *last = fs_path(folder, parts[N_PARTS - 1].name);

        for (size_t i = 0; i < N_PARTS; i++) {
                scoped_text char *from = restoring(folder, i);
                scoped_text char *to = fs_path(folder, parts[i].name);

                if (rename(from, to) < 0)
                        return error_set_errno(err, "rename '%s'", from);
        }
        return sync_folder_of(last, err);
}

static int restore_parts(int from, const char *path, const char *folder, struct error *err)
{
        size_t part = 0;
        int64_t size = 0;
        int r;

        while ((r = read_header(from, path, &part, &size, err)) > 0) {
                r = extract(from, path, folder, part, size, err);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; r == 0 && i < N_PARTS; i++)
                r = check_part(folder, i, err);
        return r == 0 ? put_in_place(folder, err) : r;
}

int sqlite_restore(const char *path, const char *folder, struct error *err)
{
        scoped_fd int from = open(path, O_RDONLY | O_CLOEXEC);
        int r;

        if (from < 0)
                return error_set_errno(err, "open the backup '%s'", path);
        r = fs_mkdirs(folder, 0700, err);
        if (r == 0)
                r = check_empty(folder, err);
        if (r < 0)
                return r;
        r = restore_parts(from, path, folder, err);
        for (size_t i = 0; i < N_PARTS; i++) {
                scoped_text char *left = restoring(folder, i);

                unlink(left);
        }
        if (r < 0)
                error_wrap(err, "restore into '%s'", folder);
        return r;
}
