/* Against the real git, with repositories made on the spot. */
#include "adapters/forge/git.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapters/forge/git_url.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/process.h"
#include "base/scoped.h"
#include "ports/forge.h"
#include "tests/support/test.h"

#include "base/banned.h"

static char folder[] = "/tmp/argon-git-test-XXXXXX";

/* Runs a script in a fresh folder; its stdout without the last newline. */
static char *shell(const char *script)
{
        scoped_process_result struct process_result result = PROCESS_RESULT_INIT;
        static const char preamble[] =
                "set -e; export HOME=$PWD GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=Ann "
                "GIT_AUTHOR_EMAIL=ann@example.org GIT_COMMITTER_NAME=Cem "
                "GIT_COMMITTER_EMAIL=cem@example.org; ";
        scoped_text char *whole = text_format("%s%s", preamble, script);
        struct process_spec spec = {
                .argv = (const char *const[]){"sh", "-c", whole, NULL},
                .folder = folder,
                .output_max = 100000,
                .cancel_fd = -1,
        };
        struct error err = {0};

        assert_ok(process_run(&result, &spec, &err), err);
        if (result.exit_code != 0)
                fail_msg("script failed: %s", result.errors.data);
        if (result.output.len && result.output.data[result.output.len - 1] == '\n')
                str_truncate(&result.output, result.output.len - 1);
        return str_steal(&result.output);
}

struct fixture {
        struct forge *forge;
        char *mirrors;
        char *url;
        char *commit;
        struct forge_options options;
};

/* A repository "origin" with one commit; the forge may fetch by file. */
static struct fixture *fixture_new(const char *script)
{
        struct fixture *fixture = xcalloc(1, sizeof(*fixture));
        struct error err = {0};

        if (!strchr(folder, 'X') || mkdtemp(folder) == NULL)
                free(shell("rm -rf origin mirrors out"));
        fixture->mirrors = fs_path(folder, "mirrors");
        fixture->url = text_format("file://%s/origin", folder);
        free(shell("git init -q -b main origin"));
        free(shell(script));
        fixture->commit = shell("git -C origin rev-parse HEAD");
        fixture->options = (struct forge_options){
                .mirrors = fixture->mirrors,
                .allow = "https:file",
                .timeout_ms = 20000,
                .size_max = 100 << 20,
        };
        assert_ok(git_forge_open(&fixture->forge, &fixture->options, &err), err);
        return fixture;
}

static void fixture_free(struct fixture *fixture)
{
        forge_close(fixture->forge);
        free(shell("rm -rf origin mirrors out"));
        free(fixture->mirrors);
        free(fixture->url);
        free(fixture->commit);
        free(fixture);
}

static struct forge_source source_of(const struct fixture *fixture)
{
        return (struct forge_source){fixture->url, "refs/heads/main", fixture->commit};
}

static int fetch(struct fixture *fixture, const struct forge_source *source, struct error *err)
{
        return forge_fetch(fixture->forge, source, NULL, NULL, -1, err);
}

#define COMMIT_ALL "git -C origin add -A; git -C origin commit -q -m 'First\n\nwith a body'"

