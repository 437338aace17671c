#include "domain/mask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "domain/mask_set.h"
#include "tests/support/mask_reference.h"
#include "tests/support/test.h"

#include "base/banned.h"

static const char secret[] = "p4$$w0rd/+\"it's\" <b>&\\ <\xc3\xa9>";

static struct mask_set *set_of(const char *text)
{
        struct mask_set *set = mask_set_new();
        struct error err = {0};

        assert_ok(mask_set_add(set, text, strlen(text), &err), err);
        return set;
}

static void assert_masked(struct mask_set *set, const char *text, const char *expected)
{
        scoped_str struct str out = STR_INIT;

        mask_text(set, text, strlen(text), &out);
        assert_string_equal(out.data, expected);
}

/* The output for the text in two feeds, cut at `cut`, or in feeds of `each` bytes (0: two). */
static void feed(struct mask_set *set, const char *text, size_t n, size_t cut, size_t each,
                 struct str *ret)
{
        struct mask_stream *stream = mask_stream_new(set);

        if (!each) {
                mask_stream_feed(stream, text, cut, ret);
                mask_stream_feed(stream, text + cut, n - cut, ret);
        }
        for (size_t at = 0; each && at < n; at += each)
                mask_stream_feed(stream, text + at, n - at < each ? n - at : each, ret);
        mask_stream_flush(stream, ret);
        assert_int_equal(mask_stream_held(stream), 0);
        mask_stream_free(stream);
}

TEST("without secrets everything passes at once")
{
        struct mask_set *set = mask_set_new();
        struct mask_stream *stream = mask_stream_new(set);
        scoped_str struct str out = STR_INIT;

        mask_stream_feed(stream, "a\0b", 3, &out);
        assert_int_equal(out.len, 3);
        assert_int_equal(mask_stream_held(stream), 0);
        mask_stream_free(stream);
        mask_set_free(set);
}

TEST("a secret becomes three stars, wherever it stands")
{
        struct mask_set *set = set_of("hunter2!");

        assert_masked(set, "hunter2!", "***");
        assert_masked(set, "a hunter2! b\n", "a *** b\n");
        assert_masked(set, "hunter2!hunter2!", "***");
        assert_masked(set, "hunter2!,hunter2!", "***,***");
        assert_masked(set, "hunterhunter2!", "hunter***");
        assert_masked(set, "hunter2", "hunter2");
        assert_masked(set, "Hunter2!", "Hunter2!");
        mask_set_free(set);
}

TEST("overlapping secrets are hidden as one")
{
        struct mask_set *set = set_of("abcdefgh");
        struct error err = {0};

        assert_ok(mask_set_add(set, "efghijkl", 8, &err), err);
        assert_masked(set, "-abcdefghijkl-", "-***-");
        assert_masked(set, "-abcdefghi-", "-***i-");
        mask_set_free(set);
}

TEST("the limits are kept: too short, too long, too many")
{
        struct mask_set *set = mask_set_new();
        char *large = xmalloc(MASK_SECRET_BYTES_MAX + 1);
        struct error err = {0};

        memset(large, 'x', MASK_SECRET_BYTES_MAX + 1);
        assert_int_equal(mask_set_add(set, "12345", 5, &err), -ERROR_INVALID);
        assert_int_equal(mask_set_add(set, "a\n\n\n\n\nb", 7, &err), -ERROR_INVALID);
        assert_int_equal(mask_set_add(set, "       \t", 8, &err), -ERROR_INVALID);
        assert_int_equal(mask_set_add(set, large, MASK_SECRET_BYTES_MAX + 1, &err), -ERROR_LIMIT);
        assert_masked(set, "12345", "12345");
        assert_ok(mask_set_add(set, large, MASK_SECRET_BYTES_MAX, &err), err);
        for (int i = 1; i < MASK_SECRETS_MAX; i++) {
                char text[32];

                snprintf(text, sizeof(text), "secret-%d", i);
                assert_ok(mask_set_add(set, text, strlen(text), &err), err);
                assert_ok(mask_set_add(set, text, strlen(text), &err), err);
        }
        assert_int_equal(mask_set_add(set, "one too many", 12, &err), -ERROR_LIMIT);
        assert_masked(set, "secret-999 secret_5", "*** secret_5");
        free(large);
        mask_set_free(set);
}

