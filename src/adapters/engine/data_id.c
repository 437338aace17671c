#include "adapters/engine/data_id.h"

#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/scoped.h"
#include "base/str.h"

#include "base/banned.h"

#define FILE_MAX 64

int data_id_read(char **ret, char ret8[DATA_ID8], const char *data, struct error *err)
{
        scoped_text char *folder = fs_path(data, "engine");
        scoped_text char *path = fs_path(folder, "id");
        scoped_str struct str text = STR_INIT;
        char id[ID_SIZE];

        if (access(path, F_OK) < 0) {
                id_new(id);
                if (fs_mkdirs(folder, 0755, err) < 0 ||
                    fs_write_atomic(path, id, strlen(id), 0644, err) < 0)
                        return -ERROR_UNAVAILABLE;
        }
        if (str_read_file(&text, path, FILE_MAX, err) < 0)
                return -ERROR_UNAVAILABLE;
        while (text.len > 0 && text.data[text.len - 1] == '\n')
                str_truncate(&text, text.len - 1);
        if (!id_valid(text.data))
                return error_set(err, ERROR_INVALID,
                                 "'%s' does not hold an id; remove it, and a new one is made",
                                 path);
        memcpy(ret8, text.data + text.len - (DATA_ID8 - 1), DATA_ID8);
        *ret = str_steal(&text);
        return 0;
}
