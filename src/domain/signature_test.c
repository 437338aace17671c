#include "domain/signature.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "tests/support/test.h"

#include "base/banned.h"

#define HEARTS "♥♥♥♥♥♥♥♥"
#define BLOCK_TEXT                                                                   \
        "This is a test using a larger than block-size key and a larger than "       \
        "block-size data. The key needs to be hashed before being used by the HMAC " \
        "algorithm."

struct vector {
        const char *what;
        const char *key; /* NULL: repeat */
        const char *message;
        const char *mac;
};

/* Published: documentation of GitHub, tests of octokit, RFC 4231. */
static const struct vector vectors[] = {
        {"GitHub's documentation", "It's a Secret to Everybody", "Hello, World!",
         "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
        {"compact JSON", "mysecret", "{\"foo\":\"bar\"}",
         "4864d2759938a15468b5df9ade20bf161da9b4f737ea61794142f3484236bda3"},
        {"JSON with line breaks", "mysecret", "{\n  \"foo\": \"bar\"\n}\n",
         "e3eccac34c43c7dc1cbb905488b1b81347fcc700a7b025697a9d07862256023f"},
        {"escapes in upper case", "development",
         "{\n  \"foo\": \"Foo\\n\\u001B[34mbar: " HEARTS
         "\\nthis-is-lost\\u001B[0m\\u001B[2K\"\n}\n",
         "9dacf9003316b09be07df56d86a2d0d6872e42a1e6c72c3bad9ff915a7c5603e"},
        {"escapes in lower case", "development",
         "{\n  \"foo\": \"Foo\\n\\u001b[34mbar: " HEARTS
         "\\nthis-is-lost\\u001b[0m\\u001b[2K\"\n}\n",
         "4d36a36c949302c91d2dc62970d7807ceb4c7b75c7fb1c6cb5dfc249e6180560"},
        {"an escaped backslash", "development", "{\n  \"foo\": \"\\\\u001b\"\n}\n",
         "87316067e2011fae39998b18c46a14d83b3e7c3ffdd88fb2ee5afb7d11288e60"},
        {"RFC 4231 case 2", "Jefe", "what do ya want for nothing?",
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
};

static bool check(const struct signature_keys *keys, const void *body, size_t n, const char *header)
{
        scoped(signature) struct signature *signature = signature_new(keys);
        char sha256[65];

        signature_add(signature, body, n);
        return signature_check(signature, header, sha256);
}

static void assert_mac(const struct signature_keys *keys, const char *what, const void *body,
                       size_t n, const char *mac)
{
        scoped_text char *header = text_format("sha256=%s", mac);
        char made[72];

        signature_make(keys, body, n, made);
        if (!check(keys, body, n, header) || strcmp(made, header) != 0)
                fail_msg("%s: made %s", what, made);
}

TEST("published signatures are right")
{
        for (size_t i = 0; i < sizeof(vectors) / sizeof(*vectors); i++) {
                const struct vector *v = &vectors[i];
                scoped(signature_keys) struct signature_keys *keys = NULL;
                struct error err = {0};

                assert_ok(signature_keys_new(&keys, v->key, &err), err);
                assert_mac(keys, v->what, v->message, strlen(v->message), v->mac);
        }
}

struct bytes_vector {
        unsigned char key;
        size_t key_n;
        unsigned char data; /* 0: text */
        size_t data_n;
        const char *text;
        const char *mac;
};

TEST("the cases of RFC 4231 with keys of bytes are right")
{
        static const struct bytes_vector cases[] = {
                {0x0b, 20, 0, 0, "Hi There",
                 "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
                {0xaa, 20, 0xdd, 50, NULL,
                 "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
                {0xaa, 131, 0, 0, "Test Using Larger Than Block-Size Key - Hash Key First",
                 "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
                {0xaa, 131, 0, 0, BLOCK_TEXT,
                 "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
                {0, 25, 0xcd, 50, NULL, /* 01 02 ... 19 */
                 "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                scoped(signature_keys) struct signature_keys *keys = NULL;
                char key[131];
                char data[50];

                memset(key, cases[i].key, sizeof(key));
                memset(data, cases[i].data, sizeof(data));
                for (size_t j = 0; !cases[i].key && j < cases[i].key_n; j++)
                        key[j] = (char)(j + 1);
                keys = signature_keys_of_bytes(key, cases[i].key_n);
                assert_mac(keys, "RFC 4231", cases[i].text ? cases[i].text : data,
                           cases[i].text ? strlen(cases[i].text) : cases[i].data_n, cases[i].mac);
        }
}

TEST("a body in pieces has the signature of the whole, and its plain digest is told")
{
        scoped(signature_keys) struct signature_keys *keys = NULL;
        struct error err = {0};
        char sha256[65];

        assert_ok(signature_keys_new(&keys, vectors[0].key, &err), err);
        for (size_t cut = 0; cut <= 13; cut++) {
                scoped(signature) struct signature *signature = signature_new(keys);
                scoped_text char *header = text_format("sha256=%s", vectors[0].mac);

                signature_add(signature, vectors[0].message, cut);
                signature_add(signature, vectors[0].message + cut, 13 - cut);
                assert_true(signature_check(signature, header, sha256));
                assert_string_equal(
                        sha256, "dffd6021bb2bd5b0af676290809ec3a53191dd81c7f70a4b28688a362182986f");
        }
}

TEST("a header that is not exactly sha256= and 64 lower-case digits is refused")
{
#define RIGHT "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        static const char *const wrong[] = {
                NULL,
                "",
                RIGHT,
                "sha256=",
                "sha256",
                "sha1=7c211433f02071597741e6ff5a8ea34789abbf43",
                "sha512=" RIGHT,
                "SHA256=" RIGHT,
                "sha256:" RIGHT,
                "sha256=757107EA0EB2509FC211221CCE984B8A37570B6D7586C22C46F4379C8B043E17",
                "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e1",
                "sha256=" RIGHT "0",
                "sha256=" RIGHT " ",
                " sha256=" RIGHT,
                "sha256= " RIGHT,
                "sha256=" RIGHT ",sha256=" RIGHT,
                "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e1g",
        };
        scoped(signature_keys) struct signature_keys *keys = NULL;
        struct error err = {0};

        assert_ok(signature_keys_new(&keys, vectors[0].key, &err), err);
        for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
                if (signature_header_valid(wrong[i]) ||
                    check(keys, vectors[0].message, 13, wrong[i]))
                        fail_msg("taken: %s", wrong[i]);
        }
        assert_true(signature_header_valid("sha256=" RIGHT));
        assert_true(check(keys, vectors[0].message, 13, "sha256=" RIGHT));
}

TEST("one wrong digit anywhere, another body or another secret is refused")
{
        scoped(signature_keys) struct signature_keys *keys = NULL;
        scoped(signature_keys) struct signature_keys *other = NULL;
        struct error err = {0};

        assert_ok(signature_keys_new(&keys, vectors[0].key, &err), err);
        assert_ok(signature_keys_new(&other, "another", &err), err);
        for (size_t i = 7; i < 71; i++) {
                char header[] = "sha256=" RIGHT;

                header[i] = header[i] == '0' ? '1' : '0';
                assert_false(check(keys, vectors[0].message, 13, header));
        }
        assert_false(check(keys, "Hello, World?", 13, "sha256=" RIGHT));
        assert_false(check(keys, vectors[0].message, 12, "sha256=" RIGHT));
        assert_false(check(other, vectors[0].message, 13, "sha256=" RIGHT));
}

TEST("each of several secrets may have signed, and no other")
{
        scoped(signature_keys) struct signature_keys *both = NULL;
        struct error err = {0};
        static const char *const secrets[] = {"first", "second", "third", ""};

        assert_ok(signature_keys_new(&both, "\nfirst\r\n\n\nsecond", &err), err);
        for (size_t i = 0; i < 3; i++) {
                scoped(signature_keys) struct signature_keys *one = NULL;
                char header[72];

                assert_ok(signature_keys_new(&one, secrets[i], &err), err);
                signature_make(one, "body", 4, header);
                assert_int_equal(check(both, "body", 4, header), i < 2);
        }
}

TEST("no secret and too many secrets are errors that do not tell any")
{
        struct signature_keys *keys = NULL;
        struct error err = {0};

        assert_int_equal(signature_keys_new(&keys, "", &err), -ERROR_INVALID);
        assert_int_equal(signature_keys_new(&keys, "\n\r\n\n", &err), -ERROR_INVALID);
        assert_non_null(strstr(err.text, "ARGON_WEBHOOK_SECRET"));
        assert_int_equal(signature_keys_new(&keys, "q\nq\nq\nq\nq\nq\nq\nq\nqqq", &err),
                         -ERROR_LIMIT);
        assert_null(strstr(err.text, "qqq"));
        assert_null(keys);
}

/* Welch's t of two samples, their slowest tenth cut off: that is the machine, not the code. */
struct sample {
        double *ns;
        size_t n;
};

static int by_value(const void *a, const void *b)
{
        double x = *(const double *)a;
        double y = *(const double *)b;

        return (x > y) - (x < y);
}

static void mean_and_variance(struct sample *sample, double *ret_mean, double *ret_variance)
{
        size_t n = sample->n * 9 / 10;
        double sum = 0;
        double squares = 0;

        qsort(sample->ns, sample->n, sizeof(double), by_value);
        for (size_t i = 0; i < n; i++)
                sum += sample->ns[i];
        *ret_mean = sum / (double)n;
        for (size_t i = 0; i < n; i++)
                squares += (sample->ns[i] - *ret_mean) * (sample->ns[i] - *ret_mean);
        *ret_variance = squares / (double)(n - 1) / (double)n;
}

static double welch_t(struct sample samples[2])
{
        double mean[2];
        double variance[2];

        for (int i = 0; i < 2; i++)
                mean_and_variance(&samples[i], &mean[i], &variance[i]);
        return fabs(mean[0] - mean[1]) / sqrt(variance[0] + variance[1]);
}

#define TIMED 250000

static double measure(const struct signature_keys *keys, const char *const headers[2])
{
        struct sample samples[2] = {{xcalloc(TIMED, sizeof(double)), 0},
                                    {xcalloc(TIMED, sizeof(double)), 0}};
        unsigned state = 1;
        char header[72]; /* one place for both: an address has its own time */
        char sha256[65];
        double t;

        while (samples[0].n < TIMED && samples[1].n < TIMED) {
                struct signature *signature = signature_new(keys);
                struct sample *sample;
                int64_t begun;

                state = state * 1103515245u + 12345u;
                sample = &samples[state >> 16 & 1];
                memcpy(header, headers[state >> 16 & 1], sizeof(header));
                begun = clock_ns();
                assert_false(signature_check(signature, header, sha256));
                sample->ns[sample->n++] = (double)(clock_ns() - begun);
                signature_free(signature);
        }
        t = welch_t(samples);
        free(samples[0].ns);
        free(samples[1].ns);
        return t;
}

TEST("a signature that is wrong in its first digit takes as long as one wrong in its last")
{
        scoped(signature_keys) struct signature_keys *keys = NULL;
        struct error err = {0};
        char first[72];
        char last[72];
        const char *const headers[2] = {first, last};
        double t = 99;

        assert_ok(signature_keys_new(&keys, "secret", &err), err);
        signature_make(keys, "", 0, first);
        memcpy(last, first, sizeof(last));
        first[7] = first[7] == '0' ? '1' : '0';
        last[70] = last[70] == '0' ? '1' : '0';
        /* A busy machine may spoil one measurement; a leak spoils all. */
        for (int i = 0; i < 3 && t >= 4.5; i++)
                t = measure(keys, headers);
        if (t >= 4.5)
                fail_msg("Welch's t is %.1f", t);
}

TEST_MAIN()
