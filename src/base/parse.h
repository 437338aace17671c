#pragma once
/*
 * parse - numbers, durations and sizes from text, strictly: the whole text or nothing
 */
#include <stdint.h>

struct error;

/** parse_int() - decimal digits with an optional '-', within [min, max] */
int parse_int(int64_t *ret, const char *text, int64_t min, int64_t max, struct error *err);
/**
 * parse_duration() - "90", "90s", "5m", "2h30m", "250ms", "30d" to milliseconds
 *
 * A bare number counts seconds. Units fall from left to right, each at most once; at most 10 years.
 */
int parse_duration(int64_t *ret_ms, const char *text, struct error *err);
/**
 * parse_size() - "1048576", "512MiB", "2GiB", "64k" to bytes
 *
 * KiB MiB GiB TiB and k m g t (any case, with or without b) count in steps of 1024; at most 8 EiB.
 */
int parse_size(int64_t *ret_bytes, const char *text, struct error *err);
