#pragma once
/*
 * mask_reference - what masking means, said slowly: the whole text at once, every piece compared at
 * every place. The stream is tried against it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "domain/mask_set.h"

#define REFERENCE_PIECES_MAX 65536

struct reference {
        struct {
                unsigned char bytes[MASK_PIECE];
                size_t n;
        } * pieces;
        size_t n;
};

static inline void reference_piece(struct reference *reference, const unsigned char *p, size_t n)
{
        for (size_t i = 0; i < reference->n; i++) {
                if (reference->pieces[i].n == n && memcmp(reference->pieces[i].bytes, p, n) == 0)
                        return;
        }
        if (reference->n == REFERENCE_PIECES_MAX)
                abort();
        memcpy(reference->pieces[reference->n].bytes, p, n);
        reference->pieces[reference->n++].n = n;
}

/* The bytes that one of the two views keeps; ret_places (may be NULL): where each stands. */
static inline size_t reference_view(const unsigned char *p, size_t n, int clean, unsigned char *ret,
                                    size_t *ret_places)
{
        size_t kept = 0;

        for (size_t i = 0; i < n;) {
                int sequence = clean ? mask_sequence(p + i, n - i) : 0;

                if (sequence < 0)
                        break;
                if (sequence == 0 && !(clean && (p[i] == '\n' || p[i] == '\r'))) {
                        if (ret_places)
                                ret_places[kept] = i;
                        ret[kept++] = p[i];
                }
                i += sequence > 0 ? (size_t)sequence : 1;
        }
        return kept;
}

static inline void reference_form(void *data, const char *form, size_t n)
{
        struct reference *reference = data;
        unsigned char *view = xmalloc(n);

        for (int clean = 0; clean < 2; clean++) {
                size_t kept = 0;

                for (size_t i = 0; i < n;) {
                        const unsigned char *p = (const unsigned char *)form + i;
                        int sequence = clean ? mask_sequence(p, n - i) : 0;

                        if (sequence <= 0 && *p != '\n' && *p != '\r')
                                view[kept++] = *p;
                        i += sequence > 0 ? (size_t)sequence : 1;
                }
                if (kept >= MASK_LENGTH_MIN && kept <= MASK_PIECE)
                        reference_piece(reference, view, kept);
                for (size_t at = 0; kept > MASK_PIECE && at + MASK_PIECE <= kept; at += MASK_PIECE)
                        reference_piece(reference, view + at, MASK_PIECE);
                if (kept > MASK_PIECE)
                        reference_piece(reference, view + kept - MASK_PIECE, MASK_PIECE);
        }
        free(view);
}

static inline void reference_init(struct reference *reference)
{
        reference->pieces = xcalloc(REFERENCE_PIECES_MAX, sizeof(*reference->pieces));
        reference->n = 0;
}

static inline void reference_add(struct reference *reference, const char *secret, size_t n)
{
        mask_variants(secret, n, reference_form, reference);
}

static inline void reference_done(struct reference *reference)
{
        free(reference->pieces);
}

/* Mark what a piece at view position `at` hides: 1 the bytes, 2 sequences between them. */
static inline void reference_mark(const unsigned char *text, const size_t *places, size_t n,
                                  unsigned char *marks)
{
        size_t head = 0;

        for (size_t i = 1; i < MASK_LENGTH_MIN; i++) {
                for (size_t at = places[i - 1]; at < places[i]; at++) {
                        if (text[at] == '\n')
                                head = i;
                }
        }
        for (size_t i = head; i < n; i++) {
                marks[places[i]] = 1;
                for (size_t at = places[i] + 1; i + 1 < n && at < places[i + 1]; at++) {
                        if (text[at] != '\n' && text[at] != '\r' && !marks[at])
                                marks[at] = 2;
                }
        }
}

static inline void reference_mask(const struct reference *reference, const void *bytes, size_t n,
                                  struct str *ret)
{
        const unsigned char *text = bytes;
        unsigned char *marks = xcalloc(n + 1, 1);
        unsigned char *view = xmalloc(n + 1);
        size_t *places = xmalloc((n + 1) * sizeof(*places));
        int stars = 0;

        for (int clean = 0; clean < 2; clean++) {
                size_t kept = reference_view(text, n, clean, view, places);

                for (size_t at = 0; at < kept; at++) {
                        for (size_t i = 0; i < reference->n; i++) {
                                size_t length = reference->pieces[i].n;

                                if (length <= kept - at &&
                                    memcmp(view + at, reference->pieces[i].bytes, length) == 0)
                                        reference_mark(text, places + at, length, marks);
                        }
                }
        }
        for (size_t i = 0; i < n; i++) {
                if (marks[i] != 1)
                        str_add_char(ret, (char)text[i]);
                else if (!stars)
                        str_add(ret, "***");
                stars = marks[i] == 1 || (stars && marks[i] == 2);
        }
        free(marks);
        free(view);
        free(places);
}
