/*
 * Keys stand in the order in which people write them; the schema and the lists of allowed keys
 * follow it. A help text is a sentence without its full stop.
 */
#include "domain/pipeline_keys.h"

#include <string.h>

#include "base/banned.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define KIB INT64_C(1024)
#define MIB (KIB * 1024)
#define TIB (MIB * 1024 * 1024)
#define TIMEOUT_MAX_MS (INT64_C(30) * 24 * 3600 * 1000)

#define IMAGE_HELP "Container image that the steps run in; the engine's default image when left out"
#define SHELL_HELP                                                                          \
        "What runs the script: sh (sh -e), bash (bash -eo pipefail), python, or a command " \
        "in which {0} stands for the script's path"
#define FOLDER_HELP "Folder that the script starts in, relative to the workspace"
#define ENV_HELP "Environment variables; the nearest one of a name wins"

static const struct key default_keys[] = {
        {.name = "image",
         .type = KEY_IMAGE,
         .offset = offsetof(struct file_draft, image),
         .example = "python:3.12",
         .help = "Image of every job that names none"},
        {.name = "shell",
         .type = KEY_SHELL,
         .offset = offsetof(struct file_draft, shell),
         .fallback = "sh",
         .example = "bash",
         .help = SHELL_HELP},
        {.name = "working-directory",
         .type = KEY_FOLDER,
         .offset = offsetof(struct file_draft, folder),
         .example = "web",
         .help = FOLDER_HELP},
        {.name = "timeout-minutes",
         .type = KEY_MINUTES,
         .offset = offsetof(struct file_draft, timeout_ms),
         .min = 1,
         .max = TIMEOUT_MAX_MS,
         .fallback = "60",
         .example = "30",
         .help = "Time that every job may take"},
};
static const struct key_table default_table = {PLACE_DEFAULTS, COUNT(default_keys), default_keys};

static const struct key notify_keys[] = {
        {.name = "email",
         .type = KEY_CHOICE,
         .offset = offsetof(struct file_draft, notify),
         .choices = "always change failure never",
         .example = "failure",
         .help = "When a mail is sent; may only narrow what the administrator has set"},
};
static const struct key_table notify_table = {PLACE_OTHER, COUNT(notify_keys), notify_keys};

static const struct key file_keys[] = {
        {.name = "version",
         .type = KEY_VERSION,
         .required = true,
         .offset = offsetof(struct file_draft, version),
         .example = "1.0",
         .help = "Version of the language: 1 or 1.0"},
        {.name = "name",
         .type = KEY_TEXT,
         .offset = offsetof(struct file_draft, name),
         .fallback = "the repository's name",
         .example = "my project",
         .help = "Shown on the dashboard"},
        {.name = "on", .type = KEY_LATER},
        {.name = "env",
         .type = KEY_ENV,
         .offset = offsetof(struct file_draft, env),
         .example = "{LANG: C.UTF-8}",
         .help = ENV_HELP},
        {.name = "defaults",
         .type = KEY_MAP,
         .inside = &default_table,
         .example = "{image: 'python:3.12'}",
         .help = "What holds for every job and step that says nothing else"},
        {.name = "notify",
         .type = KEY_MAP,
         .inside = &notify_table,
         .example = "{email: failure}",
         .help = "Who hears of a finished build"},
        {.name = "concurrency", .type = KEY_LATER},
        {.name = "jobs",
         .type = KEY_JOBS,
         .required = true,
         .offset = offsetof(struct file_draft, jobs),
         .example = "{build: {steps: [{run: make}]}}",
         .help = "The jobs by name; jobs with no path of needs between them run at the same time"},
};
const struct key_table pipeline_file_keys = {PLACE_FILE, COUNT(file_keys), file_keys};

static const struct key resource_keys[] = {
        {.name = "cpus",
         .type = KEY_CPUS,
         .offset = offsetof(struct job_draft, millicpus),
         .min = 10,
         .max = 1024000,
         .fallback = "2",
         .example = "1.5",
         .help = "Processor cores, also in parts"},
        {.name = "memory",
         .type = KEY_SIZE,
         .offset = offsetof(struct job_draft, memory),
         .min = 6 * MIB,
         .max = 64 * TIB,
         .fallback = "2GiB",
         .example = "512MiB",
         .help = "Memory of all processes of the job together"},
        {.name = "pids",
         .type = KEY_COUNT,
         .offset = offsetof(struct job_draft, pids),
         .min = 8,
         .max = 4194304,
         .fallback = "1024",
         .example = "256",
         .help = "Processes and threads that may exist at once"},
        {.name = "disk",
         .type = KEY_SIZE,
         .offset = offsetof(struct job_draft, disk),
         .min = MIB,
         .max = 64 * TIB,
         .fallback = "10GiB",
         .example = "4GiB",
         .help = "What the job may write"},
};
static const struct key_table resource_table = {PLACE_OTHER, COUNT(resource_keys), resource_keys};

