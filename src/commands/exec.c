#include "commands/exec.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adapters/engine/docker.h"
#include "adapters/engine/local.h"
#include "adapters/forge/git.h"
#include "base/arena.h"
#include "base/error.h"
#include "base/id.h"
#include "base/scoped.h"
#include "base/suggest.h"
#include "commands/command.h"
#include "commands/interrupt.h"
#include "commands/pipeline_source.h"
#include "commands/settings.h"
#include "commands/show.h"
#include "domain/build.h"
#include "domain/finding.h"
#include "domain/pipeline_file.h"
#include "domain/plan.h"
#include "ports/engine.h"
#include "ports/forge.h"
#include "step/install.h"
#include "wire/build_json.h"

#include "base/banned.h"

#define SLOTS_LIMIT 64

/* --- the file --- */

static int read_clean(struct exec *exec, struct error *err)
{
        struct forge_source from = {exec->source.url, "HEAD", exec->source.commit};
        static const char *const names[] = {PIPELINE_FILE_NAME, PIPELINE_FILE_NAME_LONG};
        scoped_str struct str text = STR_INIT;
        int result = forge_fetch(exec->forge, &from, NULL, NULL, -1, err);

        for (size_t i = 0; i < 2 && result == 0; i++) {
                result = forge_read_blob(exec->forge, &from, names[i], PIPELINE_FILE_BYTES_MAX,
                                         &text, err);
                if (result == 0)
                        exec->file = pipeline_file_parse(names[i], text.data, text.len);
                if (result != -ERROR_NOT_FOUND)
                        return result;
                result = 0;
        }
        return result < 0 ? result
                          : error_set(err, ERROR_NOT_FOUND,
                                      "the commit has no " PIPELINE_FILE_NAME
                                      "; 'argon init' writes one, then commit it");
}

static int read_file(struct exec *exec, struct error *err)
{
        const char *given = invocation_option(exec->invocation, "file");
        scoped_text char *path = NULL;
        const char *name = NULL;

        if (given)
                return pipeline_source_read(&exec->file, given, NULL, err);
        if (exec->source.kind == EXEC_SOURCE_COMMIT)
                return read_clean(exec, err);
        if (pipeline_source_find(&name, exec->source.top, err) < 0)
                return -err->kind;
        path = text_format("%s/%s", exec->source.top, name);
        return pipeline_source_read(&exec->file, path, name, err);
}

/* Return: 0 when it can be run; else what is wrong was said. */
static int show_findings(const struct exec *exec)
{
        const struct findings *findings = &exec->file->findings;
        scoped_str struct str text = STR_INIT;

        findings_human(findings, exec->invocation->colour_err, &text);
        fputs(text.data, stderr);
        return findings_errors(findings) ? -1 : 0;
}

/* --- the build --- */

static void set_ref(const struct exec *exec, struct build *build)
{
        const char *given = invocation_option(exec->invocation, "ref");
        const char *event = invocation_option(exec->invocation, "event");

        build->event = build_text(build, "%s", text_or(event, "push"));
        if (given && text_starts(given, "refs/"))
                build->ref = build_text(build, "%s", given);
        else if (strcmp(build->event, "tag") == 0)
                build->ref = build_text(build, "refs/tags/%s", text_or(given, "v0"));
        else
                build->ref = build_text(build, "refs/heads/%s",
                                        text_or(given, text_or(exec->source.branch, "main")));
        build->branch = text_starts(build->ref, "refs/heads/")  ? build->ref + 11
                        : text_starts(build->ref, "refs/tags/") ? build->ref + 10
                                                                : build->ref;
}

static void make_build(struct exec *exec)
{
        struct build *build = build_new();
        char id[ID_SIZE];

        id_new(id);
        build->id = build_text(build, "%s", id);
        build->repo = build_text(build, "%s", exec->source.repo);
        build->clone_url = build_text(build, "%s", exec->source.url);
        build->commit = build_text(build, "%s", exec->source.commit);
        build->message = build_text(build, "%s", exec->source.message);
        build->author = build->pusher = build_text(build, "%s", exec->source.author);
        build->number = 1;
        set_ref(exec, build);
        plan_jobs(build, exec->file);
        exec->build = build;
}

