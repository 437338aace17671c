#pragma once
/*
 * yaml_text - whether bytes are text that can be YAML, and what a syntax error means for people
 *
 * Private to yaml.c.
 */
#include <stdbool.h>
#include <stddef.h>

struct arena;
struct yaml_parser_s;
struct yaml_problem;

/** yaml_text_check() - size, encoding, NUL; Return: whether it is fine, else *ret says what is not
 */
bool yaml_text_check(struct arena *arena, const char *bytes, size_t n, struct yaml_problem *ret);
/** yaml_text_syntax() - the problem at which the parser has stopped */
void yaml_text_syntax(struct arena *arena, const char *bytes, size_t n,
                      const struct yaml_parser_s *parser, struct yaml_problem *ret);
