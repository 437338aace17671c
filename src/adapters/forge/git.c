/*
 * How it works: a bare mirror per URL lies in OPTIONS.mirrors/HASH.git. A commit is fetched alone
 * (depth 1) by its id under refs/argon/ID, so that no branch name of an outsider ever becomes an
 * argument or a path. Whether it is there already is asked without a lock; fetching takes turns
 * under a lock file, for threads and processes alike.
 *
 * A checkout fetches from the mirror into a repository of its own instead of sharing objects: what
 * a job does to its .git cannot reach the mirror.
 */
#include "adapters/forge/git.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapters/forge/git_command.h"
#include "adapters/forge/git_url.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/scoped.h"
#include "base/str.h"
#include "ports/forge.h"

#include "base/banned.h"

#define LIST_BYTES_MAX (1024 * 1024)
#define LIST_NAMES_MAX 10000
#define COMMIT_BYTES_MAX (1024 * 1024)
#define MIRROR_PACKS_MAX 50 /* then they are packed into one, and old commits let go */
#define MIRROR_REFS_KEPT 100
#define LOCK_RETRY_MS 20

struct git_forge {
        struct forge port;
        struct forge_options options;
};

static struct git_forge *forge_of(struct forge *forge)
{
        return (struct git_forge *)forge;
}

static char *mirror_path(const struct git_forge *forge, const char *url)
{
        unsigned char hash[EVP_MAX_MD_SIZE];
        unsigned n = 0;
        struct str path = STR_INIT;

        EVP_Digest(url, strlen(url), hash, &n, EVP_sha256(), NULL);
        str_printf(&path, "%s/", forge->options.mirrors);
        for (unsigned i = 0; i < 16 && i < n; i++)
                str_printf(&path, "%02x", hash[i]);
        str_add(&path, ".git");
        return str_steal(&path);
}

static int check_commit(const char *commit, struct error *err)
{
        size_t n = strlen(commit);

        if ((n != 40 && n != 64) || strspn(commit, "0123456789abcdef") != n)
                return error_set(err, ERROR_INVALID, "'%.80s' is not a commit id", commit);
        return 0;
}

static int git(struct git_forge *forge, struct process_result *ret, const char *folder,
               const char *const *arguments, struct error *err)
{
        struct git_command command = {
                .options = &forge->options,
                .folder = folder,
                .arguments = arguments,
                .allow = "",
                .output_max = LIST_BYTES_MAX,
                .cancel_fd = -1,
        };

        return git_run(ret, &command, err);
}

static bool has_commit(struct git_forge *forge, const char *mirror, const char *commit)
{
        scoped_process_result struct process_result result = PROCESS_RESULT_INIT;
        scoped_text char *object = text_format("%s^{tree}", commit);
        struct stat st;

        if (stat(mirror, &st) < 0)
                return false;
        return git(forge, &result, mirror, (const char *const[]){"cat-file", "-e", object, NULL},
                   NULL) == 0;
}

/* The lock is a file beside the mirror; it is gone with the process that held it. */
static int lock_mirror(int *ret, const char *mirror, int cancel_fd, int64_t timeout_ms,
                       struct error *err)
{
        scoped_text char *path = text_format("%s.lock", mirror);
        scoped_fd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        int64_t deadline = clock_ms() + timeout_ms;

        if (fd < 0)
                return error_set_errno(err, "open '%s'", path);
        while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
                struct pollfd cancel = {cancel_fd, POLLIN, 0};

                if (errno != EWOULDBLOCK && errno != EINTR)
                        return error_set_errno(err, "lock '%s'", path);
                if (clock_ms() > deadline)
                        return error_set(err, ERROR_UNAVAILABLE,
                                         "another fetch of this repository does not end");
                if (poll(&cancel, 1, LOCK_RETRY_MS) > 0)
                        return error_set(err, ERROR_CANCELLED, "cancelled");
        }
        *ret = take_fd(&fd);
        return 0;
}

