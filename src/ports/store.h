#pragma once
/*
 * store - the truth: deliveries, builds, orders, leases, executors, log entries, the ledger
 *
 * Every call is durable when it returns 0 and safe to repeat: keys are made by us, a second insert
 * of the same key is recognised (-ERROR_CONFLICT, or success where the comment says so). Beats,
 * executors' rows and the marks of published deliveries may be lost with the machine's power, not
 * with a process: they are said again. No call
 * relies on a transaction that spans two calls. struct store may be shared by threads.
 *
 * Who writes what (one owner each): deliveries the webhook, outcomes, builds and
 * orders the orchestrator, leases and executors the executor (the orchestrator claims a lease only
 * to withdraw an attempt that nobody has taken), log entries the logger, the ledger the notifier.
 *
 * Texts in results live as long as the result's arena or as the comment says.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/scoped.h"

struct arena;
struct build;
struct log_entry;
struct store;

#define STORE_PAGE_MAX 200
#define STORE_STATES 9 /* of enum state */

/**
 * struct delivery - one event as the webhook took it, with what came of it
 * @id: the forge's delivery id; @sha256: 64 hex digits of the raw body
 * @message: the body for webhook.queue (JSON), "" when ignored: there is nothing to publish
 * @result: accepted or ignored (webhook's word), with its reason; then the orchestrator's outcome:
 *         "" (not yet), built, no configuration, ignored, error
 * @build_id: what it became, or ""
 */
struct delivery {
        const char *id;
        const char *event;
        const char *repo;
        const char *sha256;
        const char *message;
        int64_t received_at;
        const char *result;
        const char *reason;
        bool published;
        const char *outcome;
        const char *outcome_reason;
        const char *build_id;
};

/** struct build_filter - NULL or "" members do not filter; @cursor: from the page before */
struct build_filter {
        const char *repo;
        const char *branch;
        const char *commit;
        const char *state;
        const char *event;
        const char *cursor;
        int limit;
};

/** struct build_page - builds newest first, each owned by the page, without jobs unless said;
 * @next: "" at the end */
struct build_page {
        struct build **builds;
        size_t n;
        char next[64];
};

/** struct delivery_page - texts live in the arena */
struct delivery_page {
        struct arena *arena;
        struct delivery *deliveries;
        size_t n;
        char next[64];
};

/**
 * struct lease - who runs an attempt
 * @owner: the executor's id; "" never claimed; @beat: counted up by the owner; @released: ended
 */
struct lease {
        char job_id[40];
        int attempt;
        char token[72];
        char owner[72];
        int64_t beat;
        bool released;
};

/** struct executor_row - an executor as it describes itself; texts live in the list's arena */
struct executor_row {
        const char *id;
        const char *name;
        const char *labels;
        const char *engine;
        int slots;
        int running;
        int64_t beat;
        int64_t seen_at;
        bool draining;
};

struct executor_list {
        struct arena *arena;
        struct executor_row *rows;
        size_t n;
};

/** struct log_line - one line of a job; @ms: since the attempt began; stream 1 stdout, 2 stderr, 0
 * ours
 *  @text: n bytes as the job wrote them, without the newline; may be anything */
struct log_line {
        int64_t number;
        int64_t ms;
        int stream;
        int step;
        const char *text;
        size_t n;
};

struct log_window {
        struct arena *arena;
        struct log_line *lines;
        size_t n;
        bool ended; /* no line will follow: the attempt's log is complete */
};

/** struct log_stats - of one attempt; @bytes: what log.txt has */
struct log_stats {
        int64_t lines;
        int64_t bytes;
        int64_t last_seq;
        bool ended;
};

/** struct log_filter - for the log entries of services and steps, newest first */
struct log_filter {
        const char *service;
        const char *job_id;
        const char *build_id;
        const char *severity;
        int64_t since_ms;
        const char *cursor;
        int limit;
};

/** struct log_page - each entry as the message it came in, newest first; texts in the arena
 */
struct log_page {
        struct arena *arena;
        const char **entries;
        size_t n;
        char next[64];
};

/** struct ledger_key - what was sent to whom */
struct ledger_key {
        const char *build_id;
        int round;
        const char *channel;
        const char *recipient;
};

struct retention {
        int64_t logs_ms;   /* log entries older than this */
        int64_t builds_ms; /* builds older than this, beyond builds_keep per repository */
        int builds_keep;
        int64_t deliveries_ms;
};

