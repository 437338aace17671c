#pragma once
/*
 * forge - where commits come from: fetch into a mirror, read a blob, check a tree out
 *
 * One bare mirror per clone URL lies in the data folder; calls for the same mirror take turns by
 * themselves (a lock file), so processes that share the folder may call at the same time. Whatever
 * is read comes from the object database at a commit, never through the work tree. No hook, filter,
 * submodule or credential helper of the repository or the machine runs.
 *
 * struct forge may be shared by threads.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

struct forge;

/** struct forge_commit - texts are on the heap; free with forge_commit_done() */
struct forge_commit {
        char *author;
        char *author_email;
        char *committer_email;
        char *message;
};

/** struct forge_source - what is asked for; texts borrowed
 *  @url: clone URL as the forge said it, before ARGON_GIT_REWRITE; @ref: full ref, only for
 * messages and as a fallback where the server refuses a bare commit; @commit: 40 or 64 hex */
struct forge_source {
        const char *url;
        const char *ref;
        const char *commit;
};

struct forge_ops {
        int (*fetch)(struct forge *forge, const struct forge_source *source,
                     void (*progress)(void *data, const char *line), void *data, int cancel_fd,
                     struct error *err);
        int (*resolve)(struct forge *forge, const char *url, const char *ref, char ret_commit[65],
                       struct error *err);
        int (*read_blob)(struct forge *forge, const struct forge_source *source, const char *path,
                         size_t max, struct str *ret, struct error *err);
        int (*list_root)(struct forge *forge, const struct forge_source *source, struct str *ret,
                         struct error *err);
        int (*commit)(struct forge *forge, const struct forge_source *source,
                      struct forge_commit *ret, struct error *err);
        int (*checkout)(struct forge *forge, const struct forge_source *source, const char *folder,
                        int cancel_fd, struct error *err);
        void (*close)(struct forge *forge);
};

struct forge {
        const struct forge_ops *ops;
};

void forge_commit_done(struct forge_commit *commit);

/**
 * forge_fetch() - have the commit in the mirror; nothing is done when it is there already
 *
 * Return: -ERROR_NOT_FOUND (repository or commit gone), -ERROR_DENIED (credentials refused,
 * protocol not allowed), -ERROR_LIMIT (size, time), -ERROR_UNAVAILABLE, -ERROR_INVALID (commit or
 * URL not in the shape of one). The text is a sentence for the build's page, without credentials.
 */
static inline int forge_fetch(struct forge *forge, const struct forge_source *source,
                              void (*progress)(void *data, const char *line), void *data,
                              int cancel_fd, struct error *err)
{
        return forge->ops->fetch(forge, source, progress, data, cancel_fd, err);
}

/** forge_resolve() - what a ref of the remote points to now */
static inline int forge_resolve(struct forge *forge, const char *url, const char *ref,
                                char ret_commit[65], struct error *err)
{
        return forge->ops->resolve(forge, url, ref, ret_commit, err);
}

/**
 * forge_read_blob() - one file of the commit's tree, modes 100644 and 100755 only
 * @max: bytes; more is -ERROR_LIMIT
 *
 * Return: -ERROR_NOT_FOUND when there is none; -ERROR_INVALID for a link, a folder, a submodule.
 */
static inline int forge_read_blob(struct forge *forge, const struct forge_source *source,
                                  const char *path, size_t max, struct str *ret, struct error *err)
{
        return forge->ops->read_blob(forge, source, path, max, ret, err);
}

/** forge_list_root() - names in the top folder, one per line (at most 10 000) */
static inline int forge_list_root(struct forge *forge, const struct forge_source *source,
                                  struct str *ret, struct error *err)
{
        return forge->ops->list_root(forge, source, ret, err);
}

static inline int forge_commit(struct forge *forge, const struct forge_source *source,
                               struct forge_commit *ret, struct error *err)
{
        return forge->ops->commit(forge, source, ret, err);
}

/** forge_checkout() - the commit's tree into an existing empty folder, with a .git that works there
 */
static inline int forge_checkout(struct forge *forge, const struct forge_source *source,
                                 const char *folder, int cancel_fd, struct error *err)
{
        return forge->ops->checkout(forge, source, folder, cancel_fd, err);
}

static inline void forge_close(struct forge *forge)
{
        if (forge)
                forge->ops->close(forge);
}

/** struct forge_options - texts must outlive the forge
 *  @mirrors: folder; @allow: as GIT_ALLOW_PROTOCOL; @rewrite: PREFIX=REPLACEMENT lines or NULL */
struct forge_options {
        const char *mirrors;
        const char *allow;
        const char *rewrite;
        int64_t timeout_ms;
        int64_t size_max;
};

/** forge_open_git() is in adapters/forge/git.h; the webhook payloads of GitHub are read by
 *  pipeline/webhook/payload, the only thing that differs between forges so far. */
