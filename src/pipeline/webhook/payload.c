/*
 * form (where the body is one) → guard → yajl → this: three steps that hold next to nothing.
 *
 * yajl tells keys and values one by one. The path of the object that is open is kept as text
 * ("pull_request.head."); a value whose path stands in the table is copied. Below an array, below a
 * key with a dot in it, and beyond the longest path nothing can match, so the path is not kept.
 *
 * yajl begins a token again with every piece that it is cut by: a body in pieces of one byte would
 * cost the square of its strings. So small pieces are gathered first.
 */
#include "pipeline/webhook/payload.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yajl/yajl_parse.h>

#include "base/error.h"
#include "base/parse.h"
#include "base/str.h"
#include "pipeline/webhook/form.h"
#include "pipeline/webhook/guard.h"

#include "base/banned.h"

#define GATHER_BYTES (16 * 1024)
#define PATH_LEN_MAX 63
#define NAME_MAX_BYTES 256
#define URL_MAX_BYTES 2048
#define REF_MAX_BYTES 1024
#define TITLE_MAX_BYTES 1024
/* In a message for the bus a control character takes six bytes: 192 KiB of its 256 KiB. */
#define MESSAGE_MAX_BYTES (32 * 1024)

/** struct field - @max: bytes; @cut: longer ones are cut (for people), else they are refused */
struct field {
        const char *path;
        size_t max;
        bool cut;
};

static const struct field fields[PAYLOAD_FIELDS] = {
        [PAYLOAD_ACTION] = {"action", NAME_MAX_BYTES, false},
        [PAYLOAD_AFTER] = {"after", NAME_MAX_BYTES, false},
        [PAYLOAD_BEFORE] = {"before", NAME_MAX_BYTES, false},
        [PAYLOAD_COMMITS] = {"commits", 0, true},
        [PAYLOAD_CREATED] = {"created", 0, true},
        [PAYLOAD_DELETED] = {"deleted", 0, true},
        [PAYLOAD_HEAD_COMMIT] = {"head_commit", 0, true},
        [PAYLOAD_HEAD_COMMIT_ID] = {"head_commit.id", NAME_MAX_BYTES, false},
        [PAYLOAD_HEAD_COMMIT_MESSAGE] = {"head_commit.message", MESSAGE_MAX_BYTES, true},
        [PAYLOAD_HEAD_COMMIT_AUTHOR] = {"head_commit.author.name", NAME_MAX_BYTES, true},
        [PAYLOAD_HEAD_COMMIT_AUTHOR_EMAIL] = {"head_commit.author.email", NAME_MAX_BYTES, true},
        [PAYLOAD_HEAD_COMMIT_COMMITTER_EMAIL] = {"head_commit.committer.email", NAME_MAX_BYTES,
                                                 true},
        [PAYLOAD_HOOK_ID] = {"hook_id", NAME_MAX_BYTES, true},
        [PAYLOAD_NUMBER] = {"number", NAME_MAX_BYTES, true},
        [PAYLOAD_PULL_REQUEST] = {"pull_request", 0, true},
        [PAYLOAD_PULL_REQUEST_TITLE] = {"pull_request.title", TITLE_MAX_BYTES, true},
        [PAYLOAD_PULL_REQUEST_USER] = {"pull_request.user.login", NAME_MAX_BYTES, true},
        [PAYLOAD_PULL_REQUEST_HEAD_REF] = {"pull_request.head.ref", REF_MAX_BYTES, false},
        [PAYLOAD_PULL_REQUEST_HEAD_SHA] = {"pull_request.head.sha", NAME_MAX_BYTES, false},
        [PAYLOAD_PULL_REQUEST_HEAD_REPO] = {"pull_request.head.repo", 0, true},
        [PAYLOAD_PULL_REQUEST_HEAD_REPO_NAME] = {"pull_request.head.repo.full_name", NAME_MAX_BYTES,
                                                 false},
        [PAYLOAD_PULL_REQUEST_BASE_REF] = {"pull_request.base.ref", REF_MAX_BYTES, false},
        [PAYLOAD_PUSHER] = {"pusher.name", NAME_MAX_BYTES, true},
        [PAYLOAD_PUSHER_EMAIL] = {"pusher.email", NAME_MAX_BYTES, true},
        [PAYLOAD_REF] = {"ref", REF_MAX_BYTES, false},
        [PAYLOAD_REF_TYPE] = {"ref_type", NAME_MAX_BYTES, false},
        [PAYLOAD_REPOSITORY] = {"repository", 0, true},
        [PAYLOAD_REPOSITORY_CLONE_URL] = {"repository.clone_url", URL_MAX_BYTES, false},
        [PAYLOAD_REPOSITORY_FULL_NAME] = {"repository.full_name", NAME_MAX_BYTES, false},
        [PAYLOAD_REPOSITORY_LANGUAGE] = {"repository.language", NAME_MAX_BYTES, true},
        [PAYLOAD_REPOSITORY_NAME] = {"repository.name", NAME_MAX_BYTES, false},
        [PAYLOAD_SENDER] = {"sender.login", NAME_MAX_BYTES, true},
        [PAYLOAD_ZEN] = {"zen", 0, true},
};

