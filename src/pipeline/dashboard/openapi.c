/*
 * The description of REST for programs (OpenAPI 3.1), from the tables below: what each route takes
 * and answers, and the members of each document. The suite holds both against the real answers.
 */
#include <string.h>

#include "base/str.h"
#include "pipeline/dashboard/parts.h"

#include "base/banned.h"

/* Types of members: t text, i whole number, b boolean, T time, l list of texts; a capital letter
 * that follows '[' is a list of that document. A '?' says that null is possible. */
struct member {
        const char *name;
        const char *type;
};

struct document {
        const char *name;
        const struct member *members;
};

static const struct member build_members[] = {
        {"id", "t"},
        {"version", "i"},
        {"round", "i"},
        {"number", "i"},
        {"repo", "t"},
        {"ref", "t"},
        {"branch", "t"},
        {"commit", "t"},
        {"message", "t"},
        {"author", "t"},
        {"pusher", "t"},
        {"event", "t"},
        {"state", "s"},
        {"reason_code", "t"},
        {"reason", "t"},
        {"created_at", "T"},
        {"started_at", "T"},
        {"finished_at", "T"},
        {"queued_ms", "i"},
        {"duration_ms", "i"},
        {"url", "t"},
        {"title", "t"},
        {"pull_request", "i"},
        {"findings", "t"},
        {"cancel_requested", "b"},
        {"jobs", "[Job"},
        {NULL, NULL},
};

static const struct member job_members[] = {
        {"id", "t"},
        {"name", "t"},
        {"state", "s"},
        {"reason_code", "t"},
        {"reason", "t"},
        {"image", "t"},
        {"attempt", "i"},
        {"exit_code", "i"},
        {"executor", "t"},
        {"needs", "l"},
        {"started_at", "T"},
        {"finished_at", "T"},
        {"duration_ms", "i"},
        {"log_lines", "i"},
        {"log_bytes", "i"},
        {"steps", "[Step"},
        {"url", "t"},
        {"build_id", "t"},
        {"title", "t"},
        {"continue_on_error", "b"},
        {"attempts", "[Attempt"},
        {NULL, NULL},
};

static const struct member step_members[] = {
        {"index", "i"},       {"id", "t"},          {"name", "t"},      {"state", "s"},
        {"reason_code", "t"}, {"reason", "t"},      {"exit_code", "i"}, {"signal", "i"},
        {"started_at", "T"},  {"duration_ms", "i"}, {"cpu_ms", "i"},    {"max_rss_bytes", "i"},
        {"first_line", "i"},  {"last_line", "i"},   {NULL, NULL},
};

static const struct member attempt_members[] = {
        {"number", "i"},      {"round", "i"},       {"state", "s"},     {"reason_code", "t"},
        {"reason", "t"},      {"exit_code", "i"},   {"executor", "t"},  {"started_at", "T"},
        {"finished_at", "T"}, {"duration_ms", "i"}, {"log_lines", "i"}, {"log_bytes", "i"},
        {"steps", "[Step"},   {NULL, NULL},
};

static const struct member delivery_members[] = {
        {"id", "t"},          {"event", "t"},     {"repository", "t"},
        {"received_at", "T"}, {"result", "t"},    {"reason", "t"},
        {"builds", "l"},      {"published", "b"}, {NULL, NULL},
};

static const struct member executor_members[] = {
        {"id", "t"},   {"name", "t"},     {"engine", "t"},    {"labels", "l"}, {"slots", "i"},
        {"jobs", "i"}, {"draining", "b"}, {"last_seen", "T"}, {NULL, NULL},
};

static const struct member request_members[] = {
        {"request", "t"},
        {"repo", "t"},
        {"ref", "t"},
        {NULL, NULL},
};

static const struct member builds_members[] = {{"builds", "[Build"}, {"next", "t"}, {NULL, NULL}};
static const struct member logs_members[] = {{"logs", "["}, {"next", "t"}, {NULL, NULL}};
static const struct member deliveries_members[] = {
        {"deliveries", "[Delivery"}, {"next", "t"}, {NULL, NULL}};
