/*
 * Builds and jobs. What changes a build is only asked for here: the orchestrator, its one owner,
 * does it. What can be seen to be impossible is refused at once, so that people hear why.
 */
#include <string.h>

#include "base/error.h"
#include "base/id.h"
#include "base/parse.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/build.h"
#include "pipeline/dashboard/parts.h"
#include "pipeline/topology.h"
#include "ports/bus.h"
#include "ports/store.h"
#include "wire/build_json.h"
#include "wire/control_request.h"

#include "base/banned.h"

#define BUILDS_LIMIT 20
#define REF_BYTES_MAX 255
#define REPO_BYTES_MAX 1024

enum http_result builds_list(struct http_request *request, void *data)
{
        struct dashboard *dashboard = data;
        const char *state = http_query(request, "state");
        struct build_page page = {0};
        struct build_filter filter = {
                .repo = http_query(request, "repo"),
                .branch = http_query(request, "branch"),
                .commit = http_query(request, "commit"),
                .state = state,
                .event = http_query(request, "event"),
                .cursor = http_query(request, "cursor"),
        };
        struct error err = {0};
        json_t *list;
        json_t *answer;
        int64_t limit;

        if (!query_int(request, "limit", 1, STORE_PAGE_MAX, BUILDS_LIMIT, &limit))
                return HTTP_DONE;
        if (state && *state && state_parse(state) < 0) {
                http_reply_problem(request, 400,
                                   "state: there are queued, running, success, failed, error, "
                                   "cancelled, skipped, timeout and blocked");
                return HTTP_DONE;
        }
        filter.limit = (int)limit;
        if (store_builds(dashboard->options.store, &page, &filter, &err) < 0) {
                http_reply_error(request, &err);
                return HTTP_DONE;
        }
        list = json_array();
        for (size_t i = 0; i < page.n; i++)
                json_array_append_new(list,
                                      build_to_rest(page.builds[i], dashboard->options.url, false));
        answer = json_object();
        json_object_set_new(answer, "builds", list);
        json_set_text(answer, "next", *page.next ? page.next : NULL);
        build_page_done(&page);
        reply_json(request, 200, answer);
        return HTTP_DONE;
}

/* The build that the path names; NULL: a problem was replied. */
static struct build *find_build(struct dashboard *dashboard, struct http_request *request)
{
        const char *id = http_param(request, 0);
        struct build *build = NULL;
        struct error err = {0};

        if (!id_valid(id)) {
                http_reply_problem(request, 404, "no build has the id '%.64s'", text_or(id, ""));
                return NULL;
        }
        if (store_build_get(dashboard->options.store, &build, id, &err) < 0) {
                http_reply_error(request, &err);
                return NULL;
        }
        return build;
}

enum http_result builds_one(struct http_request *request, void *data)
{
        struct dashboard *dashboard = data;
        scoped_text char *key = text_format("build.%s", text_or(http_param(request, 0), ""));
        scoped(build) struct build *build = NULL;
        int64_t since;
        int64_t wait;
        bool may_wait;

        if (!query_int(request, "since", 0, INT64_MAX, -1, &since) ||
            !query_duration(request, "wait", DASHBOARD_WAIT_MS_MAX, &wait))
                return HTTP_DONE;
        may_wait = since >= 0 && id_valid(http_param(request, 0)) &&
                   dashboard_live_wait(dashboard->live, request, key, wait);
        build = find_build(dashboard, request);
        if (!build)
                return HTTP_DONE;
        if (may_wait && build->version <= since)
                return HTTP_WAIT;
        reply_json(request, 200, build_to_rest(build, dashboard->options.url, true));
        return HTTP_DONE;
}

enum http_result builds_of_number(struct http_request *request, void *data)
{
        struct dashboard *dashboard = data;
        scoped_text char *repo =
                text_format("%s/%s", http_param(request, 0), http_param(request, 1));
        scoped(build) struct build *build = NULL;
        struct error err = {0};
        int64_t number;

