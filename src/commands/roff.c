#include "commands/roff.h"

#include <ctype.h>
#include <string.h>

#include "base/scoped.h"
#include "base/str.h"

#include "base/banned.h"

void roff_add(struct str *ret, const char *text)
{
        bool start = true;

        for (; *text; text++) {
                if (start && (*text == '.' || *text == '\''))
                        str_add(ret, "\\&");
                if (*text == '\\')
                        str_add(ret, "\\e");
                else if (*text == '-')
                        str_add(ret, "\\-");
                else
                        str_add_char(ret, *text);
                start = *text == '\n';
        }
}

void roff_title(struct str *ret, const char *name, int section, const char *summary)
{
        str_add(ret, ".TH ");
        for (const char *at = name; *at; at++)
                str_add_char(ret, (char)toupper((unsigned char)*at));
        str_printf(ret, " %d \"\" \"argon %s\"\n.SH NAME\n", section, ARGON_VERSION);
        roff_add(ret, name);
        str_add(ret, " \\- ");
        roff_add(ret, summary);
        str_add_char(ret, '\n');
}

void roff_paragraphs(struct str *ret, const char *text)
{
        bool kept = false;

        while (*text) {
                size_t n = strcspn(text, "\n");
                scoped_text char *line = text_format("%.*s", (int)n, text);
                bool keep = *line == ' ';

                if (keep != kept && *line)
                        str_add(ret, keep ? ".nf\n" : ".fi\n");
                if (*line) {
                        kept = keep;
                        roff_add(ret, line);
                        str_add_char(ret, '\n');
                } else {
                        str_add(ret, ".PP\n");
                }
                text += n + (text[n] == '\n');
        }
        if (kept)
                str_add(ret, ".fi\n");
}
