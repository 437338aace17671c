#pragma once
/*
 * pipeline_check - one map of a pipeline file against its table of keys
 *
 * Collects findings and fills the struct that the table describes. Private to pipeline_*.c.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/yaml.h"
#include "domain/finding.h"

struct arena;
struct key;
struct key_table;

/* After so many findings further ones are only counted: FINDINGS_MAX are shown, words cost time. */
#define CHECK_FINDINGS_MAX 100

/** struct check - @source: the file's bytes, NUL-terminated; @line, @line_start: the line that was
 *  looked up last (places come in the order of the file, mostly) */
struct check {
        struct arena *arena;
        struct findings *findings;
        const char *source;
        int line;
        const char *line_start;
};

/** check_full() - whether further findings are only counted */
bool check_full(const struct check *check);
/** check_error() - a finding at a place; hint and format become one sentence each */
void check_error(struct check *check, struct yaml_place place, const char *rule, const char *hint,
                 const char *format, ...) __attribute__((__format__(__printf__, 5, 6)));
void check_warning(struct check *check, struct yaml_place place, const char *rule, const char *hint,
                   const char *format, ...) __attribute__((__format__(__printf__, 5, 6)));

/**
 * check_map() - walk a map by its table
 * @place: where a missing key is reported
 * @target: the struct that the table's offsets are of
 * @what: for messages: `job "build"`
 */
void check_map(struct check *check, const struct yaml_node *map, const struct key_table *table,
               struct yaml_place place, void *target, const char *what);
/** check_value() - one value by its key's type, stored at slot (pipeline_values.c) */
void check_value(struct check *check, const struct key *key, const struct yaml_node *node,
                 void *slot);
/** check_type_error() - say that the key takes something else than this node */
void check_type_error(struct check *check, const struct key *key, const struct yaml_node *node);
/** check_did_you_mean() - `did you mean "x"?` for the nearest of n words, or the fallback */
const char *check_did_you_mean(struct check *check, const char *word, const char *const *words,
                               size_t n, const char *fallback);
/** check_name() - whether a text is [A-Za-z_][A-Za-z0-9_-]{0,62} */
bool check_name(const char *text);
