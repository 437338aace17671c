#include "step/shell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "wire/step_frame.h"

#include "base/banned.h"

#define ARGUMENT_MAX (120 * 1024) /* below MAX_ARG_STRLEN, 128 KiB */
#define PLACE "{0}"

struct known_shell {
        const char *name;
        const char *programs[SHELL_CHOICES_MAX];
        const char *flags[3];
};

static const struct known_shell known_shells[] = {
        {"sh", {"sh", "/bin/sh"}, {"-e"}},
        {"bash", {"bash"}, {"-e", "-o", "pipefail"}},
        {"python", {"python", "python3"}, {0}},
};

static int write_all(int fd, const char *text)
{
        size_t n = strlen(text);

        while (n > 0) {
                ssize_t done = write(fd, text, n);

                if (done < 0 && errno == EINTR)
                        continue;
                if (done < 0)
                        return -1;
                text += done;
                n -= (size_t)done;
        }
        return 0;
}

/* Readable by all: the step may run under another uid. Removed when the step ends. */
static char *write_file(const char *script)
{
        static const char *const folders[] = {"/tmp", "/var/tmp", "/dev/shm"};

        for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
                char *path = text_format("%s/argon-step-XXXXXX", folders[i]);
                int fd = mkostemp(path, O_CLOEXEC);

                if (fd >= 0 && write_all(fd, script) == 0 && fchmod(fd, 0755) == 0) {
                        close(fd);
                        return path;
                }
                if (fd >= 0) {
                        close(fd);
                        unlink(path);
                }
                free(path);
        }
        return NULL;
}

/* Sets shell->file or shell->memory; *ret: the name of it, freed by the caller. */
static int place_script(struct shell *shell, const char *script, char **ret, struct error *err)
{
        shell->file = write_file(script);
        if (shell->file) {
                *ret = text_copy(shell->file);
                return 0;
        }
        shell->memory = memfd_create("argon-step", 0);
        if (shell->memory < 0 || write_all(shell->memory, script) < 0)
                return error_set_errno(err, "put the script into a file");
        *ret = text_format("/proc/self/fd/%d", shell->memory);
        return 0;
}

static int prepare_known(struct shell *shell, const struct known_shell *known, const char *script,
                         struct error *err)
{
        scoped_text char *path = NULL;

        if (strlen(script) > ARGUMENT_MAX && place_script(shell, script, &path, err) < 0)
                return -ERROR_UNAVAILABLE;
        for (size_t i = 0; i < SHELL_CHOICES_MAX && known->programs[i]; i++) {
                char **word = shell->argv[shell->choices++];

                *word++ = text_copy(known->programs[i]);
                for (size_t k = 0; k < 3 && known->flags[k]; k++)
                        *word++ = text_copy(known->flags[k]);
                if (!path)
                        *word++ = text_copy("-c");
                *word++ = text_copy(path ? path : script);
        }
        return 0;
}

/* Words are separated by spaces; '…' and "…" keep them together, nothing else is special. */
static int next_word(const char **at, struct str *ret, struct error *err)
{
        const char *p = *at + strspn(*at, " \t\n");
        char quote = 0;

        if (!*p)
                return 0;
        for (; *p && (quote || !strchr(" \t\n", *p)); p++) {
                if (quote ? *p == quote : *p == '\'' || *p == '"')
                        quote = quote ? 0 : *p;
                else
                        str_add_char(ret, *p);
        }
        *at = p;
        if (quote)
                return error_set(err, ERROR_INVALID, "`shell` has a %c that is not closed", quote);
        return 1;
}

static char *replace_place(const char *word, const char *path)
{
        scoped_str struct str text = STR_INIT;
        const char *found;

        while ((found = strstr(word, PLACE))) {
                str_add_bytes(&text, word, (size_t)(found - word));
                str_add(&text, path);
                word = found + strlen(PLACE);
        }
        str_add(&text, word);
        return str_steal(&text);
}

static int prepare_command(struct shell *shell, const struct step_plan_step *step,
                           struct error *err)
{
        scoped_text char *path = NULL;
        const char *at = step->shell;
        size_t n = 0;

        if (!strstr(step->shell, PLACE))
                return error_set(err, ERROR_INVALID,
                                 "shell '%s' is not known; a command of your own needs {0}, which "
                                 "stands for the script's path (for example `perl {0}`)",
                                 step->shell);
        if (place_script(shell, step->script, &path, err) < 0)
                return -ERROR_UNAVAILABLE;
        for (;;) {
                scoped_str struct str word = STR_INIT;
                int found = next_word(&at, &word, err);

                if (found < 0)
                        return found;
                if (found == 0)
                        break;
                if (n == SHELL_WORDS_MAX)
                        return error_set(err, ERROR_LIMIT, "`shell` has more than %d words",
                                         SHELL_WORDS_MAX);
                shell->argv[0][n++] = replace_place(word.data, path);
        }
        shell->choices = 1;
        return 0;
}

int shell_prepare(struct shell *ret, const struct step_plan_step *step, struct error *err)
{
        const char *name = *step->shell ? step->shell : "sh";

        *ret = (struct shell){.memory = -1};
        for (size_t i = 0; i < sizeof(known_shells) / sizeof(*known_shells); i++) {
                if (!strcmp(name, known_shells[i].name))
                        return prepare_known(ret, &known_shells[i], step->script, err);
        }
        return prepare_command(ret, step, err);
}

void shell_done(struct shell *shell)
{
        for (size_t i = 0; i < SHELL_CHOICES_MAX; i++) {
                for (size_t k = 0; shell->argv[i][k]; k++)
                        free(shell->argv[i][k]);
        }
        if (shell->file)
                unlink(shell->file);
        free(shell->file);
        if (shell->memory >= 0)
                close(shell->memory);
        *shell = (struct shell){.memory = -1};
}
