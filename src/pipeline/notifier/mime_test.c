#include "pipeline/notifier/mime.h"

#include <string.h>

#include "base/scoped.h"
#include "base/str.h"
#include "tests/support/test.h"

#include "base/banned.h"

TEST("a header's value cannot begin another header")
{
        static const struct {
                const char *value, *expected;
        } table[] = {
                {"plain", "X: plain\r\n"},
                {"a\r\nBcc: b", "X: a  Bcc: b\r\n"},
                {"a\nb\tc\x01", "X: a b c \r\n"},
                {"caf\xc3\xa9", "X: =?UTF-8?B?Y2Fmw6k=?=\r\n"},
                {"\xff", "X: =?UTF-8?B?77+9?=\r\n"},
                {"=?UTF-8?Q?x?=", "X: =?UTF-8?B?PT9VVEYtOD9RP3g/PQ==?=\r\n"},
                {"", "X: \r\n"},
        };

        for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
                scoped_str struct str text = STR_INIT;

                mime_header(&text, "X", table[i].value);
                assert_string_equal(text.data, table[i].expected);
        }
}

static void assert_lines(const struct str *text, size_t most)
{
        size_t column = 0;

        for (size_t i = 0; i < text->len; i++) {
                if (text->data[i] == '\n')
                        assert_true(i > 0 && text->data[i - 1] == '\r');
                column = text->data[i] == '\n' ? 0 : column + 1;
                assert_true(column <= most + 1);
        }
}

TEST("long headers are folded, encoded words never split a character")
{
        scoped_str struct str text = STR_INIT;
        scoped_str struct str value = STR_INIT;

        for (int i = 0; i < 40; i++)
                str_printf(&value, "word%d ", i);
        mime_header(&text, "Subject", value.data);
        assert_lines(&text, 77);
        str_clear(&text);
        str_clear(&value);
        for (int i = 0; i < 60; i++)
                str_add(&value, i % 2 ? "\xe2\x99\xa5" : "x");
        mime_header(&text, "Subject", value.data);
        assert_lines(&text, 76);
        /* 60 characters in words of at most 76: each word decodes by itself to whole characters */
        assert_non_null(strstr(text.data, "?=\r\n =?UTF-8?B?"));
}

TEST("a display name is quoted where it must be, and never more than a name")
{
        static const struct {
                const char *name, *expected;
        } table[] = {
                {"", "From: ci@example.org\r\n"},
                {"Argon CI", "From: Argon CI <ci@example.org>\r\n"},
                {"Argon, \"CI\"", "From: \"Argon, \\\"CI\\\"\" <ci@example.org>\r\n"},
                {"x <evil@example.org>", "From: \"x <evil@example.org>\" <ci@example.org>\r\n"},
                {"J\xc3\xb6rg", "From: =?UTF-8?B?SsO2cmc=?= <ci@example.org>\r\n"},
        };

        for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
                scoped_str struct str text = STR_INIT;

                mime_address(&text, "From", table[i].name, "ci@example.org");
                assert_string_equal(text.data, table[i].expected);
        }
}

TEST("the date is that of the mail's grammar")
{
        scoped_str struct str text = STR_INIT;

        mime_date(&text, INT64_C(1757671234567));
        assert_string_equal(text.data, "Date: Fri, 12 Sep 2025 10:00:34 +0000\r\n");
}

TEST("a part is sent as it is where any server takes it, else quoted-printable")
{
        static const struct {
                const char *in, *encoding, *out;
        } table[] = {
                {"a\nb\n", "7bit", "a\r\nb\r\n"},
                {"no end", "7bit", "no end\r\n"},
                {"caf\xc3\xa9 = 1 \n", "quoted-printable", "caf=C3=A9 =3D 1=20\r\n"},
                {"--argon=_x\n", "quoted-printable", "--argon=3D_x\r\n"},
                {"a\rb\n", "quoted-printable", "a=0Db\r\n"},
                {".\n", "7bit", ".\r\n"},
        };

        for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
                scoped_str struct str text = STR_INIT;
                scoped_text char *expected =
                        text_format("Content-Type: text/plain; charset=utf-8\r\n"
                                    "Content-Transfer-Encoding: %s\r\n\r\n%s",
                                    table[i].encoding, table[i].out);

                mime_part(&text, "text/plain", table[i].in, strlen(table[i].in));
                assert_string_equal(text.data, expected);
        }
}

TEST("quoted-printable keeps its lines short")
{
        scoped_str struct str text = STR_INIT;
        scoped_str struct str body = STR_INIT;

        for (int i = 0; i < 500; i++)
                str_add(&body, i % 3 ? "x" : "\xe2\x99\xa5");
        mime_part(&text, "text/plain", body.data, body.len);
        assert_lines(&text, 76);
}

TEST_MAIN()
