/*
 * The service over real HTTP, with ports that can be told to fail at the right moment. What the
 * real store and bus make of it is tried end to end.
 */
#include "pipeline/webhook/webhook.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/signature.h"
#include "pipeline/topology.h"
#include "ports/bus.h"
#include "ports/store.h"
#include "tests/support/raw_http.h"
#include "tests/support/test.h"
#include "wire/webhook_event.h"

#include "base/banned.h"

#define SECRET "It's a Secret to Everybody"
#define SHA "0123456789abcdef0123456789abcdef01234567"
#define ZEROS "0000000000000000000000000000000000000000"
#define PUSH                                                                                     \
        "{\"ref\":\"refs/heads/main\",\"before\":\"" ZEROS "\",\"after\":\"" SHA                 \
        "\",\"repository\":{\"name\":\"demo\",\"full_name\":\"acme/demo\",\"clone_url\":"        \
        "\"https://forge.example/acme/demo.git\"},\"commits\":[],\"head_commit\":{\"id\":\"" SHA \
        "\",\"message\":\"x\"}}"
#define ROWS_MAX 300

struct row {
        char *id;
        char *event;
        char *repo;
        char *sha256;
        char *message;
        char *result;
        char *reason;
        bool published;
};

struct fake_store {
        struct store store;
        pthread_mutex_t lock;
        struct row rows[ROWS_MAX];
        size_t n;
        bool away;
};

struct fake_bus {
        struct bus bus;
        pthread_mutex_t lock;
        struct str bodies;
        size_t n;
        bool away;
};

static int fake_add(struct store *store, const struct delivery *delivery, char ret_first[72],
                    struct error *err)
{
        struct fake_store *fake = (struct fake_store *)store;
        int result = 0;

        pthread_mutex_lock(&fake->lock);
        if (fake->away)
                result = error_set(err, ERROR_LIMIT, "no space left on the device");
        for (size_t i = 0; result == 0 && i < fake->n; i++) {
                struct row *row = &fake->rows[i];

                if (strcmp(row->id, delivery->id) != 0 &&
                    (strcmp(row->sha256, delivery->sha256) != 0 ||
                     strcmp(row->event, delivery->event) != 0))
                        continue;
                memcpy(ret_first, row->id, strlen(row->id) + 1);
                result = error_set(err, ERROR_CONFLICT, "seen");
        }
        if (result == 0)
                fake->rows[fake->n++] = (struct row){
                        text_copy(delivery->id),      text_copy(delivery->event),
                        text_copy(delivery->repo),    text_copy(delivery->sha256),
                        text_copy(delivery->message), text_copy(delivery->result),
                        text_copy(delivery->reason),  false,
                };
        pthread_mutex_unlock(&fake->lock);
        return result;
}

static int fake_published(struct store *store, const char *const *ids, size_t n, struct error *err)
{
        struct fake_store *fake = (struct fake_store *)store;

        pthread_mutex_lock(&fake->lock);
        for (size_t i = 0; i < n * fake->n; i++) {
                if (strcmp(fake->rows[i % fake->n].id, ids[i / fake->n]) == 0)
                        fake->rows[i % fake->n].published = true;
        }
        pthread_mutex_unlock(&fake->lock);
        return 0;
}

static int fake_unpublished(struct store *store, struct delivery_page *ret, int limit,
                            struct error *err)
{
        struct fake_store *fake = (struct fake_store *)store;
        struct arena *arena = arena_new();

        *ret = (struct delivery_page){.arena = arena};
        ret->deliveries = arena_alloc(arena, sizeof(struct delivery) * ROWS_MAX);
        pthread_mutex_lock(&fake->lock);
        for (size_t i = 0; i < fake->n && (int)ret->n < limit; i++) {
                struct row *row = &fake->rows[i];

                if (row->published || !*row->message)
                        continue;
                ret->deliveries[ret->n++] = (struct delivery){
                        .id = arena_copy(arena, row->id),
                        .message = arena_copy(arena, row->message),
                };
        }
        pthread_mutex_unlock(&fake->lock);
        return 0;
}

