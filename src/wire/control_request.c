/*
 * What a request must name depends on its kind; the rest may be absent.
 */
#include "wire/control_request.h"

#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"
#include "wire/codec.h"

#include "base/banned.h"

#define JOBS_MAX (64 * 1024)
#define COUNT(table) (sizeof(table) / sizeof(*(table)))

static const char *const kinds[] = {
        [CONTROL_CANCEL] = "cancel",
        [CONTROL_RERUN] = "rerun",
        [CONTROL_RUN] = "run",
};

#define TEXT(name, member, flags, max)                                                 \
        {                                                                              \
                name, CODEC_TEXT, offsetof(struct control_request, member), flags, max \
        }

static const struct codec_field fields[] = {
        TEXT("id", id, CODEC_FILLED, WIRE_TEXT_MAX),
        TEXT("build_id", build_id, 0, WIRE_TEXT_MAX),
        TEXT("jobs", jobs, 0, JOBS_MAX),
        TEXT("repo", repo, 0, WIRE_TEXT_MAX),
        TEXT("ref", ref, 0, WIRE_TEXT_MAX),
        TEXT("who", who, 0, WIRE_TEXT_MAX),
};

struct control_request *control_request_new(void)
{
        struct arena *arena = arena_new();
        struct control_request *request = arena_alloc(arena, sizeof(*request));

        *request = (struct control_request){
                .arena = arena,
                .id = "",
                .build_id = "",
                .jobs = "",
                .repo = "",
                .ref = "",
                .who = "",
        };
        return request;
}

void control_request_free(struct control_request *request)
{
        if (request)
                arena_free(request->arena);
}

void control_request_encode(const struct control_request *request, struct str *ret)
{
        scoped(json) json_t *json = json_object();

        json_set_int(json, "v", WIRE_VERSION);
        json_set_text(json, "kind", kinds[request->kind]);
        codec_encode(json, request, fields, COUNT(fields));
        str_add_json(ret, json);
}

static int decode_kind(struct control_request *request, const json_t *json, struct error *err)
{
        const char *word;
        int r;

        r = json_get_text(&word, json, "kind", err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < COUNT(kinds); i++) {
                if (strcmp(kinds[i], word) == 0) {
                        request->kind = (enum control_kind)i;
                        return 0;
                }
        }
        return error_set(err, ERROR_INVALID, "member \"kind\" has the unknown value '%.40s'", word);
}

static int check(const struct control_request *request, struct error *err)
{
        const char *kind = kinds[request->kind];

        if (request->kind == CONTROL_RUN) {
                if (!*request->repo)
                        return error_set(err, ERROR_INVALID, "a %s needs the member \"repo\"",
                                         kind);
                return 0;
        }
        if (!*request->build_id)
                return error_set(err, ERROR_INVALID, "a %s needs the member \"build_id\"", kind);
        if (request->kind == CONTROL_RERUN && !*request->jobs)
                return error_set(err, ERROR_INVALID, "a %s needs the member \"jobs\"", kind);
        return 0;
}

int control_request_decode(struct control_request **ret, const char *text, size_t n,
                           struct error *err)
{
        scoped(control_request) struct control_request *request = control_request_new();
        scoped(json) json_t *json = NULL;
        int r;

        r = codec_parse(&json, text, n, err);
        if (r == 0)
                r = decode_kind(request, json, err);
        if (r == 0)
                r = codec_decode(request, request->arena, json, fields, COUNT(fields), err);
        if (r == 0)
                r = check(request, err);
        if (r < 0) {
                error_wrap(err, "request for the orchestrator");
                return r;
        }
        *ret = take(request);
        return 0;
}
