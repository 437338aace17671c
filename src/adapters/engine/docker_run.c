/*
 * "The daemon does not answer" and "the job is dead" are different things: without live-restore a
 * job goes on while dockerd is being restarted, and is killed when it is back. So a broken wait is
 * -ERROR_UNAVAILABLE and never an end.
 */
#include "adapters/engine/docker_private.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/engine/disk_watch.h"
#include "adapters/engine/docker_api.h"
#include "adapters/engine/workspace.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/parse.h"
#include "base/str.h"

#include "base/banned.h"

#define REMOVE_TRIES 50
#define REMOVE_PAUSE_MS 100
#define DISK_MARK "disk-exceeded" /* in the control folder: survives a restart of ours */

int docker_inspect(struct docker *docker, json_t **ret, const char *id, struct error *err)
{
        scoped_text char *path = text_format("/containers/%s/json", id);

        return docker_get(docker->api, ret, path, err);
}

/* What the runtime refuses it will refuse again: wrong architecture, a broken image. */
static int judge_start(struct error *why, struct error *err)
{
        enum error_kind kind = why->kind;

        if (kind == ERROR_UNAVAILABLE &&
            (strstr(why->text, "OCI runtime") || strstr(why->text, "exec format error")))
                kind = ERROR_INVALID;
        return error_set(err, kind, "start the container: %s", why->text);
}

static const json_t *labels_of(const json_t *found)
{
        return json_object_get(json_object_get(found, "Config"), "Labels");
}

/*
 * With a read-only root there are volumes to unpack into, whose own mode docker leaves as it is
 * (0755 of root): argon-step, which begins as root there, opens the workspace to the steps' user.
 */
static int bring_in(struct docker *docker, const json_t *found, const char *id, struct error *err)
{
        bool volumes = json_bool_or(json_object_get(found, "HostConfig"), "ReadonlyRootfs", false);
        int result =
                docker_put(docker, id, volumes ? "/argon" : "/",
                           volumes ? "argon-step" : "argon/argon-step", docker->step, false, err);

        if (result < 0)
                return error_wrap(err, "bring in argon-step");
        result = docker_put(docker, id, volumes ? "/workspace" : "/", volumes ? "." : "workspace",
                            json_text_or(labels_of(found), "argon.workspace", ""), true, err);
        return result < 0 ? error_wrap(err, "bring in the workspace") : 0;
}

/*
 * An image may say that it runs as a user other than root, who must own what was checked out. Only
 * the image knows the number behind a name; everybody may write the workspace then.
 */
static int hand_over(const json_t *found, struct error *err)
{
        const char *user = json_text_or(json_object_get(found, "Config"), "User", "");
        const char *workspace = json_text_or(labels_of(found), "argon.workspace", "");
        const char *colon = strchr(user, ':');
        scoped_text char *name = text_format("%.*s", (int)strcspn(user, ":"), user);
        int64_t uid;
        int64_t gid;

        if (!*name || !strcmp(name, "root") || !strcmp(name, "0"))
                return 0;
        if (geteuid() != 0 || parse_int(&uid, name, 1, UINT32_MAX - 1, NULL) < 0)
                return workspace_open(workspace, err);
        if (!colon || parse_int(&gid, colon + 1, 0, UINT32_MAX - 1, NULL) < 0)
                gid = uid;
        return workspace_give(workspace, (uid_t)uid, (gid_t)gid, err);
}

static void watch(struct docker *docker, const struct sandbox *sandbox, const json_t *found);

int docker_start(struct engine *engine, struct sandbox *sandbox, struct error *err)
{
        struct docker *docker = (struct docker *)engine;
        scoped_text char *path = text_format("/containers/%s/start", sandbox->id);
        scoped(json) json_t *found = NULL;
        struct error why = {0};
        int result = docker_inspect(docker, &found, sandbox->id, err);

        if (result == 0)
                result = hand_over(found, err);
        if (result == 0 && docker->info.remote)
                result = bring_in(docker, found, sandbox->id, err);
        if (result < 0)
                return result;
        if (docker_post(docker->api, NULL, path, NULL, &why) < 0)
                return judge_start(&why, err);
        sandbox->running = true;
        watch(docker, sandbox, found);
        return 0;
}

int docker_peer(struct engine *engine, struct sandbox *sandbox, pid_t *ret, struct error *err)
{
        struct docker *docker = (struct docker *)engine;
        scoped(json) json_t *found = NULL;
        int result = docker_inspect(docker, &found, sandbox->id, err);
        int64_t pid;

        if (result < 0)
                return result;
        pid = json_int_or(json_object_get(found, "State"), "Pid", 0);
        if (pid <= 0)
                return error_set(err, ERROR_NOT_FOUND, "the container %.12s does not run",
                                 sandbox->id);
        *ret = (pid_t)pid;
        return 0;
}

/* Return: 1 when the container is at its end (*ret filled), 0 when it runs, -kind. */
static int look(struct docker *docker, const struct sandbox *sandbox, struct sandbox_end *ret,
                struct error *err)
{
        scoped_text char *mark = fs_path(sandbox->control, DISK_MARK);
        scoped(json) json_t *found = NULL;
        const json_t *state;
        struct sandbox_end end = {.exit_code = -1};
        int result = docker_inspect(docker, &found, sandbox->id, err);

