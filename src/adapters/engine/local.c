/*
 * Whether bubblewrap may make namespaces here depends on the kernel, on the distribution and on the
 * container that we may be in: it is tried, with the very arguments of a job, when the engine is
 * opened.
 */
#include "adapters/engine/local.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "adapters/engine/data_id.h"
#include "adapters/engine/local_private.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/process.h"
#include "base/str.h"

#include "base/banned.h"

#define TRIAL_MS 10000
#define OS_RELEASE_MAX 65536

DEFINE_FREEP(local, struct local *, local_free)

/* In PATH and where Debian has it. NULL when there is none. */
static char *find_program(const char *name)
{
        scoped_text char *places = text_format("%s:/usr/bin:/bin:/usr/local/bin:/usr/sbin",
                                               text_or(getenv("PATH"), ""));

        for (char *at = places; *at;) {
                size_t n = strcspn(at, ":");
                scoped_text char *path = text_format("%.*s/%s", (int)n, at, name);

                if (path[0] == '/' && access(path, X_OK) == 0)
                        return take(path);
                at += n + (at[n] == ':');
        }
        return NULL;
}

static int find_programs(struct local *local, struct error *err)
{
        local->bwrap = find_program("bwrap");
        if (!local->bwrap)
                return error_set(
                        err, ERROR_UNAVAILABLE,
                        "bubblewrap is not installed (Debian: apt-get install bubblewrap)");
        if (!local->root)
                return 0;
        local->setpriv = find_program("setpriv");
        if (!local->setpriv)
                return error_set(err, ERROR_UNAVAILABLE,
                                 "setpriv is not installed (Debian: apt-get install util-linux)");
        return 0;
}

static int run(struct process_result *ret, const char *const *argv, struct error *err)
{
        struct process_spec spec = {
                .argv = argv,
                .timeout_ms = TRIAL_MS,
                .output_max = 4096,
                .error_max = 1024,
                .cancel_fd = -1,
        };

        return process_run(ret, &spec, err);
}

/* One sandbox without a job: argon-step says its version and ends. */
static int try_once(struct local *local, const char *private, bool network_none, struct error *err)
{
        struct local_fds fds = {-1, -1, -1, -1};
        scoped_local_args struct local_args args = {0};
        scoped_process_result struct process_result result = PROCESS_RESULT_INIT;

        local_args_sandbox(&args, local, private, NULL, NULL, NULL, network_none, &fds);
        local_args_program(&args, local, 0, "--version");
        if (run(&result, (const char *const *)args.argv, err) < 0)
                return -ERROR_UNAVAILABLE;
        if (result.exit_code != 0 || !text_starts(result.output.data, "argon-step"))
                return error_set(err, ERROR_UNAVAILABLE,
                                 "bubblewrap cannot make a sandbox here: %s",
                                 text_or(result.errors.data, "it says nothing"));
        return 0;
}

static int try_out(struct local *local, struct error *err)
{
        scoped_text char *private = fs_path(local->folder, "trial.d");
        int result = local_prepare(local, private, NULL, 0, err);

        if (result == 0)
                result = try_once(local, private, true, err);
        local->info.network_none = result == 0;
        if (result < 0)
                result = try_once(local, private, false, err);
        fs_remove_tree(private, NULL);
        return result;
}

/* "Debian GNU/Linux 12 (bookworm)" */
static char *system_name(void)
{
        scoped_str struct str text = STR_INIT;
        const char *at;

        if (str_read_file(&text, "/etc/os-release", OS_RELEASE_MAX, NULL) < 0)
                return text_copy("this machine");
        at = strstr(text.data, "PRETTY_NAME=\"");
        if (!at)
                return text_copy("this machine");
        at += strlen("PRETTY_NAME=\"");
        return text_format("%.*s", (int)strcspn(at, "\"\n"), at);
}

static int describe(struct local *local, struct error *err)
{
        const char *const argv[] = {local->bwrap, "--version", NULL};
        scoped_process_result struct process_result result = PROCESS_RESULT_INIT;
        scoped_text char *system = system_name();
        struct utsname machine;
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);

        if (run(&result, argv, err) < 0)
                return -ERROR_UNAVAILABLE;
        uname(&machine);
        local->architecture = text_copy(machine.machine);
        local->version = text_format("%.*s on %s", (int)strcspn(result.output.data, "\n"),
                                     result.output.data, system);
        local->info.name = "local";
        local->info.version = local->version;
        local->info.architecture = local->architecture;
        local->info.cpus = cpus > 0 ? (int)cpus : 1;
        local->info.strict = false;
        local->info.strict_offline = local->root; /* a user of its own, no capability, a filter */
        local->info.strict_why = "jobs of the local engine share this machine's network; use the "
                                 "docker engine for code that is not trusted";
        return 0;
}

static void add_missing(struct str *missing, const char *sentence)
{
        str_printf(missing, "%s%s", missing->len ? "\n" : "", sentence);
}

static void note_missing(struct local *local)
{
        scoped_str struct str missing = STR_INIT;
        unsigned limits = local->cgroups.limits;

        add_missing(&missing, "jobs share this machine's network and reach its own ports and the "
                              "metadata address, unless they say `network: none`");
        if (!local->root)
                add_missing(&missing, "jobs run as the user of this server, because only root can "
                                      "give them one of their own");
        if (!local->info.network_none)
                add_missing(&missing, "the network of a job cannot be switched off");
        if (!(limits & ENGINE_LIMIT_MEMORY))
                add_missing(&missing, "the memory of a job as a whole has no limit, only that of "
                                      "each process (no cgroup can be made here)");
        else if (!local->cgroups.swap)
                add_missing(&missing, "swap is not counted, so a job may use more memory than its "
                                      "limit by swapping");
        if (!(limits & ENGINE_LIMIT_CPUS))
                add_missing(&missing, "the CPU time of a job has no limit (no cgroup can be made "
                                      "here)");
        local->missing = str_steal(&missing);
        local->info.missing = local->missing;
        local->info.limits = limits | ENGINE_LIMIT_PIDS | ENGINE_LIMIT_DISK;
}

int local_engine_open(struct engine **ret, const struct engine_options *options, struct error *err)
{
        scoped(local) struct local *local = xcalloc(1, sizeof(*local));
        scoped_text char *data = realpath(options->data, NULL);
        scoped_text char *id = NULL;
        char id8[DATA_ID8];
        int result;

        local->engine.ops = &local_ops;
        local->root = geteuid() == 0;
        if (!data)
                return error_set_errno(err, "the data folder '%s'", options->data);
        local->folder = text_format("%s/engine/local", data);
        local->step = realpath(options->step_binary, NULL);
        if (!local->step)
                return error_set_errno(err, "argon-step, which runs the jobs, at '%s'",
                                       options->step_binary);
        result = find_programs(local, err);
        if (result == 0)
                result = data_id_read(&id, id8, data, err);
        if (result == 0)
                result = fs_mkdirs(local->folder, 0755, err);
        if (result == 0)
                result = describe(local, err);
        if (result == 0)
                result = try_out(local, err);
        if (result == 0)
                result = local_watch_new(local, err);
        if (result < 0)
                return result;
        cgroups_open(&local->cgroups, id8);
        note_missing(local);
        *ret = (struct engine *)take(local);
        return 0;
}
