#pragma once
/*
 * payload - what is needed of a forge's event, taken out of its JSON while it arrives
 *
 * No tree is built: of a body of 25 MiB only the members named here are kept, each up to its limit.
 * Errors are remembered and told at the end, for nothing may be said about a body before its
 * signature was checked.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct payload;

#define PAYLOAD_DEPTH_MAX 64

/* The members, by their place in the body; PAYLOAD_PUSHER is pusher.name and so on. */
enum payload_field {
        PAYLOAD_ACTION,
        PAYLOAD_AFTER,
        PAYLOAD_BEFORE,
        PAYLOAD_COMMITS,
        PAYLOAD_CREATED,
        PAYLOAD_DELETED,
        PAYLOAD_HEAD_COMMIT,
        PAYLOAD_HEAD_COMMIT_ID,
        PAYLOAD_HEAD_COMMIT_MESSAGE,
        PAYLOAD_HEAD_COMMIT_AUTHOR,
        PAYLOAD_HEAD_COMMIT_AUTHOR_EMAIL,
        PAYLOAD_HEAD_COMMIT_COMMITTER_EMAIL,
        PAYLOAD_HOOK_ID,
        PAYLOAD_NUMBER,
        PAYLOAD_PULL_REQUEST,
        PAYLOAD_PULL_REQUEST_TITLE,
        PAYLOAD_PULL_REQUEST_USER,
        PAYLOAD_PULL_REQUEST_HEAD_REF,
        PAYLOAD_PULL_REQUEST_HEAD_SHA,
        PAYLOAD_PULL_REQUEST_HEAD_REPO,
        PAYLOAD_PULL_REQUEST_HEAD_REPO_NAME,
        PAYLOAD_PULL_REQUEST_BASE_REF,
        PAYLOAD_PUSHER,
        PAYLOAD_PUSHER_EMAIL,
        PAYLOAD_REF,
        PAYLOAD_REF_TYPE,
        PAYLOAD_REPOSITORY,
        PAYLOAD_REPOSITORY_CLONE_URL,
        PAYLOAD_REPOSITORY_FULL_NAME,
        PAYLOAD_REPOSITORY_LANGUAGE,
        PAYLOAD_REPOSITORY_NAME,
        PAYLOAD_SENDER,
        PAYLOAD_ZEN,
        PAYLOAD_FIELDS,
};

enum payload_type {
        PAYLOAD_ABSENT,
        PAYLOAD_TEXT,
        PAYLOAD_INTEGER,
        PAYLOAD_OTHER_NUMBER,
        PAYLOAD_TRUE,
        PAYLOAD_FALSE,
        PAYLOAD_NULL,
        PAYLOAD_OBJECT,
        PAYLOAD_ARRAY,
};

/** payload_new() - @form: the body is a form whose member "payload" is the JSON */
struct payload *payload_new(bool form);
void payload_free(struct payload *payload);
static inline void payload_freep(struct payload **payload)
{
        if (*payload)
                payload_free(*payload);
}

void payload_add(struct payload *payload, const void *bytes, size_t n);
/** payload_end() - all is there; Return: 0, or -ERROR_INVALID: no JSON object, nested too deeply,
 *  not UTF-8, a member that is too long or stands twice */
int payload_end(struct payload *payload, struct error *err);

/* After payload_end() succeeded. */
enum payload_type payload_type(const struct payload *payload, enum payload_field field);
/** payload_text() - the text, or "" when it is absent or of another type */
const char *payload_text(const struct payload *payload, enum payload_field field);
int64_t payload_integer(const struct payload *payload, enum payload_field field);
/** payload_path() - where the member stands, for messages: "repository.clone_url" */
const char *payload_path(enum payload_field field);
