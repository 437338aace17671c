/*
 * First the shape, by the tables of keys; then what no table can say: names that must be unique,
 * jobs that must exist, a graph without circles; at last the defaults are merged in. Texts are the
 * YAML document's own, whose arena the file takes over.
 */
#include "domain/pipeline_file.h"

#include <string.h>

#include "base/arena.h"
#include "base/str.h"
#include "base/yaml.h"
#include "domain/pipeline_check.h"
#include "domain/pipeline_keys.h"

#include "base/banned.h"

#define STEP_NAME_BYTES_MAX 80

enum retry_when { RETRY_INFRA = 1, RETRY_TIMEOUT = 2, RETRY_FAILURE = 4 };

struct parse {
        struct check check;
        struct pipeline_file *file;
        struct file_draft draft;
        const struct yaml_node **needs; /* per job: the node of its needs, or NULL */
};

/* --- steps --- */

/* What a step without a name is called: the first line of its script that says something. */
static const char *step_name(struct arena *arena, const char *run)
{
        const char *line = run + strspn(run, " \t\r\n");
        size_t n = strcspn(line, "\r\n");
        bool cut = n > STEP_NAME_BYTES_MAX;
        char *name;

        if (cut)
                n = STEP_NAME_BYTES_MAX;
        while (cut && n > 0 && ((unsigned char)line[n] & 0xc0) == 0x80)
                n--;
        while (n > 0 && (line[n - 1] == ' ' || line[n - 1] == '\t'))
                n--;
        name = arena_format(arena, "%.*s%s", (int)n, line, cut ? "…" : "");
        for (char *at = name; *at; at++) {
                if ((unsigned char)*at < 0x20 || *at == 0x7f)
                        *at = ' ';
        }
        return name;
}

static void read_step(struct parse *p, const struct yaml_node *node, const char *what,
                      struct pipeline_step *ret)
{
        struct step_draft draft = {0};

        check_map(&p->check, node, &pipeline_step_keys, node->place, &draft, what);
        *ret = (struct pipeline_step){
                .id = text_or(draft.id, ""),
                .run = text_or(draft.run, ""),
                .shell = text_or(draft.shell, text_or(p->draft.shell, "")),
                .folder = text_or(draft.folder, text_or(p->draft.folder, "")),
                .timeout_ms = draft.timeout_ms,
                .continue_on_error = draft.continue_on_error,
                .env = draft.env.items,
                .n_env = draft.env.n,
                .line = node->place.line,
        };
        ret->name = draft.name ? draft.name : step_name(p->check.arena, ret->run);
}

static void check_step_ids(struct parse *p, const struct pipeline_job *job,
                           const struct yaml_node *steps)
{
        for (size_t i = 0; i < job->n_steps; i++) {
                for (size_t j = 0; j < i && *job->steps[i].id; j++) {
                        if (strcmp(job->steps[i].id, job->steps[j].id) != 0)
                                continue;
                        check_error(&p->check, yaml_get(steps->items[i], "id")->place,
                                    "duplicate-id", "give one of them another id",
                                    "two steps of job \"%s\" have the id \"%s\"", job->name,
                                    job->steps[i].id);
                        break;
                }
        }
}

static void read_steps(struct parse *p, struct pipeline_job *job, const struct yaml_node *steps)
{
        if (!steps)
                return;
        if (steps->n > PIPELINE_STEPS_MAX) {
                check_error(&p->check, steps->place, "too-many", "make scripts of them",
                            "job \"%s\" has more than %d steps", job->name, PIPELINE_STEPS_MAX);
                return;
        }
        job->steps = arena_alloc(p->check.arena, steps->n * sizeof(*job->steps));
        job->n_steps = steps->n;
        for (size_t i = 0; i < steps->n; i++)
                read_step(p, steps->items[i],
                          arena_format(p->check.arena, "step %zu of job \"%s\"", i + 1, job->name),
                          &job->steps[i]);
        check_step_ids(p, job, steps);
}

/* --- jobs --- */

static void read_retry(struct pipeline_job *job, const struct job_draft *draft)
{
        unsigned when = draft->retry_when;

        job->retry_codes = text_or(draft->retry_codes, "");
        job->retry_max = (int)draft->retry_max;
        if (!job->retry_max)
                return;
        if (!when)
                when = RETRY_INFRA | RETRY_TIMEOUT | RETRY_FAILURE;
        job->retry_infra = when & RETRY_INFRA;
        job->retry_timeout = when & RETRY_TIMEOUT;
        job->retry_failure = when & RETRY_FAILURE;
}

static void check_codes_used(struct parse *p, const struct pipeline_job *job,
                             const struct yaml_node *node)
{
        const struct yaml_node *codes = yaml_get(yaml_get(node, "retry"), "exit-codes");

        if (*job->retry_codes && job->retry_max && !job->retry_failure)
                check_error(&p->check, codes->place, "bad-value",
                            "add failure to \"when\", or take the exit codes out",
                            "\"exit-codes\" has no effect: \"when\" leaves out failure");
}

