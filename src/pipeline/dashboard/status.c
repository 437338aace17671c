/*
 * Health, readiness, version; and the backup, which the server makes because it holds the files.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/scoped.h"
#include "base/str.h"
#include "pipeline/dashboard/parts.h"
#include "pipeline/topology.h"
#include "ports/bus.h"
#include "ports/store.h"

#include "base/banned.h"

enum http_result status_health(struct http_request *request, void *data)
{
        http_reply(request, 200, "text/plain", "ok\n", 3);
        return HTTP_DONE;
}

static void add_reason(json_t *reasons, const char *what, const struct error *err)
{
        scoped_text char *text = text_format("%s: %s", what, err->text);

        json_array_append_new(reasons, json_string(text));
}

enum http_result status_ready(struct http_request *request, void *data)
{
        struct dashboard *dashboard = data;
        const struct dashboard_options *options = &dashboard->options;
        json_t *answer = json_object();
        json_t *reasons = json_array();
        struct error err = {0};
        int64_t ready;
        int64_t unsettled;
        bool fine;

        if (store_check(options->store, &err) < 0)
                add_reason(reasons, "store", &err);
        if (bus_depth(options->bus, QUEUE_WEBHOOK, &ready, &unsettled, &err) < 0)
                add_reason(reasons, "bus", &err);
        for (size_t i = 0; i < options->n_checks; i++) {
                if (options->checks[i].check(options->checks[i].data, &err) < 0)
                        add_reason(reasons, options->checks[i].name, &err);
        }
        fine = json_array_size(reasons) == 0;
        json_set_bool(answer, "ready", fine);
        json_object_set_new(answer, "reasons", reasons);
        reply_json(request, fine ? 200 : 503, answer);
        return HTTP_DONE;
}

enum http_result status_version(struct http_request *request, void *data)
{
        struct dashboard *dashboard = data;
        json_t *answer = json_object();

        json_set_text(answer, "version", ARGON_VERSION);
        json_set_text(answer, "api", "v1");
        json_set_text(answer, "pipeline_file", "1.0");
        json_set_text(answer, "url", dashboard->options.url);
        json_set_text(answer, "instance", dashboard->instance);
        json_set_time(answer, "time", wall_ms());
        reply_json(request, 200, answer);
        return HTTP_DONE;
}

struct backup {
        int fd;
};

static ssize_t read_backup(void *data, int64_t offset, char *bytes, size_t n)
{
        struct backup *backup = data;
        ssize_t got;

        do
                got = pread(backup->fd, bytes, n, offset);
        while (got < 0 && errno == EINTR);
        return got;
}

static void free_backup(void *data)
{
        struct backup *backup = data;

        close(backup->fd);
        free(backup);
}

/* The copy lies in the scratch folder only until it is opened: nothing is left when the client goes
 * away or the server dies in the middle. */
enum http_result backup_download(struct http_request *request, void *data)
{
        struct dashboard *dashboard = data;
        char id[ID_SIZE];
        scoped_text char *path = NULL;
        struct backup *backup;
        struct error err = {0};
        struct stat st;
        int fd;

        id_new(id);
        path = text_format("%s/backup-%s", dashboard->options.scratch, id);
        if (store_backup(dashboard->options.store, path, &err) < 0) {
                unlink(path);
                http_reply_error(request, &err);
                return HTTP_DONE;
        }
        fd = open(path, O_RDONLY | O_CLOEXEC);
        unlink(path);
        if (fd < 0 || fstat(fd, &st) < 0) {
                error_set_errno(&err, "open the backup");
                if (fd >= 0)
                        close(fd);
                http_reply_error(request, &err);
                return HTTP_DONE;
        }
        backup = xcalloc(1, sizeof(*backup));
        backup->fd = fd;
        http_reply_stream(request, 200, "application/octet-stream", st.st_size, read_backup, backup,
                          free_backup);
        return HTTP_DONE;
}
