#include "adapters/engine/docker_private.h"

#include <stdio.h>
#include <string.h>

#include "adapters/engine/docker_api.h"
#include "adapters/engine/docker_auth.h"
#include "adapters/engine/docker_pull.h"
#include "base/error.h"
#include "base/str.h"

#include "base/banned.h"

#define NAME_MAX_BYTES 512
#define PULL_IDLE_MS (5 * 60 * 1000) /* extracting one large layer says nothing for long */

static int check_name(const char *image, struct error *err)
{
        if (!*image || strlen(image) > NAME_MAX_BYTES)
                return error_set(err, ERROR_INVALID, "the name of an image has 1 to %d bytes",
                                 NAME_MAX_BYTES);
        for (const char *at = image; *at; at++)
                if ((unsigned char)*at <= ' ' || (unsigned char)*at > '~' || strchr("?#%\\", *at))
                        return error_set(err, ERROR_INVALID, "'%s' is no name of an image", image);
        if (strstr(image, ".."))
                return error_set(err, ERROR_INVALID, "'%s' is no name of an image", image);
        return 0;
}

/* Without tag and digest Docker would pull every tag there is. */
static bool has_tag(const char *image)
{
        const char *slash = strrchr(image, '/');

        return strchr(image, '@') || strchr(slash ? slash : image, ':');
}

static int on_pull_data(void *data, const char *bytes, size_t n)
{
        return docker_pull_feed(data, bytes, n);
}

static int pull_image(struct docker *docker, const char *image, struct docker_pull *pull,
                      int cancel_fd, struct error *err)
{
        struct docker_request request = DOCKER_REQUEST_INIT;
        scoped_text char *auth = NULL;
        scoped_str struct str path = STR_INIT;
        struct error why = {0};
        int result = docker_auth_header(&auth, image, NULL, err);

        if (result < 0)
                return result;
        str_add(&path, "/images/create?fromImage=");
        str_add_query(&path, image);
        if (!has_tag(image))
                str_add(&path, "&tag=latest");
        request.method = "POST";
        request.path = path.data;
        request.header = auth;
        request.timeout_ms = 0;
        request.idle_ms = PULL_IDLE_MS;
        request.on_data = on_pull_data;
        request.data = pull;
        request.cancel_fd = cancel_fd;
        request.once = true;
        result = docker_send(docker->api, NULL, &request, &why);
        if (result == 0)
                return docker_pull_end(pull, err);
        /* the daemon answers 404 or 500 with the registry's words in it */
        if (result != -ERROR_CANCELLED && text_starts(why.text, "docker: ") &&
            result != -ERROR_INVALID)
                why.kind = docker_pull_judge(why.text);
        return error_set(err, why.kind, "%s", why.text);
}

int docker_image_ensure(struct engine *engine, const char *image,
                        void (*progress)(void *data, const char *line), void *data, int cancel_fd,
                        struct error *err)
{
        struct docker *docker = (struct docker *)engine;
        scoped_str struct str path = STR_INIT;
        scoped_text char *line = NULL;
        struct docker_pull pull;
        int result;

        image = text_or(image, text_or(docker->default_image, ""));
        result = check_name(image, err);
        if (result < 0)
                return result;
        str_add(&path, "/images/");
        str_add_query(&path, image);
        str_add(&path, "/json");
        result = docker_get(docker->api, NULL, path.data, err);
        if (result != -ERROR_NOT_FOUND)
                return result;
        line = text_format("image %s is not here, pulling it", image);
        if (progress)
                progress(data, line);
        docker_pull_init(&pull, progress, data);
        result = pull_image(docker, image, &pull, cancel_fd, err);
        docker_pull_done(&pull);
        if (result < 0) {
                error_wrap(err, "pull image '%s'", image);
                return result;
        }
        return docker_get(docker->api, NULL, path.data, err);
}
