#pragma once
/*
 * webhook_event - a message of webhook.queue: one accepted event of a forge
 *
 * The first ten members of its JSON are a public contract. Decoded texts live in the
 * event's arena; absent ones are "".
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct error;
struct str;

struct webhook_event {
        struct arena *arena;
        const char *id;
        const char *forge;          /* "github" */
        const char *repository_url; /* clone_url */
        const char *repo_name;
        const char *repo_full_name;
        const char *branch;
        const char *ref;
        const char *commit;
        const char *message;
        const char *pusher;
        const char *pusher_email;
        const char *author;
        const char *author_email;
        const char *committer_email;
        int64_t timestamp_ns;
        const char *trigger; /* push, tag, pull_request, schedule, manual */
        const char *project_type;
        const char *delivery_id;
        int64_t pull_request; /* 0: none */
        const char *pull_request_title;
        bool fork;
        const char *requested_by; /* manual runs */
};

struct webhook_event *webhook_event_new(void);
void webhook_event_free(struct webhook_event *event);
static inline void webhook_event_freep(struct webhook_event **event)
{
        if (*event)
                webhook_event_free(*event);
}

void webhook_event_encode(const struct webhook_event *event, struct str *ret);
/** webhook_event_decode() - Return: 0 or -ERROR_INVALID with the member that is wrong */
int webhook_event_decode(struct webhook_event **ret, const char *text, size_t n, struct error *err);
