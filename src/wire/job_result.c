/*
 * The id is made of (job, attempt, seq): whoever sends a result again sends the same id, and a
 * duplicate is recognised without keeping a list.
 */
#include "wire/job_result.h"

#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"
#include "wire/codec.h"

#include "base/banned.h"

#define TAIL_MAX (64 * 1024)
#define COUNT(table) (sizeof(table) / sizeof(*(table)))

static const char *const kinds[] = {
        [RESULT_ACCEPTED] = "accepted",         [RESULT_STARTED] = "started",
        [RESULT_STEP_STARTED] = "step_started", [RESULT_STEP_FINISHED] = "step_finished",
        [RESULT_FINISHED] = "finished",         [RESULT_RETURNED] = "returned",
};

#define FIELD(name, type, member, flags, max)                               \
        {                                                                   \
                name, type, offsetof(struct job_result, member), flags, max \
        }
#define TEXT(name, member, flags) FIELD(name, CODEC_TEXT, member, flags, WIRE_TEXT_MAX)
#define NUMBER(name, member) FIELD(name, CODEC_INT64, member, 0, 0)

static const struct codec_field fields[] = {
        TEXT("build_id", build_id, CODEC_FILLED),
        TEXT("job_id", job_id, CODEC_FILLED),
        FIELD("attempt", CODEC_INT, attempt, CODEC_FILLED, 0),
        TEXT("token", token, CODEC_FILLED),
        FIELD("seq", CODEC_INT64, seq, CODEC_FILLED, 0),
        TEXT("executor", executor, 0),
        FIELD("step", CODEC_INT, step, 0, 0),
        TEXT("step_name", step_name, 0),
        FIELD("state", CODEC_STATE, state, 0, 0),
        FIELD("reason_code", CODEC_REASON, reason, 0, 0),
        TEXT("reason", reason_text, 0),
        FIELD("exit_code", CODEC_INT, exit_code, 0, 0),
        FIELD("signal", CODEC_INT, signal, 0, 0),
        NUMBER("at", at),
        NUMBER("duration_ms", duration_ms),
        NUMBER("cpu_ms", cpu_ms),
        NUMBER("max_rss_bytes", max_rss_bytes),
        NUMBER("first_line", first_line),
        NUMBER("last_line", last_line),
        NUMBER("log_lines", log_lines),
        NUMBER("log_bytes", log_bytes),
        FIELD("tail", CODEC_TEXT, tail, CODEC_KEEP_END, TAIL_MAX),
};

struct job_result *job_result_new(void)
{
        struct arena *arena = arena_new();
        struct job_result *result = arena_alloc(arena, sizeof(*result));

        *result = (struct job_result){
                .arena = arena,
                .build_id = "",
                .job_id = "",
                .attempt = 1,
                .token = "",
                .seq = 1,
                .executor = "",
                .step_name = "",
                .state = STATE_RUNNING,
                .reason_text = "",
                .exit_code = -1,
                .tail = "",
        };
        return result;
}

void job_result_free(struct job_result *result)
{
        if (result)
                arena_free(result->arena);
}

void job_result_encode(const struct job_result *result, struct str *ret)
{
        scoped(json) json_t *json = json_object();
        scoped_text char *id =
                text_format("%s/%d/%lld", result->job_id, result->attempt, (long long)result->seq);

        json_set_int(json, "v", WIRE_VERSION);
        json_set_text(json, "id", id);
        json_set_text(json, "kind", kinds[result->kind]);
        codec_encode(json, result, fields, COUNT(fields));
        str_add_json(ret, json);
}

static int decode_kind(struct job_result *result, const json_t *json, struct error *err)
{
        const char *word;
        int r;

        r = json_get_text(&word, json, "kind", err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < COUNT(kinds); i++) {
                if (strcmp(kinds[i], word) == 0) {
                        result->kind = (enum result_kind)i;
                        return 0;
                }
        }
        return error_set(err, ERROR_INVALID, "member \"kind\" has the unknown value '%.40s'", word);
}

static int check(const struct job_result *result, const json_t *json, struct error *err)
{
        bool step = result->kind == RESULT_STEP_STARTED || result->kind == RESULT_STEP_FINISHED;
        bool ends = result->kind == RESULT_FINISHED || result->kind == RESULT_STEP_FINISHED;

        if (step && !json_is_integer(json_object_get(json, "step")))
                return error_set(err, ERROR_INVALID, "member \"step\" is missing");
        if (step && result->step < 0)
                return error_set(err, ERROR_INVALID, "member \"step\" is negative");
        if (!ends)
                return 0;
        if (!json_object_get(json, "state"))
                return error_set(err, ERROR_INVALID, "member \"state\" is missing");
        if (!state_ended(result->state))
                return error_set(err, ERROR_INVALID, "member \"state\" is %s, which is no end",
                                 state_name(result->state));
        return 0;
}

int job_result_decode(struct job_result **ret, const char *text, size_t n, struct error *err)
{
        scoped(job_result) struct job_result *result = job_result_new();
        scoped(json) json_t *json = NULL;
        int r;

        r = codec_parse(&json, text, n, err);
        if (r == 0)
                r = decode_kind(result, json, err);
        if (r == 0)
                r = codec_decode(result, result->arena, json, fields, COUNT(fields), err);
        if (r == 0)
                r = check(result, json, err);
        if (r < 0) {
                error_wrap(err, "result of a job");
                return r;
        }
        *ret = take(result);
        return 0;
}
