#pragma once
/*
 * fair - which waiting jobs go first: repositories take turns, first in first out within one
 */
#include <stddef.h>

/**
 * fair_pick() - choose among waiting items
 * @repos: the repository of each of the n items, oldest item first
 * @most: how many may go now
 * @last: the repository that had the last turn, or ""
 * @ret: room for n; filled with the indices in the order to go
 *
 * Return: how many were chosen.
 */
size_t fair_pick(const char *const *repos, size_t n, size_t most, const char *last, size_t *ret);
