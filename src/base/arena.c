#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

#include "base/banned.h"

#define BLOCK_BYTES 4096

struct block {
        struct block *next;
        size_t used;
        size_t size;
        _Alignas(max_align_t) char bytes[];
};

struct arena {
        struct block *blocks;
};

struct arena *arena_new(void)
{
        return xcalloc(1, sizeof(struct arena));
}

void arena_free(struct arena *arena)
{
        struct block *block = arena ? arena->blocks : NULL;

        while (block) {
                struct block *next = block->next;

                free(block);
                block = next;
        }
        free(arena);
}

void *arena_alloc(struct arena *arena, size_t size)
{
        size_t need = (size + sizeof(max_align_t) - 1) & ~(sizeof(max_align_t) - 1);
        struct block *block = arena->blocks;
        void *memory;

        if (need < size)
                abort();
        if (!block || block->size - block->used < need) {
                size_t room = need > BLOCK_BYTES ? need : BLOCK_BYTES;

                block = xmalloc(sizeof(*block) + room);
                block->next = arena->blocks;
                block->used = 0;
                block->size = room;
                arena->blocks = block;
        }
        memory = block->bytes + block->used;
        block->used += need;
        return memset(memory, 0, size);
}

char *arena_copy_n(struct arena *arena, const char *text, size_t n)
{
        char *copy = arena_alloc(arena, n + 1);

        memcpy(copy, text, n);
        return copy;
}

char *arena_copy(struct arena *arena, const char *text)
{
        return text ? arena_copy_n(arena, text, strlen(text)) : NULL;
}

char *arena_format(struct arena *arena, const char *format, ...)
{
        struct str str = STR_INIT;
        va_list args;
        char *copy;

        va_start(args, format);
        str_vprintf(&str, format, args);
        va_end(args);
        copy = arena_copy_n(arena, str.data, str.len);
        str_done(&str);
        return copy;
}
