#include "step/install.h"

#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/fs.h"
#include "base/scoped.h"
#include "base/str.h"

#include "base/banned.h"

/* Made by embed.sh at build time. */
extern const char step_image_bytes[];
extern const char step_image_end[];
extern const char step_image_sha256[];

const void *step_image(size_t *ret_n)
{
        *ret_n = (size_t)(step_image_end - step_image_bytes);
        return step_image_bytes;
}

const char *step_image_hash(void)
{
        return step_image_sha256;
}

static bool is_installed(const char *path)
{
        scoped_str struct str have = STR_INIT;
        struct stat st;
        size_t n;
        const void *want = step_image(&n);

        if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_mode & 07777) != 0755)
                return false;
        return str_read_file(&have, path, n, NULL) == 0 && have.len == n &&
               memcmp(have.data, want, n) == 0;
}

int step_install(char **ret_path, const char *data, struct error *err)
{
        scoped_text char *folder = text_format("%s/step/%s", data, step_image_hash());
        scoped_text char *path = fs_path(folder, "argon-step");
        size_t n;
        const void *bytes = step_image(&n);

        if (!is_installed(path) &&
            (fs_mkdirs(folder, 0755, err) < 0 || fs_write_atomic(path, bytes, n, 0755, err) < 0))
                return error_wrap(err, "install argon-step in '%s'", folder);
        *ret_path = take(path);
        return 0;
}
