/*
 * An order copies every text: it outlives the file and the build that it was made from. What the
 * file asks beyond a maximum is cut down, and the job's log says so in the words of the settings.
 */
#include "domain/plan.h"

#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/id.h"
#include "base/str.h"
#include "domain/build.h"
#include "domain/order.h"
#include "domain/pipeline_file.h"

#include "base/banned.h"

#define TAG_PREFIX "refs/tags/"
#define CI_VARIABLES_MAX 24

void plan_jobs(struct build *build, const struct pipeline_file *file)
{
        build_set_jobs(build, file->n_jobs);
        for (size_t i = 0; i < file->n_jobs; i++) {
                const struct pipeline_job *from = &file->jobs[i];
                struct job *job = &build->jobs[i];
                char id[ID_SIZE];

                id_new(id);
                job->id = build_text(build, "%s", id);
                job->name = build_text(build, "%s", from->name);
                job->title = build_text(build, "%s", from->title);
                job->image = build_text(build, "%s", from->image);
                job->needs = arena_alloc(build->arena, (from->n_needs + 1) * sizeof(*job->needs));
                for (size_t j = 0; j < from->n_needs; j++)
                        job->needs[j] = build_text(build, "%s", from->needs[j]);
                job->n_needs = from->n_needs;
                job->continue_on_error = from->continue_on_error;
                job->retry_max = from->retry_max;
                job->retry_infra = from->retry_infra;
                job->retry_timeout = from->retry_timeout;
                job->retry_failure = from->retry_failure;
                job->retry_codes = build_text(build, "%s", from->retry_codes);
                job->state = STATE_QUEUED;
        }
}

/* --- limits --- */

static void add_size(struct str *str, int64_t bytes)
{
        static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
        size_t unit = 0;

        while (unit < 4 && bytes >= 1024 && bytes % 1024 == 0) {
                bytes /= 1024;
                unit++;
        }
        str_printf(str, "%lld%s", (long long)bytes, units[unit]);
}

static void add_cpus(struct str *str, int64_t millicpus)
{
        str_printf(str, "%lld", (long long)(millicpus / 1000));
        if (millicpus % 1000)
                str_printf(str, ".%03lld", (long long)(millicpus % 1000));
}

static void add_number(struct str *str, int64_t number)
{
        str_printf(str, "%lld", (long long)number);
}

struct limit {
        const char *name;
        const char *setting;
        void (*show)(struct str *str, int64_t value);
        int64_t asked;
        int64_t fallback;
        int64_t max; /* 0: none */
};

static int64_t apply(const struct limit *limit, struct str *notes)
{
        int64_t value = limit->asked ? limit->asked : limit->fallback;

        if (!limit->max || value <= limit->max)
                return value;
        if (limit->asked) {
                str_printf(notes, "%s%s ", notes->len ? "\n" : "", limit->name);
                limit->show(notes, value);
                str_add(notes, " cut down to ");
                limit->show(notes, limit->max);
                str_printf(notes, " (%s)", limit->setting);
        }
        return limit->max;
}

static void set_limits(struct order *order, const struct pipeline_job *job,
                       const struct plan_limits *limits)
{
        scoped_str struct str notes = STR_INIT;

        order->timeout_ms =
                apply(&(struct limit){"time", "ARGON_JOB_TIMEOUT_MAX", str_add_duration,
                                      job->timeout_ms, limits->timeout_ms, limits->timeout_max_ms},
                      &notes);
        order->memory = apply(&(struct limit){"memory", "ARGON_JOB_MEMORY_MAX", add_size,
                                              job->memory, limits->memory, limits->memory_max},
                              &notes);
        order->millicpus =
                apply(&(struct limit){"cpus", "ARGON_JOB_CPUS_MAX", add_cpus, job->millicpus,
                                      limits->millicpus, limits->millicpus_max},
                      &notes);
        order->pids = apply(&(struct limit){"pids", "ARGON_JOB_PIDS_MAX", add_number, job->pids,
                                            limits->pids, limits->pids_max},
                            &notes);
        order->disk = apply(&(struct limit){"disk", "ARGON_JOB_DISK_MAX", add_size, job->disk,
                                            limits->disk, limits->disk_max},
                            &notes);
        order->notes = arena_copy(order->arena, notes.data);
}

/* --- environment --- */

static void add_env(struct order *order, const char *name, const char *value)
{
        order->env[order->n_env++] =
                (struct order_env){arena_copy(order->arena, name), arena_copy(order->arena, value)};
}

static void add_file_env(struct order *order, const struct pipeline_env *env, size_t n)
{
        for (size_t i = 0; i < n; i++)
                add_env(order, env[i].name, env[i].value);
}