struct store_ops {
        /* deliveries */
        int (*delivery_add)(struct store *store, const struct delivery *delivery,
                            char ret_duplicate_of[72], struct error *err);
        int (*delivery_published)(struct store *store, const char *const *ids, size_t n,
                                  struct error *err);
        int (*deliveries_unpublished)(struct store *store, struct delivery_page *ret, int limit,
                                      struct error *err);
        int (*delivery_outcome)(struct store *store, const char *id, const char *outcome,
                                const char *reason, const char *build_id, struct error *err);
        int (*deliveries)(struct store *store, struct delivery_page *ret, int limit,
                          const char *cursor, struct error *err);
        /* builds */
        int (*build_insert)(struct store *store, struct build *build, struct error *err);
        int (*build_update)(struct store *store, struct build *build, struct error *err);
        int (*build_get)(struct store *store, struct build **ret, const char *id,
                         struct error *err);
        int (*build_of_job)(struct store *store, struct build **ret, const char *job_id,
                            struct error *err);
        int (*build_of_number)(struct store *store, struct build **ret, const char *repo,
                               int64_t number, struct error *err);
        int (*build_of_delivery)(struct store *store, struct build **ret, const char *delivery_id,
                                 struct error *err);
        int (*builds)(struct store *store, struct build_page *ret,
                      const struct build_filter *filter, struct error *err);
        int (*builds_unfinished)(struct store *store, struct build_page *ret, struct error *err);
        int (*build_counts)(struct store *store, int64_t ret[STORE_STATES], struct error *err);
        int (*build_previous_state)(struct store *store, char ret[16], const char *repo,
                                    const char *branch, int64_t before_number, struct error *err);
        /* orders */
        int (*order_put)(struct store *store, const char *job_id, int attempt, const char *json,
                         size_t n, struct error *err);
        int (*order_get)(struct store *store, char **ret, size_t *ret_n, const char *job_id,
                         int attempt, struct error *err);
        /* leases */
        int (*lease_claim)(struct store *store, const char *job_id, int attempt, const char *token,
                           const char *owner, struct error *err);
        int (*lease_beat)(struct store *store, const char *owner, struct error *err);
        int (*lease_release)(struct store *store, const char *job_id, int attempt,
                             const char *token, struct error *err);
        int (*leases)(struct store *store, struct lease **ret, size_t *ret_n, const char *owner,
                      struct error *err);
        /* executors */
        int (*executor_put)(struct store *store, const struct executor_row *row, struct error *err);
        int (*executors)(struct store *store, struct executor_list *ret, struct error *err);
        /* logs */
        int (*log_append)(struct store *store, const struct log_entry *entries, size_t n,
                          struct error *err);
        int (*log_lines)(struct store *store, struct log_window *ret, const char *job_id,
                         int attempt, int64_t from, int64_t n, struct error *err);
        int (*log_bytes)(struct store *store, char *bytes, size_t n, size_t *ret_n,
                         const char *job_id, int attempt, int64_t offset, struct error *err);
        int (*log_stats)(struct store *store, struct log_stats *ret, const char *job_id,
                         int attempt, struct error *err);
        int (*logs)(struct store *store, struct log_page *ret, const struct log_filter *filter,
                    struct error *err);
        /* ledger */
        int (*ledger_sent)(struct store *store, bool *ret, const struct ledger_key *key,
                           struct error *err);
        int (*ledger_mark)(struct store *store, const struct ledger_key *key, const char *detail,
                           struct error *err);
        /* housekeeping */
        int (*retain)(struct store *store, const struct retention *retention, int64_t *ret_removed,
                      struct error *err);
        int (*check)(struct store *store, struct error *err);
        int (*backup)(struct store *store, const char *path, struct error *err);
        void (*close)(struct store *store);
};

struct store {
        const struct store_ops *ops;
};

void build_page_done(struct build_page *page);
void delivery_page_done(struct delivery_page *page);
void executor_list_done(struct executor_list *list);
void log_window_done(struct log_window *window);
void log_page_done(struct log_page *page);

/**
 * store_delivery_add() - journal a delivery as unpublished
 *
 * Return: 0 when it is new; -ERROR_CONFLICT when the id, or the same sha256 with the same event,
 * was seen within the retention: ret_duplicate_of is then the id of the first one.
 */
static inline int store_delivery_add(struct store *store, const struct delivery *delivery,
                                     char ret_duplicate_of[72], struct error *err)
{
        return store->ops->delivery_add(store, delivery, ret_duplicate_of, err);
}