        if (parse_int(&number, http_param(request, 2), 1, INT64_MAX, NULL) < 0) {
                http_reply_problem(request, 404, "'%.32s' is not the number of a build",
                                   http_param(request, 2));
                return HTTP_DONE;
        }
        if (store_build_of_number(dashboard->options.store, &build, repo, number, &err) < 0) {
                http_reply_error(request, &err);
                return HTTP_DONE;
        }
        reply_json(request, 200, build_to_rest(build, dashboard->options.url, true));
        return HTTP_DONE;
}

enum http_result jobs_one(struct http_request *request, void *data)
{
        struct dashboard *dashboard = data;
        const char *id = http_param(request, 0);
        scoped(build) struct build *build = NULL;
        const struct job *job;
        struct error err = {0};

        if (!id_valid(id)) {
                http_reply_problem(request, 404, "no job has the id '%.64s'", text_or(id, ""));
                return HTTP_DONE;
        }
        if (store_build_of_job(dashboard->options.store, &build, id, &err) < 0) {
                http_reply_error(request, &err);
                return HTTP_DONE;
        }
        job = build_job_by_id(build, id);
        if (!job)
                http_reply_problem(request, 404, "no job has the id '%.64s'", id);
        else
                reply_json(request, 200, job_to_rest(build, job, dashboard->options.url));
        return HTTP_DONE;
}

/* id is the request's, which the caller keeps. */
static bool publish(struct dashboard *dashboard, struct http_request *http,
                    struct control_request *control, char id[ID_SIZE])
{
        scoped_str struct str text = STR_INIT;
        struct error err = {0};

        id_new(id);
        control->id = id;
        control->who = "administrator";
        control_request_encode(control, &text);
        if (bus_publish(dashboard->options.bus, QUEUE_CONTROL, text.data, text.len, &err) < 0) {
                http_reply_header(http, "Retry-After", "5");
                http_reply_error(http, &err);
                return false;
        }
        return true;
}

/* "failed", "all", or names of jobs that exist, one per line. */
static bool wanted_jobs(struct http_request *request, const struct build *build, const json_t *body,
                        struct str *ret)
{
        const json_t *jobs = json_object_get(body, "jobs");
        const char *word = json_string_value(jobs);

        if (!jobs || (word && (!strcmp(word, "all") || !strcmp(word, "failed")))) {
                str_add(ret, word ? word : "failed");
                return true;
        }
        for (size_t i = 0; i < json_array_size(jobs); i++) {
                const char *name = json_string_value(json_array_get(jobs, i));

                if (!name || !build_job((struct build *)build, name)) {
                        http_reply_problem(request, 400, "jobs: the build has no job '%.64s'",
                                           name ? name : "(not a text)");
                        return false;
                }
                str_printf(ret, "%s%s", ret->len ? "\n" : "", name);
        }
        if (!ret->len)
                http_reply_problem(request, 400,
                                   "jobs: allowed are \"failed\", \"all\" and a list of names");
        return ret->len > 0;
}

enum http_result builds_rerun(struct http_request *request, void *data)
{
        struct dashboard *dashboard = data;
        scoped(build) struct build *build = find_build(dashboard, request);
        scoped(json) json_t *body = NULL;
        scoped_str struct str jobs = STR_INIT;
        char id[ID_SIZE];
        struct control_request control = {.kind = CONTROL_RERUN, .repo = "", .ref = ""};

        if (!build || !query_body(request, &body))
                return HTTP_DONE;
        if (!state_ended(build->state)) {
                http_reply_problem(request, 409, "the build is still %s; cancel it first",
                                   state_name(build->state));
                return HTTP_DONE;
        }
        if (!wanted_jobs(request, build, body, &jobs))
                return HTTP_DONE;
        if (strcmp(jobs.data, "failed") == 0 && build->state == STATE_SUCCESS) {
                http_reply_problem(request, 409, "no job of the build failed; ask for \"all\"");
                return HTTP_DONE;
        }
        control.build_id = build->id;
        control.jobs = jobs.data;
        if (publish(dashboard, request, &control, id))
                reply_json(request, 202, build_to_rest(build, dashboard->options.url, true));
        return HTTP_DONE;
}

