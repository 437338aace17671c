/*
 * Why fingerprints and not an automaton: the forms of one secret of 48 KiB are more than a million
 * bytes, as many states of tens of bytes each. A piece of 32 bytes costs about as much as one
 * state. What a stream must know at each byte is whether a piece may begin here: a filter of bits
 * answers that for nearly all text; the table of beginnings is asked after it, the table of pieces
 * last. The hashes are keyed anew in each set, so that nobody can prepare text that collides.
 */
#include "domain/mask_set.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/error.h"
#include "base/str.h"

#include "base/banned.h"

#define TABLE_MIN 256
#define FILTER_BITS_MIN 16
#define FILTER_BITS_MAX 23
#define PREFIX_BITS 20
#define PATTERNS_MAX (512 * 1024)
/* About what a secret of n bytes comes to; one that escapes at each byte may be five times that. */
#define PATTERNS_OF(n) ((n)*2 + 128)

struct slot {
        uint64_t key; /* 0: free */
        mask_lengths lengths;
};

/* A hash table of hashes. */
struct table {
        struct slot *slots;
        size_t size; /* a power of two */
        size_t n;
};

struct mask_set {
        uint64_t key;
        uint64_t factor;
        size_t n_secrets;
        struct table secrets;
        struct table begins;
        struct table pieces;
        uint64_t *filter; /* of begins */
        int filter_bits;
        uint64_t *may_begin; /* bits for the beginnings of pieces, of every length */
        bool first[256];
};

/* --- hashing --- */

