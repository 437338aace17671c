/*
 * A MAC context per secret is set up once; a request copies it, which costs a fraction of fetching
 * the algorithm and hashing the key again. libcrypto without memory is treated like malloc()
 * without memory: abort.
 */
#include "domain/signature.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"

#include "base/banned.h"

#define MAC_BYTES 32
#define PREFIX "sha256="
#define PREFIX_LEN (sizeof(PREFIX) - 1)

struct signature_keys {
        EVP_MAC *mac;
        EVP_MD *sha256;
        EVP_MAC_CTX *ready[SIGNATURE_SECRETS_MAX];
        size_t n;
};

struct signature {
        EVP_MAC_CTX *macs[SIGNATURE_SECRETS_MAX];
        size_t n;
        EVP_MD_CTX *sha256;
};

static void *need(void *thing)
{
        if (!thing)
                abort();
        return thing;
}

static void need_ok(int result)
{
        if (result != 1)
                abort();
}

static void add_key(struct signature_keys *keys, const void *secret, size_t n)
{
        char digest[] = "SHA256";
        const OSSL_PARAM params[] = {
                OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                OSSL_PARAM_construct_end(),
        };
        EVP_MAC_CTX *ctx = need(EVP_MAC_CTX_new(keys->mac));

        need_ok(EVP_MAC_init(ctx, secret, n, params));
        keys->ready[keys->n++] = ctx;
}

static struct signature_keys *keys_new(void)
{
        struct signature_keys *keys = xcalloc(1, sizeof(*keys));

        keys->mac = need(EVP_MAC_fetch(NULL, "HMAC", NULL));
        keys->sha256 = need(EVP_MD_fetch(NULL, "SHA256", NULL));
        return keys;
}

int signature_keys_new(struct signature_keys **ret, const char *secrets, struct error *err)
{
        scoped(signature_keys) struct signature_keys *keys = keys_new();
        const char *line = secrets;

        while (*line) {
                size_t whole = strcspn(line, "\n");
                size_t n = whole && line[whole - 1] == '\r' ? whole - 1 : whole;

                if (n && keys->n == SIGNATURE_SECRETS_MAX)
                        return error_set(err, ERROR_LIMIT,
                                         "more than %d webhook secrets; keep the new one and the "
                                         "old one while you change it at the forge",
                                         SIGNATURE_SECRETS_MAX);
                if (n)
                        add_key(keys, line, n);
                line += whole + (line[whole] == '\n');
        }
        if (!keys->n)
                return error_set(err, ERROR_INVALID,
                                 "there is no webhook secret; set ARGON_WEBHOOK_SECRET or "
                                 "ARGON_WEBHOOK_SECRET_FILE to what the forge signs with");
        *ret = take(keys);
        return 0;
}

struct signature_keys *signature_keys_of_bytes(const void *secret, size_t n)
{
        struct signature_keys *keys = keys_new();

        add_key(keys, secret, n);
        return keys;
}

void signature_keys_free(struct signature_keys *keys)
{
        for (size_t i = 0; i < keys->n; i++)
                EVP_MAC_CTX_free(keys->ready[i]);
        EVP_MD_free(keys->sha256);
        EVP_MAC_free(keys->mac);
        free(keys);
}

struct signature *signature_new(const struct signature_keys *keys)
{
        struct signature *signature = xcalloc(1, sizeof(*signature));

        for (size_t i = 0; i < keys->n; i++)
                signature->macs[i] = need(EVP_MAC_CTX_dup(keys->ready[i]));
        signature->n = keys->n;
        signature->sha256 = need(EVP_MD_CTX_new());
        need_ok(EVP_DigestInit_ex2(signature->sha256, keys->sha256, NULL));
        return signature;
}

void signature_free(struct signature *signature)
{
        for (size_t i = 0; i < signature->n; i++)
                EVP_MAC_CTX_free(signature->macs[i]);
        EVP_MD_CTX_free(signature->sha256);
        free(signature);
}

void signature_add(struct signature *signature, const void *bytes, size_t n)
{
        for (size_t i = 0; i < signature->n; i++)
                need_ok(EVP_MAC_update(signature->macs[i], bytes, n));
        need_ok(EVP_DigestUpdate(signature->sha256, bytes, n));
}

static void to_hex(char *text, const unsigned char *bytes, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                text[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
                text[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
        }
        text[2 * n] = '\0';
}

static void finish_mac(EVP_MAC_CTX *mac, unsigned char ret[MAC_BYTES])
{
        size_t n = 0;

        need_ok(EVP_MAC_final(mac, ret, &n, MAC_BYTES));
}

bool signature_header_valid(const char *header)
{
        return header && text_starts(header, PREFIX) &&
               strspn(header + PREFIX_LEN, "0123456789abcdef") == 2 * MAC_BYTES &&
               header[PREFIX_LEN + 2 * MAC_BYTES] == '\0';
}

bool signature_check(struct signature *signature, const char *header, char ret_sha256[65])
{
        unsigned char bytes[MAC_BYTES];
        char hex[2 * MAC_BYTES + 1];
        bool valid = signature_header_valid(header);
        int right = 0;

        need_ok(EVP_DigestFinal_ex(signature->sha256, bytes, NULL));
        to_hex(ret_sha256, bytes, MAC_BYTES);
        for (size_t i = 0; i < signature->n; i++) {
                finish_mac(signature->macs[i], bytes);
                to_hex(hex, bytes, MAC_BYTES);
                if (valid)
                        right |= CRYPTO_memcmp(hex, header + PREFIX_LEN, 2 * MAC_BYTES) == 0;
        }
        OPENSSL_cleanse(bytes, sizeof(bytes));
        OPENSSL_cleanse(hex, sizeof(hex));
        return right;
}

void signature_make(const struct signature_keys *keys, const void *body, size_t n,
                    char ret_header[72])
{
        EVP_MAC_CTX *mac = need(EVP_MAC_CTX_dup(keys->ready[0]));
        unsigned char bytes[MAC_BYTES];

        need_ok(EVP_MAC_update(mac, body, n));
        finish_mac(mac, bytes);
        EVP_MAC_CTX_free(mac);
        memcpy(ret_header, PREFIX, PREFIX_LEN);
        to_hex(ret_header + PREFIX_LEN, bytes, MAC_BYTES);
}
