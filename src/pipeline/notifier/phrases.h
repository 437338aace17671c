#pragma once
/*
 * phrases - the sentences that text and HTML of a mail have in common; pure
 */
#include "pipeline/notifier/compose.h"

#define PHRASES_JOBS_MAX 50
#define PHRASES_LINE_COLUMNS 200

/** phrase_line() - append the first line of a text, clean, at most max columns */
void phrase_line(struct str *ret, const char *text, size_t max);
/** phrase_heading() - "FAILED  acme/api #812 on main, after 2m14s" */
void phrase_heading(struct str *ret, const struct notification *notification);
/** phrase_history() - "First failure since #808", or nothing */
void phrase_history(struct str *ret, const struct notification *notification,
                    const struct compose_facts *facts);
/** phrase_failing() - "test > pytest   exited with 1, after 38s (attempt 2)", or nothing */
void phrase_failing(struct str *ret, const struct notification *notification);
/** phrase_jobs() - "lint ok 21s | test FAILED 1m02s | deploy skipped", or nothing */
void phrase_jobs(struct str *ret, const struct notification *notification);
/** phrase_commit() - "9f2c1ab by Dev1 <dev1@example.org>: Fix retry loop" */
void phrase_commit(struct str *ret, const struct notification *notification);
/** phrase_why() - "You get this because you pushed this commit." */
const char *phrase_why(const char *why);
/** phrase_excerpt() - the quoted lines; Return: how many */
int phrase_excerpt(struct str *ret, const struct notification *notification,
                   const struct compose_facts *facts);
