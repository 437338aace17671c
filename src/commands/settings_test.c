#include "commands/settings.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/scoped.h"
#include "base/str.h"

#include "tests/support/test.h"

#include "base/banned.h"

/* A folder of its own for each test, as HOME; nothing of the machine's environment shines in. */
static char *make_home(void)
{
        char *home = text_copy("/tmp/argon-settings-XXXXXX");

        assert_non_null(mkdtemp(home));
        clearenv();
        setenv("HOME", home, 1);
        return home;
}

static void done(char *home)
{
        assert_int_equal(fs_remove_tree(home, NULL), 0);
        free(home);
}

static char *put(const char *home, const char *name, const char *text)
{
        char *path = fs_path(home, name);

        assert_int_equal(fs_write_atomic(path, text, strlen(text), 0600, NULL), 0);
        return path;
}

static int load(struct settings **ret, const char *file, struct error *err)
{
        return settings_load(ret, file, false, NULL, 0, err);
}

static const char *origin_of(const struct settings *settings, const char *key)
{
        return config_origin(settings->config, (size_t)config_find(settings->config, key));
}

TEST("without any source the defaults hold")
{
        char *home = make_home();
        scoped_text char *data = text_format("%s/.local/share/argon", home);
        scoped(settings) struct settings *settings = NULL;
        struct error err = {0};

        assert_ok(load(&settings, NULL, &err), err);
        assert_string_equal(settings->data, data);
        assert_string_equal(settings->listen, "127.0.0.1:8080");
        assert_int_equal(settings->job_timeout_ms, 3600000);
        assert_int_equal(settings->job_memory, INT64_C(2) << 30);
        assert_int_equal(settings->job_millicpus, 2000);
        assert_int_equal(settings->retention_keep, 100);
        assert_int_equal(settings->retention_builds_ms, INT64_C(180) * 86400000);
        assert_null(settings->webhook_secret);
        done(home);
}

TEST("a flag beats the environment, which beats the file, which beats the default")
{
        char *home = make_home();
        scoped_text char *path = put(home, "a.conf", "slots = 2\nlabels = file\ngrace = 5s\n");
        scoped(settings) struct settings *settings = NULL;
        struct settings_flag flag = {.key = "slots", .flag = "slots", .value = "4"};
        scoped_text char *line = text_format("%s:3", path);
        struct error err = {0};

        setenv("ARGON_SLOTS", "3", 1);
        setenv("ARGON_LABELS", "environment", 1);
        assert_ok(settings_load(&settings, path, false, &flag, 1, &err), err);
        assert_int_equal(settings->slots, 4);
        assert_string_equal(settings->labels, "environment");
        assert_int_equal(settings->grace_ms, 5000);
        assert_string_equal(origin_of(settings, "slots"), "flag slots");
        assert_string_equal(origin_of(settings, "labels"), "environment ARGON_LABELS");
        assert_string_equal(origin_of(settings, "grace"), line);
        assert_string_equal(origin_of(settings, "job.pids"), "default");
        done(home);
}

static void refused(const char *text, const char *expected)
{
        char *home = make_home();
        scoped_text char *path = put(home, "a.conf", text);
        scoped(settings) struct settings *settings = NULL;
        scoped_text char *full = text_format("%s%s", path, expected);
        struct error err = {0};

        assert_int_equal(load(&settings, path, &err), -ERROR_INVALID);
        assert_string_equal(err.text, full);
        done(home);
}

TEST("a wrong value in a file is an error with file, line, value and what is allowed")
{
        refused("\n# comment\nslots = many\n",
                ":3: slots: 'many' is not a whole number; allowed: 1 to 1024");
        refused("engine = podman\n",
                ":1: engine: 'podman' is none of these; allowed: auto|docker|local");
        refused("grace = 2w\n",
                ":1: grace: '2w' is not a duration; write it like 90s, 5m, 2h30m or 30d (at most "
                "10 years); allowed: a duration of at most 1d");
        refused("job.cpus = 1.5x\n", ":1: job.cpus: '1.5x' is not a number like 2 or 1.5; allowed: "
                                     "0.01 to 4096");
        refused("log.max = 1k\n", ":1: log.max: '1k' is out of range; allowed: 64KiB to 1TiB");
}

TEST("an unknown key, a line without an equals sign and a key that stands twice are errors")
{
        refused("sltos = 2\n", ":1: unknown setting 'sltos'; did you mean 'slots'?");
        refused("frobnicate = 2\n", ":1: unknown setting 'frobnicate'; `argon config list` shows "
                                    "all of them");
        refused("slots\n", ":1: 'slots' is not `key = value`");
        refused("slots = 1\nslots = 2\n", ":2: 'slots' stands twice in this file");
        refused("labels = \"a\n", ":1: the quote is not closed");
}

TEST("a wrong value is refused also where a stronger source replaces it")
{
        char *home = make_home();
        scoped_text char *path = put(home, "a.conf", "slots = many\n");
        scoped(settings) struct settings *settings = NULL;
        struct error err = {0};

        setenv("ARGON_SLOTS", "3", 1);
        assert_int_equal(load(&settings, path, &err), -ERROR_INVALID);
        done(home);
}

