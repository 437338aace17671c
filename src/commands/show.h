#pragma once
/*
 * show - builds, jobs and steps as the command line shows them
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

struct invocation;
struct str;

/** show_exit_code() - of a build's end state, as `argon help exit-codes` tells it; EXIT_GREEN while
 *  it has not ended */
int show_exit_code(const char *state);
bool show_ended(const char *state);
/** show_state() - append a symbol in the state's colour, or a word of four letters */
void show_state(const struct invocation *invocation, const char *state, struct str *ret);
/** show_age() - append "3 min ago", or RFC 3339 where standard output is no terminal */
void show_age(const struct invocation *invocation, const json_t *object, const char *key,
              struct str *ret);
/** show_safe() - append the first line of a text, its control characters as spaces, cut to width
 *  characters (0: not cut) */
void show_safe(struct str *ret, const char *text, size_t width);
/** show_build_head() - one line: state, repository, number, branch, commit, duration, message */
void show_build_head(const struct invocation *invocation, const json_t *build, struct str *ret);
/** show_tree() - the head, then a line per job with its running or failing step; @steps: all steps
 */
void show_tree(const struct invocation *invocation, const json_t *build, bool steps,
               struct str *ret);
/** show_duration() - append how long a build, job or step has taken until now */
void show_duration(const json_t *object, struct str *ret);
