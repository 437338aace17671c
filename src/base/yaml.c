/*
 * libyaml's events, composed here and not by yaml_parser_load(), which takes quadratic time on
 * "[[[[" and knows no limits. The composer keeps a stack of open lists and maps as linked lists and
 * turns each into an array when it closes. It counts while it reads: an alias adds the whole size
 * of what it stands for, so a bomb ends at the alias that would break the limit, not after it grew.
 *
 * Anchors lie in a hash table and duplicate keys are found by sorting each map once, so that no
 * input of the allowed size costs more than n log n.
 */
#include "base/yaml.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/arena.h"
#include "base/str.h"
#include "base/yaml_text.h"

#include "base/banned.h"

#define ANCHOR_SLOTS_MIN 64

/* A child of an open list or map; keys and values of a map take turns. */
struct link {
        struct link *next;
        const struct yaml_node *node;
};

struct level {
        struct level *outer;
        struct yaml_node *node;
        struct link *first;
        struct link *last;
        size_t n;
        size_t anchor; /* slot + 1 of the anchor that opens with it, 0: none */
};

/* @node is NULL while what the anchor names is still open. */
struct anchor {
        const char *name;
        const struct yaml_node *node;
};

struct composer {
        struct yaml *yaml;
        const char *bytes;
        size_t size;
        yaml_parser_t parser;
        struct level *level;
        int depth;
        size_t nodes;
        size_t text;
        struct anchor *anchors;
        size_t anchor_slots; /* a power of two */
        size_t n_anchors;
        bool stopped;
};

static void problem(struct composer *c, struct yaml_place place, const char *rule,
                    const char *message, const char *hint)
{
        struct yaml *yaml = c->yaml;

        if (yaml->n_problems < YAML_PROBLEMS_MAX)
                yaml->problems[yaml->n_problems++] =
                        (struct yaml_problem){place, rule, message, hint};
        if (yaml->n_problems == YAML_PROBLEMS_MAX)
                c->stopped = true;
}

/* A problem after which reading on makes no sense. */
static void stop(struct composer *c, struct yaml_place place, const char *rule, const char *message,
                 const char *hint)
{
        problem(c, place, rule, message, hint);
        c->stopped = true;
}

static struct yaml_place place_of(yaml_mark_t start, yaml_mark_t end)
{
        struct yaml_place place = {(int)start.line + 1, (int)start.column + 1, 1};

        if (end.line == start.line && end.column > start.column)
                place.width = (int)(end.column - start.column);
        return place;
}

/* --- anchors --- */

static uint64_t hash_text(const char *text)
{
        uint64_t hash = UINT64_C(0xcbf29ce484222325);

        for (; *text; text++)
                hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
        return hash ^ hash >> 32;
}

/* The slot that holds the name, or the free one where it belongs. */
static size_t anchor_slot(const struct composer *c, const char *name)
{
        size_t slot = hash_text(name) & (c->anchor_slots - 1);

        while (c->anchors[slot].name && strcmp(c->anchors[slot].name, name) != 0)
                slot = (slot + 1) & (c->anchor_slots - 1);
        return slot;
}

static void anchors_grow(struct composer *c)
{
        struct anchor *old = c->anchors;
        size_t n = c->anchor_slots;

        c->anchor_slots = n ? n * 2 : ANCHOR_SLOTS_MIN;
        c->anchors = xcalloc(c->anchor_slots, sizeof(*c->anchors));
        for (size_t i = 0; i < n; i++) {
                if (old[i].name)
                        c->anchors[anchor_slot(c, old[i].name)] = old[i];
        }
        for (struct level *level = c->level; level; level = level->outer) {
                if (level->anchor)
                        level->anchor = anchor_slot(c, old[level->anchor - 1].name) + 1;
        }
        free(old);
}

/* Give the name to a node (NULL: one that is still open); a later anchor of a name replaces it. */
static size_t anchor_set(struct composer *c, const char *name, const struct yaml_node *node)
{
        size_t slot;

        if (c->n_anchors * 2 >= c->anchor_slots)
                anchors_grow(c);
        slot = anchor_slot(c, name);
        if (!c->anchors[slot].name) {
                c->anchors[slot].name = arena_copy(c->yaml->arena, name);
                c->n_anchors++;
        }
        c->anchors[slot].node = node;
        return slot;
}

