/* What somebody types as BUILD, and clone URLs of a checkout. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "commands/build_argument.h"

#include "base/banned.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
        struct build_argument argument = {0};
        struct error err = {0};
        char *text = xmalloc(size + 1);
        char *repo;

        memcpy(text, data, size);
        text[size] = '\0';
        if (build_argument_parse(&argument, text, &err) == 0) {
                if (argument.kind == BUILD_REPO_NUMBER &&
                    (argument.number < 1 || !strchr(argument.repo, '/')))
                        abort();
                build_argument_done(&argument);
        }
        repo = build_argument_repo_of_url(text);
        if (repo && !strchr(repo, '/'))
                abort();
        free(repo);
        free(text);
        return 0;
}
