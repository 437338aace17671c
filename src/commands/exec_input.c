/*
 * Nearest wins here too: what is given by -e beats the environment of file and job, a step's own
 * environment beats both.
 */
#include "commands/exec.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/scoped.h"
#include "commands/command.h"
#include "domain/mask.h"

#include "base/banned.h"

#define VALUES_MAX 256
#define ENTRIES_MAX 1000
#define ENV_FILE_BYTES_MAX (1024 * 1024)

struct reading {
        struct exec_input *input;
        const struct invocation *invocation;
        bool secret;
};

static bool is_name(const char *name, size_t n)
{
        if (n == 0 || isdigit((unsigned char)*name))
                return false;
        for (size_t i = 0; i < n; i++) {
                if (!isalnum((unsigned char)name[i]) && name[i] != '_')
                        return false;
        }
        return true;
}

static int add_env(struct exec_input *input, const char *name, const char *value, struct error *err)
{
        if (input->n_env == ENTRIES_MAX)
                return error_set(err, ERROR_LIMIT, "more than %d variables", ENTRIES_MAX);
        input->env[input->n_env++] = (struct job_secret){arena_copy(input->arena, name),
                                                         arena_copy(input->arena, value)};
        return 0;
}

/* The later one of a name wins: the command line comes after the user's file. */
static int add_secret(struct exec_input *input, const char *name, const char *value,
                      struct error *err)
{
        size_t at = 0;

        while (at < input->n_secrets && strcmp(input->secrets[at].name, name) != 0)
                at++;
        if (at == ENTRIES_MAX)
                return error_set(err, ERROR_LIMIT, "more than %d secrets", ENTRIES_MAX);
        input->names[at] = arena_copy(input->arena, name);
        input->secrets[at] = (struct job_secret){input->names[at], arena_copy(input->arena, value)};
        if (at == input->n_secrets)
                input->n_secrets++;
        return 0;
}

/* --- files --- */

/* The value after "=": quotes around it are taken off; " #" begins a remark without them. */
static char *file_value(const char *text, size_t n)
{
        struct str value = STR_INIT;
        char quote = n && (*text == '"' || *text == '\'') ? *text : '\0';
        size_t i = quote ? 1 : 0;

        for (; i < n && (!quote || text[i] != quote); i++) {
                if (!quote && text[i] == '#' && i > 0 && isspace((unsigned char)text[i - 1]))
                        break;
                if (quote == '"' && text[i] == '\\' && i + 1 < n) {
                        i++;
                        str_add_char(&value, text[i] == 'n'   ? '\n'
                                             : text[i] == 't' ? '\t'
                                                              : text[i]);
                } else {
                        str_add_char(&value, text[i]);
                }
        }
        while (!quote && value.len && isspace((unsigned char)value.data[value.len - 1]))
                str_truncate(&value, value.len - 1);
        return str_steal(&value);
}

static int file_line(const char *path, int number, const char *line, size_t n,
                     int (*each)(void *data, const char *name, const char *value,
                                 struct error *err),
                     void *data, struct error *err)
{
        scoped_text char *name = NULL;
        scoped_text char *value = NULL;
        const char *equals;

        while (n && isspace((unsigned char)*line)) {
                line++;
                n--;
        }
        if (!n || *line == '#')
                return 0;
        if (n > 7 && strncmp(line, "export ", 7) == 0) {
                line += 7;
                n -= 7;
        }
        equals = memchr(line, '=', n);
        if (!equals || !is_name(line, (size_t)(equals - line)))
                return error_set(err, ERROR_INVALID, "%s:%d: write NAME=VALUE", path, number);
        name = text_format("%.*s", (int)(equals - line), line);
        value = file_value(equals + 1, n - (size_t)(equals + 1 - line));
        return each(data, name, value, err);
}

int exec_env_file(const char *path, const char *text,
                  int (*each)(void *data, const char *name, const char *value, struct error *err),
                  void *data, struct error *err)
{
        int result = 0;

        for (int number = 1; *text && result == 0; number++) {
                size_t n = strcspn(text, "\n");

                result = file_line(path, number, text, n && text[n - 1] == '\r' ? n - 1 : n, each,
                                   data, err);
                text += n;
                text += *text == '\n';
        }
        return result;
}

static int take_entry(void *data, const char *name, const char *value, struct error *err)
{
        struct reading *reading = data;
        struct exec_input *input = reading->input;

        if (reading->secret)
                return add_secret(input, name, value, err);
        if (strlen(value) >= MASK_LENGTH_MIN && input->n_masked < ENTRIES_MAX)
                input->masked[input->n_masked++] = arena_copy(input->arena, value);
        return add_env(input, name, value, err);
}

static int read_file(struct reading *reading, const char *path, struct error *err)
{
        scoped_str struct str text = STR_INIT;
        int result = str_read_file(&text, path, ENV_FILE_BYTES_MAX, err);

        if (result == 0 && strlen(text.data) != text.len)
                result = error_set(err, ERROR_INVALID, "'%s' is not text", path);
        if (result == 0)
                result = exec_env_file(path, text.data, take_entry, reading, err);
        explicit_bzero(text.data, text.len);
        return result;
}

