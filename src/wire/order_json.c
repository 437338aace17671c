/*
 * An order as it lies in the store. Names of secrets, never their values.
 */
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "domain/order.h"
#include "wire/build_json.h"
#include "wire/codec.h"

#include "base/banned.h"

#define COUNT(table) (sizeof(table) / sizeof(*(table)))
#define NO_LIMIT 0
#define FIELD(owner, name, type, member, flags)                             \
        {                                                                   \
                name, type, offsetof(struct owner, member), flags, NO_LIMIT \
        }
#define TEXT(owner, name, member) FIELD(owner, name, CODEC_TEXT, member, 0)

static const struct codec_field fields[] = {
        FIELD(order, "build_id", CODEC_TEXT, build_id, CODEC_FILLED),
        FIELD(order, "job_id", CODEC_TEXT, job_id, CODEC_FILLED),
        FIELD(order, "attempt", CODEC_INT, attempt, CODEC_FILLED),
        TEXT(order, "token", token),
        TEXT(order, "repo", repo),
        TEXT(order, "clone_url", clone_url),
        TEXT(order, "ref", ref),
        TEXT(order, "commit", commit),
        TEXT(order, "job_name", job_name),
        TEXT(order, "image", image),
        FIELD(order, "strict", CODEC_BOOL, strict, CODEC_REQUIRED),
        FIELD(order, "network_none", CODEC_BOOL, network_none, 0),
        FIELD(order, "timeout_ms", CODEC_INT64, timeout_ms, CODEC_REQUIRED),
        FIELD(order, "memory", CODEC_INT64, memory, 0),
        FIELD(order, "disk", CODEC_INT64, disk, 0),
        FIELD(order, "millicpus", CODEC_INT64, millicpus, 0),
        FIELD(order, "pids", CODEC_INT64, pids, 0),
        TEXT(order, "notes", notes),
};

static const struct codec_field step_fields[] = {
        TEXT(order_step, "id", id),
        TEXT(order_step, "name", name),
        FIELD(order_step, "run", CODEC_TEXT, run, CODEC_REQUIRED),
        TEXT(order_step, "shell", shell),
        TEXT(order_step, "folder", folder),
        FIELD(order_step, "timeout_ms", CODEC_INT64, timeout_ms, 0),
        FIELD(order_step, "continue_on_error", CODEC_BOOL, continue_on_error, 0),
};

static const struct codec_field env_fields[] = {
        FIELD(order_env, "name", CODEC_TEXT, name, CODEC_FILLED),
        FIELD(order_env, "value", CODEC_TEXT, value, CODEC_REQUIRED),
};

static json_t *env_to_json(const struct order_env *env, size_t n)
{
        json_t *array = json_array();

        for (size_t i = 0; i < n; i++) {
                json_t *one = json_object();

                codec_encode(one, &env[i], env_fields, COUNT(env_fields));
                json_array_append_new(array, one);
        }
        return array;
}

static json_t *step_to_json(const struct order_step *step)
{
        json_t *json = json_object();

        codec_encode(json, step, step_fields, COUNT(step_fields));
        json_object_set_new(json, "env", env_to_json(step->env, step->n_env));
        return json;
}

json_t *order_to_json(const struct order *order)
{
        json_t *json = json_object();
        json_t *secrets = json_array();
        json_t *steps = json_array();

        json_set_int(json, "v", WIRE_VERSION);
        codec_encode(json, order, fields, COUNT(fields));
        for (size_t i = 0; i < order->n_secrets; i++)
                json_array_append_new(
                        secrets,
                        codec_text(order->secrets[i], strlen(order->secrets[i]), NO_LIMIT, false));
        for (size_t i = 0; i < order->n_steps; i++)
                json_array_append_new(steps, step_to_json(&order->steps[i]));
        json_object_set_new(json, "secrets", secrets);
        json_object_set_new(json, "env", env_to_json(order->env, order->n_env));
        json_object_set_new(json, "steps", steps);
        return json;
}

static int read_env(struct order_env **ret, size_t *ret_n, struct arena *arena, const json_t *json,
                    struct error *err)
{
        const json_t *array;
        size_t n;
        int r;

        r = codec_array(&array, json, "env", err);
        if (r < 0)
                return r;
        n = json_array_size(array);
        *ret = arena_alloc(arena, n * sizeof(**ret));
        *ret_n = n;
        for (size_t i = 0; i < n; i++) {
                r = codec_decode(&(*ret)[i], arena, json_array_get(array, i), env_fields,
                                 COUNT(env_fields), err);
                if (r < 0) {
                        error_wrap(err, "variable %zu", i + 1);
                        return r;
                }
        }
        return 0;
}

static int read_steps(struct order *order, const json_t *json, struct error *err)
{
        const json_t *array;
        int r;

        r = codec_array(&array, json, "steps", err);
        if (r < 0)
                return r;
        order->n_steps = json_array_size(array);
        order->steps = arena_alloc(order->arena, order->n_steps * sizeof(*order->steps));
        for (size_t i = 0; i < order->n_steps; i++) {
                struct order_step *step = &order->steps[i];
                const json_t *one = json_array_get(array, i);

                step->id = step->name = step->shell = step->folder = "";
                r = codec_decode(step, order->arena, one, step_fields, COUNT(step_fields), err);
                if (r == 0)
                        r = read_env(&step->env, &step->n_env, order->arena, one, err);
                if (r < 0) {
                        error_wrap(err, "step %zu", i + 1);
                        return r;
                }
        }
        return 0;
}

static int read_secrets(struct order *order, const json_t *json, struct error *err)
{
        const json_t *array;
        int r;

        r = codec_array(&array, json, "secrets", err);
        if (r < 0)
                return r;
        order->n_secrets = json_array_size(array);
        order->secrets = arena_alloc(order->arena, order->n_secrets * sizeof(*order->secrets));
        for (size_t i = 0; i < order->n_secrets; i++) {
                const char *name = json_string_value(json_array_get(array, i));

                if (!name)
                        return error_set(err, ERROR_INVALID,
                                         "member \"secrets\" is no list of names");
                order->secrets[i] = arena_copy(order->arena, name);
        }
        return 0;
}

static int read_order(struct order *order, const json_t *json, struct error *err)
{
        int r;

        r = codec_decode(order, order->arena, json, fields, COUNT(fields), err);
        if (r == 0)
                r = read_secrets(order, json, err);
        if (r == 0)
                r = read_env(&order->env, &order->n_env, order->arena, json, err);
        if (r == 0)
                r = read_steps(order, json, err);
        return r;
}

int order_decode(struct order **ret, const char *text, size_t n, struct error *err)
{
        scoped(order) struct order *order = order_new();
        scoped(json) json_t *json = NULL;
        int r;

        r = json_parse(&json, text, n, ORDER_BYTES_MAX, err);
        if (r == 0)
                r = read_order(order, json, err);
        if (r < 0) {
                error_wrap(err, "a stored order");
                return r;
        }
        *ret = take(order);
        return 0;
}
