#pragma once
/*
 * build_json - a build as JSON: one form for the store and another, with fewer members, for REST
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/json.h"

#define BUILD_BYTES_MAX (8 * 1024 * 1024)
#define ORDER_BYTES_MAX (4 * 1024 * 1024) /* all text of a file may be control characters */

struct build;
struct codec_field;
struct error;
struct job;
struct order;

/** build_to_json() - everything, so that build_from_json() gives the same build; caller owns it */
json_t *build_to_json(const struct build *build);
int build_from_json(struct build **ret, const json_t *json, struct error *err);
/** build_decode() - the same from text (at most BUILD_BYTES_MAX) */
int build_decode(struct build **ret, const char *text, size_t n, struct error *err);

/** build_fields() - the members of a build above its jobs, so that a store may keep each in a
 *  column of its own */
const struct codec_field *build_fields(size_t *ret_n);
/** jobs_to_json(), jobs_from_json() - the jobs of a build with their attempts and steps */
json_t *jobs_to_json(const struct build *build);
int jobs_from_json(struct build *build, const json_t *array, struct error *err);
/** jobs_decode() - the same from text (at most BUILD_BYTES_MAX) */
int jobs_decode(struct build *build, const char *text, size_t n, struct error *err);

/** build_to_rest() - the members of the REST API; @url: what links start with, without a slash;
 *  @jobs: with jobs[], their attempts and steps, or without (lists) */
json_t *build_to_rest(const struct build *build, const char *url, bool jobs);
json_t *job_to_rest(const struct build *build, const struct job *job, const char *url);

/** order_to_json(), order_decode() - an order as it is stored with its attempt (at most
 * ORDER_BYTES_MAX) */
json_t *order_to_json(const struct order *order);
int order_decode(struct order **ret, const char *text, size_t n, struct error *err);
