#include "commands/build_argument.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/id.h"
#include "base/parse.h"
#include "base/process.h"
#include "base/scoped.h"
#include "base/str.h"
#include "commands/client.h"

#include "base/banned.h"

#define GIT_MS 10000
#define GIT_BYTES_MAX 4096
#define COMMITS_SEARCHED 200

void build_argument_done(struct build_argument *argument)
{
        free(argument->repo);
        free(argument->name);
        free(argument->job);
        free(argument->step);
        *argument = (struct build_argument){0};
}

static void fill(struct build_argument *ret, enum build_argument_kind kind, const char *repo,
                 const char *name)
{
        *ret = (struct build_argument){
                .kind = kind,
                .repo = text_copy(repo),
                .name = text_copy(name),
                .job = text_copy(""),
                .step = text_copy(""),
        };
}

/* "JOB" or "JOB/STEP" after the build; a job's key has no slash. */
static void set_job(struct build_argument *argument, const char *text)
{
        size_t n = strcspn(text, "/");

        free(argument->job);
        free(argument->step);
        argument->job = text_format("%.*s", (int)n, text);
        argument->step = text_copy(text[n] ? text + n + 1 : "");
}

static int bad(const char *text, struct error *err)
{
        return error_set(err, ERROR_INVALID,
                         "'%.128s' names no build; write a number (812), OWNER/NAME#812, a URL, a "
                         "commit or a branch",
                         text);
}

/* Percent-decoding in place. */
static void decode(char *text)
{
        char *to = text;

        for (; *text; text++) {
                char digits[3] = {text[0] == '%' ? text[1] : 0, text[1] ? text[2] : 0, 0};

                if (isxdigit((unsigned char)digits[0]) && isxdigit((unsigned char)digits[1])) {
                        *to++ = (char)strtol(digits, NULL, 16);
                        text += 2;
                } else {
                        *to++ = *text;
                }
        }
        *to = '\0';
}

/* https://HOST/…/r/OWNER/NAME/builds/N[/jobs/JOB][?…][#L12] */
static int parse_url(struct build_argument *ret, const char *text, struct error *err)
{
        const char *path = strstr(text, "/r/");
        scoped_text char *copy = path ? text_copy(path + strlen("/r/")) : NULL;
        char *builds = copy ? strstr(copy, "/builds/") : NULL;
        char *digits = builds ? builds + strlen("/builds/") : NULL;
        char *rest;
        int64_t number;

        if (!digits || strstr(text, "%00"))
                return bad(text, err);
        copy[strcspn(copy, "?#")] = '\0';
        *builds = '\0';
        rest = digits + strcspn(digits, "/");
        if (*rest)
                *rest++ = '\0';
        decode(copy);
        if (parse_int(&number, digits, 1, INT64_MAX, NULL) < 0 || !strchr(copy, '/'))
                return bad(text, err);
        fill(ret, BUILD_REPO_NUMBER, copy, "");
        ret->number = number;
        if (text_starts(rest, "jobs/")) {
                rest += strlen("jobs/");
                rest[strcspn(rest, "/")] = '\0';
                decode(rest);
                set_job(ret, rest);
        }
        return 0;
}

static int parse_number(struct build_argument *ret, const char *whole, const char *repo,
                        const char *text, struct error *err)
{
        size_t n = strcspn(text, "/");
        scoped_text char *digits = text_format("%.*s", (int)n, text);
        int64_t number;

        if (parse_int(&number, digits, 1, INT64_MAX, NULL) < 0)
                return bad(whole, err);
        fill(ret, *repo ? BUILD_REPO_NUMBER : BUILD_NUMBER, repo, *repo ? "" : digits);
        ret->number = number;
        if (text[n])
                set_job(ret, text + n + 1);
        return 0;
}

static bool is_commit(const char *text, size_t n)
{
        return n >= BUILD_COMMIT_MIN && n <= 64 && strspn(text, "0123456789abcdef") >= n;
}

