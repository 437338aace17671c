#pragma once
/*
 * docker_pull - what a daemon tells while it pulls an image, made into a line now and then
 *
 * Fed with the bytes of the answer to POST /images/create: JSON objects, one after the other.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct error;

#define PULL_LAYERS_MAX 256
#define PULL_LINE_MAX 65536

struct pull_layer {
        char id[16];
        int64_t current;
        int64_t total;
        bool done;
};

/**
 * struct docker_pull - the state of one pull
 * @failure: the reason why it failed, as the registry or the daemon says it; "" so far
 */
struct docker_pull {
        void (*progress)(void *data, const char *line);
        void *data;
        struct str line;
        struct str failure;
        struct pull_layer layers[PULL_LAYERS_MAX];
        size_t n_layers;
        int64_t told; /* when the last line was told, by clock_ms() */
};

void docker_pull_init(struct docker_pull *pull, void (*progress)(void *data, const char *line),
                      void *data);
void docker_pull_done(struct docker_pull *pull);
/** docker_pull_feed() - bytes as they come; Return: 0, or -1 for what is no such answer */
int docker_pull_feed(struct docker_pull *pull, const char *bytes, size_t n);
/** docker_pull_end() - Return: 0, or -kind with the reason why the image could not be had */
int docker_pull_end(const struct docker_pull *pull, struct error *err);
/** docker_pull_judge() - the kind that words of a registry mean: NOT_FOUND, DENIED, INVALID or
 *  UNAVAILABLE (they come with any HTTP status) */
int docker_pull_judge(const char *text);
