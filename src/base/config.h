#pragma once
/*
 * config - a table of settings, filled from defaults, files, the environment and flags
 *
 * The caller gives a table of keys and a structure; each key says at which offset its value goes.
 * Sources are applied from the weakest to the strongest: config_open() puts the defaults, then come
 * config_file(), config_environment(), config_set(). Every value is parsed when it comes, also one
 * that a stronger source replaces later: a wrong value is an error that says where it stands, what
 * it is and what is allowed; it never falls back to the default.
 *
 * Files have lines `key = value`; `#` starts a comment line; a value may stand in double quotes.
 * The variable of `job.timeout` is ARGON_JOB_TIMEOUT. A secret key has a twin `key.file`
 * (ARGON_…_FILE): the value is the content of that file, without its last newline.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config;
struct error;
struct str;

#define CONFIG_FILE_BYTES_MAX (1024 * 1024)
#define CONFIG_SECRET_BYTES_MAX (64 * 1024)
#define CONFIG_KEYS_MAX 128

enum config_type {
        CONFIG_TEXT,     /* const char * */
        CONFIG_LINES,    /* const char *: one value per line; a key that comes again adds a line */
        CONFIG_WORD,     /* const char *: one of the words in `allowed` */
        CONFIG_INT,      /* int64_t within min…max */
        CONFIG_DURATION, /* int64_t milliseconds */
        CONFIG_SIZE,     /* int64_t bytes */
        CONFIG_MILLI,    /* int64_t thousandths of a decimal number ("1.5" is 1500) */
};

/**
 * struct config_key
 * @key: lower case with dots; @offset: of its member; @standard: the default as text; NULL: none
 *         (a text is NULL then, a number 0)
 * @help: one line; @allowed: for people, and for CONFIG_WORD the words, separated by '|'
 * @min, @max: bounds of the parsed number; both 0: none
 * @variable: name of its environment variable where it is not ARGON_…; NULL: derived from the key
 * @group: heading in lists and manuals
 */
struct config_key {
        const char *key;
        enum config_type type;
        size_t offset;
        const char *standard;
        const char *help;
        const char *allowed;
        int64_t min;
        int64_t max;
        bool secret;
        const char *variable;
        const char *group;
};

/** config_open() - the defaults in target; table and target are borrowed for the config's life */
int config_open(struct config **ret, const struct config_key *table, size_t n, void *target,
                struct error *err);
void config_close(struct config *config);

static inline void config_freep(struct config **config)
{
        if (*config)
                config_close(*config);
}

/**
 * config_file() - apply one file
 * @only: NULL-terminated keys that this file may set, or NULL for all
 *
 * Return: 0; -ERROR_NOT_FOUND when there is no such file; -ERROR_DENIED when it cannot be read;
 * -ERROR_INVALID with `FILE:LINE: …`.
 */
int config_file(struct config *config, const char *path, const char *const *only,
                struct error *err);
/** config_text() - the same for n bytes in memory; @name: what errors call it */
int config_text(struct config *config, const char *name, const char *bytes, size_t n,
                const char *const *only, struct error *err);
/** config_folder() - every *.conf of a folder, by name; a folder that is not there is success */
int config_folder(struct config *config, const char *path, struct error *err);
/** config_environment() - apply the variables of env (as environ(7)) */
int config_environment(struct config *config, char *const *env, struct error *err);
/** config_set() - one value; @origin: for people ("flag --data") */
int config_set(struct config *config, const char *key, const char *value, const char *origin,
               struct error *err);
/** config_unknown_variables() - append a line for each ARGON_… of env that no key has, with what
 *  was perhaps meant; @known: NULL-terminated further names that are fine */
void config_unknown_variables(const struct config *config, char *const *env,
                              const char *const *known, struct str *ret);

/* What a key has now. -1: no such key. The text of a secret is the secret: show "***" instead. */
int config_find(const struct config *config, const char *key);
const char *config_value(const struct config *config, size_t i);
/** config_origin() - "default", "FILE:LINE", "environment NAME" or what config_set() was told */
const char *config_origin(const struct config *config, size_t i);
/** config_variable() - append the name of the environment variable of a key */
void config_variable(const struct config_key *key, struct str *ret);
