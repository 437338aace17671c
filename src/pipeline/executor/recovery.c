#include "pipeline/executor/recovery.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/scoped.h"
#include "base/str.h"
#include "pipeline/executor/assignment.h"
#include "ports/engine.h"
#include "ports/store.h"

#include "base/banned.h"

struct recovery {
        const struct assignment_place *place;
        struct lease *leases;
        size_t n_leases;
        struct sandbox **sandboxes;
        size_t n_sandboxes;
        struct assignment **found;
        size_t n_found;
};

static void tell(enum log_severity severity, const char *job_id, const char *what, const char *why)
{
        struct log_context about = {.service = "executor", .job_id = job_id};

        log_event(severity, &about, "%s%s%s", what, why ? ": " : "", why ? why : "");
}

/* The sandbox of a lease, taken out of the list. Of two with the same attempt a running one is it;
 * the other one stays in the list and is removed. */
static struct sandbox *take_sandbox(struct recovery *recovery, const struct lease *lease)
{
        struct sandbox **best = NULL;

        for (size_t i = 0; i < recovery->n_sandboxes; i++) {
                struct sandbox **at = &recovery->sandboxes[i];

                if (*at && strcmp((*at)->job_id, lease->job_id) == 0 &&
                    (*at)->attempt == lease->attempt && strcmp((*at)->token, lease->token) == 0 &&
                    (!best || (*at)->running))
                        best = at;
        }
        return best ? take(*best) : NULL;
}

static int adopt(struct recovery *recovery, const struct lease *lease, struct error *err)
{
        const struct assignment_place *place = recovery->place;
        struct assignment *assignment;
        int result = assignment_new(&assignment, place->store, lease->job_id, lease->attempt,
                                    lease->token, err);

        if (result == -ERROR_UNAVAILABLE)
                return result;
        if (result < 0) {
                tell(LOG_WARNING, lease->job_id, "a lease without a usable order is given up",
                     err->text);
                assignment_drop(place, lease->job_id, lease->attempt, lease->token);
                return 0;
        }
        assignment->sandbox = take_sandbox(recovery, lease);
        assignment->slot = assignment->sandbox ? assignment->sandbox->slot : -1;
        recovery->found =
                xrealloc(recovery->found, (recovery->n_found + 1) * sizeof(struct assignment *));
        recovery->found[recovery->n_found++] = assignment;
        tell(LOG_INFO, lease->job_id,
             assignment->sandbox ? "job of the process before: going on with its sandbox"
                                 : "job of the process before: it has no sandbox yet",
             NULL);
        return 0;
}

static bool is_known(const struct recovery *recovery, const char *name)
{
        for (size_t i = 0; i < recovery->n_found; i++) {
                if (strcmp(recovery->found[i]->name, name) == 0)
                        return true;
        }
        return false;
}

/* Everything in the folder that belongs to no lease. */
static void sweep(const struct recovery *recovery, const char *folder)
{
        DIR *dir = folder ? opendir(folder) : NULL;
        struct dirent *entry;

        if (!dir)
                return;
        while ((entry = readdir(dir))) {
                scoped_text char *path = fs_path(folder, entry->d_name);
                struct error err;

                if (entry->d_name[0] == '.' || is_known(recovery, entry->d_name))
                        continue;
                if (fs_remove_tree(path, &err) < 0)
                        tell(LOG_ERROR, NULL, "leftovers of a job cannot be removed", err.text);
        }
        closedir(dir);
}

static void remove_strays(struct recovery *recovery)
{
        struct engine *engine = recovery->place->engine;

        for (size_t i = 0; i < recovery->n_sandboxes; i++) {
                struct sandbox *sandbox = recovery->sandboxes[i];
                struct error err;

                if (!sandbox)
                        continue;
                tell(LOG_INFO, sandbox->job_id, "a sandbox without a lease is removed", NULL);
                if (engine_remove(engine, sandbox, &err) < 0)
                        tell(LOG_ERROR, sandbox->job_id, "it cannot be removed", err.text);
        }
        sweep(recovery, recovery->place->work);
        sweep(recovery, recovery->place->control);
        sweep(recovery, recovery->place->spool);
        sweep(recovery, recovery->place->masks);
}

static void recovery_done(struct recovery *recovery)
{
        for (size_t i = 0; i < recovery->n_sandboxes; i++)
                engine_sandbox_free(recovery->place->engine, recovery->sandboxes[i]);
        free(recovery->sandboxes);
        free(recovery->leases);
}

static void forget_found(struct recovery *recovery)
{
        for (size_t i = 0; i < recovery->n_found; i++) {
                engine_sandbox_free(recovery->place->engine, recovery->found[i]->sandbox);
                assignment_free(recovery->found[i]);
        }
        free(recovery->found);
}

int recovery_run(struct assignment ***ret, size_t *ret_n, const struct assignment_place *place,
                 struct error *err)
{
        struct recovery recovery = {.place = place};
        int result = store_leases(place->store, &recovery.leases, &recovery.n_leases,
                                  place->executor, err);

        if (result < 0)
                return error_wrap(err, "read the leases of this executor");
        result = engine_find(place->engine, &recovery.sandboxes, &recovery.n_sandboxes, err);
        if (result < 0)
                error_wrap(err, "look for sandboxes of the process before");
        for (size_t i = 0; result == 0 && i < recovery.n_leases; i++)
                result = adopt(&recovery, &recovery.leases[i], err);
        if (result == 0) {
                remove_strays(&recovery);
                *ret = recovery.found;
                *ret_n = recovery.n_found;
        } else {
                forget_found(&recovery);
        }
        recovery_done(&recovery);
        return result;
}
