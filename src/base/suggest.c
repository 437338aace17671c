/*
 * The distance is computed row by row with three rows in hand: the swap of neighbours looks back
 * two (the "optimal string alignment" form, which never edits a place twice).
 */
#include "base/suggest.h"

#include <string.h>

#include "base/banned.h"

static size_t least(size_t a, size_t b)
{
        return a < b ? a : b;
}

static size_t distance(const char *a, size_t n, const char *b, size_t m)
{
        size_t rows[3][SUGGEST_LENGTH_MAX + 1];
        size_t *two = rows[0];
        size_t *one = rows[1];
        size_t *now = rows[2];

        for (size_t j = 0; j <= m; j++)
                one[j] = j;
        for (size_t i = 1; i <= n; i++) {
                size_t *reused = two;

                now[0] = i;
                for (size_t j = 1; j <= m; j++) {
                        now[j] = one[j - 1] + (a[i - 1] != b[j - 1]);
                        now[j] = least(now[j], least(one[j], now[j - 1]) + 1);
                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                                now[j] = least(now[j], two[j - 2] + 1);
                }
                two = one;
                one = now;
                now = reused;
        }
        return one[m];
}

const char *suggest(const char *word, const char *const *words, size_t n)
{
        size_t length = strlen(word);
        size_t best = length / 3 > 1 ? length / 3 : 1;
        const char *found = NULL;

        if (length == 0 || length > SUGGEST_LENGTH_MAX)
                return NULL;
        for (size_t i = 0; i < n; i++) {
                size_t m = strlen(words[i]);
                size_t far;

                if (m > SUGGEST_LENGTH_MAX)
                        continue;
                far = distance(word, length, words[i], m);
                if (far < best || (far == best && !found)) {
                        best = far;
                        found = words[i];
                }
        }
        return found;
}
