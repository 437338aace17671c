#include "pipeline/notifier/notifier.h"

#include <glob.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adapters/mailer/mailers.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "pipeline/topology.h"
#include "ports/bus.h"
#include "ports/mailer.h"
#include "ports/store.h"
#include "tests/support/test.h"
#include "tests/support/rig.h"
#include "wire/notification.h"

#include "base/banned.h"

/* A mailer that answers as it was told, and remembers the last mail. */
struct scripted {
        struct mailer mailer;
        pthread_mutex_t lock;
        int answers[8];
        size_t n_answers;
        size_t calls;
        struct str last;
        char last_to[256];
};

static int scripted_send(struct mailer *mailer, const char *from, const char *to,
                         const char *message, size_t n, char ret_detail[128], struct error *err)
{
        struct scripted *self = (struct scripted *)mailer;
        int answer;

        pthread_mutex_lock(&self->lock);
        answer = self->calls < self->n_answers ? self->answers[self->calls] : 0;
        self->calls++;
        str_clear(&self->last);
        str_add_bytes(&self->last, message, n);
        snprintf(self->last_to, sizeof(self->last_to), "%s", to);
        pthread_mutex_unlock(&self->lock);
        if (answer)
                return error_set(err, (enum error_kind)answer, "550 the test says no");
        snprintf(ret_detail, 128, "250 taken");
        return 0;
}

static const struct mailer_ops scripted_ops = {.send = scripted_send};

static size_t calls_of(struct scripted *scripted)
{
        size_t calls;

        pthread_mutex_lock(&scripted->lock);
        calls = scripted->calls;
        pthread_mutex_unlock(&scripted->lock);
        return calls;
}

static struct notifier *start(struct rig *rig, struct mailer *mailer)
{
        struct notifier_options options = {
                .bus = rig->bus,
                .store = rig->store,
                .mailer = mailer,
                .from = "ci@example.org",
                .to = "",
                .policy = "always",
                .url = "https://ci.example.org",
                .with_log = true,
        };
        struct notifier *notifier = NULL;
        struct error err = {0};

        assert_ok(notifier_open(&notifier, &options, &err), err);
        return notifier;
}

static void publish(struct rig *rig, const char *build, int round, int64_t number, enum state state,
                    const char *previous)
{
        scoped_str struct str body = STR_INIT;
        struct error err = {0};
        struct notification notification = {
                .id = build,
                .build_id = build,
                .round = round,
                .repo = "acme/api",
                .number = number,
                .ref = "refs/heads/main",
                .branch = "main",
                .commit = "9f2c1ab0000000000000000000000000000000aa",
                .message = "A change",
                .author = "Ada",
                .author_email = "ada@example.org",
                .committer_email = "",
                .pusher = "ada",
                .pusher_email = "1+ada@users.noreply.github.com",
                .event = "push",
                .state = state,
                .reason_text = "",
                .previous = previous,
                .policy = "",
                .url = "https://ci.example.org/r/acme/api/builds/1",
                .failing_job = "",
                .failing_step = "",
                .failing_reason = "",
                .job_url = "",
                .tail = "",
                .findings = "",
        };

        notification_encode(&notification, &body);
        assert_ok(bus_publish(rig->bus, QUEUE_NOTIFICATION, body.data, body.len, &err), err);
}

static bool was_sent(struct rig *rig, const char *build, int round, const char *to)
{
        struct ledger_key key = {build, round, "mail", to};
        struct error err = {0};
        bool sent = false;

        assert_ok(store_ledger_sent(rig->store, &sent, &key, &err), err);
        return sent;
}

TEST("a build is told once, to the first address that somebody reads")
{
        struct rig rig;
        struct scripted mailer = {.mailer = {.ops = &scripted_ops}, .last = STR_INIT};
        struct notifier *notifier;

        rig_open(&rig);
        notifier = start(&rig, &mailer.mailer);
        publish(&rig, "b1", 1, 1, STATE_SUCCESS, "");
        publish(&rig, "b1", 1, 1, STATE_SUCCESS, "");
        rig_wait_depth(&rig, QUEUE_NOTIFICATION, 0);
        assert_int_equal(calls_of(&mailer), 1);
        assert_string_equal(mailer.last_to, "ada@example.org");
        assert_true(was_sent(&rig, "b1", 1, "ada@example.org"));
        publish(&rig, "b1", 2, 1, STATE_SUCCESS, "failed");
        rig_wait_depth(&rig, QUEUE_NOTIFICATION, 0);
        assert_int_equal(calls_of(&mailer), 2);
        notifier_close(notifier);
        notifier = start(&rig, &mailer.mailer);
        publish(&rig, "b1", 1, 1, STATE_SUCCESS, "");
        publish(&rig, "b2", 1, 2, STATE_CANCELLED, "");
        rig_wait_depth(&rig, QUEUE_NOTIFICATION, 0);
        assert_int_equal(calls_of(&mailer), 2);
        notifier_close(notifier);
        str_done(&mailer.last);
        rig_close(&rig);
}

