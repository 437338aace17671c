/*
 * A plain array: there are no more live attempts than slots and a few.
 */
#include "pipeline/orchestrator/watch.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "domain/reconcile.h"
#include "ports/store.h"

#include "base/banned.h"

struct seen {
        char job_id[40];
        int attempt;
        bool claimed;
        bool asked;
        int64_t beat;
        int64_t moved_at;
        int64_t published_at;
        int republished;
        bool published;
};

struct watch {
        struct seen *seen;
        size_t n;
        size_t cap;
};

struct watch *watch_new(void)
{
        return xcalloc(1, sizeof(struct watch));
}

void watch_free(struct watch *watch)
{
        if (!watch)
                return;
        free(watch->seen);
        free(watch);
}

static struct seen *find(struct watch *watch, const char *job_id, int attempt, int64_t now)
{
        struct seen *seen;

        for (size_t i = 0; i < watch->n; i++) {
                if (watch->seen[i].attempt == attempt && strcmp(watch->seen[i].job_id, job_id) == 0)
                        return &watch->seen[i];
        }
        if (watch->n == watch->cap) {
                watch->cap = watch->cap ? watch->cap * 2 : 16;
                watch->seen = xrealloc(watch->seen, watch->cap * sizeof(*watch->seen));
        }
        seen = &watch->seen[watch->n++];
        *seen = (struct seen){
                .attempt = attempt,
                .asked = true,
                .beat = -1,
                .moved_at = now,
                .published_at = now,
        };
        snprintf(seen->job_id, sizeof(seen->job_id), "%s", job_id);
        return seen;
}

void watch_leases(struct watch *watch, const struct lease *leases, size_t n, int64_t now_ms)
{
        for (size_t i = 0; i < n; i++) {
                struct seen *seen = find(watch, leases[i].job_id, leases[i].attempt, now_ms);

                if (!seen->claimed || seen->beat != leases[i].beat)
                        seen->moved_at = now_ms;
                seen->claimed = true;
                seen->beat = leases[i].beat;
        }
}

void watch_restart(struct watch *watch, int64_t now_ms)
{
        for (size_t i = 0; i < watch->n; i++)
                watch->seen[i].moved_at = now_ms;
}

void watch_published(struct watch *watch, const char *job_id, int attempt, int64_t now_ms)
{
        struct seen *seen = find(watch, job_id, attempt, now_ms);

        if (seen->published)
                seen->republished++;
        seen->published = true;
        seen->published_at = now_ms;
}

void watch_claimed(struct watch *watch, const char *job_id, int attempt, int64_t now_ms)
{
        struct seen *seen = find(watch, job_id, attempt, now_ms);

        if (!seen->claimed)
                seen->moved_at = now_ms;
        seen->claimed = true;
}

void watch_fact(struct watch *watch, const char *job_id, int attempt, int64_t now_ms,
                struct reconcile_fact *ret)
{
        struct seen *seen = find(watch, job_id, attempt, now_ms);

        seen->asked = true;
        *ret = (struct reconcile_fact){
                .claimed = seen->claimed,
                .silent_ms = now_ms - seen->moved_at,
                .waiting_ms = now_ms - seen->published_at,
                .republished = seen->republished,
        };
}

void watch_sweep(struct watch *watch)
{
        size_t kept = 0;

        for (size_t i = 0; i < watch->n; i++) {
                if (!watch->seen[i].asked)
                        continue;
                watch->seen[kept] = watch->seen[i];
                watch->seen[kept++].asked = false;
        }
        watch->n = kept;
}
