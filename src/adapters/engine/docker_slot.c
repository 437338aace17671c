/*
 * A slot's network is a bridge with one pause container on it. Joining its namespace costs a job
 * 0.4 of the time of a bridge of its own. The executor never runs two jobs in a slot, so nothing
 * that listens in the namespace outlives its job. A pause container that is gone, as after a
 * restart of the daemon, is made again at the slot's next job.
 */
#include "adapters/engine/docker_private.h"

#include <stdlib.h>
#include <string.h>

#include "adapters/engine/docker_api.h"
#include "base/error.h"
#include "base/str.h"

#include "base/banned.h"

/* argon-step needs next to nothing, but runc, which starts it, copies itself into this memory */
#define PAUSE_MEMORY (INT64_C(64) << 20)
#define PAUSE_PIDS 4

static int ensure_network(struct docker *docker, const char *name, int slot, struct error *err)
{
        scoped_text char *path = text_format("/networks/%s", name);
        scoped_text char *bridge = NULL;
        scoped(json) json_t *body = NULL;
        char prefix[16];
        int result = docker_get(docker->api, NULL, path, err);

        if (result != -ERROR_NOT_FOUND)
                return result;
        docker_bridge_prefix(docker->id8, prefix);
        bridge = text_format("%ss%d", prefix, slot);
        body = json_pack("{s:s, s:s, s:b, s:{s:s, s:s}, s:{s:s}}", "Name", name, "Driver", "bridge",
                         "CheckDuplicate", 1, "Options", "com.docker.network.bridge.name", bridge,
                         "com.docker.network.bridge.enable_icc", "false", "Labels", "argon.pause",
                         "1");
        docker_label(docker, json_object_get(body, "Labels"));
        result = docker_post(docker->api, NULL, "/networks/create", body, err);
        if (result == -ERROR_CONFLICT) /* made by a request that was repeated */
                return 0;
        if (result < 0 && err && strstr(err->text, "address pool"))
                error_wrap(err, "no addresses are left for the network of another slot (see "
                                "default-address-pools in daemon.json)");
        return result;
}

static int create_pause(struct docker *docker, char **ret, const char *name, const char *network,
                        int slot, struct error *err)
{
        scoped_text char *path = text_format("/containers/create?name=%s", name);
        scoped(json) json_t *body = json_object();
        scoped(json) json_t *answer = NULL;
        int result;

        json_set_text(body, "Image", docker->pause_image);
        json_set_text(body, "User", "65534:65534");
        json_set_text(body, "Hostname", "argon");
        json_object_set_new(body, "Entrypoint", json_pack("[s, s]", "/argon-step", "--pause"));
        json_object_set_new(body, "Labels",
                            json_pack("{s:s, s:o}", "argon.pause", "1", "argon.slot",
                                      json_sprintf("%d", slot)));
        docker_label(docker, json_object_get(body, "Labels"));
        json_object_set_new(body, "HostConfig",
                            json_pack("{s:s, s:[s], s:[s], s:b, s:I, s:i, s:{s:s}, s:{s:s}}",
                                      "NetworkMode", network, "CapDrop", "ALL", "SecurityOpt",
                                      "no-new-privileges", "ReadonlyRootfs", 1, "Memory",
                                      (json_int_t)PAUSE_MEMORY, "PidsLimit", PAUSE_PIDS,
                                      "LogConfig", "Type", "none", "RestartPolicy", "Name", "no"));
        result = docker_post(docker->api, &answer, path, body, err);
        if (result < 0)
                return result;
        *ret = text_copy(json_text_or(answer, "Id", name));
        return 0;
}

static int make_slot(struct docker *docker, char **ret, const char *name, int slot,
                     struct error *err)
{
        scoped_text char *network = text_format("argon-%s-net-%d", docker->id8, slot);
        scoped_text char *id = NULL;
        scoped_text char *start = NULL;
        int result = ensure_network(docker, network, slot, err);

