#pragma once
/*
 * roff - text for man pages (man macros)
 */
struct str;

/** roff_add() - append text with what roff would obey escaped; newlines stay, each line is safe at
 *  its start */
void roff_add(struct str *ret, const char *text);
/** roff_title() - the page's head: .TH and the NAME section */
void roff_title(struct str *ret, const char *name, int section, const char *summary);
/** roff_paragraphs() - paragraphs by blank lines; lines that start with a space are kept as they
 *  are */
void roff_paragraphs(struct str *ret, const char *text);
