#pragma once
/*
 * build_argument - the BUILD that people type, and the build it means
 *
 * 812, owner/name#812, a URL copied from a page or mail, a commit, a branch, an id, or nothing: the
 * newest build of the branch that is checked out here. `/JOB` and `/JOB/STEP` may follow all but
 * a branch (which has slashes of its own); a URL of a job's page names its job.
 */
#include "base/json.h"

struct client;
struct error;
struct invocation;

enum build_argument_kind {
        BUILD_NEWEST, /* nothing was said */
        BUILD_NUMBER,
        BUILD_REPO_NUMBER,
        BUILD_ID,
        BUILD_COMMIT,
        BUILD_BRANCH,
};

#define BUILD_ARGUMENT_MAX 1024
#define BUILD_COMMIT_MIN 7

/** struct build_argument - texts on the heap, "" where absent; free with build_argument_done() */
struct build_argument {
        enum build_argument_kind kind;
        char *repo;
        char *name; /* id, commit, branch, or the digits of a number */
        int64_t number;
        char *job;
        char *step;
};

/** build_argument_parse() - text NULL or "" is BUILD_NEWEST. Return: 0 or -ERROR_INVALID */
int build_argument_parse(struct build_argument *ret, const char *text, struct error *err);
void build_argument_done(struct build_argument *argument);

/** build_argument_repo_of_url() - "owner/name" of a clone URL, on the heap; NULL: it has none */
char *build_argument_repo_of_url(const char *url);

/** build_argument_repo_here() - of the git checkout in the current folder (its remote "origin"), on
 *  the heap; NULL: none */
char *build_argument_repo_here(void);

/**
 * build_argument_find() - the build as REST shows it, with jobs
 * @repo: of --repo, or NULL: the one that is checked out here, where it is needed
 */
int build_argument_find(json_t **ret, const struct build_argument *argument, struct client *client,
                        const char *repo, struct error *err);
