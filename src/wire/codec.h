#pragma once
/*
 * codec - a struct and its JSON object, described once as a table of members
 *
 * Every message is a table of `struct codec_field`; the same table encodes, decodes and checks.
 * Decoding copies texts into an arena: a decoded value needs its document no longer. A member that
 * is required and missing, of the wrong type or out of range is -ERROR_INVALID with its name;
 * unknown members are ignored. Encoding makes invalid UTF-8 valid (U+FFFD) and cuts a text that
 * would be longer than its field allows, so that a message always fits into WIRE_BYTES_MAX.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"

struct arena;
struct error;
struct str;

/* Most bytes of one message; the same as BUS_BODY_MAX. */
#define WIRE_BYTES_MAX (256 * 1024)
#define WIRE_VERSION 1
/* Names, references, addresses, URLs: no honest one is longer (PATH_MAX). */
#define WIRE_TEXT_MAX 4096

enum codec_type {
        CODEC_TEXT,      /* const char *, "" when absent */
        CODEC_TEXT_NULL, /* const char *, NULL when absent */
        CODEC_INT,       /* int */
        CODEC_INT64,     /* int64_t */
        CODEC_BOOL,      /* bool */
        CODEC_STATE,     /* enum state by its word */
        CODEC_REASON,    /* enum reason by its word */
        CODEC_TIME_NS,   /* int64_t wall nanoseconds as RFC 3339 */
};

enum codec_flag {
        CODEC_REQUIRED = 1,
        CODEC_KEEP_END = 2, /* cut a text that is too long at its beginning */
        CODEC_FILLED = 4,   /* required and not empty, or at least 1 */
};

/**
 * struct codec_field - one member
 * @max: most bytes of a text as it stands in the JSON, escapes included; 0: no limit
 */
struct codec_field {
        const char *name;
        enum codec_type type;
        size_t offset;
        unsigned flags;
        size_t max;
};

/** codec_encode() - add the members of value to object, in the table's order */
void codec_encode(json_t *object, const void *value, const struct codec_field *fields, size_t n);
/** codec_decode() - fill value; members that are absent keep what value has */
int codec_decode(void *value, struct arena *arena, const json_t *object,
                 const struct codec_field *fields, size_t n, struct error *err);

/** codec_parse() - a message: one object of at most WIRE_BYTES_MAX bytes with "v": 1 */
int codec_parse(json_t **ret, const char *text, size_t n, struct error *err);

/** codec_text() - a JSON text of any bytes, cut to max encoded bytes (0: no limit) */
json_t *codec_text(const char *bytes, size_t n, size_t max, bool keep_end);

/** codec_array() - the member as an array; *ret is NULL when it is absent or null */
int codec_array(const json_t **ret, const json_t *object, const char *name, struct error *err);

/** codec_time_ns() - RFC 3339 with up to nine decimals and any offset; Return: whether it is one */
bool codec_time_ns(int64_t *ret, const char *text);