        if (result == 0)
                result = create_pause(docker, &id, name, network, slot, err);
        if (result < 0)
                return result;
        start = text_format("/containers/%s/start", id);
        result = docker_post(docker->api, NULL, start, NULL, err);
        if (result == 0 && docker->firewall)
                result = docker_firewall_ensure(docker, err);
        if (result < 0) {
                docker_remove_container(docker, id, NULL);
                return result;
        }
        *ret = take(id);
        return 0;
}

/* Return: 0 when there is a pause container that can be joined, -ERROR_NOT_FOUND, -kind. */
static int look_at_slot(struct docker *docker, char **ret, const char *name, struct error *err)
{
        scoped(json) json_t *found = NULL;
        int result = docker_inspect(docker, &found, name, err);

        if (result < 0)
                return result;
        if (json_bool_or(json_object_get(found, "State"), "Running", false) &&
            !strcmp(json_text_or(json_object_get(found, "Config"), "Image", ""),
                    docker->pause_image)) {
                *ret = text_copy(json_text_or(found, "Id", name));
                return 0;
        }
        result = docker_remove_container(docker, name, err);
        return result < 0 ? result : error_set(err, ERROR_NOT_FOUND, "the slot has no network");
}

int docker_slot_ensure(struct docker *docker, int slot, char **ret_pause, struct error *err)
{
        scoped_text char *name = text_format("argon-%s-slot-%d", docker->id8, slot);
        int result;

        if (slot < 0 || slot >= docker->n_slots)
                return error_set(err, ERROR_BUG, "slot %d of %d", slot, docker->n_slots);
        pthread_mutex_lock(&docker->slots[slot].lock);
        result = look_at_slot(docker, ret_pause, name, err);
        if (result == -ERROR_NOT_FOUND)
                result = make_slot(docker, ret_pause, name, slot, err);
        pthread_mutex_unlock(&docker->slots[slot].lock);
        if (result < 0)
                error_wrap(err, "the network of slot %d", slot);
        return result;
}

static int list_ours(struct docker *docker, json_t **ret, const char *what)
{
        scoped_text char *filter = text_format("{\"label\":[\"argon.data=%s\"]}", docker->data_id);
        scoped_str struct str path = STR_INIT;

        str_add(&path, what);
        str_add_query(&path, filter);
        return docker_get(docker->api, ret, path.data, NULL);
}

/* Whether a job's container, in any state, has joined the namespace of this pause container. */
static bool is_joined(const json_t *containers, const char *pause_id)
{
        scoped_text char *mode = text_format("container:%s", pause_id);
        const json_t *item;
        size_t i;

        json_array_foreach(containers, i, item)
        {
                if (!strcmp(json_text_or(json_object_get(item, "HostConfig"), "NetworkMode", ""),
                            mode))
                        return true;
        }
        return false;
}

void docker_slots_clear(struct docker *docker)
{
        scoped(json) json_t *containers = NULL;
        scoped(json) json_t *networks = NULL;
        const json_t *item;
        size_t i;
        bool kept = false;

        if (list_ours(docker, &containers, "/containers/json?all=1&filters=") < 0)
                return;
        json_array_foreach(containers, i, item)
        {
                const char *id = json_text_or(item, "Id", "");

                if (!*json_text_or(json_object_get(item, "Labels"), "argon.pause", ""))
                        continue;
                if (is_joined(containers, id))
                        kept = true;
                else
                        docker_remove_container(docker, id, NULL);
        }
        if (list_ours(docker, &networks, "/networks?filters=") < 0)
                return;
        json_array_foreach(networks, i, item)
        {
                scoped_text char *path = text_format("/networks/%s", json_text_or(item, "Id", ""));

                docker_delete(docker->api, path, NULL); /* one that is in use stays */
        }
        if (!kept && docker->firewall && json_array_size(networks) > 0)
                docker_firewall_clear(docker->id8);
}
