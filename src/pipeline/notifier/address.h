#pragma once
/*
 * address - mail addresses, checked before they reach a header or an envelope
 */
#include <stdbool.h>

struct error;
struct str;

/**
 * address_valid() - local@domain of RFC 5321 without quoting: letters, digits and the usual signs,
 * at most 64 before the @ and 254 in all; ASCII alone. Names of hosts may have an underscore.
 */
bool address_valid(const char *address);

/**
 * address_split() - "Name <address>" or an address
 * @ret_name: appended, may stay empty; @ret_address: appended, checked
 */
int address_split(struct str *ret_name, struct str *ret_address, const char *text,
                  struct error *err);
