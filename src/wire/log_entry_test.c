#include "wire/log_entry.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/str.h"
#include "tests/support/test.h"
#include "wire/codec.h"

#include "base/banned.h"

static struct log_entry output(const char *bytes, size_t n)
{
        struct log_entry entry = {
                .id = "job/1/7",
                .timestamp_ns = INT64_C(1753531449187547800),
                .service = "executor",
                .severity = LOG_INFO,
                .build_id = "build",
                .job_id = "job",
                .attempt = 1,
                .seq = 7,
                .step = 2,
                .stream = LOG_STREAM_STDERR,
                .first_line = 41,
                .lines = n ? 1 : 0,
                .offset = 1000,
                .ms = 512,
                .bytes = bytes,
                .n = n,
        };

        return entry;
}

static struct log_entry *round_trip(const struct log_entry *entry, struct str *text)
{
        struct log_entry *decoded = NULL;
        struct error err = {0};

        log_entry_encode(entry, text);
        assert_true(text->len <= WIRE_BYTES_MAX);
        assert_ok(log_entry_decode(&decoded, text->data, text->len, &err), err);
        return decoded;
}

static void assert_bytes_kept(const char *bytes, size_t n, bool raw)
{
        scoped(log_entry) struct log_entry *decoded = NULL;
        scoped_str struct str text = STR_INIT;
        struct log_entry entry = output(bytes, n);

        decoded = round_trip(&entry, &text);
        assert_int_equal(decoded->n, n);
        assert_memory_equal(decoded->bytes, bytes, n);
        assert_int_equal(strstr(text.data, "\"raw\":") != NULL, raw);
}

TEST("output keeps every member")
{
        scoped(log_entry) struct log_entry *decoded = NULL;
        scoped_str struct str text = STR_INIT;
        struct log_entry entry = output("hello\n", 6);

        entry.ended = true;
        decoded = round_trip(&entry, &text);
        assert_string_equal(decoded->id, "job/1/7");
        assert_true(decoded->timestamp_ns == entry.timestamp_ns);
        assert_string_equal(decoded->service, "executor");
        assert_string_equal(decoded->build_id, "build");
        assert_string_equal(decoded->job_id, "job");
        assert_int_equal(decoded->attempt, 1);
        assert_int_equal(decoded->seq, 7);
        assert_int_equal(decoded->step, 2);
        assert_int_equal(decoded->stream, LOG_STREAM_STDERR);
        assert_int_equal(decoded->first_line, 41);
        assert_int_equal(decoded->lines, 1);
        assert_int_equal(decoded->offset, 1000);
        assert_int_equal(decoded->ms, 512);
        assert_true(decoded->ended);
        assert_string_equal(decoded->bytes, "hello\n");
}

TEST("ordinary output travels as text alone, colours included")
{
        assert_bytes_kept("hello\n", 6, false);
        assert_bytes_kept("\x1b[31mred\x1b[0m\r\n", 14, false);
        assert_bytes_kept("h\xc3\xa9\n", 4, false);
        assert_bytes_kept("", 0, false);
}

TEST("bytes that JSON cannot hold travel beside it")
{
        assert_bytes_kept("a\0b\n", 4, true);
        assert_bytes_kept("\xff\n", 2, true);
        assert_bytes_kept("\xff\xfe", 2, true);
        assert_bytes_kept("\xe2\x99\n", 3, true);
}

TEST("the readable form of bad bytes has U+FFFD in their place")
{
        scoped_str struct str text = STR_INIT;
        struct log_entry entry = output("a\0\x01\xff\xfe z\n", 8);

        log_entry_encode(&entry, &text);
        assert_non_null(strstr(text.data, "\"message\":\"a\xef\xbf\xbd z\\n\""));
}

