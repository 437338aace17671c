#pragma once
/*
 * excerpt - the few lines of a log that tell why; pure
 */
#include <stddef.h>
#include <stdint.h>

struct str;

/* Limits of what a mail quotes. */
#define EXCERPT_LINES 20
#define EXCERPT_LAST_LINES 10
#define EXCERPT_COLUMNS 200
#define EXCERPT_BYTES_MAX (8 * 1024)

/**
 * excerpt_add() - append the lines that matter, numbered, each with two blanks before it
 * @tail: the last lines of the step's output
 * @last_line: number of its last line; 0: not known, lines stay without numbers
 *
 * The 20 lines around the first that looks like an error, and the last 10; without such a line the
 * last 20. Escape sequences and control characters are taken out, long lines cut, the whole is at
 * most EXCERPT_BYTES_MAX (from its beginning "..." stands for what is missing).
 *
 * Return: how many lines.
 */
int excerpt_add(struct str *ret, const char *tail, int64_t last_line);

/** excerpt_clean() - append one line of text without escape sequences and control characters, at
 *  most max columns */
void excerpt_clean(struct str *ret, const char *text, size_t n, size_t max);
