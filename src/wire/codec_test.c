#include "wire/codec.h"

#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"
#include "tests/support/test.h"

#include "base/banned.h"

static void assert_text(const char *bytes, size_t n, size_t max, bool keep_end,
                        const char *expected)
{
        scoped(json) json_t *json = codec_text(bytes, n, max, keep_end);

        assert_non_null(json);
        assert_string_equal(json_string_value(json), expected);
}

TEST("bytes that are not UTF-8 become U+FFFD, one for each run")
{
        assert_text("ab", 2, 0, false, "ab");
        assert_text("a\xff\xfe\x80z", 5, 0, false, "a\xef\xbf\xbdz");
        assert_text("caf\xc3", 4, 0, false, "caf\xef\xbf\xbd");
        assert_text("\xc3\xa9\xff", 3, 0, false, "\xc3\xa9\xef\xbf\xbd");
        assert_text("a\0b", 3, 0, false, "a b");
        assert_text("", 0, 0, false, "");
}

TEST("a text over its limit is cut at a character, at its end or its beginning")
{
        assert_text("0123456789", 10, 10, false, "0123456789");
        assert_text("0123456789a", 11, 10, false, "0123456…");
        assert_text("0123456789a", 11, 10, true, "…456789a");
        assert_text("\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9", 12, 10, false,
                    "\xc3\xa9\xc3\xa9\xc3\xa9…");
        assert_text("\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9", 12, 10, true,
                    "…\xc3\xa9\xc3\xa9\xc3\xa9");
}

TEST("the limit of a text counts its bytes as they are encoded")
{
        char controls[1000];
        scoped(json) json_t *json = NULL;
        scoped_text char *dumped = NULL;

        memset(controls, 1, sizeof(controls));
        json = codec_text(controls, sizeof(controls), 600, true);
        dumped = json_dumps(json, JSON_ENCODE_ANY);
        assert_true(strlen(dumped) <= 602);
        assert_true(strlen(dumped) > 580);
}

TEST("times with offsets and decimals are read, nonsense is not")
{
        int64_t ns = 0;

        assert_true(codec_time_ns(&ns, "2025-07-26T12:04:09.187547800Z"));
        assert_true(ns == INT64_C(1753531449187547800));
        assert_true(codec_time_ns(&ns, "1970-01-01T00:00:00Z"));
        assert_true(ns == 0);
        assert_true(codec_time_ns(&ns, "1970-01-01T02:30:00.5+02:30"));
        assert_true(ns == 500000000);
        assert_true(codec_time_ns(&ns, "1969-12-31T23:00:00-01:00"));
        assert_true(ns == 0);
        assert_false(codec_time_ns(&ns, ""));
        assert_false(codec_time_ns(&ns, "2025-07-26"));
        assert_false(codec_time_ns(&ns, "2025-13-26T12:04:09Z"));
        assert_false(codec_time_ns(&ns, "2025-07-26T25:04:09Z"));
        assert_false(codec_time_ns(&ns, "2025-07-26T12:04:09"));
        assert_false(codec_time_ns(&ns, "2025-07-26T12:04:09.Z"));
        assert_false(codec_time_ns(&ns, "2025-07-26T12:04:09Zx"));
        assert_false(codec_time_ns(&ns, "9999-07-26T12:04:09Z"));
}

struct sample {
        const char *text;
        const char *maybe;
        int small;
        int64_t large;
        bool yes;
};

static const struct codec_field sample_fields[] = {
        {"text", CODEC_TEXT, offsetof(struct sample, text), CODEC_FILLED, 0},
        {"maybe", CODEC_TEXT_NULL, offsetof(struct sample, maybe), 0, 0},
        {"small", CODEC_INT, offsetof(struct sample, small), 0, 0},
        {"large", CODEC_INT64, offsetof(struct sample, large), CODEC_REQUIRED, 0},
        {"yes", CODEC_BOOL, offsetof(struct sample, yes), 0, 0},
};

static void assert_refused(const char *text, const char *why)
{
        struct arena *arena = arena_new();
        struct sample sample = {0};
        struct error err = {0};
        scoped(json) json_t *json = NULL;

        assert_ok(json_parse(&json, text, strlen(text), 4096, &err), err);
        assert_int_equal(codec_decode(&sample, arena, json, sample_fields, 5, &err),
                         -ERROR_INVALID);
        assert_string_equal(err.text, why);
        arena_free(arena);
}

TEST("an error names the member")
{
        assert_refused("{\"large\":1}", "member \"text\" is missing");
        assert_refused("{\"text\":null,\"large\":1}", "member \"text\" is missing");
        assert_refused("{\"text\":\"\",\"large\":1}", "member \"text\" is empty");
        assert_refused("{\"text\":7,\"large\":1}", "member \"text\" is not a text");
        assert_refused("{\"text\":\"a\"}", "member \"large\" is missing");
        assert_refused("{\"text\":\"a\",\"large\":1.5}", "member \"large\" is not a whole number");
        assert_refused("{\"text\":\"a\",\"large\":1,\"small\":3000000000}",
                       "member \"small\" is out of range");
        assert_refused("{\"text\":\"a\",\"large\":1,\"yes\":1}",
                       "member \"yes\" is neither true nor false");
        assert_refused("[]", "not an object");
}

TEST("a message must be of version 1 and not too long")
{
        json_t *json = NULL;
        struct error err = {0};
        scoped_str struct str large = STR_INIT;

        assert_int_equal(codec_parse(&json, "{}", 2, &err), -ERROR_INVALID);
        assert_string_equal(err.text, "member \"v\" is missing");
        assert_int_equal(codec_parse(&json, "{\"v\":2}", 7, &err), -ERROR_INVALID);
        assert_non_null(strstr(err.text, "version 2"));
        assert_int_equal(codec_parse(&json, "[1]", 3, &err), -ERROR_INVALID);
        str_add(&large, "{\"v\":1,\"x\":\"");
        while (large.len < WIRE_BYTES_MAX)
                str_add(&large, "xxxxxxxxxxxxxxxx");
        str_add(&large, "\"}");
        assert_int_equal(codec_parse(&json, large.data, large.len, &err), -ERROR_LIMIT);
        assert_null(json);
}

TEST_MAIN()