static const struct store_ops store_ops = {
        .delivery_add = fake_add,
        .delivery_published = fake_published,
        .deliveries_unpublished = fake_unpublished,
};

static int fake_publish(struct bus *bus, const char *queue, const struct bus_body *bodies, size_t n,
                        struct error *err)
{
        struct fake_bus *fake = (struct fake_bus *)bus;
        bool away;

        assert_string_equal(queue, QUEUE_WEBHOOK);
        pthread_mutex_lock(&fake->lock);
        away = fake->away;
        for (size_t i = 0; !away && i < n; i++) {
                str_clear(&fake->bodies);
                str_add_bytes(&fake->bodies, bodies[i].bytes, bodies[i].len);
                fake->n++;
        }
        pthread_mutex_unlock(&fake->lock);
        return away ? error_set(err, ERROR_UNAVAILABLE, "the broker does not answer") : 0;
}

static const struct bus_ops bus_ops = {.publish = fake_publish};

struct fixture {
        struct fake_store store;
        struct fake_bus bus;
        struct webhook *webhook;
        struct http_server *server;
        struct signature_keys *keys;
        int listen_fd;
        int port;
};

static void open_service(struct fixture *f)
{
        struct webhook_options options = {&f->bus.bus, &f->store.store, SECRET "\nold secret\n"};
        struct http_options http = {
                .threads = 2, .connections_max = 300, .header_ms = 10000, .body_rate = 1000};
        struct error err = {0};
        char *address = NULL;

        assert_ok(webhook_open(&f->webhook, &options, &err), err);
        http.routes = webhook_routes(f->webhook, &http.n_routes);
        assert_ok(http_listen(&f->listen_fd, &address, "127.0.0.1:0", &err), err);
        http.listen_fd = f->listen_fd;
        assert_ok(http_server_open(&f->server, &http, &err), err);
        f->port = (int)strtol(strrchr(address, ':') + 1, NULL, 10);
        free(address);
}

static void close_service(struct fixture *f)
{
        http_server_close(f->server);
        webhook_close(f->webhook);
        close(f->listen_fd);
}

static struct fixture *start(void)
{
        struct fixture *f = xcalloc(1, sizeof(*f));
        struct error err = {0};

        f->store.store.ops = &store_ops;
        f->bus.bus.ops = &bus_ops;
        pthread_mutex_init(&f->store.lock, NULL);
        pthread_mutex_init(&f->bus.lock, NULL);
        str_init(&f->bus.bodies);
        log_set_level(LOG_ERROR);
        assert_ok(signature_keys_new(&f->keys, SECRET, &err), err);
        open_service(f);
        return f;
}

static void stop(struct fixture *f)
{
        close_service(f);
        for (size_t i = 0; i < f->store.n; i++) {
                struct row *row = &f->store.rows[i];

                free(row->id);
                free(row->event);
                free(row->repo);
                free(row->sha256);
                free(row->message);
                free(row->result);
                free(row->reason);
        }
        signature_keys_free(f->keys);
        str_done(&f->bus.bodies);
        free(f);
}

static char *post(struct fixture *f, const char *headers, const char *body)
{
        scoped_text char *request =
                text_format("POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n%s\r\n%s",
                            strlen(body), headers, body);

        return raw_exchange(f->port, request, strlen(request));
}

/* Signed and complete, but for what the caller says. */
static char *deliver_as(struct fixture *f, const char *id, const char *event, const char *type,
                        const char *body)
{
        scoped_text char *headers = NULL;
        char signature[72];

        signature_make(f->keys, body, strlen(body), signature);
        headers = text_format("X-Hub-Signature-256: %s\r\nX-GitHub-Event: %s\r\n"
                              "X-GitHub-Delivery: %s\r\nContent-Type: %s\r\n"
                              "Connection: close\r\n",
                              signature, event, id, type);
        return post(f, headers, body);
}