static const struct key retry_keys[] = {
        {.name = "max",
         .type = KEY_COUNT,
         .required = true,
         .offset = offsetof(struct job_draft, retry_max),
         .max = 10,
         .fallback = "0",
         .example = "2",
         .help = "How many times the job is tried again at most"},
        {.name = "when",
         .type = KEY_CHOICES,
         .offset = offsetof(struct job_draft, retry_when),
         .choices = "infra timeout failure",
         .fallback = "all three",
         .example = "[infra, timeout]",
         .help = "What is tried again: an attempt that was lost, one that took too long, one that "
                 "failed"},
        {.name = "exit-codes",
         .type = KEY_CODES,
         .offset = offsetof(struct job_draft, retry_codes),
         .min = 1,
         .max = 255,
         .fallback = "any",
         .example = "[75, 137]",
         .help = "A failed attempt is tried again only when its step ended with one of these"},
};
static const struct key_table retry_table = {PLACE_OTHER, COUNT(retry_keys), retry_keys};

static const struct key job_keys[] = {
        {.name = "name",
         .type = KEY_TEXT,
         .offset = offsetof(struct job_draft, title),
         .fallback = "the job's key",
         .example = "Unit tests",
         .help = "Shown instead of the job's key"},
        {.name = "image",
         .type = KEY_IMAGE,
         .offset = offsetof(struct job_draft, image),
         .example = "python:3.12",
         .help = IMAGE_HELP},
        {.name = "needs",
         .type = KEY_NAMES,
         .offset = offsetof(struct job_draft, needs),
         .example = "[build]",
         .help = "Jobs that must succeed before this one starts"},
        {.name = "if", .type = KEY_LATER},
        {.name = "runs-on", .type = KEY_LATER},
        {.name = "env",
         .type = KEY_ENV,
         .offset = offsetof(struct job_draft, env),
         .example = "{LANG: C.UTF-8}",
         .help = ENV_HELP},
        {.name = "timeout-minutes",
         .type = KEY_MINUTES,
         .offset = offsetof(struct job_draft, timeout_ms),
         .min = 1,
         .max = TIMEOUT_MAX_MS,
         .fallback = "60",
         .example = "30",
         .help = "Time that the job may take, counted from its first step"},
        {.name = "continue-on-error",
         .type = KEY_BOOL,
         .offset = offsetof(struct job_draft, continue_on_error),
         .fallback = "false",
         .example = "true",
         .help = "The build goes on as if this job had succeeded"},
        {.name = "outputs", .type = KEY_LATER},
        {.name = "concurrency", .type = KEY_LATER},
        {.name = "strategy", .type = KEY_LATER},
        {.name = "services", .type = KEY_LATER},
        {.name = "resources",
         .type = KEY_MAP,
         .inside = &resource_table,
         .example = "{memory: 512MiB}",
         .help = "Limits of the job, up to what the administrator allows"},
        {.name = "network",
         .type = KEY_CHOICE,
         .offset = offsetof(struct job_draft, network),
         .choices = "default none",
         .fallback = "default",
         .example = "none",
         .help = "none: the job has no network at all"},
        {.name = "retry",
         .type = KEY_MAP,
         .inside = &retry_table,
         .example = "{max: 2, when: [infra]}",
         .help = "Whether the job is tried again by itself; every attempt is kept"},
        {.name = "cache", .type = KEY_LATER},
        {.name = "artifacts", .type = KEY_LATER},
        {.name = "steps",
         .type = KEY_STEPS,
         .required = true,
         .offset = offsetof(struct job_draft, steps),
         .example = "[{run: make}]",
         .help = "The steps, one after the other; the first that fails ends the job"},
};
const struct key_table pipeline_job_keys = {PLACE_JOB, COUNT(job_keys), job_keys};