static bool is_chosen(const struct invocation *invocation, const char *name)
{
        for (int i = 0; i < invocation->n_arguments; i++) {
                if (strcmp(invocation->arguments[i], name) == 0)
                        return true;
        }
        return invocation->n_arguments == 0;
}

static int check_names(const struct exec *exec)
{
        const struct invocation *invocation = exec->invocation;
        struct build *build = exec->build;

        for (int i = 0; i < invocation->n_arguments; i++) {
                const char *names[PIPELINE_JOBS_MAX];
                const char *meant;

                if (build_job(build, invocation->arguments[i]))
                        continue;
                for (size_t j = 0; j < build->n_jobs; j++)
                        names[j] = build->jobs[j].name;
                meant = suggest(invocation->arguments[i], names, build->n_jobs);
                return invocation_usage(invocation, "there is no job '%s'%s%s%s",
                                        invocation->arguments[i], meant ? "; did you mean '" : "",
                                        meant ? meant : "", meant ? "'?" : "");
        }
        return 0;
}

/* Only the jobs that were named; what they need outside of these is taken as done. */
static void choose_jobs(struct exec *exec)
{
        struct build *build = exec->build;
        size_t n = 0;

        for (size_t i = 0; i < build->n_jobs; i++) {
                struct job *job = &build->jobs[i];
                size_t needs = 0;

                if (!is_chosen(exec->invocation, job->name))
                        continue;
                for (size_t j = 0; j < job->n_needs; j++) {
                        if (is_chosen(exec->invocation, job->needs[j]))
                                job->needs[needs++] = job->needs[j];
                }
                job->n_needs = needs;
                build->jobs[n++] = *job;
        }
        build->n_jobs = n;
}

/* --- what it runs on --- */

static int open_forge(struct exec *exec, struct error *err)
{
        struct forge_options options = {
                .mirrors = exec->place.mirrors,
                .allow = "file",
                .timeout_ms = exec->settings->git_timeout_ms,
                .size_max = exec->settings->git_size_max,
        };

        return git_forge_open(&exec->forge, &options, err);
}

static void say_engine(struct exec *exec, const char *why)
{
        const struct engine_info *info = engine_info(exec->engine);

        if (!info->images)
                exec_view_line(&exec->view,
                               "no container: the steps run on this machine's own programs (%s)",
                               *why ? why : info->version);
        else if (invocation_given(exec->invocation, "verbose"))
                exec_view_line(&exec->view, "engine %s (%s)%s%s", info->name, info->version,
                               *why ? ": " : "", why);
}

/* What a run that was killed left in our data folder; nobody else holds it. */
static void remove_leftovers(struct exec *exec)
{
        struct sandbox **found = NULL;
        size_t n = 0;

        if (engine_find(exec->engine, &found, &n, NULL) < 0)
                return;
        for (size_t i = 0; i < n; i++) {
                engine_kill(exec->engine, found[i], NULL);
                engine_remove(exec->engine, found[i], NULL);
                engine_sandbox_free(exec->engine, found[i]);
        }
        free(found);
}

static int open_engine(struct exec *exec, struct error *err)
{
        static const struct engine_adapter engines[] = {
                {"docker", docker_engine_open},
                {"local", local_engine_open},
        };
        scoped_text char *step = NULL;
        scoped_text char *why = NULL;
        struct engine_options options = {
                .data = exec->place.data,
                .docker_host = exec->settings->docker_host,
                .slots = exec->slots,
                .default_image = exec->settings->image,
        };

        if (step_install(&step, exec->place.data, err) < 0)
                return error_wrap(err, "install argon-step");
        options.step_binary = exec->step_binary = take(step);
        if (engine_open(&exec->engine, &why, engines, sizeof(engines) / sizeof(*engines),
                        exec->settings->engine, &options, err) < 0)
                return error_wrap(err, "open the engine '%s'", exec->settings->engine);
        remove_leftovers(exec);
        say_engine(exec, text_or(why, ""));
        return 0;
}

/* --- the whole --- */

static int count_slots(struct exec *exec, struct error *err)
{
        int64_t cores = sysconf(_SC_NPROCESSORS_ONLN);
        int64_t slots;

        if (invocation_int(exec->invocation, "jobs", 1, SLOTS_LIMIT, cores > 1 ? cores : 2, &slots,
                           err) < 0)
                return -err->kind;
        exec->slots = (int)slots;
        if (exec->shell_on_fail)
                exec->slots = 1; /* one terminal, one job */
        return 0;
}

