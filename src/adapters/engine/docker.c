/*
 * What can be known about the daemon is found out once, when the engine is opened: its version and
 * limits, whether it sees our folders, whether this machine's ports can be closed to jobs. The
 * slots' networks are made when a job first needs them and taken away when the engine closes,
 * unless a job still runs in them.
 */
#include "adapters/engine/docker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "adapters/engine/data_id.h"
#include "adapters/engine/disk_watch.h"
#include "adapters/engine/docker_api.h"
#include "adapters/engine/docker_private.h"
#include "base/error.h"
#include "base/str.h"

#include "base/banned.h"

static const struct engine_info *docker_info(struct engine *engine)
{
        return &((struct docker *)engine)->info;
}

static void docker_free(struct docker *docker)
{
        if (docker->watch)
                disk_watch_free(docker->watch);
        for (int i = 0; i < docker->n_slots; i++)
                pthread_mutex_destroy(&docker->slots[i].lock);
        free(docker->slots);
        docker_api_close(docker->api);
        pthread_mutex_destroy(&docker->lock);
        free(docker->data);
        free(docker->data_id);
        free(docker->place);
        free(docker->daemon);
        free(docker->step);
        free(docker->pause_image);
        free(docker->default_image);
        free(docker->version);
        free(docker->architecture);
        free(docker->missing);
        free(docker->strict_why);
        free(docker);
}

DEFINE_FREEP(docker, struct docker *, docker_free)

static void docker_close(struct engine *engine)
{
        struct docker *docker = (struct docker *)engine;

        docker_attach_close_all(docker);
        docker_slots_clear(docker);
        docker_free(docker);
}

static const struct engine_ops docker_ops = {
        .info = docker_info,
        .image_ensure = docker_image_ensure,
        .create = docker_create,
        .start = docker_start,
        .peer = docker_peer,
        .attach = docker_attach,
        .wait = docker_wait,
        .kill = docker_kill,
        .remove = docker_remove,
        .find = docker_find,
        .sandbox_free = docker_sandbox_free,
        .close = docker_close,
};

static void add_missing(struct str *missing, const char *sentence)
{
        str_printf(missing, "%s%s", missing->len ? "\n" : "", sentence);
}

static bool has_seccomp(const json_t *info)
{
        const json_t *item;
        size_t i;

        json_array_foreach(json_object_get(info, "SecurityOptions"), i, item)
        {
                const char *text = json_string_value(item);

                if (text && strstr(text, "seccomp"))
                        return true;
        }
        return false;
}

static void note_limits(struct docker *docker, const json_t *info, struct str *missing)
{
        unsigned limits = ENGINE_LIMIT_DISK;

        docker->swap_limit = json_bool_or(info, "SwapLimit", false);
        if (json_bool_or(info, "MemoryLimit", false))
                limits |= ENGINE_LIMIT_MEMORY;
        else
                add_missing(missing, "the Docker host cannot limit memory");
        if (json_bool_or(info, "CpuCfsQuota", false))
                limits |= ENGINE_LIMIT_CPUS;
        else
                add_missing(missing, "the Docker host cannot limit CPU time");
        if (json_bool_or(info, "PidsLimit", false))
                limits |= ENGINE_LIMIT_PIDS;
        else
                add_missing(missing, "the Docker host cannot limit processes");
        if ((limits & ENGINE_LIMIT_MEMORY) && !docker->swap_limit)
                add_missing(missing, "the Docker host cannot limit swap, so a job may use more "
                                     "memory than its limit by swapping");
        docker->info.limits = limits;
}