/* --- nodes --- */

static struct yaml_node *node_new(struct composer *c, enum yaml_kind kind,
                                  const yaml_event_t *event)
{
        struct yaml_node *node = arena_alloc(c->yaml->arena, sizeof(*node));

        node->kind = kind;
        node->place = place_of(event->start_mark, event->end_mark);
        node->last_line = (int)event->end_mark.line + 1;
        node->nodes = 1;
        return node;
}

/* Count what comes in now, aliases with all they stand for. */
static bool fits(struct composer *c, struct yaml_place place, size_t nodes, size_t bytes,
                 int height)
{
        struct arena *arena = c->yaml->arena;

        c->nodes += nodes;
        c->text += bytes;
        if (c->depth + height > YAML_DEPTH_MAX)
                stop(c, place, "too-deep",
                     arena_format(arena, "lists and maps are nested more than %d deep",
                                  YAML_DEPTH_MAX),
                     "");
        else if (c->nodes > YAML_NODES_MAX)
                stop(c, place, "too-many-nodes",
                     arena_format(arena, "the file has more than %d values, aliases written out",
                                  YAML_NODES_MAX),
                     "");
        else if (c->text > YAML_TEXT_MAX)
                stop(c, place, "too-much-text",
                     arena_format(arena,
                                  "the file has more than %d KiB of text, aliases written out",
                                  YAML_TEXT_MAX / 1024),
                     "");
        return !c->stopped;
}

static void attach(struct composer *c, const struct yaml_node *node)
{
        struct level *level = c->level;
        struct link *link;

        if (!level) {
                c->yaml->root = node;
                return;
        }
        if (level->node->kind == YAML_MAP && level->n % 2 == 0 && node->kind != YAML_TEXT) {
                stop(c, node->place, "bad-key", "a key must be a single text",
                     "put text before the colon; a value that begins with { or [ needs quotes");
                return;
        }
        link = arena_alloc(c->yaml->arena, sizeof(*link));
        link->node = node;
        if (level->last)
                level->last->next = link;
        else
                level->first = link;
        level->last = link;
        level->n++;
        level->node->nodes += node->nodes;
        level->node->bytes += node->bytes;
        if (level->node->height < node->height + 1)
                level->node->height = node->height + 1;
}

static void refuse_tag(struct composer *c, const struct yaml_node *node, const yaml_char_t *tag)
{
        if (tag)
                problem(c, node->place, "tag",
                        arena_format(c->yaml->arena, "tags are not supported (%s)",
                                     yaml_shown(c->yaml->arena, (const char *)tag)),
                        "leave it out: the place of a value decides its type");
}

static void on_scalar(struct composer *c, const yaml_event_t *event)
{
        struct yaml_node *node = node_new(c, YAML_TEXT, event);
        yaml_scalar_style_t style = event->data.scalar.style;

        node->n = node->bytes = event->data.scalar.length;
        node->text = arena_copy_n(c->yaml->arena, (const char *)event->data.scalar.value, node->n);
        if (style == YAML_SINGLE_QUOTED_SCALAR_STYLE || style == YAML_DOUBLE_QUOTED_SCALAR_STYLE)
                node->style = YAML_QUOTED;
        else if (style == YAML_LITERAL_SCALAR_STYLE || style == YAML_FOLDED_SCALAR_STYLE)
                node->style = YAML_BLOCK;
        if (memchr(node->text, '\0', node->n)) {
                stop(c, node->place, "nul", "a NUL character (\\0) cannot stand in text", "");
                return;
        }
        refuse_tag(c, node, event->data.scalar.tag);
        if (!fits(c, node->place, 1, node->bytes, 0))
                return;
        if (event->data.scalar.anchor)
                anchor_set(c, (const char *)event->data.scalar.anchor, node);
        attach(c, node);
}