static char *deliver(struct fixture *f, const char *id, const char *event, const char *body)
{
        return deliver_as(f, id, event, "application/json", body);
}

#define assert_answer(text, status, part)                     \
        do {                                                  \
                scoped_text char *answer_ = (text);           \
                assert_status(answer_, status);               \
                if (!strstr(answer_, part))                   \
                        fail_msg("no %s: %s", part, answer_); \
        } while (0)

static size_t published(struct fixture *f)
{
        size_t n;

        pthread_mutex_lock(&f->bus.lock);
        n = f->bus.n;
        pthread_mutex_unlock(&f->bus.lock);
        return n;
}

static void wait_published(struct fixture *f, size_t n)
{
        int64_t until = clock_ms() + 5000;

        while (published(f) < n && clock_ms() < until)
                usleep(5000);
        assert_int_equal(published(f), n);
}

static void set_away(pthread_mutex_t *lock, bool *away, bool value)
{
        pthread_mutex_lock(lock);
        *away = value;
        pthread_mutex_unlock(lock);
}

TEST("a signed push is journaled, answered 202 and published with the public members")
{
        struct fixture *f = start();
        scoped(webhook_event) struct webhook_event *event = NULL;
        struct error err = {0};

        assert_answer(deliver(f, "id-1", "push", PUSH), 202,
                      "{\"delivery\":\"id-1\",\"result\":\"accepted\"}");
        assert_int_equal(f->store.n, 1);
        assert_string_equal(f->store.rows[0].result, "accepted");
        assert_string_equal(f->store.rows[0].repo, "acme/demo");
        wait_published(f, 1);
        assert_ok(webhook_event_decode(&event, f->bus.bodies.data, f->bus.bodies.len, &err), err);
        assert_string_equal(event->delivery_id, "id-1");
        assert_string_equal(event->commit, SHA);
        assert_string_equal(event->trigger, "push");
        assert_string_equal(event->forge, "github");
        assert_int_equal(strlen(event->id), 36);
        stop(f);
}

struct unsigned_case {
        const char *what;
        const char *headers;
};

TEST("what is not signed rightly is 401, whatever else is wrong, and nothing is stored")
{
#define OTHERS "X-GitHub-Event: push\r\nX-GitHub-Delivery: x\r\nContent-Type: application/json\r\n"
#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
        static const struct unsigned_case cases[] = {
                {"none", OTHERS},
                {"wrong", OTHERS "X-Hub-Signature-256: sha256=" HEX "\r\n"},
                {"sha1 only", OTHERS "X-Hub-Signature: sha1=" HEX "\r\n"},
                {"sha1 in its place", OTHERS "X-Hub-Signature-256: sha1=" HEX "\r\n"},
                {"sha512", OTHERS "X-Hub-Signature-256: sha512=" HEX "\r\n"},
                {"empty", OTHERS "X-Hub-Signature-256: sha256=\r\n"},
                {"63 digits", OTHERS "X-Hub-Signature-256: sha256=123" HEX "\r\n"},
                {"a space behind", OTHERS "X-Hub-Signature-256: sha256=" HEX " \r\n"},
                {"upper case", OTHERS "X-Hub-Signature-256: SHA256=" HEX "\r\n"},
                {"two", OTHERS "X-Hub-Signature-256: sha256=" HEX
                               "\r\nX-Hub-Signature-256: sha256=" HEX "\r\n"},
                {"and no kind", "X-Hub-Signature-256: sha256=" HEX "\r\n"},
                {"and a wrong kind",
                 "X-Hub-Signature-256: sha256=" HEX "\r\nContent-Type: text/plain\r\n"},
        };
        struct fixture *f = start();
        struct webhook_stats stats;

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                scoped_text char *answer = post(f, cases[i].headers, PUSH);
                scoped_text char *broken = post(f, cases[i].headers, "{not JSON");

                if (raw_status(answer) != 401 || raw_status(broken) != 401)
                        fail_msg("%s: %s", cases[i].what, answer);
                assert_null(strstr(answer, "forge.example"));
        }
        assert_int_equal(f->store.n, 0);
        webhook_stats(f->webhook, &stats);
        assert_int_equal(stats.refused_signature, 2 * sizeof(cases) / sizeof(*cases));
        stop(f);
}

