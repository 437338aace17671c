#pragma once
/*
 * id - opaque identifiers: UUIDv7 (RFC 9562), so that ids sort by the time they were made
 */
#define ID_SIZE 37 /* 36 characters and the NUL */

/** id_new() - a fresh id; text has room for ID_SIZE bytes; aborts when the kernel has no random */
void id_new(char text[ID_SIZE]);
/** id_token() - 32 random bytes as 64 hex digits: tokens and secrets; text has room for 65 bytes */
void id_token(char text[65]);
/** id_valid() - 36 characters in the shape of a UUID */
int id_valid(const char *text);
