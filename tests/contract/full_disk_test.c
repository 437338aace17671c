/*
 * Bus and store on a disk that is full: every write is refused with a reason, nothing that was
 * promised is lost, reading goes on, and when there is room again work goes on by itself.
 *
 * The disk is a small tmpfs in a mount namespace of this process alone. That takes root, or a user
 * namespace; a machine that grants neither cannot run this test, and it fails.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapters/bus/sqlite.h"
#include "adapters/sqlite/files.h"
#include "adapters/store/sqlite.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/str.h"
#include "domain/build.h"
#include "ports/bus.h"
#include "ports/store.h"
#include "tests/support/test.h"
#include "wire/log_entry.h"

#include "base/banned.h"

#define DISK_BYTES "12m"
#define QUEUE "webhook.queue"

static char disk[] = "/tmp/argon-disk-XXXXXX";

static void write_file(const char *path, const char *text)
{
        int fd = open(path, O_WRONLY | O_CLOEXEC);

        if (fd < 0 || write(fd, text, strlen(text)) < 0)
                fail_msg("cannot write %s", path);
        close(fd);
}

static void make_disk(void)
{
        bool root = geteuid() == 0;
        scoped_text char *map = text_format("0 %d 1", (int)geteuid());

        assert_non_null(mkdtemp(disk));
        if (unshare(CLONE_NEWNS | (root ? 0 : CLONE_NEWUSER)) < 0)
                fail_msg("no mount namespace: run this as root, or allow user namespaces");
        if (!root)
                write_file("/proc/self/uid_map", map);
        if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("tmpfs", disk, "tmpfs", MS_NOSUID | MS_NODEV, "size=" DISK_BYTES) < 0)
                fail_msg("cannot mount a tmpfs: run this as root, or allow user namespaces");
}

static void fill_disk(void)
{
        scoped_text char *path = fs_path(disk, "filler");
        int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        static char zeros[4096];

        assert_true(fd >= 0);
        while (write(fd, zeros, sizeof(zeros)) > 0)
                ;
        close(fd);
}

static void make_room(void)
{
        scoped_text char *path = fs_path(disk, "filler");

        assert_int_equal(unlink(path), 0);
}

struct parts {
        struct sqlite_files *files;
        struct bus *bus;
        struct store *store;
};

static struct parts open_parts(void)
{
        scoped_text char *folder = fs_path(disk, "data");
        struct parts parts = {0};
        struct error err;

        assert_ok(sqlite_files_open(&parts.files, folder, &err), err);
        assert_ok(bus_sqlite_open(&parts.bus, "sqlite", parts.files, &err), err);
        assert_ok(store_sqlite_open(&parts.store, "sqlite", parts.files, &err), err);
        return parts;
}

static void close_parts(struct parts *parts)
{
        store_close(parts->store);
        bus_close(parts->bus);
        sqlite_files_close(parts->files);
}

/* Until it is refused; Return: how many were confirmed. */
static int publish_until_full(struct bus *bus, const char *queue)
{
        scoped_text char *body = xcalloc(1, 20000);
        struct error err = {0};
        int n;

        for (n = 0; n < 5000; n++) {
                snprintf(body, 20000, "%d", n);
                if (bus_publish(bus, queue, body, 20000, &err) < 0)
                        break;
        }
        assert_int_equal(err.kind, ERROR_UNAVAILABLE);
        assert_non_null(strstr(err.text, "is full: make room"));
        return n;
}

static int drain(struct bus *bus, const char *queue)
{
        struct bus_consumer *consumer = NULL;
        struct bus_message message;
        struct error err = {0};
        int n = 0;

        assert_ok(bus_consume(bus, &consumer, &queue, 1, 1, &err), err);
        while (bus_receive(consumer, &message, 1, 100, &err) == 1) {
                assert_int_equal(strtol(message.body, NULL, 10), n++);
                assert_ok(bus_ack(consumer, message.tag, &err), err);
        }
        bus_consumer_close(consumer);
        return n;
}

TEST("a full disk refuses what is published, and gives back all that was confirmed before")
{
        struct parts parts;
        int confirmed;
        struct error err;

        make_disk();
        parts = open_parts();
        assert_ok(bus_publish(parts.bus, QUEUE, "0", 1, &err), err);
        fill_disk();
        confirmed = publish_until_full(parts.bus, "other.queue");
        make_room();
        assert_ok(bus_publish(parts.bus, QUEUE, "1", 1, &err), err);
        assert_int_equal(drain(parts.bus, QUEUE), 2);
        assert_int_equal(drain(parts.bus, "other.queue"), confirmed);
        close_parts(&parts);
}

static struct build *a_build(const char *id)
{
        struct build *build = build_new();

        build->id = build_text(build, "%s", id);
        build->repo = "a/a";
        return build;
}

