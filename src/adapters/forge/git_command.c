#include "adapters/forge/git_command.h"

#include <string.h>

#include "adapters/forge/git_url.h"
#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "ports/forge.h"

#include "base/banned.h"

/* What no repository may decide for us. */
static const char *const fixed[] = {
        "git",
        "-c",
        "core.hooksPath=/dev/null",
        "-c",
        "core.fsmonitor=false",
        "-c",
        "core.protectHFS=true",
        "-c",
        "core.protectNTFS=true",
        "-c",
        "credential.helper=",
        "-c",
        "fetch.fsckObjects=true",
        "-c",
        "transfer.fsckObjects=true",
        "-c",
        "gc.auto=0",
        "-c",
        "http.followRedirects=false",
        "-c",
        "http.lowSpeedLimit=1000",
        "-c",
        "http.lowSpeedTime=60",
        "-c",
        "protocol.version=2",
        "-c",
        "submodule.recurse=false",
        "-c",
        "advice.detachedHead=false",
};

#define FIXED_COUNT (sizeof(fixed) / sizeof(*fixed))

/* Words of git and of servers, and what they mean; the first that stands in stderr counts. */
static const struct {
        const char *words;
        enum error_kind kind;
        const char *meaning;
} meanings[] = {
        {"not our ref", ERROR_NOT_FOUND,
         "the commit is no longer in the repository (was it force-pushed away?)"},
        {"couldn't find remote ref", ERROR_NOT_FOUND, "the ref is no longer in the repository"},
        {"unadvertised object", ERROR_NOT_FOUND,
         "the commit is no longer in the repository (was it force-pushed away?)"},
        {"not allowed", ERROR_DENIED, "git refuses this protocol"},
        {"Authentication failed", ERROR_DENIED, "the server refused the credentials"},
        {"could not read Username", ERROR_DENIED,
         "the server asks for credentials and there are none for it (or the repository does not "
         "exist)"},
        {"could not read Password", ERROR_DENIED, "the server asks for a password"},
        {"Permission denied", ERROR_DENIED, "the server refused access"},
        {"returned error: 403", ERROR_DENIED, "the server refused access"},
        {"Repository not found", ERROR_NOT_FOUND, "the repository does not exist"},
        {"does not appear to be a git repository", ERROR_NOT_FOUND,
         "there is no git repository at that URL"},
        {"not found", ERROR_NOT_FOUND, "the repository does not exist"},
        {"does not exist", ERROR_NOT_FOUND, "the repository does not exist"},
        {"fsck error", ERROR_INVALID, "the repository holds malformed or dangerous objects"},
        {"of signal 25" /* SIGXFSZ */, ERROR_LIMIT, "the repository is larger than allowed"},
        {"Could not resolve host", ERROR_UNAVAILABLE, "the server's name cannot be resolved"},
        {"unable to access", ERROR_UNAVAILABLE, "the server cannot be reached"},
};

static const char *last_line(const char *text, size_t *ret_n)
{
        const char *best = "git gave no reason";
        size_t n = strlen(best);

        while (*text) {
                size_t length = strcspn(text, "\r\n");

                if (length && strncmp(text, "warning:", 8) != 0) {
                        best = text;
                        n = length;
                        if (strncmp(text, "fatal:", 6) == 0 || strncmp(text, "error:", 6) == 0)
                                break;
                }
                text += length + (text[length] != '\0');
        }
        *ret_n = n;
        return best;
}

static int explain(const struct process_result *result, struct error *err)
{
        scoped_str struct str words = STR_INIT;
        enum error_kind kind = ERROR_UNAVAILABLE;
        const char *meaning = NULL;
        const char *line;
        size_t n;

        git_url_redact(result->errors.data, &words);
        for (size_t i = 0; i < sizeof(meanings) / sizeof(*meanings) && !meaning; i++) {
                if (!strstr(words.data, meanings[i].words))
                        continue;
                meaning = meanings[i].meaning;
                kind = meanings[i].kind;
        }
        line = last_line(words.data, &n);
        if (meaning)
                return error_set(err, kind, "%s (git: %.*s)", meaning, n > 300 ? 300 : (int)n,
                                 line);
        return error_set(err, kind, "git: %.*s", n > 300 ? 300 : (int)n, line);
}

int git_run(struct process_result *ret, const struct git_command *command, struct error *err)
{
        const struct forge_options *options = command->options;
        const char *argv[FIXED_COUNT + GIT_ARGUMENTS_MAX + 3];
        scoped_text char *home = text_format("HOME=%s/home", options->mirrors);
        scoped_text char *allow = text_format("GIT_ALLOW_PROTOCOL=%s", command->allow);
        scoped_text char *path = text_format("PATH=%s", text_or(getenv("PATH"), "/usr/bin:/bin"));
        const char *const env[] = {
                home,
                allow,
                path,
                "LC_ALL=C",
                "GIT_TERMINAL_PROMPT=0",
                "GIT_CONFIG_NOSYSTEM=1",
                "GIT_CONFIG_GLOBAL=/dev/null",
                "GIT_PROTOCOL_FROM_USER=0",
                "GIT_ASKPASS=",
                "SSH_ASKPASS=",
                "GIT_SSH_COMMAND=ssh -oBatchMode=yes",
                "GIT_NO_REPLACE_OBJECTS=1",
                "GIT_OPTIONAL_LOCKS=0",
                NULL,
        };
        struct process_spec spec = {
                .argv = argv,
                .env = env,
                .timeout_ms = options->timeout_ms,
                .output_max = command->output_max,
                .error_max = 16384,
                .file_max = options->size_max,
                .on_line = command->progress,
                .data = command->data,
                .cancel_fd = command->cancel_fd,
        };
        size_t n = FIXED_COUNT;

        memcpy(argv, fixed, sizeof(fixed));
        if (command->folder) {
                argv[n++] = "-C";
                argv[n++] = command->folder;
        }
        for (size_t i = 0; command->arguments[i] && i < GIT_ARGUMENTS_MAX; i++)
                argv[n++] = command->arguments[i];
        argv[n] = NULL;
        if (process_run(ret, &spec, err) < 0)
                return err ? -err->kind : -ERROR_UNAVAILABLE;
        if (ret->exit_code != 0)
                return explain(ret, err);
        return 0;
}
