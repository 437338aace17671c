/*
 * One thread takes notifications one by one. The ledger is asked before and told after each mail: a
 * crash in between sends the same mail, with the same Message-ID, once more. What cannot be sent
 * now goes back to the queue with a delay that doubles, so that one recipient's server does not
 * hold up the others. What will never be sent is written into the ledger with the server's words; a
 * refused login is the administrator's to mend, so those mails wait among the dead letters.
 */
#include "pipeline/notifier/notifier.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/json.h"
#include "base/log.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/build.h"
#include "pipeline/consume.h"
#include "pipeline/notifier/address.h"
#include "pipeline/notifier/compose.h"
#include "pipeline/notifier/policy.h"
#include "pipeline/topology.h"
#include "ports/mailer.h"
#include "ports/store.h"
#include "wire/notification.h"

#include "base/banned.h"

#define NOTIFIER "notifier"
#define CHANNEL "mail"
#define HISTORY_BUILDS 100
/* At 30 s between two tries this is more than three days, as long as mail servers try. */
#define DELIVERIES_MAX 10000

struct notifier {
        struct notifier_options options;
        struct str from_name;
        struct str from;
        struct consume *consume;
        pthread_t thread;
        bool started;
};

static void log_mail(enum log_severity severity, const struct notification *notification,
                     const char *to, const char *detail, const char *text)
{
        scoped(json) json_t *context = json_object();
        scoped_str struct str json = STR_INIT;
        struct log_context about = {.service = NOTIFIER, .build_id = notification->build_id};

        json_set_text(context, "repo", notification->repo);
        json_set_int(context, "number", notification->number);
        if (to)
                json_set_text(context, "to", to);
        if (detail[0])
                json_set_text(context, "detail", detail);
        str_add_json(&json, context);
        about.context = json.data;
        log_event(severity, &about, "%s", text);
}

static bool is_bad(enum state state)
{
        return state == STATE_FAILED || state == STATE_ERROR || state == STATE_TIMEOUT;
}

/* From the newest build before this one backwards: red ones in a row, up to a green one. */
static void walk_back(const struct build_page *page, const struct notification *notification,
                      struct compose_facts *facts)
{
        for (size_t i = 0; i < page->n && !facts->last_green; i++) {
                const struct build *build = page->builds[i];

                if (build->number >= notification->number)
                        continue;
                if (is_bad(build->state))
                        facts->first_red = build->number;
                else if (build->state == STATE_SUCCESS)
                        facts->last_green = build->number;
        }
}

/* History is decoration: a mail goes without it when the store has none to give. */
static void add_history(struct notifier *notifier, const struct notification *notification,
                        struct compose_facts *facts)
{
        struct build_filter filter = {.repo = notification->repo,
                                      .branch = notification->branch,
                                      .limit = HISTORY_BUILDS};
        enum told_as as = policy_told_as(notification);
        struct build_page page = {0};

        if (is_bad(notification->state) || (as == TOLD_FIXED && notification->round > 1))
                facts->first_red = notification->number;
        if (as == TOLD_PASSED)
                return;
        if (store_builds(notifier->options.store, &page, &filter, NULL) < 0)
                return;
        walk_back(&page, notification, facts);
        build_page_done(&page);
}

static int send(struct notifier *notifier, const struct notification *notification,
                const struct recipient *recipient, char ret_detail[128], struct error *err)
{
        scoped_str struct str message = STR_INIT;
        struct compose_facts facts = {
                .from_name = notifier->from_name.data,
                .from = notifier->from.data,
                .to = recipient->address,
                .reply_to = address_valid(notifier->options.to) ? notifier->options.to : "",
                .why = recipient->why,
                .url = notifier->options.url,
                .date_ms = wall_ms(),
                .with_log = notifier->options.with_log,
        };

        add_history(notifier, notification, &facts);
        compose_mail(&message, notification, &facts);
        return mailer_send(notifier->options.mailer, notifier->from.data, recipient->address,
                           message.data, message.len, ret_detail, err);
}