static const struct key step_keys[] = {
        {.name = "id",
         .type = KEY_ID,
         .offset = offsetof(struct step_draft, id),
         .example = "compile",
         .help = "A short name for machines, unique in the job"},
        {.name = "name",
         .type = KEY_TEXT,
         .offset = offsetof(struct step_draft, name),
         .fallback = "the first line of run",
         .example = "Compile",
         .help = "What is shown"},
        {.name = "run",
         .type = KEY_SCRIPT,
         .required = true,
         .offset = offsetof(struct step_draft, run),
         .example = "make test",
         .help = "The script; of several lines the first that fails ends it"},
        {.name = "if", .type = KEY_LATER},
        {.name = "env",
         .type = KEY_ENV,
         .offset = offsetof(struct step_draft, env),
         .example = "{LANG: C.UTF-8}",
         .help = ENV_HELP},
        {.name = "shell",
         .type = KEY_SHELL,
         .offset = offsetof(struct step_draft, shell),
         .fallback = "sh",
         .example = "bash",
         .help = SHELL_HELP},
        {.name = "working-directory",
         .type = KEY_FOLDER,
         .offset = offsetof(struct step_draft, folder),
         .example = "web",
         .help = FOLDER_HELP},
        {.name = "timeout-minutes",
         .type = KEY_MINUTES,
         .offset = offsetof(struct step_draft, timeout_ms),
         .min = 1,
         .max = TIMEOUT_MAX_MS,
         .example = "10",
         .help = "Time that the step may take; without it only the job's time counts"},
        {.name = "continue-on-error",
         .type = KEY_BOOL,
         .offset = offsetof(struct step_draft, continue_on_error),
         .fallback = "false",
         .example = "true",
         .help = "The job goes on when this step fails"},
        {.name = "retry", .type = KEY_LATER},
};
const struct key_table pipeline_step_keys = {PLACE_STEP, COUNT(step_keys), step_keys};

const struct key *pipeline_key(const struct key_table *table, const char *name)
{
        for (size_t i = 0; i < table->n; i++) {
                if (strcmp(table->keys[i].name, name) == 0)
                        return &table->keys[i];
        }
        return NULL;
}

/* Words that people bring along, each with what it is here. */
#define ANYWHERE (PLACE_FILE | PLACE_DEFAULTS | PLACE_JOB | PLACE_STEP)