int build_argument_parse(struct build_argument *ret, const char *text, struct error *err)
{
        size_t first = text ? strcspn(text, "/") : 0;
        scoped_text char *head = text ? text_format("%.*s", (int)first, text) : NULL;
        const char *hash = text ? strchr(text, '#') : NULL;

        if (!text || !*text) {
                fill(ret, BUILD_NEWEST, "", "");
                return 0;
        }
        if (strlen(text) > BUILD_ARGUMENT_MAX || strpbrk(head, " \t") || strpbrk(text, "\r\n"))
                return bad(text, err);
        if (text_starts(text, "http://") || text_starts(text, "https://"))
                return parse_url(ret, text, err);
        if (hash == text)
                return parse_number(ret, text, "", text + 1, err);
        if (hash) {
                scoped_text char *repo = text_format("%.*s", (int)(hash - text), text);

                if (!strchr(repo, '/') || *repo == '/' || hash[-1] == '/')
                        return bad(text, err);
                return parse_number(ret, text, repo, hash + 1, err);
        }
        if (first && strspn(head, "0123456789") == first)
                return parse_number(ret, text, "", text, err);
        if (id_valid(head) || is_commit(head, first)) {
                fill(ret, id_valid(head) ? BUILD_ID : BUILD_COMMIT, "", head);
                if (text[first])
                        set_job(ret, text + first + 1);
                return 0;
        }
        fill(ret, BUILD_BRANCH, "", text);
        return 0;
}

char *build_argument_repo_of_url(const char *url)
{
        size_t end = strlen(url);
        size_t name;
        size_t owner;

        while (end > 0 && url[end - 1] == '/')
                end--;
        if (end > 4 && strncmp(url + end - 4, ".git", 4) == 0)
                end -= 4;
        for (name = end; name > 0 && url[name - 1] != '/'; name--)
                ;
        if (name < 2 || name == end)
                return NULL;
        for (owner = name - 1; owner > 0 && url[owner - 1] != '/' && url[owner - 1] != ':'; owner--)
                ;
        if (owner == name - 1)
                return NULL;
        return text_format("%.*s", (int)(end - owner), url + owner);
}

/* One line from git in the current folder, or NULL. */
static char *ask_git(const char *const *argv)
{
        scoped_process_result struct process_result result = PROCESS_RESULT_INIT;
        scoped_text char *path = text_format("PATH=%s", text_or(getenv("PATH"), "/usr/bin:/bin"));
        scoped_text char *home = text_format("HOME=%s", text_or(getenv("HOME"), "/"));
        const char *env[] = {path, home, "LC_ALL=C", NULL};
        struct process_spec spec = {
                .argv = argv,
                .env = env,
                .timeout_ms = GIT_MS,
                .output_max = GIT_BYTES_MAX,
                .error_max = GIT_BYTES_MAX,
                .cancel_fd = -1,
        };

        if (process_run(&result, &spec, NULL) < 0 || result.exit_code != 0)
                return NULL;
        result.output.data[strcspn(result.output.data, "\n")] = '\0';
        return *result.output.data ? text_copy(result.output.data) : NULL;
}

char *build_argument_repo_here(void)
{
        static const char *const argv[] = {"git", "remote", "get-url", "origin", NULL};
        scoped_text char *url = ask_git(argv);

        return url ? build_argument_repo_of_url(url) : NULL;
}

static char *checked_out_branch(void)
{
        static const char *const argv[] = {"git", "symbolic-ref", "--short", "-q", "HEAD", NULL};

        return ask_git(argv);
}

static int get_build(json_t **ret, struct client *client, const char *id, struct error *err)
{
        scoped_text char *path = text_format("/api/v1/builds/%s", id);

        return client_get(client, ret, path, err);
}

static int get_number(json_t **ret, struct client *client, const char *repo, int64_t number,
                      struct error *err)
{
        scoped_text char *path =
                text_format("/api/v1/repos/%s/builds/%lld", repo, (long long)number);
        int result = client_get(client, ret, path, err);

        if (result == -ERROR_NOT_FOUND)
                return error_set(err, ERROR_NOT_FOUND, "%s has no build #%lld", repo,
                                 (long long)number);
        return result;
}