TEST("a wrong value in the environment names the variable")
{
        char *home = make_home();
        scoped(settings) struct settings *settings = NULL;
        struct error err = {0};

        setenv("ARGON_MAIL_POLICY", "sometimes", 1);
        assert_int_equal(load(&settings, NULL, &err), -ERROR_INVALID);
        assert_string_equal(err.text, "environment ARGON_MAIL_POLICY: mail.policy: 'sometimes' is "
                                      "none of these; allowed: always|change|failure|never");
        done(home);
}

TEST("a secret comes from its file twin, without the newline, and never stands in an error")
{
        char *home = make_home();
        scoped_text char *path = put(home, "secret", "hunter22\nolder\n");
        scoped(settings) struct settings *settings = NULL;
        struct error err = {0};

        setenv("ARGON_WEBHOOK_SECRET_FILE", path, 1);
        assert_ok(load(&settings, NULL, &err), err);
        assert_string_equal(settings->webhook_secret, "hunter22\nolder");
        setenv("ARGON_WEBHOOK_SECRET_FILE", "/nonexistent", 1);
        settings_freep(&settings);
        settings = NULL;
        assert_int_equal(load(&settings, NULL, &err), -ERROR_NOT_FOUND);
        assert_non_null(strstr(err.text, "environment ARGON_WEBHOOK_SECRET_FILE"));
        done(home);
}

TEST("a key of several lines may be repeated in a file, and a stronger source replaces all")
{
        char *home = make_home();
        scoped_text char *path = put(home, "a.conf", "listen = 127.0.0.1:1\nlisten = [::1]:2\n");
        scoped(settings) struct settings *settings = NULL;
        struct error err = {0};

        assert_ok(load(&settings, path, &err), err);
        assert_string_equal(settings->listen, "127.0.0.1:1\n[::1]:2");
        settings_freep(&settings);
        settings = NULL;
        setenv("ARGON_LISTEN", "127.0.0.1:3", 1);
        assert_ok(load(&settings, path, &err), err);
        assert_string_equal(settings->listen, "127.0.0.1:3");
        done(home);
}

TEST("the user's own file may name a server, but no setting of one")
{
        char *home = make_home();
        scoped_text char *folder = text_format("%s/.config/argon", home);
        scoped(settings) struct settings *settings = NULL;
        struct error err = {0};
        char *path;

        assert_int_equal(fs_mkdirs(folder, 0700, NULL), 0);
        path = put(folder, "config", "server = https://ci.example.org\n");
        assert_ok(load(&settings, NULL, &err), err);
        assert_string_equal(settings->server, "https://ci.example.org");
        free(path);
        settings_freep(&settings);
        settings = NULL;
        path = put(folder, "config", "slots = 2\n");
        assert_int_equal(load(&settings, NULL, &err), -ERROR_INVALID);
        assert_non_null(strstr(err.text, "setting of the server"));
        free(path);
        done(home);
}

TEST("what a job gets may not be more than what a file may ask for")
{
        refused("job.memory = 64GiB\n", ":1: job.memory = 64GiB is more than job.memory.max");
}

TEST("a retention, a rewrite and a URL of another shape are refused")
{
        refused("retention.builds = 100\n", ":1: retention.builds = '100' is not like '100 and "
                                            "180d' (how many, and how long)");
        refused("git.rewrite = https://github.com/\n",
                ":1: git.rewrite = 'https://github.com/' is not PREFIX=REPLACEMENT");
        refused("url = ci.example.org\n",
                ":1: url = 'ci.example.org' is not a URL; allowed: http://HOST[:PORT] or "
                "https://HOST[:PORT]");
}

TEST("a data folder that is named from here is made absolute, and keeps its origin")
{
        char *home = make_home();
        scoped_text char *here = getcwd(NULL, 0);
        scoped_text char *expected = text_format("%s/some/folder", here);
        scoped(settings) struct settings *settings = NULL;
        struct error err = {0};

        setenv("ARGON_DATA", "some/folder", 1);
        assert_ok(load(&settings, NULL, &err), err);
        assert_string_equal(settings->data, expected);
        assert_string_equal(origin_of(settings, "data"), "environment ARGON_DATA");
        done(home);
}

TEST("a variable that is no setting is found out")
{
        char *home = make_home();
        scoped(settings) struct settings *settings = NULL;
        static const char *const known[] = {"ARGON_OUTPUT", NULL};
        scoped_str struct str text = STR_INIT;
        struct error err = {0};

        setenv("ARGON_SLOT", "3", 1);
        setenv("ARGON_OUTPUT", "x", 1);
        setenv("ARGON_TOKEN_FILE", "/dev/null", 1);
        unsetenv("ARGON_TOKEN_FILE");
        assert_ok(load(&settings, NULL, &err), err);
        config_unknown_variables(settings->config, environ, known, &text);
        assert_string_equal(text.data,
                            "environment ARGON_SLOT is no setting; did you mean ARGON_SLOTS?\n");
        done(home);
}

TEST_MAIN()