/* A git that was killed leaves locks behind; we hold the lock that counts. */
static void remove_stale_locks(const char *mirror, const char *commit)
{
        const char *const names[] = {"shallow.lock", "packed-refs.lock", "config.lock",
                                     "HEAD.lock"};
        scoped_text char *ref = text_format("%s/refs/argon/%s.lock", mirror, commit);

        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
                scoped_text char *path = fs_path(mirror, names[i]);

                unlink(path);
        }
        unlink(ref);
}

static int ensure_mirror(struct git_forge *forge, const char *mirror, struct error *err)
{
        scoped_process_result struct process_result result = PROCESS_RESULT_INIT;
        scoped_process_result struct process_result made = PROCESS_RESULT_INIT;
        struct stat st;

        if (stat(mirror, &st) == 0) {
                if (git(forge, &result, mirror,
                        (const char *const[]){"rev-parse", "--git-dir", NULL}, NULL) == 0)
                        return 0;
                if (fs_remove_tree(mirror, err) < 0)
                        return -ERROR_UNAVAILABLE;
        }
        return git(forge, &made, NULL,
                   (const char *const[]){"init", "-q", "--bare", "--template=", "--", mirror, NULL},
                   err);
}

static int count_packs(const char *mirror)
{
        scoped_text char *path = text_format("%s/objects/pack", mirror);
        DIR *dir = opendir(path);
        struct dirent *entry;
        int n = 0;

        while (dir && (entry = readdir(dir)))
                n += text_ends(entry->d_name, ".pack");
        if (dir)
                closedir(dir);
        return n;
}

/* Lets go of all but the newest commits: they are fetched again should somebody ask for them. */
static void tidy_mirror(struct git_forge *forge, const char *mirror)
{
        scoped_process_result struct process_result refs = PROCESS_RESULT_INIT;
        scoped_process_result struct process_result packed = PROCESS_RESULT_INIT;
        struct git_command command = {
                .options = &forge->options, .folder = mirror, .allow = "", .cancel_fd = -1};
        int n = 0;

        if (count_packs(mirror) < MIRROR_PACKS_MAX)
                return;
        if (git(forge, &refs, mirror,
                (const char *const[]){"for-each-ref", "--sort=-committerdate",
                                      "--format=%(refname)", "refs/argon/", NULL},
                NULL) < 0)
                return;
        for (char *line = refs.output.data; *line; n++) {
                size_t length = strcspn(line, "\n");

                if (n >= MIRROR_REFS_KEPT) {
                        scoped_text char *ref = text_format("%.*s", (int)length, line);
                        scoped_process_result struct process_result one = PROCESS_RESULT_INIT;

                        git(forge, &one, mirror,
                            (const char *const[]){"update-ref", "-d", ref, NULL}, NULL);
                }
                line += length + (line[length] == '\n');
        }
        command.arguments = (const char *const[]){"repack", "-a", "-d", "-q", NULL};
        git_run(&packed, &command, NULL);
}

static int fetch_refspec(struct git_forge *forge, const char *mirror, const char *url,
                         const char *refspec, bool shallow, const struct git_command *base,
                         struct error *err)
{
        scoped_process_result struct process_result result = PROCESS_RESULT_INIT;
        struct git_command command = *base;

        command.options = &forge->options;
        command.folder = mirror;
        command.allow = forge->options.allow;
        command.arguments = (const char *const[]){
                "fetch",
                shallow ? "--depth=1" : "--no-auto-maintenance",
                "--no-tags",
                "--no-write-fetch-head",
                "--no-recurse-submodules",
                base->progress ? "--progress" : "--quiet",
                "--end-of-options",
                url,
                refspec,
                NULL,
        };
        return git_run(&result, &command, err);
}

/*
 * By its id first; a server that hands out only what its refs point to is asked for the ref, whose
 * history then has to hold the commit. The ref's name reaches git inside a full refspec only.
 */
static int fetch_commit(struct git_forge *forge, const char *mirror, const char *url,
                        const struct forge_source *source, const struct git_command *base,
                        struct error *err)
{
        scoped_text char *by_id = text_format("+%s:refs/argon/%s", source->commit, source->commit);
        scoped_text char *by_ref = NULL;
        struct error first = {0};
        struct error second = {0};