static void say_plan(struct exec *exec)
{
        scoped_str struct str graph = STR_INIT;
        const struct build *build = exec->build;

        exec_view_graph(build, &graph);
        exec_view_line(&exec->view, "%s: %zu job%s (%s); running what a %s to %s would run",
                       exec->file->findings.file, build->n_jobs, build->n_jobs == 1 ? "" : "s",
                       graph.data, build->event, build->branch);
}

static int exit_code(const struct exec *exec)
{
        const struct build *build = exec->build;

        if (!invocation_given(exec->invocation, "exit-code"))
                return show_exit_code(state_name(build->state));
        for (size_t i = 0; i < build->n_jobs; i++) {
                const struct attempt *attempt = job_attempt(&build->jobs[i]);

                if (build->jobs[i].state == STATE_FAILED && attempt && attempt->exit_code > 0)
                        return attempt->exit_code;
        }
        return show_exit_code(state_name(build->state));
}

static int print_json(const struct exec *exec)
{
        scoped(json) json_t *json = build_to_rest(exec->build, "", true);
        json_t *jobs = json_object_get(json, "jobs");

        if (exec->place.logs)
                json_set_text(json, "logs", exec->place.logs);
        for (size_t i = 0; exec->place.logs && i < json_array_size(jobs); i++) {
                json_t *job = json_array_get(jobs, i);
                scoped_text char *log =
                        text_format("%s/%s.log", exec->place.logs, json_text_or(job, "name", ""));

                json_set_text(job, "log", log);
        }
        return invocation_json(exec->invocation, json);
}

/* Return: an exit code, or -kind. */
static int run_jobs(struct exec *exec, struct error *err)
{
        scoped_fd int signals = -1;
        int result;

        if (interrupt_open(&signals, err) < 0 || open_engine(exec, err) < 0)
                return -err->kind;
        if (invocation_given(exec->invocation, "dry-run")) {
                exec_view_line(&exec->view, "nothing was run (--dry-run)");
                return EXIT_GREEN;
        }
        if (exec->source.kind != EXEC_SOURCE_COMMIT &&
            exec_source_stage(&exec->source, exec->forge, exec->place.source,
                              invocation_given(exec->invocation, "include-ignored"), signals,
                              err) < 0)
                return -err->kind;
        result = exec_run(exec, signals, err);
        if (result < 0)
                return result;
        exec_view_end(&exec->view);
        if (invocation_given(exec->invocation, "json")) {
                int code = print_json(exec);

                if (code)
                        return code;
        }
        return result ? result : exit_code(exec);
}

static int plan(struct exec *exec, int *ret_code, struct error *err)
{
        if (read_file(exec, err) < 0)
                return -err->kind;
        if (show_findings(exec) < 0) {
                *ret_code = EXIT_RED;
                return 1;
        }
        make_build(exec);
        *ret_code = check_names(exec);
        if (*ret_code)
                return 1;
        choose_jobs(exec);
        if (invocation_given(exec->invocation, "list")) {
                if (invocation_given(exec->invocation, "json"))
                        *ret_code = print_json(exec);
                else
                        exec_view_plan(exec->invocation, exec->build, exec->file);
                return 1;
        }
        return 0;
}

static int check_options(struct exec *exec)
{
        static const char *const events[] = {"push", "tag", "pull_request", "manual"};
        const struct invocation *invocation = exec->invocation;
        const char *event = text_or(invocation_option(invocation, "event"), "push");
        const char *code = invocation_option(invocation, "exit-code");
        size_t i = 0;

        if (invocation_given(invocation, "clean") &&
            (invocation_given(invocation, "dirty") ||
             invocation_given(invocation, "include-ignored")))
                return invocation_usage(invocation,
                                        "--clean runs the commit, --dirty and --include-ignored "
                                        "the work tree: choose one");
        while (i < 4 && strcmp(events[i], event) != 0)
                i++;
        if (i == 4)
                return invocation_usage(invocation,
                                        "--event %s is not known; it is one of push, tag, "
                                        "pull_request, manual",
                                        event);
        if (code && strcmp(code, "step") != 0)
                return invocation_usage(invocation, "--exit-code takes only 'step'");
        return 0;
}

