/*
 * A container's name is made of job, attempt and token, so that a request that was repeated, or
 * sent again by an executor that died after it, finds what it made the first time. Everything that
 * a restarted executor needs stands in its labels.
 */
#include "adapters/engine/docker_private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/engine/docker_api.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/parse.h"
#include "base/str.h"

#include "base/banned.h"

#define NAME_TOKEN 12 /* bytes of the token in the name */
#define SHM_SIZE_MAX (INT64_C(1) << 30)
#define SHM_DEFAULT (INT64_C(64) << 20)
#define TMP_SIZE_MAX (INT64_C(512) << 20)
#define STRICT_NOFILE 4096

/* What Docker gives is 14; these are the ones without which package managers, su and tar break. */
static const char *const default_caps[] = {"CHOWN",  "DAC_OVERRIDE", "FOWNER", "FSETID",
                                           "SETUID", "SETGID",       "KILL"};
/* For argon-step alone, to become its own user and to start steps as another. */
static const char *const strict_caps[] = {"SETUID", "SETGID", "KILL"};

static json_t *text_array(const char *const *texts, size_t n)
{
        json_t *array = json_array();

        for (size_t i = 0; i < n; i++)
                json_array_append_new(array, json_string(texts[i]));
        return array;
}

static void add_mount(json_t *mounts, const char *source, const char *target, bool read_only)
{
        json_array_append_new(mounts, json_pack("{s:s, s:s, s:s, s:b}", "Type", "bind", "Source",
                                                source, "Target", target, "ReadOnly", read_only));
}

/*
 * Local: three binds. Elsewhere: archives into the container, for which the strict profile, whose
 * root is read-only, needs volumes.
 */
static json_t *mounts_of(const struct docker *docker, const struct sandbox_spec *spec)
{
        json_t *mounts = json_array();

        if (!docker->info.remote) {
                add_mount(mounts, spec->control, "/argon", true);
                add_mount(mounts, docker->step, "/argon/argon-step", true);
                add_mount(mounts, spec->workspace, "/workspace", false);
        } else if (spec->strict) {
                json_array_append_new(
                        mounts, json_pack("{s:s, s:s}", "Type", "volume", "Target", "/argon"));
                json_array_append_new(
                        mounts, json_pack("{s:s, s:s}", "Type", "volume", "Target", "/workspace"));
        }
        return mounts;
}

static void set_limits(const struct docker *docker, json_t *host, const struct sandbox_spec *spec)
{
        int64_t cpus_max = (int64_t)docker->info.cpus * 1000;
        int64_t cpus = spec->millicpus > cpus_max ? cpus_max : spec->millicpus;
        int64_t shm = spec->memory > 0 ? spec->memory / 2 : SHM_DEFAULT;

        if (spec->memory > 0 && (docker->info.limits & ENGINE_LIMIT_MEMORY)) {
                json_set_int(host, "Memory", spec->memory);
                if (docker->swap_limit)
                        json_set_int(host, "MemorySwap", spec->memory);
        }
        if (cpus > 0 && (docker->info.limits & ENGINE_LIMIT_CPUS))
                json_set_int(host, "NanoCpus", cpus * 1000000);
        if (spec->pids > 0 && (docker->info.limits & ENGINE_LIMIT_PIDS))
                json_set_int(host, "PidsLimit", spec->pids);
        if (spec->disk > 0 && docker->quota)
                json_object_set_new(
                        host, "StorageOpt",
                        json_pack("{s:o}", "size", json_sprintf("%" PRId64, spec->disk)));
        json_set_int(host, "ShmSize", shm > SHM_SIZE_MAX ? SHM_SIZE_MAX : shm);
}

static void set_strict(json_t *body, json_t *host, const struct sandbox_spec *spec)
{
        int64_t tmp = spec->memory > 0 && spec->memory / 2 < TMP_SIZE_MAX ? spec->memory / 2
                                                                          : TMP_SIZE_MAX;

        json_set_text(body, "User", "0:0"); /* of argon-step, which gives it up */
        json_set_bool(host, "ReadonlyRootfs", true);
        json_object_set_new(host, "SecurityOpt", json_pack("[s]", "no-new-privileges"));
        json_object_set_new(
                host, "Tmpfs",
                json_pack("{s:o}", "/tmp",
                          json_sprintf("rw,nosuid,nodev,mode=1777,size=%" PRId64, tmp)));
        json_object_set_new(host, "Ulimits",
                            json_pack("[{s:s,s:i,s:i},{s:s,s:i,s:i}]", "Name", "nofile", "Soft",
                                      STRICT_NOFILE, "Hard", STRICT_NOFILE, "Name", "core", "Soft",
                                      0, "Hard", 0));
}

