#pragma once
/*
 * notifier - a finished build becomes a mail to the one who pushed it
 *
 * The only writer of the ledger. A crash between sending and remembering costs at most one
 * duplicate; a mail server that is down is waited for, and nothing is lost meanwhile.
 */
#include <stdbool.h>

struct bus;
struct error;
struct mailer;
struct notifier;
struct store;

/**
 * struct notifier_options - ports and texts are borrowed; the mailer is used by the notifier alone
 * @from: sender, "Name <address>" or an address; its domain makes the Message-ID
 * @to: who gets a mail when no usable address is known, or ""
 * @policy: always, change, failure, never; a repository's file may only narrow it
 * @url: what links start with, without a slash at the end
 * @with_log: whether mails quote the job's output
 */
struct notifier_options {
        struct bus *bus;
        struct store *store;
        struct mailer *mailer;
        const char *from;
        const char *to;
        const char *policy;
        const char *url;
        bool with_log;
};

int notifier_open(struct notifier **ret, const struct notifier_options *options, struct error *err);
void notifier_close(struct notifier *notifier);
