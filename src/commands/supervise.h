#pragma once
/*
 * supervise - the parent of `argon up`: binds, holds the lock, starts the services, starts them
 * anew
 */
struct invocation;
struct settings;

/** What the child inherits, as descriptors: "LOCK READY LISTEN…" */
#define SUPERVISE_VARIABLE "ARGON_UP_CHILD"

/** supervise_run() - until it was told to stop, or the services ended too often; Return: exit code
 */
int supervise_run(struct invocation *invocation, struct settings *settings);
/** up_links_start() - what people's links start with; the caller frees. @listen: DATA/listen */
char *up_links_start(const struct settings *settings, const char *listen);
