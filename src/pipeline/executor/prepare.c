#include "pipeline/executor/prepare.h"

#include <errno.h>
#include <fts.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/json.h"
#include "base/scoped.h"
#include "base/str.h"
#include "pipeline/executor/job_stop.h"

#include "base/banned.h"

#define NOTES_BYTES_MAX (256 * 1024)
#define CREATE_TRIES 4
#define CREATE_AGAIN_MS 500

/* One side of the work. `done` and what it set are read by the caller after `done`. */
struct side {
        struct prepare *prepare;
        pthread_t thread;
        bool started;
        bool done;
        int result;
        struct error err;
        enum reason reason;
};

/* The lock guards notes, created, and both sides' `done`. */
struct prepare {
        const struct prepare_spec *spec;
        pthread_mutex_t lock;
        int news; /* eventfd: something for the caller */
        int stop; /* eventfd: both sides end */
        struct str notes;
        struct sandbox *created;
        struct side source;
        struct side sandbox;
};

static void raise_fd(int fd)
{
        uint64_t one = 1;

        /* cannot fail: the counter would have to reach 2^64 */
        if (write(fd, &one, sizeof(one)) < 0)
                return;
}

static void side_done(struct side *side, int result)
{
        pthread_mutex_lock(&side->prepare->lock);
        side->result = result;
        side->done = true;
        pthread_mutex_unlock(&side->prepare->lock);
        raise_fd(side->prepare->news);
}

static int give_away(const char *path, uid_t owner, struct error *err)
{
        char *const roots[] = {(char *)path, NULL};
        FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
        FTSENT *entry;
        int result = 0;

        if (!tree)
                return error_set_errno(err, "read '%s'", path);
        while (result == 0 && (entry = fts_read(tree))) {
                if (entry->fts_info != FTS_DP && lchown(entry->fts_path, owner, owner) < 0)
                        result = error_set_errno(err, "give '%s' to user %u", entry->fts_path,
                                                 owner);
        }
        fts_close(tree);
        return result;
}

static int fill_workspace(struct prepare *prepare, struct error *err)
{
        const struct prepare_spec *spec = prepare->spec;
        const char *folder = spec->sandbox->workspace;
        int result;

        if (!spec->forge)
                result = spec->fill(spec->fill_data, folder, prepare->stop, err);
        else
                result = forge_fetch(spec->forge, &spec->source, NULL, NULL, prepare->stop, err);
        if (result == 0 && spec->forge)
                result = forge_checkout(spec->forge, &spec->source, folder, prepare->stop, err);
        if (result == 0 && spec->owner != PREPARE_OWNER_KEEP)
                result = give_away(folder, spec->owner, err);
        return result;
}

static void *run_source(void *data)
{
        struct side *side = data;

        side->reason = REASON_SOURCE_UNAVAILABLE;
        side_done(side, fill_workspace(side->prepare, &side->err));
        return NULL;
}

static void take_progress(void *data, const char *line)
{
        struct prepare *prepare = data;

        pthread_mutex_lock(&prepare->lock);
        if (prepare->notes.len < NOTES_BYTES_MAX)
                str_printf(&prepare->notes, "%s\n", line);
        pthread_mutex_unlock(&prepare->lock);
        raise_fd(prepare->news);
}

/* A registry that cannot be reached and an engine that cannot look alike from outside: ask the
 * engine something that needs no registry. */
static enum reason image_reason(struct engine *engine, const struct error *why)
{
        struct sandbox **found = NULL;
        struct error err;
        size_t n = 0;

        if (why->kind != ERROR_UNAVAILABLE)
                return REASON_IMAGE_UNAVAILABLE;
        if (engine_find(engine, &found, &n, &err) < 0)
                return REASON_ENGINE_UNAVAILABLE;
        for (size_t i = 0; i < n; i++)
                engine_sandbox_free(engine, found[i]);
        free(found);
        return REASON_IMAGE_UNAVAILABLE;
}

