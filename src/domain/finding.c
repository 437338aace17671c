/*
 * The list keeps itself sorted by insertion: it holds twenty. Formats that machines read are built
 * with jansson; those for people show a window of the line, so that a line of 200 KiB does not fill
 * the terminal, and never a control character of the file.
 */
#include "domain/finding.h"

#include <string.h>

#include "base/json.h"
#include "base/str.h"

#include "base/banned.h"

/* A line is shown from WINDOW_BEFORE characters before the place on, WINDOW characters in all. */
#define WINDOW 100
#define WINDOW_BEFORE 60

#define RED "\033[1;31m"
#define YELLOW "\033[1;33m"
#define BOLD "\033[1m"
#define GREEN "\033[32m"
#define PLAIN "\033[0m"

static const struct {
        const char *rule;
        const char *text;
} rules[] = {
        {"alias-cycle", "An alias must not stand inside the value that it names."},
        {"bad-key", "Keys are single texts."},
        {"bad-name", "Names of jobs, steps and variables use letters, digits, _ and -."},
        {"bad-value", "A value must be one of those that its key takes."},
        {"bom", "The file is UTF-8 without a byte order mark."},
        {"duplicate-id", "The id of a step is unique within its job."},
        {"duplicate-key", "A key stands once in a map."},
        {"empty", "The file needs at least one job with one step."},
        {"encoding", "The file is UTF-8."},
        {"merge-key", "Merge keys (<<) are not part of YAML 1.2."},
        {"missing-key", "Some keys must be given."},
        {"needs-cycle", "Jobs that need each other in a circle can never start."},
        {"not-supported-yet", "The key belongs to the language, but this version cannot run it."},
        {"nul", "The file holds no NUL."},
        {"several-documents", "The file is one YAML document."},
        {"syntax", "The file is well-formed YAML."},
        {"tab", "Indentation is made of spaces."},
        {"tag", "YAML tags and directives are not supported."},
        {"too-deep", "Lists and maps are nested up to a limit."},
        {"too-large", "The file has a size limit."},
        {"too-many", "Lists have length limits."},
        {"too-many-nodes", "The number of values in the file is limited, aliases written out."},
        {"too-much-text", "The amount of text in the file is limited, aliases written out."},
        {"unknown-anchor", "An alias stands for an anchor that comes before it."},
        {"unknown-job", "needs names jobs of the same file."},
        {"unknown-key", "Keys that the language does not have are errors, never ignored."},
        {"unknown-version", "version is the version of the language: 1."},
        {"unpinned-image", "An image without a fixed version may be another one tomorrow."},
        {"wrong-type", "A value must have the type that its key takes."},
};

const char *finding_rule_text(const char *rule)
{
        for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
                if (strcmp(rules[i].rule, rule) == 0)
                        return rules[i].text;
        }
        return "";
}

static bool before(const struct finding *a, const struct finding *b)
{
        return a->line != b->line ? a->line < b->line : a->column < b->column;
}

static void drop(struct findings *findings, size_t at)
{
        memmove(&findings->items[at], &findings->items[at + 1],
                (findings->n - at - 1) * sizeof(*findings->items));
        findings->n--;
        findings->more++;
}

/* Make room for it: a warning goes for an error, else whatever stands last. */
static bool make_room(struct findings *findings, const struct finding *finding)
{
        size_t last = findings->n - 1;

        if (finding->severity == FINDING_ERROR) {
                for (size_t i = findings->n; i-- > 0;) {
                        if (findings->items[i].severity == FINDING_WARNING) {
                                drop(findings, i);
                                return true;
                        }
                }
        } else if (findings->items[last].severity == FINDING_ERROR) {
                return false;
        }
        if (!before(finding, &findings->items[last]))
                return false;
        drop(findings, last);
        return true;
}

void findings_add(struct findings *findings, const struct finding *finding)
{
        size_t at;

        if (finding->severity == FINDING_ERROR)
                findings->errors++;
        else
                findings->warnings++;
        if (findings->n == FINDINGS_MAX && !make_room(findings, finding)) {
                findings->more++;
                return;
        }
        at = findings->n++;
        while (at > 0 && before(finding, &findings->items[at - 1])) {
                findings->items[at] = findings->items[at - 1];
                at--;
        }
        findings->items[at] = *finding;
}