TEST("a pushed commit is fetched once, read as blobs, described and checked out")
{
        struct fixture *fixture = fixture_new("echo 'version: 1' > origin/.runnerci.yml; mkdir "
                                              "origin/d; echo x > origin/d/f; " COMMIT_ALL);
        struct forge_source source = source_of(fixture);
        struct forge_commit commit = {0};
        scoped_str struct str blob = STR_INIT;
        scoped_str struct str names = STR_INIT;
        scoped_text char *out = fs_path(folder, "out");
        scoped_text char *status = NULL;
        struct error err = {0};

        assert_ok(fetch(fixture, &source, &err), err);
        free(shell("mv origin away"));
        assert_ok(fetch(fixture, &source, &err), err);
        free(shell("mv away origin"));
        assert_ok(forge_read_blob(fixture->forge, &source, ".runnerci.yml", 1000, &blob, &err),
                  err);
        assert_string_equal(blob.data, "version: 1\n");
        assert_int_equal(forge_read_blob(fixture->forge, &source, ".runnerci.yml", 4, &blob, &err),
                         -ERROR_LIMIT);
        assert_int_equal(forge_read_blob(fixture->forge, &source, "none", 4, &blob, &err),
                         -ERROR_NOT_FOUND);
        assert_int_equal(forge_read_blob(fixture->forge, &source, "d", 4, &blob, &err),
                         -ERROR_INVALID);
        assert_ok(forge_list_root(fixture->forge, &source, &names, &err), err);
        assert_string_equal(names.data, ".runnerci.yml\nd\n");
        assert_ok(forge_commit(fixture->forge, &source, &commit, &err), err);
        assert_string_equal(commit.author, "Ann");
        assert_string_equal(commit.committer_email, "cem@example.org");
        assert_string_equal(commit.message, "First\n\nwith a body");
        forge_commit_done(&commit);
        mkdir(out, 0700);
        assert_ok(forge_checkout(fixture->forge, &source, out, -1, &err), err);
        free(shell("rm -rf mirrors"));
        status = shell("cat out/d/f; git -C out status --porcelain; git -C out log --format=%an");
        assert_string_equal(status, "x\nAnn");
        fixture_free(fixture);
}

TEST("a commit that is gone, a repository that is gone and an odd id are told apart")
{
        struct fixture *fixture = fixture_new("echo x > origin/f; " COMMIT_ALL);
        struct forge_source source = source_of(fixture);
        struct error err = {0};

        source.commit = "0123456789012345678901234567890123456789";
        assert_int_equal(fetch(fixture, &source, &err), -ERROR_NOT_FOUND);
        assert_non_null(strstr(err.text, "no longer in the repository"));
        source.commit = "--upload-pack=touch /tmp/PWN";
        assert_int_equal(fetch(fixture, &source, &err), -ERROR_INVALID);
        source = source_of(fixture);
        source.url = "file:///nowhere/at/all";
        assert_int_equal(fetch(fixture, &source, &err), -ERROR_NOT_FOUND);
        source.url = "https://user:secret@127.0.0.1:1/x.git";
        assert_int_equal(fetch(fixture, &source, &err), -ERROR_UNAVAILABLE);
        assert_null(strstr(err.text, "secret"));
        fixture_free(fixture);
}

TEST("only protocols that are allowed are used, and nothing is executed by a URL or a ref")
{
        struct fixture *fixture = fixture_new("echo x > origin/f; " COMMIT_ALL);
        struct forge_source source = source_of(fixture);
        scoped_text char *marker = fs_path(folder, "PWN");
        scoped_text char *ext = text_format("ext::sh -c touch%% %s", marker);
        char commit[65];
        struct stat st;
        struct error err = {0};
        const char *const urls[] = {"git://127.0.0.1/x", "ssh://-oProxyCommand=touch/x",
                                    "--upload-pack=touch PWN", ext, "http://127.0.0.1:1/x"};

        for (size_t i = 0; i < sizeof(urls) / sizeof(*urls); i++) {
                source.url = urls[i];
                assert_true(fetch(fixture, &source, &err) < 0);
        }
        free(shell("git -C origin update-ref 'refs/heads/--upload-pack=touch${IFS}PWN' HEAD"));
        source = source_of(fixture);
        source.ref = "refs/heads/--upload-pack=touch${IFS}PWN";
        assert_ok(fetch(fixture, &source, &err), err);
        assert_ok(forge_resolve(fixture->forge, fixture->url, source.ref, commit, &err), err);
        assert_string_equal(commit, fixture->commit);
        assert_int_equal(stat(marker, &st), -1);
        fixture_free(fixture);
}

