#include <string.h>

#include "base/error.h"
#include "commands/exec.h"
#include "tests/support/test.h"

#include "base/banned.h"

static int collect(void *data, const char *name, const char *value, struct error *err)
{
        (void)err;
        str_printf(data, "%s=%s;", name, value);
        return 0;
}

static int read_text(const char *text, struct str *ret, struct error *err)
{
        return exec_env_file("f", text, collect, ret, err);
}

TEST("lines of an environment file are names and values, remarks and blank lines are passed over")
{
        scoped_str struct str found = STR_INIT;
        struct error err = {0};

        assert_ok(read_text("A=1\n\n# remark\n  B=two words  \r\nexport C=x#y # z\nD=\nE=a=b",
                            &found, &err),
                  err);
        assert_string_equal(found.data, "A=1;B=two words;C=x#y;D=;E=a=b;");
}

TEST("quotes keep what stands in them, double ones know escapes")
{
        scoped_str struct str found = STR_INIT;
        struct error err = {0};

        assert_ok(read_text("A='a # \\n b'\nB=\"a\\n\\\"b\\\" \\\\\" # remark\n", &found, &err),
                  err);
        assert_string_equal(found.data, "A=a # \\n b;B=a\n\"b\" \\;");
}

TEST("a line that is none says where")
{
        scoped_str struct str found = STR_INIT;
        struct error err = {0};

        assert_int_equal(read_text("A=1\nB\n", &found, &err), -ERROR_INVALID);
        assert_string_equal(err.text, "f:2: write NAME=VALUE");
        assert_int_equal(read_text("1A=1\n", &found, &err), -ERROR_INVALID);
        assert_int_equal(read_text("A-B=1\n", &found, &err), -ERROR_INVALID);
}

TEST_MAIN()
