#pragma once
/*
 * git_command - runs the git program the way that foreign repositories deserve
 *
 * Argument array, never a shell; an environment of our own in which nothing of the machine's or the
 * user's configuration, hooks, templates, credential helpers or prompts exists; limits on time,
 * output and the size of a pack.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/process.h"

struct error;
struct forge_options;

#define GIT_ARGUMENTS_MAX 24

/**
 * struct git_command
 * @folder: the repository (-C), or NULL
 * @arguments: after the fixed ones; NULL-terminated, at most GIT_ARGUMENTS_MAX
 * @allow: protocols for this command, as GIT_ALLOW_PROTOCOL
 * @output_max: bytes of stdout
 */
struct git_command {
        const struct forge_options *options;
        const char *folder;
        const char *const *arguments;
        const char *allow;
        size_t output_max;
        void (*progress)(void *data, const char *line);
        void *data;
        int cancel_fd;
};

/**
 * git_run() - run it to its end
 *
 * Return: 0 when git said 0. Otherwise the kind that its words mean (not found, denied,
 * unavailable) with a sentence for people in which no credential stands.
 */
int git_run(struct process_result *ret, const struct git_command *command, struct error *err);
