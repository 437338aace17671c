#include "wire/dispatch.h"

#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"
#include "wire/codec.h"

#include "base/banned.h"

#define COUNT(table) (sizeof(table) / sizeof(*(table)))
#define TEXT(name, member, flags)                                                         \
        {                                                                                 \
                name, CODEC_TEXT, offsetof(struct dispatch, member), flags, WIRE_TEXT_MAX \
        }

static const struct codec_field fields[] = {
        TEXT("id", id, CODEC_FILLED),
        TEXT("build_id", build_id, CODEC_FILLED),
        TEXT("job_id", job_id, CODEC_FILLED),
        {"attempt", CODEC_INT, offsetof(struct dispatch, attempt), CODEC_FILLED, 0},
        TEXT("token", token, CODEC_FILLED),
        TEXT("labels", labels, 0),
};

struct dispatch *dispatch_new(void)
{
        struct arena *arena = arena_new();
        struct dispatch *dispatch = arena_alloc(arena, sizeof(*dispatch));

        *dispatch = (struct dispatch){
                .arena = arena,
                .id = "",
                .build_id = "",
                .job_id = "",
                .attempt = 1,
                .token = "",
                .labels = "",
        };
        return dispatch;
}

void dispatch_free(struct dispatch *dispatch)
{
        if (dispatch)
                arena_free(dispatch->arena);
}

void dispatch_encode(const struct dispatch *dispatch, struct str *ret)
{
        scoped(json) json_t *json = json_object();

        json_set_int(json, "v", WIRE_VERSION);
        codec_encode(json, dispatch, fields, COUNT(fields));
        str_add_json(ret, json);
}

int dispatch_decode(struct dispatch **ret, const char *text, size_t n, struct error *err)
{
        scoped(dispatch) struct dispatch *dispatch = dispatch_new();
        scoped(json) json_t *json = NULL;
        int r;

        r = codec_parse(&json, text, n, err);
        if (r == 0)
                r = codec_decode(dispatch, dispatch->arena, json, fields, COUNT(fields), err);
        if (r < 0) {
                error_wrap(err, "message for the executor about a job");
                return r;
        }
        *ret = take(dispatch);
        return 0;
}