/* An engine that restarts, or clears away what a killed process of ours began, fails once and not
 * again. */
static int create_at_last(struct prepare *prepare, struct sandbox **ret, struct error *err)
{
        struct pollfd stop = {prepare->stop, POLLIN, 0};
        int result = 0;

        for (int tries = 0; tries < CREATE_TRIES; tries++) {
                result = engine_create(prepare->spec->engine, ret, prepare->spec->sandbox, err);
                if (result != -ERROR_UNAVAILABLE && result != -ERROR_NOT_FOUND &&
                    result != -ERROR_CONFLICT)
                        return result;
                if (poll(&stop, 1, CREATE_AGAIN_MS) > 0)
                        return result;
        }
        return result;
}

static int make_sandbox(struct prepare *prepare, enum reason *ret_reason, struct error *err)
{
        const struct prepare_spec *spec = prepare->spec;
        struct sandbox *sandbox;
        int result;

        result = engine_image_ensure(spec->engine, spec->sandbox->image, take_progress, prepare,
                                     prepare->stop, err);
        if (result < 0) {
                *ret_reason = image_reason(spec->engine, err);
                return result;
        }
        *ret_reason = REASON_ENGINE_UNAVAILABLE;
        result = create_at_last(prepare, &sandbox, err);
        if (result < 0)
                return result;
        pthread_mutex_lock(&prepare->lock);
        prepare->created = sandbox;
        pthread_mutex_unlock(&prepare->lock);
        return 0;
}

static void *run_sandbox(void *data)
{
        struct side *side = data;

        side_done(side, make_sandbox(side->prepare, &side->reason, &side->err));
        return NULL;
}

/* On the caller's thread */

char *prepare_context(const char *const (*pairs)[2], size_t n)
{
        json_t *object = json_object();
        scoped_str struct str text = STR_INIT;

        for (size_t i = 0; i < n; i++)
                json_set_text(object, pairs[i][0], pairs[i][1]);
        str_add_json(&text, object);
        json_decref(object);
        return str_steal(&text);
}

static void tell(struct prepare *prepare, const char *message, const char *const (*pairs)[2],
                 size_t n)
{
        scoped_text char *context = prepare_context(pairs, n);

        prepare->spec->event(prepare->spec->data, message, context);
}

static void tell_begin(struct prepare *prepare)
{
        const struct prepare_spec *spec = prepare->spec;

        if (spec->forge)
                tell(prepare, "Cloning repository",
                     (const char *const[][2]){{"repo", spec->source.url},
                                              {"commit", spec->source.commit}},
                     2);
        if (engine_info(spec->engine)->images)
                tell(prepare, "Pulling Docker image",
                     (const char *const[][2]){{"image", spec->sandbox->image}}, 1);
}

static void note_lines(struct prepare *prepare, const struct str *notes)
{
        const char *at = notes->data;

        while (*at) {
                size_t n = strcspn(at, "\n");
                scoped_text char *line = text_format("%.*s", (int)n, at);

                prepare->spec->note(prepare->spec->data, line);
                at += n + (at[n] == '\n');
        }
}

static void tell_created(struct prepare *prepare, const struct sandbox *sandbox)
{
        tell(prepare, "Creating container",
             (const char *const[][2]){{"container", sandbox->id},
                                      {"image", prepare->spec->sandbox->image}},
             2);
        tell(prepare, "Preparing workspace", (const char *const[][2]){{"container", sandbox->id}},
             1);
}

/* Return: whether both sides are done. */
static bool take_news(struct prepare *prepare, bool *told)
{
        scoped_str struct str notes = STR_INIT;
        const struct sandbox *created;
        uint64_t count;
        bool done;

        if (read(prepare->news, &count, sizeof(count)) < 0 && errno != EAGAIN)
                return true;
        pthread_mutex_lock(&prepare->lock);
        str_add_bytes(&notes, prepare->notes.data, prepare->notes.len);
        str_clear(&prepare->notes);
        created = prepare->created;
        done = prepare->source.done && prepare->sandbox.done;
        if ((prepare->source.done && prepare->source.result < 0) ||
            (prepare->sandbox.done && prepare->sandbox.result < 0))
                raise_fd(prepare->stop);
        pthread_mutex_unlock(&prepare->lock);
        note_lines(prepare, &notes);
        if (created && !*told) {
                tell_created(prepare, created);
                *told = true;
        }
        return done;
}

