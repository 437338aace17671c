#include "tests/contract/store_contract.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/str.h"
#include "domain/build.h"
#include "ports/store.h"
#include "tests/support/test.h"

#include "base/banned.h"

#define DAY_MS INT64_C(86400000)

static struct store *fresh(void **state)
{
        const struct store_opener *opener = *state;

        opener->clean(opener->data);
        return opener->open(opener->data);
}

static struct store *again(void **state)
{
        const struct store_opener *opener = *state;

        return opener->open(opener->data);
}

static void done(void **state, struct store *store)
{
        const struct store_opener *opener = *state;

        opener->close(opener->data, store);
}

static void add_delivery(struct store *store, const char *id, const char *sha256,
                         const char *message)
{
        struct delivery delivery = {
                .id = id,
                .event = "push",
                .repo = "acme/api",
                .sha256 = sha256,
                .message = message,
                .received_at = wall_ms(),
                .result = *message ? "accepted" : "ignored",
                .reason = *message ? "" : "skip ci",
        };
        char duplicate[72];
        struct error err;

        assert_ok(store_delivery_add(store, &delivery, duplicate, &err), err);
}

TEST("a delivery is journalled once: by its id, and by its body and event")
{
        struct store *store = fresh(state);
        struct delivery again = {.id = "d1", .event = "push", .sha256 = "bb", .message = "{}"};
        char duplicate[72] = "";
        struct error err;

        add_delivery(store, "d1", "aa", "{}");
        assert_int_equal(store_delivery_add(store, &again, duplicate, &err), -ERROR_CONFLICT);
        assert_string_equal(duplicate, "d1");
        again.id = "d2";
        again.sha256 = "aa";
        duplicate[0] = '\0';
        assert_int_equal(store_delivery_add(store, &again, duplicate, &err), -ERROR_CONFLICT);
        assert_string_equal(duplicate, "d1");
        again.event = "pull_request";
        assert_ok(store_delivery_add(store, &again, duplicate, &err), err);
        done(state, store);
}

TEST("what was accepted and not published is found again, oldest first, also after a restart")
{
        struct store *store = fresh(state);
        struct delivery_page page = {0};
        const char *ids[] = {"d1"};
        struct error err;

        add_delivery(store, "d1", "1", "{\"n\":1}");
        add_delivery(store, "d2", "2", "");
        add_delivery(store, "d3", "3", "{\"n\":3}");
        add_delivery(store, "d4", "4", "{\"n\":4}");
        assert_ok(store_delivery_published(store, ids, 1, &err), err);
        done(state, store);
        store = again(state);
        assert_ok(store_deliveries_unpublished(store, &page, 10, &err), err);
        assert_int_equal(page.n, 2);
        assert_string_equal(page.deliveries[0].id, "d3");
        assert_string_equal(page.deliveries[0].message, "{\"n\":3}");
        assert_string_equal(page.deliveries[1].id, "d4");
        delivery_page_done(&page);
        assert_ok(store_deliveries_unpublished(store, &page, 1, &err), err);
        assert_int_equal(page.n, 1);
        delivery_page_done(&page);
        done(state, store);
}

TEST("deliveries are listed newest first with their outcome, page by page")
{
        struct store *store = fresh(state);
        struct delivery_page page = {0};
        struct error err;
        int seen = 0;

        assert_ok(store_delivery_outcome(store, "d04", "built", "", "b4", &err), err);
        for (int i = 0; i < 10; i++) {
                char id[8];
                char sha[8];

                snprintf(id, sizeof(id), "d%02d", i);
                snprintf(sha, sizeof(sha), "%d", i);
                add_delivery(store, id, sha, i == 9 ? "" : "{}");
        }
        assert_ok(store_delivery_outcome(store, "d03", "error", "first", "", &err), err);
        assert_ok(store_delivery_outcome(store, "d03", "no configuration", "no file", "", &err),
                  err);
        do {
                char cursor[64];

                memcpy(cursor, page.next, sizeof(cursor));
                delivery_page_done(&page);
                assert_ok(store_deliveries(store, &page, 3, cursor, &err), err);
                for (size_t i = 0; i < page.n; i++, seen++) {
                        char id[8];

                        snprintf(id, sizeof(id), "d%02d", 9 - seen);
                        assert_string_equal(page.deliveries[i].id, id);
                        if (seen == 0)
                                assert_string_equal(page.deliveries[i].reason, "skip ci");
                        if (seen == 5) {
                                assert_string_equal(page.deliveries[i].outcome, "built");
                                assert_string_equal(page.deliveries[i].build_id, "b4");
                        }
                        if (seen == 6)
                                assert_string_equal(page.deliveries[i].outcome_reason, "no file");
                }
        } while (*page.next);
        assert_int_equal(seen, 10);
        delivery_page_done(&page);
        assert_int_equal(store_deliveries(store, &page, 3, "rubbish", &err), -ERROR_INVALID);
        done(state, store);
}

