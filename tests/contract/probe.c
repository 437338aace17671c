/*
 * probe - runs inside a sandbox and tries what a job must not be able to do
 *
 * Prints "DONE what" for each attempt that was not refused, and "end". Static and without headers
 * of the kernel, so that it runs wherever a job does.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define NEW_CGROUP 0x02000000
#define AF_ALG_ 38
#define AF_VSOCK_ 40
#define CALL(...) syscall(__VA_ARGS__)

static void tell(const char *what, long result)
{
        if (result >= 0)
                printf("DONE %s\n", what);
}

/* What succeeds changes the process that tries it: each attempt has one of its own. */
static void in_child(const char *what, long (*attempt)(long), long argument)
{
        int status = 0;
        pid_t pid = fork();

        if (pid == 0)
                _exit(attempt(argument) >= 0 ? 1 : 0);
        if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
            WEXITSTATUS(status) == 1)
                printf("DONE %s\n", what);
}

static long try_unshare(long flags)
{
        return unshare((int)flags);
}

static long try_clone(long flags)
{
        long pid = CALL(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);

        if (pid == 0)
                _exit(0);
        return pid;
}

static long try_clone3(long flags)
{
        unsigned long long args[8] = {0};
        long pid;

        args[0] = (unsigned long long)flags;
        args[4] = SIGCHLD;
        pid = CALL(SYS_clone3, args, sizeof(args));
        if (pid == 0)
                _exit(0);
        return pid;
}

static void namespaces(void)
{
        static const struct {
                const char *name;
                long flag;
        } kinds[] = {{"user", CLONE_NEWUSER}, {"mount", CLONE_NEWNS}, {"network", CLONE_NEWNET},
                     {"pid", CLONE_NEWPID},   {"ipc", CLONE_NEWIPC},  {"uts", CLONE_NEWUTS},
                     {"cgroup", NEW_CGROUP}};
        char what[64];

        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
                snprintf(what, sizeof(what), "unshare %s namespace", kinds[i].name);
                in_child(what, try_unshare, kinds[i].flag);
                snprintf(what, sizeof(what), "clone %s namespace", kinds[i].name);
                in_child(what, try_clone, kinds[i].flag);
                snprintf(what, sizeof(what), "clone3 %s namespace", kinds[i].name);
                in_child(what, try_clone3, kinds[i].flag);
                snprintf(what, sizeof(what), "user and %s namespace", kinds[i].name);
                in_child(what, try_unshare, CLONE_NEWUSER | kinds[i].flag);
        }
}

static long try_setns(long number)
{
        static const char *const names[] = {"mnt", "net", "pid", "user", "uts", "ipc"};
        char path[64];
        int fd;

        snprintf(path, sizeof(path), "/proc/1/ns/%s", names[number]);
        fd = open(path, O_RDONLY);
        return fd < 0 ? -1 : CALL(SYS_setns, fd, 0);
}

static void mounts(void)
{
        mkdir("/tmp/probe-mount", 0755);
        tell("mount tmpfs", CALL(SYS_mount, "x", "/tmp/probe-mount", "tmpfs", 0, ""));
        tell("mount proc", CALL(SYS_mount, "x", "/tmp/probe-mount", "proc", 0, ""));
        tell("bind /", CALL(SYS_mount, "/", "/tmp/probe-mount", "", 4096, ""));
        tell("remount / writable", CALL(SYS_mount, "", "/", "", 32 | 4096, ""));
        tell("remount /usr writable", CALL(SYS_mount, "", "/usr", "", 32 | 4096, ""));
        tell("remount /argon writable", CALL(SYS_mount, "", "/argon", "", 32 | 4096, ""));
        tell("unmount /argon", CALL(SYS_umount2, "/argon", 2));
        tell("unmount /proc", CALL(SYS_umount2, "/proc", 2));
        tell("pivot_root", CALL(SYS_pivot_root, "/tmp", "/tmp"));
        tell("fsopen", CALL(SYS_fsopen, "tmpfs", 0));
        tell("open_tree", CALL(SYS_open_tree, AT_FDCWD, "/", 1));
        tell("chroot", chroot("/tmp"));
        rmdir("/tmp/probe-mount");
}

static void kernel(void)
{
        char attributes[128] = {0};
        struct timex clock = {.modes = ADJ_OFFSET};
        struct timeval now = {1, 0};

        attributes[4] = sizeof(attributes); /* of perf_event_attr: its size */
        tell("bpf", CALL(SYS_bpf, 5, attributes, sizeof(attributes)));
        tell("bpf map", CALL(SYS_bpf, 0, "\2\0\0\0\4\0\0\0\4\0\0\0\1\0\0", 16));
        tell("perf_event_open", CALL(SYS_perf_event_open, attributes, 0, -1, -1, 0));
        tell("keyctl", CALL(SYS_keyctl, 0, -3, 1));
        tell("add_key", CALL(SYS_add_key, "user", "probe", "x", 1, -3));
        tell("request_key", CALL(SYS_request_key, "user", "probe", NULL, -3));
        tell("userfaultfd", CALL(SYS_userfaultfd, 0));
        tell("io_uring_setup", CALL(SYS_io_uring_setup, 1, calloc(1, 512)));
        tell("kexec_load", CALL(SYS_kexec_load, 0, 0, NULL, 0));
        tell("init_module", CALL(SYS_init_module, "", 0, ""));
        tell("delete_module", CALL(SYS_delete_module, "none", 0));
        tell("syslog", CALL(SYS_syslog, 10, NULL, 0));
        tell("swapon", CALL(SYS_swapon, "/tmp/x", 0));
        tell("acct", CALL(SYS_acct, NULL));
        tell("settimeofday", settimeofday(&now, NULL));
        tell("adjtimex", adjtimex(&clock));
        tell("sethostname", sethostname("probe", 5));
        tell("reboot", CALL(SYS_reboot, 0xfee1dead, 672274793, 0, NULL)); /* CAD off: harmless */
        tell("quotactl", CALL(SYS_quotactl, 0x800001 << 8, "/dev/vda", 0, NULL));
        tell("fanotify_init", CALL(SYS_fanotify_init, 0, 0));
        tell("open_by_handle_at", CALL(SYS_open_by_handle_at, AT_FDCWD, attributes, 0));
#ifdef SYS_iopl
        tell("iopl", CALL(SYS_iopl, 3));
        tell("ioperm", CALL(SYS_ioperm, 0x80, 1, 1));
#endif
}