TEST("a server that is away is tried until it is back, and holds up nobody else's mail")
{
        struct rig rig;
        struct scripted mailer = {
                .mailer = {.ops = &scripted_ops},
                .last = STR_INIT,
                .answers = {ERROR_UNAVAILABLE, 0, ERROR_UNAVAILABLE, ERROR_UNAVAILABLE},
                .n_answers = 4};
        struct notifier *notifier;

        rig_open(&rig);
        publish(&rig, "b1", 1, 1, STATE_FAILED, "");
        publish(&rig, "b2", 1, 2, STATE_FAILED, "");
        notifier = start(&rig, &mailer.mailer);
        rig_wait_depth(&rig, QUEUE_NOTIFICATION, 0);
        assert_int_equal(calls_of(&mailer), 5);
        assert_true(was_sent(&rig, "b1", 1, "ada@example.org"));
        assert_true(was_sent(&rig, "b2", 1, "ada@example.org"));
        assert_int_equal(rig_depth(&rig, QUEUE_NOTIFICATION ".dead"), 0);
        notifier_close(notifier);
        str_done(&mailer.last);
        rig_close(&rig);
}

TEST("a refused mail is remembered as refused, a refused login waits among the dead letters")
{
        struct rig rig;
        struct scripted mailer = {.mailer = {.ops = &scripted_ops},
                                  .last = STR_INIT,
                                  .answers = {ERROR_INVALID, ERROR_DENIED},
                                  .n_answers = 2};
        struct notifier *notifier;

        rig_open(&rig);
        notifier = start(&rig, &mailer.mailer);
        publish(&rig, "b1", 1, 1, STATE_FAILED, "");
        rig_wait_depth(&rig, QUEUE_NOTIFICATION, 0);
        assert_true(was_sent(&rig, "b1", 1, "ada@example.org"));
        publish(&rig, "b2", 1, 2, STATE_FAILED, "");
        rig_wait_depth(&rig, QUEUE_NOTIFICATION ".dead", 1);
        assert_false(was_sent(&rig, "b2", 1, "ada@example.org"));
        publish(&rig, "b2", 1, 2, STATE_FAILED, "");
        rig_wait_depth(&rig, QUEUE_NOTIFICATION, 0);
        assert_int_equal(calls_of(&mailer), 3);
        notifier_close(notifier);
        str_done(&mailer.last);
        rig_close(&rig);
}

static void put_build(struct rig *rig, const char *id, int64_t number, enum state state)
{
        scoped(build) struct build *build = build_new();
        struct error err = {0};

        build->id = id;
        build->repo = "acme/api";
        build->branch = "main";
        build->event = "push";
        build->state = state;
        build->notified = true;
        assert_ok(store_build_insert(rig->store, build, &err), err);
        assert_int_equal(build->number, number);
}

static bool last_mail_has(struct scripted *mailer, const char *words)
{
        return strstr(mailer->last.data, words) != NULL;
}

TEST("mails of one series of red builds name the same incident, up to the one that mends it")
{
        struct rig rig;
        struct scripted mailer = {.mailer = {.ops = &scripted_ops}, .last = STR_INIT};
        struct notifier *notifier;

        rig_open(&rig);
        put_build(&rig, "b1", 1, STATE_SUCCESS);
        put_build(&rig, "b2", 2, STATE_FAILED);
        put_build(&rig, "b3", 3, STATE_CANCELLED);
        put_build(&rig, "b4", 4, STATE_ERROR);
        put_build(&rig, "b5", 5, STATE_SUCCESS);
        put_build(&rig, "b6", 6, STATE_FAILED);
        notifier = start(&rig, &mailer.mailer);
        publish(&rig, "b2", 1, 2, STATE_FAILED, "success");
        rig_wait_depth(&rig, QUEUE_NOTIFICATION, 0);
        assert_true(last_mail_has(&mailer, "References: <incident.acme.api.main.2@example.org>"));
        assert_true(last_mail_has(&mailer, "First failure since #1"));
        publish(&rig, "b4", 1, 4, STATE_FAILED, "failed");
        rig_wait_depth(&rig, QUEUE_NOTIFICATION, 0);
        assert_true(last_mail_has(&mailer, "References: <incident.acme.api.main.2@example.org>"));
        assert_true(last_mail_has(&mailer, "STILL FAILING"));
        publish(&rig, "b5", 1, 5, STATE_SUCCESS, "error");
        rig_wait_depth(&rig, QUEUE_NOTIFICATION, 0);
        assert_true(last_mail_has(&mailer, "References: <incident.acme.api.main.2@example.org>"));
        assert_true(last_mail_has(&mailer, "Subject: [acme/api] FIXED #5"));
        publish(&rig, "b6", 1, 6, STATE_FAILED, "success");
        rig_wait_depth(&rig, QUEUE_NOTIFICATION, 0);
        assert_true(last_mail_has(&mailer, "References: <incident.acme.api.main.6@example.org>"));
        notifier_close(notifier);
        str_done(&mailer.last);
        rig_close(&rig);
}

