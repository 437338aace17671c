/*
 * The dispatcher: looks at all unfinished builds, whenever it is kicked and, while there are any,
 * once a tick. Whatever it does it finds out anew each time, so nothing is lost with a crash, and
 * looking twice does nothing twice.
 *
 * Order of a dispatch: the attempt with its token into the build (swap), its order into the store,
 * its message on the queue. A crash in between leaves an attempt that nobody takes; after a while
 * it is issued again, with the same token. To take an attempt back it is fenced: its lease is
 * claimed and released in our own name, after which no executor can claim it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/build.h"
#include "domain/fair.h"
#include "domain/reconcile.h"
#include "pipeline/orchestrator/issue.h"
#include "pipeline/orchestrator/parts.h"
#include "pipeline/orchestrator/watch.h"
#include "pipeline/topology.h"
#include "ports/bus.h"
#include "ports/store.h"

#include "base/banned.h"

#define SWAPS_MAX 20
#define CHEAP_PASS_MS 5
/* An executor that was not seen for so long is no longer counted on. */
#define EXECUTOR_AGE_MAX_MS (24 * 3600 * 1000LL)

DEFINE_FREEP(leases, struct lease *, free)
DEFINE_FREEP(indices, size_t *, free)
DEFINE_FREEP(names, const char **, free)

struct dispatcher {
        struct orchestrator *o;
        struct watch *watch;
        char *last;            /* the repository that had the last turn */
        int64_t missing_since; /* when the queue was first seen short of a message; 0: it is not */

        /* of the pass under way */
        int64_t now;
        bool dispatch_lost;
        size_t outstanding;
        struct build_page page;
        struct issue_list ready;
        bool again;
};

/* What is known about the newest attempts of a build. */
static struct reconcile_fact *make_facts(struct dispatcher *d, struct build *build)
{
        struct reconcile_fact *facts =
                arena_alloc(build->arena, (build->n_jobs + 1) * sizeof(*facts));

        for (size_t i = 0; i < build->n_jobs; i++) {
                const struct attempt *attempt = reconcile_live(&build->jobs[i]);

                if (attempt)
                        watch_fact(d->watch, build->jobs[i].id, attempt->number, d->now, &facts[i]);
        }
        return facts;
}

static void count_attempts(struct dispatcher *d, size_t *ret_unclaimed)
{
        d->outstanding = 0;
        *ret_unclaimed = 0;
        for (size_t i = 0; i < d->page.n; i++) {
                struct build *build = d->page.builds[i];
                const struct reconcile_fact *facts = make_facts(d, build);

                for (size_t k = 0; k < build->n_jobs; k++) {
                        const struct attempt *attempt = reconcile_live(&build->jobs[k]);

                        if (!attempt)
                                continue;
                        d->outstanding++;
                        if (attempt->state == STATE_QUEUED && !facts[k].claimed)
                                ++*ret_unclaimed;
                }
        }
}

/* Fewer messages than attempts that nobody has taken: one is lost. It must stay so for a while,
 * because an executor takes a message and claims its attempt one after the other. */
static void judge_queue(struct dispatcher *d, int64_t messages, size_t unclaimed)
{
        if (messages >= (int64_t)unclaimed)
                d->missing_since = 0;
        else if (!d->missing_since)
                d->missing_since = d->now;
        d->dispatch_lost =
                d->missing_since && d->now - d->missing_since >= d->o->options.reissue_ms / 2;
}

/* The depth is asked before the leases: who claims in between is then counted as a message too
 * many, never as one too few. */
static int look_around(struct dispatcher *d, struct error *err)
{
        struct store *store = d->o->options.store;
        scoped(leases) struct lease *leases = NULL;
        size_t n = 0;
        size_t unclaimed;
        int64_t ready = 0;
        int64_t unsettled = 0;
        int result = store_builds_unfinished(store, &d->page, err);

        if (result < 0 || d->page.n == 0)
                return result;
        result = bus_depth(d->o->options.bus, QUEUE_SANDBOX, &ready, &unsettled, err);
        if (result == 0)
                result = store_leases(store, &leases, &n, NULL, err);
        if (result < 0)
                return result;
        d->now = clock_ms();
        watch_leases(d->watch, leases, n, d->now);
        count_attempts(d, &unclaimed);
        judge_queue(d, ready + unsettled, unclaimed);
        return 0;
}

static int fence(struct dispatcher *d, const struct job *job, struct reconcile_fact *fact,
                 struct error *err)
{
        const struct attempt *attempt = job_attempt(job);
        int result = store_lease_claim(d->o->options.store, job->id, attempt->number,
                                       attempt->token, ORCHESTRATOR, err);