static const struct member executors_members[] = {{"executors", "[Executor"}, {NULL, NULL}};
static const struct member ready_members[] = {{"ready", "b"}, {"reasons", "l"}, {NULL, NULL}};
static const struct member version_members[] = {
        {"version", "t"},  {"api", "t"},  {"pipeline_file", "t"}, {"url", "t"},
        {"instance", "t"}, {"time", "T"}, {NULL, NULL},
};
static const struct member problem_members[] = {
        {"type", "t"}, {"title", "t"}, {"status", "i"}, {"detail", "t"}, {NULL, NULL},
};

static const struct document documents[] = {
        {"Build", build_members},         {"Job", job_members},
        {"Step", step_members},           {"Attempt", attempt_members},
        {"Delivery", delivery_members},   {"Executor", executor_members},
        {"Request", request_members},     {"Builds", builds_members},
        {"Logs", logs_members},           {"Deliveries", deliveries_members},
        {"Executors", executors_members}, {"Ready", ready_members},
        {"Version", version_members},     {"Problem", problem_members},
};

/** struct operation - @query, @body: names separated by spaces; @answer: a document, or a media
 * type when it has a slash */
struct operation {
        const char *method;
        const char *path;
        const char *summary;
        const char *query;
        const char *body;
        int status;
        const char *answer;
};

static const struct operation operations[] = {
        {"get", "/healthz", "alive", "", "", 200, "text/plain"},
        {"get", "/readyz", "ready, or 503 with reasons", "", "", 200, "Ready"},
        {"get", "/version", "versions", "", "", 200, "Version"},
        {"get", "/metrics", "Prometheus text", "", "", 200, "text/plain"},
        {"get", "/api/v1/builds", "builds, the newest first",
         "repo branch commit state event limit cursor", "", 200, "Builds"},
        {"post", "/api/v1/builds", "run a repository now", "", "repo ref", 202, "Request"},
        {"get", "/api/v1/builds/{id}", "one build; with since, once it has changed", "since wait",
         "", 200, "Build"},
        {"post", "/api/v1/builds/{id}/rerun", "run jobs again", "", "jobs", 202, "Build"},
        {"post", "/api/v1/builds/{id}/cancel", "end a build", "", "", 202, "Build"},
        {"get", "/api/v1/repos/{owner}/{name}/builds/{number}", "one build by its number", "", "",
         200, "Build"},
        {"get", "/api/v1/requests/{id}", "the build that a request made", "", "", 200, "Build"},
        {"get", "/api/v1/jobs/{id}", "one job", "", "", 200, "Job"},
        {"get", "/api/v1/jobs/{id}/log",
         "lines of its log: arrays of line, milliseconds, stream, step, text",
         "from n attempt wait", "", 200, "application/jsonl"},
        {"get", "/api/v1/jobs/{id}/log.txt", "the bytes of its log; Range is obeyed", "attempt", "",
         200, "text/plain"},
        {"get", "/api/v1/logs", "log entries of services and steps, the newest first",
         "service job_id build_id severity since limit cursor", "", 200, "Logs"},
        {"get", "/api/v1/deliveries", "what the webhook took, and what came of it", "limit cursor",
         "", 200, "Deliveries"},
        {"get", "/api/v1/executors", "who runs jobs", "", "", 200, "Executors"},
        {"get", "/api/v1/backup", "a consistent copy of the databases", "", "", 200,
         "application/octet-stream"},
        {"get", "/api/v1/openapi.json", "this description", "", "", 200, "application/json"},
};

static json_t *type_schema(const char *type)
{
        static const char states[] =
                "queued running success failed error cancelled skipped timeout blocked";
        json_t *words;

        if (*type == '[' && type[1])
                return json_pack("{s:s, s:{s:s+}}", "type", "array", "items", "$ref",
                                 "#/components/schemas/", type + 1);
        if (*type == '[')
                return json_pack("{s:s, s:{s:s}}", "type", "array", "items", "type", "object");
        if (*type == 'l')
                return json_pack("{s:s, s:{s:s}}", "type", "array", "items", "type", "string");
        if (*type == 'i')
                return json_pack("{s:[s, s]}", "type", "integer", "null");
        if (*type == 'b')
                return json_pack("{s:s}", "type", "boolean");
        if (*type == 'T')
                return json_pack("{s:[s, s], s:s}", "type", "string", "null", "format",
                                 "date-time");
        if (*type == 't')
                return json_pack("{s:[s, s]}", "type", "string", "null");
        words = json_array();
        for (const char *at = states; *at;) {
                size_t n = strcspn(at, " ");

                json_array_append_new(words, json_stringn(at, n));
                at += n + (at[n] == ' ');
        }
        return json_pack("{s:s, s:o}", "type", "string", "enum", words);
}

