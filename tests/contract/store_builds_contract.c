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

static struct build *a_build(const char *id, const char *repo)
{
        struct build *build = build_new();

        build->id = build_text(build, "%s", id);
        build->repo = repo;
        build->branch = "main";
        build->commit = "35ad107c949533f9191cdebc71d3d0d3b1eb7c5a";
        build->event = "push";
        build->message = "Mend \"it\"\nplease";
        build->created_at = wall_ms();
        return build;
}

static void insert(struct store *store, struct build *build)
{
        struct error err;

        assert_ok(store_build_insert(store, build, &err), err);
}

TEST("a build comes back as it was stored, with jobs, attempts and steps")
{
        struct store *store = fresh(state);
        scoped(build) struct build *build = a_build("b1", "acme/api");
        scoped(build) struct build *found = NULL;
        scoped(build) struct build *of_job = NULL;
        scoped(build) struct build *of_number = NULL;
        struct attempt *attempt;
        struct error err;

        insert(store, build);
        build_set_jobs(build, 1);
        build->jobs[0].id = "job-1";
        build->jobs[0].name = "test";
        attempt = build_add_attempt(build, &build->jobs[0]);
        attempt->token = "t";
        attempt->log_bytes = INT64_C(1) << 40;
        build_set_steps(build, attempt, 2);
        attempt->steps[1].name = "pytest";
        build->findings = "line 3: unknown key";
        build->state = STATE_RUNNING;
        build->fork = true;
        build->pull_request = 17;
        assert_ok(store_build_update(store, build, &err), err);
        assert_int_equal(build->version, 2);
        assert_ok(store_build_get(store, &found, "b1", &err), err);
        assert_int_equal(found->version, 2);
        assert_int_equal(found->number, 1);
        assert_string_equal(found->message, "Mend \"it\"\nplease");
        assert_string_equal(found->findings, "line 3: unknown key");
        assert_int_equal(found->state, STATE_RUNNING);
        assert_true(found->fork);
        assert_int_equal(found->pull_request, 17);
        assert_int_equal(found->created_at, build->created_at);
        assert_int_equal(found->n_jobs, 1);
        assert_true(found->jobs[0].attempts[0].log_bytes == INT64_C(1) << 40);
        assert_string_equal(found->jobs[0].attempts[0].steps[1].name, "pytest");
        assert_ok(store_build_of_job(store, &of_job, "job-1", &err), err);
        assert_string_equal(of_job->id, "b1");
        assert_ok(store_build_of_number(store, &of_number, "acme/api", 1, &err), err);
        assert_string_equal(of_number->id, "b1");
        done(state, store);
}

TEST("what does not exist is not found")
{
        struct store *store = fresh(state);
        scoped(build) struct build *ghost = a_build("ghost", "acme/api");
        struct build *build = NULL;
        struct error err;

        assert_int_equal(store_build_get(store, &build, "nope", &err), -ERROR_NOT_FOUND);
        assert_int_equal(store_build_of_job(store, &build, "nope", &err), -ERROR_NOT_FOUND);
        assert_int_equal(store_build_of_number(store, &build, "a/b", 1, &err), -ERROR_NOT_FOUND);
        assert_int_equal(store_build_of_delivery(store, &build, "nope", &err), -ERROR_NOT_FOUND);
        assert_int_equal(store_build_of_delivery(store, &build, "", &err), -ERROR_NOT_FOUND);
        assert_int_equal(store_build_update(store, ghost, &err), -ERROR_NOT_FOUND);
        assert_null(build);
        done(state, store);
}

TEST("numbers count up per repository")
{
        struct store *store = fresh(state);
        static const char *const repos[] = {"a/a", "b/b", "a/a", "a/a", "b/b"};
        static const int64_t numbers[] = {1, 1, 2, 3, 2};

        for (int i = 0; i < 5; i++) {
                scoped_text char *id = text_format("b%d", i);
                scoped(build) struct build *build = a_build(id, repos[i]);

                insert(store, build);
                assert_int_equal(build->number, numbers[i]);
        }
        done(state, store);
}

