#include "commands/build_argument.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#include "tests/support/test.h"

#include "base/banned.h"

struct row {
        const char *text;
        enum build_argument_kind kind;
        const char *repo;
        const char *name;
        int64_t number;
        const char *job;
        const char *step;
};

static const struct row rows[] = {
        {"", BUILD_NEWEST, "", "", 0, "", ""},
        {"812", BUILD_NUMBER, "", "812", 812, "", ""},
        {"#812", BUILD_NUMBER, "", "812", 812, "", ""},
        {"812/test", BUILD_NUMBER, "", "812", 812, "test", ""},
        {"812/test/Run main script", BUILD_NUMBER, "", "812", 812, "test", "Run main script"},
        {"812/test/pytest", BUILD_NUMBER, "", "812", 812, "test", "pytest"},
        {"acme/api#812", BUILD_REPO_NUMBER, "acme/api", "", 812, "", ""},
        {"acme/api#812/test/2", BUILD_REPO_NUMBER, "acme/api", "", 812, "test", "2"},
        {"https://ci.example.org/r/acme/api/builds/812", BUILD_REPO_NUMBER, "acme/api", "", 812, "",
         ""},
        {"http://127.0.0.1:8080/base/r/acme/api/builds/812/jobs/unit%20test#L1232",
         BUILD_REPO_NUMBER, "acme/api", "", 812, "unit test", ""},
        {"https://ci.example.org/r/acme/api/builds/7?x=1", BUILD_REPO_NUMBER, "acme/api", "", 7, "",
         ""},
        {"9f2c1ab", BUILD_COMMIT, "", "9f2c1ab", 0, "", ""},
        {"35ad107c949533f9191cdebc71d3d0d3b1eb7c5a/test", BUILD_COMMIT, "",
         "35ad107c949533f9191cdebc71d3d0d3b1eb7c5a", 0, "test", ""},
        {"main", BUILD_BRANCH, "", "main", 0, "", ""},
        {"feature/login", BUILD_BRANCH, "", "feature/login", 0, "", ""},
        {"01998c2e-7a5b-7c3d-8e4f-0123456789ab/build", BUILD_ID, "",
         "01998c2e-7a5b-7c3d-8e4f-0123456789ab", 0, "build", ""},
};

TEST("every form of BUILD is understood")
{
        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                struct build_argument got = {0};
                struct error err = {0};

                assert_ok(build_argument_parse(&got, rows[i].text, &err), err);
                assert_int_equal(got.kind, rows[i].kind);
                assert_string_equal(got.repo, rows[i].repo);
                assert_string_equal(got.name, rows[i].name);
                assert_int_equal(got.number, rows[i].number);
                assert_string_equal(got.job, rows[i].job);
                assert_string_equal(got.step, rows[i].step);
                build_argument_done(&got);
        }
}

TEST("what names no build is refused with the forms that do")
{
        static const char *const texts[] = {
                "0",
                "812x/..#",
                "#x",
                "api#3",
                "a b",
                "/x#3",
                "acme/#3",
                "https://ci.example.org/",
                "99999999999999999999",
                "https://ci.example.org/r/acme/api/builds/x",
        };

        for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
                struct build_argument got = {0};
                struct error err = {0};

                assert_int_equal(build_argument_parse(&got, texts[i], &err), -ERROR_INVALID);
                assert_non_null(strstr(err.text, "names no build"));
        }
}

TEST("a repository's name is found in every shape of clone URL")
{
        static const char *const urls[][2] = {
                {"https://github.com/acme/api.git", "acme/api"},
                {"https://user@github.com/acme/api", "acme/api"},
                {"git@github.com:acme/api.git", "acme/api"},
                {"ssh://git@host:22/acme/api/", "acme/api"},
                {"file:///srv/git/acme/api.git", "acme/api"},
        };

        for (size_t i = 0; i < sizeof(urls) / sizeof(*urls); i++) {
                char *repo = build_argument_repo_of_url(urls[i][0]);

                assert_non_null(repo);
                assert_string_equal(repo, urls[i][1]);
                free(repo);
        }
        assert_null(build_argument_repo_of_url("api"));
        assert_null(build_argument_repo_of_url(""));
}

TEST_MAIN()