struct value {
        enum payload_type type;
        char *text;
};

/** struct frame - an object or array that is open; @length: of its path with the last dot */
struct frame {
        size_t length;
        bool array;
        bool tracked;
};

struct payload {
        bool is_form;
        struct form form;
        struct guard guard;
        yajl_handle yajl;
        struct error err;
        bool failed;
        struct value values[PAYLOAD_FIELDS];
        struct frame frames[PAYLOAD_DEPTH_MAX];
        size_t depth;
        char path[PATH_LEN_MAX + 2];
        size_t path_length; /* of the member whose value comes next; 0: not tracked */
        size_t gathered;
        char gather[GATHER_BYTES];
};

const char *payload_path(enum payload_field field)
{
        return fields[field].path;
}

/* The first error counts. Return: 0, which makes yajl stop. */
__attribute__((__format__(__printf__, 2, 3))) static int fail(struct payload *payload,
                                                              const char *format, ...)
{
        char text[256];
        va_list args;

        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        if (!payload->failed)
                error_set(&payload->err, ERROR_INVALID, "%s", text);
        payload->failed = true;
        return 0;
}

/* The field that the coming value is for; PAYLOAD_FIELDS: none. */
static enum payload_field wanted(const struct payload *payload)
{
        size_t n = payload->path_length;

        for (size_t i = 0; n && i < PAYLOAD_FIELDS; i++) {
                if (strncmp(fields[i].path, payload->path, n) == 0 && fields[i].path[n] == '\0')
                        return (enum payload_field)i;
        }
        return PAYLOAD_FIELDS;
}

/* Shortens to at most max bytes of whole characters. */
static size_t cut_text(const char *text, size_t n, size_t max)
{
        if (n <= max)
                return n;
        while (max && ((unsigned char)text[max] & 0xc0) == 0x80)
                max--;
        return max;
}

static int keep(struct payload *payload, enum payload_type type, const char *text, size_t n)
{
        enum payload_field field = wanted(payload);
        struct value *value = &payload->values[field];

        if (!payload->depth)
                return fail(payload, "the body is not a JSON object");
        if (field == PAYLOAD_FIELDS)
                return 1;
        if (value->type != PAYLOAD_ABSENT)
                return fail(payload, "the member %s stands twice", fields[field].path);
        if (n > fields[field].max && !fields[field].cut)
                return fail(payload, "the member %s is too long", fields[field].path);
        value->type = type;
        if (n)
                value->text = text_format("%.*s", (int)cut_text(text, n, fields[field].max), text);
        return 1;
}

static int on_null(void *data)
{
        return keep(data, PAYLOAD_NULL, NULL, 0);
}

static int on_boolean(void *data, int value)
{
        return keep(data, value ? PAYLOAD_TRUE : PAYLOAD_FALSE, NULL, 0);
}

static int on_number(void *data, const char *text, size_t n)
{
        bool integer =
                n <= 18 && !memchr(text, '.', n) && !memchr(text, 'e', n) && !memchr(text, 'E', n);

        return keep(data, integer ? PAYLOAD_INTEGER : PAYLOAD_OTHER_NUMBER, text, n);
}

static int on_string(void *data, const unsigned char *text, size_t n)
{
        return keep(data, PAYLOAD_TEXT, (const char *)text, n);
}

static int on_key(void *data, const unsigned char *key, size_t n)
{
        struct payload *payload = data;
        const struct frame *frame = &payload->frames[payload->depth - 1];

        payload->path_length = 0;
        if (!frame->tracked || n == 0 || frame->length + n > PATH_LEN_MAX || memchr(key, '.', n))
                return 1;
        memcpy(payload->path + frame->length, key, n);
        payload->path_length = frame->length + n;
        return 1;
}

static int open_frame(struct payload *payload, bool array)
{
        struct frame *frame = &payload->frames[payload->depth];
        bool first = payload->depth == 0;

        if (first && array)
                return fail(payload, "the body is not a JSON object");
        if (payload->depth == PAYLOAD_DEPTH_MAX)
                return fail(payload, "the body is nested deeper than %d levels", PAYLOAD_DEPTH_MAX);
        if (!first && !keep(payload, array ? PAYLOAD_ARRAY : PAYLOAD_OBJECT, NULL, 0))
                return 0;
        frame->array = array;
        frame->tracked = first || (!array && payload->path_length > 0);
        frame->length = payload->path_length;
        if (payload->path_length)
                payload->path[frame->length++] = '.';
        payload->path_length = 0;
        payload->depth++;
        return 1;
}

