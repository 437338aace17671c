/*
 * Reading a commit: fetch into the mirror, the pipeline file as a blob, the plan.
 *
 * The file is kept with the build (as the order of attempt 0 of the build's id): orders of later
 * attempts are made from it, without the mirror and without the forge, and a re-run in a year does
 * exactly what the first run did.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/json.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/build.h"
#include "domain/finding.h"
#include "domain/pipeline_file.h"
#include "domain/plan.h"
#include "pipeline/orchestrator/parts.h"
#include "ports/forge.h"
#include "ports/store.h"

#include "base/banned.h"

#define OTHER_FILE_NAME ".runnerci.yaml"
#define LFS_POINTER "version https://git-lfs.github.com/spec/"
/* A forge that does not answer is asked so often before the build ends as an error. */
#define FETCH_TRIES 4
#define FETCH_RETRY_MS 500
#define FINDINGS_TEXT_MAX (32 * 1024)
/* The stored form of a file of PIPELINE_FILE_BYTES_MAX in which every byte is escaped. */
#define STORED_FILE_BYTES_MAX (6 * PIPELINE_FILE_BYTES_MAX + 1024)

/* Programs cost more than anything else here, so the names of the top folder are asked for once
 * and tell which file to read and what kind of project it is. */
struct blobs {
        struct str names;
        bool listed;
        struct str first;
        struct str second;
        const char *name; /* of the one that exists */
        struct str *text;
};

/* What a forge or a file says may be anything; what is stored is UTF-8. */
static const char *clean_text(struct build *build, const char *text, size_t max)
{
        size_t n = strnlen(text, max);
        char *copy;

        if (text[n])
                while (n && ((unsigned char)text[n] & 0xc0) == 0x80)
                        n--;
        copy = arena_copy_n(build->arena, text, n);
        for (size_t i = 0; i < n && !utf8_valid(copy, n); i++) {
                if ((unsigned char)copy[i] >= 0x80)
                        copy[i] = '?';
        }
        return copy;
}

void source_fail(struct build *build, int reason, const char *text)
{
        build->state = STATE_ERROR;
        build->reason = (enum reason)reason;
        build->reason_text = clean_text(build, text, ERROR_TEXT_MAX);
        build->finished_at = wall_ms();
}

static struct forge_source source_of(const struct build *build)
{
        return (struct forge_source){
                .url = build->clone_url, .ref = build->ref, .commit = build->commit};
}

/* Return: 0 fetched, 1 the build ended as an error, -ERROR_CANCELLED. */
static int fetch(struct orchestrator *o, struct build *build, struct error *err)
{
        struct forge_source source = source_of(build);
        struct error why = {0};
        int result = -ERROR_UNAVAILABLE;

        orchestrator_log(LOG_INFO, build, NULL,
                         json_pack("{s:s, s:s}", "repo", build->repo, "commit", build->commit),
                         "Cloning repository");
        if (FAILPOINT("orchestrator.before_fetch"))
                return error_set(err, ERROR_UNAVAILABLE, "failpoint before the fetch");
        for (int i = 0; i < FETCH_TRIES && result == -ERROR_UNAVAILABLE; i++) {
                if (i && !orchestrator_wait(o, FETCH_RETRY_MS << (i - 1)))
                        return error_set(err, ERROR_CANCELLED, "stopping");
                result = forge_fetch(o->options.forge, &source, NULL, NULL, o->stop_fd, &why);
        }
        if (FAILPOINT("orchestrator.after_fetch"))
                return error_set(err, ERROR_UNAVAILABLE, "failpoint after the fetch");
        if (result == 0)
                return 0;
        if (result == -ERROR_CANCELLED)
                return error_set(err, ERROR_CANCELLED, "stopping");
        source_fail(build, REASON_SOURCE_UNAVAILABLE, why.text);
        return 1;
}

static bool has_line(const char *lines, const char *name)
{
        size_t n = strlen(name);

        while (*lines) {
                size_t len = strcspn(lines, "\n");

                if (len == n && memcmp(lines, name, n) == 0)
                        return true;
                lines += len + (lines[len] == '\n');
        }
        return false;
}

/* Return: 1 it is there, 0 it is not, 2 the build ended as an error. */
static int read_one(struct orchestrator *o, struct build *build, const struct blobs *blobs,
                    const char *name, struct str *ret)
{
        struct forge_source source = source_of(build);
        struct error why = {0};
        int result;

        if (blobs->listed && !has_line(blobs->names.data, name))
                return 0;
        result = forge_read_blob(o->options.forge, &source, name, PIPELINE_FILE_BYTES_MAX, ret,
                                 &why);

        if (result == 0)
                return 1;
        if (result == -ERROR_NOT_FOUND)
                return 0;
        if (result == -ERROR_LIMIT)
                source_fail(build, REASON_CONFIG_INVALID,
                            build_text(build,
                                       "%s has more than 256 KiB (%d bytes), the most that is read",
                                       name, PIPELINE_FILE_BYTES_MAX));
        else if (result == -ERROR_INVALID)
                source_fail(build, REASON_CONFIG_INVALID, why.text);
        else
                source_fail(build, REASON_SOURCE_UNAVAILABLE, why.text);
        return 2;
}

