/*
 * "auto" prefers docker, because only there a job gets the image that it names, and falls back to
 * the local engine. The sentence about the choice is for the log of the start and for `doctor`.
 */
#include "ports/engine.h"

#include <string.h>

#include "base/error.h"
#include "base/str.h"

#include "base/banned.h"

static const struct engine_adapter *find_adapter(const struct engine_adapter *table, size_t n,
                                                 const char *name)
{
        for (size_t i = 0; i < n; i++)
                if (!strcmp(table[i].name, name))
                        return &table[i];
        return NULL;
}

static int open_auto(struct engine **ret, char **ret_why, const struct engine_adapter *table,
                     size_t n, const struct engine_options *options, struct error *err)
{
        const struct engine_adapter *docker = find_adapter(table, n, "docker");
        const struct engine_adapter *local = find_adapter(table, n, "local");
        struct error no_docker = {.text = "this program is built without it"};
        struct error no_local = {.text = "this program is built without it"};

        if (docker && docker->open(ret, options, &no_docker) == 0) {
                *ret_why = text_format("%s, because the Docker daemon answers",
                                       engine_info(*ret)->version);
                return 0;
        }
        if (local && local->open(ret, options, &no_local) == 0) {
                *ret_why = text_format("%s, because Docker cannot be used: %s",
                                       engine_info(*ret)->version, no_docker.text);
                return 0;
        }
        return error_set(err, ERROR_UNAVAILABLE,
                         "no engine can run jobs here. docker: %s. local: %s", no_docker.text,
                         no_local.text);
}

int engine_open(struct engine **ret, char **ret_why, const struct engine_adapter *table, size_t n,
                const char *name, const struct engine_options *options, struct error *err)
{
        const struct engine_adapter *adapter;
        int result;

        if (!strcmp(name, "auto"))
                return open_auto(ret, ret_why, table, n, options, err);
        adapter = find_adapter(table, n, name);
        if (!adapter)
                return error_set(err, ERROR_INVALID,
                                 "no engine '%s'; set ARGON_ENGINE to auto, docker or local", name);
        result = adapter->open(ret, options, err);
        if (result < 0) {
                error_wrap(err, "engine %s", name);
                return result;
        }
        *ret_why = text_format("%s, as it was asked for", engine_info(*ret)->version);
        return 0;
}
