/*
 * For servers that tell nobody: every mail is taken and dropped, and the ledger says so.
 */
#include <stdio.h>
#include <stdlib.h>

#include "adapters/mailer/mailers.h"
#include "base/str.h"
#include "ports/mailer.h"

#include "base/banned.h"

static int none_send(struct mailer *mailer, const char *from, const char *to, const char *message,
                     size_t n, char ret_detail[128], struct error *err)
{
        snprintf(ret_detail, 128, "dropped: mail is switched off (none)");
        return 0;
}

static void none_close(struct mailer *mailer)
{
        free(mailer);
}

static const struct mailer_ops none_ops = {.send = none_send, .close = none_close};

int mailer_open_none(struct mailer **ret, const char *url, void *context, struct error *err)
{
        struct mailer *mailer = xcalloc(1, sizeof(*mailer));

        mailer->ops = &none_ops;
        *ret = mailer;
        return 0;
}