static json_t *host_config(const struct docker *docker, json_t *body,
                           const struct sandbox_spec *spec, const char *network)
{
        json_t *host = json_object();

        json_object_set_new(host, "Mounts", mounts_of(docker, spec));
        json_set_text(host, "NetworkMode", network);
        json_object_set_new(host, "LogConfig", json_pack("{s:s}", "Type", "none"));
        json_object_set_new(host, "RestartPolicy", json_pack("{s:s}", "Name", "no"));
        json_set_bool(host, "Init", false);
        json_set_text(host, "IpcMode", "private");
        json_object_set_new(host, "CapDrop", json_pack("[s]", "ALL"));
        set_limits(docker, host, spec);
        if (spec->strict) {
                json_object_set_new(
                        host, "CapAdd",
                        text_array(strict_caps, sizeof(strict_caps) / sizeof(strict_caps[0])));
                set_strict(body, host, spec);
        } else {
                json_object_set_new(
                        host, "CapAdd",
                        text_array(default_caps, sizeof(default_caps) / sizeof(default_caps[0])));
        }
        return host;
}

static json_t *labels_of(const struct docker *docker, const struct sandbox_spec *spec)
{
        json_t *labels = json_object();

        docker_label(docker, labels);
        json_set_text(labels, "argon.build", spec->build_id);
        json_set_text(labels, "argon.job", spec->job_id);
        json_object_set_new(labels, "argon.attempt", json_sprintf("%d", spec->attempt));
        json_set_text(labels, "argon.token", spec->token);
        json_set_text(labels, "argon.control", spec->control);
        json_set_text(labels, "argon.workspace", spec->workspace);
        json_object_set_new(labels, "argon.slot", json_sprintf("%d", spec->slot));
        json_object_set_new(labels, "argon.disk", json_sprintf("%" PRId64, spec->disk));
        return labels;
}

static json_t *create_body(const struct docker *docker, const struct sandbox_spec *spec,
                           const char *image, const char *network)
{
        json_t *body = json_object();

        json_set_text(body, "Image", image);
        json_object_set_new(body, "Entrypoint",
                            docker->info.remote
                                    ? json_pack("[s, s]", "/argon/argon-step", "--stdio")
                                    : json_pack("[s]", "/argon/argon-step"));
        json_set_text(body, "WorkingDir", "/workspace");
        json_set_bool(body, "Tty", false);
        json_set_bool(body, "OpenStdin", docker->info.remote);
        json_set_bool(body, "StdinOnce", false);
        json_object_set_new(body, "Healthcheck", json_pack("{s:[s]}", "Test", "NONE"));
        json_object_set_new(body, "Labels", labels_of(docker, spec));
        json_object_set_new(body, "HostConfig", host_config(docker, body, spec, network));
        return body;
}

static int64_t number_label(const json_t *labels, const char *key)
{
        int64_t value;

        if (parse_int(&value, json_text_or(labels, key, "0"), 0, INT64_MAX, NULL) < 0)
                return 0;
        return value;
}

static struct sandbox *sandbox_new(const char *id, const json_t *labels, bool running)
{
        struct sandbox *sandbox = xcalloc(1, sizeof(*sandbox));

        sandbox->id = text_copy(id);
        sandbox->job_id = text_copy(json_text_or(labels, "argon.job", ""));
        sandbox->attempt = (int)number_label(labels, "argon.attempt");
        sandbox->token = text_copy(json_text_or(labels, "argon.token", ""));
        sandbox->control = text_copy(json_text_or(labels, "argon.control", ""));
        sandbox->slot = (int)number_label(labels, "argon.slot");
        sandbox->running = running;
        return sandbox;
}

void docker_sandbox_free(struct sandbox *sandbox)
{
        if (!sandbox)
                return;
        free(sandbox->id);
        free(sandbox->job_id);
        free(sandbox->token);
        free(sandbox->control);
        free(sandbox);
}

