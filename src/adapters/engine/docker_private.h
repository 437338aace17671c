#pragma once
/*
 * docker_private - what the files of the docker adapter share
 */
#include <pthread.h>
#include <stdbool.h>

#include "adapters/engine/data_id.h"
#include "base/json.h"
#include "ports/engine.h"

struct disk_watch;
struct docker_api;
struct docker_attach;

/** struct docker_slot - @lock: while its pause container is looked at or made */
struct docker_slot {
        pthread_mutex_t lock;
};

/**
 * struct docker - one daemon, as one server uses it
 * @data_id: of the data folder, kept in it; @id8: the end of it
 * @place: this boot and this view of the file system; with @data it says whose a container is
 * @daemon: its own id
 * @step: argon-step where the daemon sees it; @pause_image: argon-step as an image
 * @missing: one sentence per line; @firewall: rules of iptables can be set
 * @quota: the daemon can limit a container's writable layer
 * @attached: connections of engine_attach(), guarded by lock
 */
struct docker {
        struct engine engine;
        struct engine_info info;
        struct docker_api *api;
        struct disk_watch *watch;
        struct docker_slot *slots;
        int n_slots;
        char *data;
        char *data_id;
        char *place;
        char *daemon;
        char id8[DATA_ID8];
        char *step;
        char *pause_image;
        char *default_image;
        char *version;
        char *architecture;
        char *missing;
        char *strict_why;
        bool firewall;
        bool quota;
        bool swap_limit;
        pthread_mutex_t lock;
        struct docker_attach *attached;
};

/* docker_container.c */
int docker_create(struct engine *engine, struct sandbox **ret, const struct sandbox_spec *spec,
                  struct error *err);
int docker_find(struct engine *engine, struct sandbox ***ret, size_t *ret_n, struct error *err);
void docker_sandbox_free(struct sandbox *sandbox);

/* docker_run.c */
int docker_start(struct engine *engine, struct sandbox *sandbox, struct error *err);
int docker_peer(struct engine *engine, struct sandbox *sandbox, pid_t *ret, struct error *err);
int docker_wait(struct engine *engine, struct sandbox *sandbox, int64_t timeout_ms, int cancel_fd,
                struct sandbox_end *ret, struct error *err);
int docker_kill(struct engine *engine, struct sandbox *sandbox, struct error *err);
int docker_remove(struct engine *engine, struct sandbox *sandbox, struct error *err);
/** docker_watch() - begin to watch the disk of a sandbox that runs */
void docker_watch(struct docker *docker, const struct sandbox *sandbox);
/** docker_watch_new() - the thread behind it */
int docker_watch_new(struct docker *docker, struct error *err);
/** docker_remove_container() - by id or name, running or not; gone is success */
int docker_remove_container(struct docker *docker, const char *id, struct error *err);
/** docker_inspect() - -ERROR_NOT_FOUND when there is none of that id or name */
int docker_inspect(struct docker *docker, json_t **ret, const char *id, struct error *err);

/* docker_image.c */
int docker_image_ensure(struct engine *engine, const char *image,
                        void (*progress)(void *data, const char *line), void *data, int cancel_fd,
                        struct error *err);

/* docker_pause.c: argon-step as an image, and what is found out with it */
/** docker_pause_ensure() - copy argon-step to where the daemon may see it, import it as an image */
int docker_pause_ensure(struct docker *docker, const char *step_binary, struct error *err);
/** docker_probe() - whether the daemon sees our folders, and knows quotas */
int docker_probe(struct docker *docker, bool *ret_remote, bool *ret_quota, struct error *err);

/* docker_slot.c */
/** docker_slot_ensure() - have the slot's network; *ret_pause: id of the container that keeps it,
 *  the caller frees */
int docker_slot_ensure(struct docker *docker, int slot, char **ret_pause, struct error *err);
/** docker_slots_clear() - take away slots that no container has joined */
void docker_slots_clear(struct docker *docker);

/* docker_orphan.c */
/** docker_place_read() - fill docker->place */
int docker_place_read(struct docker *docker, struct error *err);
/** docker_label() - what every container and network of ours carries */
void docker_label(const struct docker *docker, json_t *labels);
/** docker_orphans_clear() - take away what servers left that were killed and whose folder of data
 *  is gone; jobs that run stay */
void docker_orphans_clear(struct docker *docker);

/* docker_firewall.c */
/** docker_firewall_possible() - Return: whether rules can be set; *ret_why: a view, why not */
bool docker_firewall_possible(const char **ret_why);
/** docker_firewall_ensure() - have the rules for all slots of this server */
int docker_firewall_ensure(struct docker *docker, struct error *err);
/** docker_firewall_clear() - remove those of a server, ours or one that is gone */
void docker_firewall_clear(const char *id8);
/** docker_bridge_prefix() - how names of a server's bridges begin; room for 16 bytes */
void docker_bridge_prefix(const char *id8, char ret[16]);

/* docker_attach.c */
int docker_attach(struct engine *engine, struct sandbox *sandbox, int *ret_fd, struct error *err);
void docker_attach_close_all(struct docker *docker);
/** docker_put() - unpack a file or a folder, under a name below target, into a container that need
 *  not run */
int docker_put(struct docker *docker, const char *id, const char *target, const char *name,
               const char *path, bool folder, struct error *err);