enum http_result builds_cancel(struct http_request *request, void *data)
{
        struct dashboard *dashboard = data;
        scoped(build) struct build *build = find_build(dashboard, request);
        char id[ID_SIZE];
        struct control_request control = {
                .kind = CONTROL_CANCEL, .jobs = "", .repo = "", .ref = ""};

        if (!build)
                return HTTP_DONE;
        if (state_ended(build->state)) {
                http_reply_problem(request, 409, "the build has ended already: %s",
                                   state_name(build->state));
                return HTTP_DONE;
        }
        control.build_id = build->id;
        if (publish(dashboard, request, &control, id))
                reply_json(request, 202, build_to_rest(build, dashboard->options.url, true));
        return HTTP_DONE;
}

/* OWNER/NAME, or a clone URL */
static bool repo_allowed(const char *repo)
{
        const char *slash = strchr(repo, '/');

        if (!slash || slash == repo || !slash[1] || *repo == '-' || strlen(repo) > REPO_BYTES_MAX)
                return false;
        for (; *repo; repo++) {
                if ((unsigned char)*repo <= ' ' || *repo == 0x7f)
                        return false;
        }
        return true;
}

/* A branch, a tag, a commit or a full ref; nothing means the repository's default branch. */
static bool ref_allowed(const char *ref)
{
        size_t n = strlen(ref);

        if (n > REF_BYTES_MAX || *ref == '-' || *ref == '/' || strstr(ref, ".."))
                return false;
        for (size_t i = 0; i < n; i++) {
                if ((unsigned char)ref[i] <= ' ' || ref[i] == 0x7f || strchr("~^:?*[\\", ref[i]))
                        return false;
        }
        return true;
}

enum http_result builds_run(struct http_request *request, void *data)
{
        struct dashboard *dashboard = data;
        char id[ID_SIZE];
        struct control_request control = {.kind = CONTROL_RUN, .build_id = "", .jobs = ""};
        scoped(json) json_t *body = NULL;
        json_t *answer;

        if (!query_body(request, &body))
                return HTTP_DONE;
        control.repo = json_text_or(body, "repo", "");
        control.ref = json_text_or(body, "ref", "");
        if (!repo_allowed(control.repo) || !ref_allowed(control.ref)) {
                http_reply_problem(
                        request, 400,
                        "\"repo\" has to be OWNER/NAME or a clone URL, \"ref\" a branch, "
                        "a tag, a commit or left out");
                return HTTP_DONE;
        }
        if (json_object_size(json_object_get(body, "inputs"))) {
                http_reply_problem(request, 400, "\"inputs\" are not supported yet");
                return HTTP_DONE;
        }
        if (!publish(dashboard, request, &control, id))
                return HTTP_DONE;
        answer = json_object();
        json_set_text(answer, "request", control.id);
        json_set_text(answer, "repo", control.repo);
        json_set_text(answer, "ref", control.ref);
        reply_json(request, 202, answer);
        return HTTP_DONE;
}

/* The build that a request made, once the orchestrator has taken it. */
enum http_result builds_of_request(struct http_request *request, void *data)
{
        struct dashboard *dashboard = data;
        const char *id = http_param(request, 0);
        scoped_text char *delivery = text_format("run-%s", text_or(id, ""));
        scoped(build) struct build *build = NULL;
        struct error err = {0};

        if (!id_valid(id))
                http_reply_problem(request, 404, "no request has the id '%.64s'", text_or(id, ""));
        else if (store_build_of_delivery(dashboard->options.store, &build, delivery, &err) < 0)
                http_reply_error(request, &err);
        else
                reply_json(request, 200, build_to_rest(build, dashboard->options.url, true));
        return HTTP_DONE;
}