TEST("an id or a delivery has one build; a second is a conflict and takes no number")
{
        struct store *store = fresh(state);
        scoped(build) struct build *first = a_build("b1", "a/a");
        scoped(build) struct build *same_delivery = a_build("b2", "a/a");
        scoped(build) struct build *same_id = a_build("b1", "a/a");
        scoped(build) struct build *other = a_build("b3", "a/a");
        scoped(build) struct build *found = NULL;
        struct error err;

        first->delivery_id = same_delivery->delivery_id = "d1";
        insert(store, first);
        assert_int_equal(store_build_insert(store, same_delivery, &err), -ERROR_CONFLICT);
        assert_int_equal(store_build_insert(store, same_id, &err), -ERROR_CONFLICT);
        insert(store, other);
        assert_true(other->number > first->number);
        assert_ok(store_build_of_delivery(store, &found, "d1", &err), err);
        assert_string_equal(found->id, "b1");
        done(state, store);
}

TEST("an update of an old version is a conflict and changes nothing")
{
        struct store *store = fresh(state);
        scoped(build) struct build *mine = a_build("b1", "a/a");
        scoped(build) struct build *theirs = NULL;
        scoped(build) struct build *found = NULL;
        struct error err;

        insert(store, mine);
        assert_ok(store_build_get(store, &theirs, "b1", &err), err);
        theirs->state = STATE_CANCELLED;
        assert_ok(store_build_update(store, theirs, &err), err);
        mine->state = STATE_SUCCESS;
        assert_int_equal(store_build_update(store, mine, &err), -ERROR_CONFLICT);
        assert_int_equal(mine->version, 1);
        assert_ok(store_build_get(store, &found, "b1", &err), err);
        assert_int_equal(found->state, STATE_CANCELLED);
        done(state, store);
}

struct racer {
        struct store *store;
        int wins;
        int failures;
};

static void *race(void *data)
{
        struct racer *racer = data;

        while (racer->wins < 20) {
                scoped(build) struct build *build = NULL;
                int r;

                if (store_build_get(racer->store, &build, "b1", NULL) < 0) {
                        racer->failures++;
                        return NULL;
                }
                build->round++;
                r = store_build_update(racer->store, build, NULL);
                racer->wins += r == 0;
                if (r < 0 && r != -ERROR_CONFLICT) {
                        racer->failures++;
                        return NULL;
                }
        }
        return NULL;
}

TEST("of many who change a build at once, each change is made once")
{
        struct store *store = fresh(state);
        scoped(build) struct build *build = a_build("b1", "a/a");
        scoped(build) struct build *found = NULL;
        struct racer racers[4];
        pthread_t threads[4];
        struct error err;

        insert(store, build);
        for (int i = 0; i < 4; i++) {
                racers[i] = (struct racer){.store = store};
                pthread_create(&threads[i], NULL, race, &racers[i]);
        }
        for (int i = 0; i < 4; i++) {
                pthread_join(threads[i], NULL);
                assert_int_equal(racers[i].failures, 0);
        }
        assert_ok(store_build_get(store, &found, "b1", &err), err);
        assert_int_equal(found->round, 1 + 80);
        assert_int_equal(found->version, 1 + 80);
        done(state, store);
}

static void fill(struct store *store, int n)
{
        static const enum state states[] = {STATE_SUCCESS, STATE_FAILED, STATE_RUNNING};

        for (int i = 0; i < n; i++) {
                scoped_text char *id = text_format("b%03d", i);
                scoped(build) struct build *build = a_build(id, i % 2 ? "acme/web" : "acme/api");

                build->branch = i % 3 ? "main" : "dev";
                build->state = states[i % 3];
                build->event = i % 5 ? "push" : "manual";
                build->commit = build_text(build, "%040d", i / 2);
                build->notified = state_ended(build->state);
                build->finished_at = build->notified ? wall_ms() : 0;
                insert(store, build);
        }
}