static int tell(struct notifier *notifier, const struct notification *notification,
                const struct recipient *recipient, struct error *err)
{
        struct ledger_key key = {notification->build_id, notification->round, CHANNEL,
                                 recipient->address};
        char detail[128] = "";
        bool sent = false;
        int result = store_ledger_sent(notifier->options.store, &sent, &key, err);

        if (result < 0)
                return result;
        if (sent) {
                log_mail(LOG_INFO, notification, recipient->address, "",
                         "Mail was sent before; not again");
                return 0;
        }
        if (FAILPOINT("notifier.before_send"))
                return error_set(err, ERROR_UNAVAILABLE, "failpoint before sending");
        result = send(notifier, notification, recipient, detail, err);
        if (result == -ERROR_UNAVAILABLE || result == -ERROR_DENIED || result == -ERROR_CANCELLED)
                return error_wrap(err, "mail to %s", recipient->address);
        if (FAILPOINT("notifier.after_send"))
                return error_set(err, ERROR_UNAVAILABLE, "failpoint after sending");
        if (result < 0) {
                scoped_text char *words = text_format("refused: %s", err->text);

                log_mail(LOG_ERROR, notification, recipient->address, err->text, "Mail refused");
                return store_ledger_mark(notifier->options.store, &key, words, err);
        }
        log_mail(LOG_INFO, notification, recipient->address, detail, "Mail sent");
        return store_ledger_mark(notifier->options.store, &key, detail, err);
}

static int handle(void *data, const struct bus_message *message, struct error *err)
{
        struct notifier *notifier = data;
        scoped(notification) struct notification *notification = NULL;
        struct recipient recipient;
        const char *why = "";

        if (notification_decode(&notification, message->body, message->len, err) < 0)
                return -ERROR_INVALID;
        if (!policy_recipient(&recipient, &why, notification, notifier->options.policy,
                              notifier->options.to)) {
                log_mail(LOG_INFO, notification, NULL, why, "No mail for this build");
                return 0;
        }
        return tell(notifier, notification, &recipient, err);
}

static void *run(void *data)
{
        consume_run(data);
        return NULL;
}

static int check_options(struct notifier *notifier, struct error *err)
{
        const struct notifier_options *options = &notifier->options;

        if (!policy_known(options->policy))
                return error_set(err, ERROR_INVALID,
                                 "the mail policy '%s' is not known; write always, change, failure "
                                 "or never",
                                 options->policy);
        if (options->to[0] && !address_valid(options->to))
                return error_set(err, ERROR_INVALID,
                                 "'%.100s' (who gets mail when no address is known) is not a mail "
                                 "address",
                                 options->to);
        if (address_split(&notifier->from_name, &notifier->from, options->from, err) < 0)
                return -ERROR_INVALID;
        if (!notifier->from_name.len)
                str_add(&notifier->from_name, "Argon CI");
        return 0;
}

static int start(struct notifier *notifier, struct error *err)
{
        static const char *const queues[] = {QUEUE_NOTIFICATION};
        struct consume_spec spec = {
                .bus = notifier->options.bus,
                .service = NOTIFIER,
                .queues = queues,
                .n_queues = 1,
                .prefetch = 1,
                .attempts_max = DELIVERIES_MAX,
                .handle = handle,
                .data = notifier,
        };

        if (consume_open(&notifier->consume, &spec, err) < 0)
                return -ERROR_UNAVAILABLE;
        if (pthread_create(&notifier->thread, NULL, run, notifier->consume))
                return error_set(err, ERROR_UNAVAILABLE, "start the thread of the notifier");
        notifier->started = true;
        return 0;
}

int notifier_open(struct notifier **ret, const struct notifier_options *options, struct error *err)
{
        struct notifier *notifier = xcalloc(1, sizeof(*notifier));
        int result;

        notifier->options = *options;
        notifier->options.to = text_or(options->to, "");
        str_init(&notifier->from_name);
        str_init(&notifier->from);
        result = check_options(notifier, err);
        if (result == 0)
                result = start(notifier, err);
        if (result < 0) {
                notifier_close(notifier);
                return error_wrap(err, "start the notifier");
        }
        *ret = notifier;
        return 0;
}

void notifier_close(struct notifier *notifier)
{
        if (!notifier)
                return;
        if (notifier->consume)
                consume_stop(notifier->consume);
        if (notifier->started)
                pthread_join(notifier->thread, NULL);
        consume_close(notifier->consume);
        str_done(&notifier->from_name);
        str_done(&notifier->from);
        free(notifier);
}