TEST("a secret of the largest size is hidden whole and in parts")
{
        struct mask_set *set = mask_set_new();
        scoped_str struct str text = STR_INIT;
        scoped_str struct str out = STR_INIT;
        struct error err = {0};

        for (unsigned i = 1; text.len + 9 < MASK_SECRET_BYTES_MAX; i++)
                str_printf(&text, "%08x ", i * 2654435761u);
        assert_ok(mask_set_add(set, text.data, text.len, &err), err);
        feed(set, text.data, text.len, 1000, 0, &out);
        assert_string_equal(out.data, "***");
        str_clear(&out);
        feed(set, text.data + 3200, 3200, 1000, 0, &out);
        assert_string_equal(out.data, "***");
        mask_set_free(set);
}

TEST("a secret added later is masked from then on, in streams that run too")
{
        struct mask_set *set = set_of("first-secret");
        struct mask_stream *stream = mask_stream_new(set);
        scoped_str struct str out = STR_INIT;
        struct error err = {0};

        mask_stream_feed(stream, "second-secret\n", 14, &out);
        assert_ok(mask_set_add(set, "second-secret", 13, &err), err);
        mask_stream_feed(stream, "second-secret\n", 14, &out);
        mask_stream_flush(stream, &out);
        assert_string_equal(out.data, "second-secret\n***\n");
        mask_stream_free(stream);
        mask_set_free(set);
}

TEST("what programs make of a secret is masked too")
{
        static const struct {
                const char *secret;
                const char *shown;
        } table[] = {
                {"hello world", "aGVsbG8gd29ybGQ="},     /* base64 */
                {"hello world", "IGhlbGxvIHdvcmxk"},     /* base64 of " hello world" */
                {"hello world", "ICBoZWxsbyB3b3JsZA=="}, /* base64 of "  hello world" */
                {"hello?>world", "aGVsbG8/PndvcmxkCg=="},
                {"hello?>world", "aGVsbG8_PndvcmxkCg"},
                {"hello world", "68656c6c6f20776f726c64"},
                {"hello-world", "68656C6C6F2D776F726C64"},
                {"a b&c=d/e", "a%20b%26c%3Dd%2Fe"},
                {"a b&c=d/e", "a%20b%26c%3dd%2fe"},
                {"a b&c=d/e", "a%20b%26c%3Dd/e"},
                {"a b&c=d/e", "a+b%26c%3Dd%2Fe"},
                {"p\"q\\r/s\tt", "p\\\"q\\\\r/s\\tt"},
                {"p\"q\\r/s\tt", "p\\\"q\\\\r\\/s\\tt"},
                {"p\"q\\r/s", "p\\\\\\\"q\\\\\\\\r/s"},
                {"caf\xc3\xa9-caf\xc3\xa9", "caf\\u00e9-caf\\u00e9"},
                {"x\xf0\x9f\x98\x80yz1", "x\\ud83d\\ude00yz1"},
                {"a<b>&c-d", "a\\u003cb\\u003e\\u0026c-d"},
                {"it's-it", "it'\\''s-it"},
                {"it's-it", "it'\"'\"'s-it"},
                {"it's $5!", "it\\'s\\ \\$5\\!"},
                {"say \"$x\"", "say \\\"\\$x\\\""},
                {"a\tb\nc'd", "a\\tb\\nc\\'d"},
                {"a<b>&\"c'", "a&lt;b&gt;&amp;&quot;c&#39;"},
                {"secret-with-end\n", "secret-with-end"},
        };

        for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
                struct mask_set *set = set_of(table[i].secret);
                scoped_str struct str out = STR_INIT;
                size_t stars;

                mask_text(set, table[i].shown, strlen(table[i].shown), &out);
                stars = strspn(out.data, "IC=A ") + 3;
                /* What may be left of base64: bits shared with neighbours, and the padding. */
                if (!strstr(out.data, "***") || out.len > stars + 5)
                        fail_msg("%s shown as %s: %s", table[i].secret, table[i].shown, out.data);
                mask_set_free(set);
        }
}

