#pragma once
/*
 * mask - secrets become *** before a byte leaves the executor
 *
 * A streaming matcher: bytes go in as they come, cut anywhere; out come the same bytes with every
 * secret, and every common encoding of it, replaced by "***". What is matched:
 * the value, each line of at least MASK_LENGTH_MIN bytes of a value with several lines, base64 in
 * its three alignments (standard and URL alphabet), hex in both cases, percent-encoding, JSON and
 * shell escapes. ANSI colour sequences inside a secret do not hide it. Bytes that may still become
 * a secret are held back until it is decided; mask_flush() decides.
 *
 * struct mask_set is the secrets, may grow while streams use it (::add-mask::) and belongs to one
 * thread, like the streams made from it.
 */
#include <stdbool.h>
#include <stddef.h>

struct error;
struct mask_set;
struct mask_stream;
struct str;

#define MASK_LENGTH_MIN 6
#define MASK_SECRET_BYTES_MAX (48 * 1024)
#define MASK_SECRETS_MAX 1000

struct mask_set *mask_set_new(void);
void mask_set_free(struct mask_set *set);
/**
 * mask_set_add() - one more secret, for what comes from now on
 *
 * Return: 0; -ERROR_INVALID when it is shorter than MASK_LENGTH_MIN (it is not masked: it would
 * hide half the log); -ERROR_LIMIT.
 */
int mask_set_add(struct mask_set *set, const char *bytes, size_t n, struct error *err);

struct mask_stream *mask_stream_new(struct mask_set *set);
void mask_stream_free(struct mask_stream *stream);
/** mask_stream_feed() - append to ret what is decided after these n bytes */
void mask_stream_feed(struct mask_stream *stream, const void *bytes, size_t n, struct str *ret);
/** mask_stream_flush() - nothing more follows (end of a step): append what was held back */
void mask_stream_flush(struct mask_stream *stream, struct str *ret);
/** mask_stream_held() - how many bytes of the input are held back */
size_t mask_stream_held(const struct mask_stream *stream);
/** mask_stream_kept() - how many bytes of the input, up to its end, the stream still looks at; what
 *  is held back is the end of them */
size_t mask_stream_kept(const struct mask_stream *stream);
/**
 * mask_stream_save(), mask_stream_load() - go on in another process
 *
 * What is saved holds no byte of the input. The new stream is fed from mask_stream_kept() bytes
 * before the end of the old one's input, and puts out what the old one would have. load is for a
 * fresh stream; Return: false for garbage.
 */
void mask_stream_save(const struct mask_stream *stream, struct str *ret);
bool mask_stream_load(struct mask_stream *stream, const char *saved, size_t n);
/** mask_text() - a whole text at once (reasons, names of steps), appended to ret */
void mask_text(struct mask_set *set, const char *text, size_t n, struct str *ret);