static void read_job(struct parse *p, const struct yaml_pair *pair, struct pipeline_job *job)
{
        struct job_draft draft = {0};
        const char *name = pair->key->text;

        if (!check_name(name))
                check_error(&p->check, pair->key->place, "bad-name",
                            "use letters, digits, _ and -, at most 63, no digit or - first; "
                            "\"name\" may be any text",
                            "\"%s\" is not a name for a job", yaml_shown(p->check.arena, name));
        job->name = yaml_shown(p->check.arena, name);
        job->line = pair->key->place.line;
        check_map(&p->check, pair->value, &pipeline_job_keys, pair->key->place, &draft,
                  arena_format(p->check.arena, "job \"%s\"", job->name));
        job->title = text_or(draft.title, job->name);
        job->image = text_or(draft.image, text_or(p->draft.image, ""));
        job->needs = draft.needs.items;
        job->n_needs = draft.needs.n;
        job->env = draft.env.items;
        job->n_env = draft.env.n;
        job->timeout_ms = draft.timeout_ms ? draft.timeout_ms : p->draft.timeout_ms;
        job->continue_on_error = draft.continue_on_error;
        job->memory = draft.memory;
        job->disk = draft.disk;
        job->millicpus = draft.millicpus;
        job->pids = draft.pids;
        job->network_none = draft.network && strcmp(draft.network, "none") == 0;
        read_retry(job, &draft);
        check_codes_used(p, job, pair->value);
        read_steps(p, job, draft.steps);
}

static void read_jobs(struct parse *p)
{
        const struct yaml_node *jobs = p->draft.jobs;
        struct pipeline_file *file = p->file;

        if (!jobs)
                return;
        if (jobs->n > PIPELINE_JOBS_MAX) {
                check_error(&p->check, jobs->place, "too-many", "",
                            "the file has more than %d jobs", PIPELINE_JOBS_MAX);
                return;
        }
        file->jobs = arena_alloc(p->check.arena, jobs->n * sizeof(*file->jobs));
        file->n_jobs = jobs->n;
        p->needs = arena_alloc(p->check.arena, jobs->n * sizeof(*p->needs));
        for (size_t i = 0; i < jobs->n; i++) {
                read_job(p, &jobs->pairs[i], &file->jobs[i]);
                p->needs[i] = yaml_get(jobs->pairs[i].value, "needs");
        }
}

/* --- the graph --- */

/* The node of the nth need of a job. */
static const struct yaml_node *need_node(const struct parse *p, size_t job, size_t nth)
{
        const struct yaml_node *node = p->needs[job];

        for (size_t i = 0; node->kind == YAML_LIST && i < node->n; i++) {
                if (node->items[i]->kind == YAML_TEXT && nth-- == 0)
                        return node->items[i];
        }
        return node;
}

static size_t find_job(const struct pipeline_file *file, const char *name)
{
        size_t i = 0;

        while (i < file->n_jobs && strcmp(file->jobs[i].name, name) != 0)
                i++;
        return i;
}

static void unknown_job(struct parse *p, const struct pipeline_job *job,
                        const struct yaml_node *node)
{
        struct pipeline_file *file = p->file;
        struct arena *arena = p->check.arena;
        const char *names[PIPELINE_JOBS_MAX];
        const char *hint = "";
        scoped_str struct str known = STR_INIT;

        for (size_t i = 0; i < file->n_jobs; i++) {
                names[i] = file->jobs[i].name;
                if (i < FINDINGS_MAX)
                        str_printf(&known, "%s%s", i ? " " : "", names[i]);
        }
        hint = check_did_you_mean(&p->check, node->text, names, file->n_jobs, "");
        for (size_t i = 0; *hint && i < file->n_jobs; i++) {
                if (strcmp(hint, arena_format(arena, "did you mean \"%s\"?", names[i])) == 0) {
                        hint = arena_format(arena, "%s (defined at line %d)", hint,
                                            file->jobs[i].line);
                        break;
                }
        }
        if (!*hint)
                hint = arena_format(arena, "the jobs are: %s", known.data);
        check_error(&p->check, node->place, "unknown-job", hint,
                    "job \"%s\" needs \"%s\", which does not exist", job->name,
                    yaml_shown(arena, node->text));
}

static void check_needs(struct parse *p)
{
        struct pipeline_file *file = p->file;

        for (size_t i = 0; i < file->n_jobs; i++) {
                struct pipeline_job *job = &file->jobs[i];

                for (size_t j = 0; j < job->n_needs && !check_full(&p->check); j++) {
                        const struct yaml_node *node = need_node(p, i, j);
                        size_t k = 0;

                        if (find_job(file, job->needs[j]) == file->n_jobs)
                                unknown_job(p, job, node);
                        while (k < j && strcmp(job->needs[k], job->needs[j]) != 0)
                                k++;
                        if (k < j)
                                check_error(&p->check, node->place, "bad-value", "once is enough",
                                            "job \"%s\" needs \"%s\" twice", job->name,
                                            job->needs[j]);
                }
        }
}

enum colour { WHITE, GREY, BLACK };

/* One job on the way down: which need is looked at next. */
struct visit {
        size_t job;
        size_t next;
};

