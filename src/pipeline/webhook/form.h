#pragma once
/*
 * form - the member "payload" of an application/x-www-form-urlencoded body, decoded as it arrives
 *
 * Holds no more than a few bytes. Other members are skipped.
 */
#include <stdbool.h>
#include <stddef.h>

struct error;

#define FORM_KEY "payload"

/** struct form - embedded; start with {0} and the sink */
struct form {
        void (*sink)(void *data, const char *bytes, size_t n);
        void *data;
        const char *failed; /* why, or NULL */
        bool in_value;
        bool wanted;
        bool found;
        char key[sizeof(FORM_KEY)];
        size_t key_len;
        int escape; /* hex digits of %XX that are still to come */
        unsigned char byte;
};

void form_add(struct form *form, const char *bytes, size_t n);
/** form_end() - Return: 0, or -ERROR_INVALID: malformed, or there was no payload */
int form_end(struct form *form, struct error *err);