static void on_open(struct composer *c, const yaml_event_t *event, enum yaml_kind kind,
                    const yaml_char_t *anchor, const yaml_char_t *tag)
{
        struct level *level = arena_alloc(c->yaml->arena, sizeof(*level));

        level->node = node_new(c, kind, event);
        level->outer = c->level;
        refuse_tag(c, level->node, tag);
        c->depth++;
        if (!fits(c, level->node->place, 1, 0, 0))
                return;
        if (anchor)
                level->anchor = anchor_set(c, (const char *)anchor, NULL) + 1;
        c->level = level;
}

static int by_key(const void *a, const void *b)
{
        const struct yaml_pair *const *left = a;
        const struct yaml_pair *const *right = b;
        int order = strcmp((*left)->key->text, (*right)->key->text);

        if (order)
                return order;
        return *left < *right ? -1 : 1;
}

/* Say which keys stand twice, and mark the later ones by key = NULL. */
static void find_duplicates(struct composer *c, struct yaml_pair *pairs, size_t n)
{
        struct yaml_pair **sorted;
        size_t first = 0;

        if (n < 2)
                return;
        sorted = xcalloc(n, sizeof(struct yaml_pair *));
        for (size_t i = 0; i < n; i++)
                sorted[i] = &pairs[i];
        qsort(sorted, n, sizeof(struct yaml_pair *), by_key);
        for (size_t i = 1; i < n && !c->stopped; i++) {
                if (strcmp(sorted[first]->key->text, sorted[i]->key->text) != 0) {
                        first = i;
                        continue;
                }
                problem(c, sorted[i]->key->place, "duplicate-key",
                        arena_format(c->yaml->arena, "key \"%s\" stands here twice",
                                     yaml_shown(c->yaml->arena, sorted[i]->key->text)),
                        arena_format(c->yaml->arena, "the first is at line %d; keep one of them",
                                     sorted[first]->key->place.line));
                sorted[i]->key = sorted[first]->key;
                sorted[i]->value = NULL;
        }
        free(sorted);
}

static bool is_merge_key(const struct yaml_node *key)
{
        return key->style == YAML_PLAIN && strcmp(key->text, "<<") == 0;
}

static void close_map(struct composer *c, struct level *level)
{
        size_t n = level->n / 2;
        struct yaml_pair *pairs = arena_alloc(c->yaml->arena, (n + 1) * sizeof(*pairs));
        const struct link *link = level->first;
        size_t kept = 0;

        for (size_t i = 0; i < n; i++) {
                pairs[i] = (struct yaml_pair){link->node, link->next->node};
                link = link->next->next;
        }
        find_duplicates(c, pairs, n);
        for (size_t i = 0; i < n; i++) {
                if (!pairs[i].value)
                        continue;
                if (is_merge_key(pairs[i].key)) {
                        problem(c, pairs[i].key->place, "merge-key",
                                "merge keys (<<) are not supported",
                                "write the keys out, or let an alias be the whole value");
                        continue;
                }
                pairs[kept++] = pairs[i];
        }
        level->node->pairs = pairs;
        level->node->n = kept;
}

static void on_close(struct composer *c)
{
        struct level *level = c->level;
        struct yaml_node *node = level->node;

        if (node->kind == YAML_MAP) {
                close_map(c, level);
        } else {
                const struct yaml_node **items =
                        arena_alloc(c->yaml->arena, (level->n + 1) * sizeof(*items));
                const struct link *link = level->first;

                for (size_t i = 0; i < level->n; i++, link = link->next)
                        items[i] = link->node;
                node->items = items;
                node->n = level->n;
        }
        if (level->anchor)
                c->anchors[level->anchor - 1].node = node;
        c->level = level->outer;
        c->depth--;
        attach(c, node);
}

static void on_alias(struct composer *c, const yaml_event_t *event)
{
        struct arena *arena = c->yaml->arena;
        const char *name = (const char *)event->data.alias.anchor;
        const char *shown = yaml_shown(arena, name);
        struct yaml_place place = place_of(event->start_mark, event->end_mark);
        const struct anchor *anchor =
                c->anchor_slots ? &c->anchors[anchor_slot(c, name)] : &(struct anchor){0};
        struct yaml_node *node;

        if (!anchor->name) {
                stop(c, place, "unknown-anchor",
                     arena_format(arena, "alias *%s stands for no anchor", shown),
                     arena_format(arena,
                                  "write &%s before the value it stands for, or quote "
                                  "the text",
                                  shown));
                return;
        }
        if (!anchor->node) {
                stop(c, place, "alias-cycle",
                     arena_format(arena, "alias *%s stands inside the value that it names", shown),
                     "");
                return;
        }
        if (!fits(c, place, anchor->node->nodes, anchor->node->bytes, anchor->node->height))
                return;
        node = arena_alloc(arena, sizeof(*node));
        *node = *anchor->node;
        node->place = place;
        node->last_line = place.line;
        attach(c, node);
}

