/*
 * The root is an empty tmpfs; what a job needs is bound into it, read-only, and nothing else is
 * there. Binding the whole root read-only would not do: a socket below /run can be connected to
 * through a read-only mount, and /root and /home could be read.
 *
 * As root, bwrap makes the mounts with root's rights (the data folder may be closed to others) and
 * setpriv then gives up everything on its way to argon-step. A job's user is none that can log in
 * and none that any package or systemd hands out (60578 to 60705 are unused there).
 */
#include "adapters/engine/local_private.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"

#include "base/banned.h"

#define UID_FIRST 60578
#define UID_COUNT 128
#define SHM_SIZE "268435456"
#define ROOT_SIZE "16777216"
#define PATH_DEFAULT \
        "/home/ci/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *const top_folders[] = {"/usr",   "/bin",   "/sbin",   "/lib",
                                          "/lib32", "/lib64", "/libx32", "/opt"};

/* Of /etc: what programs need to run, to speak TLS and to look up names; no secrets, no users. */
static const char *const etc_entries[] = {
        "/etc/alternatives",
        "/etc/bash.bashrc",
        "/etc/ca-certificates",
        "/etc/ca-certificates.conf",
        "/etc/debian_version",
        "/etc/fonts",
        "/etc/gai.conf",
        "/etc/host.conf",
        "/etc/hosts",
        "/etc/inputrc",
        "/etc/java-11-openjdk",
        "/etc/java-17-openjdk",
        "/etc/ld.so.cache",
        "/etc/ld.so.conf",
        "/etc/ld.so.conf.d",
        "/etc/localtime",
        "/etc/lsb-release",
        "/etc/magic",
        "/etc/mime.types",
        "/etc/nsswitch.conf",
        "/etc/os-release",
        "/etc/perl",
        "/etc/pki/tls",
        "/etc/profile",
        "/etc/protocols",
        "/etc/python3",
        "/etc/resolv.conf",
        "/etc/rpc",
        "/etc/services",
        "/etc/sgml",
        "/etc/ssl/certs",
        "/etc/ssl/openssl.cnf",
        "/etc/terminfo",
        "/etc/timezone",
        "/etc/xml",
};

/* bwrap makes folders that are missing for root alone. */
static const char *const made_folders[] = {"/argon", "/etc", "/etc/pki", "/etc/ssl",      "/var",
                                           "/home",  "/sys", "/sys/fs",  "/sys/fs/cgroup"};

void local_args_add(struct local_args *args, const char *text)
{
        if (args->n + 1 >= LOCAL_ARGS_MAX)
                abort(); /* the lists above are constants */
        args->argv[args->n++] = text_copy(text);
}

static void add2(struct local_args *args, const char *a, const char *b)
{
        local_args_add(args, a);
        local_args_add(args, b);
}

static void add3(struct local_args *args, const char *a, const char *b, const char *c)
{
        add2(args, a, b);
        local_args_add(args, c);
}

void local_args_done(struct local_args *args)
{
        for (size_t i = 0; i < args->n; i++)
                free(args->argv[i]);
}

uid_t local_uid(const struct local *local, int slot)
{
        return local->root ? (uid_t)(UID_FIRST + slot % UID_COUNT) : getuid();
}

/* A folder of the root, or the link that stands in its place where /bin and the like are in /usr.
 */
static void add_top(struct local_args *args, const char *path)
{
        char target[PATH_MAX];
        struct stat st;
        ssize_t n;

        if (lstat(path, &st) < 0)
                return;
        if (!S_ISLNK(st.st_mode)) {
                add3(args, "--ro-bind", path, path);
                return;
        }
        n = readlink(path, target, sizeof(target) - 1);
        if (n <= 0)
                return;
        target[n] = '\0';
        add3(args, "--symlink", target, path);
}

/* Links of /etc point to places that a job does not see: what they mean is bound. */
static void add_etc(struct local_args *args, const char *path)
{
        char *real = realpath(path, NULL);

        if (real)
                add3(args, "--ro-bind", real, path);
        free(real);
}

static void add_private(struct local_args *args, const char *private, const char *name,
                        const char *target)
{
        scoped_text char *path = text_format("%s/%s", private, name);

        add3(args, "--bind", path, target);
}

static void add_file(struct local_args *args, const char *private, const char *name,
                     const char *target)
{
        scoped_text char *path = text_format("%s/%s", private, name);

        add3(args, "--ro-bind", path, target);
}

static void add_fd(struct local_args *args, const char *option, int fd)
{
        char number[12];

        if (fd < 0)
                return;
        snprintf(number, sizeof(number), "%d", fd);
        add2(args, option, number);
}