/* Docker takes letters, digits and "_.-" only. */
static char *name_of(const struct sandbox_spec *spec)
{
        scoped_str struct str name = STR_INIT;

        str_printf(&name, "argon-%s-%d-%.*s", spec->job_id, spec->attempt, NAME_TOKEN, spec->token);
        for (size_t i = 0; i < name.len; i++) {
                char c = name.data[i];

                if (!strchr("_.-", c) && !(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') &&
                    !(c >= 'A' && c <= 'Z'))
                        name.data[i] = '_';
        }
        return str_steal(&name);
}

/* The name was taken: by this very sandbox, or by something else? */
static int adopt(struct docker *docker, struct sandbox **ret, const struct sandbox_spec *spec,
                 const char *name, struct error *err)
{
        scoped(json) json_t *found = NULL;
        const json_t *labels;
        int result = docker_inspect(docker, &found, name, err);

        if (result < 0)
                return result;
        labels = json_object_get(json_object_get(found, "Config"), "Labels");
        if (strcmp(json_text_or(labels, "argon.data", ""), docker->data_id) != 0 ||
            strcmp(json_text_or(labels, "argon.token", ""), spec->token) != 0)
                return error_set(err, ERROR_CONFLICT, "docker has another container named '%s'",
                                 name);
        *ret = sandbox_new(json_text_or(found, "Id", ""), labels,
                           json_bool_or(json_object_get(found, "State"), "Running", false));
        return 0;
}

/* Docker needs something to mount argon-step over: the control folder is mounted read-only. */
static int make_mount_point(const char *control, struct error *err)
{
        scoped_text char *path = fs_path(control, "argon-step");
        scoped_fd int fd = open(path, O_RDONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0444);

        return fd < 0 ? error_set_errno(err, "make '%s'", path) : 0;
}

static int network_of(struct docker *docker, char **ret, const struct sandbox_spec *spec,
                      struct error *err)
{
        scoped_text char *pause = NULL;
        int result;

        if (spec->network_none) {
                *ret = text_copy("none");
                return 0;
        }
        result = docker_slot_ensure(docker, spec->slot, &pause, err);
        if (result < 0)
                return result;
        *ret = text_format("container:%s", pause);
        return 0;
}

int docker_create(struct engine *engine, struct sandbox **ret, const struct sandbox_spec *spec,
                  struct error *err)
{
        struct docker *docker = (struct docker *)engine;
        const char *image = text_or(spec->image, docker->default_image);
        scoped_text char *name = name_of(spec);
        scoped_text char *path = text_format("/containers/create?name=%s", name);
        scoped_text char *network = NULL;
        scoped(json) json_t *body = NULL;
        scoped(json) json_t *answer = NULL;
        int result;

        if (!image || !*image)
                return error_set(err, ERROR_INVALID, "the job names no image");
        if (spec->strict && !docker->info.strict &&
            !(spec->network_none && docker->info.strict_offline))
                return error_set(err, ERROR_DENIED, "the strict profile cannot be kept: %s",
                                 docker->info.strict_why);
        result = network_of(docker, &network, spec, err);
        if (result == 0 && !docker->info.remote)
                result = make_mount_point(spec->control, err);
        if (result < 0)
                return result;
        body = create_body(docker, spec, image, network);
        result = docker_post(docker->api, &answer, path, body, err);
        if (result == -ERROR_CONFLICT)
                return adopt(docker, ret, spec, name, err);
        if (result < 0)
                return result;
        *ret = sandbox_new(json_text_or(answer, "Id", name), json_object_get(body, "Labels"),
                           false);
        return 0;
}

int docker_find(struct engine *engine, struct sandbox ***ret, size_t *ret_n, struct error *err)
{
        struct docker *docker = (struct docker *)engine;
        scoped_text char *filter =
                text_format("{\"label\":[\"argon.data=%s\",\"argon.job\"]}", docker->data_id);
        scoped_str struct str path = STR_INIT;
        scoped(json) json_t *list = NULL;
        struct sandbox **found;
        size_t n;
        int result;

        str_add(&path, "/containers/json?all=1&filters=");
        str_add_query(&path, filter);
        result = docker_get(docker->api, &list, path.data, err);
        if (result < 0)
                return result;
        n = json_array_size(list);
        found = xcalloc(n ? n : 1, sizeof(struct sandbox *));
        for (size_t i = 0; i < n; i++) {
                const json_t *item = json_array_get(list, i);
                bool running = !strcmp(json_text_or(item, "State", ""), "running");

                found[i] = sandbox_new(json_text_or(item, "Id", ""),
                                       json_object_get(item, "Labels"), running);
                if (running)
                        docker_watch(docker, found[i]);
        }
        *ret = found;
        *ret_n = n;
        return 0;
}