static void report_cycle(struct parse *p, const struct visit *path, size_t n, size_t to)
{
        const struct pipeline_file *file = p->file;
        const struct visit *last = &path[n - 1];
        scoped_str struct str text = STR_INIT;
        size_t first = 0;

        while (path[first].job != to)
                first++;
        for (size_t i = first; i < n; i++)
                str_printf(&text, "%s → ", file->jobs[path[i].job].name);
        str_add(&text, file->jobs[to].name);
        check_error(&p->check, need_node(p, last->job, last->next - 1)->place, "needs-cycle",
                    "take one of these needs out", "jobs need each other in a circle: %s",
                    yaml_shown(p->check.arena, text.data));
}

/* Depth first from one job; each way back to a job on the path is a circle. */
static void walk(struct parse *p, size_t start, enum colour *colours, struct visit *path)
{
        struct pipeline_file *file = p->file;
        size_t n = 1;

        path[0] = (struct visit){start, 0};
        colours[start] = GREY;
        while (n > 0) {
                struct visit *visit = &path[n - 1];
                const struct pipeline_job *job = &file->jobs[visit->job];
                size_t to;

                if (visit->next == job->n_needs) {
                        colours[visit->job] = BLACK;
                        n--;
                        continue;
                }
                to = find_job(file, job->needs[visit->next++]);
                if (to == file->n_jobs || colours[to] == BLACK)
                        continue;
                if (colours[to] == GREY) {
                        report_cycle(p, path, n, to);
                        continue;
                }
                colours[to] = GREY;
                path[n++] = (struct visit){to, 0};
        }
}

static void check_cycles(struct parse *p)
{
        size_t n = p->file->n_jobs;
        enum colour *colours = arena_alloc(p->check.arena, (n + 1) * sizeof(*colours));
        struct visit *path = arena_alloc(p->check.arena, (n + 1) * sizeof(*path));

        for (size_t i = 0; i < n; i++) {
                if (colours[i] == WHITE)
                        walk(p, i, colours, path);
        }
}

/* --- the file --- */

static void take_problems(struct check *check, const struct yaml *yaml)
{
        for (size_t i = 0; i < yaml->n_problems; i++) {
                const struct yaml_problem *problem = &yaml->problems[i];

                check_error(check, problem->place, problem->rule, problem->hint, "%s",
                            problem->message);
        }
}

/* The check of the version leaves nothing behind when it is one that we do not know. */
static bool known_version(const struct parse *p, const struct yaml_node *version)
{
        return !version || version->kind != YAML_TEXT || yaml_is_null(version) || p->draft.version;
}

static void read_file(struct parse *p, const struct yaml_node *root)
{
        struct findings *findings = &p->file->findings;
        struct findings before = *findings;
        const struct yaml_node *version = yaml_get(root, "version");

        check_map(&p->check, root, &pipeline_file_keys, (struct yaml_place){1, 1, 1}, &p->draft,
                  "the file");
        if (!known_version(p, version)) {
                /* What another version allows is not known: only that is said. */
                *findings = before;
                check_value(&p->check, pipeline_key(&pipeline_file_keys, "version"), version,
                            &p->draft.version);
                return;
        }
        p->file->name = text_or(p->draft.name, "");
        p->file->notify = text_or(p->draft.notify, "");
        p->file->env = p->draft.env.items;
        p->file->n_env = p->draft.env.n;
        read_jobs(p);
        check_needs(p);
        check_cycles(p);
}

/* A name for messages: formats that need UTF-8 get UTF-8. */
static const char *clean_name(struct arena *arena, const char *name)
{
        char *copy = arena_copy(arena, name);

        for (char *at = copy; *at; at++) {
                if ((unsigned char)*at < 0x20 || *at == 0x7f ||
                    ((unsigned char)*at >= 0x80 && !utf8_valid(name, strlen(name))))
                        *at = '?';
        }
        return copy;
}

struct pipeline_file *pipeline_file_parse(const char *name, const char *bytes, size_t n)
{
        struct yaml *yaml = yaml_doc_parse(bytes, n);
        struct arena *arena = yaml->arena;
        struct pipeline_file *file = arena_alloc(arena, sizeof(*file));
        struct parse p = {.file = file};

        file->arena = arena;
        file->name = file->notify = "";
        file->findings.file = clean_name(arena, name);
        file->findings.source = arena_copy_n(
                arena, bytes, n < PIPELINE_FILE_BYTES_MAX ? n : PIPELINE_FILE_BYTES_MAX);
        p.check = (struct check){
                .arena = arena, .findings = &file->findings, .source = file->findings.source};
        take_problems(&p.check, yaml);
        if (yaml->root && yaml_is_null(yaml->root))
                yaml->root = NULL;
        if (yaml->root)
                read_file(&p, yaml->root);
        else if (!yaml->n_problems)
                check_error(&p.check, (struct yaml_place){1, 1, 1}, "empty",
                            "\"argon init\" writes one to begin with", "the file is empty");
        return file;
}

void pipeline_file_free(struct pipeline_file *file)
{
        if (file)
                arena_free(file->arena);
}