/* Small writes may still find room in pages that exist; a store is full once it refuses one. */
static int insert_until_full(struct store *store, struct error *err)
{
        int n;

        for (n = 0; n < 20000; n++) {
                scoped_text char *id = text_format("full-%d", n);
                scoped(build) struct build *build = a_build(id);
                scoped_text char *message = xcalloc(1, 30000);

                memset(message, 'x', 29999);
                build->message = message;
                if (store_build_insert(store, build, err) < 0)
                        break;
        }
        return n;
}

TEST("a full disk refuses builds and says so in the readiness, while reading goes on")
{
        struct parts parts = open_parts();
        scoped(build) struct build *after = a_build("after");
        scoped(build) struct build *found = NULL;
        struct build_page page = {0};
        struct build_filter filter = {0};
        struct error err = {0};
        int n;

        fill_disk();
        n = insert_until_full(parts.store, &err);
        assert_int_equal(err.kind, ERROR_UNAVAILABLE);
        assert_non_null(strstr(err.text, "is full: make room"));
        assert_int_equal(store_check(parts.store, &err), -ERROR_UNAVAILABLE);
        assert_ok(store_builds(parts.store, &page, &filter, &err), err);
        assert_int_equal(page.n, n < 50 ? n : 50);
        build_page_done(&page);
        make_room();
        assert_ok(store_check(parts.store, &err), err);
        assert_ok(store_build_insert(parts.store, after, &err), err);
        assert_int_equal(after->number, n + 1);
        assert_ok(store_build_get(parts.store, &found, "after", &err), err);
        close_parts(&parts);
}

TEST("logs that do not fit are refused, and their writer goes on when there is room")
{
        struct parts parts = open_parts();
        scoped_text char *text = xmalloc(60000);
        struct log_entry entry = {.service = "executor",
                                  .job_id = "j",
                                  .build_id = "b",
                                  .attempt = 1,
                                  .seq = 1,
                                  .first_line = 1,
                                  .lines = 1,
                                  .bytes = text,
                                  .n = 60000,
                                  .stream = LOG_STREAM_STDOUT};
        struct log_stats stats = {0};
        struct error err = {0};

        memset(text, 'y', 60000);
        text[59999] = '\n';
        fill_disk();
        while (store_log_append(parts.store, &entry, 1, &err) == 0) {
                entry.seq++;
                entry.first_line++;
                entry.offset += 60000;
                assert_true(entry.seq < 1000);
        }
        assert_int_equal(err.kind, ERROR_UNAVAILABLE);
        make_room();
        assert_ok(store_log_append(parts.store, &entry, 1, &err), err);
        assert_ok(store_log_stats(parts.store, &stats, "j", 1, &err), err);
        assert_int_equal(stats.lines, entry.seq);
        assert_int_equal(stats.last_seq, entry.seq);
        close_parts(&parts);
}

TEST("a consumer whose acknowledgement did not fit gets the message again")
{
        struct parts parts = open_parts();
        struct bus_consumer *consumer = NULL;
        const char *queue = "third.queue";
        struct bus_message message = {0};
        struct error err = {0};
        int tries = 0;

        for (int i = 0; i < 3; i++)
                assert_ok(bus_publish(parts.bus, queue, "m", 1, &err), err);
        assert_ok(bus_consume(parts.bus, &consumer, &queue, 1, 1, &err), err);
        assert_int_equal(bus_receive(consumer, &message, 1, 1000, &err), 1);
        fill_disk();
        while (bus_publish(parts.bus, "filler.queue", "0123456789", 10, NULL) == 0)
                ;
        if (bus_ack(consumer, message.tag, &err) < 0) {
                assert_int_equal(err.kind, ERROR_UNAVAILABLE);
                tries = 1;
        }
        make_room();
        for (int i = 0; i < 2 + tries; i++) {
                assert_int_equal(bus_receive(consumer, &message, 1, 5000, &err), 1);
                assert_ok(bus_ack(consumer, message.tag, &err), err);
        }
        assert_int_equal(bus_receive(consumer, &message, 1, 50, &err), 0);
        bus_consumer_close(consumer);
        close_parts(&parts);
}

TEST("a backup that does not fit leaves nothing behind")
{
        struct parts parts = open_parts();
        scoped_text char *backup = fs_path(disk, "backup");
        scoped_text char *partial = text_format("%s.partial", backup);
        scoped_text char *copy = text_format("%s.argon.db", partial);
        struct error err = {0};

        fill_disk();
        assert_true(store_backup(parts.store, backup, &err) < 0);
        assert_int_equal(access(backup, F_OK), -1);
        assert_int_equal(access(partial, F_OK), -1);
        assert_int_equal(access(copy, F_OK), -1);
        make_room();
        close_parts(&parts);
        umount(disk);
        rmdir(disk);
}

TEST_MAIN()
