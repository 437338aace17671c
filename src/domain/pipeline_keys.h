#pragma once
/*
 * pipeline_keys - the language as one table: every key, where it may stand, what it takes
 *
 * The validator walks a file by it, `argon lint` shows what is allowed from it, and the JSON Schema
 * is printed from it. A key whose type is KEY_LATER belongs to the language but not to this
 * version. Private to pipeline_*.c.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct key_table;

enum key_type {
        KEY_LATER,   /* a finding */
        KEY_VERSION, /* MAJOR[.MINOR] */
        KEY_TEXT,    /* one line; const char * */
        KEY_SCRIPT,  /* any text; const char * */
        KEY_IMAGE,   /* const char * */
        KEY_SHELL,   /* const char * */
        KEY_FOLDER,  /* const char * */
        KEY_ID,      /* const char * */
        KEY_CHOICE,  /* one word of choices; const char * */
        KEY_CHOICES, /* one or several words of choices; unsigned, a bit for each */
        KEY_BOOL,    /* bool */
        KEY_MINUTES, /* int64_t milliseconds */
        KEY_CPUS,    /* int64_t thousandths */
        KEY_SIZE,    /* int64_t bytes */
        KEY_COUNT,   /* int64_t */
        KEY_CODES,   /* one or several exit codes; const char *, separated by commas */
        KEY_NAMES,   /* one or several names of jobs; struct text_list */
        KEY_ENV,     /* struct env_list */
        KEY_MAP,     /* inside, stored in the same struct */
        KEY_JOBS,    /* const struct yaml_node * */
        KEY_STEPS,   /* const struct yaml_node * */
};

/**
 * struct key
 * @offset: where its value goes in the struct that its table describes
 * @choices: words separated by spaces; @min, @max: for numbers
 * @fallback: what holds when it is not given, for people; or ""
 * @example: a value for messages and the schema
 */
struct key {
        const char *name;
        enum key_type type;
        bool required;
        size_t offset;
        const struct key_table *inside;
        const char *choices;
        int64_t min;
        int64_t max;
        const char *fallback;
        const char *example;
        const char *help;
};

/* Places, as bits, for words of other systems. */
enum key_place {
        PLACE_FILE = 1,
        PLACE_DEFAULTS = 2,
        PLACE_JOB = 4,
        PLACE_STEP = 8,
        PLACE_OTHER = 16
};

struct key_table {
        enum key_place place;
        size_t n;
        const struct key *keys;
};

extern const struct key_table pipeline_file_keys;
extern const struct key_table pipeline_job_keys;
extern const struct key_table pipeline_step_keys;

/* What the tables fill. */
struct text_list {
        const char **items;
        size_t n;
};

struct env_list {
        struct pipeline_env *items;
        size_t n;
};

struct yaml_node;

struct file_draft {
        const char *name;
        const char *notify;
        const char *version;
        struct env_list env;
        const char *image;
        const char *shell;
        const char *folder;
        int64_t timeout_ms;
        const struct yaml_node *jobs;
};

struct job_draft {
        const char *title;
        const char *image;
        struct text_list needs;
        struct env_list env;
        int64_t timeout_ms;
        bool continue_on_error;
        int64_t memory;
        int64_t disk;
        int64_t millicpus;
        int64_t pids;
        const char *network;
        int64_t retry_max;
        unsigned retry_when; /* bits in the order of the choices: infra, timeout, failure */
        const char *retry_codes;
        const struct yaml_node *steps;
};

struct step_draft {
        const char *id;
        const char *name;
        const char *run;
        struct env_list env;
        const char *shell;
        const char *folder;
        int64_t timeout_ms;
        bool continue_on_error;
};

/** pipeline_key() - the key of that name in the table, or NULL */
const struct key *pipeline_key(const struct key_table *table, const char *name);
/** pipeline_foreign_word() - what a word of another system is here, a sentence, or NULL */
const char *pipeline_foreign_word(enum key_place place, const char *word);