static bool fits(int i, const struct build_filter *filter)
{
        static const char *const states[] = {"success", "failed", "running"};
        char commit[41];

        snprintf(commit, sizeof(commit), "%040d", i / 2);
        if (filter->repo && strcmp(filter->repo, i % 2 ? "acme/web" : "acme/api") != 0)
                return false;
        if (filter->branch && strcmp(filter->branch, i % 3 ? "main" : "dev") != 0)
                return false;
        if (filter->state && strcmp(filter->state, states[i % 3]) != 0)
                return false;
        if (filter->event && strcmp(filter->event, i % 5 ? "push" : "manual") != 0)
                return false;
        return !filter->commit || strcmp(filter->commit, commit) == 0;
}

/* Read page by page, the list is exactly the builds that fit, newest first. */
static void assert_listed(struct store *store, struct build_filter filter, int n)
{
        int next = n - 1;
        char cursor[64] = "";

        do {
                struct build_page page = {0};
                struct error err;

                filter.cursor = cursor;
                assert_ok(store_builds(store, &page, &filter, &err), err);
                for (size_t i = 0; i < page.n; i++, next--) {
                        char id[8];

                        while (next >= 0 && !fits(next, &filter))
                                next--;
                        snprintf(id, sizeof(id), "b%03d", next);
                        assert_string_equal(page.builds[i]->id, id);
                }
                assert_true(page.n == 0 || !*page.next || (int)page.n == filter.limit);
                memcpy(cursor, page.next, sizeof(cursor));
                build_page_done(&page);
        } while (*cursor);
        while (next >= 0 && !fits(next, &filter))
                next--;
        assert_int_equal(next, -1);
}

TEST("lists of builds obey every filter and any two of them, page by page")
{
        struct store *store = fresh(state);
        static const char *const repos[] = {NULL, "acme/api", "acme/nothing"};
        static const char *const branches[] = {NULL, "dev"};
        static const char *const states[] = {NULL, "failed"};
        static const char *const events[] = {NULL, "manual"};
        char commit[41];
        const int n = 60;

        snprintf(commit, sizeof(commit), "%040d", 7);
        fill(store, n);
        for (int i = 0; i < 3 * 2 * 2 * 2 * 2; i++) {
                struct build_filter filter = {
                        .repo = repos[i % 3],
                        .branch = branches[i / 3 % 2],
                        .state = states[i / 6 % 2],
                        .event = events[i / 12 % 2],
                        .commit = i / 24 % 2 ? commit : NULL,
                        .limit = 1 + i % 7,
                };

                assert_listed(store, filter, n);
        }
        done(state, store);
}

TEST("a filter or cursor that makes no sense is refused")
{
        struct store *store = fresh(state);
        struct build_filter filter = {.state = "purple"};
        struct build_page page = {0};
        struct error err;

        assert_int_equal(store_builds(store, &page, &filter, &err), -ERROR_INVALID);
        assert_non_null(strstr(err.text, "purple"));
        filter.state = NULL;
        filter.cursor = "'; DROP TABLE build; --";
        assert_int_equal(store_builds(store, &page, &filter, &err), -ERROR_INVALID);
        done(state, store);
}

TEST("a page never has more than the limit of pages, and the default is a screen of them")
{
        struct store *store = fresh(state);
        struct build_filter filter = {.limit = 100000};
        struct build_page page = {0};
        struct error err;

        fill(store, STORE_PAGE_MAX + 5);
        assert_ok(store_builds(store, &page, &filter, &err), err);
        assert_int_equal(page.n, STORE_PAGE_MAX);
        assert_true(*page.next != '\0');
        build_page_done(&page);
        filter.limit = 0;
        assert_ok(store_builds(store, &page, &filter, &err), err);
        assert_int_equal(page.n, 50);
        build_page_done(&page);
        done(state, store);
}

