#include "pipeline/executor/folders.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fs.h"
#include "base/scoped.h"
#include "base/str.h"

#include "base/banned.h"

#define TMPFS_TYPE 0x01021994

static int read_id(const char *data, char ret[ID_SIZE], struct error *err)
{
        scoped_text char *path = fs_path(data, "executor.id");
        scoped_str struct str text = STR_INIT;

        if (access(path, F_OK) == 0) {
                if (str_read_file(&text, path, ID_SIZE, err) < 0)
                        return -err->kind;
                if (text.len >= ID_SIZE - 1)
                        text.data[ID_SIZE - 1] = '\0';
                if (!id_valid(text.data))
                        return error_set(err, ERROR_INVALID,
                                         "'%s' holds no id; remove it and a new one is made", path);
                memcpy(ret, text.data, ID_SIZE);
                return 0;
        }
        id_new(ret);
        str_printf(&text, "%s\n", ret);
        return fs_write_atomic(path, text.data, text.len, 0644, err);
}

/* A folder on a file system that is memory only; NULL where there is none: then added masks are
 * not kept over a restart. */
static char *masks_folder(const char *id)
{
        static const char *const roots[] = {"/run", "/dev/shm"};

        for (size_t i = 0; i < sizeof(roots) / sizeof(*roots); i++) {
                scoped_text char *path = text_format("%s/argon-%s", roots[i], id);
                struct statfs fs;
                struct stat st;

                if (statfs(roots[i], &fs) < 0 || fs.f_type != TMPFS_TYPE)
                        continue;
                if (mkdir(path, 0700) < 0 && errno != EEXIST)
                        continue;
                if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
                    (st.st_mode & 077) == 0)
                        return take(path);
        }
        return NULL;
}

int folders_init(struct folders *folders, const char *data, struct error *err)
{
        *folders = (struct folders){
                .work = fs_path(data, "work"),
                .control = fs_path(data, "jobs"),
                .spool = fs_path(data, "spool/jobs"),
        };
        if (fs_mkdirs(folders->work, 0700, err) < 0 || fs_mkdirs(folders->control, 0700, err) < 0 ||
            fs_mkdirs(folders->spool, 0700, err) < 0)
                return -err->kind;
        if (read_id(data, folders->id, err) < 0)
                return error_wrap(err, "the executor's id");
        folders->masks = masks_folder(folders->id);
        return 0;
}

void folders_done(struct folders *folders)
{
        /* one that is not empty serves the next process */
        if (folders->masks)
                rmdir(folders->masks);
        free(folders->work);
        free(folders->control);
        free(folders->spool);
        free(folders->masks);
}
