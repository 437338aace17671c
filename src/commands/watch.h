#pragma once
/*
 * watch - follow a build to its end
 */
#include "base/json.h"

struct client;
struct invocation;

/**
 * watch_build() - draw the build until it has ended
 * @build: as REST shows it; borrowed
 * @round: wait for this round of it (a re-run has just been asked for), or 0
 *
 * On a terminal one block is redrawn; else each change is a line; with --json each version is a
 * line of JSON. Ctrl-C detaches: the build goes on.
 *
 * Return: the exit code of its end.
 */
int watch_build(struct invocation *invocation, struct client *client, const json_t *build,
                int64_t round);
