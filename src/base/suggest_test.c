#include "base/suggest.h"

#include <string.h>

#include "tests/support/test.h"

#include "base/banned.h"

static const char *const words[] = {"rerun", "builds", "status", "cancel", "completion", "up"};

static const char *meant(const char *word)
{
        return suggest(word, words, sizeof(words) / sizeof(*words));
}

TEST("a doubled, a missing, a wrong and a swapped letter are understood")
{
        assert_string_equal(meant("rerunn"), "rerun");
        assert_string_equal(meant("biulds"), "builds");
        assert_string_equal(meant("staus"), "status");
        assert_string_equal(meant("canxel"), "cancel");
        assert_string_equal(meant("compleiton"), "completion");
}

TEST("a word that is far from all of them suggests nothing")
{
        assert_null(meant("deploy"));
        assert_null(meant(""));
        assert_null(meant("xx"));
}

TEST("a word longer than the limit suggests nothing")
{
        char text[SUGGEST_LENGTH_MAX + 2];

        memset(text, 'r', sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        assert_null(meant(text));
}

TEST("the nearest of several wins, not the first")
{
        static const char *const near[] = {"needed", "needs"};

        assert_string_equal(suggest("needss", near, 2), "needs");
}

TEST_MAIN()