static int close_frame(struct payload *payload)
{
        payload->depth--;
        payload->path_length = 0;
        return 1;
}

static int on_start_map(void *data)
{
        return open_frame(data, false);
}

static int on_start_array(void *data)
{
        return open_frame(data, true);
}

static int on_end(void *data)
{
        return close_frame(data);
}

static const yajl_callbacks callbacks = {
        .yajl_null = on_null,
        .yajl_boolean = on_boolean,
        .yajl_number = on_number,
        .yajl_string = on_string,
        .yajl_start_map = on_start_map,
        .yajl_map_key = on_key,
        .yajl_end_map = on_end,
        .yajl_start_array = on_start_array,
        .yajl_end_array = on_end,
};

static void tell_yajl_error(struct payload *payload)
{
        unsigned char *text;
        char *line;

        if (payload->failed)
                return; /* it was one of the callbacks that stopped */
        text = yajl_get_error(payload->yajl, 0, NULL, 0);
        line = (char *)text;
        if (line)
                line[strcspn(line, "\n")] = '\0';
        fail(payload, "the body is not JSON: %s", line ? line : "cut off");
        if (text)
                yajl_free_error(payload->yajl, text);
}

static bool parse_piece(void *data, const char *bytes, size_t n)
{
        struct payload *payload = data;

        if (!payload->failed &&
            yajl_parse(payload->yajl, (const unsigned char *)bytes, n) != yajl_status_ok)
                tell_yajl_error(payload);
        return !payload->failed;
}

static void guard_piece(void *data, const char *bytes, size_t n)
{
        struct payload *payload = data;

        if (payload->failed)
                return;
        guard_add(&payload->guard, bytes, n);
        if (payload->guard.failed)
                fail(payload, "%s", payload->guard.failed);
}

struct payload *payload_new(bool form)
{
        struct payload *payload = xcalloc(1, sizeof(*payload));

        payload->is_form = form;
        payload->form.sink = guard_piece;
        payload->form.data = payload;
        payload->guard.sink = parse_piece;
        payload->guard.data = payload;
        payload->yajl = yajl_alloc(&callbacks, NULL, payload);
        if (!payload->yajl)
                abort();
        /* The guard has done it. */
        yajl_config(payload->yajl, yajl_dont_validate_strings, 1);
        return payload;
}

void payload_free(struct payload *payload)
{
        yajl_free(payload->yajl);
        for (size_t i = 0; i < PAYLOAD_FIELDS; i++)
                free(payload->values[i].text);
        free(payload);
}

static void take_piece(struct payload *payload, const char *bytes, size_t n)
{
        if (payload->is_form)
                form_add(&payload->form, bytes, n);
        else
                guard_piece(payload, bytes, n);
}

static void take_gathered(struct payload *payload)
{
        take_piece(payload, payload->gather, payload->gathered);
        payload->gathered = 0;
}

void payload_add(struct payload *payload, const void *bytes, size_t n)
{
        if (payload->gathered + n > GATHER_BYTES)
                take_gathered(payload);
        if (n >= GATHER_BYTES) {
                take_piece(payload, bytes, n);
                return;
        }
        memcpy(payload->gather + payload->gathered, bytes, n);
        payload->gathered += n;
}

int payload_end(struct payload *payload, struct error *err)
{
        take_gathered(payload);
        if (!payload->failed && payload->is_form && form_end(&payload->form, &payload->err) < 0)
                payload->failed = true;
        if (!payload->failed && !guard_end(&payload->guard))
                fail(payload, "%s", payload->guard.failed);
        if (!payload->failed && yajl_complete_parse(payload->yajl) != yajl_status_ok)
                tell_yajl_error(payload);
        if (payload->failed)
                return error_set(err, ERROR_INVALID, "%s", payload->err.text);
        return 0;
}

enum payload_type payload_type(const struct payload *payload, enum payload_field field)
{
        return payload->values[field].type;
}

const char *payload_text(const struct payload *payload, enum payload_field field)
{
        const struct value *value = &payload->values[field];

        return value->type == PAYLOAD_TEXT && value->text ? value->text : "";
}

int64_t payload_integer(const struct payload *payload, enum payload_field field)
{
        const struct value *value = &payload->values[field];
        int64_t number = 0;

        if (value->type != PAYLOAD_INTEGER ||
            parse_int(&number, value->text, INT64_MIN, INT64_MAX, NULL) < 0)
                return 0;
        return number;
}
