/*
 * Each template is a file that runs as it is on an image of Docker Hub, and that `argon lint` has
 * nothing to say about; a test holds them to it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/error.h"
#include "base/fs.h"
#include "base/scoped.h"
#include "base/str.h"
#include "base/suggest.h"
#include "commands/command.h"
#include "commands/init.h"
#include "domain/pipeline_file.h"
#include "domain/plan.h"

#include "base/banned.h"

#define NAMES_MAX 10000

/* What plan_project_type() calls it, or other words for the same template. */
const struct init_template init_templates[] = {
        {"c", "make",
         "  build:\n"
         "    image: gcc:12\n"
         "    steps:\n"
         "      - name: Compile\n"
         "        run: make\n"
         "      - name: Test\n"
         "        run: make test\n"},
        {"cmake", "cmake",
         "  build:\n"
         "    image: debian:12\n"
         "    steps:\n"
         "      - name: Install the tools\n"
         "        run: |\n"
         "          apt-get update\n"
         "          apt-get install -y --no-install-recommends build-essential cmake\n"
         "      - name: Compile\n"
         "        run: |\n"
         "          cmake -S . -B build\n"
         "          cmake --build build\n"
         "      - name: Test\n"
         "        run: ctest --test-dir build --output-on-failure\n"},
        {"python", "python",
         "  test:\n"
         "    image: python:3.12\n"
         "    steps:\n"
         "      - name: Install dependencies\n"
         "        run: |\n"
         "          pip install pytest\n"
         "          if [ -f requirements.txt ]; then pip install -r requirements.txt; fi\n"
         "          if [ -f pyproject.toml ]; then pip install .; fi\n"
         "      - name: Test\n"
         "        run: pytest\n"},
        {"node", "npm",
         "  test:\n"
         "    image: node:22\n"
         "    steps:\n"
         "      - name: Install dependencies\n"
         "        run: if [ -f package-lock.json ]; then npm ci; else npm install; fi\n"
         "      - name: Test\n"
         "        run: npm test\n"},
        {"go", "go",
         "  test:\n"
         "    image: golang:1.23\n"
         "    steps:\n"
         "      - name: Compile\n"
         "        run: go build ./...\n"
         "      - name: Test\n"
         "        run: go test ./...\n"},
        {"rust", "cargo",
         "  test:\n"
         "    image: rust:1.82\n"
         "    steps:\n"
         "      - name: Compile\n"
         "        run: cargo build --all-targets\n"
         "      - name: Test\n"
         "        run: cargo test\n"},
        {"maven", "maven",
         "  test:\n"
         "    image: maven:3.9-eclipse-temurin-21\n"
         "    steps:\n"
         "      - name: Compile and test\n"
         "        run: mvn --batch-mode verify\n"},
        {"gradle", "gradle",
         "  test:\n"
         "    image: gradle:8.10-jdk21\n"
         "    steps:\n"
         "      - name: Compile and test\n"
         "        run: if [ -x gradlew ]; then ./gradlew build; else gradle build; fi\n"},
        {"shell", "unknown",
         "  hello:\n"
         "    image: debian:12\n"
         "    steps:\n"
         "      - name: Say hello\n"
         "        run: echo \"hello from commit $CI_COMMIT_SHA\"\n"},
};
const size_t init_n_templates = sizeof(init_templates) / sizeof(*init_templates);

void init_text(const struct init_template *template, struct str *ret)
{
        str_printf(ret,
                   "# What Argon does at every push. Check it: argon lint. Run it here: argon "
                   "exec.\n"
                   "version: 1.0\n"
                   "jobs:\n%s",
                   template->jobs);
}

static const struct init_template *find_template(const char *name, bool by_type)
{
        for (size_t i = 0; i < init_n_templates; i++) {
                const struct init_template *template = &init_templates[i];

                if (strcmp(by_type ? template->type : template->name, name) == 0)
                        return template;
        }
        return NULL;
}

static int list_folder(struct str *ret, struct error *err)
{
        DIR *folder = opendir(".");
        const struct dirent *entry;

        if (!folder)
                return error_set_errno(err, "open this folder");
        for (int i = 0; i < NAMES_MAX && (entry = readdir(folder)); i++)
                str_printf(ret, "%s\n", entry->d_name);
        closedir(folder);
        return 0;
}

static int choose(struct invocation *invocation, const struct init_template **ret)
{
        const char *name = invocation_option(invocation, "template");
        scoped_str struct str names = STR_INIT;
        const char *known[sizeof(init_templates) / sizeof(*init_templates)];
        const char *meant;
        struct error err = {0};

        if (!name) {
                if (list_folder(&names, &err) < 0)
                        return invocation_fail(invocation, &err);
                *ret = find_template(plan_project_type(names.data), true);
                return EXIT_GREEN;
        }
        *ret = find_template(name, false);
        if (*ret)
                return EXIT_GREEN;
        for (size_t i = 0; i < init_n_templates; i++) {
                known[i] = init_templates[i].name;
                str_printf(&names, "%s%s", i ? ", " : "", known[i]);
        }
        meant = suggest(name, known, init_n_templates);
        return invocation_usage(invocation, "there is no template '%s'; %s%s%sthere are %s", name,
                                meant ? "did you mean '" : "", meant ? meant : "",
                                meant ? "'? " : "", names.data);
}

/* Never over a file, nor through a link, that is there already. */
static int write_new(const char *text, size_t n, struct error *err)
{
        scoped_fd int fd = -1;

        if (access(PIPELINE_FILE_NAME_LONG, F_OK) == 0)
                return error_set(err, ERROR_CONFLICT,
                                 PIPELINE_FILE_NAME_LONG " is here already; nothing was changed");
        fd = open(PIPELINE_FILE_NAME, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno == EEXIST)
                return error_set(err, ERROR_CONFLICT,
                                 PIPELINE_FILE_NAME " is here already; nothing was changed");
        if (fd < 0)
                return error_set_errno(err, "write " PIPELINE_FILE_NAME);
        return fs_write_all(fd, text, n, err);
}

static int run_init(struct invocation *invocation)
{
        const struct init_template *template = NULL;
        scoped_str struct str text = STR_INIT;
        struct error err = {0};
        int code = choose(invocation, &template);

        if (code)
                return code;
        init_text(template, &text);
        if (invocation_given(invocation, "stdout")) {
                fwrite(text.data, 1, text.len, stdout);
                return EXIT_GREEN;
        }
        if (write_new(text.data, text.len, &err) < 0) {
                code = invocation_fail(invocation, &err);
                return err.kind == ERROR_CONFLICT ? EXIT_RED : code;
        }
        fprintf(stderr, "wrote " PIPELINE_FILE_NAME " (%s); next: argon exec\n", template->name);
        return EXIT_GREEN;
}

static const struct command_option options[] = {
        {"template", 't', "NAME",
         "c, cmake, python, node, go, rust, maven, gradle or shell; by default what the files of "
         "this folder look like",
         NULL},
        {"stdout", 0, NULL, "print it instead of writing the file", NULL},
        OPTION_END,
};

const struct command command_init = {
        .name = "init",
        .group = "Start here",
        .synopsis = "",
        .summary = "write a .runnerci.yml that fits this folder",
        .description = "A file that is there already is never overwritten.",
        .options = options,
        .arguments_max = 0,
        .run = run_init,
};