TEST("unfinished are the builds that run, wait, or were not told yet; oldest first, with jobs")
{
        struct store *store = fresh(state);
        scoped(build) struct build *queued = a_build("queued", "a/a");
        scoped(build) struct build *told = a_build("told", "a/a");
        scoped(build) struct build *untold = a_build("untold", "a/a");
        scoped(build) struct build *blocked = a_build("blocked", "a/a");
        struct build_page page = {0};
        struct error err;

        build_set_jobs(queued, 1);
        queued->jobs[0].id = "j";
        told->state = untold->state = STATE_FAILED;
        told->notified = true;
        blocked->state = STATE_BLOCKED;
        insert(store, queued);
        insert(store, told);
        insert(store, untold);
        insert(store, blocked);
        assert_ok(store_builds_unfinished(store, &page, &err), err);
        assert_int_equal(page.n, 3);
        assert_string_equal(page.builds[0]->id, "queued");
        assert_int_equal(page.builds[0]->n_jobs, 1);
        assert_string_equal(page.builds[1]->id, "untold");
        assert_string_equal(page.builds[2]->id, "blocked");
        build_page_done(&page);
        untold->notified = true;
        assert_ok(store_build_update(store, untold, &err), err);
        assert_ok(store_builds_unfinished(store, &page, &err), err);
        assert_int_equal(page.n, 2);
        build_page_done(&page);
        done(state, store);
}

TEST("builds are counted by state, ended ones too")
{
        struct store *store = fresh(state);
        static const enum state states[] = {STATE_SUCCESS, STATE_FAILED, STATE_SUCCESS,
                                            STATE_QUEUED};
        int64_t counts[STORE_STATES];
        struct error err;

        assert_ok(store_build_counts(store, counts, &err), err);
        for (size_t i = 0; i < STORE_STATES; i++)
                assert_int_equal(counts[i], 0);
        for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++) {
                scoped_text char *id = text_format("counted-%zu", i);
                scoped(build) struct build *build = a_build(id, "a/a");

                build->state = states[i];
                insert(store, build);
        }
        assert_ok(store_build_counts(store, counts, &err), err);
        assert_int_equal(counts[STATE_SUCCESS], 2);
        assert_int_equal(counts[STATE_FAILED], 1);
        assert_int_equal(counts[STATE_QUEUED], 1);
        assert_int_equal(counts[STATE_ERROR], 0);
        done(state, store);
}

TEST("the state before is that of the newest ended build of the branch")
{
        struct store *store = fresh(state);
        static const enum state states[] = {STATE_SUCCESS, STATE_FAILED,  STATE_CANCELLED,
                                            STATE_RUNNING, STATE_TIMEOUT, STATE_QUEUED};
        char previous[16] = "x";
        struct error err;

        for (int i = 0; i < 6; i++) {
                scoped_text char *id = text_format("b%d", i);
                scoped(build) struct build *build = a_build(id, "a/a");

                build->state = states[i];
                insert(store, build);
        }
        assert_ok(store_build_previous_state(store, previous, "a/a", "main", 1, &err), err);
        assert_string_equal(previous, "");
        assert_ok(store_build_previous_state(store, previous, "a/a", "main", 2, &err), err);
        assert_string_equal(previous, "success");
        assert_ok(store_build_previous_state(store, previous, "a/a", "main", 5, &err), err);
        assert_string_equal(previous, "failed");
        assert_ok(store_build_previous_state(store, previous, "a/a", "main", 6, &err), err);
        assert_string_equal(previous, "timeout");
        assert_ok(store_build_previous_state(store, previous, "a/a", "dev", 9, &err), err);
        assert_string_equal(previous, "");
        done(state, store);
}