TEST("a link, a submodule or a large file as configuration is refused with its reason")
{
        struct fixture *fixture =
                fixture_new("ln -s /etc/passwd origin/link; git init -q origin/sub; "
                            "git -C origin/sub commit -q --allow-empty -m x; "
                            "head -c 300000 /dev/zero > origin/large; " COMMIT_ALL);
        struct forge_source source = source_of(fixture);
        scoped_str struct str blob = STR_INIT;
        struct error err = {0};

        assert_ok(fetch(fixture, &source, &err), err);
        assert_int_equal(forge_read_blob(fixture->forge, &source, "link", 262144, &blob, &err),
                         -ERROR_INVALID);
        assert_non_null(strstr(err.text, "symbolic link"));
        assert_int_equal(forge_read_blob(fixture->forge, &source, "sub", 262144, &blob, &err),
                         -ERROR_INVALID);
        assert_non_null(strstr(err.text, "submodule"));
        assert_int_equal(forge_read_blob(fixture->forge, &source, "large", 262144, &blob, &err),
                         -ERROR_LIMIT);
        assert_int_equal(blob.len, 0);
        fixture_free(fixture);
}

TEST("hooks, filters and configuration of the repository do not run at checkout")
{
        struct fixture *fixture = fixture_new(
                "echo '* filter=evil' > origin/.gitattributes; echo x > origin/f; " COMMIT_ALL
                "; mkdir -p origin/.git/hooks; printf '#!/bin/sh\\ntouch %s\\n' $PWD/PWN > "
                "origin/.git/hooks/post-checkout; chmod +x origin/.git/hooks/post-checkout; "
                "git -C origin config filter.evil.smudge \"touch $PWD/PWN\"");
        struct forge_source source = source_of(fixture);
        scoped_text char *out = fs_path(folder, "out");
        scoped_text char *marker = fs_path(folder, "PWN");
        struct stat st;
        struct error err = {0};

        assert_ok(fetch(fixture, &source, &err), err);
        mkdir(out, 0700);
        assert_ok(forge_checkout(fixture->forge, &source, out, -1, &err), err);
        assert_int_equal(stat(marker, &st), -1);
        fixture_free(fixture);
}

TEST("a tree with '..' is refused")
{
        struct fixture *fixture =
                fixture_new("cd origin; b=$(echo pwn | git hash-object -w --stdin); "
                            "t=$(printf '100644 blob %s\\tf\\n' $b | git mktree); "
                            "t=$(printf '040000 tree %s\\t..\\n' $t | git mktree); "
                            "git update-ref HEAD $(git commit-tree -m x $t)");
        struct forge_source source = source_of(fixture);
        struct error err = {0};

        assert_int_equal(fetch(fixture, &source, &err), -ERROR_INVALID);
        assert_non_null(strstr(err.text, "malformed or dangerous"));
        fixture_free(fixture);
}

TEST("a repository over the limit is not taken")
{
        struct fixture *fixture =
                fixture_new("head -c 3000000 /dev/urandom > origin/large; " COMMIT_ALL);
        struct forge_source source = source_of(fixture);
        struct error err = {0};

        forge_close(fixture->forge);
        fixture->options.size_max = 1 << 20;
        assert_ok(git_forge_open(&fixture->forge, &fixture->options, &err), err);
        assert_int_equal(fetch(fixture, &source, &err), -ERROR_LIMIT);
        fixture_free(fixture);
}

TEST("URLs are rewritten by their prefix and shown without credentials")
{
        scoped_text char *url = NULL;
        scoped_str struct str shown = STR_INIT;
        struct error err = {0};

        assert_ok(git_url_resolve(&url, "https://github.com/a/b.git",
                                  "https://x/=y\nhttps://github.com/=file:///srv/git/", "file",
                                  &err),
                  err);
        assert_string_equal(url, "file:///srv/git/a/b.git");
        git_url_redact("fatal: https://u:p@h/x and http://plain/y@z", &shown);
        assert_string_equal(shown.data, "fatal: https://***@h/x and http://plain/y@z");
}

TEST_MAIN()