TEST("an order is kept as it was first put")
{
        struct store *store = fresh(state);
        scoped_text char *text = NULL;
        size_t n = 0;
        struct error err;

        assert_ok(store_order_put(store, "j", 1, "{\"a\":1}", 7, &err), err);
        assert_ok(store_order_put(store, "j", 1, "{\"a\":2}", 7, &err), err);
        assert_ok(store_order_put(store, "j", 2, "{}", 2, &err), err);
        assert_ok(store_order_get(store, &text, &n, "j", 1, &err), err);
        assert_int_equal(n, 7);
        assert_string_equal(text, "{\"a\":1}");
        assert_int_equal(store_order_get(store, &text, &n, "j", 3, &err), -ERROR_NOT_FOUND);
        done(state, store);
}

TEST("a lease has one owner, and is over once released")
{
        struct store *store = fresh(state);
        struct error err;

        assert_ok(store_lease_claim(store, "j", 1, "t1", "e1", &err), err);
        assert_ok(store_lease_claim(store, "j", 1, "t1", "e1", &err), err);
        assert_int_equal(store_lease_claim(store, "j", 1, "t1", "e2", &err), -ERROR_CONFLICT);
        assert_int_equal(store_lease_claim(store, "j", 1, "t2", "e1", &err), -ERROR_CONFLICT);
        assert_ok(store_lease_claim(store, "j", 2, "t2", "e2", &err), err);
        assert_int_equal(store_lease_release(store, "j", 1, "wrong", &err), -ERROR_CONFLICT);
        assert_ok(store_lease_release(store, "j", 1, "t1", &err), err);
        assert_ok(store_lease_release(store, "j", 1, "t1", &err), err);
        assert_int_equal(store_lease_claim(store, "j", 1, "t1", "e1", &err), -ERROR_CONFLICT);
        assert_ok(store_lease_release(store, "never", 1, "t", &err), err);
        assert_int_equal(store_lease_claim(store, "never", 1, "t", "e1", &err), -ERROR_CONFLICT);
        done(state, store);
}

TEST("beats count up for the unreleased leases of their owner alone")
{
        struct store *store = fresh(state);
        struct lease *leases = NULL;
        size_t n = 0;
        struct error err;

        assert_ok(store_lease_claim(store, "j1", 1, "t1", "e1", &err), err);
        assert_ok(store_lease_claim(store, "j2", 3, "t2", "e1", &err), err);
        assert_ok(store_lease_claim(store, "j3", 1, "t3", "e2", &err), err);
        assert_ok(store_lease_beat(store, "e1", &err), err);
        assert_ok(store_lease_release(store, "j1", 1, "t1", &err), err);
        assert_ok(store_lease_beat(store, "e1", &err), err);
        assert_ok(store_leases(store, &leases, &n, "e1", &err), err);
        assert_int_equal(n, 1);
        assert_string_equal(leases[0].job_id, "j2");
        assert_int_equal(leases[0].attempt, 3);
        assert_string_equal(leases[0].token, "t2");
        assert_string_equal(leases[0].owner, "e1");
        assert_int_equal(leases[0].beat, 2);
        free(leases);
        leases = NULL;
        assert_ok(store_leases(store, &leases, &n, NULL, &err), err);
        assert_int_equal(n, 2);
        free(leases);
        leases = NULL;
        assert_ok(store_leases(store, &leases, &n, "nobody", &err), err);
        assert_int_equal(n, 0);
        free(leases);
        done(state, store);
}

struct claimer {
        struct store *store;
        char owner[8];
        int won;
};

static void *claim_all(void *data)
{
        struct claimer *claimer = data;

        for (int i = 0; i < 50; i++) {
                char job[8];

                snprintf(job, sizeof(job), "j%d", i);
                claimer->won +=
                        store_lease_claim(claimer->store, job, 1, "t", claimer->owner, NULL) == 0;
        }
        return NULL;
}