        if (result == -ERROR_NOT_FOUND) {
                end.gone = true;
                *ret = end;
                return 1;
        }
        if (result < 0)
                return result;
        state = json_object_get(found, "State");
        if (json_bool_or(state, "Running", false) || json_bool_or(state, "Restarting", false))
                return 0;
        /* one that never began, as its executor died before, has no code */
        if (strcmp(json_text_or(state, "Status", ""), "created") != 0)
                end.exit_code = (int)json_int_or(state, "ExitCode", -1);
        end.oom = json_bool_or(state, "OOMKilled", false);
        end.disk = access(mark, F_OK) == 0;
        *ret = end;
        return 1;
}

int docker_wait(struct engine *engine, struct sandbox *sandbox, int64_t timeout_ms, int cancel_fd,
                struct sandbox_end *ret, struct error *err)
{
        struct docker *docker = (struct docker *)engine;
        scoped_text char *path =
                text_format("/containers/%s/wait?condition=not-running", sandbox->id);
        struct docker_request request = DOCKER_REQUEST_INIT;
        int64_t began = clock_ms();
        struct error why = {0};
        int result;

        if (timeout_ms == 0)
                return look(docker, sandbox, ret, err);
        request.method = "POST";
        request.path = path;
        request.timeout_ms = timeout_ms < 0 ? 0 : timeout_ms;
        request.cancel_fd = cancel_fd;
        request.once = true;
        result = docker_send(docker->api, NULL, &request, &why);
        if (result == -ERROR_UNAVAILABLE && timeout_ms > 0 && clock_ms() - began >= timeout_ms)
                return 0;
        if (result < 0 && result != -ERROR_NOT_FOUND)
                return error_set(err, why.kind, "wait for the container: %s", why.text);
        result = look(docker, sandbox, ret, err);
        if (result == 1) {
                disk_watch_remove(docker->watch, sandbox->id);
                sandbox->running = false;
        }
        return result;
}

static int kill_container(struct docker *docker, const char *id, struct error *err)
{
        scoped_text char *path = text_format("/containers/%s/kill?signal=KILL", id);
        struct error why = {0};
        int result = docker_post(docker->api, NULL, path, NULL, &why);

        /* gone, or not running (any more) */
        if (result == 0 || result == -ERROR_NOT_FOUND || result == -ERROR_CONFLICT)
                return 0;
        return error_set(err, why.kind, "end the container: %s", why.text);
}

int docker_kill(struct engine *engine, struct sandbox *sandbox, struct error *err)
{
        return kill_container((struct docker *)engine, sandbox->id, err);
}

int docker_remove_container(struct docker *docker, const char *id, struct error *err)
{
        scoped_text char *path = text_format("/containers/%s?force=1&v=1", id);

        for (int i = 0;; i++) {
                struct error why = {0};
                int result = docker_delete(docker->api, path, &why);

                if (result == 0 || result == -ERROR_NOT_FOUND)
                        return 0;
                /* a removal that goes on already, or a mount that is still busy */
                if (i >= REMOVE_TRIES || (result != -ERROR_CONFLICT && !strstr(why.text, "busy")))
                        return error_set(err, why.kind, "remove the container %.12s: %s", id,
                                         why.text);
                poll(NULL, 0, REMOVE_PAUSE_MS);
        }
}

int docker_remove(struct engine *engine, struct sandbox *sandbox, struct error *err)
{
        struct docker *docker = (struct docker *)engine;

        disk_watch_remove(docker->watch, sandbox->id);
        return docker_remove_container(docker, sandbox->id, err);
}

/* Where the writable layer lies on this machine, if it can be read here; else NULL. */
static char *layer_of(const struct docker *docker, const json_t *found)
{
        const json_t *driver = json_object_get(found, "GraphDriver");
        const char *path = json_text_or(json_object_get(driver, "Data"), "UpperDir", "");

        if (docker->info.remote || strcmp(json_text_or(driver, "Name", ""), "overlay2") != 0 ||
            path[0] != '/' || access(path, R_OK | X_OK) < 0)
                return NULL;
        return text_copy(path);
}

static void watch(struct docker *docker, const struct sandbox *sandbox, const json_t *found)
{
        const json_t *labels = labels_of(found);
        scoped_text char *layer = layer_of(docker, found);
        int64_t limit;

        if (parse_int(&limit, json_text_or(labels, "argon.disk", "0"), 1, INT64_MAX, NULL) < 0)
                return;
        disk_watch_add(docker->watch, sandbox->id, limit,
                       docker->info.remote ? NULL : json_text_or(labels, "argon.workspace", NULL),
                       layer, sandbox->control);
}

void docker_watch(struct docker *docker, const struct sandbox *sandbox)
{
        scoped(json) json_t *found = NULL;

        if (docker_inspect(docker, &found, sandbox->id, NULL) == 0)
                watch(docker, sandbox, found);
}

/* The daemon counts the writable layer where we cannot. */
static int64_t layer_size(void *data, const char *id)
{
        struct docker *docker = data;
        scoped_text char *path = text_format("/containers/%s/json?size=1", id);
        scoped(json) json_t *found = NULL;

        if (docker_get(docker->api, &found, path, NULL) < 0)
                return 0;
        return json_int_or(found, "SizeRw", 0);
}

static void end_for_disk(void *data, const char *id, const char *control)
{
        struct docker *docker = data;
        scoped_text char *mark = fs_path(control, DISK_MARK);
        scoped_fd int fd = open(mark, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0444);

        /* the mark only explains the end; a full disk may well refuse it */
        (void)fd;
        kill_container(docker, id, NULL);
}

static const struct disk_watch_ops watch_ops = {
        .extra = layer_size,
        .exceeded = end_for_disk,
};

int docker_watch_new(struct docker *docker, struct error *err)
{
        return disk_watch_new(&docker->watch, &watch_ops, docker, err);
}