        if (fetch_refspec(forge, mirror, url, by_id, true, base, &first) == 0)
                return 0;
        if (first.kind != ERROR_NOT_FOUND || !source->ref || !text_starts(source->ref, "refs/"))
                return error_set(err, first.kind, "%s", first.text);
        by_ref = text_format("+%s:refs/argon-refs/fetched", source->ref);
        if (fetch_refspec(forge, mirror, url, by_ref, false, base, &second) == 0 &&
            has_commit(forge, mirror, source->commit)) {
                scoped_process_result struct process_result result = PROCESS_RESULT_INIT;
                scoped_text char *ref = text_format("refs/argon/%s", source->commit);

                return git(forge, &result, mirror,
                           (const char *const[]){"update-ref", ref, source->commit, NULL}, err);
        }
        return error_set(err, first.kind, "%s", first.text);
}

static int git_fetch(struct forge *port, const struct forge_source *source,
                     void (*progress)(void *data, const char *line), void *data, int cancel_fd,
                     struct error *err)
{
        struct git_forge *forge = forge_of(port);
        struct git_command base = {.progress = progress, .data = data, .cancel_fd = cancel_fd};
        scoped_text char *url = NULL;
        scoped_text char *mirror = NULL;
        scoped_fd int lock = -1;

        if (check_commit(source->commit, err) < 0)
                return -ERROR_INVALID;
        if (git_url_resolve(&url, source->url, forge->options.rewrite, forge->options.allow, err) <
            0)
                return err ? -err->kind : -ERROR_INVALID;
        mirror = mirror_path(forge, url);
        if (has_commit(forge, mirror, source->commit))
                return 0;
        if (lock_mirror(&lock, mirror, cancel_fd, forge->options.timeout_ms, err) < 0 ||
            ensure_mirror(forge, mirror, err) < 0)
                return err ? -err->kind : -ERROR_UNAVAILABLE;
        if (has_commit(forge, mirror, source->commit))
                return 0;
        remove_stale_locks(mirror, source->commit);
        tidy_mirror(forge, mirror);
        return fetch_commit(forge, mirror, url, source, &base, err);
}

static int git_resolve(struct forge *port, const char *url_text, const char *ref,
                       char ret_commit[65], struct error *err)
{
        struct git_forge *forge = forge_of(port);
        scoped_process_result struct process_result result = PROCESS_RESULT_INIT;
        scoped_text char *url = NULL;
        scoped_text char *peeled = text_format("%s^{}", ref);
        struct git_command command = {
                .options = &forge->options,
                .allow = forge->options.allow,
                .output_max = LIST_BYTES_MAX,
                .cancel_fd = -1,
        };
        bool found = false;
        size_t n;

        if (git_url_resolve(&url, url_text, forge->options.rewrite, forge->options.allow, err) < 0)
                return err ? -err->kind : -ERROR_INVALID;
        if (*ref == '-' || strpbrk(ref, "*?[ \n"))
                return error_set(err, ERROR_INVALID, "'%.200s' is not the name of a ref", ref);
        command.arguments = (const char *const[]){
                "ls-remote", "--quiet", "--end-of-options", url, ref, peeled, NULL};
        if (git_run(&result, &command, err) < 0)
                return err ? -err->kind : -ERROR_UNAVAILABLE;
        /* the last line that ends in the very ref, or in its peeled form when it is a tag */
        for (const char *line = result.output.data; *line;) {
                size_t length = strcspn(line, "\n");
                const char *tab = memchr(line, '\t', length);

                n = tab ? (size_t)(tab - line) : 0;
                if ((n == 40 || n == 64) &&
                    (strncmp(tab + 1, ref, strlen(ref)) == 0 || strcmp(ref, "HEAD") == 0)) {
                        memcpy(ret_commit, line, n);
                        ret_commit[n] = '\0';
                        found = true;
                }
                line += length + (line[length] == '\n');
        }
        if (!found)
                return error_set(err, ERROR_NOT_FOUND, "the repository has no ref '%.200s'", ref);
        return 0;
}

static int open_mirror(struct git_forge *forge, const struct forge_source *source, char **ret,
                       struct error *err)
{
        scoped_text char *url = NULL;

