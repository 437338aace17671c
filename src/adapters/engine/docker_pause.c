/*
 * argon-step is copied to DATA/step/HASH unless it lies in DATA already, because the folder of data
 * is what the daemon is known to see and because a running container must not see the next version.
 * The image made of it holds nothing else; containers of it keep the slots' networks, and one that
 * is never started shows whether the daemon sees our folders: its bind mount is asked for a random
 * text just written.
 */
#include "adapters/engine/docker_private.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "adapters/engine/docker_api.h"
#include "adapters/engine/tar.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/str.h"

#include "base/banned.h"

#define STEP_BYTES_MAX (16 << 20)
#define HASH_SHOWN 16
#define ARCHIVE_MAX 16384
#define PROBE_QUOTA "1073741824"

static int hash_of(const struct str *bytes, char ret[2 * HASH_SHOWN + 1], struct error *err)
{
        unsigned char digest[EVP_MAX_MD_SIZE];
        static const char hex[] = "0123456789abcdef";

        if (EVP_Q_digest(NULL, "SHA256", NULL, bytes->data, bytes->len, digest, NULL) != 1)
                return error_set(err, ERROR_UNAVAILABLE, "OpenSSL computes no SHA-256");
        for (size_t i = 0; i < HASH_SHOWN; i++) {
                ret[2 * i] = hex[digest[i] >> 4];
                ret[2 * i + 1] = hex[digest[i] & 15];
        }
        ret[2 * HASH_SHOWN] = '\0';
        return 0;
}

static int copy_step(struct docker *docker, const char *step_binary, const struct str *bytes,
                     const char *hash, struct error *err)
{
        scoped_text char *folder = text_format("%s/step/%s", docker->data, hash);
        char *real = realpath(step_binary, NULL);
        size_t n = strlen(docker->data);

        if (real && !strncmp(real, docker->data, n) && real[n] == '/') {
                docker->step = real; /* it lies there already */
                return 0;
        }
        free(real);
        docker->step = fs_path(folder, "argon-step");
        if (access(docker->step, X_OK) == 0)
                return 0;
        if (fs_mkdirs(folder, 0755, err) < 0 ||
            fs_write_atomic(docker->step, bytes->data, bytes->len, 0555, err) < 0)
                return error_wrap(err, "keep a copy of argon-step");
        return 0;
}

static void *write_image(void *data)
{
        const int *to = ((void **)data)[0];
        const char *path = ((void **)data)[1];

        if (tar_add_file(*to, "argon-step", path, 0555, NULL) == 0)
                tar_finish(*to, NULL);
        shutdown(*to, SHUT_WR);
        return NULL;
}

static int import_image(struct docker *docker, const char *tag, struct error *err)
{
        scoped_text char *path = text_format("/images/create?fromSrc=-&repo=argon-pause&tag=%s"
                                             "&changes=LABEL%%20argon.pause%%3D1",
                                             tag);
        struct docker_request request = DOCKER_REQUEST_INIT;
        int ends[2];
        void *job[2] = {&ends[1], docker->step};
        pthread_t thread;
        int result;

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
                return error_set_errno(err, "make a socket");
        if (pthread_create(&thread, NULL, write_image, job) != 0) {
                close(ends[0]);
                close(ends[1]);
                return error_set(err, ERROR_UNAVAILABLE, "start a thread");
        }
        request.method = "POST";
        request.path = path;
        request.upload = ends[0];
        result = docker_send(docker->api, NULL, &request, err);
        close(ends[0]);
        pthread_join(thread, NULL);
        close(ends[1]);
        return result;
}

int docker_pause_ensure(struct docker *docker, const char *step_binary, struct error *err)
{
        scoped_str struct str bytes = STR_INIT;
        scoped_text char *path = NULL;
        char hash[2 * HASH_SHOWN + 1];
        int result = str_read_file(&bytes, step_binary, STEP_BYTES_MAX, err);

        if (result < 0) {
                error_wrap(err, "argon-step, which runs the jobs, is missing");
                return result;
        }
        if (hash_of(&bytes, hash, err) < 0 || copy_step(docker, step_binary, &bytes, hash, err) < 0)
                return -ERROR_UNAVAILABLE;
        docker->pause_image = text_format("argon-pause:%s", hash);
        path = text_format("/images/%s/json", docker->pause_image);
        result = docker_get(docker->api, NULL, path, err);
        if (result == -ERROR_NOT_FOUND)
                result = import_image(docker, hash, err);
        return result < 0 ? error_wrap(err, "make the image of the pause container") : 0;
}

