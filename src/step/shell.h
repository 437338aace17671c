#pragma once
/*
 * shell - from a step's `shell` and script to the programs that may run it
 *
 * sh, bash and python get the script as an argument (`-c`): nothing has to be written anywhere, the
 * shell's messages read well ("sh: 1: foo: not found"), and python finds the workspace's modules.
 * What an argument cannot hold (the kernel allows 128 KiB), and every command with {0}, gets a
 * file: in the first of /tmp, /var/tmp and /dev/shm that takes one, because many interpreters want
 * a real path; else, in a read-only sandbox, one in memory that is named /proc/self/fd/N. Never in
 * the workspace, which belongs to the repository.
 */
#include <stddef.h>

struct error;
struct step_plan_step;

#define SHELL_WORDS_MAX 64
#define SHELL_CHOICES_MAX 2

/**
 * struct shell - @argv: alternatives, tried in this order until one exists; NULL-terminated
 * @file: to unlink at the step's end, or NULL; @memory: descriptor to leave open for the step, or
 * -1
 */
struct shell {
        char *argv[SHELL_CHOICES_MAX][SHELL_WORDS_MAX + 2];
        size_t choices;
        char *file;
        int memory;
};

/** shell_prepare() - Return: 0; -ERROR_INVALID when the command is unusable (no {0}, open quote) */
int shell_prepare(struct shell *ret, const struct step_plan_step *step, struct error *err);
void shell_done(struct shell *shell);
