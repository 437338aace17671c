#pragma once
/*
 * step_talk - a plain executor's end of the line to argon-step, for tests of the engines: one
 * connection, one plan of one step, everything gathered
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/str.h"
#include "wire/step_frame.h"

struct error;

/** struct talk - @output: stdout and stderr in the order they came; @pid: of the peer */
struct talk {
        struct str output;
        enum step_job_result result;
        enum step_cause cause;
        int exit_code;
        int signal;
        char text[STEP_SENTENCE_MAX];
        pid_t pid;
        bool ended;
};

/** talk_listen() - a socket at FOLDER/sock to which everybody may connect; Return: it, or -kind */
int talk_listen(const char *folder, struct error *err);
/** talk_accept() - the first who connects; Return: a descriptor, or -kind */
int talk_accept(int listener, int64_t timeout_ms, struct error *err);
/** talk_begin() - hand over the plan: one step of sh; @own_users: argon-step changes to users of
 *  its own and the step's */
int talk_begin(int fd, const char *script, bool own_users, bool strict, struct error *err);
/** talk_resume() - over a line that another one had before, from the beginning of the stream */
int talk_resume(int fd, struct error *err);
/** talk_run() - read until the job's end, or until the connection breaks (ended is then false) */
int talk_run(struct talk *talk, int fd, int64_t timeout_ms, struct error *err);
void talk_done(struct talk *talk);
