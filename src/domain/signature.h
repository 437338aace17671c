#pragma once
/*
 * signature - GitHub's X-Hub-Signature-256: HMAC-SHA256 over the raw body, streamed
 */
#include <stdbool.h>
#include <stddef.h>

struct error;
struct signature;

#define SIGNATURE_SECRETS_MAX 8

/**
 * signature_new() - for one request
 * @secrets: one per line (blank lines ignored); every one is accepted (rotation)
 */
int signature_new(struct signature **ret, const char *secrets, struct error *err);
void signature_free(struct signature *signature);
void signature_add(struct signature *signature, const void *bytes, size_t n);
/**
 * signature_check() - whether the header is right for what was added; ends the computation
 * @header: exactly "sha256=" and 64 lower-case hex digits, else false
 *
 * Compares all secrets in constant time. ret_sha256: plain SHA-256 of the body, 64 hex digits.
 */
bool signature_check(struct signature *signature, const char *header, char ret_sha256[65]);
