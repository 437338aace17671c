/*
 * Builds that wait for their source in the store instead of on a queue: what somebody asked for by
 * hand, and re-runs of builds whose source could not be read. The dispatcher finds them among the
 * unfinished (queued, without jobs) and puts their ids on the list; this thread takes them off one
 * by one. A person asked, so whatever comes of it is a build: a missing file is an error here.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/id.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/build.h"
#include "domain/reconcile.h"
#include "pipeline/orchestrator/parts.h"
#include "ports/forge.h"
#include "ports/store.h"

#include "base/banned.h"

#define HEADS "refs/heads/"
#define TAGS "refs/tags/"

static bool is_commit(const char *text)
{
        size_t n = strlen(text);

        return (n == 40 || n == 64) && strspn(text, "0123456789abcdef") == n;
}

static const char *branch_of(const char *ref)
{
        if (text_starts(ref, HEADS))
                return ref + strlen(HEADS);
        if (text_starts(ref, TAGS))
                return ref + strlen(TAGS);
        return ref;
}

static bool is_repo_char(char c)
{
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '.' || c == '_' || c == '-';
}

/* owner/name, as it stands in addresses of pages */
static bool is_repo(const char *text)
{
        const char *slash = strchr(text, '/');

        if (!slash || slash == text || !slash[1] || text[0] == '-' || text[0] == '.')
                return false;
        for (const char *at = text; *at; at++) {
                if (at != slash && !is_repo_char(*at))
                        return false;
        }
        return true;
}

/* The last two parts of a URL's path. */
static const char *repo_of_url(struct build *build, const char *url)
{
        size_t n = strlen(url);
        size_t from;
        int slashes = 0;

        while (n && url[n - 1] == '/')
                n--;
        if (n > 4 && memcmp(url + n - 4, ".git", 4) == 0)
                n -= 4;
        for (from = n; from > 0; from--) {
                if ((url[from - 1] == '/' || url[from - 1] == ':') && ++slashes == 2)
                        break;
        }
        return arena_copy_n(build->arena, url + from, n - from);
}

/* The repository's address is that of its newest build; a new one is looked for at GitHub. */
static void fill_clone_url(struct orchestrator *o, struct build *build, const char *repo)
{
        struct build_filter filter = {.repo = repo, .limit = 1};
        struct build_page page = {0};

        if (strstr(repo, "://")) {
                build->clone_url = arena_copy(build->arena, repo);
                build->repo = repo_of_url(build, repo);
                return;
        }
        build->repo = arena_copy(build->arena, repo);
        build->clone_url = build_text(build, "https://github.com/%s.git", repo);
        build->forge = "github";
        if (store_builds(o->options.store, &page, &filter, NULL) < 0)
                return;
        if (page.n) {
                build->clone_url = arena_copy(build->arena, page.builds[0]->clone_url);
                build->forge = arena_copy(build->arena, page.builds[0]->forge);
        }
        build_page_done(&page);
}

int manual_begin(struct orchestrator *o, const char *request_id, const char *repo, const char *ref,
                 const char *who, struct error *err)
{
        scoped(build) struct build *build = build_new();
        char id[ID_SIZE];
        int result;

        id_new(id);
        build->id = arena_copy(build->arena, id);
        fill_clone_url(o, build, repo);
        if (!is_repo(build->repo))
                return error_set(err, ERROR_INVALID,
                                 "'%.100s' is not a repository; write owner/name or a clone URL",
                                 repo);
        build->ref = is_commit(ref) ? "" : arena_copy(build->arena, ref);
        build->commit = is_commit(ref) ? arena_copy(build->arena, ref) : "";
        build->branch = arena_copy(build->arena, branch_of(build->ref));
        build->event = "manual";
        build->pusher = arena_copy(build->arena, who);
        build->delivery_id = build_text(build, "run-%s", request_id);
        build->created_at = wall_ms();
        build->reason_text = "waits for its source to be read";
        result = store_build_insert(o->options.store, build, err);
        if (result == -ERROR_CONFLICT)
                return 0; /* the same request again */
        if (result < 0)
                return result;
        orchestrator_log(LOG_INFO, build, NULL,
                         json_pack("{s:s, s:I, s:s}", "repo", build->repo, "number",
                                   (json_int_t)build->number, "ref", build->ref),
                         "Build queued");
        orchestrator_kick(o);
        return 0;
}