TEST("64 KiB of the worst bytes fit into a message and come back as they were")
{
        static const char *const worst[] = {
                "\"\xff",           "\xff",  "\x01", "\"", "\x01z", "\"\x01", "\\\xc3", "\n",
                "\xf0\x9f\x98\x80", "\x01\""};
        scoped_text char *bytes = xmalloc(LOG_ENTRY_BYTES_MAX);

        for (size_t i = 0; i < sizeof(worst) / sizeof(*worst); i++) {
                scoped(log_entry) struct log_entry *decoded = NULL;
                scoped_str struct str text = STR_INIT;
                struct log_entry entry = output(bytes, LOG_ENTRY_BYTES_MAX);
                size_t n = strlen(worst[i]);

                for (size_t k = 0; k < LOG_ENTRY_BYTES_MAX; k++)
                        bytes[k] = worst[i][k % n];
                decoded = round_trip(&entry, &text);
                assert_int_equal(decoded->n, LOG_ENTRY_BYTES_MAX);
                assert_memory_equal(decoded->bytes, bytes, LOG_ENTRY_BYTES_MAX);
        }
}

TEST("random bytes come back as they were")
{
        char bytes[512];

        srandom(7);
        for (int i = 0; i < 2000; i++) {
                size_t n = (size_t)random() % sizeof(bytes);
                scoped(log_entry) struct log_entry *decoded = NULL;
                scoped_str struct str text = STR_INIT;
                struct log_entry entry = output(bytes, n);

                for (size_t k = 0; k < n; k++)
                        bytes[k] = (char)random();
                decoded = round_trip(&entry, &text);
                assert_int_equal(decoded->n, n);
                assert_memory_equal(decoded->bytes, bytes, n);
        }
}

TEST("a service's own line keeps its context and has no members of output")
{
        scoped(log_entry) struct log_entry *decoded = NULL;
        scoped_str struct str text = STR_INIT;
        struct log_entry entry = {
                .id = "executor/x/1",
                .timestamp_ns = 1000000000,
                .service = "executor",
                .severity = LOG_WARNING,
                .build_id = "",
                .job_id = "",
                .bytes = "Creating container",
                .n = 18,
                .context = "{\"container\":\"c1\"}",
        };

        decoded = round_trip(&entry, &text);
        assert_string_equal(decoded->context, "{\"container\":\"c1\"}");
        assert_int_equal(decoded->severity, LOG_WARNING);
        assert_int_equal(decoded->seq, 0);
        assert_null(strstr(text.data, "first_line"));
        assert_true(text_starts(text.data,
                                "{\"id\":\"executor/x/1\",\"timestamp\":\"1970-01-01T00:00:01.0"
                                "00000000Z\",\"service\":\"executor\",\"job_id\":\"\",\"message\":"
                                "\"Creating container\",\"severity\":\"WARNING\""));
}

static void assert_refused(const char *from, const char *to, const char *why)
{
        scoped_str struct str text = STR_INIT;
        scoped_str struct str changed = STR_INIT;
        struct log_entry *decoded = NULL;
        struct log_entry entry = output("x\n", 2);
        struct error err = {0};
        const char *place;

        log_entry_encode(&entry, &text);
        place = strstr(text.data, from);
        assert_non_null(place);
        str_add_bytes(&changed, text.data, (size_t)(place - text.data));
        str_add(&changed, to);
        str_add(&changed, place + strlen(from));
        assert_int_equal(log_entry_decode(&decoded, changed.data, changed.len, &err),
                         -ERROR_INVALID);
        if (!strstr(err.text, why))
                fail_msg("'%s' does not say '%s'", err.text, why);
}

TEST("a message with a wrong member is refused by its name")
{
        assert_refused("\"timestamp\":", "\"timestump\":", "\"timestamp\" is missing");
        assert_refused("\"INFO\"", "\"LOUD\"", "unknown value 'LOUD'");
        assert_refused("\"stderr\"", "\"stdlog\"", "unknown value 'stdlog'");
        assert_refused("\"message\":\"x\\n\"", "\"message\":3", "\"message\" is not a text");
        assert_refused("\"message\":", "\"raw\":\"!!!!\",\"message\":", "no base64");
        assert_refused("\"message\":", "\"raw\":\"AAA\",\"message\":", "no base64");
        assert_refused("\"lines\":1", "\"lines\":3", "impossible");
        assert_refused("\"offset\":1000", "\"offset\":-1", "impossible");
        assert_refused("\"attempt\":1", "\"attempt\":0", "attempt");
        assert_refused("\"v\":1", "\"v\":9", "version 9");
}

TEST_MAIN()