static int list(json_t **ret, struct client *client, const char *repo, const char *branch,
                int limit, struct error *err)
{
        scoped_str struct str path = STR_INIT;

        str_printf(&path, "/api/v1/builds?limit=%d", limit);
        if (repo) {
                str_add(&path, "&repo=");
                str_add_encoded(&path, repo);
        }
        if (branch) {
                str_add(&path, "&branch=");
                str_add_encoded(&path, branch);
        }
        return client_get(client, ret, path.data, err);
}

/* The newest build of a repository and branch; each may be NULL: of any. */
static int find_newest(json_t **ret, struct client *client, const char *repo, const char *branch,
                       struct error *err)
{
        scoped(json) json_t *answer = NULL;
        const json_t *first;
        int result = list(&answer, client, repo, branch, 1, err);

        if (result < 0)
                return result;
        first = json_array_get(json_object_get(answer, "builds"), 0);
        if (first)
                return get_build(ret, client, json_text_or(first, "id", ""), err);
        return error_set(err, ERROR_NOT_FOUND, "there is no build%s%s%s%s yet%s",
                         repo ? " of " : "", repo ? repo : "", branch ? " on branch " : "",
                         branch ? branch : "", repo ? "; --repo names another repository" : "");
}

static bool matches(const struct build_argument *argument, const json_t *build)
{
        if (argument->kind == BUILD_COMMIT)
                return text_starts(json_text_or(build, "commit", ""), argument->name);
        return json_int_or(build, "number", 0) == argument->number;
}

/* Among the newest builds: a commit, or a number without a repository, which must be one. */
static int search(json_t **ret, const struct build_argument *argument, struct client *client,
                  const char *repo, struct error *err)
{
        scoped(json) json_t *answer = NULL;
        const json_t *found = NULL;
        const json_t *builds;
        int result = list(&answer, client, repo, NULL, COMMITS_SEARCHED, err);

        if (result < 0)
                return result;
        builds = json_object_get(answer, "builds");
        for (size_t i = 0; i < json_array_size(builds); i++) {
                const json_t *build = json_array_get(builds, i);

                if (!matches(argument, build))
                        continue;
                if (found &&
                    strcmp(json_text_or(found, "repo", ""), json_text_or(build, "repo", "")) != 0)
                        return error_set(err, ERROR_INVALID,
                                         "several repositories have such a build; name one with "
                                         "--repo");
                found = found ? found : build;
        }
        if (found)
                return get_build(ret, client, json_text_or(found, "id", ""), err);
        if (argument->kind == BUILD_COMMIT)
                return error_set(err, ERROR_NOT_FOUND,
                                 "none of the %d newest builds is of commit %s", COMMITS_SEARCHED,
                                 argument->name);
        return error_set(err, ERROR_NOT_FOUND, "there is no build #%lld",
                         (long long)argument->number);
}

int build_argument_find(json_t **ret, const struct build_argument *argument, struct client *client,
                        const char *repo, struct error *err)
{
        scoped_text char *here = repo ? NULL : build_argument_repo_here();
        scoped_text char *branch = NULL;
        const char *known = repo ? repo : here;
        int result;

        switch (argument->kind) {
        case BUILD_ID:
                return get_build(ret, client, argument->name, err);
        case BUILD_REPO_NUMBER:
                return get_number(ret, client, argument->repo, argument->number, err);
        case BUILD_NUMBER:
                result = known ? get_number(ret, client, known, argument->number, err)
                               : search(ret, argument, client, NULL, err);
                /* seven and more digits may also be the beginning of a commit */
                if (result == -ERROR_NOT_FOUND && strlen(argument->name) >= BUILD_COMMIT_MIN) {
                        struct build_argument commit = *argument;

                        commit.kind = BUILD_COMMIT;
                        if (search(ret, &commit, client, known, NULL) == 0)
                                return 0;
                }
                return result;
        case BUILD_COMMIT:
                return search(ret, argument, client, known, err);
        case BUILD_BRANCH:
                return find_newest(ret, client, known, argument->name, err);
        default:
                /* the branch that is checked out counts only for its own repository */
                branch = here ? checked_out_branch() : NULL;
                return find_newest(ret, client, known, branch, err);
        }
}
