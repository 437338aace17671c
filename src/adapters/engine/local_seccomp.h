#pragma once
/*
 * local_seccomp - the system calls that a job of the local engine has no business with
 *
 * Refused with EPERM: namespaces, mounts, modules, kernel keys, BPF, perf, io_uring, clocks and the
 * like: what reaches deep into the kernel and what Docker's own filter refuses too.
 */
struct error;

/** local_seccomp_open() - the filter as bwrap takes it: *ret_fd is a file that is read from its
 *  start; the caller closes */
int local_seccomp_open(int *ret_fd, struct error *err);
