/*
 * Repositories stand in a ring sorted by name; the turn goes on after the one that was last. So the
 * memory between two calls is one name, and a repository that comes or goes does not disturb it.
 */
#include "domain/fair.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

#include "base/banned.h"

struct entry {
        const char *repo;
        size_t index;
};

static int by_repo(const void *a, const void *b)
{
        const struct entry *x = a;
        const struct entry *y = b;
        int order = strcmp(x->repo, y->repo);

        if (order != 0)
                return order;
        return x->index < y->index ? -1 : x->index > y->index;
}

/* The end of the run of items that belong to the same repository. */
static size_t end_of_run(const struct entry *entries, size_t n, size_t from)
{
        size_t to = from + 1;

        while (to < n && strcmp(entries[to].repo, entries[from].repo) == 0)
                to++;
        return to;
}

/* One turn around the ring: every repository that has still something gives one. */
static size_t take_turn(const struct entry *entries, size_t n, size_t first, bool *taken,
                        size_t most, size_t *ret)
{
        size_t chosen = 0;
        size_t seen = 0;
        size_t at = first;

        while (seen < n && chosen < most) {
                size_t end = end_of_run(entries, n, at);
                size_t i = at;

                while (i < end && taken[i])
                        i++;
                if (i < end) {
                        taken[i] = true;
                        ret[chosen++] = entries[i].index;
                }
                seen += end - at;
                at = end == n ? 0 : end;
        }
        return chosen;
}

size_t fair_pick(const char *const *repos, size_t n, size_t most, const char *last, size_t *ret)
{
        struct entry *entries = xcalloc(n + 1, sizeof(*entries));
        bool *taken = xcalloc(n + 1, sizeof(*taken));
        size_t first = 0;
        size_t chosen = 0;

        for (size_t i = 0; i < n; i++)
                entries[i] = (struct entry){repos[i], i};
        qsort(entries, n, sizeof(*entries), by_repo);
        while (first < n && strcmp(entries[first].repo, last) <= 0)
                first++;
        if (first == n)
                first = 0;
        if (most > n)
                most = n;
        while (chosen < most)
                chosen += take_turn(entries, n, first, taken, most - chosen, ret + chosen);
        free(entries);
        free(taken);
        return chosen;
}
