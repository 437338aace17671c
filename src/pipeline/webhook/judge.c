#include "pipeline/webhook/judge.h"

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "pipeline/webhook/payload.h"
#include "wire/webhook_event.h"

#include "base/banned.h"

/** struct judging - @wrong: the first member that is not as the event needs it */
struct judging {
        const struct payload *payload;
        const char *name;
        struct webhook_event *event;
        struct error *err;
        bool wrong;
};

static void wrong(struct judging *judging, enum payload_field field, const char *must)
{
        if (judging->wrong)
                return;
        judging->wrong = true;
        error_set(judging->err, ERROR_INVALID,
                  "the body is no '%s' event as the header X-GitHub-Event claims: the member %s %s",
                  judging->name, payload_path(field), must);
}

static const char *text(struct judging *judging, enum payload_field field)
{
        const char *value = payload_text(judging->payload, field);

        return arena_copy(judging->event->arena, value);
}

static const char *need_text(struct judging *judging, enum payload_field field)
{
        const char *value = text(judging, field);

        for (const char *p = value; *p; p++) {
                if ((unsigned char)*p < 0x20 || *p == 0x7f)
                        wrong(judging, field, "has a control character");
        }
        if (!*value)
                wrong(judging, field, "is missing or not a text");
        return value;
}

static void need_type(struct judging *judging, enum payload_field field, enum payload_type type,
                      const char *must)
{
        if (payload_type(judging->payload, field) != type)
                wrong(judging, field, must);
}

