#include "base/id.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"

#include "base/banned.h"

static void random_bytes(void *bytes, size_t n)
{
        unsigned char *at = bytes;

        while (n > 0) {
                ssize_t got = getrandom(at, n, 0);

                if (got < 0 && errno == EINTR)
                        continue;
                if (got <= 0)
                        abort();
                at += got;
                n -= (size_t)got;
        }
}

void id_new(char text[ID_SIZE])
{
        unsigned char b[16];
        int64_t now = wall_ms();

        random_bytes(b, sizeof(b));
        for (int i = 0; i < 6; i++)
                b[i] = (unsigned char)(now >> (40 - 8 * i));
        b[6] = (b[6] & 0x0f) | 0x70;
        b[8] = (b[8] & 0x3f) | 0x80;
        snprintf(text, ID_SIZE,
                 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
                 b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
                 b[15]);
}

void id_token(char text[65])
{
        unsigned char b[32];

        random_bytes(b, sizeof(b));
        for (int i = 0; i < 32; i++)
                snprintf(text + 2 * i, 3, "%02x", b[i]);
}

int id_valid(const char *text)
{
        if (!text || strlen(text) != ID_SIZE - 1)
                return 0;
        for (int i = 0; i < ID_SIZE - 1; i++) {
                int dash = i == 8 || i == 13 || i == 18 || i == 23;

                if (dash ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
                        return 0;
        }
        return 1;
}
