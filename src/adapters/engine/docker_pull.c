#include "adapters/engine/docker_pull.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"

#include "base/banned.h"

#define TELL_EVERY_MS 2000
#define MIB (1024.0 * 1024.0)

void docker_pull_init(struct docker_pull *pull, void (*progress)(void *data, const char *line),
                      void *data)
{
        *pull = (struct docker_pull){.progress = progress, .data = data, .told = clock_ms()};
        str_init(&pull->line);
        str_init(&pull->failure);
}

void docker_pull_done(struct docker_pull *pull)
{
        str_done(&pull->line);
        str_done(&pull->failure);
}

static struct pull_layer *layer_of(struct docker_pull *pull, const char *id)
{
        struct pull_layer *layer;

        for (size_t i = 0; i < pull->n_layers; i++)
                if (!strcmp(pull->layers[i].id, id))
                        return &pull->layers[i];
        if (pull->n_layers == PULL_LAYERS_MAX)
                return NULL;
        layer = &pull->layers[pull->n_layers++];
        snprintf(layer->id, sizeof(layer->id), "%s", id);
        return layer;
}

static void tell(struct docker_pull *pull)
{
        scoped_str struct str line = STR_INIT;
        int64_t now = clock_ms();
        int64_t current = 0;
        int64_t total = 0;
        size_t done = 0;

        if (!pull->progress || pull->n_layers == 0 || now - pull->told < TELL_EVERY_MS)
                return;
        pull->told = now;
        for (size_t i = 0; i < pull->n_layers; i++) {
                current += pull->layers[i].current;
                total += pull->layers[i].total;
                done += pull->layers[i].done;
        }
        str_printf(&line, "pulling: %zu of %zu layers", done, pull->n_layers);
        if (total > 0)
                str_printf(&line, ", %.0f MiB of %.0f MiB", (double)current / MIB,
                           (double)total / MIB);
        pull->progress(pull->data, line.data);
}

static void layer_news(struct docker_pull *pull, const char *id, const char *status,
                       const json_t *detail)
{
        struct pull_layer *layer;
        int64_t total;

        if (strlen(id) >= sizeof(layer->id) || text_starts(status, "Pulling from"))
                return;
        layer = layer_of(pull, id);
        if (!layer)
                return;
        total = json_int_or(detail, "total", 0);
        if (!strcmp(status, "Downloading") && total > 0 && total < INT64_MAX / PULL_LAYERS_MAX) {
                int64_t current = json_int_or(detail, "current", 0);

                layer->total = total;
                layer->current = current < 0 ? 0 : current > total ? total : current;
        }
        if (!strcmp(status, "Download complete") || !strcmp(status, "Extracting"))
                layer->current = layer->total;
        layer->done |= !strcmp(status, "Pull complete") || !strcmp(status, "Already exists");
        tell(pull);
}

static int line_done(struct docker_pull *pull)
{
        scoped(json) json_t *json = NULL;
        const char *failure;

        while (pull->line.len > 0 && strchr("\r\n ", pull->line.data[pull->line.len - 1]))
                str_truncate(&pull->line, pull->line.len - 1);
        if (pull->line.len == 0)
                return 0;
        if (json_parse(&json, pull->line.data, pull->line.len, PULL_LINE_MAX, NULL) < 0)
                return -1;
        str_clear(&pull->line);
        failure = json_text_or(json, "error", "");
        if (*failure && pull->failure.len == 0)
                str_add(&pull->failure, failure);
        layer_news(pull, json_text_or(json, "id", ""), json_text_or(json, "status", ""),
                   json_object_get(json, "progressDetail"));
        return 0;
}

int docker_pull_feed(struct docker_pull *pull, const char *bytes, size_t n)
{
        while (n > 0) {
                const char *end = memchr(bytes, '\n', n);
                size_t part = end ? (size_t)(end - bytes) + 1 : n;

                if (pull->line.len + part > PULL_LINE_MAX)
                        return -1;
                str_add_bytes(&pull->line, bytes, part);
                if (end && line_done(pull) < 0)
                        return -1;
                bytes += part;
                n -= part;
        }
        return 0;
}

static bool says(const char *text, const char *const *words)
{
        for (; *words; words++)
                if (strcasestr(text, *words))
                        return true;
        return false;
}

int docker_pull_judge(const char *text)
{
        static const char *const denied[] = {"unauthorized",  "denied",
                                             "no basic auth", "authentication required",
                                             "forbidden",     NULL};
        static const char *const missing[] = {"manifest unknown", "not found",    "no such image",
                                              "does not exist",   "name unknown", NULL};
        static const char *const wrong[] = {"invalid reference", "no matching manifest",
                                            "unsupported media type", NULL};

        /* Docker Hub says both of an image that does not exist */
        if (strcasestr(text, "repository does not exist"))
                return ERROR_NOT_FOUND;
        if (says(text, denied))
                return ERROR_DENIED;
        if (says(text, missing))
                return ERROR_NOT_FOUND;
        return says(text, wrong) ? ERROR_INVALID : ERROR_UNAVAILABLE;
}

int docker_pull_end(const struct docker_pull *pull, struct error *err)
{
        if (pull->failure.len == 0)
                return 0;
        return error_set(err, (enum error_kind)docker_pull_judge(pull->failure.data), "%s",
                         pull->failure.data);
}
