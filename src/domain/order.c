#include "domain/order.h"

#include "base/arena.h"

#include "base/banned.h"

struct order *order_new(void)
{
        struct arena *arena = arena_new();
        struct order *order = arena_alloc(arena, sizeof(*order));

        *order = (struct order){
                .arena = arena,
                .build_id = "",
                .job_id = "",
                .token = "",
                .repo = "",
                .clone_url = "",
                .ref = "",
                .commit = "",
                .job_name = "",
                .image = "",
                .notes = "",
        };
        return order;
}

void order_free(struct order *order)
{
        if (order)
                arena_free(order->arena);
}