        if (result == 0) {
                fact->withdrawn = true;
        } else if (result == -ERROR_CONFLICT) {
                watch_claimed(d->watch, job->id, attempt->number, d->now);
                fact->claimed = true;
                result = 0;
        }
        return result;
}

/* reconcile() until it asks for no fence any more. */
static int bring_forward(struct dispatcher *d, struct build *build, struct reconcile_fact *facts,
                         struct reconcile_outcome *ret, struct error *err)
{
        const struct reconcile_facts all = {
                .now = wall_ms(),
                .lost_ms = d->o->options.lost_ms,
                .reissue_ms = d->o->options.reissue_ms,
                .dispatch_lost = d->dispatch_lost,
                .jobs = facts,
        };
        bool changed = false;
        bool fenced = true;

        while (fenced) {
                fenced = false;
                reconcile(build, &all, ret);
                changed |= ret->changed;
                for (size_t i = 0; i < build->n_jobs; i++) {
                        if (ret->jobs[i] != RECONCILE_WITHDRAW)
                                continue;
                        if (fence(d, &build->jobs[i], &facts[i], err) < 0)
                                return -ERROR_UNAVAILABLE;
                        fenced = true;
                }
        }
        ret->changed = changed;
        return 0;
}

static void release_fences(struct dispatcher *d, const struct build *build,
                           const struct reconcile_fact *facts)
{
        for (size_t i = 0; i < build->n_jobs; i++) {
                const struct attempt *attempt = job_attempt(&build->jobs[i]);
                struct error err;

                if (facts[i].withdrawn &&
                    store_lease_release(d->o->options.store, build->jobs[i].id, attempt->number,
                                        attempt->token, &err) < 0)
                        orchestrator_log(LOG_WARNING, build, &build->jobs[i], NULL,
                                         "release of a withdrawn attempt: %s", err.text);
        }
}

static void tell_cancel(struct dispatcher *d, const struct job *job)
{
        scoped_text char *topic = text_format("cancel.%s", job->id);
        scoped_text char *attempt = text_format("%d", job_attempt(job)->number);

        bus_topic_publish(d->o->options.bus, topic, attempt, strlen(attempt));
}

static int act(struct dispatcher *d, struct build *build, const struct reconcile_outcome *outcome,
               struct error *err)
{
        int result = 0;

        for (size_t i = 0; i < build->n_jobs && result == 0; i++) {
                struct job *job = &build->jobs[i];

                if (outcome->jobs[i] == RECONCILE_READY)
                        issue_list_add(&d->ready, build, job);
                else if (outcome->jobs[i] == RECONCILE_CANCEL)
                        tell_cancel(d, job);
                else if (outcome->jobs[i] == RECONCILE_REPUBLISH)
                        result = issue_again(d->o, build, job, d->watch, d->now, err);
        }
        if (outcome->notify && result == 0)
                result = notify_end(d->o, build, err);
        if (build->state == STATE_QUEUED && build->n_jobs == 0)
                orchestrator_later(d->o, build->id);
        return result;
}

/* Return: 0, 1 somebody else changed it first, -kind. */
static int tend_once(struct dispatcher *d, struct build *build, struct error *err)
{
        struct reconcile_fact *facts = make_facts(d, build);
        scoped(change_before) struct change_before *before = change_remember(build);
        struct reconcile_outcome outcome;
        int result = bring_forward(d, build, facts, &outcome, err);

        if (result < 0)
                return result;
        if (outcome.changed) {
                result = store_build_update(d->o->options.store, build, err);
                if (result < 0)
                        return result == -ERROR_CONFLICT ? 1 : result;
                change_announce(d->o, build, before);
                release_fences(d, build, facts);
        }
        result = act(d, build, &outcome, err);
        return result == -ERROR_CONFLICT ? 1 : result;
}

/* A build that cannot be tended is said and left for the next pass: it must not stop the others. */
static void tend(struct dispatcher *d, size_t i)
{
        struct error err = {0};
        int result = 1;

        for (int swaps = 0; result == 1 && swaps < SWAPS_MAX; swaps++) {
                struct build *fresh = NULL;

                issue_list_forget(&d->ready, d->page.builds[i]);
                result = swaps ? store_build_get(d->o->options.store, &fresh, d->page.builds[i]->id,
                                                 &err)
                               : 0;
                if (result == -ERROR_NOT_FOUND)
                        return;
                if (fresh) {
                        build_free(d->page.builds[i]);
                        d->page.builds[i] = fresh;
                }
                if (result == 0)
                        result = tend_once(d, d->page.builds[i], &err);
        }
        if (result == 1)
                d->again = true;
        else if (result < 0)
                orchestrator_log(LOG_ERROR, d->page.builds[i], NULL, NULL,
                                 "the build waits for the next look: %s", err.text);
}

