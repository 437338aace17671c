/*
 * Restoring a backup: whatever the file holds, nothing appears outside of the folder, and a folder
 * that was refused is left empty.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "adapters/sqlite/backup.h"
#include "base/fs.h"
#include "base/scoped.h"
#include "base/str.h"

#include "base/banned.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static int count_entries(const char *folder)
{
        DIR *dir = opendir(folder);
        struct dirent *entry;
        int n = 0;

        if (!dir)
                abort();
        while ((entry = readdir(dir)))
                n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
        closedir(dir);
        return n;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
        char folder[] = "/tmp/argon-fuzz-backup-XXXXXX";
        int fd = memfd_create("backup", MFD_CLOEXEC);
        scoped_text char *file = text_format("/proc/self/fd/%d", fd);
        scoped_text char *target = NULL;
        int restored;

        if (fd < 0 || !mkdtemp(folder) || fs_write_all(fd, data, size, NULL) < 0)
                abort();
        target = fs_path(folder, "data");
        restored = sqlite_restore(file, target, NULL);
        if (count_entries(folder) != 1 || count_entries(target) != (restored == 0 ? 2 : 0))
                abort();
        close(fd);
        fs_remove_tree(folder, NULL);
        return 0;
}