size_t findings_errors(const struct findings *findings)
{
        return findings->errors;
}

size_t findings_warnings(const struct findings *findings)
{
        return findings->warnings;
}

static const char *severity_name(const struct finding *finding)
{
        return finding->severity == FINDING_ERROR ? "error" : "warning";
}

/* --- for people --- */

/* The bytes of a line, without its end; n is set to 0 when there is no such line. */
static const char *source_line(const char *source, int line, size_t *ret_n)
{
        const char *at = source ? source : "";

        while (--line > 0) {
                const char *end = strchr(at, '\n');

                if (!end) {
                        *ret_n = 0;
                        return at;
                }
                at = end + 1;
        }
        *ret_n = strcspn(at, "\r\n");
        return at;
}

/* How many bytes the character at p takes; broken UTF-8 goes byte by byte. */
static size_t step_of(const char *p, size_t n)
{
        unsigned char lead = (unsigned char)*p;
        size_t step = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;

        return step <= n && utf8_valid(p, step) ? step : 1;
}

/* Characters [from, from + WINDOW) of a line: what cannot be shown as it is becomes U+FFFD. */
static void add_window(struct str *str, const char *line, size_t n, int from)
{
        int column = 1;

        for (size_t at = 0; at < n && column < from + WINDOW; column++) {
                size_t step = step_of(line + at, n - at);
                unsigned char c = (unsigned char)line[at];

                if (column >= from) {
                        if (c == '\t')
                                str_add_char(str, ' ');
                        else if (c < 0x20 || c == 0x7f || (step == 1 && c >= 0x80) ||
                                 (c == 0xc2 && (unsigned char)line[at + 1] < 0xa0))
                                str_add(str, "\xef\xbf\xbd");
                        else
                                str_add_bytes(str, line + at, step);
                }
                at += step;
        }
}

static int line_width(const char *line, size_t n)
{
        int width = 0;

        for (size_t at = 0; at < n; width++)
                at += step_of(line + at, n - at);
        return width;
}

static void add_caret(struct str *str, const struct finding *finding, int from, int width,
                      bool colour)
{
        int column = finding->column - from;
        int end = finding->column + finding->width;
        int length;

        if (end > width + 1)
                end = width + 1;
        if (end > from + WINDOW)
                end = from + WINDOW;
        length = end - finding->column;
        str_printf(str, "      | %*s%s^", column, "", colour ? GREEN : "");
        for (int i = 1; i < length; i++)
                str_add_char(str, '~');
        if (*finding->hint)
                str_printf(str, " %s", finding->hint);
        str_add(str, colour ? PLAIN "\n" : "\n");
}

static void add_source(struct str *str, const struct findings *findings,
                       const struct finding *finding, bool colour)
{
        size_t n;
        const char *line = source_line(findings->source, finding->line, &n);
        int width = line_width(line, n);
        int from = 1;

        if (finding->column > WINDOW_BEFORE && width > WINDOW)
                from = finding->column - WINDOW_BEFORE + 1;
        str_printf(str, "%5d | ", finding->line);
        add_window(str, line, n, from);
        str_add_char(str, '\n');
        add_caret(str, finding, from, width, colour);
}

void findings_human(const struct findings *findings, bool colour, struct str *ret)
{
        for (size_t i = 0; i < findings->n; i++) {
                const struct finding *finding = &findings->items[i];
                const char *paint = finding->severity == FINDING_ERROR ? RED : YELLOW;

                str_printf(ret, "%s%s:%d:%d:%s %s%s:%s %s   [%s]\n", colour ? BOLD : "",
                           findings->file, finding->line, finding->column, colour ? PLAIN : "",
                           colour ? paint : "", severity_name(finding), colour ? PLAIN : "",
                           finding->message, finding->rule);
                add_source(ret, findings, finding, colour);
                if (*finding->allowed)
                        str_printf(ret, "   allowed here: %s\n", finding->allowed);
        }
        if (findings->more)
                str_printf(ret, "%s: and %zu more\n", findings->file, findings->more);
}

/* --- for machines --- */

