#pragma once
/*
 * control_request - a message of control.queue: what a person asks for
 */
#include <stddef.h>

struct arena;
struct error;
struct str;

enum control_kind { CONTROL_CANCEL, CONTROL_RERUN, CONTROL_RUN };

/**
 * struct control_request
 * @build_id: for cancel and rerun
 * @jobs: for rerun: "failed", "all", or names separated by newlines
 * @repo, @ref: for run; @who: who asked
 */
struct control_request {
        struct arena *arena;
        const char *id;
        enum control_kind kind;
        const char *build_id;
        const char *jobs;
        const char *repo;
        const char *ref;
        const char *who;
};

struct control_request *control_request_new(void);
void control_request_free(struct control_request *request);
static inline void control_request_freep(struct control_request **request)
{
        if (*request)
                control_request_free(*request);
}

void control_request_encode(const struct control_request *request, struct str *ret);
int control_request_decode(struct control_request **ret, const char *text, size_t n,
                           struct error *err);
