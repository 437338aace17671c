#pragma once
/*
 * finding - one remark about a file: where, what, how to mend it; and how it is shown
 */
#include <stdbool.h>
#include <stddef.h>

struct arena;
struct str;

#define FINDINGS_MAX 20

enum finding_severity { FINDING_ERROR, FINDING_WARNING };

/**
 * struct finding
 * @line, @column: from 1, columns in characters; @width: how much the caret underlines, at least 1
 * @rule: a short fixed name ("unknown-key"); @message: one sentence; @hint: how to mend it, or ""
 * @allowed: the keys allowed there, separated by spaces, or ""
 */
struct finding {
        enum finding_severity severity;
        int line;
        int column;
        int width;
        const char *rule;
        const char *message;
        const char *hint;
        const char *allowed;
};

/**
 * struct findings - sorted by place
 * @source: the file's bytes, NUL-terminated, as long-lived as the findings
 * @more: how many did not fit into FINDINGS_MAX (an error is kept rather than a warning)
 * @errors, @warnings: of all of them
 */
struct findings {
        const char *file;
        const char *source;
        struct finding items[FINDINGS_MAX];
        size_t n;
        size_t more;
        size_t errors;
        size_t warnings;
};

/** findings_add() - one more, put where it belongs; its texts must outlive the findings */
void findings_add(struct findings *findings, const struct finding *finding);
size_t findings_errors(const struct findings *findings);
size_t findings_warnings(const struct findings *findings);

/** finding_rule_text() - what a rule is about, in one sentence; "" for an unknown one */
const char *finding_rule_text(const char *rule);

/** findings_human() - each with its line, a caret and the hint, a blank line after none */
void findings_human(const struct findings *findings, bool colour, struct str *ret);
/** findings_gcc() - file:line:column: error: message [rule], a line each */
void findings_gcc(const struct findings *findings, struct str *ret);
/** findings_github() - workflow commands that become annotations */
void findings_github(const struct findings *findings, struct str *ret);
/** findings_json() - {"file":…,"errors":N,"warnings":N,"more":N,"findings":[{…}]} */
void findings_json(const struct findings *findings, struct str *ret);
/** findings_sarif() - SARIF 2.1.0 for several files */
void findings_sarif(const struct findings *const *all, size_t n, struct str *ret);
