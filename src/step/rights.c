/*
 * Capabilities by hand: the C library for static programs has no kernel headers, and libcap would
 * be larger than the program.
 *
 * Strict: an empty permitted set alone would not last, because exec by uid 0 fills it again from
 * the bounding set; with no_new_privs the kernel cuts the new set down to the old one. So the pair
 * holds for every uid and needs no capability to set up.
 */
#include "step/rights.h"

#include <errno.h>
#include <grp.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "wire/step_frame.h"

#include "base/banned.h"

#define CAP_KILL_ 5
#define CAP_SETGID_ 6
#define CAP_SETUID_ 7
#define CAP_COUNT 64
#define CAP_VERSION_3 0x20080522U

/* Of seccomp and its classic BPF; numbers of system calls this new are the same everywhere. */
#define SECCOMP_FILTER 2
#define SECCOMP_ALLOW 0x7fff0000U
#define SECCOMP_EPERM (0x00050000U | EPERM)
#define BPF_LOAD_WORD 0x20
#define BPF_IF_AT_LEAST 0x35
#define BPF_IF_ABOVE 0x25
#define BPF_RETURN 0x06
#define BPF_IF_EQUAL 0x15
#define IO_URING_FIRST 425
#define IO_URING_LAST 427
#define FIRST_ARGUMENT 16    /* of the call, in what the filter sees */
#define FAMILY_CIPHERS 38    /* AF_ALG */
#define FAMILY_HYPERVISOR 40 /* AF_VSOCK */

struct bpf_step {
        uint16_t code;
        uint8_t yes;
        uint8_t no;
        uint32_t value;
};

struct bpf_program {
        unsigned short length;
        const struct bpf_step *steps;
};

struct cap_header {
        uint32_t version;
        int pid;
};

struct cap_words {
        uint32_t effective;
        uint32_t permitted;
        uint32_t inheritable;
};

static int read_caps(struct cap_words words[2], struct error *err)
{
        struct cap_header header = {.version = CAP_VERSION_3};

        if (syscall(SYS_capget, &header, words) < 0)
                return error_set_errno(err, "read the capabilities");
        return 0;
}

static int keep_caps(uint32_t mask, struct error *err)
{
        struct cap_header header = {.version = CAP_VERSION_3};
        struct cap_words words[2] = {0};

        if (read_caps(words, err) < 0)
                return -ERROR_DENIED;
        words[0].permitted &= mask;
        words[0].effective = words[0].permitted;
        words[0].inheritable = 0;
        words[1] = (struct cap_words){0};
        if (syscall(SYS_capset, &header, words) < 0)
                return error_set_errno(err, "give up capabilities");
        return 0;
}

static int change_ids(uint32_t uid, uint32_t gid, struct error *err)
{
        if (setgroups(0, NULL) < 0)
                return error_set_errno(err, "leave the supplementary groups");
        if (setresgid(gid, gid, gid) < 0)
                return error_set_errno(err, "change to group %u", gid);
        if (setresuid(uid, uid, uid) < 0)
                return error_set_errno(err, "change to user %u", uid);
        return 0;
}

int rights_supervisor(const struct step_plan *plan, struct error *err)
{
        uint32_t uid = plan->supervisor_uid;
        uint32_t mask = 1U << CAP_KILL_ | 1U << CAP_SETGID_ | 1U << CAP_SETUID_;

        if (uid == STEP_ID_KEEP || uid == geteuid())
                return 0;
        if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
                return error_set_errno(err, "keep capabilities");
        if (change_ids(uid, uid, err) < 0 || keep_caps(mask, err) < 0)
                return error_wrap(err, "the supervisor's own user");
        /* Changing the uid made us readable to that uid again. */
        if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
                return error_set_errno(err, "protect the supervisor's memory");
        return 0;
}

/*
 * What Docker's own filter leaves open up to versions 22 to 24: io_uring, which has been the way
 * out of more than one sandbox, and sockets to the hypervisor.
 */
static int close_calls(struct error *err)
{
        static const struct bpf_step steps[] = {
                {BPF_LOAD_WORD, 0, 0, 0}, /* the number of the call */
                {BPF_IF_EQUAL, 0, 3, SYS_socket},
                {BPF_LOAD_WORD, 0, 0, FIRST_ARGUMENT},
                {BPF_IF_EQUAL, 3, 0, FAMILY_CIPHERS},
                {BPF_IF_EQUAL, 2, 3, FAMILY_HYPERVISOR},
                {BPF_IF_AT_LEAST, 0, 2, IO_URING_FIRST},
                {BPF_IF_ABOVE, 1, 0, IO_URING_LAST},
                {BPF_RETURN, 0, 0, SECCOMP_EPERM},
                {BPF_RETURN, 0, 0, SECCOMP_ALLOW},
        };
        struct bpf_program program = {sizeof(steps) / sizeof(steps[0]), steps};

        if (prctl(PR_SET_SECCOMP, SECCOMP_FILTER, &program, 0, 0) < 0)
                return error_set_errno(err, "close system calls to the step");
        return 0;
}

static int give_up_all(struct error *err)
{
        struct cap_words words[2] = {0};

        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return error_set_errno(err, "set no_new_privs");
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        /* Only with SETPCAP; without it the set stays, out of reach. */
        for (int cap = 0; cap < CAP_COUNT; cap++)
                prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
        if (keep_caps(0, err) < 0 || read_caps(words, err) < 0)
                return -ERROR_DENIED;
        if (words[0].permitted || words[1].permitted || words[0].inheritable ||
            words[1].inheritable)
                return error_set(err, ERROR_DENIED, "capabilities are left");
        return close_calls(err);
}

int rights_step(const struct step_plan *plan, struct error *err)
{
        bool change = plan->uid != STEP_ID_KEEP;
        uint32_t gid = plan->gid != STEP_ID_KEEP ? plan->gid : plan->uid;

        if (change && plan->uid == geteuid() && gid == getegid() && getgroups(0, NULL) == 0)
                change = false;
        if (change && change_ids(plan->uid, gid, err) < 0)
                return -ERROR_DENIED;
        return plan->strict ? give_up_all(err) : 0;
}
