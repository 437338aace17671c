/*
 * What libyaml would take in another way than we mean, or complain about less clearly.
 */
#include "base/yaml_text.h"

#include <string.h>
#include <yaml.h>

#include "base/arena.h"
#include "base/str.h"
#include "base/yaml.h"

#include "base/banned.h"

/* Where a byte stands: the last line break before it decides. */
static struct yaml_place place_of_byte(const char *bytes, size_t at)
{
        struct yaml_place place = {1, 1, 1};

        for (size_t i = 0; i < at; i++) {
                if (bytes[i] == '\n') {
                        place.line++;
                        place.column = 1;
                } else if (((unsigned char)bytes[i] & 0xc0) != 0x80) {
                        place.column++;
                }
        }
        return place;
}

static const char *line_start(const char *bytes, size_t size, int line)
{
        const char *at = bytes;
        const char *end = bytes + size;

        while (--line > 0 && at < end) {
                const char *next = memchr(at, '\n', (size_t)(end - at));

                at = next ? next + 1 : end;
        }
        return at;
}

/* Whether the line's indentation holds a tab; then its column, from 1, is returned, else 0. */
static int tab_column(const char *bytes, size_t size, int line)
{
        const char *end = bytes + size;
        const char *start = line_start(bytes, size, line);

        for (const char *at = start; at < end && (*at == ' ' || *at == '\t'); at++) {
                if (*at == '\t')
                        return (int)(at - start) + 1;
        }
        return 0;
}

/* libyaml names what it met; what people did is mostly one of a few things. */
static const struct {
        const char *problem;
        const char *message;
        const char *hint;
} translations[] = {
        {"mapping values are not allowed in this context", "a colon is not allowed here",
         "quote a value that holds \": \", and check the indentation of this line"},
        {"could not find expected ':'", "a colon is missing after a key",
         "write \"key: value\", and quote text that goes over several lines"},
        {"did not find expected key", "this line does not fit the indentation of the lines above",
         "keys of one map must begin in the same column"},
        {"did not find expected '-' indicator", "an item of the list (\"- …\") is expected here",
         "items of one list must begin in the same column"},
        {"did not find expected ',' or ']'", "a list that begins with [ is not closed",
         "put a comma between items and ] at the end"},
        {"did not find expected ',' or '}'", "a map that begins with { is not closed",
         "put a comma between entries and } at the end"},
        {"found unexpected end of stream", "the file ends inside a quoted text",
         "close the quotes"},
        {"found character that cannot start any token",
         "this character cannot stand at the beginning of a value", "put the value into quotes"},
        {"found unknown escape character", "this escape does not exist in double quotes",
         "write \\\\ for a backslash, or use single quotes"},
        {"block sequence entries are not allowed in this context",
         "a list (\"- …\") cannot begin here", "put it on a line of its own below the key"},
        {"control characters are not allowed", "control characters are not allowed in the file",
         ""},
};

void yaml_text_syntax(struct arena *arena, const char *bytes, size_t n,
                      const struct yaml_parser_s *parser, struct yaml_problem *ret)
{
        const char *text = parser->problem ? parser->problem : "the file cannot be read";
        struct yaml_place place = {(int)parser->problem_mark.line + 1,
                                   (int)parser->problem_mark.column + 1, 1};
        int tab = 0;

        if (parser->error == YAML_READER_ERROR)
                place = place_of_byte(bytes,
                                      parser->problem_offset < n ? parser->problem_offset : n);
        else
                tab = tab_column(bytes, n, place.line);
        if (tab) {
                place.column = tab;
                *ret = (struct yaml_problem){place, "tab", "a tab stands in the indentation",
                                             "YAML is indented with spaces only"};
                return;
        }
        for (size_t i = 0; i < sizeof(translations) / sizeof(*translations); i++) {
                if (strcmp(translations[i].problem, text) == 0) {
                        *ret = (struct yaml_problem){place, "syntax", translations[i].message,
                                                     translations[i].hint};
                        return;
                }
        }
        *ret = (struct yaml_problem){place, "syntax",
                                     parser->context
                                             ? arena_format(arena, "%s %s", parser->context, text)
                                             : arena_copy(arena, text),
                                     ""};
}

/* Where the first sequence stands that is not UTF-8, in bytes that hold one. */
static size_t bad_byte(const char *bytes, size_t n)
{
        size_t at = 0;

        for (;;) {
                unsigned char lead = (unsigned char)bytes[at];
                size_t step = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;

                if (step > n - at || !utf8_valid(bytes + at, step))
                        return at;
                at += step;
        }
}

/* A line that begins with %TAG; within a text it would be indented. */
static const char *find_tag_directive(const char *bytes, size_t n)
{
        const char *found;

        if (n >= 4 && memcmp(bytes, "%TAG", 4) == 0)
                return bytes;
        found = memmem(bytes, n, "\n%TAG", 5);
        return found ? found + 1 : NULL;
}

bool yaml_text_check(struct arena *arena, const char *bytes, size_t n, struct yaml_problem *ret)
{
        const char *nul = memchr(bytes, '\0', n);
        const char *tag = find_tag_directive(bytes, n);
        const struct yaml_place top = {1, 1, 1};

        if (n > YAML_BYTES_MAX)
                *ret = (struct yaml_problem){
                        top, "too-large",
                        arena_format(arena, "the file has more than %d KiB", YAML_BYTES_MAX / 1024),
                        ""};
        else if (n >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0)
                *ret = (struct yaml_problem){top, "bom", "the file begins with a byte order mark",
                                             "save it as UTF-8 without BOM"};
        else if (n >= 2 && (memcmp(bytes, "\xff\xfe", 2) == 0 || memcmp(bytes, "\xfe\xff", 2) == 0))
                *ret = (struct yaml_problem){top, "encoding", "the file is UTF-16",
                                             "save it as UTF-8"};
        else if (tag) /* libyaml compares each of them with all others */
                *ret = (struct yaml_problem){place_of_byte(bytes, (size_t)(tag - bytes)), "tag",
                                             "the directive %TAG is not supported", "take it out"};
        else if (nul)
                *ret = (struct yaml_problem){place_of_byte(bytes, (size_t)(nul - bytes)), "nul",
                                             "the file holds a NUL byte",
                                             "it must be text in UTF-8"};
        else if (!utf8_valid(bytes, n))
                *ret = (struct yaml_problem){place_of_byte(bytes, bad_byte(bytes, n)), "encoding",
                                             "the file is not valid UTF-8 from here on",
                                             "save it as UTF-8"};
        else
                return true;
        return false;
}
