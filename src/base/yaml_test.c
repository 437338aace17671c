#include "base/yaml.h"

#include <string.h>

#include "base/arena.h"
#include "base/scoped.h"
#include "base/str.h"
#include "tests/support/test.h"

#include "base/banned.h"

static struct yaml *parse(const char *text)
{
        return yaml_doc_parse(text, strlen(text));
}

/* The problems as "line:column rule, …". */
static void problems(const char *bytes, size_t n, struct str *ret)
{
        scoped(yaml_doc) struct yaml *yaml = yaml_doc_parse(bytes, n);

        for (size_t i = 0; i < yaml->n_problems; i++)
                str_printf(ret, "%s%d:%d %s", i ? ", " : "", yaml->problems[i].place.line,
                           yaml->problems[i].place.column, yaml->problems[i].rule);
}

TEST("scalars keep their source text, their style and their place")
{
        scoped(yaml_doc) struct yaml *yaml =
                parse("a: 3.10\nb: 'on'\nc: |\n  x\n  y\nd: [ 1.0, \"\" ]\n");
        const struct yaml_node *d;

        assert_int_equal(yaml->n_problems, 0);
        assert_int_equal(yaml->root->kind, YAML_MAP);
        assert_string_equal(yaml_get(yaml->root, "a")->text, "3.10");
        assert_int_equal(yaml_get(yaml->root, "a")->style, YAML_PLAIN);
        assert_string_equal(yaml_get(yaml->root, "b")->text, "on");
        assert_int_equal(yaml_get(yaml->root, "b")->style, YAML_QUOTED);
        assert_string_equal(yaml_get(yaml->root, "c")->text, "x\ny\n");
        assert_int_equal(yaml_get(yaml->root, "c")->style, YAML_BLOCK);
        d = yaml_get(yaml->root, "d");
        assert_int_equal(d->n, 2);
        assert_string_equal(d->items[0]->text, "1.0");
        assert_int_equal(d->items[0]->place.line, 6);
        assert_int_equal(d->items[0]->place.column, 6);
        assert_int_equal(d->items[0]->place.width, 3);
        assert_null(yaml_get(yaml->root, "e"));
        assert_null(yaml_get(d, "e"));
}

TEST("columns count characters, not bytes")
{
        scoped(yaml_doc) struct yaml *yaml = parse("{ äöü: x }");

        assert_int_equal(yaml->root->pairs[0].value->place.column, 8);
}

TEST("an empty file has no root and no problem")
{
        scoped(yaml_doc) struct yaml *yaml = parse("# nothing\n");

        assert_null(yaml->root);
        assert_int_equal(yaml->n_problems, 0);
}

TEST("null is plain and only plain")
{
        scoped(yaml_doc) struct yaml *yaml = parse("[~, null, 'null', '', x]");

        assert_true(yaml_is_null(yaml->root->items[0]));
        assert_true(yaml_is_null(yaml->root->items[1]));
        assert_false(yaml_is_null(yaml->root->items[2]));
        assert_false(yaml_is_null(yaml->root->items[3]));
        assert_false(yaml_is_null(yaml->root->items[4]));
        assert_false(yaml_is_null(yaml->root));
}

TEST("an alias stands for its anchor, at its own place")
{
        scoped(yaml_doc) struct yaml *yaml = parse("a: &x {k: v}\nb: *x\nc: &x 1\nd: *x\n");
        const struct yaml_node *b = yaml_get(yaml->root, "b");

        assert_int_equal(yaml->n_problems, 0);
        assert_string_equal(yaml_get(b, "k")->text, "v");
        assert_int_equal(b->place.line, 2);
        assert_string_equal(yaml_get(yaml->root, "d")->text, "1");
}

TEST("what is not our YAML is a problem at its place")
{
        static const struct {
                const char *text;
                const char *problems;
        } table[] = {
                {"a: 1\nb: 2\na: 3\n", "3:1 duplicate-key"},
                {"a: 1\n'a': 2\nb: {c: 1, c: 2}\n", "3:11 duplicate-key, 2:1 duplicate-key"},
                {"a: &x {k: v}\nb:\n  <<: *x\n", "3:3 merge-key"},
                {"a: !!str 1\nb: !x {}\n", "1:4 tag, 2:4 tag"},
                {"%TAG ! tag:x:\n---\na: 1\n", "1:1 tag"},
                {"a: *x\n", "1:4 unknown-anchor"},
                {"a: &x [ *x ]\n", "1:9 alias-cycle"},
                {"? [1]\n: 2\n", "1:3 bad-key"},
                {"{[1]: 2}\n", "1:2 bad-key"},
                {"a: 1\n---\nb: 1\n", "2:1 several-documents"},
                {"a: 1\n\tb: 2\n", "2:1 tab"},
                {"a:\n  b: 1\n \tc: 2\n", "3:2 tab"},
                {"a: b: c\n", "1:5 syntax"},
                {"a: [1, 2\n", "2:1 syntax"},
                {"a: \"x\n", "2:1 syntax"},
                {"a: 'x\n b: 1\n", "3:1 syntax"},
                {"a: @x\n", "1:4 syntax"},
                {"a: 1\n  b: 2\n", "2:4 syntax"},
                {"a: \"\\0\"\n", "1:4 nul"},
                {"a: \x01\n", "1:4 syntax"},
                {"\xef\xbb\xbf"
                 "a: 1\n",
                 "1:1 bom"},
                {"a: 1\nb: \xc3(\n", "2:4 encoding"},
                {"\xff\xfe"
                 "a",
                 "1:1 encoding"},
        };

        for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
                scoped_str struct str found = STR_INIT;

                problems(table[i].text, strlen(table[i].text), &found);
                if (strcmp(found.data, table[i].problems) != 0)
                        fail_msg("%s: %s instead of %s", table[i].text, found.data,
                                 table[i].problems);
        }
}

