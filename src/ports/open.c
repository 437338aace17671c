/*
 * Choosing an adapter by the scheme of a URL: the same few lines for every port.
 */
#include <string.h>

#include "base/error.h"
#include "ports/bus.h"
#include "ports/mailer.h"
#include "ports/store.h"

#include "base/banned.h"

static int has_scheme(const char *url, const char *scheme)
{
        size_t n = strlen(scheme);

        return strncmp(url, scheme, n) == 0 && (url[n] == '\0' || url[n] == ':');
}

int bus_open(struct bus **ret, const struct bus_adapter *table, size_t n, const char *url,
             struct error *err)
{
        for (size_t i = 0; i < n; i++) {
                if (has_scheme(url, table[i].scheme))
                        return table[i].open(ret, url, table[i].context, err);
        }
        return error_set(err, ERROR_INVALID, "no bus for '%s'; set ARGON_BUS to sqlite", url);
}

int store_open(struct store **ret, const struct store_adapter *table, size_t n, const char *url,
               struct error *err)
{
        for (size_t i = 0; i < n; i++) {
                if (has_scheme(url, table[i].scheme))
                        return table[i].open(ret, url, table[i].context, err);
        }
        return error_set(err, ERROR_INVALID, "no store for '%s'; set ARGON_STORE to sqlite", url);
}

int mailer_open(struct mailer **ret, const struct mailer_adapter *table, size_t n, const char *url,
                struct error *err)
{
        for (size_t i = 0; i < n; i++) {
                if (has_scheme(url, table[i].scheme))
                        return table[i].open(ret, url, table[i].context, err);
        }
        return error_set(err, ERROR_INVALID,
                         "no mailer for this URL; set ARGON_MAIL to outbox, smtp://HOST, "
                         "smtps://HOST or none");
}
