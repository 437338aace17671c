/*
 * Records are replaced by rename but not synced: after a power failure the processes are gone as
 * well, and a record of a process that is not there says just that.
 */
#include "adapters/engine/local_private.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/parse.h"
#include "base/str.h"

#include "base/banned.h"

#define RECORD_MAX 65536
#define STAT_MAX 4096
#define START_FIELD 20 /* spaces after the program's name before the start time (proc(5)) */

void local_record_done(struct local_record *record)
{
        free(record->name);
        free(record->build_id);
        free(record->job_id);
        free(record->token);
        free(record->control);
        free(record->workspace);
}

char *local_record_path(const struct local *local, const char *name, const char *suffix)
{
        return text_format("%s/%s%s", local->folder, name, suffix);
}

int local_record_write(const struct local *local, const struct local_record *record,
                       struct error *err)
{
        scoped_text char *path = local_record_path(local, record->name, ".json");
        scoped_text char *fresh = local_record_path(local, record->name, ".json.new");
        scoped_fd int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        scoped(json) json_t *json = json_object();
        scoped_str struct str text = STR_INIT;

        json_set_text(json, "build", record->build_id);
        json_set_text(json, "job", record->job_id);
        json_set_text(json, "token", record->token);
        json_set_text(json, "control", record->control);
        json_set_text(json, "workspace", record->workspace);
        json_set_int(json, "attempt", record->attempt);
        json_set_int(json, "slot", record->slot);
        json_set_bool(json, "networkNone", record->network_none);
        json_set_int(json, "memory", record->memory);
        json_set_int(json, "disk", record->disk);
        json_set_int(json, "millicpus", record->millicpus);
        json_set_int(json, "pids", record->pids);
        json_set_int(json, "pid", record->pid);
        json_set_int(json, "start", record->start);
        str_add_json(&text, json);
        if (fd < 0)
                return error_set_errno(err, "make '%s'", fresh);
        if (fs_write_all(fd, text.data, text.len, err) < 0)
                return -ERROR_UNAVAILABLE;
        return rename(fresh, path) < 0 ? error_set_errno(err, "write '%s'", path) : 0;
}

int local_record_read(const struct local *local, struct local_record *ret, const char *name,
                      struct error *err)
{
        scoped_text char *path = local_record_path(local, name, ".json");
        scoped_str struct str text = STR_INIT;
        scoped(json) json_t *json = NULL;

        if (access(path, F_OK) < 0)
                return error_set(err, ERROR_NOT_FOUND, "there is no sandbox '%s'", name);
        if (str_read_file(&text, path, RECORD_MAX, err) < 0 ||
            json_parse(&json, text.data, text.len, RECORD_MAX, err) < 0)
                return error_wrap(err, "the record '%s'", path);
        *ret = (struct local_record){
                .name = text_copy(name),
                .build_id = text_copy(json_text_or(json, "build", "")),
                .job_id = text_copy(json_text_or(json, "job", "")),
                .token = text_copy(json_text_or(json, "token", "")),
                .control = text_copy(json_text_or(json, "control", "")),
                .workspace = text_copy(json_text_or(json, "workspace", "")),
                .attempt = (int)json_int_or(json, "attempt", 0),
                .slot = (int)json_int_or(json, "slot", 0),
                .network_none = json_bool_or(json, "networkNone", false),
                .memory = json_int_or(json, "memory", 0),
                .disk = json_int_or(json, "disk", 0),
                .millicpus = json_int_or(json, "millicpus", 0),
                .pids = json_int_or(json, "pids", 0),
                .pid = (pid_t)json_int_or(json, "pid", 0),
                .start = json_int_or(json, "start", 0),
        };
        return 0;
}

int64_t local_start_time(pid_t pid)
{
        scoped_text char *path = text_format("/proc/%d/stat", (int)pid);
        scoped_str struct str text = STR_INIT;
        scoped_text char *digits = NULL;
        int64_t start;
        char *at;

        if (pid <= 0 || str_read_file(&text, path, STAT_MAX, NULL) < 0)
                return -1;
        at = strrchr(text.data, ')');
        if (at && at[1] && (at[2] == 'Z' || at[2] == 'X'))
                return -1; /* ended, only not yet collected */
        for (int i = 0; at && i < START_FIELD; i++)
                at = strchr(at + 1, ' ');
        if (!at)
                return -1;
        digits = text_format("%.*s", (int)strcspn(at + 1, " "), at + 1);
        return parse_int(&start, digits, 0, INT64_MAX, NULL) < 0 ? -1 : start;
}

bool local_record_alive(const struct local_record *record)
{
        return record->pid > 0 && local_start_time(record->pid) == record->start;
}

int64_t local_status(const struct local *local, const char *name, const char *key)
{
        scoped_text char *path = local_record_path(local, name, ".status");
        scoped_text char *quoted = text_format("\"%s\":", key);
        scoped_str struct str text = STR_INIT;
        scoped_text char *digits = NULL;
        int64_t value;
        const char *at;

        if (str_read_file(&text, path, STAT_MAX, NULL) < 0)
                return -1;
        at = strstr(text.data, quoted);
        if (!at)
                return -1;
        at += strlen(quoted);
        at += strspn(at, " ");
        digits = text_format("%.*s", (int)strspn(at, "0123456789"), at);
        return parse_int(&value, digits, 0, INT64_MAX, NULL) < 0 ? -1 : value;
}