static const struct {
        unsigned places;
        const char *word;
        const char *meaning;
} foreign_words[] = {
        {PLACE_STEP, "script", "\"script\" is GitLab's word; here it is \"run\""},
        {PLACE_STEP, "command", "the command of a step is \"run\""},
        {PLACE_STEP, "commands",
         "\"commands\" is Drone's word; here it is \"run\", with one line each"},
        {PLACE_STEP, "cmd", "the command of a step is \"run\""},
        {PLACE_STEP, "cmds", "the commands of a step are \"run\", with one line each"},
        {PLACE_STEP, "bash", "write \"run\", and \"shell: bash\" beside it"},
        {PLACE_STEP, "sh", "the command of a step is \"run\""},
        {PLACE_STEP, "exec", "the command of a step is \"run\""},
        {PLACE_STEP, "uses", "\"uses\" runs an action of GitHub's; here a step is a \"run\""},
        {PLACE_STEP, "with", "\"with\" belongs to actions of GitHub's; here values go by \"env\""},
        {PLACE_STEP, "plugin", "plugins do not exist here; a step is a \"run\""},
        {PLACE_STEP, "plugins", "plugins do not exist here; a step is a \"run\""},
        {PLACE_STEP, "settings", "plugins do not exist here; values go by \"env\""},
        {PLACE_STEP, "image",
         "all steps of a job run in one image: write \"image\" beside \"steps\""},
        {PLACE_STEP, "label", "what is shown of a step is \"name\""},
        {PLACE_STEP, "title", "what is shown of a step is \"name\""},
        {PLACE_STEP, "failure", "write \"continue-on-error: true\""},
        {PLACE_STEP | PLACE_DEFAULTS, "directory", "here it is \"working-directory\""},
        {PLACE_STEP | PLACE_DEFAULTS, "dir", "here it is \"working-directory\""},
        {PLACE_STEP | PLACE_DEFAULTS, "cwd", "here it is \"working-directory\""},
        {PLACE_STEP | PLACE_DEFAULTS, "workdir", "here it is \"working-directory\""},
        {PLACE_STEP | PLACE_JOB, "depends_on", "here it is \"needs\", and it belongs to the job"},
        {PLACE_STEP | PLACE_JOB, "depends-on", "here it is \"needs\", and it belongs to the job"},
        {PLACE_JOB, "dependencies", "here it is \"needs\""},
        {PLACE_JOB, "requires", "here it is \"needs\""},
        {PLACE_JOB, "after", "here it is \"needs\""},
        {PLACE_JOB, "stage", "there are no stages: order comes from \"needs\""},
        {PLACE_JOB, "script",
         "\"script\" is GitLab's word; here a job has \"steps\", each with a "
         "\"run\""},
        {PLACE_JOB, "run", "a job has \"steps\": write \"steps: [{run: …}]\""},
        {PLACE_JOB, "commands", "a job has \"steps\", each with a \"run\""},
        {PLACE_JOB, "before_script", "write it as the first of the \"steps\""},
        {PLACE_JOB, "after_script", "write it as the last of the \"steps\""},
        {PLACE_JOB, "container", "here it is \"image\""},
        {PLACE_JOB, "docker", "here it is \"image\""},
        {PLACE_JOB, "tags",
         "\"tags\" is GitLab's word; here it is \"runs-on\", which is not "
         "supported yet"},
        {PLACE_JOB, "labels", "here it is \"runs-on\", which is not supported yet"},
        {PLACE_JOB, "agents", "here it is \"runs-on\", which is not supported yet"},
        {PLACE_JOB, "matrix", "it will be \"strategy: {matrix: …}\", which is not supported yet"},
        {PLACE_JOB, "parallel", "it will be \"strategy: {matrix: …}\", which is not supported yet"},
        {PLACE_JOB, "rules", "it will be \"if\", which is not supported yet"},
        {PLACE_JOB, "only", "it will be \"if\", which is not supported yet"},
        {PLACE_JOB, "except", "it will be \"if\", which is not supported yet"},
        {PLACE_JOB | PLACE_STEP, "when", "it will be \"if\", which is not supported yet"},
        {PLACE_JOB | PLACE_STEP, "allow_failure", "here it is \"continue-on-error\""},
        {PLACE_JOB | PLACE_STEP, "soft_fail", "here it is \"continue-on-error\""},
        {PLACE_JOB, "permissions", "permissions of a token do not exist here"},
        {PLACE_JOB, "secrets", "a job does not choose its secrets here"},
        {PLACE_JOB, "cpus", "write it below \"resources\""},
        {PLACE_JOB, "cpu", "write \"cpus\" below \"resources\""},
        {PLACE_JOB, "memory", "write it below \"resources\""},
        {PLACE_FILE | PLACE_JOB, "pids", "write it below \"resources\" of a job"},
        {PLACE_FILE, "stages", "there are no stages: order comes from \"needs\" of the jobs"},
        {PLACE_FILE, "image", "write it below \"defaults\""},
        {PLACE_FILE, "default", "here it is \"defaults\""},
        {PLACE_FILE, "steps", "steps belong to a job: \"jobs: {build: {steps: …}}\""},
        {PLACE_FILE, "pipeline", "here it is \"jobs\", each with its \"steps\""},
        {PLACE_FILE, "pipelines", "here it is \"jobs\", each with its \"steps\""},
        {PLACE_FILE, "tasks", "here it is \"jobs\", each with its \"steps\""},
        {PLACE_FILE, "workflows", "order comes from \"needs\" of the jobs"},
        {PLACE_FILE, "workflow", "here it is \"jobs\", each with its \"steps\""},
        {PLACE_FILE, "script", "scripts belong to steps: \"jobs: {build: {steps: [{run: …}]}}\""},
        {PLACE_FILE, "before_script", "write it as the first of the \"steps\" of a job"},
        {PLACE_FILE, "include", "one file is the whole pipeline; others cannot be included"},
        {PLACE_FILE, "language", "\"language\" is Travis's word; here \"image\" of a job decides"},
        {PLACE_FILE, "kind", "\"kind\" is Drone's word; take it out"},
        {PLACE_FILE, "type", "\"type\" is Drone's word; take it out"},
        {PLACE_FILE, "trigger", "here it is \"on\", which is not supported yet"},
        {PLACE_FILE, "triggers", "here it is \"on\", which is not supported yet"},
        {PLACE_FILE, "true", "\"on\" is not supported yet"},
        {PLACE_FILE, "when", "here it is \"on\", which is not supported yet"},
        {PLACE_FILE, "permissions", "permissions of a token do not exist here"},
        {PLACE_FILE, "notifications", "here it is \"notify\""},
        {PLACE_DEFAULTS, "run",
         "write \"shell\" and \"working-directory\" directly below "
         "\"defaults\""},
        {PLACE_DEFAULTS, "env", "\"env\" stands at the top of the file"},
        {ANYWHERE, "environment", "here it is \"env\""},
        {ANYWHERE, "enviroment", "here it is \"env\""},
        {ANYWHERE, "variables", "\"variables\" is GitLab's word; here it is \"env\""},
        {ANYWHERE, "vars", "here it is \"env\""},
        {ANYWHERE, "timeout", "here it is \"timeout-minutes\", a number"},
        {ANYWHERE, "timeout_minutes", "here it is \"timeout-minutes\""},
        {ANYWHERE, "timeout_in_minutes", "here it is \"timeout-minutes\""},
};

const char *pipeline_foreign_word(enum key_place place, const char *word)
{
        for (size_t i = 0; i < COUNT(foreign_words); i++) {
                if ((foreign_words[i].places & place) && strcmp(foreign_words[i].word, word) == 0)
                        return foreign_words[i].meaning;
        }
        return NULL;
}