static void wait_for_both(struct prepare *prepare)
{
        struct pollfd fds[2] = {{prepare->news, POLLIN, 0},
                                {job_stop_fd(prepare->spec->stop), POLLIN, 0}};
        bool told = false;

        while (!take_news(prepare, &told)) {
                if (poll(fds, 2, -1) < 0 && errno != EINTR)
                        break;
                if (fds[1].revents & POLLIN) {
                        raise_fd(prepare->stop);
                        fds[1].fd = -1; /* said once is enough */
                }
        }
}

static int start_side(struct side *side, struct prepare *prepare, void *(*run)(void *),
                      struct error *err)
{
        int code;

        side->prepare = prepare;
        code = pthread_create(&side->thread, NULL, run, side);
        if (code != 0) {
                errno = code;
                return error_set_errno(err, "start a thread");
        }
        side->started = true;
        return 0;
}

static int both(struct prepare *prepare, struct error *err)
{
        int result = start_side(&prepare->source, prepare, run_source, err);

        if (result == 0)
                result = start_side(&prepare->sandbox, prepare, run_sandbox, err);
        if (result == 0)
                wait_for_both(prepare);
        else
                raise_fd(prepare->stop);
        if (prepare->source.started)
                pthread_join(prepare->source.thread, NULL);
        if (prepare->sandbox.started)
                pthread_join(prepare->sandbox.thread, NULL);
        return result;
}

/* The side that failed by itself says why; the other one was only told to stop. */
static int judge(struct prepare *prepare, enum reason *ret_reason, struct error *err)
{
        const struct side *sides[2] = {&prepare->source, &prepare->sandbox};
        const struct side *failed = NULL;

        for (size_t i = 0; i < 2; i++) {
                if (sides[i]->result < 0 && (!failed || failed->result == -ERROR_CANCELLED))
                        failed = sides[i];
        }
        if (job_stop_kind(prepare->spec->stop) != JOB_STOP_NONE)
                return error_set(err, ERROR_CANCELLED, "the job was stopped");
        if (!failed)
                return 0;
        *ret_reason = failed->reason;
        return error_set(err, (enum error_kind) - failed->result, "%s", failed->err.text);
}

static int open_fds(struct prepare *prepare, struct error *err)
{
        prepare->news = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        prepare->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (prepare->news < 0 || prepare->stop < 0)
                return error_set_errno(err, "make an eventfd");
        return 0;
}

static void prepare_done(struct prepare *prepare)
{
        if (prepare->news >= 0)
                close(prepare->news);
        if (prepare->stop >= 0)
                close(prepare->stop);
        str_done(&prepare->notes);
        pthread_mutex_destroy(&prepare->lock);
}

int prepare_run(const struct prepare_spec *spec, struct sandbox **ret, enum reason *ret_reason,
                struct error *err)
{
        struct prepare prepare = {
                .spec = spec, .lock = PTHREAD_MUTEX_INITIALIZER, .notes = STR_INIT};
        int result = open_fds(&prepare, err);

        *ret_reason = REASON_INTERNAL;
        if (result == 0) {
                tell_begin(&prepare);
                result = both(&prepare, err);
        }
        if (result == 0)
                result = judge(&prepare, ret_reason, err);
        if (result < 0 && prepare.created) {
                /* left behind, it has no lease and is found by the next start */
                engine_remove(spec->engine, prepare.created, &(struct error){0});
                engine_sandbox_free(spec->engine, prepare.created);
        } else if (result == 0) {
                *ret = prepare.created;
        }
        prepare_done(&prepare);
        return result;
}