static uint64_t mix(uint64_t a, uint64_t b)
{
        unsigned __int128 product = (unsigned __int128)a * b;

        return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t load(const unsigned char *p, size_t n)
{
        uint64_t value = 0;

        memcpy(&value, p, n);
        return value;
}

static uint64_t hash_begin(const struct mask_set *set, const unsigned char *p)
{
        uint32_t low;
        uint16_t high;

        memcpy(&low, p, sizeof(low));
        memcpy(&high, p + sizeof(low), sizeof(high));
        return mix((uint64_t)high << 32 | low, set->factor) + set->key;
}

/* Of any length; never 0, which means free. */
static uint64_t hash_bytes(const struct mask_set *set, const unsigned char *p, size_t n)
{
        uint64_t hash = set->key ^ n * set->factor;

        for (; n >= 8; p += 8, n -= 8)
                hash = mix(hash ^ load(p, 8), set->factor);
        if (n)
                hash = mix(hash ^ load(p, n), set->factor);
        hash = mix(hash ^ set->key, set->factor | 1);
        return hash ? hash : 1;
}

/* --- tables --- */

static struct slot *table_slot(const struct table *table, uint64_t key)
{
        size_t at = key & (table->size - 1);

        while (table->slots[at].key && table->slots[at].key != key)
                at = (at + 1) & (table->size - 1);
        return &table->slots[at];
}

static struct slot *table_find(const struct table *table, uint64_t key)
{
        struct slot *slot = table->size ? table_slot(table, key) : NULL;

        return slot && slot->key ? slot : NULL;
}

static void table_grow(struct table *table)
{
        struct table old = *table;

        table->size = old.size ? old.size * 2 : TABLE_MIN;
        table->slots = xcalloc(table->size, sizeof(*table->slots));
        for (size_t i = 0; i < old.size; i++) {
                if (old.slots[i].key)
                        *table_slot(table, old.slots[i].key) = old.slots[i];
        }
        free(old.slots);
}

/* Return: whether it is new. */
static bool table_add(struct table *table, uint64_t key, mask_lengths lengths)
{
        struct slot *slot;
        bool new;

        if (table->n * 2 >= table->size)
                table_grow(table);
        slot = table_slot(table, key);
        new = !slot->key;
        table->n += new;
        slot->key = key;
        slot->lengths |= lengths;
        return new;
}

/* --- the set --- */

static void set_bit(uint64_t *bits, uint64_t at)
{
        bits[at >> 6] |= UINT64_C(1) << (at & 63);
}

static bool get_bit(const uint64_t *bits, uint64_t at)
{
        return bits[at >> 6] >> (at & 63) & 1;
}

struct mask_set *mask_set_new(void)
{
        struct mask_set *set = xcalloc(1, sizeof(*set));
        uint64_t random[2];

        if (getrandom(random, sizeof(random), 0) != sizeof(random))
                abort();
        set->key = random[0];
        set->factor = random[1] | 1;
        return set;
}

void mask_set_free(struct mask_set *set)
{
        if (!set)
                return;
        free(set->secrets.slots);
        free(set->begins.slots);
        free(set->pieces.slots);
        free(set->filter);
        free(set->may_begin);
        free(set);
}

/* Sixteen bits of the filter for each beginning: one byte of text in sixteen asks further. */
static void grow_filter(struct mask_set *set)
{
        int bits = set->filter_bits ? set->filter_bits : FILTER_BITS_MIN;

        while (bits < FILTER_BITS_MAX && set->begins.n * 16 > (size_t)1 << bits)
                bits++;
        if (bits == set->filter_bits)
                return;
        free(set->filter);
        set->filter = xcalloc((size_t)1 << (bits - 6), sizeof(*set->filter));
        set->filter_bits = bits;
        for (size_t i = 0; i < set->begins.size; i++) {
                if (set->begins.slots[i].key)
                        set_bit(set->filter, set->begins.slots[i].key >> (64 - bits));
        }
}

static void add_piece(struct mask_set *set, const unsigned char *bytes, size_t n)
{
        uint64_t begin = hash_begin(set, bytes);

        begin = begin ? begin : 1;
        if (!table_add(&set->pieces, hash_bytes(set, bytes, n), 0))
                return;
        table_add(&set->begins, begin, (mask_lengths)1 << (n - 1));
        set_bit(set->filter, begin >> (64 - set->filter_bits));
        grow_filter(set);
        set->first[bytes[0]] = true;
        for (size_t i = 2; i < n; i++)
                set_bit(set->may_begin, hash_bytes(set, bytes, i) >> (64 - PREFIX_BITS));
}

/* A form without line ends: whole when it is short, else piece by piece, the last one overlapping
 */
static void add_form(struct mask_set *set, const unsigned char *bytes, size_t n)
{
        if (n < MASK_LENGTH_MIN)
                return;
        if (n <= MASK_PIECE) {
                add_piece(set, bytes, n);
                return;
        }
        for (size_t at = 0; at + MASK_PIECE <= n; at += MASK_PIECE)
                add_piece(set, bytes + at, MASK_PIECE);
        add_piece(set, bytes + n - MASK_PIECE, MASK_PIECE);
}

int mask_sequence(const unsigned char *p, size_t n)
{
        size_t at = 2;

        if (*p != 0x1b)
                return 0;
        if (n < 2)
                return -1;
        if (p[1] != '[')
                return 0;
        while (at < n && at < MASK_SEQUENCE_MAX && p[at] >= 0x20 && p[at] < 0x40)
                at++;
        if (at == MASK_SEQUENCE_MAX)
                return 0;
        if (at == n)
                return -1;
        return p[at] >= 0x40 && p[at] < 0x7f ? (int)at + 1 : 0;
}

/* Streams look at text without line ends and once without terminal sequences, once with them. */
static void take_form(void *data, const char *form, size_t n)
{
        struct mask_set *set = data;
        const unsigned char *bytes = (const unsigned char *)form;
        unsigned char *plain = xmalloc(n);
        unsigned char *whole = xmalloc(n);
        size_t n_plain = 0;
        size_t n_whole = 0;

        for (size_t i = 0; i < n;) {
                int sequence = mask_sequence(bytes + i, n - i);
                size_t step = sequence > 0 ? (size_t)sequence : 1;

                for (size_t j = 0; j < step; j++) {
                        if (bytes[i + j] == '\r' || bytes[i + j] == '\n')
                                continue;
                        whole[n_whole++] = bytes[i + j];
                        if (sequence <= 0)
                                plain[n_plain++] = bytes[i + j];
                }
                i += step;
        }
        add_form(set, plain, n_plain);
        if (n_plain != n_whole)
                add_form(set, whole, n_whole);
        explicit_bzero(plain, n);
        explicit_bzero(whole, n);
        free(plain);
        free(whole);
}

/* Bytes that are looked at; 0 when there is nothing but white space. */
static size_t count_matter(const char *bytes, size_t n)
{
        size_t matter = 0;
        bool visible = false;

        for (size_t i = 0; i < n; i++) {
                matter += bytes[i] != '\r' && bytes[i] != '\n';
                visible |= !strchr(" \t\r\n", bytes[i]) || !bytes[i];
        }
        return visible ? matter : 0;
}

int mask_set_add(struct mask_set *set, const char *bytes, size_t n, struct error *err)
{
        if (n < MASK_LENGTH_MIN || count_matter(bytes, n) < MASK_LENGTH_MIN)
                return error_set(err, ERROR_INVALID,
                                 "the secret is shorter than %d characters and is not masked",
                                 MASK_LENGTH_MIN);
        if (n > MASK_SECRET_BYTES_MAX)
                return error_set(err, ERROR_LIMIT, "the secret is longer than %d KiB",
                                 MASK_SECRET_BYTES_MAX / 1024);
        if (table_find(&set->secrets, hash_bytes(set, (const unsigned char *)bytes, n)))
                return 0;
        if (set->n_secrets == MASK_SECRETS_MAX)
                return error_set(err, ERROR_LIMIT, "more than %d secrets", MASK_SECRETS_MAX);
        if (set->pieces.n + PATTERNS_OF(n) > PATTERNS_MAX)
                return error_set(err, ERROR_LIMIT, "the secrets together are too long");
        if (!set->filter) {
                grow_filter(set);
                set->may_begin = xcalloc((size_t)1 << (PREFIX_BITS - 6), sizeof(*set->may_begin));
        }
        table_add(&set->secrets, hash_bytes(set, (const unsigned char *)bytes, n), 0);
        set->n_secrets++;
        mask_variants(bytes, n, take_form, set);
        return 0;
}

bool mask_set_empty(const struct mask_set *set)
{
        return set->n_secrets == 0;
}

size_t mask_set_next(const struct mask_set *set, const unsigned char *bytes, size_t n, size_t at,
                     mask_lengths *ret)
{
        const uint64_t *filter = set->filter;
        const int shift = 64 - set->filter_bits;

        for (; at + MASK_LENGTH_MIN <= n; at++) {
                uint64_t begin = hash_begin(set, bytes + at);
                const struct slot *slot;

                if (!get_bit(filter, begin >> shift))
                        continue;
                slot = table_find(&set->begins, begin ? begin : 1);
                if (slot) {
                        *ret = slot->lengths;
                        return at;
                }
        }
        *ret = 0;
        return at;
}

bool mask_set_has(const struct mask_set *set, const unsigned char *bytes, size_t n)
{
        return table_find(&set->pieces, hash_bytes(set, bytes, n));
}

bool mask_set_may_begin(const struct mask_set *set, const unsigned char *bytes, size_t n)
{
        if (!set->first[bytes[0]])
                return false;
        return n == 1 || get_bit(set->may_begin, hash_bytes(set, bytes, n) >> (64 - PREFIX_BITS));
}