static void on_document(struct composer *c, const yaml_event_t *event)
{
        struct yaml_place place = place_of(event->start_mark, event->end_mark);

        if (c->yaml->root || c->nodes)
                stop(c, place, "several-documents", "the file holds more than one YAML document",
                     "take out everything from this --- on");
}

static void on_event(struct composer *c, const yaml_event_t *event)
{
        switch (event->type) {
        case YAML_DOCUMENT_START_EVENT:
                on_document(c, event);
                break;
        case YAML_SCALAR_EVENT:
                on_scalar(c, event);
                break;
        case YAML_SEQUENCE_START_EVENT:
                on_open(c, event, YAML_LIST, event->data.sequence_start.anchor,
                        event->data.sequence_start.tag);
                break;
        case YAML_MAPPING_START_EVENT:
                on_open(c, event, YAML_MAP, event->data.mapping_start.anchor,
                        event->data.mapping_start.tag);
                break;
        case YAML_SEQUENCE_END_EVENT:
        case YAML_MAPPING_END_EVENT:
                on_close(c);
                break;
        case YAML_ALIAS_EVENT:
                on_alias(c, event);
                break;
        case YAML_STREAM_END_EVENT:
                c->stopped = true;
                break;
        default:
                break;
        }
}

static void compose(struct composer *c)
{
        if (!yaml_parser_initialize(&c->parser))
                abort();
        yaml_parser_set_encoding(&c->parser, YAML_UTF8_ENCODING);
        yaml_parser_set_input_string(&c->parser, (const unsigned char *)c->bytes, c->size);
        while (!c->stopped) {
                yaml_event_t event;

                if (!yaml_parser_parse(&c->parser, &event)) {
                        struct yaml_problem found;

                        yaml_text_syntax(c->yaml->arena, c->bytes, c->size, &c->parser, &found);
                        stop(c, found.place, found.rule, found.message, found.hint);
                        break;
                }
                on_event(c, &event);
                yaml_event_delete(&event);
        }
        yaml_parser_delete(&c->parser);
}

struct yaml *yaml_doc_parse(const char *bytes, size_t n)
{
        struct arena *arena = arena_new();
        struct composer c = {.bytes = bytes, .size = n};
        struct yaml_problem found;

        c.yaml = arena_alloc(arena, sizeof(*c.yaml));
        c.yaml->arena = arena;
        if (yaml_text_check(arena, bytes, n, &found))
                compose(&c);
        else
                stop(&c, found.place, found.rule, found.message, found.hint);
        free(c.anchors);
        return c.yaml;
}

void yaml_doc_free(struct yaml *yaml)
{
        if (yaml)
                arena_free(yaml->arena);
}

const char *yaml_shown(struct arena *arena, const char *text)
{
        size_t n = strnlen(text, YAML_SHOWN_MAX);
        bool cut = n == YAML_SHOWN_MAX && text[n];
        char *copy;

        while (cut && n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
                n--;
        copy = arena_alloc(arena, n + sizeof("…"));
        for (size_t i = 0; i < n; i++)
                copy[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? ' ' : text[i];
        if (cut)
                memcpy(copy + n, "…", sizeof("…"));
        return copy;
}

const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
        if (!map || map->kind != YAML_MAP)
                return NULL;
        for (size_t i = 0; i < map->n; i++) {
                if (strcmp(map->pairs[i].key->text, key) == 0)
                        return map->pairs[i].value;
        }
        return NULL;
}

bool yaml_is_null(const struct yaml_node *node)
{
        if (node->kind != YAML_TEXT || node->style != YAML_PLAIN)
                return false;
        return !*node->text || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0 ||
               strcmp(node->text, "Null") == 0 || strcmp(node->text, "NULL") == 0;
}