/* ~/.config/argon/secrets/OWNER/NAME, which nobody else may read. */
static int read_user_secrets(struct reading *reading, const char *repo, struct error *err)
{
        const char *config = getenv("XDG_CONFIG_HOME");
        const char *home = getenv("HOME");
        scoped_text char *path = NULL;
        struct stat stat_buffer;

        if ((!home && !config) || strstr(repo, ".."))
                return 0;
        path = config && *config == '/' ? text_format("%s/argon/secrets/%s", config, repo)
                                        : text_format("%s/.config/argon/secrets/%s", home, repo);
        if (stat(path, &stat_buffer) < 0 || !S_ISREG(stat_buffer.st_mode))
                return 0;
        if (stat_buffer.st_mode & 077)
                return error_set(err, ERROR_DENIED,
                                 "'%s' can be read by others; run: chmod 600 '%s'", path, path);
        return read_file(reading, path, err);
}

/* --- one by one --- */

static int prompt(const char *name, struct str *ret, struct error *err)
{
        scoped(file) FILE *terminal = fopen("/dev/tty", "r+e");
        struct termios old;
        struct termios silent;
        int c;

        if (!terminal || tcgetattr(fileno(terminal), &old) < 0)
                return error_set(err, ERROR_INVALID,
                                 "no value for the secret %s: set the variable %s, or run this on "
                                 "a terminal",
                                 name, name);
        silent = old;
        silent.c_lflag &= ~(tcflag_t)ECHO;
        fprintf(terminal, "%s: ", name);
        fflush(terminal);
        tcsetattr(fileno(terminal), TCSAFLUSH, &silent);
        while ((c = fgetc(terminal)) != EOF && c != '\n')
                str_add_char(ret, (char)c);
        tcsetattr(fileno(terminal), TCSAFLUSH, &old);
        fputc('\n', terminal);
        return 0;
}

static int take_secret(struct reading *reading, const char *given, struct error *err)
{
        const char *equals = strchr(given, '=');
        scoped_text char *name = text_format("%.*s", (int)strcspn(given, "="), given);
        scoped_str struct str typed = STR_INIT;
        const char *value = equals ? equals + 1 : getenv(name);
        int result = 0;

        if (!is_name(name, strlen(name)))
                return error_set(err, ERROR_INVALID, "--secret %s: '%s' is not a name", given,
                                 name);
        if (equals)
                fprintf(stderr,
                        "argon exec: the value of %s stands in the process list; --secret %s takes "
                        "it from the environment or asks for it\n",
                        name, name);
        if (!value) {
                result = prompt(name, &typed, err);
                value = typed.data;
        }
        if (result == 0)
                result = add_secret(reading->input, name, value, err);
        explicit_bzero(typed.data, typed.len);
        return result;
}

static int take_env(struct reading *reading, const char *given, struct error *err)
{
        const char *equals = strchr(given, '=');
        scoped_text char *name = text_format("%.*s", (int)strcspn(given, "="), given);
        const char *value = equals ? equals + 1 : getenv(name);

        if (!is_name(name, strlen(name)))
                return error_set(err, ERROR_INVALID, "-e %s: '%s' is not a name", given, name);
        if (!value)
                return error_set(err, ERROR_INVALID,
                                 "-e %s: the variable is not set here; write -e %s=VALUE", name,
                                 name);
        return add_env(reading->input, name, value, err);
}

int exec_input_read(struct exec_input *ret, const struct invocation *invocation, const char *repo,
                    struct error *err)
{
        struct reading reading = {.input = ret, .invocation = invocation, .secret = true};
        const char *values[VALUES_MAX];
        size_t n;
        int result;

        ret->arena = arena_new();
        ret->secrets = arena_alloc(ret->arena, ENTRIES_MAX * sizeof(*ret->secrets));
        ret->names = arena_alloc(ret->arena, ENTRIES_MAX * sizeof(*ret->names));
        ret->env = arena_alloc(ret->arena, ENTRIES_MAX * sizeof(*ret->env));
        ret->masked = arena_alloc(ret->arena, ENTRIES_MAX * sizeof(*ret->masked));
        result = read_user_secrets(&reading, repo, err);
        reading.secret = false;
        n = invocation_values(invocation, "env-file", values, VALUES_MAX);
        for (size_t i = 0; i < n && result == 0; i++)
                result = read_file(&reading, values[i], err);
        n = invocation_values(invocation, "env", values, VALUES_MAX);
        for (size_t i = 0; i < n && result == 0; i++)
                result = take_env(&reading, values[i], err);
        n = invocation_values(invocation, "secret", values, VALUES_MAX);
        for (size_t i = 0; i < n && result == 0; i++)
                result = take_secret(&reading, values[i], err);
        return result;
}

void exec_input_done(struct exec_input *input)
{
        for (size_t i = 0; i < input->n_secrets; i++)
                explicit_bzero((char *)input->secrets[i].value, strlen(input->secrets[i].value));
        if (input->arena)
                arena_free(input->arena);
}