/* Return: 1 read, 0 there is none, 2 the build ended as an error. */
static int read_file(struct orchestrator *o, struct build *build, struct blobs *blobs)
{
        struct forge_source source = source_of(build);
        int first;
        int second;

        blobs->listed = forge_list_root(o->options.forge, &source, &blobs->names, NULL) == 0;
        first = read_one(o, build, blobs, PIPELINE_FILE_NAME, &blobs->first);
        second = first == 2 ? 0 : read_one(o, build, blobs, OTHER_FILE_NAME, &blobs->second);
        if (first == 2 || second == 2)
                return 2;
        if (first && second) {
                source_fail(build, REASON_CONFIG_INVALID,
                            "the commit has both " PIPELINE_FILE_NAME " and " OTHER_FILE_NAME
                            ": keep one of them");
                return 2;
        }
        blobs->name = first ? PIPELINE_FILE_NAME : OTHER_FILE_NAME;
        blobs->text = first ? &blobs->first : &blobs->second;
        if (text_starts(blobs->text->data, LFS_POINTER)) {
                source_fail(build, REASON_CONFIG_INVALID,
                            build_text(build,
                                       "%s is a Git LFS pointer, not the file itself: take it out "
                                       "of LFS (git lfs untrack %s)",
                                       blobs->name, blobs->name));
                return 2;
        }
        return first || second;
}

static const char *text_else(struct build *build, const char *text, const char *other)
{
        return text[0] || !other ? text : arena_copy(build->arena, other);
}

/* What the commit itself says fills what the event left open. */
static void read_commit(struct orchestrator *o, struct build *build, const struct blobs *blobs)
{
        struct forge_source source = source_of(build);
        struct forge_commit commit = {0};

        if (blobs->listed)
                build->project_type = plan_project_type(blobs->names.data);
        if (build->message[0] && build->author[0] && build->author_email[0] &&
            build->committer_email[0])
                return;
        if (forge_commit(o->options.forge, &source, &commit, NULL) < 0)
                return;
        build->message = text_else(build, build->message, commit.message);
        build->author = text_else(build, build->author, commit.author);
        build->author_email = text_else(build, build->author_email, commit.author_email);
        build->committer_email = text_else(build, build->committer_email, commit.committer_email);
        forge_commit_done(&commit);
}

static void fail_with_findings(struct build *build, const struct findings *findings)
{
        scoped_str struct str text = STR_INIT;
        size_t errors = findings_errors(findings);
        const struct finding *first = findings->items;

        while (first->severity != FINDING_ERROR && first + 1 < findings->items + findings->n)
                first++;
        findings_human(findings, false, &text);
        build->findings = clean_text(build, text.data, FINDINGS_TEXT_MAX);
        source_fail(build, REASON_CONFIG_INVALID,
                    build_text(build, "%s has %zu error%s: line %d: %s", findings->file, errors,
                               errors == 1 ? "" : "s", first->line, first->message));
}

static int keep_file(struct orchestrator *o, const struct build *build, const struct blobs *blobs,
                     struct error *err)
{
        scoped(json) json_t *stored = json_object();
        scoped_str struct str text = STR_INIT;

        json_set_text(stored, "name", blobs->name);
        json_object_set_new(stored, "source", json_stringn(blobs->text->data, blobs->text->len));
        str_add_json(&text, stored);
        return store_order_put(o->options.store, build->id, 0, text.data, text.len, err);
}

int source_file(struct orchestrator *o, const struct build *build, struct pipeline_file **ret,
                struct error *err)
{
        scoped_text char *text = NULL;
        scoped(json) json_t *stored = NULL;
        const json_t *source;
        size_t n = 0;
        int result = store_order_get(o->options.store, &text, &n, build->id, 0, err);

        if (result == -ERROR_NOT_FOUND)
                return error_set(err, ERROR_NOT_FOUND,
                                 "the pipeline file of this build is no longer stored");
        if (result < 0)
                return result;
        result = json_parse(&stored, text, n, STORED_FILE_BYTES_MAX, err);
        if (result < 0)
                return result;
        source = json_object_get(stored, "source");
        if (!json_is_string(source))
                return error_set(err, ERROR_INVALID,
                                 "the stored pipeline file of build %s is broken", build->id);
        *ret = pipeline_file_parse(json_text_or(stored, "name", PIPELINE_FILE_NAME),
                                   json_string_value(source), json_string_length(source));
        return 0;
}

static int plan(struct orchestrator *o, struct build *build, const struct blobs *blobs,
                struct error *err)
{
        scoped(pipeline_file) struct pipeline_file *file =
                pipeline_file_parse(blobs->name, blobs->text->data, blobs->text->len);
        int result;

        build->notify = text_else(build, "", file->notify);
        if (!build->title[0])
                build->title = text_else(build, "", file->name);
        if (findings_errors(&file->findings)) {
                fail_with_findings(build, &file->findings);
                return SOURCE_READ;
        }
        result = keep_file(o, build, blobs, err);
        if (result < 0)
                return result;
        plan_jobs(build, file);
        if (build->n_jobs == 0)
                source_fail(build, REASON_CONFIG_INVALID,
                            build_text(build, "%s has no jobs", blobs->name));
        return SOURCE_READ;
}

int source_read(struct orchestrator *o, struct build *build, struct error *err)
{
        struct blobs blobs = {.names = STR_INIT, .first = STR_INIT, .second = STR_INIT};
        int result = fetch(o, build, err);

        if (result == 1)
                return SOURCE_READ;
        if (result < 0)
                return result;
        result = read_file(o, build, &blobs);
        if (result != 0)
                read_commit(o, build, &blobs);
        if (result == 0)
                result = SOURCE_NO_FILE;
        else if (result == 2)
                result = SOURCE_READ;
        else
                result = plan(o, build, &blobs, err);
        str_done(&blobs.names);
        str_done(&blobs.first);
        str_done(&blobs.second);
        return result;
}
