#pragma once
/*
 * doctor - what `argon doctor` looks at, one function per matter
 */
#include <stddef.h>

#include "base/json.h"

struct client;
struct invocation;
struct settings;

enum doctor_state { DOCTOR_FINE, DOCTOR_WARNING, DOCTOR_ERROR };

/** struct doctor - @findings: array of {check, state, text, fix}, in the order of looking */
struct doctor {
        const struct invocation *invocation;
        const struct settings *settings;
        struct client *client; /* NULL: no server is known */
        json_t *findings;
};

/** doctor_tell() - one finding; @fix: what to do, or NULL */
void doctor_tell(struct doctor *doctor, const char *check, enum doctor_state state, const char *fix,
                 const char *format, ...) __attribute__((__format__(__printf__, 5, 6)));

/* doctor_machine.c: this machine, with or without a server */
void doctor_engine(struct doctor *doctor);
void doctor_git(struct doctor *doctor);
void doctor_clock(struct doctor *doctor);
void doctor_disk(struct doctor *doctor);
void doctor_mail(struct doctor *doctor);

/* doctor_server.c: what the server says */
void doctor_server(struct doctor *doctor);
void doctor_executors(struct doctor *doctor);
void doctor_url(struct doctor *doctor);
void doctor_webhook(struct doctor *doctor);
