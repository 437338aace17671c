/*
 * dlopen() counts its callers and gives the same library each time, so no variable of ours has to
 * remember that it was loaded. RTLD_NODELETE keeps it: OpenSSL below it registers functions for
 * the end of the process that must not be unmapped before.
 */
#include "base/curl.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#include "base/error.h"

#include "base/banned.h"

#define CURL_LIBRARY "libcurl.so.4"

static const struct curl_symbol {
        const char *name;
        size_t offset;
} symbols[] = {
        {"curl_easy_init", offsetof(struct curl, easy_init)},
        {"curl_easy_cleanup", offsetof(struct curl, easy_cleanup)},
        {"curl_easy_reset", offsetof(struct curl, easy_reset)},
        {"curl_easy_setopt", offsetof(struct curl, easy_setopt)},
        {"curl_easy_getinfo", offsetof(struct curl, easy_getinfo)},
        {"curl_easy_perform", offsetof(struct curl, easy_perform)},
        {"curl_easy_pause", offsetof(struct curl, easy_pause)},
        {"curl_easy_strerror", offsetof(struct curl, easy_strerror)},
        {"curl_slist_append", offsetof(struct curl, slist_append)},
        {"curl_slist_free_all", offsetof(struct curl, slist_free_all)},
        {"curl_multi_init", offsetof(struct curl, multi_init)},
        {"curl_multi_cleanup", offsetof(struct curl, multi_cleanup)},
        {"curl_multi_add_handle", offsetof(struct curl, multi_add_handle)},
        {"curl_multi_remove_handle", offsetof(struct curl, multi_remove_handle)},
        {"curl_multi_perform", offsetof(struct curl, multi_perform)},
        {"curl_multi_poll", offsetof(struct curl, multi_poll)},
        {"curl_multi_info_read", offsetof(struct curl, multi_info_read)},
        {"curl_multi_setopt", offsetof(struct curl, multi_setopt)},
        {"curl_multi_strerror", offsetof(struct curl, multi_strerror)},
};

int curl_load(struct curl *ret, struct error *err)
{
        void *library = dlopen(CURL_LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        struct curl loaded;

        if (!library)
                return error_set(err, ERROR_UNAVAILABLE,
                                 "load libcurl: %s; install it (Debian: apt-get install libcurl4)",
                                 dlerror());
        for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
                void *function = dlsym(library, symbols[i].name);

                if (!function)
                        return error_set(err, ERROR_UNAVAILABLE,
                                         "load libcurl: %s has no %s; version 7.66 or newer is "
                                         "needed (Debian: apt-get install libcurl4)",
                                         CURL_LIBRARY, symbols[i].name);
                memcpy((char *)&loaded + symbols[i].offset, &function, sizeof(function));
        }
        *ret = loaded;
        return 0;
}
