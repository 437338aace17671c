#pragma once
/*
 * yaml - a small, strict YAML document: nodes that know where they stand
 *
 * One document of text, lists and maps, with anchors and aliases. Scalars keep their source text
 * (`3.10` is not 3.1, `on` is not true); what type a value has is decided where it is used. Tags,
 * directives, merge keys, several documents and keys that are not text are refused.
 *
 * Every bound has a name below. Nodes and bytes are counted as if each alias were written out, so
 * whatever walks the tree does a bounded amount of work too. Aliases share what they stand for: the
 * tree may not be changed.
 *
 * A document owns everything it hands out, through its arena. (Its functions are called yaml_doc_…
 * because libyaml exports a yaml_free() of its own, which ours would replace.)
 */
#include <stdbool.h>
#include <stddef.h>

struct arena;

#define YAML_BYTES_MAX (256 * 1024)
#define YAML_DEPTH_MAX 64
#define YAML_NODES_MAX 20000
#define YAML_TEXT_MAX (512 * 1024)
#define YAML_PROBLEMS_MAX 20
#define YAML_SHOWN_MAX 64

enum yaml_kind { YAML_TEXT, YAML_LIST, YAML_MAP };
enum yaml_style { YAML_PLAIN, YAML_QUOTED, YAML_BLOCK };

/**
 * struct yaml_place - @line, @column: from 1, columns in characters; @width: characters up to the
 * end of the thing or of its first line, at least 1
 */
struct yaml_place {
        int line;
        int column;
        int width;
};

struct yaml_pair;

/**
 * struct yaml_node
 * @text: of a YAML_TEXT, n bytes, NUL-terminated, holds no NUL
 * @items: of a YAML_LIST; @pairs: of a YAML_MAP, in the order of the file, keys unique; n of them
 * @place: an alias stands where it is used, its children where they were written
 * @height: levels below, 0 for text; @nodes, @bytes: of all below and itself, aliases written out
 */
struct yaml_node {
        enum yaml_kind kind;
        enum yaml_style style;
        struct yaml_place place;
        int last_line;
        size_t n;
        union {
                const char *text;
                const struct yaml_node **items;
                const struct yaml_pair *pairs;
        };
        int height;
        size_t nodes;
        size_t bytes;
};

struct yaml_pair {
        const struct yaml_node *key;
        const struct yaml_node *value;
};

/** struct yaml_problem - @rule: a short fixed name; @message: one sentence; @hint: or "" */
struct yaml_problem {
        struct yaml_place place;
        const char *rule;
        const char *message;
        const char *hint;
};

/**
 * struct yaml - a document
 * @root: NULL when there is none: an empty file, or one that could not be read to its end
 * @problems: in the order found; what was refused (a second key, a merge key) is not in the tree.
 *         After YAML_PROBLEMS_MAX of them the file is read no further
 */
struct yaml {
        struct arena *arena;
        const struct yaml_node *root;
        struct yaml_problem problems[YAML_PROBLEMS_MAX];
        size_t n_problems;
};

/** yaml_doc_parse() - read n bytes; cannot fail: what is wrong stands in problems */
struct yaml *yaml_doc_parse(const char *bytes, size_t n);
void yaml_doc_free(struct yaml *yaml);

static inline void yaml_doc_freep(struct yaml **yaml)
{
        if (*yaml)
                yaml_doc_free(*yaml);
}

/** yaml_shown() - a text for a message: one line, at most YAML_SHOWN_MAX bytes, valid UTF-8 */
const char *yaml_shown(struct arena *arena, const char *text);
/** yaml_get() - the value of a key, or NULL (also when the node is no map) */
const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);
/** yaml_is_null() - plain `~`, `null` or nothing at all */
bool yaml_is_null(const struct yaml_node *node);
