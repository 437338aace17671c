#pragma once
/*
 * mailer - hands one finished mail to somebody who delivers it
 *
 * The message is complete (RFC 5322, CRLF lines, headers and body); the adapter adds nothing to it.
 * One recipient per mail. A mailer belongs to one thread.
 */
#include <stddef.h>

#include "base/error.h"

struct mailer;

struct mailer_ops {
        int (*send)(struct mailer *mailer, const char *from, const char *to, const char *message,
                    size_t n, char ret_detail[128], struct error *err);
        void (*close)(struct mailer *mailer);
};

struct mailer {
        const struct mailer_ops *ops;
};

/**
 * mailer_send() - Return 0 when the other side has taken responsibility for the mail
 * @from, @to: bare addresses of the envelope, already checked (no CR, LF, NUL, '<', '>')
 * @ret_detail: for the ledger: its path in the outbox, the server's answer, the message id
 *
 * -ERROR_UNAVAILABLE: try again later (4xx, no connection). -ERROR_INVALID or -ERROR_DENIED: never
 * (5xx, refused login); the text has the server's words.
 */
static inline int mailer_send(struct mailer *mailer, const char *from, const char *to,
                              const char *message, size_t n, char ret_detail[128],
                              struct error *err)
{
        return mailer->ops->send(mailer, from, to, message, n, ret_detail, err);
}

static inline void mailer_close(struct mailer *mailer)
{
        if (mailer)
                mailer->ops->close(mailer);
}

/** struct mailer_adapter - @context: handed to open (the data folder for outbox) */
struct mailer_adapter {
        const char *scheme; /* "outbox", "smtp", "smtps", "none" */
        int (*open)(struct mailer **ret, const char *url, void *context, struct error *err);
        void *context;
};

/** mailer_open() - the adapter whose scheme the url starts with ("outbox", "outbox:DIR") */
int mailer_open(struct mailer **ret, const struct mailer_adapter *table, size_t n, const char *url,
                struct error *err);
