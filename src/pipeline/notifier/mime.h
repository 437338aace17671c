#pragma once
/*
 * mime - the grammar of mail: headers that cannot be broken out of, bodies any server takes; pure
 */
#include <stddef.h>
#include <stdint.h>

struct str;

/** mime_header() - append "Name: value" and CRLF
 *  @value: any text; control characters become blanks, what is not ASCII is encoded (RFC 2047),
 *          long lines are folded */
void mime_header(struct str *ret, const char *name, const char *value);
/** mime_address() - append "Name: display <address>" and CRLF; display may be "" or anything */
void mime_address(struct str *ret, const char *name, const char *display, const char *address);
/** mime_date() - append a Date header for milliseconds since 1970, in UTC */
void mime_date(struct str *ret, int64_t wall_ms);
/** mime_part() - append the headers and the body of one text part: lines end with CRLF; as it is
 *  when it is ASCII with short lines, else quoted-printable */
void mime_part(struct str *ret, const char *type, const char *text, size_t n);
