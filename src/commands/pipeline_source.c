#include "commands/pipeline_source.h"

#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fs.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/pipeline_file.h"

#include "base/banned.h"

int pipeline_source_find(const char **ret, const char *folder, struct error *err)
{
        scoped_text char *usual = fs_path(folder, PIPELINE_FILE_NAME);
        scoped_text char *other = fs_path(folder, PIPELINE_FILE_NAME_LONG);
        int has_usual = access(usual, F_OK) == 0;
        int has_other = access(other, F_OK) == 0;

        if (has_usual && has_other)
                return error_set(err, ERROR_INVALID,
                                 "both " PIPELINE_FILE_NAME " and " PIPELINE_FILE_NAME_LONG
                                 " are here; keep one of them");
        if (!has_usual && !has_other)
                return error_set(err, ERROR_NOT_FOUND,
                                 "no " PIPELINE_FILE_NAME " here; 'argon init' writes one");
        *ret = has_usual ? PIPELINE_FILE_NAME : PIPELINE_FILE_NAME_LONG;
        return 0;
}

int pipeline_source_read(struct pipeline_file **ret, const char *path, const char *name,
                         struct error *err)
{
        scoped_str struct str text = STR_INIT;
        int result;

        if (strcmp(path, "-") == 0)
                result = str_read_fd(&text, STDIN_FILENO, PIPELINE_SOURCE_BYTES_MAX, err);
        else
                result = str_read_file(&text, path, PIPELINE_SOURCE_BYTES_MAX, err);
        if (result < 0)
                return result;
        *ret = pipeline_file_parse(name ? name : path, text.data, text.len);
        return 0;
}