        if (check_commit(source->commit, err) < 0)
                return -ERROR_INVALID;
        if (git_url_resolve(&url, source->url, forge->options.rewrite, forge->options.allow, err) <
            0)
                return err ? -err->kind : -ERROR_INVALID;
        *ret = mirror_path(forge, url);
        return 0;
}

/* "100644 blob ID    SIZE\tNAME" */
static int check_entry(const char *entry, const char *path, size_t max, char ret_id[65],
                       struct error *err)
{
        char mode[8];
        char type[8];
        char size[24];

        if (sscanf(entry, "%7s %7s %64s %23s", mode, type, ret_id, size) != 4)
                return error_set(err, ERROR_NOT_FOUND, "the commit has no file '%s'", path);
        if (strcmp(mode, "120000") == 0)
                return error_set(err, ERROR_INVALID,
                                 "'%s' is a symbolic link; it has to be a plain file", path);
        if (strcmp(mode, "160000") == 0)
                return error_set(err, ERROR_INVALID,
                                 "'%s' is a submodule; it has to be a plain file", path);
        if (strcmp(mode, "100644") != 0 && strcmp(mode, "100755") != 0)
                return error_set(err, ERROR_INVALID,
                                 "'%s' is a folder or has mode %s; it has to be a plain file", path,
                                 mode);
        if (strtoull(size, NULL, 10) > max)
                return error_set(err, ERROR_LIMIT, "'%s' has %s bytes; the limit is %zu", path,
                                 size, max);
        return 0;
}

static int git_read_blob(struct forge *port, const struct forge_source *source, const char *path,
                         size_t max, struct str *ret, struct error *err)
{
        struct git_forge *forge = forge_of(port);
        scoped_process_result struct process_result list = PROCESS_RESULT_INIT;
        scoped_process_result struct process_result blob = PROCESS_RESULT_INIT;
        scoped_text char *mirror = NULL;
        struct git_command command = {
                .options = &forge->options, .allow = "", .output_max = max, .cancel_fd = -1};
        char id[65];

        if (open_mirror(forge, source, &mirror, err) < 0)
                return err ? -err->kind : -ERROR_INVALID;
        if (git(forge, &list, mirror,
                (const char *const[]){"ls-tree", "-l", source->commit, "--", path, NULL}, err) < 0)
                return err ? -err->kind : -ERROR_UNAVAILABLE;
        if (check_entry(list.output.data, path, max, id, err) < 0)
                return err ? -err->kind : -ERROR_INVALID;
        command.folder = mirror;
        command.arguments = (const char *const[]){"cat-file", "blob", id, NULL};
        if (git_run(&blob, &command, err) < 0)
                return err ? -err->kind : -ERROR_UNAVAILABLE;
        str_add_bytes(ret, blob.output.data, blob.output.len);
        return 0;
}

static int git_list_root(struct forge *port, const struct forge_source *source, struct str *ret,
                         struct error *err)
{
        struct git_forge *forge = forge_of(port);
        scoped_process_result struct process_result list = PROCESS_RESULT_INIT;
        scoped_text char *mirror = NULL;
        const char *at;
        int names = 0;

        if (open_mirror(forge, source, &mirror, err) < 0)
                return err ? -err->kind : -ERROR_INVALID;
        if (git(forge, &list, mirror,
                (const char *const[]){"ls-tree", "-z", "--name-only", source->commit, NULL},
                err) < 0)
                return err ? -err->kind : -ERROR_UNAVAILABLE;
        for (at = list.output.data; at < list.output.data + list.output.len;) {
                size_t n = strlen(at);

                if (!strchr(at, '\n') && names++ < LIST_NAMES_MAX) {
                        str_add_bytes(ret, at, n);
                        str_add_char(ret, '\n');
                }
                at += n + 1;
        }
        return 0;
}

void forge_commit_done(struct forge_commit *commit)
{
        free(commit->author);
        free(commit->author_email);
        free(commit->committer_email);
        free(commit->message);
        *commit = (struct forge_commit){0};
}

