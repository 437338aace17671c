#include "pipeline/webhook/verdict.h"

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "pipeline/webhook/payload.h"
#include "wire/webhook_event.h"

#include "base/banned.h"

/** struct judge - @wrong: the first member that is not as the event needs it */
struct judge {
        const struct payload *payload;
        const char *name;
        struct webhook_event *event;
        struct error *err;
        bool wrong;
};

static void wrong(struct judge *judge, enum payload_field field, const char *must)
{
        if (judge->wrong)
                return;
        judge->wrong = true;
        error_set(judge->err, ERROR_INVALID,
                  "the body is no '%s' event as the header X-GitHub-Event claims: the member %s %s",
                  judge->name, payload_path(field), must);
}

static const char *text(struct judge *judge, enum payload_field field)
{
        const char *value = payload_text(judge->payload, field);

        return arena_copy(judge->event->arena, value);
}

static const char *need_text(struct judge *judge, enum payload_field field)
{
        const char *value = text(judge, field);

        for (const char *p = value; *p; p++) {
                if ((unsigned char)*p < 0x20 || *p == 0x7f)
                        wrong(judge, field, "has a control character");
        }
        if (!*value)
                wrong(judge, field, "is missing or not a text");
        return value;
}

static void need_type(struct judge *judge, enum payload_field field, enum payload_type type,
                      const char *must)
{
        if (payload_type(judge->payload, field) != type)
                wrong(judge, field, must);
}

static const char *need_commit(struct judge *judge, enum payload_field field)
{
        const char *value = need_text(judge, field);
        size_t n = strlen(value);

        if ((n != 40 && n != 64) || strspn(value, "0123456789abcdef") != n)
                wrong(judge, field, "is not a commit id of 40 or 64 hex digits");
        return value;
}

static bool is_name(const char *name, size_t n)
{
        static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                      "0123456789-_.";

        return n > 0 && strspn(name, allowed) >= n && strncmp(name, ".", n) != 0 &&
               strncmp(name, "..", n) != 0;
}

/* The full name is part of addresses and of folders. */
static void need_repository(struct judge *judge)
{
        const char *full = need_text(judge, PAYLOAD_REPOSITORY_FULL_NAME);
        const char *slash = strchr(full, '/');

        need_type(judge, PAYLOAD_REPOSITORY, PAYLOAD_OBJECT, "is not an object");
        if (!slash || !is_name(full, (size_t)(slash - full)) ||
            !is_name(slash + 1, strlen(slash + 1)))
                wrong(judge, PAYLOAD_REPOSITORY_FULL_NAME, "is not OWNER/NAME");
        judge->event->repo_full_name = full;
        judge->event->repo_name = need_text(judge, PAYLOAD_REPOSITORY_NAME);
        judge->event->repository_url = need_text(judge, PAYLOAD_REPOSITORY_CLONE_URL);
}

/* What a forge tells of a repository is its main language; the files of the commit tell more. */
static const char *project_type(const char *language)
{
        static const char *const types[][2] = {
                {"Java", "maven"},     {"Kotlin", "gradle"},  {"Groovy", "gradle"},
                {"JavaScript", "npm"}, {"TypeScript", "npm"}, {"Vue", "npm"},
                {"Python", "python"},  {"Go", "go"},          {"Rust", "cargo"},
                {"C++", "cmake"},      {"CMake", "cmake"},    {"C", "make"},
                {"Makefile", "make"},
        };

        for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
                if (strcmp(language, types[i][0]) == 0)
                        return types[i][1];
        }
        return "unknown";
}

static void ignore(struct verdict *verdict, const char *reason)
{
        verdict->kind = VERDICT_IGNORED;
        verdict->reason = reason;
}

static bool asks_to_skip(const char *message)
{
        return strcasestr(message, "[skip ci]") || strcasestr(message, "[ci skip]");
}

static void take_people(struct judge *judge)
{
        struct webhook_event *event = judge->event;

        event->message = text(judge, PAYLOAD_HEAD_COMMIT_MESSAGE);
        event->pusher = text(judge, PAYLOAD_PUSHER);
        event->pusher_email = text(judge, PAYLOAD_PUSHER_EMAIL);
        event->author = text(judge, PAYLOAD_HEAD_COMMIT_AUTHOR);
        event->author_email = text(judge, PAYLOAD_HEAD_COMMIT_AUTHOR_EMAIL);
        event->committer_email = text(judge, PAYLOAD_HEAD_COMMIT_COMMITTER_EMAIL);
        event->project_type =
                project_type(payload_text(judge->payload, PAYLOAD_REPOSITORY_LANGUAGE));
        if (!*event->pusher)
                event->pusher = text(judge, PAYLOAD_SENDER);
}

/* Of an annotated tag `after` names the tag; the commit is that of head_commit. */
static const char *pushed_commit(struct judge *judge)
{
        const char *after = need_commit(judge, PAYLOAD_AFTER);

        if (payload_type(judge->payload, PAYLOAD_HEAD_COMMIT_ID) != PAYLOAD_TEXT)
                return after;
        return need_commit(judge, PAYLOAD_HEAD_COMMIT_ID);
}

