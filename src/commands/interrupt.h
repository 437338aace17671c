#pragma once
/*
 * interrupt - Ctrl-C and SIGTERM as a descriptor, for commands that wait
 */
#include <stdbool.h>

struct error;

/** interrupt_open() - block SIGINT and SIGTERM; *ret_fd is readable once one came */
int interrupt_open(int *ret_fd, struct error *err);
/** interrupt_exit_code() - EXIT_INTERRUPTED or EXIT_TERMINATED when one came, else 0 */
int interrupt_exit_code(int fd);