TEST("each line of a secret of several lines is masked, short ones only within the whole")
{
        struct mask_set *set = set_of("-----BEGIN KEY-----\nMIIabcdefgh\nxy\n-----END KEY-----\n");

        assert_masked(set, "MIIabcdefgh", "***");
        assert_masked(set, "xy\n", "xy\n");
        assert_masked(set, "a\n-----BEGIN KEY-----\nMIIabcdefgh\nxy\n-----END KEY-----\nb\n",
                      "a\n***\n***\n***\n***\nb\n");
        assert_masked(set, "-----BEGIN KEY-----\r\nMIIabcdefgh\r\nxy\r\n-----END KEY-----\r\n",
                      "***\r\n***\r\n***\r\n***\r\n");
        mask_set_free(set);
        set = set_of("{\n        \n    \"key\": \"value\"\n}\n");
        assert_masked(set, "            indented\n", "            indented\n");
        assert_masked(set, "    \"key\": \"value\"\n", "***\n");
        mask_set_free(set);
}

TEST("colours within a secret do not hide it and are kept")
{
        struct mask_set *set = set_of("hunter2!");

        assert_masked(set, "a \033[31mhun\033[1;32mter\033[0m2!\033[m b",
                      "a \033[31m***\033[1;32m\033[0m\033[m b");
        assert_masked(set, "h\033[0mu\033[0mn\033[0mt\033[0me\033[0mr\033[0m2\033[0m!",
                      "***\033[0m\033[0m\033[0m\033[0m\033[0m\033[0m\033[0m");
        mask_set_free(set);
}

TEST("a terminal sequence cannot carry a secret")
{
        struct mask_set *set = set_of("1234567890");

        assert_masked(set, "\033[1234567890m", "\033[***m");
        assert_masked(set, "\033]0;1234567890\a", "\033]0;***\a");
        mask_set_free(set);
}

TEST("base64 that is wrapped is masked, line by line")
{
        struct mask_set *set =
                set_of("a-long-secret-a-long-secret-a-long-secret-a-long-secret-abc");

        assert_masked(
                set,
                "YS1sb25nLXNlY3JldC1hLWxvbmctc2VjcmV0LWEtbG9uZy1zZWNyZXQtYS1sb25nLXNlY3JldC1h\n"
                "YmM=\n",
                "***\n***M=\n");
        mask_set_free(set);
}

TEST("a line is not held for the few letters at its end that may begin a secret")
{
        struct mask_set *set = set_of("secret-word");
        struct mask_stream *stream = mask_stream_new(set);
        scoped_str struct str out = STR_INIT;

        mask_stream_feed(stream, "it is secre\n", 12, &out);
        assert_string_equal(out.data, "it is secre\n");
        assert_int_equal(mask_stream_held(stream), 0);
        mask_stream_feed(stream, "t-word", 6, &out);
        mask_stream_flush(stream, &out);
        assert_string_equal(out.data, "it is secre\n***");
        str_clear(&out);
        mask_stream_feed(stream, "secret-\n", 8, &out);
        assert_string_equal(out.data, "");
        assert_int_equal(mask_stream_held(stream), 8);
        mask_stream_feed(stream, "x", 1, &out);
        assert_string_equal(out.data, "secret-\nx");
        mask_stream_free(stream);
        mask_set_free(set);
}