TEST("a signed request that lacks something is told what")
{
        struct fixture *f = start();
        scoped_text char *no_id = NULL;
        scoped_text char *headers = NULL;
        char signature[72];

        signature_make(f->keys, PUSH, strlen(PUSH), signature);
        headers = text_format("X-Hub-Signature-256: %s\r\nX-GitHub-Event: push\r\n"
                              "Content-Type: application/json\r\n",
                              signature);
        assert_answer(post(f, headers, PUSH), 400, "X-GitHub-Delivery");
        no_id = text_format("%sX-GitHub-Delivery: a\r\nX-GitHub-Delivery: b\r\n", headers);
        assert_answer(post(f, no_id, PUSH), 400, "X-GitHub-Delivery");
        assert_answer(deliver(f, "a b", "push", PUSH), 400, "X-GitHub-Delivery");
        assert_answer(deliver(f, "../x", "push", PUSH), 400, "X-GitHub-Delivery");
        assert_answer(deliver(f, HEX "0", "push", PUSH), 400, "X-GitHub-Delivery");
        assert_answer(deliver(f, "x", "pu sh", PUSH), 400, "X-GitHub-Event");
        assert_answer(deliver(f, "x", "pull_request", PUSH), 400, "pull_request");
        assert_answer(deliver(f, "x", "push", "{"), 400, "JSON");
        assert_answer(deliver_as(f, "x", "push", "text/plain", PUSH), 415, "application/json");
        assert_answer(deliver_as(f, "x", "push", "application/jsonp", PUSH), 415, "");
        assert_answer(
                deliver_as(f, "x", "push", "application/json\r\nContent-Encoding: gzip", PUSH), 415,
                "Content-Encoding");
        assert_int_equal(f->store.n, 0);
        stop(f);
}

TEST("a ping is answered pong, a deleted branch and an unknown event are recorded as ignored")
{
        struct fixture *f = start();

        assert_answer(deliver(f, "p", "ping", "{\"zen\":\"x\",\"hook_id\":1}"), 200, "\"pong\"");
        assert_answer(deliver(f, "p", "ping", "{\"zen\":\"x\",\"hook_id\":1}"), 200, "\"pong\"");
        assert_answer(deliver(f, "s", "star", "{\"action\":\"created\"}"), 200,
                      "\"ignored\",\"reason\":\"events of the kind 'star'");
        assert_int_equal(f->store.n, 2);
        assert_string_equal(f->store.rows[1].result, "ignored");
        assert_string_equal(f->store.rows[1].message, "");
        usleep(50000);
        assert_int_equal(published(f), 0);
        stop(f);
}

TEST("the same id, and the same body under another id, are duplicates; another event is not")
{
        struct fixture *f = start();

        assert_answer(deliver(f, "one", "push", PUSH), 202, "accepted");
        assert_answer(deliver(f, "one", "push", PUSH), 200,
                      "{\"delivery\":\"one\",\"result\":\"duplicate\"}");
        assert_answer(deliver(f, "two", "push", PUSH), 200, "delivered as one");
        assert_answer(deliver(f, "three", "push", PUSH " "), 202, "accepted");
        wait_published(f, 2);
        stop(f);
}

