/*
 * What the pages and lists of a store hold is freed the same way for every adapter.
 */
#include <stdlib.h>

#include "base/arena.h"
#include "domain/build.h"
#include "ports/store.h"

#include "base/banned.h"

void build_page_done(struct build_page *page)
{
        for (size_t i = 0; i < page->n; i++)
                build_free(page->builds[i]);
        free(page->builds);
        *page = (struct build_page){0};
}

void delivery_page_done(struct delivery_page *page)
{
        arena_free(page->arena);
        *page = (struct delivery_page){0};
}

void executor_list_done(struct executor_list *list)
{
        arena_free(list->arena);
        *list = (struct executor_list){0};
}

void log_window_done(struct log_window *window)
{
        arena_free(window->arena);
        *window = (struct log_window){0};
}

void log_page_done(struct log_page *page)
{
        arena_free(page->arena);
        *page = (struct log_page){0};
}
