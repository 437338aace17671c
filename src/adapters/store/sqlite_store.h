#pragma once
/*
 * sqlite_store - what the parts of this adapter share
 */
#include "adapters/sqlite/conn.h"
#include "adapters/sqlite/db.h"
#include "base/error.h"
#include "ports/store.h"

struct codec_field;
struct sqlite_files;

/** struct sqlite_store - @columns: the members of a build, in their order, as SQL */
struct sqlite_store {
        struct store store;
        struct sqlite_files *files;
        struct sqlite_db *state;
        struct sqlite_db *logs;
        char *columns;
        char *insert_build;
        char *update_build;
};

static inline struct sqlite_store *sqlite_store(struct store *store)
{
        return (struct sqlite_store *)store;
}

static inline int sqlite_store_write(struct sqlite_db *db,
                                     int (*run)(struct sqlite_conn *, void *, struct error *),
                                     void *data, struct error *err)
{
        struct sqlite_task task = {.run = run, .data = data};

        return sqlite_db_write(db, &task, err);
}

/** sqlite_store_write_lazily() - for what a loss of power may take: saying it again is harmless */
static inline int sqlite_store_write_lazily(struct sqlite_db *db,
                                            int (*run)(struct sqlite_conn *, void *,
                                                       struct error *),
                                            void *data, struct error *err)
{
        struct sqlite_task task = {.run = run, .data = data, .lazy = true};

        return sqlite_db_write(db, &task, err);
}

/** sqlite_limit() - how many rows a page gets: 1 to STORE_PAGE_MAX, 50 when nothing was asked */
static inline int64_t sqlite_limit(int limit)
{
        if (limit <= 0)
                return 50;
        return limit < STORE_PAGE_MAX ? limit : STORE_PAGE_MAX;
}

/** sqlite_cursor() - the row that a cursor names; INT64_MAX for none; -ERROR_INVALID */
int sqlite_cursor(int64_t *ret, const char *cursor, struct error *err);

/* sqlite_deliveries.c */
int sqlite_delivery_add(struct store *store, const struct delivery *delivery,
                        char ret_duplicate_of[72], struct error *err);
int sqlite_delivery_published(struct store *store, const char *const *ids, size_t n,
                              struct error *err);
int sqlite_deliveries_unpublished(struct store *store, struct delivery_page *ret, int limit,
                                  struct error *err);
int sqlite_delivery_outcome(struct store *store, const char *id, const char *outcome,
                            const char *reason, const char *build_id, struct error *err);
int sqlite_deliveries(struct store *store, struct delivery_page *ret, int limit, const char *cursor,
                      struct error *err);

/* sqlite_builds.c */
void sqlite_builds_prepare(struct sqlite_store *store);
int sqlite_build_insert(struct store *store, struct build *build, struct error *err);
int sqlite_build_update(struct store *store, struct build *build, struct error *err);

/* sqlite_build_read.c */
int sqlite_build_get(struct store *store, struct build **ret, const char *id, struct error *err);
int sqlite_build_of_job(struct store *store, struct build **ret, const char *job_id,
                        struct error *err);
int sqlite_build_of_number(struct store *store, struct build **ret, const char *repo,
                           int64_t number, struct error *err);
int sqlite_build_of_delivery(struct store *store, struct build **ret, const char *delivery_id,
                             struct error *err);
int sqlite_builds(struct store *store, struct build_page *ret, const struct build_filter *filter,
                  struct error *err);
int sqlite_build_counts(struct store *store, int64_t ret[STORE_STATES], struct error *err);
int sqlite_builds_unfinished(struct store *store, struct build_page *ret, struct error *err);
int sqlite_build_previous_state(struct store *store, char ret[16], const char *repo,
                                const char *branch, int64_t before_number, struct error *err);

/* sqlite_leases.c */
int sqlite_order_put(struct store *store, const char *job_id, int attempt, const char *json,
                     size_t n, struct error *err);
int sqlite_order_get(struct store *store, char **ret, size_t *ret_n, const char *job_id,
                     int attempt, struct error *err);
int sqlite_lease_claim(struct store *store, const char *job_id, int attempt, const char *token,
                       const char *owner, struct error *err);
int sqlite_lease_beat(struct store *store, const char *owner, struct error *err);
int sqlite_lease_release(struct store *store, const char *job_id, int attempt, const char *token,
                         struct error *err);
int sqlite_leases(struct store *store, struct lease **ret, size_t *ret_n, const char *owner,
                  struct error *err);

/* sqlite_people.c */
int sqlite_executor_put(struct store *store, const struct executor_row *row, struct error *err);
int sqlite_executors(struct store *store, struct executor_list *ret, struct error *err);
int sqlite_ledger_sent(struct store *store, bool *ret, const struct ledger_key *key,
                       struct error *err);
int sqlite_ledger_mark(struct store *store, const struct ledger_key *key, const char *detail,
                       struct error *err);

/* sqlite_log_write.c */
int sqlite_log_append(struct store *store, const struct log_entry *entries, size_t n,
                      struct error *err);

/* sqlite_log_read.c */
int sqlite_log_lines(struct store *store, struct log_window *ret, const char *job_id, int attempt,
                     int64_t from, int64_t n, struct error *err);
int sqlite_log_bytes(struct store *store, char *bytes, size_t n, size_t *ret_n, const char *job_id,
                     int attempt, int64_t offset, struct error *err);
int sqlite_log_stats(struct store *store, struct log_stats *ret, const char *job_id, int attempt,
                     struct error *err);

/* sqlite_log_list.c */
int sqlite_logs(struct store *store, struct log_page *ret, const struct log_filter *filter,
                struct error *err);

/* sqlite_retain.c */
int sqlite_retain(struct store *store, const struct retention *retention, int64_t *ret_removed,
                  struct error *err);
