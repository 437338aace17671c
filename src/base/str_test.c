#include "base/str.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/parse.h"
#include "base/scoped.h"
#include "tests/support/test.h"

#include "base/banned.h"

TEST("an empty text has no bytes and is never NULL")
{
        scoped_str struct str str = STR_INIT;

        assert_string_equal(str.data, "");
        assert_int_equal(str.len, 0);
}

TEST("appending grows and consuming takes from the front")
{
        scoped_str struct str str = STR_INIT;

        for (int i = 0; i < 1000; i++)
                str_printf(&str, "%d,", i);
        assert_true(text_starts(str.data, "0,1,2,"));
        assert_true(text_ends(str.data, ",998,999,"));
        str_consume(&str, 2);
        assert_true(text_starts(str.data, "1,2,"));
}

TEST("UTF-8 that is overlong, a surrogate or cut off is not valid")
{
        assert_true(utf8_valid("h\xc3\xa9 \xe2\x99\xa5 \xf0\x9f\x98\x80", 12));
        assert_false(utf8_valid("\xc0\x80", 2));
        assert_false(utf8_valid("\xed\xa0\x80", 3));
        assert_false(utf8_valid("\xe2\x99", 2));
        assert_false(utf8_valid("\xf4\x90\x80\x80", 4));
}

TEST("durations take units from large to small, each once")
{
        struct error err = {0};
        int64_t ms = 0;

        assert_ok(parse_duration(&ms, "2h30m", &err), err);
        assert_int_equal(ms, 9000000);
        assert_ok(parse_duration(&ms, "250ms", &err), err);
        assert_int_equal(ms, 250);
        assert_ok(parse_duration(&ms, "90", &err), err);
        assert_int_equal(ms, 90000);
        assert_int_equal(parse_duration(&ms, "5m2h", &err), -ERROR_INVALID);
        assert_int_equal(parse_duration(&ms, "", &err), -ERROR_INVALID);
        assert_int_equal(parse_duration(&ms, "99999999999d", &err), -ERROR_INVALID);
}

TEST("sizes count in steps of 1024")
{
        struct error err = {0};
        int64_t bytes = 0;

        assert_ok(parse_size(&bytes, "512MiB", &err), err);
        assert_int_equal(bytes, 512 << 20);
        assert_ok(parse_size(&bytes, "2g", &err), err);
        assert_int_equal(bytes, INT64_C(2) << 30);
        assert_int_equal(parse_size(&bytes, "2 GiB", &err), -ERROR_INVALID);
        assert_int_equal(parse_size(&bytes, "9999999TiB", &err), -ERROR_INVALID);
}

TEST("a time is shown as RFC 3339 and a duration as people say it")
{
        scoped_str struct str str = STR_INIT;

        str_add_time_ms(&str, INT64_C(1757671234567));
        assert_string_equal(str.data, "2025-09-12T10:00:34.567Z");
        str_clear(&str);
        str_add_duration(&str, 134000);
        assert_string_equal(str.data, "2m14s");
}

TEST("a tree of any depth is removed, and a link in it is not followed")
{
        char root[] = "/tmp/argon-fs-test-XXXXXX";
        scoped_text char *outside = NULL;
        scoped_text char *inside = NULL;
        struct error err = {0};
        struct stat st;
        int fd;

        assert_non_null(mkdtemp(root));
        outside = text_format("%s.outside", root);
        inside = fs_path(root, "link");
        assert_int_equal(mkdir(outside, 0500), 0);
        assert_int_equal(symlink(outside, inside), 0);
        fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (int i = 0; i < 1500; i++) {
                int deeper;

                assert_int_equal(mkdirat(fd, "deeper", 0700), 0);
                deeper = openat(fd, "deeper", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                close(fd);
                fd = deeper;
        }
        close(fd);
        assert_ok(fs_remove_tree(root, &err), err);
        assert_int_equal(lstat(root, &st), -1);
        assert_int_equal(stat(outside, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0500);
        assert_int_equal(rmdir(outside), 0);
}

TEST_MAIN()