static size_t count_free(struct dispatcher *d, struct error *err)
{
        struct executor_list list = {0};
        int64_t slots = d->o->options.spare_dispatches;
        int64_t oldest = wall_ms() - EXECUTOR_AGE_MAX_MS;

        if (store_executors(d->o->options.store, &list, err) == 0) {
                for (size_t i = 0; i < list.n; i++) {
                        if (!list.rows[i].draining && list.rows[i].seen_at > oldest)
                                slots += list.rows[i].slots;
                }
                executor_list_done(&list);
        }
        return slots > (int64_t)d->outstanding ? (size_t)slots - d->outstanding : 0;
}

static void dispatch_ready(struct dispatcher *d)
{
        struct issue_list *ready = &d->ready;
        scoped(indices) size_t *order = xcalloc(ready->n + 1, sizeof(*order));
        scoped(names) const char **repos = xcalloc(ready->n + 1, sizeof(*repos));
        struct error err = {0};
        size_t n;

        if (!ready->n)
                return;
        for (size_t i = 0; i < ready->n; i++)
                repos[i] = ready->items[i].build->repo;
        n = fair_pick(repos, ready->n, count_free(d, &err), d->last, order);
        if (!n)
                return;
        free(d->last);
        d->last = text_copy(repos[order[n - 1]]);
        if (issue_first(d->o, ready, order, n, d->watch, d->now, &err) < 0) {
                orchestrator_log(LOG_WARNING, NULL, NULL, NULL, "dispatch: %s", err.text);
                d->again = err.kind == ERROR_CONFLICT;
        }
}

/* Return: whether something is unfinished, or -kind. */
static int pass(struct dispatcher *d, struct error *err)
{
        int result = look_around(d, err);
        bool unfinished = result == 0 && d->page.n > 0;

        for (size_t i = 0; result == 0 && i < d->page.n && !atomic_load(&d->o->stopped); i++)
                tend(d, i);
        if (result == 0)
                dispatch_ready(d);
        if (result == 0)
                watch_sweep(d->watch);
        issue_list_clear(&d->ready);
        build_page_done(&d->page);
        d->page = (struct build_page){0};
        return result < 0 ? result : unfinished;
}

/* Fences of ours that a crash left behind. */
static void release_old_fences(struct orchestrator *o)
{
        scoped(leases) struct lease *leases = NULL;
        struct error err;
        size_t n = 0;

        if (store_leases(o->options.store, &leases, &n, ORCHESTRATOR, &err) < 0)
                return;
        for (size_t i = 0; i < n; i++)
                store_lease_release(o->options.store, leases[i].job_id, leases[i].attempt,
                                    leases[i].token, &err);
}

/* Until kicked, or for a tick while something is unfinished. */
static void wait_for_work(struct orchestrator *o, bool unfinished)
{
        int64_t end = clock_ms() + o->options.tick_ms;
        struct timespec until = {end / 1000, end % 1000 * 1000000};

        pthread_mutex_lock(&o->lock);
        while (!o->kicked && !atomic_load(&o->stopped)) {
                if (!unfinished)
                        pthread_cond_wait(&o->changed, &o->lock);
                else if (pthread_cond_timedwait(&o->changed, &o->lock, &until) == ETIMEDOUT)
                        break;
        }
        o->kicked = false;
        pthread_mutex_unlock(&o->lock);
}

void *dispatch_main(void *data)
{
        struct dispatcher d = {.o = data, .watch = watch_new(), .last = text_copy("")};
        int failures = 0;

        release_old_fences(d.o);
        wait_for_work(d.o, true);
        while (!atomic_load(&d.o->stopped)) {
                struct error err = {0};
                int64_t began = clock_ms();
                int result = pass(&d, &err);
                int64_t took = clock_ms() - began;

                if (result < 0) {
                        if (failures++ == 0)
                                orchestrator_log(LOG_ERROR, NULL, NULL, NULL,
                                                 "the store cannot be read: %s", err.text);
                        orchestrator_backoff(d.o, failures);
                        watch_restart(d.watch, clock_ms());
                        continue;
                }
                failures = 0;
                if (d.again)
                        orchestrator_kick(d.o);
                d.again = false;
                /* with many builds a look is dear: never more than half of the time for looking */
                if (took >= CHEAP_PASS_MS)
                        orchestrator_wait(d.o, took);
                wait_for_work(d.o, result > 0);
        }
        watch_free(d.watch);
        free(d.last);
        return NULL;
}
