/*
 * A server that is killed leaves its slots, and the next one on the same folder of data takes them
 * up again. When that folder is removed (a test, a trial) nobody would: so whoever opens the engine
 * next removes what carries the mark of a folder that is gone. Only what was made on this boot and
 * with this view of the file system counts: elsewhere the folder may well be there.
 */
#include "adapters/engine/docker_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapters/engine/docker_api.h"
#include "base/error.h"
#include "base/str.h"

#include "base/banned.h"

#define BOOT_ID "/proc/sys/kernel/random/boot_id"

int docker_place_read(struct docker *docker, struct error *err)
{
        scoped_str struct str boot = STR_INIT;
        char view[64];
        ssize_t n = readlink("/proc/self/ns/mnt", view, sizeof(view) - 1);

        if (n < 0)
                return error_set_errno(err, "read /proc/self/ns/mnt");
        view[n] = '\0';
        if (str_read_file(&boot, BOOT_ID, sizeof(view), err) < 0)
                return -ERROR_UNAVAILABLE;
        docker->place = text_format("%.36s %s", boot.data, view);
        return 0;
}

void docker_label(const struct docker *docker, json_t *labels)
{
        json_set_text(labels, "argon.data", docker->data_id);
        json_set_text(labels, "argon.folder", docker->data);
        json_set_text(labels, "argon.place", docker->place);
}

static int list_of_place(struct docker *docker, json_t **ret, const char *what)
{
        scoped_text char *filter = text_format("{\"label\":[\"argon.place=%s\"]}", docker->place);
        scoped_str struct str path = STR_INIT;

        str_add(&path, what);
        str_add_query(&path, filter);
        return docker_get(docker->api, ret, path.data, NULL);
}

static bool is_orphan(const json_t *labels)
{
        const char *folder = json_text_or(labels, "argon.folder", "");
        struct stat st;

        return folder[0] == '/' && lstat(folder, &st) < 0 && errno == ENOENT;
}

static bool is_running_job(const json_t *item)
{
        return !strcmp(json_text_or(item, "State", ""), "running") &&
               *json_text_or(json_object_get(item, "Labels"), "argon.job", "");
}

/* Whether a job of that server runs: then nothing of it is touched. */
static bool has_running_job(const json_t *containers, const char *data_id)
{
        const json_t *item;
        size_t i;

        json_array_foreach(containers, i, item)
        {
                if (is_running_job(item) &&
                    !strcmp(json_text_or(json_object_get(item, "Labels"), "argon.data", ""),
                            data_id))
                        return true;
        }
        return false;
}

void docker_orphans_clear(struct docker *docker)
{
        scoped(json) json_t *containers = NULL;
        scoped(json) json_t *networks = NULL;
        const json_t *item;
        size_t i;

        if (list_of_place(docker, &containers, "/containers/json?all=1&filters=") < 0 ||
            list_of_place(docker, &networks, "/networks?filters=") < 0)
                return;
        json_array_foreach(containers, i, item)
        {
                const json_t *labels = json_object_get(item, "Labels");

                if (is_orphan(labels) &&
                    !has_running_job(containers, json_text_or(labels, "argon.data", "")))
                        docker_remove_container(docker, json_text_or(item, "Id", ""), NULL);
        }
        json_array_foreach(networks, i, item)
        {
                const json_t *labels = json_object_get(item, "Labels");
                const char *id = json_text_or(labels, "argon.data", "");
                scoped_text char *path = text_format("/networks/%s", json_text_or(item, "Id", ""));

                if (!is_orphan(labels) || has_running_job(containers, id))
                        continue;
                if (docker_delete(docker->api, path, NULL) == 0 && strlen(id) >= DATA_ID8 &&
                    docker_firewall_possible(&(const char *){NULL}))
                        docker_firewall_clear(id + strlen(id) - (DATA_ID8 - 1));
        }
}
