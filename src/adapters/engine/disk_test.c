/* What goes over the disk: archives made of folders, and how much a job keeps there. */
#include "adapters/engine/tar.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapters/engine/disk_watch.h"
#include "adapters/engine/workspace.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/process.h"
#include "base/scoped.h"
#include "base/str.h"
#include "tests/support/test.h"

#include "base/banned.h"

struct writer {
        int to;
        const char *folder;
        int result;
};

static void *write_folder(void *data)
{
        struct writer *writer = data;
        struct error err = {0};

        writer->result = tar_add_folder(writer->to, "inside", writer->folder, &err);
        if (writer->result == 0)
                writer->result = tar_add_file(writer->to, "renamed", "/bin/true", 0555, &err);
        if (writer->result == 0)
                writer->result = tar_finish(writer->to, &err);
        shutdown(writer->to, SHUT_WR);
        return NULL;
}

static void pack(struct str *ret, const char *folder)
{
        struct writer writer = {.folder = folder};
        struct error err = {0};
        pthread_t thread;
        int ends[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        writer.to = ends[1];
        pthread_create(&thread, NULL, write_folder, &writer);
        assert_ok(str_read_fd(ret, ends[0], 64 << 20, &err), err);
        pthread_join(thread, NULL);
        assert_int_equal(writer.result, 0);
        close(ends[0]);
        close(ends[1]);
}

/* A shell command with the archive as its input; its output on the heap. */
static char *shell(const char *command, const struct str *input)
{
        const char *const argv[] = {"sh", "-ec", command, NULL};
        scoped_process_result struct process_result result = PROCESS_RESULT_INIT;
        struct process_spec spec = {.argv = argv,
                                    .input = input ? input->data : NULL,
                                    .input_len = input ? input->len : 0,
                                    .output_max = 1 << 20,
                                    .error_max = 4096,
                                    .cancel_fd = -1};
        struct error err = {0};

        assert_ok(process_run(&result, &spec, &err), err);
        if (result.exit_code != 0)
                fail_msg("%s: %s", command, result.errors.data);
        return str_steal(&result.output);
}

TEST("GNU tar finds in an archive what was in the folder")
{
        char folder[] = "/tmp/argon-tar-XXXXXX";
        struct error err = {0};
        scoped_str struct str archive = STR_INIT;
        scoped_text char *make = NULL;
        scoped_text char *unpack = NULL;
        scoped_text char *out = NULL;

        assert_non_null(mkdtemp(folder));
        make = text_format(
                "cd %s && mkdir -p a b && cd a && printf x >one && : >empty && "
                "head -c 100000 /dev/urandom >big && ln -s one link && chmod 0751 one && "
                "ln one twin && mkfifo pipe && mkdir closed && chmod 0700 closed && "
                "n=$(printf '%%0100d' 0) && printf 100 >$n && m=$(printf '%%0150d' 0) && mkdir $m "
                "&& "
                "printf long >$m/$m && ln -s $m/$m long-link && printf s >'with space\n and line'",
                folder);
        free(shell(make, NULL));
        unpack = text_format("%s/a", folder);
        pack(&archive, unpack);
        assert_int_equal(archive.len % 512, 0);
        free(take(unpack));
        unpack = text_format(
                "cd %s/b && tar -xpf - && rm ../a/pipe && diff -r --no-dereference ../a inside && "
                "stat -c '%%a' inside/one inside/closed && readlink inside/long-link | wc -c && "
                "cmp renamed /bin/true && stat -c %%a renamed",
                folder);
        out = shell(unpack, &archive);
        assert_string_equal(out, "751\n700\n302\n555\n");
        assert_ok(fs_remove_tree(folder, &err), err);
}

TEST("nobody reading an archive is an error, not a signal")
{
        struct error err = {0};
        int ends[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        close(ends[0]);
        assert_true(tar_add_file(ends[1], "x", "/bin/true", 0555, &err) < 0);
        close(ends[1]);
}

TEST("disk use counts blocks, several links in parts, and follows no link")
{
        char folder[] = "/tmp/argon-disk-XXXXXX";
        struct error err = {0};
        scoped_text char *make = NULL;
        int64_t base;
        int64_t used;

        assert_non_null(mkdtemp(folder));
        base = disk_usage(folder);
        make = text_format("cd %s && head -c 1048576 /dev/zero >a && mkdir d && ln a d/b && "
                           "ln -s / root && truncate -s 1G sparse",
                           folder);
        free(shell(make, NULL));
        used = disk_usage(folder) - base;
        assert_in_range(used, 1048576, 1048576 + 65536);
        assert_int_equal(disk_usage("/nonexistent"), 0);
        assert_ok(fs_remove_tree(folder, &err), err);
}

TEST("a workspace is opened to everybody, without following links out of it")
{
        char folder[] = "/tmp/argon-open-XXXXXX";
        struct error err = {0};
        scoped_text char *make = NULL;
        scoped_text char *look = NULL;
        scoped_text char *modes = NULL;

        assert_non_null(mkdtemp(folder));
        make = text_format("cd %s && mkdir -m 0700 w w/d out && umask 077 && : >w/d/file && "
                           ": >w/run && chmod 0700 w/run && : >out/kept && ln -s ../out w/link && "
                           "ln -s ../out/kept w/d/kept",
                           folder);
        free(shell(make, NULL));
        free(take(make));
        make = text_format("%s/w", folder);
        assert_ok(workspace_open(make, &err), err);
        look = text_format("cd %s && stat -c %%a w w/d w/d/file w/run out out/kept", folder);
        modes = shell(look, NULL);
        assert_string_equal(modes, "777\n777\n666\n777\n700\n600\n");
        assert_true(workspace_open("/nonexistent", &err) < 0);
        assert_ok(fs_remove_tree(folder, &err), err);
}

TEST("a tree nested too deep to be measured counts as everything")
{
        char folder[] = "/tmp/argon-deep-XXXXXX";
        scoped_text char *remove_deep = NULL;
        scoped_fd int at = -1;

        assert_non_null(mkdtemp(folder));
        at = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (int i = 0; i < 600; i++) {
                int next;

                assert_int_equal(mkdirat(at, "d", 0755), 0);
                next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                close(at);
                at = next;
        }
        assert_true(disk_usage(folder) == INT64_MAX);
        remove_deep = text_format("rm -rf %s", folder);
        free(shell(remove_deep, NULL));
}

struct seen {
        pthread_mutex_t lock;
        char *note;
        int count;
};

static void exceeded(void *data, const char *id, const char *note)
{
        struct seen *seen = data;

        pthread_mutex_lock(&seen->lock);
        free(seen->note);
        seen->note = text_format("%s %s", id, note);
        seen->count++;
        pthread_mutex_unlock(&seen->lock);
}

static int64_t nothing_more(void *data, const char *id)
{
        return !strcmp(id, "hidden") ? 1 << 30 : 0;
}

static int count_of(struct seen *seen)
{
        int count;

        pthread_mutex_lock(&seen->lock);
        count = seen->count;
        pthread_mutex_unlock(&seen->lock);
        return count;
}

TEST("who is over the limit is reported once, who is not never")
{
        static const struct disk_watch_ops ops = {nothing_more, exceeded};
        char folder[] = "/tmp/argon-watch-XXXXXX";
        struct seen seen = {.lock = PTHREAD_MUTEX_INITIALIZER};
        struct disk_watch *watch = NULL;
        struct error err = {0};
        scoped_text char *make = NULL;
        int64_t until = clock_ms() + 10000;

        assert_non_null(mkdtemp(folder));
        assert_ok(disk_watch_new(&watch, &ops, &seen, &err), err);
        disk_watch_add(watch, "small", 1 << 20, folder, "/nonexistent", "a");
        make = text_format("head -c 4m /dev/zero >%s/x", folder);
        disk_watch_add(watch, "gone", 1, folder, "/nonexistent", "b");
        disk_watch_remove(watch, "gone");
        disk_watch_add(watch, "large", 1 << 30, folder, "/nonexistent", "c");
        usleep(700000);
        assert_int_equal(count_of(&seen), 0);
        free(shell(make, NULL));
        while (count_of(&seen) == 0 && clock_ms() < until)
                usleep(20000);
        assert_string_equal(seen.note, "small a");
        disk_watch_add(watch, "hidden", 1 << 20, NULL, NULL, "d");
        while (count_of(&seen) == 1 && clock_ms() < until)
                usleep(20000);
        assert_string_equal(seen.note, "hidden d");
        usleep(1200000);
        assert_int_equal(count_of(&seen), 2);
        disk_watch_free(watch);
        free(seen.note);
        assert_ok(fs_remove_tree(folder, &err), err);
}

TEST_MAIN()