/* Everything that a job gets less than it should; decides about the strict profile too. */
static void note_isolation(struct docker *docker, const json_t *info, struct str *missing)
{
        const char *no_firewall = NULL;
        scoped_str struct str why = STR_INIT;

        docker->firewall = !docker->info.remote && docker_firewall_possible(&no_firewall);
        if (docker->info.remote)
                no_firewall = "the Docker daemon runs elsewhere";
        if (!docker->firewall) {
                str_printf(&why,
                           "jobs can reach the ports of the Docker host and the metadata "
                           "address (%s)",
                           no_firewall);
                add_missing(missing, why.data);
        }
        docker->info.strict_offline = has_seccomp(info);
        if (!docker->info.strict_offline) {
                str_clear(&why);
                str_add(&why, "Docker runs without seccomp, so no system call is closed to jobs");
                add_missing(missing, why.data);
        }
        if (docker->info.remote)
                add_missing(missing, "the disk limit counts the container's own files only");
        docker->strict_why = str_steal(&why);
        docker->info.strict = !*docker->strict_why;
        docker->info.strict_why = docker->strict_why;
}

static int check_architecture(struct docker *docker, const json_t *info, struct error *err)
{
        struct utsname machine;

        docker->architecture = text_copy(json_text_or(info, "Architecture", ""));
        uname(&machine);
        if (strcmp(docker->architecture, machine.machine) != 0 &&
            !(!strcmp(docker->architecture, "amd64") && !strcmp(machine.machine, "x86_64")) &&
            !(!strcmp(docker->architecture, "arm64") && !strcmp(machine.machine, "aarch64")))
                return error_set(err, ERROR_INVALID,
                                 "the Docker daemon runs on %s, but argon-step here is made for "
                                 "%s; run an executor on a machine like the daemon's",
                                 docker->architecture, machine.machine);
        return 0;
}

static int learn(struct docker *docker, const char *step_binary, struct error *err)
{
        scoped(json) json_t *info = NULL;
        scoped_str struct str missing = STR_INIT;
        int result = docker_get(docker->api, &info, "/info", err);

        if (result == 0)
                result = check_architecture(docker, info, err);
        if (result == 0)
                result = data_id_read(&docker->data_id, docker->id8, docker->data, err);
        if (result == 0)
                result = docker_place_read(docker, err);
        docker->daemon = text_copy(json_text_or(info, "ID", ""));
        if (result == 0)
                result = docker_pause_ensure(docker, step_binary, err);
        if (result == 0)
                result = docker_probe(docker, &docker->info.remote, &docker->quota, err);
        if (result < 0)
                return result;
        if (!docker->info.remote)
                docker_orphans_clear(docker);
        docker->version = text_format("docker %s", json_text_or(info, "ServerVersion", "?"));
        docker->info.name = "docker";
        docker->info.version = docker->version;
        docker->info.architecture = docker->architecture;
        docker->info.images = true;
        docker->info.network_none = true;
        docker->info.cpus = (int)json_int_or(info, "NCPU", 1);
        note_limits(docker, info, &missing);
        note_isolation(docker, info, &missing);
        docker->missing = str_steal(&missing);
        docker->info.missing = docker->missing;
        return 0;
}

int docker_engine_open(struct engine **ret, const struct engine_options *options, struct error *err)
{
        scoped(docker) struct docker *docker = xcalloc(1, sizeof(*docker));
        int result;

        docker->engine.ops = &docker_ops;
        pthread_mutex_init(&docker->lock, NULL);
        docker->n_slots = options->slots > 0 ? options->slots : 1;
        docker->slots = xcalloc((size_t)docker->n_slots, sizeof(*docker->slots));
        for (int i = 0; i < docker->n_slots; i++)
                pthread_mutex_init(&docker->slots[i].lock, NULL);
        docker->default_image = text_copy(text_or(options->default_image, ""));
        result = docker_api_open(&docker->api, options->docker_host, err);
        if (result < 0)
                return result;
        docker->data = realpath(options->data, NULL);
        if (!docker->data)
                return error_set_errno(err, "the data folder '%s'", options->data);
        result = learn(docker, options->step_binary, err);
        if (result == 0)
                result = docker_watch_new(docker, err);
        if (result < 0)
                return result;
        *ret = (struct engine *)take(docker);
        return 0;
}
