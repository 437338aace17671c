#include "pipeline/notifier/address.h"

#include <ctype.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "pipeline/notifier/policy.h"

#include "base/banned.h"

#define LOCAL_BYTES_MAX 64
#define LABEL_BYTES_MAX 63

static bool is_atom(unsigned char c)
{
        return c < 0x80 && (isalnum(c) || (c && strchr("!#$%&'*+-/=?^_`{|}~", c)));
}

static bool local_valid(const char *text, size_t n)
{
        if (n == 0 || n > LOCAL_BYTES_MAX || text[0] == '.' || text[n - 1] == '.')
                return false;
        for (size_t i = 0; i < n; i++) {
                if (text[i] == '.' ? text[i + 1] == '.' : !is_atom((unsigned char)text[i]))
                        return false;
        }
        return true;
}

static bool domain_valid(const char *text)
{
        size_t label = 0;

        for (; *text; text++) {
                unsigned char c = (unsigned char)*text;

                if (c == '.' ? label == 0 || text[-1] == '-' || !text[1]
                             : c >= 0x80 || !(isalnum(c) || c == '_' || (c == '-' && label)))
                        return false;
                label = c == '.' ? 0 : label + 1;
                if (label > LABEL_BYTES_MAX)
                        return false;
        }
        return label > 0 && text[-1] != '-';
}

bool address_valid(const char *address)
{
        const char *at = strchr(address, '@');

        return at && strlen(address) <= ADDRESS_BYTES_MAX &&
               local_valid(address, (size_t)(at - address)) && domain_valid(at + 1);
}

int address_split(struct str *ret_name, struct str *ret_address, const char *text,
                  struct error *err)
{
        const char *open = strrchr(text, '<');
        size_t n = open ? (size_t)(open - text) : 0;

        while (n && text[n - 1] == ' ')
                n--;
        if (n > 1 && text[0] == '"' && text[n - 1] == '"')
                str_add_bytes(ret_name, text + 1, n - 2);
        else
                str_add_bytes(ret_name, text, n);
        str_add(ret_address, open ? open + 1 : text);
        if (open && ret_address->len && ret_address->data[ret_address->len - 1] == '>')
                str_truncate(ret_address, ret_address->len - 1);
        if (address_valid(ret_address->data))
                return 0;
        return error_set(err, ERROR_INVALID,
                         "'%.100s' is not a mail address; write ci@example.org or "
                         "Argon CI <ci@example.org>",
                         text);
}