static void insert_old(struct store *store, const char *id, const char *repo, int64_t age_ms,
                       bool told)
{
        scoped(build) struct build *build = a_build(id, repo);
        scoped_text char *job = text_format("job-%s", id);
        struct error err;

        build->created_at = wall_ms() - age_ms;
        build->state = told ? STATE_SUCCESS : STATE_RUNNING;
        build->notified = told;
        build_set_jobs(build, 1);
        build->jobs[0].id = job;
        build->jobs[0].name = "j";
        insert(store, build);
        assert_ok(store_order_put(store, job, 1, "{}", 2, &err), err);
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

TEST("retention keeps the newest of each repository, the young and the unfinished")
{
        struct store *store = fresh(state);
        struct retention retention = {.logs_ms = DAY_MS,
                                      .builds_ms = 10 * DAY_MS,
                                      .builds_keep = 2,
                                      .deliveries_ms = DAY_MS};
        scoped(build) struct build *build = NULL;
        struct build_filter filter = {.repo = "a/a"};
        struct build_page page = {0};
        scoped_text char *text = NULL;
        size_t n;
        struct error err;

        insert_old(store, "old-running", "a/a", 30 * DAY_MS, false);
        insert_old(store, "old-1", "a/a", 30 * DAY_MS, true);
        insert_old(store, "young", "a/a", DAY_MS, true);
        insert_old(store, "old-2", "a/a", 30 * DAY_MS, true);
        insert_old(store, "old-3", "a/a", 30 * DAY_MS, true);
        insert_old(store, "other", "b/b", 30 * DAY_MS, true);
        retain_all(store, &retention);
        assert_ok(store_builds(store, &page, &filter, &err), err);
        assert_int_equal(page.n, 4);
        assert_string_equal(page.builds[0]->id, "old-3");
        assert_string_equal(page.builds[1]->id, "old-2");
        assert_string_equal(page.builds[2]->id, "young");
        assert_string_equal(page.builds[3]->id, "old-running");
        build_page_done(&page);
        assert_int_equal(store_build_get(store, &build, "old-1", &err), -ERROR_NOT_FOUND);
        assert_int_equal(store_build_of_job(store, &build, "job-old-1", &err), -ERROR_NOT_FOUND);
        assert_int_equal(store_order_get(store, &text, &n, "job-old-1", 1, &err), -ERROR_NOT_FOUND);
        assert_ok(store_order_get(store, &text, &n, "job-old-2", 1, &err), err);
        assert_ok(store_build_get(store, &build, "other", &err), err);
        done(state, store);
}

static void insert_until_killed(const struct store_opener *opener, int to)
{
        struct store *store = opener->open(opener->data);

        for (int i = 0;; i++) {
                scoped_text char *id = text_format("b%05d", i);
                scoped(build) struct build *build = a_build(id, "a/a");

                if (store_build_insert(store, build, NULL) < 0 || write(to, &i, sizeof(i)) < 0)
                        _exit(1);
        }
}

TEST("every build that was stored is there after its writer was killed, and numbers go on")
{
        struct store *store = fresh(state);
        struct timespec pause = {0, 150 * 1000000};
        scoped(build) struct build *next = a_build("next", "a/a");
        int last = -1;
        int number;
        int pipes[2];
        pid_t pid;
        struct error err;

        done(state, store);
        assert_int_equal(pipe(pipes), 0);
        pid = fork();
        if (pid == 0)
                insert_until_killed(*state, pipes[1]);
        close(pipes[1]);
        for (int i = 0; i < 10; i++) /* it is well under way then, however slow the machine is */
                assert_int_equal(read(pipes[0], &last, sizeof(last)), sizeof(last));
        nanosleep(&pause, NULL);
        kill(pid, SIGKILL);
        while (read(pipes[0], &number, sizeof(number)) == sizeof(number))
                last = number;
        close(pipes[0]);
        waitpid(pid, NULL, 0);
        assert_true(last > 0);
        store = again(state);
        for (int i = 0; i <= last; i++) {
                scoped_text char *id = text_format("b%05d", i);
                scoped(build) struct build *build = NULL;

                assert_ok(store_build_get(store, &build, id, &err), err);
                assert_int_equal(build->number, i + 1);
        }
        insert(store, next);
        assert_in_range(next->number, last + 2, last + 3);
        done(state, store);
}

int store_builds_contract_run(const char *name, const struct store_opener *opener)
{
        for (size_t i = 0; i < test_count; i++)
                test_list[i].initial_state = (void *)opener;
        return _cmocka_run_group_tests(name, test_list, test_count, NULL, NULL);
}
