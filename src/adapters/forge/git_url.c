#include "adapters/forge/git_url.h"

#include <ctype.h>
#include <string.h>

#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"

#include "base/banned.h"

/* The protocol's length: "https" of "https://…"; "ssh" for host:path; "file" for a path. */
static const char *protocol_of(const char *url, size_t *ret_n)
{
        const char *colon = strchr(url, ':');
        const char *slash = strchr(url, '/');

        if (colon && strncmp(colon, "://", 3) == 0) {
                *ret_n = (size_t)(colon - url);
                return url;
        }
        if (colon && strncmp(colon, "::", 2) == 0) { /* ext::…, a remote helper by name */
                *ret_n = (size_t)(colon - url);
                return url;
        }
        if (colon && (!slash || colon < slash)) {
                *ret_n = 3;
                return "ssh";
        }
        *ret_n = 4;
        return "file";
}

static int is_allowed(const char *protocol, size_t n, const char *allow)
{
        for (const char *at = allow; *at;) {
                size_t length = strcspn(at, ":");

                if (length == n && strncmp(at, protocol, n) == 0)
                        return 1;
                at += length + (at[length] == ':');
        }
        return 0;
}

static char *rewritten(const char *url, const char *rewrite)
{
        for (const char *line = rewrite; line && *line;) {
                size_t n = strcspn(line, "\n");
                const char *equals = memchr(line, '=', n);
                size_t prefix = equals ? (size_t)(equals - line) : 0;

                if (prefix && strncmp(url, line, prefix) == 0)
                        return text_format("%.*s%s", (int)(n - prefix - 1), equals + 1,
                                           url + prefix);
                line += n + (line[n] == '\n');
        }
        return text_copy(url);
}

int git_url_resolve(char **ret, const char *url, const char *rewrite, const char *allow,
                    struct error *err)
{
        scoped_text char *resolved = rewritten(url, rewrite);
        const char *protocol;
        size_t n;

        if (!*resolved || *resolved == '-' || strlen(resolved) > GIT_URL_BYTES_MAX)
                return error_set(err, ERROR_INVALID,
                                 "the clone URL is empty, starts with '-' or is over %d bytes",
                                 GIT_URL_BYTES_MAX);
        for (const char *at = resolved; *at; at++) {
                if (iscntrl((unsigned char)*at) || *at == ' ')
                        return error_set(err, ERROR_INVALID,
                                         "the clone URL holds a space or control character");
        }
        protocol = protocol_of(resolved, &n);
        if (!is_allowed(protocol, n, allow))
                return error_set(err, ERROR_DENIED,
                                 "fetching by \"%.*s\" is not allowed (allowed: %s); the "
                                 "administrator may add it to ARGON_GIT_ALLOW",
                                 (int)n, protocol, allow);
        *ret = take(resolved);
        return 0;
}

void git_url_redact(const char *text, struct str *ret)
{
        const char *at = text;
        const char *start;

        while ((start = strstr(at, "://"))) {
                size_t host = strcspn(start + 3, "@/ '\"\n");

                str_add_bytes(ret, at, (size_t)(start - at) + 3);
                at = start + 3;
                if (at[host] == '@') {
                        str_add(ret, "***");
                        at += host;
                }
        }
        str_add(ret, at);
}