TEST("a form is taken like its JSON")
{
        struct fixture *f = start();
        scoped_str struct str form = STR_INIT;

        str_add(&form, "payload=");
        for (const char *p = PUSH; *p; p++)
                str_printf(&form, "%%%02x", (unsigned char)*p);
        assert_answer(deliver_as(f, "f", "push", "application/x-www-form-urlencoded; charset=utf-8",
                                 form.data),
                      202, "accepted");
        assert_string_equal(f->store.rows[0].repo, "acme/demo");
        stop(f);
}

TEST("each of two secrets signs, and a dropped one does no more")
{
        struct fixture *f = start();
        struct error err = {0};

        signature_keys_free(f->keys);
        assert_ok(signature_keys_new(&f->keys, "old secret", &err), err);
        assert_answer(deliver(f, "old", "push", PUSH), 202, "accepted");
        signature_keys_free(f->keys);
        assert_ok(signature_keys_new(&f->keys, "dropped", &err), err);
        assert_answer(deliver(f, "dropped", "push", PUSH), 401, "");
        stop(f);
}

TEST("what cannot be made durable is 503 with Retry-After, and is taken when it comes again")
{
        struct fixture *f = start();

        set_away(&f->store.lock, &f->store.away, true);
        assert_answer(deliver(f, "one", "push", PUSH), 503, "Retry-After: 5");
        set_away(&f->store.lock, &f->store.away, false);
        assert_answer(deliver(f, "one", "push", PUSH), 202, "accepted");
        wait_published(f, 1);
        stop(f);
}

TEST("a bus that is away is waited for, and accepted events are published when it is back")
{
        struct fixture *f = start();

        set_away(&f->bus.lock, &f->bus.away, true);
        for (int i = 0; i < 100; i++) {
                scoped_text char *body = text_format("%s%*s", PUSH, i + 1, "");
                scoped_text char *id = text_format("id-%d", i);

                assert_answer(deliver(f, id, "push", body), 202, "accepted");
        }
        assert_int_equal(published(f), 0);
        set_away(&f->bus.lock, &f->bus.away, false);
        wait_published(f, 100);
        stop(f);
}

TEST("what was journaled but not published before a crash is published at the next start")
{
        struct fixture *f = start();

        set_away(&f->bus.lock, &f->bus.away, true);
        assert_answer(deliver(f, "one", "push", PUSH), 202, "accepted");
        close_service(f);
        assert_int_equal(published(f), 0);
        set_away(&f->bus.lock, &f->bus.away, false);
        open_service(f);
        wait_published(f, 1);
        stop(f);
}

struct one_of_many {
        struct fixture *f;
        int id;
        int status;
};

static void *deliver_one(void *data)
{
        struct one_of_many *one = data;
        scoped_text char *id = text_format("id-%d", one->id);
        scoped_text char *answer = deliver(one->f, id, "push", PUSH);

        one->status = raw_status(answer);
        return NULL;
}

TEST("100 deliveries of the same event at once make one")
{
        struct fixture *f = start();
        struct one_of_many all[100];
        pthread_t threads[100];
        int accepted = 0;

        for (int i = 0; i < 100; i++) {
                all[i] = (struct one_of_many){f, i % 2, 0};
                assert_int_equal(pthread_create(&threads[i], NULL, deliver_one, &all[i]), 0);
        }
        for (int i = 0; i < 100; i++) {
                pthread_join(threads[i], NULL);
                assert_true(all[i].status == 200 || all[i].status == 202);
                accepted += all[i].status == 202;
        }
        assert_int_equal(accepted, 1);
        wait_published(f, 1);
        stop(f);
}

TEST("without a secret the service does not start")
{
        struct fake_store store = {.store = {&store_ops}};
        struct fake_bus bus = {.bus = {&bus_ops}};
        struct webhook_options options = {&bus.bus, &store.store, "\n"};
        struct webhook *webhook = NULL;
        struct error err = {0};

        assert_int_equal(webhook_open(&webhook, &options, &err), -ERROR_INVALID);
        assert_non_null(strstr(err.text, "ARGON_WEBHOOK_SECRET"));
}

TEST_MAIN()