static inline int store_delivery_published(struct store *store, const char *const *ids, size_t n,
                                           struct error *err)
{
        return store->ops->delivery_published(store, ids, n, err);
}

/** store_deliveries_unpublished() - accepted ones with a message still to publish, oldest first */
static inline int store_deliveries_unpublished(struct store *store, struct delivery_page *ret,
                                               int limit, struct error *err)
{
        return store->ops->deliveries_unpublished(store, ret, limit, err);
}

/** store_delivery_outcome() - upsert: the outcome may arrive before the journal's row does */
static inline int store_delivery_outcome(struct store *store, const char *id, const char *outcome,
                                         const char *reason, const char *build_id,
                                         struct error *err)
{
        return store->ops->delivery_outcome(store, id, outcome, reason, build_id, err);
}

/** store_deliveries() - newest first, journal and outcome joined */
static inline int store_deliveries(struct store *store, struct delivery_page *ret, int limit,
                                   const char *cursor, struct error *err)
{
        return store->ops->deliveries(store, ret, limit, cursor, err);
}

/**
 * store_build_insert() - a new build; sets build->number to the next of its repository
 *
 * Return: -ERROR_CONFLICT when the id or its delivery_id (unless "") has a build already.
 */
static inline int store_build_insert(struct store *store, struct build *build, struct error *err)
{
        return store->ops->build_insert(store, build, err);
}

/**
 * store_build_update() - replace the stored build if its version is still build->version
 *
 * Raises build->version by one. Return: -ERROR_CONFLICT when somebody else was first: read it
 * again.
 */
static inline int store_build_update(struct store *store, struct build *build, struct error *err)
{
        return store->ops->build_update(store, build, err);
}

static inline int store_build_get(struct store *store, struct build **ret, const char *id,
                                  struct error *err)
{
        return store->ops->build_get(store, ret, id, err);
}

static inline int store_build_of_job(struct store *store, struct build **ret, const char *job_id,
                                     struct error *err)
{
        return store->ops->build_of_job(store, ret, job_id, err);
}

static inline int store_build_of_number(struct store *store, struct build **ret, const char *repo,
                                        int64_t number, struct error *err)
{
        return store->ops->build_of_number(store, ret, repo, number, err);
}

static inline int store_build_of_delivery(struct store *store, struct build **ret,
                                          const char *delivery_id, struct error *err)
{
        return store->ops->build_of_delivery(store, ret, delivery_id, err);
}

static inline int store_builds(struct store *store, struct build_page *ret,
                               const struct build_filter *filter, struct error *err)
{
        return store->ops->builds(store, ret, filter, err);
}

/** store_builds_unfinished() - all that are queued, running or not yet notified, oldest first, with
 *  their jobs */
static inline int store_builds_unfinished(struct store *store, struct build_page *ret,
                                          struct error *err)
{
        return store->ops->builds_unfinished(store, ret, err);
}

/** store_build_counts() - how many builds are in each state (index: enum state) */
static inline int store_build_counts(struct store *store, int64_t ret[STORE_STATES],
                                     struct error *err)
{
        return store->ops->build_counts(store, ret, err);
}

/** store_build_previous_state() - of the newest ended build (not cancelled, not skipped) of the
 * branch with a lower number; "" when there is none */
static inline int store_build_previous_state(struct store *store, char ret[16], const char *repo,
                                             const char *branch, int64_t before_number,
                                             struct error *err)
{
        return store->ops->build_previous_state(store, ret, repo, branch, before_number, err);
}

/** store_order_put() - what an attempt is to do; the same key again is success and changes nothing.
 *  Attempt 0 of a build's id holds the pipeline file that the build was planned from. */
static inline int store_order_put(struct store *store, const char *job_id, int attempt,
                                  const char *json, size_t n, struct error *err)
{
        return store->ops->order_put(store, job_id, attempt, json, n, err);
}

/** store_order_get() - *ret is on the heap, the caller frees */
static inline int store_order_get(struct store *store, char **ret, size_t *ret_n,
                                  const char *job_id, int attempt, struct error *err)
{
        return store->ops->order_get(store, ret, ret_n, job_id, attempt, err);
}

/**
 * store_lease_claim() - become the one that runs (job, attempt)
 *
 * Return: 0 when it is ours now or was ours already under this token; -ERROR_CONFLICT when another
 * owner has it or it was released.
 */
