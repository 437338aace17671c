#pragma once
/*
 * prepare - source, image and sandbox at the same time
 *
 * One thread has the commit fetched and checked out (or the caller's folder filled), another has
 * the image here and the sandbox created. Whichever fails stops the other. Lines about the progress
 * and events come to the caller on its own thread.
 */
#include "domain/build.h"
#include "ports/engine.h"
#include "ports/forge.h"

struct job_stop;

#define PREPARE_OWNER_KEEP ((uid_t)-1)

/**
 * struct prepare_spec - borrowed for the call
 * @forge, @source: what to check out; or forge NULL and @fill (see job_run.h)
 * @sandbox: for engine_create(); its workspace is the folder to fill
 * @owner: uid and gid that the filled workspace is given, or PREPARE_OWNER_KEEP
 * @note: a line for the job's log; @event: a line of the executor about the job
 */
struct prepare_spec {
        struct engine *engine;
        struct forge *forge;
        struct forge_source source;
        int (*fill)(void *data, const char *folder, int cancel_fd, struct error *err);
        void *fill_data;
        const struct sandbox_spec *sandbox;
        uid_t owner;
        struct job_stop *stop;
        void (*note)(void *data, const char *line);
        void (*event)(void *data, const char *message, const char *context);
        void *data;
};

/**
 * prepare_run() - until both are done
 * @ret_reason: what a failure means for the job
 *
 * Return: 0 and the created sandbox; -ERROR_CANCELLED when the job was stopped; -kind. After a
 * failure no sandbox is left; the workspace is the caller's.
 */
int prepare_run(const struct prepare_spec *spec, struct sandbox **ret, enum reason *ret_reason,
                struct error *err);

/** prepare_context() - a JSON object of n pairs of name and value; the caller frees */
char *prepare_context(const char *const (*pairs)[2], size_t n);
