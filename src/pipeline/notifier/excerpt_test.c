#include "pipeline/notifier/excerpt.h"

#include <string.h>

#include "base/str.h"
#include "tests/support/test.h"

#include "base/banned.h"

static int run(struct str *ret, int lines, int error_at, int64_t last)
{
        scoped_str struct str tail = STR_INIT;

        for (int i = 1; i <= lines; i++)
                str_printf(&tail, i == error_at ? "Error here %d\n" : "line %d\n", i);
        return excerpt_add(ret, tail.data, last);
}

TEST("without anything that looks like an error the last 20 lines are shown, numbered")
{
        scoped_str struct str text = STR_INIT;

        assert_int_equal(run(&text, 30, 0, 130), 20);
        assert_true(text_starts(text.data, "  111 | line 11\n"));
        assert_true(text_ends(text.data, "  130 | line 30\n"));
        assert_null(strstr(text.data, "..."));
}

TEST("around the first error, and the last ten, with a mark where lines are left out")
{
        scoped_str struct str text = STR_INIT;

        assert_int_equal(run(&text, 40, 7, 40), 30);
        assert_true(text_starts(text.data, "  2 | line 2\n"));
        assert_non_null(strstr(text.data, "  7 | Error here 7\n"));
        assert_non_null(strstr(text.data, "  21 | line 21\n  ...\n  31 | line 31\n"));
        assert_true(text_ends(text.data, "  40 | line 40\n"));
}

TEST("lines whose numbers are not known have none, a short tail is shown whole")
{
        scoped_str struct str text = STR_INIT;

        assert_int_equal(excerpt_add(&text, "one\ntwo", 0), 2);
        assert_string_equal(text.data, "  one\n  two\n");
        str_clear(&text);
        assert_int_equal(excerpt_add(&text, "", 5), 0);
        assert_string_equal(text.data, "");
}

TEST("colours, titles and control characters are taken out, bytes that are no text replaced")
{
        static const struct {
                const char *in, *out;
        } table[] = {
                {"\033[1;31mred\033[0m!", "red!"},
                {"a\033]0;title\ab", "ab"},
                {"a\033]8;;http://x\033\\b", "ab"},
                {"a\rb\bc\x7f", "abc"},
                {"tab\there", "tab here"},
                {"caf\xc3\xa9 \xff!", "caf\xc3\xa9 \xef\xbf\xbd!"},
                {"\xc2\x9b"
                 "31m",
                 "31m"},
                {"cut \033[31", "cut "},
                {"end \033", "end "},
                {"\033\xc3\xa9!", "\xc3\xa9!"},
                {"\033]0;t\033\xc3\xa9!", "\xc3\xa9!"},
        };

        for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
                scoped_str struct str text = STR_INIT;

                excerpt_clean(&text, table[i].in, strlen(table[i].in), 200);
                assert_string_equal(text.data, table[i].out);
        }
}

TEST("long lines are cut in characters, a long excerpt loses its front")
{
        scoped_str struct str text = STR_INIT;
        scoped_str struct str tail = STR_INIT;

        excerpt_clean(&text, "\xc3\xa4\xc3\xb6\xc3\xbc!", 7, 3);
        assert_string_equal(text.data, "\xc3\xa4\xc3\xb6\xc3\xbc...");
        str_clear(&text);
        for (int i = 0; i < 30; i++) {
                for (int k = 0; k < 250; k++)
                        str_add(&tail, "\xe2\x99\xa5");
                str_add_char(&tail, '\n');
        }
        excerpt_add(&text, tail.data, 30);
        assert_true(text.len <= EXCERPT_BYTES_MAX + 8);
        assert_true(text_starts(text.data, "  ...\n  "));
        assert_non_null(strstr(text.data, "\n  30 | "));
        assert_true(utf8_valid(text.data, text.len));
}

TEST_MAIN()