TEST("padding with terminal sequences holds no more than a bounded amount")
{
        struct mask_set *set = set_of("secret-word");
        struct mask_stream *stream = mask_stream_new(set);
        scoped_str struct str out = STR_INIT;

        mask_stream_feed(stream, "secret", 6, &out);
        for (int i = 0; i < 100000; i++) {
                mask_stream_feed(stream, "\033[m", 3, &out);
                assert_true(mask_stream_held(stream) <= 8 * 1024);
        }
        mask_stream_free(stream);
        mask_set_free(set);
}

/* --- every form, every cut, every disguise --- */

struct forms {
        struct mask_set *set;
        struct reference *reference;
        size_t n;
        size_t leaks;
};

enum disguise { DISGUISE_NONE, DISGUISE_COLOUR, DISGUISE_WRAP, DISGUISES };

static void disguise(enum disguise how, const char *form, size_t n, struct str *ret)
{
        for (size_t i = 0; i < n; i++) {
                str_add_char(ret, form[i]);
                if (how == DISGUISE_COLOUR && i % 3 == 1)
                        str_add(ret, "\033[38;5;1m");
                if (how == DISGUISE_WRAP && i % 8 == 7 && i + 1 < n)
                        str_add(ret, "\r\n");
        }
}

/* Nothing of six letters of the form may be left, in any cut. */
static void try_form(void *data, const char *form, size_t n)
{
        struct forms *forms = data;

        if (n < MASK_LENGTH_MIN)
                return;
        for (enum disguise how = DISGUISE_NONE; how < DISGUISES; how++) {
                scoped_str struct str text = STR_INIT;
                scoped_str struct str expected = STR_INIT;

                str_add(&text, "before ");
                disguise(how, form, n, &text);
                str_add(&text, " after\n");
                reference_mask(forms->reference, text.data, text.len, &expected);
                if (!strstr(expected.data, "***") ||
                    memmem(expected.data, expected.len, form + n - MASK_LENGTH_MIN,
                           MASK_LENGTH_MIN))
                        forms->leaks++;
                assert_true(text_starts(expected.data, "before "));
                assert_true(text_ends(expected.data, " after\n"));
                for (size_t cut = 0; cut <= text.len; cut++) {
                        scoped_str struct str out = STR_INIT;

                        feed(forms->set, text.data, text.len, cut, 0, &out);
                        if (strcmp(out.data, expected.data) != 0)
                                fail_msg("cut at %zu: %s instead of %s", cut, out.data,
                                         expected.data);
                        forms->n++;
                }
        }
}

TEST("no form leaks, whatever the cut and the disguise")
{
        struct reference reference;
        struct forms forms = {.reference = &reference};

        reference_init(&reference);
        reference_add(&reference, secret, strlen(secret));
        forms.set = set_of(secret);
        mask_variants(secret, strlen(secret), try_form, &forms);
        assert_true(forms.n > 10000);
        assert_int_equal(forms.leaks, 0);
        mask_set_free(forms.set);
        reference_done(&reference);
}

static uint32_t next_random(uint32_t *state)
{
        *state = *state * 1664525 + 1013904223;
        return *state >> 8;
}

TEST("random text of a few letters is masked as the slow reference does, however it is cut")
{
        static const char alphabet[] = "ab\n\033[m1";
        static const char *const secrets[] = {"abaaba", "aabbaabb", "ab\nabab1a", "[1mab[1m",
                                              "abababababababababababababababababababab"};
        struct mask_set *set = mask_set_new();
        struct reference reference;
        struct error err = {0};
        uint32_t seed = 1;

        reference_init(&reference);
        for (size_t i = 0; i < sizeof(secrets) / sizeof(*secrets); i++) {
                assert_ok(mask_set_add(set, secrets[i], strlen(secrets[i]), &err), err);
                reference_add(&reference, secrets[i], strlen(secrets[i]));
        }
        for (int round = 0; round < 400; round++) {
                scoped_str struct str text = STR_INIT;
                scoped_str struct str expected = STR_INIT;

                for (int i = 0; i < 100; i++)
                        str_add_char(&text, alphabet[next_random(&seed) % 7 % (round % 2 ? 7 : 3)]);
                reference_mask(&reference, text.data, text.len, &expected);
                for (size_t each = 1; each < 20; each++) {
                        scoped_str struct str out = STR_INIT;

                        feed(set, text.data, text.len, 0, each, &out);
                        if (out.len != expected.len ||
                            memcmp(out.data, expected.data, out.len) != 0)
                                fail_msg("feeds of %zu: '%s' as '%s' instead of '%s'", each,
                                         text.data, out.data, expected.data);
                }
        }
        mask_set_free(set);
        reference_done(&reference);
}