static const char *need_commit(struct judging *judging, enum payload_field field)
{
        const char *value = need_text(judging, field);
        size_t n = strlen(value);

        if ((n != 40 && n != 64) || strspn(value, "0123456789abcdef") != n)
                wrong(judging, field, "is not a commit id of 40 or 64 hex digits");
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
static void need_repository(struct judging *judging)
{
        const char *full = need_text(judging, PAYLOAD_REPOSITORY_FULL_NAME);
        const char *slash = strchr(full, '/');

        need_type(judging, PAYLOAD_REPOSITORY, PAYLOAD_OBJECT, "is not an object");
        if (!slash || !is_name(full, (size_t)(slash - full)) ||
            !is_name(slash + 1, strlen(slash + 1)))
                wrong(judging, PAYLOAD_REPOSITORY_FULL_NAME, "is not OWNER/NAME");
        judging->event->repo_full_name = full;
        judging->event->repo_name = need_text(judging, PAYLOAD_REPOSITORY_NAME);
        judging->event->repository_url = need_text(judging, PAYLOAD_REPOSITORY_CLONE_URL);
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

static void ignore(struct judgement *judgement, const char *reason)
{
        judgement->kind = JUDGED_IGNORED;
        judgement->reason = reason;
}

static bool asks_to_skip(const char *message)
{
        return strcasestr(message, "[skip ci]") || strcasestr(message, "[ci skip]");
}

static void take_people(struct judging *judging)
{
        struct webhook_event *event = judging->event;

        event->message = text(judging, PAYLOAD_HEAD_COMMIT_MESSAGE);
        event->pusher = text(judging, PAYLOAD_PUSHER);
        event->pusher_email = text(judging, PAYLOAD_PUSHER_EMAIL);
        event->author = text(judging, PAYLOAD_HEAD_COMMIT_AUTHOR);
        event->author_email = text(judging, PAYLOAD_HEAD_COMMIT_AUTHOR_EMAIL);
        event->committer_email = text(judging, PAYLOAD_HEAD_COMMIT_COMMITTER_EMAIL);
        event->project_type =
                project_type(payload_text(judging->payload, PAYLOAD_REPOSITORY_LANGUAGE));
        if (!*event->pusher)
                event->pusher = text(judging, PAYLOAD_SENDER);
}

/* Of an annotated tag `after` names the tag; the commit is that of head_commit. */
static const char *pushed_commit(struct judging *judging)
{
        const char *after = need_commit(judging, PAYLOAD_AFTER);

        if (payload_type(judging->payload, PAYLOAD_HEAD_COMMIT_ID) != PAYLOAD_TEXT)
                return after;
        return need_commit(judging, PAYLOAD_HEAD_COMMIT_ID);
}

static void judge_push(struct judging *judging, struct judgement *judgement)
{
        struct webhook_event *event = judging->event;
        const char *ref = need_text(judging, PAYLOAD_REF);
        bool deleted = payload_type(judging->payload, PAYLOAD_DELETED) == PAYLOAD_TRUE;

        need_repository(judging);
        need_commit(judging, PAYLOAD_BEFORE);
        need_type(judging, PAYLOAD_PULL_REQUEST, PAYLOAD_ABSENT, "belongs to another event");
        event->commit = pushed_commit(judging);
        event->ref = ref;
        take_people(judging);
        if (text_starts(ref, "refs/tags/")) {
                event->trigger = "tag";
                event->branch = ref + strlen("refs/tags/");
        } else {
                event->trigger = "push";
                event->branch = text_starts(ref, "refs/heads/") ? ref + strlen("refs/heads/") : "";
        }
        if (!text_starts(ref, "refs/"))
                wrong(judging, PAYLOAD_REF, "does not begin with refs/");
        else if (!*event->branch)
                ignore(judgement, "the ref is neither a branch nor a tag");
        else if (deleted || strspn(event->commit, "0") == strlen(event->commit))
                ignore(judgement, strcmp(event->trigger, "tag") == 0 ? "the tag was deleted"
                                                                     : "the branch was deleted");
        else if (asks_to_skip(event->message))
                ignore(judgement, "the message of the commit asks for it ([skip ci])");
}

/* A head that is in no repository any more (null) was in a fork. */
static bool is_fork(struct judging *judging)
{
        return strcmp(payload_text(judging->payload, PAYLOAD_PULL_REQUEST_HEAD_REPO_NAME),
                      judging->event->repo_full_name) != 0;
}

static void judge_pull_request(struct judging *judging, struct judgement *judgement)
{
        struct webhook_event *event = judging->event;
        const char *action = need_text(judging, PAYLOAD_ACTION);

        need_repository(judging);
        need_type(judging, PAYLOAD_PULL_REQUEST, PAYLOAD_OBJECT, "is not an object");
        event->pull_request = payload_integer(judging->payload, PAYLOAD_NUMBER);
        if (event->pull_request <= 0)
                wrong(judging, PAYLOAD_NUMBER, "is not a number above 0");
        take_people(judging);
        event->commit = need_commit(judging, PAYLOAD_PULL_REQUEST_HEAD_SHA);
        event->branch = need_text(judging, PAYLOAD_PULL_REQUEST_HEAD_REF);
        event->ref =
                arena_format(event->arena, "refs/pull/%lld/head", (long long)event->pull_request);
        event->trigger = "pull_request";
        event->pull_request_title = text(judging, PAYLOAD_PULL_REQUEST_TITLE);
        event->message = event->pull_request_title;
        event->author = text(judging, PAYLOAD_PULL_REQUEST_USER);
        event->fork = is_fork(judging);
        if (event->fork)
                judgement->reason = "the head is in a fork: its jobs get the strict profile";
        if (strcmp(action, "opened") != 0 && strcmp(action, "synchronize") != 0 &&
            strcmp(action, "reopened") != 0)
                ignore(judgement, arena_format(event->arena,
                                               "pull requests are built when they are opened, "
                                               "reopened or pushed to, not when they are '%s'",
                                               action));
}

static void judge_ping(struct judging *judging, struct judgement *judgement)
{
        judgement->kind = JUDGED_PONG;
        if (payload_type(judging->payload, PAYLOAD_HOOK_ID) != PAYLOAD_INTEGER)
                need_type(judging, PAYLOAD_ZEN, PAYLOAD_TEXT, "is not a text");
        judging->event->repo_full_name = text(judging, PAYLOAD_REPOSITORY_FULL_NAME);
}

/* A push makes a build; that the ref came or went is told a second time. */
static void judge_ref(struct judging *judging, struct judgement *judgement)
{
        const char *type = need_text(judging, PAYLOAD_REF_TYPE);

        need_text(judging, PAYLOAD_REF);
        need_type(judging, PAYLOAD_REPOSITORY, PAYLOAD_OBJECT, "is not an object");
        judging->event->repo_full_name = text(judging, PAYLOAD_REPOSITORY_FULL_NAME);
        if (strcmp(judging->name, "create") == 0)
                ignore(judgement, arena_format(judging->event->arena,
                                               "a new %s is built by the push that made it", type));
        else
                ignore(judgement, arena_format(judging->event->arena, "the %s was deleted", type));
}

static void judge_other(struct judging *judging, struct judgement *judgement)
{
        bool is_push = payload_type(judging->payload, PAYLOAD_REF) == PAYLOAD_TEXT &&
                       payload_type(judging->payload, PAYLOAD_AFTER) == PAYLOAD_TEXT &&
                       payload_type(judging->payload, PAYLOAD_COMMITS) == PAYLOAD_ARRAY;

        if (is_push)
                wrong(judging, PAYLOAD_COMMITS, "belongs to a push");
        judging->event->repo_full_name = text(judging, PAYLOAD_REPOSITORY_FULL_NAME);
        ignore(judgement, arena_format(judging->event->arena,
                                       "events of the kind '%s' start no build", judging->name));
}

static const struct {
        const char *event;
        void (*judge)(struct judging *judging, struct judgement *judgement);
} events[] = {
        {"push", judge_push},  {"pull_request", judge_pull_request},
        {"ping", judge_ping},  {"create", judge_ref},
        {"delete", judge_ref},
};

int judge_event(struct judgement *ret, const struct payload *payload, const char *event,
                struct error *err)
{
        struct judgement judgement = {.kind = JUDGED_ACCEPTED, .reason = ""};
        struct judging judging = {.payload = payload, .name = event, .err = err};
        size_t i = 0;

        judging.event = webhook_event_new();
        judging.event->forge = "github";
        judgement.event = judging.event;
        while (i < sizeof(events) / sizeof(*events) && strcmp(event, events[i].event) != 0)
                i++;
        if (i < sizeof(events) / sizeof(*events))
                events[i].judge(&judging, &judgement);
        else
                judge_other(&judging, &judgement);
        if (judging.wrong) {
                judgement_done(&judgement);
                return -ERROR_INVALID;
        }
        *ret = judgement;
        return 0;
}

void judgement_done(struct judgement *judgement)
{
        webhook_event_free(judgement->event);
        judgement->event = NULL;
}
