#pragma once
/*
 * git_url - clone URLs: rewritten, checked against the protocols that are allowed, shown safely
 */
struct error;
struct str;

#define GIT_URL_BYTES_MAX 2048

/**
 * git_url_resolve() - from what the forge said to what git is given
 * @rewrite: PREFIX=REPLACEMENT, one per line, the first that fits is taken; or NULL
 * @allow: protocols, separated by ':' ("https:ssh")
 * @ret: a heap text that the caller frees
 *
 * Return: -ERROR_INVALID (not the shape of a URL: control characters, a leading '-', too long),
 * -ERROR_DENIED (its protocol is not allowed; the text says which are and how to allow it).
 */
int git_url_resolve(char **ret, const char *url, const char *rewrite, const char *allow,
                    struct error *err);

/** git_url_redact() - append text with every `://user:password@` in it shown as stars */
void git_url_redact(const char *text, struct str *ret);
