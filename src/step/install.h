#pragma once
/*
 * install - argon-step, which the argon binary carries inside, as a file that containers can be
 * given
 */
#include <stddef.h>

struct error;

/**
 * step_install() - have argon-step in the data folder
 * @ret_path: DATA/step/HASH/argon-step, absolute when data is; the caller frees
 *
 * The file appears whole or not at all. One that is there already is compared and, when it is not
 * what it should be, replaced. Versions side by side do not disturb each other: a sandbox that runs
 * keeps the file of its own hash.
 */
int step_install(char **ret_path, const char *data, struct error *err);
/** step_image() - the bytes themselves, for an engine that carries them elsewhere */
const void *step_image(size_t *ret_n);
/** step_image_hash() - SHA-256 of them, hex */
const char *step_image_hash(void);
