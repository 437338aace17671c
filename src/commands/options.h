#pragma once
/*
 * options - a command's options from argv: GNU long and short forms, `--` ends them
 */
#include <stdbool.h>
#include <stddef.h>

struct command_option;
struct error;

#define OPTIONS_MAX 64        /* options of one command */
#define OPTION_VALUES_MAX 256 /* options given in one command line */

struct option_value {
        const struct command_option *option;
        const char *value;
};

/** struct option_values - in the order given; borrow from argv and the tables */
struct option_values {
        struct option_value items[OPTION_VALUES_MAX];
        size_t n;
};

/**
 * options_parse() - take the options out of argv
 * @tables: NULL-terminated list of tables, the first one wins
 * @first: stop at the first argument that is no option
 * @argv: argv[0] is passed over; permuted so that the arguments stand last
 * @ret_arguments: index of the first argument
 *
 * Return: 0, or -ERROR_INVALID with what is wrong, and what was perhaps meant.
 */
int options_parse(struct option_values *values, const struct command_option *const *tables,
                  bool first, int argc, char **argv, int *ret_arguments, struct error *err);

/** options_last() - the value given last, or NULL */
const char *options_last(const struct option_values *values, const char *name);
