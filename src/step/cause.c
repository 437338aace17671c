#include "step/cause.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/scoped.h"

#include "base/banned.h"

#define FILE_BYTES_MAX 4096
#define UNLIMITED (INT64_C(1) << 60) /* version 1 writes a huge number for "no limit" */

/* false when it is not there */
static bool read_file(char text[FILE_BYTES_MAX], const char *folder, const char *name)
{
        char path[512];
        scoped_fd int fd = -1;
        ssize_t n;

        if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path))
                return false;
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        n = fd < 0 ? -1 : read(fd, text, FILE_BYTES_MAX - 1);
        if (n < 0)
                return false;
        text[n] = '\0';
        return true;
}

/* The number after `key` in "key number\n…"; with key "" the first of the file. -1: none. */
static int64_t number_of(const char *folder, const char *name, const char *key)
{
        char text[FILE_BYTES_MAX];
        size_t n = strlen(key);

        if (!read_file(text, folder, name))
                return -1;
        for (const char *line = text; line; line = strchr(line, '\n')) {
                line += *line == '\n';
                if (!strncmp(line, key, n) && (n == 0 || line[n] == ' ')) {
                        char *end;
                        int64_t value = strtoll(line + n, &end, 10);

                        return end == line + n ? -1 : value;
                }
        }
        return -1;
}

/* The first of the two files that can be read: version 2, version 1. */
static int64_t either(const char *folder, const char *v2, const char *v1, const char *key)
{
        int64_t value = number_of(folder, v2, key);

        return value >= 0 ? value : number_of(folder, v1, key);
}

struct cause_counters cause_read(const char *cgroup)
{
        return (struct cause_counters){
                .oom = either(cgroup, "memory.events", "memory/memory.oom_control", "oom_kill"),
                .pids = either(cgroup, "pids.events", "pids/pids.events", "max"),
        };
}

static void say_memory(char sentence[CAUSE_SENTENCE_MAX], const char *cgroup)
{
        int64_t limit = either(cgroup, "memory.max", "memory/memory.limit_in_bytes", "");

        if (limit <= 0 || limit > UNLIMITED)
                snprintf(sentence, CAUSE_SENTENCE_MAX, "out of memory");
        else if (limit % (1024 * 1024) == 0)
                snprintf(sentence, CAUSE_SENTENCE_MAX, "out of memory (%lld MiB)",
                         (long long)(limit / 1024 / 1024));
        else
                snprintf(sentence, CAUSE_SENTENCE_MAX, "out of memory (%lld KiB)",
                         (long long)(limit / 1024));
}

static void say_pids(char sentence[CAUSE_SENTENCE_MAX], const char *cgroup)
{
        int64_t limit = either(cgroup, "pids.max", "pids/pids.max", "");

        if (limit > 0)
                snprintf(sentence, CAUSE_SENTENCE_MAX, "process limit reached (%lld)",
                         (long long)limit);
        else
                snprintf(sentence, CAUSE_SENTENCE_MAX, "process limit reached");
}

static bool disk_full(const char *workspace, char sentence[CAUSE_SENTENCE_MAX])
{
        struct statvfs st;

        if (statvfs(workspace, &st) < 0 || st.f_blocks == 0)
                return false;
        if (st.f_bavail == 0)
                snprintf(sentence, CAUSE_SENTENCE_MAX, "disk full: no space left in %s (%llu MiB)",
                         workspace, (unsigned long long)st.f_blocks * st.f_frsize / 1024 / 1024);
        else if (st.f_files > 0 && st.f_favail == 0)
                snprintf(sentence, CAUSE_SENTENCE_MAX,
                         "disk full: no room for more files in %s (%llu)", workspace,
                         (unsigned long long)st.f_files);
        else
                return false;
        return true;
}

enum step_cause cause_of(const char *cgroup, const char *workspace,
                         const struct cause_counters *before, bool failed,
                         char sentence[CAUSE_SENTENCE_MAX], char warning[CAUSE_SENTENCE_MAX])
{
        struct cause_counters after = cause_read(cgroup);
        bool oom = before->oom >= 0 && after.oom > before->oom;
        bool pids = before->pids >= 0 && after.pids > before->pids;

        sentence[0] = '\0';
        warning[0] = '\0';
        if (!failed && oom) {
                say_memory(sentence, cgroup);
                snprintf(warning, CAUSE_SENTENCE_MAX,
                         "a process of this step was killed: %.200s; the step went on", sentence);
        } else if (!failed && pids) {
                say_pids(sentence, cgroup);
                snprintf(warning, CAUSE_SENTENCE_MAX,
                         "a process of this step could not be started: %.180s; the step went on",
                         sentence);
        }
        sentence[0] = '\0';
        if (!failed)
                return STEP_CAUSE_NONE;
        if (oom) {
                say_memory(sentence, cgroup);
                return STEP_CAUSE_OOM;
        }
        if (pids) {
                say_pids(sentence, cgroup);
                return STEP_CAUSE_PIDS;
        }
        return disk_full(workspace, sentence) ? STEP_CAUSE_DISK : STEP_CAUSE_NONE;
}
