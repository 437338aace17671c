#include "step/passwd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/test.h"

#include "base/banned.h"

static bool find(struct passwd_entry *entry, const char *text, uint32_t uid)
{
        return passwd_find(entry, text, strlen(text), uid);
}

TEST("the first entry of a uid gives name and home, with or without a last newline")
{
        static const char text[] = "root:x:0:0:root:/root:/bin/sh\n"
                                   "ci:x:1000:1000:,,,:/home/ci:/bin/bash\n"
                                   "other:x:1000:1000::/else:/bin/bash\nlast:x:7:7::/seven:";
        struct passwd_entry entry;

        assert_true(find(&entry, text, 1000));
        assert_string_equal(entry.name, "ci");
        assert_string_equal(entry.home, "/home/ci");
        assert_true(find(&entry, text, 7));
        assert_string_equal(entry.home, "/seven");
        assert_false(find(&entry, text, 42));
        assert_false(find(&entry, "", 0));
}

TEST("lines that are not entries are passed over, however they are broken")
{
        struct passwd_entry entry;
        char text[3 * PASSWD_LINE_MAX];
        char name[200];

        assert_false(find(&entry, "a:x:5\n:x:5:5::/h:\na:x:5:5::\na:x:5:5:::s\n", 5));
        assert_false(find(&entry, "a:x:+5:5::/h:\na:x:5 :5::/h:\na:x:0x5:5::/h:\n", 5));
        assert_false(find(&entry, "a:x:4294967301:5::/h:\n", 5));
        assert_false(find(&entry, "a:x:00000000005:5::/h:\n", 5));
        memset(text, 'x', sizeof(text));
        text[sizeof(text) - 20] = '\n';
        memcpy(text + sizeof(text) - 19, "a:x:5:5::/home:/sh", 18);
        text[sizeof(text) - 1] = '\n';
        assert_true(passwd_find(&entry, text, sizeof(text), 5));
        assert_string_equal(entry.home, "/home");
        memset(name, 'n', sizeof(name));
        memcpy(name + 100, ":x:5:5::/h:/s\n", 14);
        assert_false(passwd_find(&entry, name, 114, 5));
        assert_false(passwd_find(&entry, "a:x:5:5::/h\0h:/s\n", 17, 5));
}

TEST("a fifo, a folder or a file that is too large is no passwd")
{
        struct passwd_entry entry;
        char path[] = "/tmp/passwd-test-XXXXXX";
        char fifo[64];
        int fd = mkstemp(path);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, "a:x:5:5::/h:/s\n", 15), 15);
        assert_true(passwd_lookup(&entry, path, 5));
        assert_int_equal(ftruncate(fd, PASSWD_BYTES_MAX + 1), 0);
        assert_false(passwd_lookup(&entry, path, 5));
        close(fd);
        unlink(path);
        snprintf(fifo, sizeof(fifo), "%s.fifo", path);
        assert_int_equal(mkfifo(fifo, 0644), 0);
        assert_false(passwd_lookup(&entry, fifo, 5));
        unlink(fifo);
        assert_false(passwd_lookup(&entry, "/etc", 5));
        assert_false(passwd_lookup(&entry, "/no/such/file", 5));
}

TEST_MAIN()
