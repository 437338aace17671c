#include "commands/options.h"

#include <string.h>

#include "base/error.h"
#include "commands/command.h"

#include "tests/support/test.h"

#include "base/banned.h"

static const struct command_option own[] = {
        {"follow", 'f', NULL, "", NULL},
        {"lines", 'n', "N", "", NULL},
        {"json", 0, "[FIELDS]", "", NULL},
        OPTION_END,
};
static const struct command_option common[] = {
        {"help", 'h', NULL, "", NULL},
        {"lint-only", 0, NULL, "", NULL},
        OPTION_END,
};
static const struct command_option *const tables[] = {own, common, NULL};

#define WORDS_MAX 16

struct given {
        char *words[WORDS_MAX];
        int n;
        int at;
        struct option_values values;
        struct error err;
};

static int parse(struct given *given, bool first, const char *const *words)
{
        given->n = 0;
        given->words[given->n++] = (char *)"argon";
        for (; *words; words++)
                given->words[given->n++] = (char *)*words;
        given->words[given->n] = NULL;
        given->values.n = 0;
        return options_parse(&given->values, tables, first, given->n, given->words, &given->at,
                             &given->err);
}

TEST("options may stand before, between and after arguments")
{
        static const char *const words[] = {"812", "-f", "--lines", "20", "x", NULL};
        struct given given = {0};

        assert_ok(parse(&given, false, words), given.err);
        assert_int_equal(given.n - given.at, 2);
        assert_string_equal(given.words[given.at], "812");
        assert_string_equal(given.words[given.at + 1], "x");
        assert_string_equal(options_last(&given.values, "lines"), "20");
        assert_string_equal(options_last(&given.values, "follow"), "");
        assert_null(options_last(&given.values, "json"));
}

TEST("two dashes end the options")
{
        static const char *const words[] = {"--", "-f", NULL};
        struct given given = {0};

        assert_ok(parse(&given, false, words), given.err);
        assert_null(options_last(&given.values, "follow"));
        assert_string_equal(given.words[given.at], "-f");
}

TEST("of an option given twice the last value counts and both are kept")
{
        static const char *const words[] = {"-n1", "-n", "2", NULL};
        struct given given = {0};

        assert_ok(parse(&given, false, words), given.err);
        assert_string_equal(options_last(&given.values, "lines"), "2");
        assert_int_equal(given.values.n, 2);
}

TEST("an optional value is only taken with an equals sign")
{
        static const char *const without[] = {"--json", "id", NULL};
        static const char *const with[] = {"--json=id,state", NULL};
        struct given given = {0};

        assert_ok(parse(&given, false, without), given.err);
        assert_string_equal(options_last(&given.values, "json"), "");
        assert_string_equal(given.words[given.at], "id");
        assert_ok(parse(&given, false, with), given.err);
        assert_string_equal(options_last(&given.values, "json"), "id,state");
}

TEST("a mistyped option is refused with what was meant")
{
        static const char *const words[] = {"--folow", NULL};
        struct given given = {0};

        assert_int_equal(parse(&given, false, words), -ERROR_INVALID);
        assert_string_equal(given.err.text, "unknown option '--folow'. Did you mean '--follow'?");
}

TEST("a letter that is no option, a missing value and a value too many are told apart")
{
        static const char *const letter[] = {"-x", NULL};
        static const char *const missing[] = {"--lines", NULL};
        static const char *const many[] = {"--follow=yes", NULL};
        static const char *const vague[] = {"--li", NULL};
        struct given given = {0};

        assert_int_equal(parse(&given, false, letter), -ERROR_INVALID);
        assert_string_equal(given.err.text, "unknown option '-x'");
        assert_int_equal(parse(&given, false, missing), -ERROR_INVALID);
        assert_string_equal(given.err.text, "'--lines' needs a value: --lines N");
        assert_int_equal(parse(&given, false, many), -ERROR_INVALID);
        assert_string_equal(given.err.text, "'--follow' takes no value");
        assert_int_equal(parse(&given, false, vague), -ERROR_INVALID);
        assert_string_equal(given.err.text, "'--li' could mean several options");
}

TEST("before the command's name, parsing stops at the first word")
{
        static const char *const words[] = {"-h", "logs", "-f", NULL};
        struct given given = {0};

        assert_ok(parse(&given, true, words), given.err);
        assert_string_equal(given.words[given.at], "logs");
        assert_null(options_last(&given.values, "follow"));
        assert_non_null(options_last(&given.values, "help"));
}

TEST_MAIN()