TEST("settings that cannot be are refused at the start, in words")
{
        static const struct {
                const char *from, *to, *policy, *words;
        } table[] = {
                {"nobody", "", "always", "'nobody' is not a mail address"},
                {"a@b\r\nBcc: c@d", "", "always", "is not a mail address"},
                {"ci@example.org", "ops", "always", "'ops'"},
                {"ci@example.org", "", "sometimes", "'sometimes' is not known"},
        };
        struct rig rig;

        rig_open(&rig);
        for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
                struct notifier_options options = {.bus = rig.bus,
                                                   .store = rig.store,
                                                   .from = table[i].from,
                                                   .to = table[i].to,
                                                   .policy = table[i].policy,
                                                   .url = ""};
                struct notifier *notifier = NULL;
                struct error err = {0};

                assert_int_equal(notifier_open(&notifier, &options, &err), -ERROR_INVALID);
                assert_non_null(strstr(err.text, table[i].words));
                assert_null(notifier);
        }
        rig_close(&rig);
}

TEST("through the outbox a mail is one file with the build in its name")
{
        struct rig rig;
        struct mailer *mailer = NULL;
        struct notifier *notifier;
        struct error err = {0};
        scoped_text char *url = NULL;
        glob_t found = {0};
        scoped_text char *pattern = NULL;

        rig_open(&rig);
        url = text_format("outbox:%s/outbox", rig.folder);
        assert_ok(mailer_open_outbox(&mailer, url, NULL, &err), err);
        notifier = start(&rig, mailer);
        publish(&rig, "b1", 1, 12, STATE_SUCCESS, "");
        rig_wait_depth(&rig, QUEUE_NOTIFICATION, 0);
        notifier_close(notifier);
        mailer_close(mailer);
        pattern = text_format("%s/outbox/acme-api-000012-success-*.eml", rig.folder);
        assert_int_equal(glob(pattern, 0, NULL, &found), 0);
        assert_int_equal(found.gl_pathc, 1);
        globfree(&found);
        assert_true(was_sent(&rig, "b1", 1, "ada@example.org"));
        rig_close(&rig);
}

#ifdef ARGON_FAILPOINTS
static struct mailer *open_outbox(struct rig *rig)
{
        scoped_text char *url = text_format("outbox:%s/outbox", rig->folder);
        struct mailer *mailer = NULL;
        struct error err = {0};

        assert_ok(mailer_open_outbox(&mailer, url, NULL, &err), err);
        return mailer;
}

static void publish_and_tell(struct rig *rig, void *data)
{
        publish(rig, "b1", 1, 12, STATE_SUCCESS, "");
        start(rig, open_outbox(rig));
}

TEST("killed before or after a mail was sent, there is one mail")
{
        static const char *const places[] = {"notifier.before_send=kill",
                                             "notifier.after_send=kill"};

        for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
                struct rig rig;
                struct mailer *mailer;
                struct notifier *notifier;
                scoped_text char *pattern = NULL;
                glob_t found = {0};

                rig_prepare(&rig);
                rig_die(&rig, places[i], publish_and_tell, NULL);
                rig_attach(&rig);
                mailer = open_outbox(&rig);
                notifier = start(&rig, mailer);
                rig_wait_depth(&rig, QUEUE_NOTIFICATION, 0);
                assert_true(was_sent(&rig, "b1", 1, "ada@example.org"));
                pattern = text_format("%s/outbox/*.eml", rig.folder);
                assert_int_equal(glob(pattern, 0, NULL, &found), 0);
                assert_int_equal(found.gl_pathc, 1);
                globfree(&found);
                notifier_close(notifier);
                mailer_close(mailer);
                rig_close(&rig);
        }
}
#endif

TEST_MAIN()
