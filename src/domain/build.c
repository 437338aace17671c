#include "domain/build.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"

#include "base/banned.h"

static const char *const state_names[] = {
        [STATE_QUEUED] = "queued",   [STATE_RUNNING] = "running", [STATE_SUCCESS] = "success",
        [STATE_FAILED] = "failed",   [STATE_ERROR] = "error",     [STATE_CANCELLED] = "cancelled",
        [STATE_SKIPPED] = "skipped", [STATE_TIMEOUT] = "timeout", [STATE_BLOCKED] = "blocked",
};

static const char *const reason_names[] = {
        [REASON_NONE] = "",
        [REASON_EXIT_CODE] = "exit_code",
        [REASON_SIGNAL] = "signal",
        [REASON_TIMEOUT] = "timeout",
        [REASON_OUT_OF_MEMORY] = "out_of_memory",
        [REASON_PIDS_LIMIT] = "pids_limit",
        [REASON_DISK_LIMIT] = "disk_limit",
        [REASON_CANCELLED] = "cancelled",
        [REASON_SUPERSEDED] = "superseded",
        [REASON_IMAGE_UNAVAILABLE] = "image_unavailable",
        [REASON_ENGINE_UNAVAILABLE] = "engine_unavailable",
        [REASON_EXECUTOR_LOST] = "executor_lost",
        [REASON_SOURCE_UNAVAILABLE] = "source_unavailable",
        [REASON_CONFIG_INVALID] = "config_invalid",
        [REASON_LIMIT_EXCEEDED] = "limit_exceeded",
        [REASON_INTERNAL] = "internal",
        [REASON_NEEDS] = "needs",
};

static int find_name(const char *const *names, size_t n, const char *name)
{
        for (size_t i = 0; name && i < n; i++) {
                if (strcmp(names[i], name) == 0)
                        return (int)i;
        }
        return -1;
}

const char *state_name(enum state state)
{
        return state_names[state];
}

const char *reason_name(enum reason reason)
{
        return reason_names[reason];
}

int state_parse(const char *name)
{
        return find_name(state_names, sizeof(state_names) / sizeof(*state_names), name);
}

int reason_parse(const char *name)
{
        return find_name(reason_names, sizeof(reason_names) / sizeof(*reason_names), name);
}

bool state_ended(enum state state)
{
        return state != STATE_QUEUED && state != STATE_RUNNING && state != STATE_BLOCKED;
}

struct build *build_new(void)
{
        struct arena *arena = arena_new();
        struct build *build = arena_alloc(arena, sizeof(*build));

        *build = (struct build){
                .arena = arena,
                .version = 1,
                .round = 1,
                .id = "",
                .forge = "",
                .repo = "",
                .clone_url = "",
                .ref = "",
                .branch = "",
                .commit = "",
                .message = "",
                .author = "",
                .author_email = "",
                .committer_email = "",
                .pusher = "",
                .pusher_email = "",
                .event = "",
                .project_type = "unknown",
                .delivery_id = "",
                .title = "",
                .previous = "",
                .notify = "",
                .reason_text = "",
        };
        return build;
}

void build_free(struct build *build)
{
        if (build)
                arena_free(build->arena);
}

const char *build_text(struct build *build, const char *format, ...)
{
        struct str str = STR_INIT;
        va_list args;
        char *copy;

        va_start(args, format);
        str_vprintf(&str, format, args);
        va_end(args);
        copy = arena_copy(build->arena, str.data);
        str_done(&str);
        return copy;
}

void build_set_jobs(struct build *build, size_t n)
{
        build->jobs = arena_alloc(build->arena, n * sizeof(*build->jobs));
        build->n_jobs = n;
        for (size_t i = 0; i < n; i++) {
                struct job *job = &build->jobs[i];

                job->id = job->name = job->title = job->image = job->reason_text = "";
                job->retry_codes = "";
        }
}

struct job *build_job(struct build *build, const char *name)
{
        for (size_t i = 0; i < build->n_jobs; i++) {
                if (strcmp(build->jobs[i].name, name) == 0)
                        return &build->jobs[i];
        }
        return NULL;
}

struct job *build_job_by_id(struct build *build, const char *id)
{
        for (size_t i = 0; i < build->n_jobs; i++) {
                if (strcmp(build->jobs[i].id, id) == 0)
                        return &build->jobs[i];
        }
        return NULL;
}

struct attempt *job_attempt(const struct job *job)
{
        return job->n_attempts ? &job->attempts[job->n_attempts - 1] : NULL;
}

bool job_retries_code(const struct job *job, int exit_code)
{
        const char *codes = job->retry_codes;

        if (!*codes)
                return true;
        while (*codes) {
                char *end;

                if (strtol(codes, &end, 10) == exit_code)
                        return true;
                codes = *end ? end + 1 : end;
        }
        return false;
}

struct attempt *build_add_attempt(struct build *build, struct job *job)
{
        size_t n = job->n_attempts;
        struct attempt *all = arena_alloc(build->arena, (n + 1) * sizeof(*all));
        struct attempt *attempt = &all[n];

        if (n)
                memcpy(all, job->attempts, n * sizeof(*all));
        *attempt = (struct attempt){
                .number = (int)n + 1,
                .round = build->round,
                .token = "",
                .reason_text = "",
                .executor = "",
                .exit_code = -1,
                .created_at = wall_ms(),
        };
        job->attempts = all;
        job->n_attempts = n + 1;
        return attempt;
}

void build_set_steps(struct build *build, struct attempt *attempt, size_t n)
{
        attempt->steps = arena_alloc(build->arena, n * sizeof(*attempt->steps));
        attempt->n_steps = n;
        for (size_t i = 0; i < n; i++) {
                attempt->steps[i] = (struct step_run){
                        .index = (int)i,
                        .id = "",
                        .name = "",
                        .reason_text = "",
                        .exit_code = -1,
                };
        }
}