void findings_gcc(const struct findings *findings, struct str *ret)
{
        for (size_t i = 0; i < findings->n; i++) {
                const struct finding *finding = &findings->items[i];

                str_printf(ret, "%s:%d:%d: %s: %s%s%s [%s]\n", findings->file, finding->line,
                           finding->column, severity_name(finding), finding->message,
                           *finding->hint ? "; " : "", finding->hint, finding->rule);
        }
}

/* GitHub's runner wants % and line ends escaped, in a property : and , too. */
static void add_github(struct str *str, const char *text, bool property)
{
        for (; *text; text++) {
                if (*text == '%' || *text == '\r' || *text == '\n' ||
                    (property && (*text == ':' || *text == ',')))
                        str_printf(str, "%%%02X", (unsigned)*text);
                else
                        str_add_char(str, *text);
        }
}

void findings_github(const struct findings *findings, struct str *ret)
{
        for (size_t i = 0; i < findings->n; i++) {
                const struct finding *finding = &findings->items[i];

                str_printf(ret, "::%s file=", severity_name(finding));
                add_github(ret, findings->file, true);
                str_printf(ret, ",line=%d,col=%d,endColumn=%d,title=", finding->line,
                           finding->column, finding->column + finding->width);
                add_github(ret, finding->rule, true);
                str_add(ret, "::");
                add_github(ret, finding->message, false);
                if (*finding->hint) {
                        str_add(ret, "; ");
                        add_github(ret, finding->hint, false);
                }
                str_add_char(ret, '\n');
        }
}

void findings_json(const struct findings *findings, struct str *ret)
{
        scoped(json) json_t *root = json_object();
        json_t *list = json_array();

        json_set_text(root, "file", findings->file);
        json_set_int(root, "errors", (int64_t)findings->errors);
        json_set_int(root, "warnings", (int64_t)findings->warnings);
        json_set_int(root, "more", (int64_t)findings->more);
        for (size_t i = 0; i < findings->n; i++) {
                const struct finding *finding = &findings->items[i];
                json_t *item = json_object();

                json_set_text(item, "file", findings->file);
                json_set_int(item, "line", finding->line);
                json_set_int(item, "column", finding->column);
                json_set_int(item, "end_column", finding->column + finding->width);
                json_set_text(item, "severity", severity_name(finding));
                json_set_text(item, "rule", finding->rule);
                json_set_text(item, "message", finding->message);
                json_set_text(item, "hint", finding->hint);
                json_set_text(item, "allowed", finding->allowed);
                json_array_append_new(list, item);
        }
        json_object_set_new(root, "findings", list);
        str_add_json(ret, root);
}

static json_t *sarif_result(const struct findings *findings, const struct finding *finding)
{
        scoped_str struct str text = STR_INIT;

        str_printf(&text, "%s%s%s", finding->message, *finding->hint ? "; " : "", finding->hint);
        return json_pack("{s:s, s:s, s:{s:s}, s:[{s:{s:{s:s}, s:{s:i, s:i, s:i}}}]}", "ruleId",
                         finding->rule, "level", severity_name(finding), "message", "text",
                         text.data, "locations", "physicalLocation", "artifactLocation", "uri",
                         findings->file, "region", "startLine", finding->line, "startColumn",
                         finding->column, "endColumn", finding->column + finding->width);
}

void findings_sarif(const struct findings *const *all, size_t n, struct str *ret)
{
        scoped(json) json_t *root = NULL;
        json_t *results = json_array();
        json_t *list = json_array();

        for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++)
                json_array_append_new(list, json_pack("{s:s, s:{s:s}}", "id", rules[i].rule,
                                                      "shortDescription", "text", rules[i].text));
        for (size_t i = 0; i < n; i++) {
                for (size_t j = 0; j < all[i]->n; j++)
                        json_array_append_new(results, sarif_result(all[i], &all[i]->items[j]));
        }
        root = json_pack("{s:s, s:s, s:[{s:{s:{s:s, s:s, s:o}}, s:s, s:o}]}", "$schema",
                         "https://json.schemastore.org/sarif-2.1.0.json", "version", "2.1.0",
                         "runs", "tool", "driver", "name", "argon lint", "version", ARGON_VERSION,
                         "rules", list, "columnKind", "unicodeCodePoints", "results", results);
        str_add_json(ret, root);
}