/* Return: an exit code, or -kind. */
static int go(struct exec *exec, struct error *err)
{
        int code = 0;
        int result;

        if (invocation_settings(exec->invocation, true, &exec->settings, err) < 0 ||
            count_slots(exec, err) < 0 ||
            exec_source_find(&exec->source, invocation_given(exec->invocation, "clean"), err) < 0 ||
            exec_place_open(&exec->place, err) < 0 || open_forge(exec, err) < 0)
                return -err->kind;
        result = plan(exec, &code, err);
        if (result)
                return result < 0 ? result : code;
        if (exec_input_read(&exec->input, exec->invocation, exec->source.repo, err) < 0)
                return -err->kind;
        exec_view_init(&exec->view, exec->invocation, exec->build, &exec->place);
        say_plan(exec);
        result = run_jobs(exec, err);
        exec_view_done(&exec->view);
        return result;
}

static int run_exec(struct invocation *invocation)
{
        struct exec exec = {
                .invocation = invocation,
                .place = {.lock = -1},
                .keep = invocation_given(invocation, "keep"),
                .shell_on_fail = invocation_given(invocation, "shell-on-fail"),
        };
        struct error err = {0};
        int code = check_options(&exec);

        if (code)
                return code;
        signal(SIGPIPE,
               SIG_IGN); /* who reads our output may leave; the sandboxes are ours to remove */
        code = go(&exec, &err);
        if (code < 0)
                code = invocation_fail(invocation, &err);
        engine_close(exec.engine);
        forge_close(exec.forge);
        exec_input_done(&exec.input);
        exec_source_done(&exec.source);
        exec_place_close(&exec.place);
        free(exec.step_binary);
        if (exec.build)
                build_free(exec.build);
        pipeline_file_free(exec.file);
        return code;
}

static const struct command_option options[] = {
        {"file", 'f', "FILE", "use this file instead of .runnerci.yml", NULL},
        {"env", 'e', "K[=V]", "a variable for every step; without a value this shell's", NULL},
        {"env-file", 0, "FILE", "variables from lines K=V; their values are masked too", NULL},
        {"secret", 0, "K[=V]",
         "a secret: in the environment of every step, and masked; the value comes from the "
         "variable K or is asked for",
         NULL},
        {"dirty", 0, NULL, "run the work tree as it is, .gitignore respected (default)", NULL},
        {"clean", 0, NULL, "run the commit that is checked out", NULL},
        {"include-ignored", 0, NULL, "copy also what .gitignore names", NULL},
        {"jobs", 'j', "N", "how many jobs at once (default: the cores)", NULL},
        {"event", 0, "EVENT", "push (default), tag, pull_request or manual, for CI_EVENT", NULL},
        {"ref", 0, "REF", "branch or tag, for CI_BRANCH and CI_TAG", NULL},
        {"keep", 0, NULL, "keep the workspaces, beside the logs", NULL},
        {"shell-on-fail", 0, NULL, "open a shell where a job failed, with its files", NULL},
        {"exit-code", 0, "step", "end with the exit code of the step that failed", NULL},
        {"list", 0, NULL, "show the jobs and steps, run nothing", NULL},
        {"dry-run", 0, NULL, "check file, engine and secrets, run nothing", NULL},
        {"engine", 0, "NAME", "docker, local or auto", "engine"},
        {"verbose", 'v', NULL, "print what the steps write also where several jobs run", NULL},
        OPTION_JSON,
        OPTION_CONFIG,
        OPTION_END,
};

const struct command command_exec = {
        .name = "exec",
        .group = "Start here",
        .synopsis = "[JOB…]",
        .summary = "run the jobs of .runnerci.yml here, with the code of the server",
        .description =
                "Runs all jobs, or only those that are named: what they need besides is not run. "
                "The files are a copy of the work tree as it is, made once at the start.\n\nWhat "
                "the steps write goes to standard output when there is one job or no terminal, and "
                "always to a file per job below ~/.cache/argon/exec. Secrets are also read from "
                "~/.config/argon/secrets/OWNER/NAME (lines K=V, mode 0600).\n\nCtrl-C stops the "
                "jobs within 10 s, a second one at once; their containers are always removed.",
        .options = options,
        .arguments_max = -1,
        .run = run_exec,
};
