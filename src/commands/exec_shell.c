/*
 * When the job has ended its container has too, and its PID 1 cannot be started again with another
 * task. So an image is made of the container as it stands, and a new one runs a shell on it with
 * the same workspace and environment. The docker program does both: it knows how to lend a terminal
 * to a container. Without containers the shell runs right here, in the workspace.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/process.h"
#include "base/scoped.h"
#include "commands/command.h"
#include "commands/exec.h"
#include "domain/order.h"
#include "ports/engine.h"

#include "base/banned.h"

#define ARGUMENTS_MAX 4200
#define COMMIT_TIMEOUT_MS 300000
#define OUTPUT_MAX 65536

struct words {
        const char *items[ARGUMENTS_MAX + 1];
        size_t n;
};

static void add(struct words *words, const char *word)
{
        if (words->n < ARGUMENTS_MAX)
                words->items[words->n++] = word;
}

/* The child of fork: a terminal of its own signals, the job's environment, then the program. */
static void become(const struct order *order, const struct exec_input *input, const char *folder,
                   char *const *argv)
{
        sigset_t none;

        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGINT, SIG_DFL);
        signal(SIGPIPE, SIG_DFL);
        for (size_t i = 0; i < order->n_env; i++)
                setenv(order->env[i].name, order->env[i].value, 1);
        for (size_t i = 0; i < input->n_secrets; i++)
                setenv(input->secrets[i].name, input->secrets[i].value, 1);
        if (folder && chdir(folder) < 0)
                _exit(127);
        execvp(argv[0], argv);
        fprintf(stderr, "argon exec: cannot start '%s'\n", argv[0]);
        _exit(127);
}

static void run_here(const struct order *order, const struct exec_input *input, const char *folder,
                     struct words *words)
{
        pid_t pid;

        words->items[words->n] = NULL;
        fflush(stdout);
        fflush(stderr);
        pid = fork();
        if (pid == 0)
                become(order, input, folder, (char *const *)words->items);
        while (pid > 0 && waitpid(pid, NULL, 0) < 0)
                ;
}

/* Return: 0 when docker said 0. */
static int docker(const char *const *argv, struct error *err)
{
        extern char **environ;
        scoped_process_result struct process_result result = PROCESS_RESULT_INIT;
        struct process_spec spec = {
                .argv = argv,
                .env = (const char *const *)environ,
                .timeout_ms = COMMIT_TIMEOUT_MS,
                .output_max = OUTPUT_MAX,
                .error_max = OUTPUT_MAX,
                .cancel_fd = -1,
        };

        if (process_run(&result, &spec, err) < 0)
                return -err->kind;
        return result.exit_code == 0 ? 0
                                     : error_set(err, ERROR_UNAVAILABLE, "docker %s: %s", argv[1],
                                                 result.errors.data);
}

static int in_container(const struct exec *exec, const struct order *order,
                        const struct sandbox *sandbox, const char *workspace, struct error *err)
{
        scoped_text char *image = text_format("argon-exec-shell:%.16s", order->token);
        scoped_text char *mount = text_format("%s:/workspace", workspace);
        struct words *words = xcalloc(1, sizeof(*words));

        if (docker((const char *const[]){"docker", "commit", sandbox->id, image, NULL}, err) < 0) {
                free(words);
                return -err->kind;
        }
        add(words, "docker");
        add(words, "run");
        add(words, "--rm");
        add(words, "-it");
        add(words, "-v");
        add(words, mount);
        add(words, "-w");
        add(words, "/workspace");
        add(words, "--entrypoint");
        add(words, "sh");
        for (size_t i = 0; i < order->n_env; i++) { /* values go by the environment, not by argv */
                add(words, "-e");
                add(words, order->env[i].name);
        }
        for (size_t i = 0; i < exec->input.n_secrets; i++) {
                add(words, "-e");
                add(words, exec->input.secrets[i].name);
        }
        add(words, image);
        run_here(order, &exec->input, NULL, words);
        free(words);
        return docker((const char *const[]){"docker", "rmi", "-f", image, NULL}, err);
}

void exec_shell(struct exec *exec, const struct order *order, const struct sandbox *sandbox,
                const char *workspace)
{
        struct words words = {{"sh"}, 1};
        struct error err = {0};

        if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
                exec_view_line(&exec->view, "--shell-on-fail needs a terminal");
                return;
        }
        exec_view_line(&exec->view, "a shell where %s failed; leave it with exit", order->job_name);
        exec_view_pause(&exec->view);
        if (!engine_info(exec->engine)->images)
                run_here(order, &exec->input, workspace, &words);
        else if (sandbox && in_container(exec, order, sandbox, workspace, &err) < 0)
                fprintf(stderr, "argon exec: no shell: %s\n", err.text);
        exec_view_resume(&exec->view);
}