static void add_cgroup(struct local_args *args, const struct local *local, const char *name)
{
        static const char *const shown[] = {"memory", "pids"};

        if (local->cgroups.version == 2) {
                scoped_text char *path = cgroup_path(&local->cgroups, "", name);

                add3(args, "--ro-bind", path, "/sys/fs/cgroup");
                return;
        }
        for (size_t i = 0; local->cgroups.version == 1 && i < 2; i++) {
                scoped_text char *path = cgroup_path(&local->cgroups, shown[i], name);
                scoped_text char *target = text_format("/sys/fs/cgroup/%s", shown[i]);

                add3(args, "--ro-bind-try", path, target);
        }
}

static void add_namespaces(struct local_args *args, const struct local *local, bool network_none)
{
        if (!local->root) {
                local_args_add(args, "--unshare-user");
                local_args_add(args, "--disable-userns");
        }
        local_args_add(args, "--unshare-pid");
        local_args_add(args, "--unshare-ipc");
        local_args_add(args, "--unshare-uts");
        local_args_add(args, "--unshare-cgroup-try");
        if (network_none)
                local_args_add(args, "--unshare-net");
        add2(args, "--hostname", "argon");
        local_args_add(args, "--as-pid-1");
        local_args_add(args, "--new-session");
        add2(args, "--cap-drop", "ALL");
        if (local->root) { /* for setpriv, which then gives them up */
                add2(args, "--cap-add", "CAP_SETUID");
                add2(args, "--cap-add", "CAP_SETGID");
                add2(args, "--cap-add", "CAP_SETPCAP");
        }
}

static void add_environment(struct local_args *args)
{
        local_args_add(args, "--clearenv");
        add3(args, "--setenv", "PATH", PATH_DEFAULT);
        add3(args, "--setenv", "HOME", "/home/ci");
        add3(args, "--setenv", "USER", "ci");
        add3(args, "--setenv", "LOGNAME", "ci");
        add3(args, "--setenv", "LANG", "C.UTF-8");
        /* Debian's pip refuses to install beside its own packages; here it can only install into
         * the job's own HOME */
        add3(args, "--setenv", "PIP_BREAK_SYSTEM_PACKAGES", "1");
}

void local_args_sandbox(struct local_args *args, const struct local *local, const char *private,
                        const char *control, const char *workspace, const char *cgroup,
                        bool network_none, const struct local_fds *fds)
{
        local_args_add(args, local->bwrap);
        add_namespaces(args, local, network_none);
        add_environment(args);
        add2(args, "--size", ROOT_SIZE);
        add2(args, "--tmpfs", "/");
        for (size_t i = 0; i < sizeof(made_folders) / sizeof(made_folders[0]); i++)
                add2(args, "--dir", made_folders[i]);
        for (size_t i = 0; i < sizeof(top_folders) / sizeof(top_folders[0]); i++)
                add_top(args, top_folders[i]);
        for (size_t i = 0; i < sizeof(etc_entries) / sizeof(etc_entries[0]); i++)
                add_etc(args, etc_entries[i]);
        add_file(args, private, "passwd", "/etc/passwd");
        add_file(args, private, "group", "/etc/group");
        add2(args, "--proc", "/proc");
        add2(args, "--dev", "/dev");
        add2(args, "--size", SHM_SIZE);
        add2(args, "--tmpfs", "/dev/shm");
        add_private(args, private, "tmp", "/tmp");
        add_private(args, private, "vartmp", "/var/tmp");
        add_private(args, private, "home", "/home/ci");
        add_private(args, private, "run", "/run");
        add3(args, "--symlink", "/run", "/var/run");
        if (cgroup)
                add_cgroup(args, local, cgroup);
        if (workspace)
                add3(args, "--bind", workspace, "/workspace");
        if (control)
                add3(args, "--ro-bind", control, "/argon");
        add3(args, "--ro-bind", local->step, "/argon/argon-step");
        add2(args, "--chdir", workspace ? "/workspace" : "/");
        add2(args, "--remount-ro", "/");
        add_fd(args, "--info-fd", fds->info);
        add_fd(args, "--json-status-fd", fds->status);
        add_fd(args, "--block-fd", fds->block);
        add_fd(args, "--seccomp", fds->seccomp);
        local_args_add(args, "--");
}

void local_args_program(struct local_args *args, const struct local *local, int slot,
                        const char *argument)
{
        char option[32];

        if (local->root) {
                local_args_add(args, local->setpriv);
                snprintf(option, sizeof(option), "--reuid=%u", local_uid(local, slot));
                local_args_add(args, option);
                snprintf(option, sizeof(option), "--regid=%u", local_uid(local, slot));
                local_args_add(args, option);
                local_args_add(args, "--clear-groups");
                local_args_add(args, "--inh-caps=-all");
                local_args_add(args, "--ambient-caps=-all");
                local_args_add(args, "--bounding-set=-all");
                local_args_add(args, "--no-new-privs");
                local_args_add(args, "--");
        }
        local_args_add(args, "/argon/argon-step");
        if (argument)
                local_args_add(args, argument);
}
