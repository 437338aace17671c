#include "pipeline/orchestrator/watch.h"

#include <stdlib.h>
#include <string.h>

#include "base/scoped.h"
#include "domain/reconcile.h"
#include "ports/store.h"
#include "tests/support/test.h"

#include "base/banned.h"

DEFINE_FREEP(watch, struct watch *, watch_free)

static struct lease make_lease(const char *job, int64_t beat)
{
        struct lease lease = {.attempt = 1, .beat = beat};

        snprintf(lease.job_id, sizeof(lease.job_id), "%s", job);
        return lease;
}

static struct reconcile_fact ask(struct watch *watch, const char *job, int64_t now)
{
        struct reconcile_fact fact;

        watch_fact(watch, job, 1, now, &fact);
        return fact;
}

TEST("a lease is as silent as its beat has not moved, by our clock alone")
{
        scoped(watch) struct watch *watch = watch_new();
        struct lease lease = make_lease("j", 7);

        assert_false(ask(watch, "j", 1000).claimed);
        watch_leases(watch, &lease, 1, 2000);
        assert_true(ask(watch, "j", 2000).claimed);
        assert_int_equal(ask(watch, "j", 2000).silent_ms, 0);
        watch_leases(watch, &lease, 1, 9000);
        assert_int_equal(ask(watch, "j", 9000).silent_ms, 7000);
        lease.beat = 8;
        watch_leases(watch, &lease, 1, 10000);
        assert_int_equal(ask(watch, "j", 12000).silent_ms, 2000);
        lease.beat = 1; /* whatever the number is: it moved */
        watch_leases(watch, &lease, 1, 13000);
        assert_int_equal(ask(watch, "j", 13000).silent_ms, 0);
        watch_leases(watch, NULL, 0, 20000);
        assert_true(ask(watch, "j", 20000).claimed);
        assert_int_equal(ask(watch, "j", 20000).silent_ms, 7000);
}

TEST("after the store was away everybody has the full time again")
{
        scoped(watch) struct watch *watch = watch_new();
        struct lease lease = make_lease("j", 7);

        watch_leases(watch, &lease, 1, 1000);
        watch_restart(watch, 100000);
        assert_int_equal(ask(watch, "j", 100001).silent_ms, 1);
}

TEST("a dispatch waits since it was last published, and how often that was is counted")
{
        scoped(watch) struct watch *watch = watch_new();

        watch_published(watch, "j", 1, 1000);
        assert_int_equal(ask(watch, "j", 4000).waiting_ms, 3000);
        assert_int_equal(ask(watch, "j", 4000).republished, 0);
        watch_published(watch, "j", 1, 6000);
        assert_int_equal(ask(watch, "j", 7000).waiting_ms, 1000);
        assert_int_equal(ask(watch, "j", 7000).republished, 1);
        watch_claimed(watch, "j", 1, 8000);
        assert_true(ask(watch, "j", 8500).claimed);
        assert_int_equal(ask(watch, "j", 8500).silent_ms, 500);
}

TEST("what nobody asks about any more is forgotten")
{
        scoped(watch) struct watch *watch = watch_new();

        watch_published(watch, "j", 1, 1000);
        watch_sweep(watch);
        ask(watch, "j", 2000);
        watch_sweep(watch);
        assert_int_equal(ask(watch, "j", 3000).waiting_ms, 2000);
        watch_sweep(watch);
        watch_sweep(watch);
        assert_int_equal(ask(watch, "j", 9000).waiting_ms, 0);
}

TEST_MAIN()