/* A container that is made, never started. */
static int create_probe(struct docker *docker, const char *name, const char *folder, bool quota,
                        struct error *err)
{
        scoped_text char *path = text_format("/containers/create?name=%s", name);
        scoped(json) json_t *body =
                json_pack("{s:s, s:[s, s], s:{s:s}, s:{s:[{s:s,s:s,s:s,s:b}], s:s}}", "Image",
                          docker->pause_image, "Entrypoint", "/argon-step", "--pause", "Labels",
                          "argon.pause", "probe", "HostConfig", "Mounts", "Type", "bind", "Source",
                          folder, "Target", "/probe", "ReadOnly", 1, "NetworkMode", "none");

        docker_label(docker, json_object_get(body, "Labels"));
        if (quota)
                json_object_set_new(json_object_get(body, "HostConfig"), "StorageOpt",
                                    json_pack("{s:s}", "size", PROBE_QUOTA));
        return docker_post(docker->api, NULL, path, body, err);
}

static int keep_some(void *data, const char *bytes, size_t n)
{
        struct str *kept = data;

        if (kept->len + n <= ARCHIVE_MAX)
                str_add_bytes(kept, bytes, n);
        return 0;
}

/* Whether the nonce can be read through the mount. */
static bool sees_nonce(struct docker *docker, const char *name, const char *nonce)
{
        scoped_text char *path = text_format("/containers/%s/archive?path=/probe/nonce", name);
        struct docker_request request = DOCKER_REQUEST_INIT;
        scoped_str struct str archive = STR_INIT;

        request.path = path;
        request.on_data = keep_some;
        request.data = &archive;
        if (docker_send(docker->api, NULL, &request, NULL) < 0)
                return false;
        return memmem(archive.data, archive.len, nonce, strlen(nonce)) != NULL;
}

static int try_daemon(struct docker *docker, bool *ret_remote, bool *ret_quota, struct error *err)
{
        scoped_text char *folder = text_format("%s/engine/probe", docker->data);
        scoped_text char *file = fs_path(folder, "nonce");
        scoped_text char *name = text_format("argon-%s-probe", docker->id8);
        char nonce[65];
        struct error why = {0};
        int result;

        id_token(nonce);
        if (fs_mkdirs(folder, 0755, err) < 0 ||
            fs_write_atomic(file, nonce, strlen(nonce), 0644, err) < 0)
                return -ERROR_UNAVAILABLE;
        result = docker_remove_container(docker, name, err); /* of one that was killed here */
        if (result < 0)
                return result;
        result = create_probe(docker, name, folder, true, &why);
        *ret_quota = result == 0;
        if (result < 0)
                result = create_probe(docker, name, folder, false, &why);
        if (result == -ERROR_INVALID && strstr(why.text, "bind source path does not exist")) {
                *ret_remote = true;
                return 0;
        }
        if (result < 0)
                return error_set(err, why.kind, "try out the daemon: %s", why.text);
        *ret_remote = !sees_nonce(docker, name, nonce);
        unlink(file);
        return docker_remove_container(docker, name, err);
}

/* What was found out holds for this daemon as long as we look at the files from the same place. */
static bool recall(const struct docker *docker, const char *path, bool *ret_quota)
{
        scoped_str struct str text = STR_INIT;
        scoped(json) json_t *json = NULL;

        if (str_read_file(&text, path, ARCHIVE_MAX, NULL) < 0 ||
            json_parse(&json, text.data, text.len, ARCHIVE_MAX, NULL) < 0 || !*docker->daemon ||
            strcmp(json_text_or(json, "daemon", ""), docker->daemon) != 0 ||
            strcmp(json_text_or(json, "place", ""), docker->place) != 0)
                return false;
        *ret_quota = json_bool_or(json, "quota", false);
        return true;
}

int docker_probe(struct docker *docker, bool *ret_remote, bool *ret_quota, struct error *err)
{
        scoped_text char *path = text_format("%s/engine/daemon.json", docker->data);
        scoped(json) json_t *json = json_object();
        scoped_str struct str text = STR_INIT;
        int result;

        *ret_remote = false;
        if (recall(docker, path, ret_quota))
                return 0;
        result = try_daemon(docker, ret_remote, ret_quota, err);
        if (result < 0 || *ret_remote)
                return result;
        json_set_text(json, "daemon", docker->daemon);
        json_set_text(json, "place", docker->place);
        json_set_bool(json, "quota", *ret_quota);
        str_add_json(&text, json);
        return fs_write_atomic(path, text.data, text.len, 0644, err);
}
