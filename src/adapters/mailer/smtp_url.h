#pragma once
/*
 * smtp_url - smtp://[user:password@]host[:port][?tls=…&timeout=…], taken apart
 *
 * User and password are percent-decoded. No text of an error repeats the URL: it holds a password.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct error;

/** enum smtp_tls - offered: STARTTLS when the server offers it; required: or nothing is sent */
enum smtp_tls { SMTP_TLS_OFFERED, SMTP_TLS_REQUIRED, SMTP_TLS_NEVER };

/**
 * struct smtp_url - @host: as in a URL, brackets of IPv6 included; @port: 0: the usual one
 * @implicit_tls: smtps; @timeout_ms: of the sending of one mail
 */
struct smtp_url {
        struct str user;
        struct str password;
        struct str host;
        int port;
        bool implicit_tls;
        enum smtp_tls tls;
        int64_t timeout_ms;
};

void smtp_url_init(struct smtp_url *url);
void smtp_url_done(struct smtp_url *url);
#define scoped_smtp_url __attribute__((__cleanup__(smtp_url_done)))

/** smtp_url_parse() - ret was initialised. With a password, and a host that is not this machine,
 *  TLS is required unless tls=never says otherwise. */
int smtp_url_parse(struct smtp_url *ret, const char *text, struct error *err);