/* Like feed(), but every piece is taken by another stream, which goes on from what was saved. */
static void feed_with_successors(struct mask_set *set, const char *text, size_t n, size_t each,
                                 struct str *ret)
{
        struct mask_stream *stream = mask_stream_new(set);

        for (size_t at = 0; at < n;) {
                size_t step = n - at < each ? n - at : each;
                scoped_str struct str saved = STR_INIT;

                mask_stream_feed(stream, text + at, step, ret);
                at += step - (at + step < n ? mask_stream_kept(stream) : 0);
                if (at + mask_stream_kept(stream) >= n)
                        continue;
                mask_stream_save(stream, &saved);
                each += mask_stream_kept(stream); /* or it would not come forward */
                mask_stream_free(stream);
                stream = mask_stream_new(set);
                assert_true(mask_stream_load(stream, saved.data, saved.len));
        }
        mask_stream_flush(stream, ret);
        mask_stream_free(stream);
}

TEST("a stream that is saved and loaded puts out what one alone would have")
{
        static const char alphabet[] = "ab\n\033[m1";
        static const char *const secrets[] = {"abaaba", "aabbaabb", "ab\nabab1a", "[1mab[1m"};
        struct mask_set *set = mask_set_new();
        struct error err = {0};
        uint32_t seed = 3;

        for (size_t i = 0; i < sizeof(secrets) / sizeof(*secrets); i++)
                assert_ok(mask_set_add(set, secrets[i], strlen(secrets[i]), &err), err);
        for (int round = 0; round < 400; round++) {
                scoped_str struct str text = STR_INIT;
                scoped_str struct str expected = STR_INIT;

                for (int i = 0; i < 300; i++)
                        str_add_char(&text, alphabet[next_random(&seed) % 7 % (round % 2 ? 7 : 3)]);
                feed(set, text.data, text.len, 0, text.len, &expected);
                for (size_t each = 1; each < 20; each++) {
                        scoped_str struct str out = STR_INIT;

                        feed_with_successors(set, text.data, text.len, each, &out);
                        if (out.len != expected.len ||
                            memcmp(out.data, expected.data, out.len) != 0)
                                fail_msg("feeds of %zu: '%s' as '%s' instead of '%s'", each,
                                         text.data, out.data, expected.data);
                }
        }
        mask_set_free(set);
}

TEST("text without secrets comes out as it went in")
{
        struct mask_set *set = mask_set_new();
        scoped_str struct str text = STR_INIT;
        scoped_str struct str out = STR_INIT;
        struct error err = {0};
        uint32_t seed = 7;

        for (int i = 0; i < 200; i++) {
                char value[40];

                snprintf(value, sizeof(value), "tok%u-%u", next_random(&seed), next_random(&seed));
                assert_ok(mask_set_add(set, value, strlen(value), &err), err);
        }
        for (int i = 0; i < 400000; i++)
                str_add_char(&text, (char)(next_random(&seed) >> 3));
        for (int i = 0; i < 20000; i++)
                str_printf(&text, "token tok%d \033[1mok\033[0m\r\n", i);
        feed(set, text.data, text.len, 0, 777, &out);
        assert_int_equal(out.len, text.len);
        assert_memory_equal(out.data, text.data, text.len);
        mask_set_free(set);
}

TEST_MAIN()
