#pragma once
/*
 * verdict - what a delivery is: work, something to record and leave, a greeting, or not what its
 * header claims
 *
 * The event's name is not signed, so the body must have the shape of that event.
 */
#include <stdbool.h>

struct error;
struct payload;
struct webhook_event;

enum verdict_kind {
        VERDICT_ACCEPTED, /* there is an event for the orchestrator */
        VERDICT_IGNORED,  /* recorded with its reason */
        VERDICT_PONG,     /* a new hook says hello */
};

/** struct verdict - the texts live in event */
struct verdict {
        enum verdict_kind kind;
        const char *reason; /* why it is ignored, else "" */
        struct webhook_event *event;
};

void verdict_done(struct verdict *verdict);

/**
 * verdict_reach() - judge a payload that payload_end() found sound
 * @event: of the header X-GitHub-Event
 *
 * Id, delivery id and time of the event are left to the caller.
 *
 * Return: 0, or -ERROR_INVALID: the body is not such an event; the text says which member is wrong.
 */
int verdict_reach(struct verdict *ret, const struct payload *payload, const char *event,
                  struct error *err);
