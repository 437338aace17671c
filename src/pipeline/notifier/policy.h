#pragma once
/*
 * policy - whether an ended build is told, and to whom; pure
 *
 * The administrator's policy and the file's are both asked, so a file can only narrow.
 *
 * always   every end but cancelled and skipped
 * failure  failed, timed out, error
 * change   failed and timed out (also when still failing: the new commit's author should know),
 *          and the first success after them; errors of ours go to the administrator alone
 * never    nothing
 *
 * Builds of forks are told to the administrator alone: whoever opened the pull request chose the
 * addresses in it.
 */
#include <stdbool.h>

struct notification;

/* RFC 5321: 64 before the @, 254 in all. */
#define ADDRESS_BYTES_MAX 254

/** enum told_as - the word for the subject */
enum told_as {
        TOLD_PASSED,
        TOLD_FIXED,
        TOLD_FAILED,
        TOLD_STILL_FAILING,
        TOLD_TIMED_OUT,
        TOLD_ERROR,
        TOLD_CANCELLED,
        TOLD_SKIPPED,
};

enum told_as policy_told_as(const struct notification *notification);
/** told_as_name() - PASSED, FIXED, FAILED, STILL FAILING, … */
const char *told_as_name(enum told_as as);

/** struct recipient - @why: pusher, author, committer or administrator */
struct recipient {
        char address[ADDRESS_BYTES_MAX + 1];
        const char *why;
};

/**
 * policy_recipient() - who gets a mail, if anybody
 * @policy: the administrator's: always, change, failure, never
 * @administrator: address, or ""
 *
 * Addresses of people are tried in the order pusher, author, committer, administrator; ones that
 * are not valid, or that the forge made up so that nobody can write there, are passed over.
 *
 * Return: true with *ret filled; else *ret_why says why nobody is told.
 */
bool policy_recipient(struct recipient *ret, const char **ret_why,
                      const struct notification *notification, const char *policy,
                      const char *administrator);

/** policy_known() - whether it is one of the four words */
bool policy_known(const char *policy);
