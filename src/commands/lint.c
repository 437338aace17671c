/*
 * The same code that the server checks a pushed file with; only the way of showing is chosen here.
 */
#include <string.h>

#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "commands/command.h"
#include "commands/pipeline_source.h"
#include "domain/finding.h"
#include "domain/pipeline_file.h"

#include "base/banned.h"

#define FILES_MAX 256

enum format { FORMAT_HUMAN, FORMAT_GCC, FORMAT_GITHUB, FORMAT_JSON, FORMAT_SARIF, FORMATS };

static const char *const format_names[FORMATS] = {"human", "gcc", "github", "json", "sarif"};

struct lint {
        struct invocation *invocation;
        enum format format;
        struct pipeline_file *files[FILES_MAX];
        size_t n;
        size_t errors;
        size_t warnings;
};

static int take_format(struct lint *lint)
{
        const char *name = invocation_option(lint->invocation, "format");

        if (invocation_given(lint->invocation, "json")) {
                lint->format = FORMAT_JSON;
                return name && strcmp(name, "json") != 0
                               ? invocation_usage(lint->invocation, "--json is --format json")
                               : 0;
        }
        for (size_t i = 0; name && i < FORMATS; i++) {
                if (strcmp(name, format_names[i]) == 0) {
                        lint->format = (enum format)i;
                        return 0;
                }
        }
        return name ? invocation_usage(lint->invocation,
                                       "--format %s is not known; it is one of human, gcc, github, "
                                       "json, sarif",
                                       name)
                    : 0;
}

static int read_one(struct lint *lint, const char *path, struct error *err)
{
        const char *name = strcmp(path, "-") == 0
                                   ? text_or(invocation_option(lint->invocation, "stdin-filename"),
                                             "standard input")
                                   : NULL;
        struct pipeline_file *file = NULL;
        int result = pipeline_source_read(&file, path, name, err);

        if (result < 0)
                return result;
        lint->files[lint->n++] = file;
        lint->errors += findings_errors(&file->findings);
        lint->warnings += findings_warnings(&file->findings);
        return 0;
}

static int read_all(struct lint *lint, struct error *err)
{
        struct invocation *invocation = lint->invocation;
        const char *found;
        int result = 0;

        if (invocation->n_arguments > FILES_MAX)
                return error_set(err, ERROR_LIMIT, "more than %d files", FILES_MAX);
        if (!invocation->n_arguments) {
                result = pipeline_source_find(&found, ".", err);
                return result < 0 ? result : read_one(lint, found, err);
        }
        for (int i = 0; i < invocation->n_arguments && result == 0; i++)
                result = read_one(lint, invocation->arguments[i], err);
        return result;
}

static void add_count(struct str *str, size_t n, const char *what)
{
        str_printf(str, "%zu %s%s", n, what, n == 1 ? "" : "s");
}

static void show_human(const struct lint *lint, struct str *text)
{
        for (size_t i = 0; i < lint->n; i++)
                findings_human(&lint->files[i]->findings, lint->invocation->colour_out, text);
        if (!lint->errors && !lint->warnings) {
                for (size_t i = 0; i < lint->n; i++)
                        str_printf(text, "%s: fine, %zu job%s\n", lint->files[i]->findings.file,
                                   lint->files[i]->n_jobs, lint->files[i]->n_jobs == 1 ? "" : "s");
                return;
        }
        add_count(text, lint->errors, "error");
        str_add(text, ", ");
        add_count(text, lint->warnings, "warning");
        str_add_char(text, '\n');
}

/* One file is an object, several are an array of them. */
static int show_json(const struct lint *lint)
{
        scoped(json) json_t *all = json_array();

        for (size_t i = 0; i < lint->n; i++) {
                scoped_str struct str text = STR_INIT;

                findings_json(&lint->files[i]->findings, &text);
                json_array_append_new(all, json_loads(text.data, 0, NULL));
        }
        return invocation_json(lint->invocation, lint->n == 1 ? json_array_get(all, 0) : all);
}

static void show_sarif(const struct lint *lint, struct str *text)
{
        const struct findings *all[FILES_MAX];

        for (size_t i = 0; i < lint->n; i++)
                all[i] = &lint->files[i]->findings;
        findings_sarif(all, lint->n, text);
        str_add_char(text, '\n');
}

static int show(const struct lint *lint)
{
        scoped_str struct str text = STR_INIT;

        if (lint->format == FORMAT_JSON)
                return show_json(lint);
        if (lint->format == FORMAT_HUMAN)
                show_human(lint, &text);
        else if (lint->format == FORMAT_SARIF)
                show_sarif(lint, &text);
        for (size_t i = 0; i < lint->n; i++) {
                if (lint->format == FORMAT_GCC)
                        findings_gcc(&lint->files[i]->findings, &text);
                else if (lint->format == FORMAT_GITHUB)
                        findings_github(&lint->files[i]->findings, &text);
        }
        fwrite(text.data, 1, text.len, stdout);
        return 0;
}

static int print_schema(void)
{
        scoped_str struct str text = STR_INIT;

        pipeline_file_schema(&text);
        fwrite(text.data, 1, text.len, stdout);
        return EXIT_GREEN;
}

static int run_lint(struct invocation *invocation)
{
        struct lint lint = {.invocation = invocation};
        struct error err = {0};
        int code;

        if (invocation_given(invocation, "schema"))
                return print_schema();
        code = take_format(&lint);
        if (code)
                return code;
        if (read_all(&lint, &err) < 0)
                code = invocation_fail(invocation, &err);
        else
                code = show(&lint);
        if (!code && (lint.errors || (lint.warnings && invocation_given(invocation, "strict"))))
                code = EXIT_RED;
        for (size_t i = 0; i < lint.n; i++)
                pipeline_file_free(lint.files[i]);
        return code;
}

static const struct command_option options[] = {
        {"strict", 0, NULL, "warnings end in failure too", NULL},
        {"format", 0, "FORMAT", "human (default), gcc, github, json or sarif", NULL},
        {"stdin-filename", 0, "NAME", "what the findings call standard input", NULL},
        {"schema", 0, NULL, "print the JSON Schema of the language, for editors", NULL},
        OPTION_JSON,
        OPTION_END,
};

const struct command command_lint = {
        .name = "lint",
        .group = "Start here",
        .synopsis = "[FILE…]",
        .summary = "check .runnerci.yml, with the code that the server uses",
        .description =
                "Shows every finding with its place and how to mend it; ends with 1 when there is "
                "an error. FILE is .runnerci.yml or .runnerci.yaml of this folder when left out; - "
                "is standard input.\n\nJSON is one object for one file, an array for several.",
        .options = options,
        .arguments_max = -1,
        .run = run_lint,
};
