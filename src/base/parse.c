#include "base/parse.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"

#include "base/banned.h"

#define DURATION_MAX_MS (INT64_C(3653) * 24 * 3600 * 1000)

int parse_int(int64_t *ret, const char *text, int64_t min, int64_t max, struct error *err)
{
        const char *digits = *text == '-' ? text + 1 : text;
        long long value;

        if (!*digits || strspn(digits, "0123456789") != strlen(digits))
                return error_set(err, ERROR_INVALID, "'%.64s' is not a whole number", text);
        errno = 0;
        value = strtoll(text, NULL, 10);
        if (errno || value < min || value > max)
                return error_set(err, ERROR_INVALID, "%.64s is not between %lld and %lld", text,
                                 (long long)min, (long long)max);
        *ret = value;
        return 0;
}

static const struct {
        const char *name;
        int64_t ms;
} duration_units[] = {
        {"d", INT64_C(86400000)}, {"h", 3600000}, {"ms", 1}, {"m", 60000}, {"s", 1000},
};

static int64_t duration_unit(const char **at)
{
        for (size_t i = 0; i < sizeof(duration_units) / sizeof(*duration_units); i++) {
                size_t n = strlen(duration_units[i].name);

                if (strncmp(*at, duration_units[i].name, n) == 0) {
                        *at += n;
                        return duration_units[i].ms;
                }
        }
        return 0;
}

int parse_duration(int64_t *ret_ms, const char *text, struct error *err)
{
        const char *at = text;
        int64_t total = 0;
        int64_t last = INT64_MAX;

        if (!*at)
                return error_set(err, ERROR_INVALID,
                                 "a duration is empty; write it like 90s or 5m");
        while (*at) {
                int64_t value = 0;
                int64_t unit;

                if (!isdigit((unsigned char)*at))
                        goto malformed;
                for (; isdigit((unsigned char)*at); at++) {
                        value = value * 10 + (*at - '0');
                        if (value > DURATION_MAX_MS)
                                goto malformed;
                }
                unit = *at ? duration_unit(&at) : (last == INT64_MAX ? 1000 : 0);
                if (!unit || unit >= last || value > DURATION_MAX_MS / unit)
                        goto malformed;
                last = unit;
                total += value * unit;
        }
        if (total > DURATION_MAX_MS)
                goto malformed;
        *ret_ms = total;
        return 0;
malformed:
        return error_set(err, ERROR_INVALID,
                         "'%.64s' is not a duration; write it like 90s, 5m, 2h30m or 30d "
                         "(at most 10 years)",
                         text);
}

int parse_size(int64_t *ret_bytes, const char *text, struct error *err)
{
        static const char units[] = "kmgt";
        const char *at = text;
        int64_t value = 0;
        int shift = 0;

        if (!isdigit((unsigned char)*at))
                goto malformed;
        for (; isdigit((unsigned char)*at); at++) {
                if (value > (INT64_MAX - 9) / 10)
                        goto malformed;
                value = value * 10 + (*at - '0');
        }
        if (*at && strchr(units, tolower((unsigned char)*at))) {
                shift = 10 * (int)(strchr(units, tolower((unsigned char)*at)) - units + 1);
                at++;
                if (strcasecmp(at, "ib") && strcasecmp(at, "b") && *at)
                        goto malformed;
        } else if (*at && strcasecmp(at, "b")) {
                goto malformed;
        }
        if (value > INT64_MAX >> shift)
                goto malformed;
        *ret_bytes = value << shift;
        return 0;
malformed:
        return error_set(err, ERROR_INVALID, "'%.64s' is not a size; write it like 512MiB or 2GiB",
                         text);
}
