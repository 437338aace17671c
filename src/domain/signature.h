#pragma once
/*
 * signature - GitHub's X-Hub-Signature-256: HMAC-SHA256 over the raw body, streamed
 *
 * The keys are prepared once and may be shared by threads; a signature belongs to one request. Any
 * of the secrets may have signed (rotation); every one of them is always compared, in constant
 * time.
 */
#include <stdbool.h>
#include <stddef.h>

struct error;
struct signature;
struct signature_keys;

#define SIGNATURE_SECRETS_MAX 8

/**
 * signature_keys_new() - read the secrets
 * @secrets: one per line; blank lines and a CR at the end of a line do not count
 *
 * Return: 0, -ERROR_INVALID when there is none, -ERROR_LIMIT over SIGNATURE_SECRETS_MAX. No secret
 * stands in the error's text.
 */
int signature_keys_new(struct signature_keys **ret, const char *secrets, struct error *err);
/** signature_keys_of_bytes() - one secret that may hold any byte, line breaks too */
struct signature_keys *signature_keys_of_bytes(const void *secret, size_t n);
void signature_keys_free(struct signature_keys *keys);
static inline void signature_keys_freep(struct signature_keys **keys)
{
        if (*keys)
                signature_keys_free(*keys);
}

/** signature_new() - for one body; the keys are borrowed and must outlive it */
struct signature *signature_new(const struct signature_keys *keys);
void signature_free(struct signature *signature);
static inline void signature_freep(struct signature **signature)
{
        if (*signature)
                signature_free(*signature);
}

void signature_add(struct signature *signature, const void *bytes, size_t n);
/**
 * signature_check() - whether the header is right for what was added; once, it ends the computation
 * @header: see signature_header_valid(); NULL is never right
 * @ret_sha256: plain SHA-256 of the body, 64 hex digits; always set
 */
bool signature_check(struct signature *signature, const char *header, char ret_sha256[65]);

/** signature_header_valid() - exactly "sha256=" and 64 lower-case hex digits; says nothing about
 * who signed, so it may be asked before the body is there */
bool signature_header_valid(const char *header);

/** signature_make() - the header for a body, for clients and tests; signs with the first secret */
void signature_make(const struct signature_keys *keys, const void *body, size_t n,
                    char ret_header[72]);
