#pragma once
/*
 * json - jansson with limits and with errors that say where
 *
 * Documents from outside go through json_parse() only. json_get_*() read a member of an object and
 * say which member is missing or of the wrong type; *_or() take a default when it is absent or
 * null. Texts that they return are views into the document.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/scoped.h"

struct error;
struct str;

DEFINE_FREEP(json, json_t *, json_decref)

#define JSON_DEPTH_LIMIT 64

/**
 * json_parse() - decode one object or array
 * @max: most bytes; more is -ERROR_LIMIT
 *
 * Refuses duplicate keys, invalid UTF-8, NUL in text, trailing data, nesting over JSON_DEPTH_LIMIT.
 */
int json_parse(json_t **ret, const char *text, size_t n, size_t max, struct error *err);

int json_get_text(const char **ret, const json_t *object, const char *key, struct error *err);
int json_get_int(int64_t *ret, const json_t *object, const char *key, struct error *err);
const char *json_text_or(const json_t *object, const char *key, const char *fallback);
int64_t json_int_or(const json_t *object, const char *key, int64_t fallback);
bool json_bool_or(const json_t *object, const char *key, bool fallback);

/** json_set_text() - set a member; NULL and text that is not UTF-8 become null */
void json_set_text(json_t *object, const char *key, const char *text);
void json_set_int(json_t *object, const char *key, int64_t value);
void json_set_bool(json_t *object, const char *key, bool value);
/** json_set_time() - RFC 3339 with milliseconds, null when wall_ms is 0 */
void json_set_time(json_t *object, const char *key, int64_t wall_ms);
/** json_get_time_or() - the inverse: milliseconds since 1970, 0 when absent, null or malformed */
int64_t json_time_or_zero(const json_t *object, const char *key);
/** str_add_json() - append the document, compact, members in their order */
void str_add_json(struct str *str, const json_t *json);