TEST("a NUL byte, and more bytes than are allowed, are refused unread")
{
        scoped_str struct str found = STR_INIT;
        scoped_str struct str large = STR_INIT;

        problems("a: 1\nb: \0\n", 10, &found);
        assert_string_equal(found.data, "2:4 nul");
        str_clear(&found);
        for (int i = 0; i <= YAML_BYTES_MAX; i++)
                str_add_char(&large, '#');
        problems(large.data, large.len, &found);
        assert_string_equal(found.data, "1:1 too-large");
        str_clear(&found);
        problems(large.data, YAML_BYTES_MAX, &found);
        assert_string_equal(found.data, "");
}

TEST("nesting is allowed up to its limit, through aliases too")
{
        scoped_str struct str text = STR_INIT;
        scoped_str struct str found = STR_INIT;

        for (int i = 0; i < YAML_DEPTH_MAX; i++)
                str_add_char(&text, '[');
        str_printf(&text, "%.*s", YAML_DEPTH_MAX,
                   "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]");
        problems(text.data, text.len, &found);
        assert_string_equal(found.data, "");
        str_clear(&text);
        for (int i = 0; i < 100000; i++)
                str_add_char(&text, '[');
        problems(text.data, text.len, &found);
        assert_string_equal(found.data, "1:65 too-deep");
        str_clear(&text);
        str_clear(&found);
        str_add(&text, "a0: &a0 x\n");
        for (int i = 1; i < 80; i++)
                str_printf(&text, "a%d: &a%d [*a%d]\n", i, i, i - 1);
        problems(text.data, text.len, &found);
        assert_string_equal(found.data, "65:12 too-deep");
}

TEST("a bomb of aliases ends at the alias that would break the limit")
{
        scoped_str struct str text = STR_INIT;
        scoped_str struct str found = STR_INIT;

        str_add(&text, "a: &a [x,x,x,x,x,x,x,x,x,x]\n");
        for (char c = 'b'; c <= 'z'; c++)
                str_printf(&text, "%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c,
                           c - 1, c - 1, c - 1, c - 1, c - 1, c - 1, c - 1, c - 1, c - 1, c - 1);
        problems(text.data, text.len, &found);
        assert_string_equal(found.data, "5:8 too-many-nodes");
}

TEST("text that aliases repeat counts as often as it is repeated")
{
        scoped_str struct str text = STR_INIT;
        scoped_str struct str found = STR_INIT;

        str_add(&text, "a: &a ");
        for (int i = 0; i < 200000; i++)
                str_add_char(&text, 'x');
        for (int i = 0; i < 10; i++)
                str_printf(&text, "\nb%d: *a", i);
        problems(text.data, text.len, &found);
        assert_string_equal(found.data, "3:5 too-much-text");
}

TEST("values are counted up to the limit")
{
        scoped_str struct str text = STR_INIT;
        scoped_str struct str found = STR_INIT;

        str_add_char(&text, '[');
        for (int i = 0; i < YAML_NODES_MAX - 1; i++)
                str_add(&text, "x,\n");
        str_add_char(&text, ']');
        problems(text.data, text.len, &found);
        assert_string_equal(found.data, "");
        str_truncate(&text, text.len - 1);
        str_add(&text, "x]");
        problems(text.data, text.len, &found);
        assert_string_equal(found.data, "20000:1 too-many-nodes");
}

TEST("many anchors and many keys cost no more than their sorting")
{
        scoped_str struct str text = STR_INIT;
        scoped(yaml_doc) struct yaml *yaml = NULL;

        for (int i = 0; i < 9000; i++)
                str_printf(&text, "k%d: &a%d x\n", i, i);
        yaml = yaml_doc_parse(text.data, text.len);
        assert_int_equal(yaml->n_problems, 0);
        assert_int_equal(yaml->root->n, 9000);
        assert_int_equal(yaml->root->nodes, 18001);
}

TEST("reading stops after so many problems")
{
        scoped_str struct str text = STR_INIT;
        scoped(yaml_doc) struct yaml *yaml = NULL;

        for (int i = 0; i < 1000; i++)
                str_printf(&text, "k%d: !x y\n", i);
        yaml = yaml_doc_parse(text.data, text.len);
        assert_int_equal(yaml->n_problems, YAML_PROBLEMS_MAX);
        assert_null(yaml->root);
}

TEST("what a message shows is one short line of whole characters")
{
        struct arena *arena = arena_new();
        char text[100];

        assert_string_equal(yaml_shown(arena, "a\nb\x1b"), "a b ");
        memset(text, 'x', sizeof(text));
        memcpy(text + YAML_SHOWN_MAX - 1, "ä", 3);
        assert_int_equal(strlen(yaml_shown(arena, text)), YAML_SHOWN_MAX + 2);
        text[YAML_SHOWN_MAX + 1] = 'x';
        text[sizeof(text) - 1] = '\0';
        assert_string_equal(yaml_shown(arena, text) + YAML_SHOWN_MAX - 1, "…");
        arena_free(arena);
}

TEST_MAIN()