static void supervisor(void)
{
        char byte;
        struct iovec local = {&byte, 1};
        struct iovec remote = {(void *)0x400000, 1};
        static const char *const files[] = {"environ", "mem", "maps", "auxv", "stack", "syscall",
                                            "exe",     "cwd", "root", "fd/0", "fd/3",  "map_files"};
        long fd = CALL(SYS_pidfd_open, 1, 0);

        tell("ptrace 1", ptrace(PTRACE_ATTACH, 1, NULL, NULL));
        tell("read memory of 1", CALL(SYS_process_vm_readv, 1, &local, 1UL, &remote, 1UL, 0UL));
        tell("take a descriptor of 1", fd < 0 ? -1 : CALL(SYS_pidfd_getfd, fd, 0, 0));
        for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
                char path[64];
                char what[80];
                int file;

                snprintf(path, sizeof(path), "/proc/1/%s", files[i]);
                snprintf(what, sizeof(what), "open %s", path);
                file = open(path, O_RDONLY);
                tell(what, file < 0 ? -1 : read(file, &byte, 1));
        }
        /* accepted, but without effect on PID 1 of a namespace: it must still be there after this
         */
        kill(1, SIGKILL);
        kill(1, SIGSTOP);
        kill(1, SIGSEGV);
}

static void devices(void)
{
        static const char *const files[] = {"/dev/mem",
                                            "/dev/kmem",
                                            "/dev/port",
                                            "/dev/kmsg",
                                            "/dev/sda",
                                            "/dev/vda",
                                            "/dev/nvme0n1",
                                            "/dev/loop-control",
                                            "/dev/fuse",
                                            "/dev/net/tun",
                                            "/dev/kvm",
                                            "/dev/mapper/control",
                                            "/dev/uinput",
                                            "/dev/userfaultfd",
                                            "/proc/kcore",
                                            "/proc/kallsyms-none",
                                            "/proc/keys-none",
                                            "/sys/kernel/debug/x",
                                            "/var/run/docker.sock",
                                            "/run/docker.sock",
                                            "/run/containerd/containerd.sock"};

        for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
                int fd = open(files[i], O_RDONLY | O_NONBLOCK);
                char byte;

                if (fd >= 0 && read(fd, &byte, 1) >= 0)
                        printf("DONE open %s\n", files[i]);
                if (fd >= 0)
                        close(fd);
        }
        tell("mknod", mknod("/tmp/probe-node", S_IFBLK | 0600, makedev(254, 0)));
        unlink("/tmp/probe-node");
}

static void writes(void)
{
        static const char *const files[] = {"/proc/sys/kernel/core_pattern",
                                            "/proc/sys/kernel/modprobe",
                                            "/proc/sys/vm/overcommit_memory",
                                            "/proc/sys/net/ipv4/ip_forward",
                                            "/proc/sysrq-trigger",
                                            "/proc/1/oom_score_adj-none",
                                            "/sys/kernel/uevent_helper",
                                            "/sys/fs/cgroup/release_agent",
                                            "/sys/fs/cgroup/memory/release_agent",
                                            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                                            "/sys/fs/cgroup/memory.max",
                                            "/sys/fs/cgroup/pids/pids.max",
                                            "/argon/argon-step",
                                            "/etc/ld.so.preload-none"};

        for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
                int fd = open(files[i], O_WRONLY);

                if (fd >= 0)
                        printf("DONE open for writing %s\n", files[i]);
                if (fd >= 0)
                        close(fd);
        }
        tell("make a file beside the socket", open("/argon/probe", O_CREAT | O_WRONLY, 0600));
        tell("remove the socket", unlink("/argon/sock"));
        tell("replace argon-step", rename("/tmp/probe", "/argon/argon-step"));
}

static void sockets(void)
{
        tell("packet socket", socket(AF_PACKET, SOCK_RAW, 0));
        tell("raw socket", socket(AF_INET, SOCK_RAW, 1));
        tell("key socket", socket(AF_KEY, SOCK_RAW, 2));
        tell("socket of the kernel's ciphers", socket(AF_ALG_, SOCK_SEQPACKET, 0));
        tell("socket to the hypervisor", socket(AF_VSOCK_, SOCK_STREAM, 0));
}

int main(void)
{
        setvbuf(stdout, NULL, _IOLBF, 0);
        namespaces();
        for (long i = 0; i < 6; i++)
                in_child("setns", try_setns, i);
        mounts();
        kernel();
        supervisor();
        devices();
        writes();
        sockets();
        puts("end");
        return 0;
}
