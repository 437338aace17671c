#pragma once
/*
 * manual - what the table of commands says about itself: --help, `argon help`, man pages
 */
#include <stddef.h>
#include <stdbool.h>
#include <stdio.h>

struct command;
struct str;

/** manual_help() - of one command */
void manual_help(FILE *stream, const struct command *command, bool colour);
/** manual_overview() - all commands by group */
void manual_overview(FILE *stream, const struct command *const *commands, size_t n);

/** struct manual_topic - what `argon help TOPIC` tells besides commands
 *  @text: paragraphs as they are shown; NULL: made from a table by `add` */
struct manual_topic {
        const char *name;
        const char *summary;
        const char *text;
        void (*add)(struct str *ret);
};
const struct manual_topic *manual_topics(size_t *ret_n);
/** manual_topic_text() - append a topic */
void manual_topic_text(const struct manual_topic *topic, struct str *ret);