TEST("of many claimers exactly one gets each lease")
{
        struct store *store = fresh(state);
        struct claimer claimers[4];
        pthread_t threads[4];
        int won = 0;

        for (int i = 0; i < 4; i++) {
                claimers[i] = (struct claimer){.store = store};
                snprintf(claimers[i].owner, sizeof(claimers[i].owner), "e%d", i);
                pthread_create(&threads[i], NULL, claim_all, &claimers[i]);
        }
        for (int i = 0; i < 4; i++) {
                pthread_join(threads[i], NULL);
                won += claimers[i].won;
        }
        assert_int_equal(won, 50);
        done(state, store);
}

TEST("an executor's row is replaced by its newest")
{
        struct store *store = fresh(state);
        struct executor_row row = {.id = "e1",
                                   .name = "host",
                                   .labels = "gpu",
                                   .engine = "docker",
                                   .slots = 4,
                                   .running = 1,
                                   .beat = 1,
                                   .seen_at = 5};
        struct executor_list list = {0};
        struct error err;

        assert_ok(store_executor_put(store, &row, &err), err);
        row.beat = 2;
        row.draining = true;
        assert_ok(store_executor_put(store, &row, &err), err);
        row.id = "e2";
        row.name = "another";
        assert_ok(store_executor_put(store, &row, &err), err);
        assert_ok(store_executors(store, &list, &err), err);
        assert_int_equal(list.n, 2);
        assert_string_equal(list.rows[0].name, "another");
        assert_string_equal(list.rows[1].labels, "gpu");
        assert_int_equal(list.rows[1].beat, 2);
        assert_int_equal(list.rows[1].slots, 4);
        assert_true(list.rows[1].draining);
        executor_list_done(&list);
        done(state, store);
}

TEST("the ledger knows what was sent, per round, channel and recipient")
{
        struct store *store = fresh(state);
        struct ledger_key key = {"b1", 1, "mail", "dev@example.org"};
        struct ledger_key round = {"b1", 2, "mail", "dev@example.org"};
        struct error err;
        bool sent = true;

        assert_ok(store_ledger_sent(store, &sent, &key, &err), err);
        assert_false(sent);
        assert_ok(store_ledger_mark(store, &key, "250 ok", &err), err);
        assert_ok(store_ledger_mark(store, &key, "again", &err), err);
        assert_ok(store_ledger_sent(store, &sent, &key, &err), err);
        assert_true(sent);
        assert_ok(store_ledger_sent(store, &sent, &round, &err), err);
        assert_false(sent);
        done(state, store);
}

static void retain_all(struct store *store, const struct retention *retention)
{
        int64_t removed = 1;
        struct error err;

        for (int i = 0; removed > 0; i++) {
                assert_true(i < 1000);
                assert_ok(store_retain(store, retention, &removed, &err), err);
        }
}

TEST("retention removes old deliveries, but none that waits to be published")
{
        struct store *store = fresh(state);
        struct retention retention = {
                .logs_ms = DAY_MS, .builds_ms = DAY_MS, .builds_keep = 9, .deliveries_ms = DAY_MS};
        struct delivery old = {.event = "push",
                               .repo = "a/a",
                               .result = "accepted",
                               .received_at = wall_ms() - 2 * DAY_MS};
        struct delivery_page page = {0};
        char duplicate[72];
        struct error err;

        for (int i = 0; i < 1200; i++) {
                char id[16];

                snprintf(id, sizeof(id), "old-%d", i);
                old.id = id;
                old.message = i == 600 ? "{}" : "";
                assert_ok(store_delivery_add(store, &old, duplicate, &err), err);
        }
        add_delivery(store, "young", "y", "");
        retain_all(store, &retention);
        assert_ok(store_deliveries(store, &page, 10, NULL, &err), err);
        assert_int_equal(page.n, 2);
        assert_string_equal(page.deliveries[0].id, "young");
        assert_string_equal(page.deliveries[1].id, "old-600");
        delivery_page_done(&page);
        done(state, store);
}

TEST("a store that works says so")
{
        struct store *store = fresh(state);
        struct error err;

        assert_ok(store_check(store, &err), err);
        done(state, store);
}

int store_contract_run(const char *name, const struct store_opener *opener)
{
        for (size_t i = 0; i < test_count; i++)
                test_list[i].initial_state = (void *)opener;
        return _cmocka_run_group_tests(name, test_list, test_count, NULL, NULL);
}
