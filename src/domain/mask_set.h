#pragma once
/*
 * mask_set - the secrets in every form that is looked for, as fingerprints
 *
 * A form is cut into pieces of at most MASK_PIECE bytes. Of each piece a keyed 64-bit hash is kept,
 * and of its first MASK_LENGTH_MIN bytes another one with the lengths of the pieces that begin so.
 * The secrets themselves are not kept. Private to mask*.c and their tests.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "domain/mask.h"

#define MASK_PIECE 32

/* A bit for each length up to MASK_PIECE: bit L - 1. */
typedef uint32_t mask_lengths;

/** mask_set_empty() - whether nothing is looked for */
bool mask_set_empty(const struct mask_set *set);
/**
 * mask_set_next() - the first place from `at` on where a piece begins whose first MASK_LENGTH_MIN
 * bytes are there
 * @ret: lengths of the pieces that begin so
 *
 * Return: the place; when there is none, with *ret 0, where fewer than MASK_LENGTH_MIN bytes begin.
 */
size_t mask_set_next(const struct mask_set *set, const unsigned char *bytes, size_t n, size_t at,
                     mask_lengths *ret);
/** mask_set_has() - whether these n bytes (MASK_LENGTH_MIN to MASK_PIECE) are a piece */
bool mask_set_has(const struct mask_set *set, const unsigned char *bytes, size_t n);
/** mask_set_may_begin() - whether a piece may begin with these n bytes, fewer than MASK_PIECE; true
 *  now and then when none does */
bool mask_set_may_begin(const struct mask_set *set, const unsigned char *bytes, size_t n);

/**
 * mask_variants() - the forms of a secret that are looked for
 *
 * Calls each() with every form, some of them several times. A form may be shorter than
 * MASK_LENGTH_MIN; it may hold line ends.
 */
void mask_variants(const char *bytes, size_t n,
                   void (*each)(void *data, const char *form, size_t n), void *data);

/**
 * mask_sequence() - the length of the terminal sequence (ESC [ … letter) at p
 *
 * Return: 0 when none begins there; -1 when the n bytes end before it does.
 */
int mask_sequence(const unsigned char *p, size_t n);
#define MASK_SEQUENCE_MAX 64
