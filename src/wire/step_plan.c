/*
 * The plan of step_frame.h as text: one block of bytes, sent in PLAN frames, decoded in place.
 * Every limit is checked on both sides: by the executor, whose message then reaches a person, and
 * by argon-step, which must not be surprised by an executor of another version.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "wire/step_bytes.h"
#include "wire/step_frame.h"

#include "base/banned.h"

#define PART_BYTES (32 * 1024) /* of the plan in one PLAN frame */

/* --- encoding --- */

static int check_text(const char *text, const char *what, const char *of, struct error *err)
{
        if (!text || strnlen(text, STEP_TEXT_MAX + 1) <= STEP_TEXT_MAX)
                return 0;
        return error_set(err, ERROR_LIMIT, "%s%s%s%s is longer than %d KiB", what, of ? " '" : "",
                         of ? of : "", of ? "'" : "", STEP_TEXT_MAX / 1024);
}

static int check_env(const struct step_plan_env *env, size_t n, struct error *err)
{
        if (n > STEP_ENV_MAX)
                return error_set(err, ERROR_LIMIT, "%zu variables; at most %d are allowed", n,
                                 STEP_ENV_MAX);
        for (size_t i = 0; i < n; i++) {
                if (!env[i].name || !*env[i].name || strchr(env[i].name, '='))
                        return error_set(err, ERROR_INVALID, "'%s' is no name for a variable",
                                         env[i].name ? env[i].name : "");
                if (check_text(env[i].name, "a variable's name", NULL, err) < 0 ||
                    check_text(env[i].value, "the variable", env[i].name, err) < 0)
                        return -ERROR_LIMIT;
        }
        return 0;
}

static int check_step(const struct step_plan_step *step, struct error *err)
{
        if (check_text(step->name, "the name of a step", NULL, err) < 0 ||
            check_text(step->script, "the script of step", step->name, err) < 0 ||
            check_text(step->shell, "the shell of step", step->name, err) < 0 ||
            check_text(step->folder, "the working directory of step", step->name, err) < 0)
                return -ERROR_LIMIT;
        if (step->timeout_ms < 0 || step->timeout_ms > STEP_TIME_MAX_MS)
                return error_set(err, ERROR_INVALID, "the time limit of step '%s' is out of range",
                                 step->name);
        return check_env(step->env, step->n_env, err);
}

static int check_plan(const struct step_plan *plan, struct error *err)
{
        int result;

        if (plan->n_steps == 0)
                return error_set(err, ERROR_INVALID, "a job without steps");
        if (plan->n_steps > STEP_STEPS_MAX)
                return error_set(err, ERROR_LIMIT, "%zu steps; at most %d are allowed",
                                 plan->n_steps, STEP_STEPS_MAX);
        if (!plan->workspace || plan->workspace[0] != '/')
                return error_set(err, ERROR_INVALID, "the workspace must be an absolute path");
        if (plan->timeout_ms < 0 || plan->timeout_ms > STEP_TIME_MAX_MS ||
            plan->orphan_max_ms < 0 || plan->orphan_max_ms > STEP_TIME_MAX_MS ||
            plan->grace_ms < 0 || plan->grace_ms > STEP_TIME_MAX_MS)
                return error_set(err, ERROR_INVALID, "a time of the job is out of range");
        result = check_text(plan->workspace, "the workspace", NULL, err);
        if (result == 0)
                result = check_env(plan->env, plan->n_env, err);
        if (result == 0)
                result = check_env(plan->secrets, plan->n_secrets, err);
        for (size_t i = 0; result == 0 && i < plan->n_steps; i++)
                result = check_step(&plan->steps[i], err);
        return result;
}

static void put_env(struct str *ret, const struct step_plan_env *env, size_t n)
{
        put_u32(ret, (uint32_t)n);
        for (size_t i = 0; i < n; i++) {
                put_text(ret, env[i].name, STEP_TEXT_MAX);
                put_text(ret, env[i].value, STEP_TEXT_MAX);
        }
}

static void put_step(struct str *ret, const struct step_plan_step *step)
{
        put_text(ret, step->name, STEP_TEXT_MAX);
        put_text(ret, step->script, STEP_TEXT_MAX);
        put_text(ret, step->shell, STEP_TEXT_MAX);
        put_text(ret, step->folder, STEP_TEXT_MAX);
        put_u64(ret, (uint64_t)step->timeout_ms);
        put_u8(ret, step->continue_on_error);
        put_env(ret, step->env, step->n_env);
}

int step_plan_encode(struct str *ret, const struct step_plan *plan, struct error *err)
{
        size_t start = ret->len;
        int result = check_plan(plan, err);

        if (result < 0)
                return result;
        put_text(ret, plan->workspace, STEP_TEXT_MAX);
        put_u64(ret, (uint64_t)plan->timeout_ms);
        put_u64(ret, (uint64_t)plan->orphan_max_ms);
        put_u64(ret, (uint64_t)plan->grace_ms);
        put_u32(ret, plan->uid);
        put_u32(ret, plan->gid);
        put_u32(ret, plan->supervisor_uid);
        put_u8(ret, plan->strict);
        put_env(ret, plan->env, plan->n_env);
        put_env(ret, plan->secrets, plan->n_secrets);
        put_u32(ret, (uint32_t)plan->n_steps);
        for (size_t i = 0; i < plan->n_steps; i++)
                put_step(ret, &plan->steps[i]);
        if (ret->len - start <= STEP_PLAN_MAX)
                return 0;
        explicit_bzero(ret->data + start, ret->len - start);
        str_truncate(ret, start);
        return error_set(err, ERROR_LIMIT,
                         "scripts and variables of the job take more than %d MiB together",
                         STEP_PLAN_MAX / 1024 / 1024);
}

