#include "pipeline/notifier/policy.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "pipeline/notifier/address.h"
#include "wire/notification.h"

#include "base/banned.h"

static bool is_bad(const char *state)
{
        return strcmp(state, "failed") == 0 || strcmp(state, "error") == 0 ||
               strcmp(state, "timeout") == 0;
}

enum told_as policy_told_as(const struct notification *notification)
{
        bool was_bad = is_bad(notification->previous);

        switch (notification->state) {
        case STATE_FAILED:
                return was_bad ? TOLD_STILL_FAILING : TOLD_FAILED;
        case STATE_TIMEOUT:
                return TOLD_TIMED_OUT;
        case STATE_SUCCESS:
                return was_bad ? TOLD_FIXED : TOLD_PASSED;
        case STATE_CANCELLED:
                return TOLD_CANCELLED;
        case STATE_SKIPPED:
                return TOLD_SKIPPED;
        default:
                return TOLD_ERROR;
        }
}

const char *told_as_name(enum told_as as)
{
        static const char *const names[] = {
                [TOLD_PASSED] = "PASSED",       [TOLD_FIXED] = "FIXED",
                [TOLD_FAILED] = "FAILED",       [TOLD_STILL_FAILING] = "STILL FAILING",
                [TOLD_TIMED_OUT] = "TIMED OUT", [TOLD_ERROR] = "ERROR",
                [TOLD_CANCELLED] = "CANCELLED", [TOLD_SKIPPED] = "SKIPPED",
        };

        return names[as];
}

/* What the one who pushed can mend, in contrast to what the administrator must. */
static bool is_ours(const struct notification *notification)
{
        return notification->state == STATE_ERROR &&
               notification->reason != REASON_CONFIG_INVALID &&
               notification->reason != REASON_SOURCE_UNAVAILABLE;
}

static bool wants(const char *policy, enum told_as as)
{
        if (as == TOLD_CANCELLED || as == TOLD_SKIPPED || strcmp(policy, "never") == 0)
                return false;
        if (strcmp(policy, "failure") == 0)
                return as != TOLD_PASSED && as != TOLD_FIXED;
        if (strcmp(policy, "change") == 0)
                return as != TOLD_PASSED;
        return true;
}

bool policy_known(const char *policy)
{
        static const char *const words[] = {"always", "change", "failure", "never"};

        for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
                if (strcmp(policy, words[i]) == 0)
                        return true;
        }
        return false;
}

/* Addresses behind which nobody reads: GitHub's private ones, and its own committer's. */
static bool is_nobody(const char *address)
{
        const char *at = strrchr(address, '@');

        return !at || strcasecmp(at, "@users.noreply.github.com") == 0 ||
               strcasecmp(address, "noreply@github.com") == 0;
}

static bool try_address(struct recipient *ret, const char *address, const char *why)
{
        if (!address || !address_valid(address) || is_nobody(address))
                return false;
        snprintf(ret->address, sizeof(ret->address), "%s", address);
        ret->why = why;
        return true;
}

bool policy_recipient(struct recipient *ret, const char **ret_why,
                      const struct notification *notification, const char *policy,
                      const char *administrator)
{
        enum told_as as = policy_told_as(notification);
        bool ours = strcmp(policy, "change") == 0 && is_ours(notification);

        if (!wants(policy, as)) {
                *ret_why = "the policy of this server does not ask for it";
                return false;
        }
        if (notification->policy[0] && !wants(notification->policy, as)) {
                *ret_why = "the repository's file does not ask for it";
                return false;
        }
        if (!notification->fork && !ours &&
            (try_address(ret, notification->pusher_email, "pusher") ||
             try_address(ret, notification->author_email, "author") ||
             try_address(ret, notification->committer_email, "committer")))
                return true;
        if (try_address(ret, administrator, "administrator"))
                return true;
        *ret_why = notification->fork ? "it is a fork's, and ARGON_MAIL_TO is not set"
                   : ours ? "it is the administrator's matter, and ARGON_MAIL_TO is not set"
                          : "no usable address is known, and ARGON_MAIL_TO is not set";
        return false;
}
