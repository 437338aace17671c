#pragma once
/*
 * suggest - the known word that somebody meant when they mistyped it
 */
#include <stddef.h>

/**
 * suggest() - the closest of n words, or NULL when none is near
 *
 * Near is a Damerau-Levenshtein distance (insert, delete, replace, swap of neighbours) of at most a
 * third of the word's length, and at least 1. Words over SUGGEST_LENGTH_MAX are never near.
 */
#define SUGGEST_LENGTH_MAX 64
const char *suggest(const char *word, const char *const *words, size_t n);