static int git_commit(struct forge *port, const struct forge_source *source,
                      struct forge_commit *ret, struct error *err)
{
        struct git_forge *forge = forge_of(port);
        scoped_process_result struct process_result result = PROCESS_RESULT_INIT;
        scoped_text char *mirror = NULL;
        const char *at[4];
        const char *next;

        if (open_mirror(forge, source, &mirror, err) < 0)
                return err ? -err->kind : -ERROR_INVALID;
        if (git(forge, &result, mirror,
                (const char *const[]){"log", "-1", "--no-show-signature", "--encoding=UTF-8",
                                      "--format=%an%x00%ae%x00%ce%x00%B", source->commit, NULL},
                err) < 0)
                return err ? -err->kind : -ERROR_UNAVAILABLE;
        next = result.output.data;
        for (int i = 0; i < 4; i++) {
                at[i] = next;
                next += strlen(next);
                if (next < result.output.data + result.output.len)
                        next++;
        }
        ret->author = text_copy(at[0]);
        ret->author_email = text_copy(at[1]);
        ret->committer_email = text_copy(at[2]);
        ret->message = text_copy(at[3]);
        for (size_t n = strlen(ret->message); n && ret->message[n - 1] == '\n'; n--)
                ret->message[n - 1] = '\0';
        return 0;
}

static int git_checkout(struct forge *port, const struct forge_source *source, const char *folder,
                        int cancel_fd, struct error *err)
{
        struct git_forge *forge = forge_of(port);
        scoped_process_result struct process_result made = PROCESS_RESULT_INIT;
        scoped_process_result struct process_result fetched = PROCESS_RESULT_INIT;
        scoped_process_result struct process_result checked_out = PROCESS_RESULT_INIT;
        scoped_process_result struct process_result named = PROCESS_RESULT_INIT;
        scoped_text char *mirror = NULL;
        scoped_text char *url = NULL;
        struct git_command command = {
                .options = &forge->options, .folder = folder, .cancel_fd = cancel_fd};

        if (open_mirror(forge, source, &mirror, err) < 0)
                return err ? -err->kind : -ERROR_INVALID;
        url = text_format("file://%s", mirror);
        if (git(forge, &made, NULL,
                (const char *const[]){"init", "-q", "--template=", "--", folder, NULL}, err) < 0)
                return error_wrap(err, "prepare the workspace");
        command.allow = "file";
        command.arguments = (const char *const[]){
                "fetch", "--depth=1",    "--no-tags", "--quiet", "--end-of-options",
                url,     source->commit, NULL};
        if (git_run(&fetched, &command, err) < 0)
                return error_wrap(err, "copy the commit into the workspace");
        command.allow = "";
        command.arguments = (const char *const[]){"checkout",     "--quiet", "--force", "--detach",
                                                  source->commit, "--",      NULL};
        if (git_run(&checked_out, &command, err) < 0)
                return error_wrap(err, "check out the commit");
        return git(forge, &named, folder,
                   (const char *const[]){"config", "remote.origin.url", source->url, NULL}, err);
}

static void git_close(struct forge *port)
{
        free(forge_of(port));
}

static const struct forge_ops git_ops = {
        .fetch = git_fetch,
        .resolve = git_resolve,
        .read_blob = git_read_blob,
        .list_root = git_list_root,
        .commit = git_commit,
        .checkout = git_checkout,
        .close = git_close,
};

int git_forge_open(struct forge **ret, const struct forge_options *options, struct error *err)
{
        scoped_process_result struct process_result result = PROCESS_RESULT_INIT;
        struct git_forge *forge = NULL;
        scoped_text char *home = text_format("%s/home", options->mirrors);
        struct git_command command = {
                .options = options, .allow = "", .output_max = 4096, .cancel_fd = -1};

        if (fs_mkdirs(home, 0700, err) < 0)
                return error_wrap(err, "make the folder of the mirrors");
        command.arguments = (const char *const[]){"version", NULL};
        if (git_run(&result, &command, err) < 0)
                return error_wrap(err, "git is needed (package git)");
        forge = xcalloc(1, sizeof(*forge));
        forge->port.ops = &git_ops;
        forge->options = *options;
        *ret = &forge->port;
        return 0;
}
