/*
 * A classic BPF program over struct seccomp_data: a foreign architecture is killed, the listed
 * calls get EPERM, clone() and unshare() are looked at more closely because they are also how
 * threads are made. clone3() hides its flags from a filter, so it does not exist (ENOSYS): libc
 * then uses clone().
 */
#include "adapters/engine/local_seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fs.h"
#include "base/scoped.h"

#include "base/banned.h"

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#define X32_BIT 0x40000000U
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#define NAMESPACES                                                                     \
        (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | \
         CLONE_NEWPID | CLONE_NEWNET)
#define PROGRAM_MAX 160
#define FAMILIES 4
#define REFUSE (SECCOMP_RET_ERRNO | EPERM)
#define ABSENT (SECCOMP_RET_ERRNO | ENOSYS)

static const uint32_t refused[] = {
        __NR_acct,
        __NR_add_key,
        __NR_adjtimex,
        __NR_bpf,
        __NR_clock_adjtime,
        __NR_clock_settime,
        __NR_delete_module,
        __NR_fanotify_init,
        __NR_finit_module,
        __NR_fsconfig,
        __NR_fsmount,
        __NR_fsopen,
        __NR_fspick,
        __NR_init_module,
        __NR_io_uring_enter,
        __NR_io_uring_register,
        __NR_io_uring_setup,
        __NR_kexec_file_load,
        __NR_kexec_load,
        __NR_keyctl,
        __NR_lookup_dcookie,
        __NR_mount,
        __NR_mount_setattr,
        __NR_move_mount,
        __NR_move_pages,
        __NR_name_to_handle_at,
        __NR_nfsservctl,
        __NR_open_by_handle_at,
        __NR_open_tree,
        __NR_perf_event_open,
        __NR_pivot_root,
        __NR_process_vm_readv,
        __NR_process_vm_writev,
        __NR_quotactl,
        __NR_reboot,
        __NR_request_key,
        __NR_setdomainname,
        __NR_sethostname,
        __NR_setns,
        __NR_settimeofday,
        __NR_swapoff,
        __NR_swapon,
        __NR_syslog,
        __NR_umount2,
        __NR_userfaultfd,
        __NR_vhangup,
#if defined(__x86_64__)
        __NR_ioperm,
        __NR_iopl,
        __NR_uselib,
        __NR_ustat,
        __NR__sysctl,
#endif
};

struct program {
        struct sock_filter code[PROGRAM_MAX];
        unsigned n;
};

static void add(struct program *program, uint16_t code, uint32_t k, uint8_t jt, uint8_t jf)
{
        program->code[program->n++] = (struct sock_filter){code, jt, jf, k};
}

static void load(struct program *program, size_t offset)
{
        add(program, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void answer(struct program *program, uint32_t what)
{
        add(program, BPF_RET | BPF_K, what, 0, 0);
}

/* When the number in the accumulator is this one, give that answer. */
static void on_call(struct program *program, uint32_t number, uint32_t what)
{
        add(program, BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1);
        answer(program, what);
}

/* Refuse the call when its first argument asks for a namespace. */
static void on_namespaces(struct program *program, uint32_t number)
{
        add(program, BPF_JMP | BPF_JEQ | BPF_K, number, 0, 4);
        load(program, offsetof(struct seccomp_data, args[0]));
        add(program, BPF_JMP | BPF_JSET | BPF_K, NAMESPACES, 0, 1);
        answer(program, REFUSE);
        answer(program, SECCOMP_RET_ALLOW);
}

/* Sockets of the families that programs need; the others are drivers that few have looked at. */
static void on_socket(struct program *program)
{
        static const uint32_t families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};

        add(program, BPF_JMP | BPF_JEQ | BPF_K, __NR_socket, 0, 2 * FAMILIES + 2);
        load(program, offsetof(struct seccomp_data, args[0]));
        for (size_t i = 0; i < FAMILIES; i++)
                on_call(program, families[i], SECCOMP_RET_ALLOW);
        answer(program, SECCOMP_RET_ERRNO | EAFNOSUPPORT);
}

static void make_program(struct program *program)
{
        load(program, offsetof(struct seccomp_data, arch));
        add(program, BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
        answer(program, SECCOMP_RET_KILL_PROCESS);
        load(program, offsetof(struct seccomp_data, nr));
#ifdef X32_BIT
        add(program, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
        answer(program, ABSENT);
#endif
        for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
                on_call(program, refused[i], REFUSE);
        on_call(program, __NR_clone3, ABSENT);
        on_socket(program);
        on_namespaces(program, __NR_clone);
        on_namespaces(program, __NR_unshare);
        answer(program, SECCOMP_RET_ALLOW);
}

_Static_assert(2 * (sizeof(refused) / sizeof(refused[0])) + 40 <= PROGRAM_MAX,
               "the program has room for every call");

int local_seccomp_open(int *ret_fd, struct error *err)
{
        scoped_fd int fd = memfd_create("seccomp", MFD_CLOEXEC);
        struct program program = {0};

        make_program(&program);
        if (fd < 0)
                return error_set_errno(err, "make the filter of system calls");
        if (fs_write_all(fd, program.code, program.n * sizeof(program.code[0]), err) < 0)
                return -ERROR_UNAVAILABLE;
        if (lseek(fd, 0, SEEK_SET) < 0)
                return error_set_errno(err, "make the filter of system calls");
        *ret_fd = take_fd(&fd);
        return 0;
}
