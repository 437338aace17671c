#include "step/workspace.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/scoped.h"
#include "base/str.h"
#include "tests/support/test.h"

#include "base/banned.h"

#define SOMEBODY 12345

static char *make_workspace(void)
{
        char *path = text_copy("/tmp/argon-workspace-XXXXXX");
        scoped_text char *deep = NULL;
        scoped_text char *file = NULL;
        scoped_text char *link = NULL;

        assert_non_null(mkdtemp(path));
        deep = text_format("%s/a/b", path);
        file = text_format("%s/a/b/file", path);
        link = text_format("%s/a/link", path);
        assert_int_equal(fs_mkdirs(deep, 0700, NULL), 0);
        assert_int_equal(symlink("/etc/passwd", link), 0);
        close(open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        return path;
}

static uid_t owner_of(const char *folder, const char *name)
{
        scoped_text char *path = fs_path(folder, name);
        struct stat st;

        assert_int_equal(lstat(path, &st), 0);
        return st.st_uid;
}

/* Run by root, as in a container; anybody else cannot make files of two users. */
TEST("what root made in another's folder becomes the other's, through no link")
{
        scoped_text char *path = make_workspace();
        struct stat before;
        struct stat after;

        assert_int_equal(stat("/etc/passwd", &before), 0);
        if (geteuid() == 0) {
                assert_int_equal(chown(path, SOMEBODY, SOMEBODY), 0);
                workspace_give_back(path);
                assert_int_equal(owner_of(path, "a"), SOMEBODY);
                assert_int_equal(owner_of(path, "a/b/file"), SOMEBODY);
                assert_int_equal(owner_of(path, "a/link"), SOMEBODY);
        }
        assert_int_equal(stat("/etc/passwd", &after), 0);
        assert_int_equal(before.st_uid, after.st_uid);
        fs_remove_tree(path, NULL);
}

TEST("who may not give files away opens the folders")
{
        scoped_text char *path = make_workspace();
        scoped_text char *deep = text_format("%s/a/b", path);
        struct stat st;

        if (geteuid() == 0) {
                scoped_text char *top = text_format("%s/a", path);
                pid_t pid;

                assert_int_equal(chown(path, SOMEBODY, SOMEBODY), 0);
                assert_int_equal(chmod(path, 0777), 0);
                assert_int_equal(chown(top, SOMEBODY + 1, SOMEBODY), 0);
                assert_int_equal(chown(deep, SOMEBODY + 1, SOMEBODY), 0);
                pid = fork();
                if (pid == 0) {
                        if (setuid(SOMEBODY + 1) < 0)
                                _exit(1);
                        workspace_give_back(path);
                        _exit(0);
                }
                waitpid(pid, NULL, 0);
                assert_int_equal(stat(deep, &st), 0);
                assert_int_equal(st.st_mode & 0777, 0777);
        }
        fs_remove_tree(path, NULL);
}

TEST("an owner's own folder stays as it is")
{
        scoped_text char *path = make_workspace();
        scoped_text char *deep = text_format("%s/a/b", path);
        struct stat st;

        workspace_give_back(path);
        assert_int_equal(stat(deep, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0700);
        workspace_give_back("/nowhere/at/all");
        fs_remove_tree(path, NULL);
}

TEST_MAIN()