static void set_env(struct order *order, const struct pipeline_file *file,
                    const struct pipeline_job *from, const struct build *build,
                    const struct attempt *attempt, const char *url)
{
        struct arena *arena = order->arena;
        bool tag = text_starts(build->ref, TAG_PREFIX);

        order->env = arena_alloc(arena, (CI_VARIABLES_MAX + file->n_env + from->n_env) *
                                                sizeof(*order->env));
        add_env(order, "CI", "true");
        add_env(order, "ARGON", "true");
        add_env(order, "CI_REPO", build->repo);
        add_env(order, "CI_COMMIT_SHA", build->commit);
        add_env(order, "CI_COMMIT_REF", build->ref);
        add_env(order, "CI_BRANCH", tag ? "" : build->branch);
        add_env(order, "CI_TAG", tag ? build->ref + strlen(TAG_PREFIX) : "");
        add_env(order, "CI_PULL_REQUEST",
                build->pull_request ? arena_format(arena, "%lld", (long long)build->pull_request)
                                    : "");
        add_env(order, "CI_EVENT", build->event);
        add_env(order, "CI_BUILD_NUMBER", arena_format(arena, "%lld", (long long)build->number));
        add_env(order, "CI_BUILD_URL", url);
        add_env(order, "CI_JOB_NAME", from->name);
        add_env(order, "CI_ATTEMPT", arena_format(arena, "%d", attempt->number));
        add_env(order, "TERM", "xterm-256color");
        add_env(order, "GIT_TERMINAL_PROMPT", "0");
        add_env(order, "DEBIAN_FRONTEND", "noninteractive");
        add_file_env(order, file->env, file->n_env);
        add_file_env(order, from->env, from->n_env);
}

static void set_step(struct order *order, struct order_step *step, const struct pipeline_step *from)
{
        struct arena *arena = order->arena;

        *step = (struct order_step){
                .id = arena_copy(arena, from->id),
                .name = arena_copy(arena, from->name),
                .run = arena_copy(arena, from->run),
                .shell = arena_copy(arena, text_or(from->shell, "sh")),
                .folder = arena_copy(arena, from->folder),
                .timeout_ms = from->timeout_ms,
                .continue_on_error = from->continue_on_error,
                .env = arena_alloc(arena, (from->n_env + 1) * sizeof(*step->env)),
                .n_env = from->n_env,
        };
        for (size_t i = 0; i < from->n_env; i++)
                step->env[i] = (struct order_env){arena_copy(arena, from->env[i].name),
                                                  arena_copy(arena, from->env[i].value)};
}

static const struct pipeline_job *find_job(const struct pipeline_file *file, const char *name)
{
        for (size_t i = 0; i < file->n_jobs; i++) {
                if (strcmp(file->jobs[i].name, name) == 0)
                        return &file->jobs[i];
        }
        return NULL;
}

int plan_order(struct order **ret, const struct pipeline_file *file, const struct build *build,
               const struct job *job, const struct attempt *attempt,
               const struct plan_limits *limits, const char *url, struct error *err)
{
        const struct pipeline_job *from = find_job(file, job->name);
        struct order *order;

        if (!from)
                return error_set(err, ERROR_NOT_FOUND, "the pipeline file has no job '%s'",
                                 job->name);
        order = order_new();
        order->build_id = arena_copy(order->arena, build->id);
        order->job_id = arena_copy(order->arena, job->id);
        order->attempt = attempt->number;
        order->token = arena_copy(order->arena, attempt->token);
        order->repo = arena_copy(order->arena, build->repo);
        order->clone_url = arena_copy(order->arena, build->clone_url);
        order->ref = arena_copy(order->arena, build->ref);
        order->commit = arena_copy(order->arena, build->commit);
        order->job_name = arena_copy(order->arena, job->name);
        order->image = arena_copy(order->arena, from->image);
        order->strict = build->fork;
        order->network_none = from->network_none;
        set_limits(order, from, limits);
        set_env(order, file, from, build, attempt, url);
        order->steps = arena_alloc(order->arena, (from->n_steps + 1) * sizeof(*order->steps));
        for (size_t i = 0; i < from->n_steps; i++)
                set_step(order, &order->steps[i], &from->steps[i]);
        order->n_steps = from->n_steps;
        *ret = order;
        return 0;
}

/* --- project type --- */

/* The first that fits wins: a Python project may have a Makefile too. */
static const struct {
        const char *name;
        const char *type;
} marks[] = {
        {"pom.xml", "maven"},    {"build.gradle", "gradle"},     {"build.gradle.kts", "gradle"},
        {"package.json", "npm"}, {"pyproject.toml", "python"},   {"setup.py", "python"},
        {"setup.cfg", "python"}, {"requirements.txt", "python"}, {"Pipfile", "python"},
        {"go.mod", "go"},        {"Cargo.toml", "cargo"},        {"CMakeLists.txt", "cmake"},
        {"GNUmakefile", "make"}, {"Makefile", "make"},           {"makefile", "make"},
};

static bool has_line(const char *lines, const char *line)
{
        size_t n = strlen(line);

        for (const char *at = lines; (at = strstr(at, line)); at += n) {
                if ((at == lines || at[-1] == '\n') && (at[n] == '\n' || !at[n]))
                        return true;
        }
        return false;
}

const char *plan_project_type(const char *names)
{
        for (size_t i = 0; i < sizeof(marks) / sizeof(*marks); i++) {
                if (has_line(names, marks[i].name))
                        return marks[i].type;
        }
        return "unknown";
}