/* Which refs a name may mean, the likeliest first. */
static int resolve(struct orchestrator *o, struct build *build, struct error *err)
{
        scoped_text char *head = text_format(HEADS "%s", build->ref);
        scoped_text char *tag = text_format(TAGS "%s", build->ref);
        const char *names[] = {text_starts(build->ref, "refs/") ? build->ref : head, tag};
        size_t n = text_starts(build->ref, "refs/") ? 1 : 2;
        int result = -ERROR_NOT_FOUND;

        if (!build->ref[0]) {
                names[0] = "HEAD";
                n = 1;
        }
        for (size_t i = 0; i < n && result == -ERROR_NOT_FOUND; i++) {
                char commit[65];

                result = forge_resolve(o->options.forge, build->clone_url, names[i], commit, err);
                if (result < 0)
                        continue;
                build->commit = arena_copy(build->arena, commit);
                build->ref = arena_copy(build->arena, names[i]);
                build->branch = branch_of(build->ref);
        }
        return result;
}

static void read_source(struct orchestrator *o, struct build *build, int *ret_result)
{
        struct error err = {0};
        int result = build->commit[0] ? 0 : resolve(o, build, &err);

        if (result < 0) {
                *ret_result = 0;
                source_fail(build, REASON_SOURCE_UNAVAILABLE, err.text);
                return;
        }
        build->reason_text = "";
        *ret_result = source_read(o, build, &err);
        if (*ret_result == SOURCE_NO_FILE)
                source_fail(
                        build, REASON_CONFIG_INVALID,
                        build_text(build, "the commit %.12s has no .runnerci.yml", build->commit));
}

/* Return: 0 done; 1 look at it again: it changed meanwhile; -kind. */
static int read_build(struct orchestrator *o, const char *id, struct error *err)
{
        scoped(build) struct build *build = NULL;
        scoped(change_before) struct change_before *before = NULL;
        struct reconcile_facts facts = {.now = wall_ms()};
        struct reconcile_outcome outcome;
        int result = store_build_get(o->options.store, &build, id, err);

        if (result == -ERROR_NOT_FOUND)
                return 0;
        if (result < 0)
                return result;
        if (state_ended(build->state) || build->n_jobs || build->cancel_requested)
                return 0;
        before = change_remember(build);
        read_source(o, build, &result);
        if (result < 0)
                return result;
        reconcile(build, &facts, &outcome);
        result = store_build_update(o->options.store, build, err);
        if (result == -ERROR_CONFLICT)
                return 1;
        if (result == 0) {
                change_announce(o, build, before);
                orchestrator_kick(o);
        }
        return result;
}

static void read_patiently(struct orchestrator *o, const char *id)
{
        for (int failures = 1; !atomic_load(&o->stopped); failures++) {
                struct error err = {0};
                int result = read_build(o, id, &err);

                if (result == 0)
                        return;
                if (result > 0)
                        continue;
                orchestrator_log(LOG_WARNING, NULL, NULL, NULL,
                                 "source of build %s: will try again: %s", id, err.text);
                orchestrator_backoff(o, failures);
        }
}

static char *next_id(struct orchestrator *o)
{
        char *id = NULL;

        pthread_mutex_lock(&o->lock);
        free(o->reading);
        o->reading = NULL;
        while (!atomic_load(&o->stopped) && o->n_later == 0)
                pthread_cond_wait(&o->changed, &o->lock);
        if (o->n_later && !atomic_load(&o->stopped)) {
                o->reading = o->later[0];
                o->n_later--;
                memmove(o->later, o->later + 1, o->n_later * sizeof(*o->later));
                id = text_copy(o->reading);
        }
        pthread_mutex_unlock(&o->lock);
        return id;
}

void *manual_main(void *data)
{
        struct orchestrator *o = data;

        for (;;) {
                scoped_text char *id = next_id(o);

                if (!id)
                        return NULL;
                read_patiently(o, id);
        }
}
