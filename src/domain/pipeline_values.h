#pragma once
/*
 * pipeline_values - what the checks of single values (pipeline_values.c) and of lists and maps of
 * them (pipeline_lists.c) take from each other
 *
 * Each check stores at slot what is right, and adds a finding for what is not.
 */
struct check;
struct key;
struct yaml_node;

/** values_example() - "write KEY: VALUE" */
const char *values_example(struct check *check, const struct key *key);
/** values_refuse_expression() - a finding for the first ${{ in a text */
void values_refuse_expression(struct check *check, const struct yaml_node *node);
/** values_choose() - the index of a word among the key's choices, or -1 and a finding */
int values_choose(struct check *check, const struct key *key, const struct yaml_node *node);
void values_count(struct check *check, const struct key *key, const struct yaml_node *node,
                  void *slot);
void values_choices(struct check *check, const struct key *key, const struct yaml_node *node,
                    void *slot);
void values_codes(struct check *check, const struct key *key, const struct yaml_node *node,
                  void *slot);
void values_names(struct check *check, const struct key *key, const struct yaml_node *node,
                  void *slot);
void values_env(struct check *check, const struct key *key, const struct yaml_node *node,
                void *slot);