static json_t *document_schema(const struct document *document)
{
        json_t *properties = json_object();

        for (const struct member *at = document->members; at->name; at++)
                json_object_set_new(properties, at->name, type_schema(at->type));
        return json_pack("{s:s, s:o}", "type", "object", "properties", properties);
}

static void add_parameters(json_t *list, const char *text, char end, const char *place)
{
        while (*text) {
                size_t n = strcspn(text, place[0] == 'p' ? "{" : " ");

                if (place[0] == 'p') {
                        text += n + (text[n] == '{');
                        n = strcspn(text, "}");
                }
                if (n && (place[0] != 'p' || text[n] == end))
                        json_array_append_new(list,
                                              json_pack("{s:s%, s:s, s:b, s:{s:s}}", "name", text,
                                                        n, "in", place, "required", place[0] == 'p',
                                                        "schema", "type", "string"));
                text += n;
                text += *text != '\0';
        }
}

static json_t *operation_body(const char *names)
{
        json_t *properties = json_object();

        while (*names) {
                size_t n = strcspn(names, " ");
                scoped_text char *name = text_format("%.*s", (int)n, names);

                json_object_set_new(properties, name, json_object());
                names += n + (names[n] == ' ');
        }
        return json_pack("{s:{s:{s:{s:s, s:o}}}}", "content", "application/json", "schema", "type",
                         "object", "properties", properties);
}

static json_t *operation_answer(const struct operation *operation)
{
        if (strchr(operation->answer, '/'))
                return json_pack("{s:s, s:{s:{}}}", "description", operation->summary, "content",
                                 operation->answer);
        return json_pack("{s:s, s:{s:{s:{s:s+}}}}", "description", operation->summary, "content",
                         "application/json", "schema", "$ref", "#/components/schemas/",
                         operation->answer);
}

static json_t *describe(const struct operation *operation)
{
        scoped_text char *status = text_format("%d", operation->status);
        json_t *parameters = json_array();
        json_t *json;

        add_parameters(parameters, operation->path, '}', "path");
        add_parameters(parameters, operation->query, ' ', "query");
        json = json_pack("{s:s, s:o, s:{s:o, s:{s:s, s:{s:{s:{s:s}}}}}}", "summary",
                         operation->summary, "parameters", parameters, "responses", status,
                         operation_answer(operation), "default", "description", "a problem",
                         "content", "application/problem+json", "schema", "$ref",
                         "#/components/schemas/Problem");
        if (*operation->body)
                json_object_set_new(json, "requestBody", operation_body(operation->body));
        return json;
}

enum http_result openapi_json(struct http_request *request, void *data)
{
        struct dashboard *dashboard = data;
        json_t *schemas = json_object();
        json_t *paths = json_object();

        for (size_t i = 0; i < sizeof(documents) / sizeof(*documents); i++)
                json_object_set_new(schemas, documents[i].name, document_schema(&documents[i]));
        for (size_t i = 0; i < sizeof(operations) / sizeof(*operations); i++) {
                json_t *path = json_object_get(paths, operations[i].path);

                if (!path) {
                        path = json_object();
                        json_object_set_new(paths, operations[i].path, path);
                }
                json_object_set_new(path, operations[i].method, describe(&operations[i]));
        }
        reply_json(request, 200,
                   json_pack("{s:s, s:{s:s, s:s}, s:[{s:s}], s:[{s:[]}], s:o, "
                             "s:{s:o, s:{s:{s:s, s:s}}}}",
                             "openapi", "3.1.0", "info", "title", "Argon", "version", "v1",
                             "servers", "url", dashboard->options.url, "security", "token", "paths",
                             paths, "components", "schemas", schemas, "securitySchemes", "token",
                             "type", "http", "scheme", "bearer"));
        return HTTP_DONE;
}
