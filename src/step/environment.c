#include "step/environment.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/str.h"
#include "step/passwd.h"
#include "wire/step_frame.h"

#include "base/banned.h"

#define PATH_DEFAULT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define INHERITED_MAX 4096

static char **find(const struct environment *environment, const char *name, size_t n)
{
        for (size_t i = 0; i < environment->n; i++) {
                if (!strncmp(environment->list[i], name, n) && environment->list[i][n] == '=')
                        return &environment->list[i];
        }
        return NULL;
}

static void set(struct environment *environment, const char *name, const char *value)
{
        char **old = find(environment, name, strlen(name));
        char *entry = text_format("%s=%s", name, value);

        if (old) {
                free(*old);
                *old = entry;
                return;
        }
        if (environment->n + 1 >= environment->cap) {
                environment->cap = environment->cap ? 2 * environment->cap : 64;
                environment->list =
                        xrealloc(environment->list, environment->cap * sizeof(*environment->list));
        }
        environment->list[environment->n++] = entry;
        environment->list[environment->n] = NULL;
}

static void set_list(struct environment *environment, const struct step_plan_env *env, size_t n)
{
        for (size_t i = 0; i < n; i++)
                set(environment, env[i].name, env[i].value);
}

static void set_default(struct environment *environment, const char *name, const char *value)
{
        if (!find(environment, name, strlen(name)))
                set(environment, name, value);
}

static bool is_folder(const char *path)
{
        struct stat st;

        return path[0] == '/' && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/*
 * The sandbox's HOME belongs to the user whom the sandbox was started for. A step that runs as
 * another one gets its own, or a folder that it can write to.
 */
static void set_user(struct environment *environment, const struct step_plan *plan)
{
        bool other = plan->uid != STEP_ID_KEEP && plan->uid != geteuid();
        struct passwd_entry entry;
        bool known = passwd_lookup(&entry, "/etc/passwd", other ? plan->uid : geteuid());

        if (other)
                set(environment, "HOME",
                    known && is_folder(entry.home) ? entry.home
                    : is_folder("/tmp")            ? "/tmp"
                                                   : plan->workspace);
        else
                set_default(environment, "HOME", known ? entry.home : "/");
        if (!known)
                return;
        if (other) {
                set(environment, "USER", entry.name);
                set(environment, "LOGNAME", entry.name);
        } else {
                set_default(environment, "USER", entry.name);
                set_default(environment, "LOGNAME", entry.name);
        }
}

static void inherit(struct environment *environment, char *const *inherited)
{
        for (size_t i = 0; inherited[i] && i < INHERITED_MAX; i++) {
                const char *equals = strchr(inherited[i], '=');
                scoped_str struct str name = STR_INIT;

                if (!equals || equals == inherited[i])
                        continue;
                str_add_bytes(&name, inherited[i], (size_t)(equals - inherited[i]));
                if (strcmp(name.data, "PWD") != 0 && strcmp(name.data, "OLDPWD") != 0)
                        set(environment, name.data, equals + 1);
        }
}

void environment_make(struct environment *ret, char *const *inherited, const struct step_plan *plan,
                      const struct step_plan_step *step, const char *folder)
{
        struct environment environment = {0};

        inherit(&environment, inherited);
        set_default(&environment, "PATH", PATH_DEFAULT);
        set_user(&environment, plan);
        set(&environment, "PWD", folder);
        set_list(&environment, plan->env, plan->n_env);
        set_list(&environment, step->env, step->n_env);
        set_list(&environment, plan->secrets, plan->n_secrets);
        *ret = environment;
}

void environment_done(struct environment *environment)
{
        for (size_t i = 0; i < environment->n; i++) {
                explicit_bzero(environment->list[i], strlen(environment->list[i]));
                free(environment->list[i]);
        }
        free(environment->list);
        *environment = (struct environment){0};
}

const char *environment_get(const struct environment *environment, const char *name)
{
        char **entry = find(environment, name, strlen(name));

        return entry ? *entry + strlen(name) + 1 : NULL;
}
