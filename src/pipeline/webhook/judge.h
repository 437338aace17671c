#pragma once
/*
 * judge - what a delivery is: work, something to record and leave, a greeting, or not what its
 * header claims
 *
 * The event's name is not signed, so the body must have the shape of that event.
 */
#include <stdbool.h>

struct error;
struct payload;
struct webhook_event;

enum judgement_kind {
        JUDGED_ACCEPTED, /* there is an event for the orchestrator */
        JUDGED_IGNORED,  /* recorded with its reason */
        JUDGED_PONG,     /* a new hook says hello */
};

/** struct judgement - the texts live in event, or for ever */
struct judgement {
        enum judgement_kind kind;
        const char *reason; /* why it is ignored, or what is special; "": nothing */
        struct webhook_event *event;
};

void judgement_done(struct judgement *judgement);

/**
 * judge_event() - judge a payload that payload_end() found sound
 * @event: of the header X-GitHub-Event
 *
 * Id, delivery id and time of the event are left to the caller.
 *
 * Return: 0, or -ERROR_INVALID: the body is not such an event; the text says which member is wrong.
 */
int judge_event(struct judgement *ret, const struct payload *payload, const char *event,
                struct error *err);
