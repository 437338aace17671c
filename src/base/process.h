#pragma once
/*
 * process - run another program: argument array, never a shell
 *
 * The child gets exactly the environment that is given (nothing is inherited), no descriptor but
 * 0, 1 and 2, default signals, and a process group of its own. When the time is over or the caller
 * cancels, the whole group is ended: SIGTERM, 2 s, SIGKILL.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/str.h"

struct error;

/**
 * struct process_spec - what to run; texts are borrowed for the call
 * @argv: NULL-terminated; argv[0] is looked up in PATH of this process
 * @env: NULL-terminated "K=V" array; NULL: only PATH is handed on
 * @folder: working directory or NULL
 * @input: bytes for its standard input, or NULL: /dev/null
 * @timeout_ms: 0: no limit
 * @output_max, @error_max: bytes kept of stdout and stderr. More stdout is -ERROR_LIMIT (and the
 *         end of the child), more stderr is dropped in the middle
 * @file_max: bytes that a file written by it may reach (RLIMIT_FSIZE, set right after it started);
 *         0: no limit
 * @on_line: called for each line of stderr as it comes (progress), or NULL
 * @cancel_fd: readable means: stop; -1: cannot be cancelled
 */
struct process_spec {
        const char *const *argv;
        const char *const *env;
        const char *folder;
        const void *input;
        size_t input_len;
        int64_t timeout_ms;
        size_t output_max;
        size_t error_max;
        int64_t file_max;
        void (*on_line)(void *data, const char *line);
        void *data;
        int cancel_fd;
};

/**
 * struct process_result - how it ended; init with PROCESS_RESULT_INIT, free with
 * process_result_done
 * @exit_code: of the program, or -1 when a signal ended it
 */
struct process_result {
        int exit_code;
        int signal;
        struct str output;
        struct str errors;
};

#define PROCESS_RESULT_INIT               \
        {                                 \
                -1, 0, STR_INIT, STR_INIT \
        }
void process_result_done(struct process_result *result);
#define scoped_process_result __attribute__((__cleanup__(process_result_done)))

/**
 * process_run() - start it, feed it, wait for it
 *
 * Return: 0 when the program ran to its end, whatever its exit code; -ERROR_NOT_FOUND when it does
 * not exist, -ERROR_LIMIT for too much output or time, -ERROR_CANCELLED.
 */
int process_run(struct process_result *ret, const struct process_spec *spec, struct error *err);