static void judge_push(struct judge *judge, struct verdict *verdict)
{
        struct webhook_event *event = judge->event;
        const char *ref = need_text(judge, PAYLOAD_REF);
        bool deleted = payload_type(judge->payload, PAYLOAD_DELETED) == PAYLOAD_TRUE;

        need_repository(judge);
        need_commit(judge, PAYLOAD_BEFORE);
        need_type(judge, PAYLOAD_PULL_REQUEST, PAYLOAD_ABSENT, "belongs to another event");
        event->commit = pushed_commit(judge);
        event->ref = ref;
        take_people(judge);
        if (text_starts(ref, "refs/tags/")) {
                event->trigger = "tag";
                event->branch = ref + strlen("refs/tags/");
        } else {
                event->trigger = "push";
                event->branch = text_starts(ref, "refs/heads/") ? ref + strlen("refs/heads/") : "";
        }
        if (!text_starts(ref, "refs/"))
                wrong(judge, PAYLOAD_REF, "does not begin with refs/");
        else if (!*event->branch)
                ignore(verdict, "the ref is neither a branch nor a tag");
        else if (deleted || strspn(event->commit, "0") == strlen(event->commit))
                ignore(verdict, strcmp(event->trigger, "tag") == 0 ? "the tag was deleted"
                                                                   : "the branch was deleted");
        else if (asks_to_skip(event->message))
                ignore(verdict, "the message of the commit asks for it ([skip ci])");
}

/* A head that is in no repository any more (null) was in a fork. */
static bool is_fork(struct judge *judge)
{
        return strcmp(payload_text(judge->payload, PAYLOAD_PULL_REQUEST_HEAD_REPO_NAME),
                      judge->event->repo_full_name) != 0;
}

static void judge_pull_request(struct judge *judge, struct verdict *verdict)
{
        struct webhook_event *event = judge->event;
        const char *action = need_text(judge, PAYLOAD_ACTION);

        need_repository(judge);
        need_type(judge, PAYLOAD_PULL_REQUEST, PAYLOAD_OBJECT, "is not an object");
        event->pull_request = payload_integer(judge->payload, PAYLOAD_NUMBER);
        if (event->pull_request <= 0)
                wrong(judge, PAYLOAD_NUMBER, "is not a number above 0");
        take_people(judge);
        event->commit = need_commit(judge, PAYLOAD_PULL_REQUEST_HEAD_SHA);
        event->branch = need_text(judge, PAYLOAD_PULL_REQUEST_HEAD_REF);
        event->ref =
                arena_format(event->arena, "refs/pull/%lld/head", (long long)event->pull_request);
        event->trigger = "pull_request";
        event->pull_request_title = text(judge, PAYLOAD_PULL_REQUEST_TITLE);
        event->message = event->pull_request_title;
        event->author = text(judge, PAYLOAD_PULL_REQUEST_USER);
        event->fork = is_fork(judge);
        if (strcmp(action, "opened") != 0 && strcmp(action, "synchronize") != 0 &&
            strcmp(action, "reopened") != 0)
                ignore(verdict, arena_format(event->arena,
                                             "pull requests are built when they are opened, "
                                             "reopened or pushed to, not when they are '%s'",
                                             action));
}

static void judge_ping(struct judge *judge, struct verdict *verdict)
{
        verdict->kind = VERDICT_PONG;
        if (payload_type(judge->payload, PAYLOAD_HOOK_ID) != PAYLOAD_INTEGER)
                need_type(judge, PAYLOAD_ZEN, PAYLOAD_TEXT, "is not a text");
        judge->event->repo_full_name = text(judge, PAYLOAD_REPOSITORY_FULL_NAME);
}

/* A push makes a build; that the ref came or went is told a second time. */
static void judge_ref(struct judge *judge, struct verdict *verdict)
{
        const char *type = need_text(judge, PAYLOAD_REF_TYPE);

        need_text(judge, PAYLOAD_REF);
        need_type(judge, PAYLOAD_REPOSITORY, PAYLOAD_OBJECT, "is not an object");
        judge->event->repo_full_name = text(judge, PAYLOAD_REPOSITORY_FULL_NAME);
        if (strcmp(judge->name, "create") == 0)
                ignore(verdict, arena_format(judge->event->arena,
                                             "a new %s is built by the push that made it", type));
        else
                ignore(verdict, arena_format(judge->event->arena, "the %s was deleted", type));
}

static void judge_other(struct judge *judge, struct verdict *verdict)
{
        bool is_push = payload_type(judge->payload, PAYLOAD_REF) == PAYLOAD_TEXT &&
                       payload_type(judge->payload, PAYLOAD_AFTER) == PAYLOAD_TEXT &&
                       payload_type(judge->payload, PAYLOAD_COMMITS) == PAYLOAD_ARRAY;

        if (is_push)
                wrong(judge, PAYLOAD_COMMITS, "belongs to a push");
        judge->event->repo_full_name = text(judge, PAYLOAD_REPOSITORY_FULL_NAME);
        ignore(verdict, arena_format(judge->event->arena, "events of the kind '%s' start no build",
                                     judge->name));
}

static const struct {
        const char *event;
        void (*judge)(struct judge *judge, struct verdict *verdict);
} events[] = {
        {"push", judge_push},  {"pull_request", judge_pull_request},
        {"ping", judge_ping},  {"create", judge_ref},
        {"delete", judge_ref},
};

int verdict_reach(struct verdict *ret, const struct payload *payload, const char *event,
                  struct error *err)
{
        struct verdict verdict = {.kind = VERDICT_ACCEPTED, .reason = ""};
        struct judge judge = {.payload = payload, .name = event, .err = err};
        size_t i = 0;

        judge.event = webhook_event_new();
        judge.event->forge = "github";
        verdict.event = judge.event;
        while (i < sizeof(events) / sizeof(*events) && strcmp(event, events[i].event) != 0)
                i++;
        if (i < sizeof(events) / sizeof(*events))
                events[i].judge(&judge, &verdict);
        else
                judge_other(&judge, &verdict);
        if (judge.wrong) {
                verdict_done(&verdict);
                return -ERROR_INVALID;
        }
        *ret = verdict;
        return 0;
}

void verdict_done(struct verdict *verdict)
{
        webhook_event_free(verdict->event);
        verdict->event = NULL;
}
