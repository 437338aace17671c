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
 * @allowed: the keys allowed there, or ""
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

/** struct findings - sorted by place; @more: how many did not fit into FINDINGS_MAX */
struct findings {
        const char *file;
        const char *source; /* the file's bytes, borrowed from the arena, NUL-terminated */
        struct finding items[FINDINGS_MAX];
        size_t n;
        size_t more;
};

size_t findings_errors(const struct findings *findings);
size_t findings_warnings(const struct findings *findings);

/* How they are shown: as in cli.md. Human has the line, a caret and the hint. */
void findings_human(const struct findings *findings, bool colour, struct str *ret);
void findings_gcc(const struct findings *findings, struct str *ret);
void findings_github(const struct findings *findings, struct str *ret);
/** findings_json() - {"file":…,"errors":N,"warnings":N,"findings":[{…}]} */
void findings_json(const struct findings *findings, struct str *ret);
/** findings_sarif() - SARIF 2.1.0 for several files */
void findings_sarif(const struct findings *const *all, size_t n, struct str *ret);
