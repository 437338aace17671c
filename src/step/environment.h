#pragma once
/*
 * environment - the variables of a step
 *
 * The sandbox's own (the image's), then the job's, the step's, the secrets; the later one of a name
 * wins. PATH, HOME, USER, LOGNAME and PWD are added as a login would. Nothing of ours is in it.
 */
#include <stddef.h>

struct step_plan;
struct step_plan_step;

/** struct environment - @list: NULL-terminated "NAME=value"; the strings that we made are owned */
struct environment {
        char **list;
        size_t n;
        size_t cap;
};

void environment_make(struct environment *ret, char *const *inherited, const struct step_plan *plan,
                      const struct step_plan_step *step, const char *folder);
void environment_done(struct environment *environment);
/** environment_get() - the value of a name, or NULL */
const char *environment_get(const struct environment *environment, const char *name);
