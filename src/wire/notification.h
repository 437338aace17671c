#pragma once
/*
 * notification - a message of notification.queue: one finished build, ready to be told
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "domain/build.h"

struct arena;
struct error;
struct str;

struct notification_job {
        const char *name;
        enum state state;
        int64_t duration_ms;
        int attempt;
};

/**
 * struct notification
 * @url: the build's page; @job_url: the failing job's page with its line
 * @failing_*: of the first failing step; "" and 0 when none failed
 * @tail: its last lines, masked
 * @policy: notify.email of the file, or ""
 */
struct notification {
        struct arena *arena;
        const char *id;
        const char *build_id;
        int round;
        const char *repo;
        int64_t number;
        const char *ref;
        const char *branch;
        const char *commit;
        const char *message;
        const char *author;
        const char *author_email;
        const char *committer_email;
        const char *pusher;
        const char *pusher_email;
        const char *event;
        bool fork;
        enum state state;
        enum reason reason;
        const char *reason_text;
        const char *previous; /* the branch's end state before, or "" */
        const char *policy;
        int64_t duration_ms;
        const char *url;
        const char *failing_job;
        const char *failing_step;
        const char *failing_reason;
        int failing_attempt;
        int64_t failing_duration_ms;
        int64_t failing_first_line;
        const char *job_url;
        const char *tail;
        int64_t tail_last_line;
        const char *findings; /* for config_invalid: the findings as `argon lint` shows them */
        struct notification_job *jobs;
        size_t n_jobs;
};

struct notification *notification_new(void);
void notification_free(struct notification *notification);
static inline void notification_freep(struct notification **notification)
{
        if (*notification)
                notification_free(*notification);
}

/** notification_encode() - at most BUS_BODY_MAX: tail and findings are cut to 32 KiB each */
void notification_encode(const struct notification *notification, struct str *ret);
int notification_decode(struct notification **ret, const char *text, size_t n, struct error *err);