static inline int store_lease_claim(struct store *store, const char *job_id, int attempt,
                                    const char *token, const char *owner, struct error *err)
{
        return store->ops->lease_claim(store, job_id, attempt, token, owner, err);
}

/** store_lease_beat() - count up the beat of all unreleased leases of this owner */
static inline int store_lease_beat(struct store *store, const char *owner, struct error *err)
{
        return store->ops->lease_beat(store, owner, err);
}

/** store_lease_release() - it has ended or is given up; also one that nobody claimed yet, which
 *  nobody can claim then. -ERROR_CONFLICT when the token is another */
static inline int store_lease_release(struct store *store, const char *job_id, int attempt,
                                      const char *token, struct error *err)
{
        return store->ops->lease_release(store, job_id, attempt, token, err);
}

/** store_leases() - the unreleased ones of an owner, or of all (NULL); *ret on the heap */
static inline int store_leases(struct store *store, struct lease **ret, size_t *ret_n,
                               const char *owner, struct error *err)
{
        return store->ops->leases(store, ret, ret_n, owner, err);
}

static inline int store_executor_put(struct store *store, const struct executor_row *row,
                                     struct error *err)
{
        return store->ops->executor_put(store, row, err);
}

static inline int store_executors(struct store *store, struct executor_list *ret, struct error *err)
{
        return store->ops->executors(store, ret, err);
}

/**
 * store_log_append() - entries of any jobs and services, in order
 *
 * An entry of a step whose (job, attempt, seq) is there already is ignored. A hole in seq is kept
 * and shown as a gap. An entry with `ended` set marks the attempt's log as complete.
 */
static inline int store_log_append(struct store *store, const struct log_entry *entries, size_t n,
                                   struct error *err)
{
        return store->ops->log_append(store, entries, n, err);
}

/** store_log_lines() - up to n lines from line number `from` (1 is the first) */
static inline int store_log_lines(struct store *store, struct log_window *ret, const char *job_id,
                                  int attempt, int64_t from, int64_t n, struct error *err)
{
        return store->ops->log_lines(store, ret, job_id, attempt, from, n, err);
}

/** store_log_bytes() - up to n bytes of the raw log from offset; *ret_n is 0 at its end */
static inline int store_log_bytes(struct store *store, char *bytes, size_t n, size_t *ret_n,
                                  const char *job_id, int attempt, int64_t offset,
                                  struct error *err)
{
        return store->ops->log_bytes(store, bytes, n, ret_n, job_id, attempt, offset, err);
}

static inline int store_log_stats(struct store *store, struct log_stats *ret, const char *job_id,
                                  int attempt, struct error *err)
{
        return store->ops->log_stats(store, ret, job_id, attempt, err);
}

static inline int store_logs(struct store *store, struct log_page *ret,
                             const struct log_filter *filter, struct error *err)
{
        return store->ops->logs(store, ret, filter, err);
}

static inline int store_ledger_sent(struct store *store, bool *ret, const struct ledger_key *key,
                                    struct error *err)
{
        return store->ops->ledger_sent(store, ret, key, err);
}

/** store_ledger_mark() - remember that it was sent; twice is success */
static inline int store_ledger_mark(struct store *store, const struct ledger_key *key,
                                    const char *detail, struct error *err)
{
        return store->ops->ledger_mark(store, key, detail, err);
}

/** store_retain() - remove what is older; bounded work per call, *ret_removed > 0 means call again
 */
static inline int store_retain(struct store *store, const struct retention *retention,
                               int64_t *ret_removed, struct error *err)
{
        return store->ops->retain(store, retention, ret_removed, err);
}

/** store_check() - whether it can be written right now (readiness) */
static inline int store_check(struct store *store, struct error *err)
{
        return store->ops->check(store, err);
}

/** store_backup() - a consistent copy while everything runs; the file must not exist */
static inline int store_backup(struct store *store, const char *path, struct error *err)
{
        return store->ops->backup(store, path, err);
}

static inline void store_close(struct store *store)
{
        if (store)
                store->ops->close(store);
}

/** struct store_adapter - one line of the table that main.c hands to store_open() */
struct store_adapter {
        const char *scheme;
        int (*open)(struct store **ret, const char *url, void *context, struct error *err);
        void *context;
};

int store_open(struct store **ret, const struct store_adapter *table, size_t n, const char *url,
               struct error *err);
