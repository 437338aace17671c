#include "pipeline/webhook/form.h"

#include <string.h>

#include "base/error.h"

#include "base/banned.h"

/* Decoded bytes are handed on in pieces of this size. */
#define PIECE (16 * 1024)

struct piece {
        char bytes[PIECE];
        size_t n;
};

static void flush(struct form *form, struct piece *piece)
{
        if (piece->n)
                form->sink(form->data, piece->bytes, piece->n);
        piece->n = 0;
}

static void put(struct form *form, struct piece *piece, char c)
{
        if (!form->in_value) {
                if (form->key_len < sizeof(form->key))
                        form->key[form->key_len++] = c;
                return;
        }
        if (!form->wanted)
                return;
        if (piece->n == PIECE)
                flush(form, piece);
        piece->bytes[piece->n++] = c;
}

static void begin_value(struct form *form)
{
        form->in_value = true;
        form->wanted = form->key_len == sizeof(FORM_KEY) - 1 &&
                       memcmp(form->key, FORM_KEY, form->key_len) == 0;
        if (form->wanted && form->found)
                form->failed = "the form has more than one member 'payload'";
        form->found = form->found || form->wanted;
}

static void begin_key(struct form *form)
{
        form->in_value = false;
        form->wanted = false;
        form->key_len = 0;
}

static int hex_value(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

static void add_escaped(struct form *form, struct piece *piece, char c)
{
        int value = hex_value(c);

        if (value < 0) {
                form->failed = "the form is malformed: % is followed by two hex digits";
                return;
        }
        form->byte = (unsigned char)(form->byte << 4 | value);
        if (--form->escape == 0)
                put(form, piece, (char)form->byte);
}

static void add_one(struct form *form, struct piece *piece, char c)
{
        if (form->escape)
                add_escaped(form, piece, c);
        else if (c == '%')
                form->escape = 2;
        else if (c == '&')
                begin_key(form);
        else if (c == '=' && !form->in_value)
                begin_value(form);
        else
                put(form, piece, c == '+' ? ' ' : c);
}

void form_add(struct form *form, const char *bytes, size_t n)
{
        struct piece piece;

        piece.n = 0;
        for (size_t i = 0; i < n && !form->failed; i++)
                add_one(form, &piece, bytes[i]);
        flush(form, &piece);
}

int form_end(struct form *form, struct error *err)
{
        if (!form->failed && form->escape)
                form->failed = "the form ends within an escape";
        if (!form->failed && !form->found)
                form->failed = "the form has no member 'payload'";
        if (form->failed)
                return error_set(err, ERROR_INVALID, "%s", form->failed);
        return 0;
}
