#include "domain/finding.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "tests/support/test.h"

#include "base/banned.h"

static struct finding at(int line, int column, enum finding_severity severity)
{
        return (struct finding){severity, line, column, 3, "bad-value", "message", "hint", ""};
}

TEST("findings are kept in the order of their places")
{
        struct findings findings = {.file = "f", .source = ""};
        const int places[][2] = {{3, 1}, {1, 5}, {1, 2}, {2, 9}, {1, 5}};

        for (size_t i = 0; i < 5; i++) {
                struct finding finding = at(places[i][0], places[i][1], FINDING_ERROR);

                findings_add(&findings, &finding);
        }
        assert_int_equal(findings.n, 5);
        for (size_t i = 1; i < 5; i++)
                assert_true(findings.items[i - 1].line < findings.items[i].line ||
                            (findings.items[i - 1].line == findings.items[i].line &&
                             findings.items[i - 1].column <= findings.items[i].column));
}

TEST("an error is kept rather than a warning, an early one rather than a late one")
{
        struct findings findings = {.file = "f", .source = ""};
        struct finding finding;

        for (int i = 0; i < FINDINGS_MAX; i++) {
                finding = at(100 + i, 1, FINDING_WARNING);
                findings_add(&findings, &finding);
        }
        finding = at(999, 1, FINDING_ERROR);
        findings_add(&findings, &finding);
        assert_int_equal(findings.items[FINDINGS_MAX - 1].line, 999);
        finding = at(1, 1, FINDING_WARNING);
        findings_add(&findings, &finding);
        assert_int_equal(findings.more, 2);
        for (int i = 0; i < FINDINGS_MAX + 5; i++) {
                finding = at(i + 1, 1, FINDING_ERROR);
                findings_add(&findings, &finding);
        }
        for (int i = 0; i < FINDINGS_MAX; i++) {
                assert_int_equal(findings.items[i].severity, FINDING_ERROR);
                assert_int_equal(findings.items[i].line, i + 1);
        }
        assert_int_equal(findings_errors(&findings), FINDINGS_MAX + 6);
        assert_int_equal(findings_warnings(&findings), FINDINGS_MAX + 1);
        assert_int_equal(findings.more, FINDINGS_MAX + 7);
}

static void human(const char *source, int line, int column, int width, struct str *ret)
{
        struct findings findings = {.file = "f", .source = source};
        struct finding finding = at(line, column, FINDING_ERROR);

        finding.width = width;
        findings_add(&findings, &finding);
        findings_human(&findings, false, ret);
}

TEST("people see the line and a caret under the place, in characters")
{
        scoped_str struct str text = STR_INIT;

        human("a: b\nä: cde # x\r\n", 2, 4, 3, &text);
        assert_string_equal(text.data, "f:2:4: error: message   [bad-value]\n"
                                       "    2 | ä: cde # x\n"
                                       "      |    ^~~ hint\n");
}

TEST("a caret does not reach beyond its line, and stands after it where the file ends")
{
        scoped_str struct str text = STR_INIT;

        human("ab: cd\nef: gh", 1, 5, 100, &text);
        assert_string_equal(text.data, "f:1:5: error: message   [bad-value]\n"
                                       "    1 | ab: cd\n"
                                       "      |     ^~ hint\n");
        str_clear(&text);
        human("ab", 3, 1, 1, &text);
        assert_string_equal(text.data, "f:3:1: error: message   [bad-value]\n"
                                       "    3 | \n"
                                       "      | ^ hint\n");
}

TEST("of a long line a window around the place is shown, and no control character at all")
{
        scoped_str struct str source = STR_INIT;
        scoped_str struct str text = STR_INIT;

        for (int i = 0; i < 100000; i++)
                str_add_char(&source, 'x');
        str_add(&source, "HERE");
        human(source.data, 1, 100001, 4, &text);
        assert_true(text.len < 400);
        assert_non_null(strstr(text.data, "xHERE\n"));
        str_clear(&text);
        human("a\tb\x1b[31m\x7f\xff\xc2\x9b", 1, 3, 1, &text);
        assert_non_null(
                strstr(text.data, "| a b\xef\xbf\xbd[31m\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\n"));
}

TEST("colours are used when asked for")
{
        struct findings findings = {.file = "f", .source = "x"};
        struct finding error = at(1, 1, FINDING_ERROR);
        struct finding warning = at(1, 1, FINDING_WARNING);
        scoped_str struct str text = STR_INIT;

        findings_add(&findings, &error);
        findings_add(&findings, &warning);
        findings_human(&findings, true, &text);
        assert_non_null(strstr(text.data, "\033[1;31merror:\033[0m"));
        assert_non_null(strstr(text.data, "\033[1;33mwarning:\033[0m"));
}

TEST("what GitHub would take for the end of a command is escaped")
{
        struct findings findings = {.file = "a,b:c%.yml", .source = "x"};
        struct finding finding = at(1, 2, FINDING_WARNING);
        scoped_str struct str text = STR_INIT;

        finding.message = "50% of\nit";
        findings_add(&findings, &finding);
        findings_github(&findings, &text);
        assert_string_equal(text.data,
                            "::warning file=a%2Cb%3Ac%25.yml,line=1,col=2,endColumn=5,title=bad-"
                            "value::50%25 of%0Ait; hint\n");
}

TEST("machines get JSON and SARIF that say the same")
{
        struct findings findings = {.file = "f", .source = "x"};
        const struct findings *all[] = {&findings, &findings};
        struct finding finding = at(7, 2, FINDING_ERROR);
        scoped_str struct str text = STR_INIT;
        scoped(json) json_t *json = NULL;
        scoped(json) json_t *sarif = NULL;
        const json_t *result;

        findings_add(&findings, &finding);
        findings_json(&findings, &text);
        json = json_loads(text.data, 0, NULL);
        result = json_array_get(json_object_get(json, "findings"), 0);
        assert_int_equal(json_int_or(json, "errors", 0), 1);
        assert_int_equal(json_int_or(result, "line", 0), 7);
        assert_int_equal(json_int_or(result, "end_column", 0), 5);
        str_clear(&text);
        findings_sarif(all, 2, &text);
        sarif = json_loads(text.data, 0, NULL);
        result = json_object_get(json_array_get(json_object_get(sarif, "runs"), 0), "results");
        assert_int_equal(json_array_size(result), 2);
        result = json_array_get(result, 1);
        assert_string_equal(json_text_or(result, "level", ""), "error");
        assert_string_equal(json_text_or(result, "ruleId", ""), "bad-value");
        assert_string_equal(json_text_or(json_object_get(result, "message"), "text", ""),
                            "message; hint");
}

TEST("every rule is explained")
{
        assert_true(*finding_rule_text("unknown-key"));
        assert_string_equal(finding_rule_text("no-such-rule"), "");
}

TEST_MAIN()