uint32_t step_plan_sum(const void *bytes, size_t n)
{
        const unsigned char *at = bytes;
        uint32_t sum = UINT32_C(2166136261); /* FNV-1a */

        for (size_t i = 0; i < n; i++)
                sum = (sum ^ at[i]) * UINT32_C(16777619);
        return sum;
}

void step_plan_frames(struct str *ret, const void *bytes, size_t n)
{
        const char *at = bytes;
        size_t start;

        for (size_t done = 0; done < n; done += PART_BYTES) {
                size_t part = n - done < PART_BYTES ? n - done : PART_BYTES;

                start = step_frame_open(ret, STEP_FRAME_PLAN);
                str_add_bytes(ret, at + done, part);
                step_frame_close(ret, start);
        }
        start = step_frame_open(ret, STEP_FRAME_GO);
        put_u32(ret, (uint32_t)n);
        put_u32(ret, step_plan_sum(bytes, n));
        step_frame_close(ret, start);
}

/* --- decoding --- */

/* calloc() and not xcalloc(): the supervisor answers for a job and must not abort. */
static void *get_array(struct cursor *c, uint32_t n, size_t max, size_t size, const char *what)
{
        void *array = NULL;

        if (!c->broken && n > max)
                c->broken = what;
        if (!c->broken && n > 0) {
                array = calloc(n, size);
                if (!array)
                        c->broken = what;
        }
        return array;
}

static struct step_plan_env *get_env(struct cursor *c, size_t *ret_n)
{
        uint32_t n = get_u32(c, "number of variables");
        struct step_plan_env *env = get_array(c, n, STEP_ENV_MAX, sizeof(*env), "variables");

        *ret_n = env ? n : 0;
        for (size_t i = 0; i < *ret_n; i++) {
                env[i].name = get_text(c, STEP_TEXT_MAX, "name of a variable");
                env[i].value = get_text(c, STEP_TEXT_MAX, "value of a variable");
                if (!c->broken && (!*env[i].name || strchr(env[i].name, '=')))
                        c->broken = "name of a variable";
        }
        return env;
}

static void get_step(struct cursor *c, struct step_plan_step *step)
{
        step->name = get_text(c, STEP_TEXT_MAX, "name of a step");
        step->script = get_text(c, STEP_TEXT_MAX, "script");
        step->shell = get_text(c, STEP_TEXT_MAX, "shell");
        step->folder = get_text(c, STEP_TEXT_MAX, "working directory");
        step->timeout_ms = get_count(c, STEP_TIME_MAX_MS, "time limit of a step");
        step->continue_on_error = get_bool(c, "continue-on-error");
        step->env = get_env(c, &step->n_env);
}

int step_plan_decode(struct step_plan *ret, const void *bytes, size_t n, struct error *err)
{
        struct cursor c = cursor_of(bytes, n);
        struct step_plan plan = {0};
        uint32_t n_steps;

        plan.workspace = get_text(&c, STEP_TEXT_MAX, "workspace");
        plan.timeout_ms = get_count(&c, STEP_TIME_MAX_MS, "time limit of the job");
        plan.orphan_max_ms = get_count(&c, STEP_TIME_MAX_MS, "longest time alone");
        plan.grace_ms = get_count(&c, STEP_TIME_MAX_MS, "grace");
        plan.uid = get_u32(&c, "uid");
        plan.gid = get_u32(&c, "gid");
        plan.supervisor_uid = get_u32(&c, "supervisor's uid");
        plan.strict = get_bool(&c, "strict");
        plan.env = get_env(&c, &plan.n_env);
        plan.secrets = get_env(&c, &plan.n_secrets);
        n_steps = get_u32(&c, "number of steps");
        if (!c.broken && (n_steps == 0 || plan.workspace[0] != '/'))
                c.broken = n_steps ? "workspace" : "number of steps";
        plan.steps = get_array(&c, n_steps, STEP_STEPS_MAX, sizeof(*plan.steps), "steps");
        plan.n_steps = plan.steps ? n_steps : 0;
        for (size_t i = 0; i < plan.n_steps; i++)
                get_step(&c, &plan.steps[i]);
        if (cursor_end(&c, "PLAN", err) < 0) {
                step_plan_done(&plan);
                return -ERROR_INVALID;
        }
        *ret = plan;
        return 0;
}

void step_plan_done(struct step_plan *plan)
{
        for (size_t i = 0; i < plan->n_steps; i++)
                free(plan->steps[i].env);
        free(plan->steps);
        free(plan->env);
        free(plan->secrets);
        *plan = (struct step_plan){0};
}
