#include "domain/plan.h"

#include <string.h>

#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "domain/build.h"
#include "domain/order.h"
#include "domain/pipeline_file.h"
#include "tests/support/test.h"

#include "base/banned.h"

static const char text[] = "version: 1\n"
                           "env: {A: file, B: file}\n"
                           "jobs:\n"
                           "  a:\n"
                           "    steps: [{run: x}]\n"
                           "  b:\n"
                           "    name: Second\n"
                           "    needs: [a]\n"
                           "    image: i:1\n"
                           "    env: {B: job}\n"
                           "    continue-on-error: true\n"
                           "    network: none\n"
                           "    timeout-minutes: 600\n"
                           "    resources: {memory: 64GiB, cpus: 1.5, pids: 5000}\n"
                           "    retry: {max: 2, when: failure, exit-codes: [75]}\n"
                           "    steps:\n"
                           "      - {id: s, run: make, shell: bash, working-directory: w, "
                           "timeout-minutes: 1, env: {C: step}}\n";

static const struct plan_limits limits = {
        .timeout_ms = 3600000,
        .timeout_max_ms = 6 * 3600000,
        .memory = INT64_C(2) << 30,
        .memory_max = INT64_C(8) << 30,
        .millicpus = 2000,
        .millicpus_max = 4000,
        .pids = 1024,
        .pids_max = 4096,
        .disk = INT64_C(10) << 30,
        .disk_max = INT64_C(10) << 30,
};

static struct build *make_build(const char *ref)
{
        struct build *build = build_new();

        build->id = "B";
        build->repo = "o/n";
        build->clone_url = "https://example.org/o/n.git";
        build->ref = ref;
        build->branch = "main";
        build->commit = "c0ffee";
        build->event = "push";
        build->number = 12;
        return build;
}

/* The value that holds for the job: the last of that name. */
static const char *value_of(const struct order *order, const char *name)
{
        const char *value = NULL;

        for (size_t i = 0; i < order->n_env; i++) {
                if (strcmp(order->env[i].name, name) == 0)
                        value = order->env[i].value;
        }
        return value;
}

TEST("jobs of the build are those of the file, with ids of their own")
{
        scoped(pipeline_file) struct pipeline_file *file =
                pipeline_file_parse("f", text, strlen(text));
        scoped(build) struct build *build = make_build("refs/heads/main");
        const struct job *job;

        plan_jobs(build, file);
        assert_int_equal(build->n_jobs, 2);
        assert_int_not_equal(strcmp(build->jobs[0].id, build->jobs[1].id), 0);
        assert_string_equal(build->jobs[0].title, "a");
        assert_int_equal(build->jobs[0].retry_max, 0);
        job = build_job(build, "b");
        assert_string_equal(job->title, "Second");
        assert_string_equal(job->image, "i:1");
        assert_int_equal(job->n_needs, 1);
        assert_string_equal(job->needs[0], "a");
        assert_true(job->continue_on_error);
        assert_int_equal(job->retry_max, 2);
        assert_true(job->retry_failure);
        assert_false(job->retry_infra);
        assert_true(job_retries_code(job, 75));
        assert_false(job_retries_code(job, 7));
        assert_true(job_retries_code(&build->jobs[0], 7));
        assert_int_equal(job->state, STATE_QUEUED);
}

TEST("an order says everything, cut down to the limits with a note for each")
{
        scoped(pipeline_file) struct pipeline_file *file =
                pipeline_file_parse("f", text, strlen(text));
        scoped(build) struct build *build = make_build("refs/heads/main");
        scoped(order) struct order *order = NULL;
        struct error err = {0};
        struct job *job;

        plan_jobs(build, file);
        job = build_job(build, "b");
        build_add_attempt(build, job)->token = "T";
        assert_ok(plan_order(&order, file, build, job, job_attempt(job), &limits, "http://u", &err),
                  err);
        assert_string_equal(order->build_id, "B");
        assert_string_equal(order->job_id, job->id);
        assert_string_equal(order->token, "T");
        assert_int_equal(order->attempt, 1);
        assert_string_equal(order->image, "i:1");
        assert_true(order->network_none);
        assert_false(order->strict);
        assert_int_equal(order->timeout_ms, 6 * 3600000);
        assert_int_equal(order->memory, INT64_C(8) << 30);
        assert_int_equal(order->millicpus, 1500);
        assert_int_equal(order->pids, 4096);
        assert_int_equal(order->disk, INT64_C(10) << 30);
        assert_string_equal(order->notes, "time 10h00m cut down to 6h00m (ARGON_JOB_TIMEOUT_MAX)\n"
                                          "memory 64GiB cut down to 8GiB (ARGON_JOB_MEMORY_MAX)\n"
                                          "pids 5000 cut down to 4096 (ARGON_JOB_PIDS_MAX)");
        assert_string_equal(value_of(order, "A"), "file");
        assert_string_equal(value_of(order, "B"), "job");
        assert_null(value_of(order, "C"));
        assert_string_equal(value_of(order, "CI"), "true");
        assert_string_equal(value_of(order, "CI_REPO"), "o/n");
        assert_string_equal(value_of(order, "CI_COMMIT_SHA"), "c0ffee");
        assert_string_equal(value_of(order, "CI_COMMIT_REF"), "refs/heads/main");
        assert_string_equal(value_of(order, "CI_BRANCH"), "main");
        assert_string_equal(value_of(order, "CI_TAG"), "");
        assert_string_equal(value_of(order, "CI_PULL_REQUEST"), "");
        assert_string_equal(value_of(order, "CI_EVENT"), "push");
        assert_string_equal(value_of(order, "CI_BUILD_NUMBER"), "12");
        assert_string_equal(value_of(order, "CI_BUILD_URL"), "http://u");
        assert_string_equal(value_of(order, "CI_JOB_NAME"), "b");
        assert_string_equal(value_of(order, "CI_ATTEMPT"), "1");
        assert_int_equal(order->n_steps, 1);
        assert_string_equal(order->steps[0].run, "make");
        assert_string_equal(order->steps[0].shell, "bash");
        assert_string_equal(order->steps[0].folder, "w");
        assert_int_equal(order->steps[0].timeout_ms, 60000);
        assert_string_equal(order->steps[0].env[0].value, "step");
}

TEST("a job that says nothing gets the defaults, a fork the strict profile, a tag its name")
{
        scoped(pipeline_file) struct pipeline_file *file =
                pipeline_file_parse("f", text, strlen(text));
        scoped(build) struct build *build = make_build("refs/tags/v1.0");
        scoped(order) struct order *order = NULL;
        struct error err = {0};

        build->fork = true;
        build->pull_request = 7;
        plan_jobs(build, file);
        build_add_attempt(build, &build->jobs[0]);
        assert_ok(plan_order(&order, file, build, &build->jobs[0], job_attempt(&build->jobs[0]),
                             &limits, "", &err),
                  err);
        assert_int_equal(order->timeout_ms, 3600000);
        assert_int_equal(order->memory, INT64_C(2) << 30);
        assert_string_equal(order->notes, "");
        assert_true(order->strict);
        assert_string_equal(value_of(order, "CI_TAG"), "v1.0");
        assert_string_equal(value_of(order, "CI_BRANCH"), "");
        assert_string_equal(value_of(order, "CI_PULL_REQUEST"), "7");
        assert_string_equal(order->steps[0].shell, "sh");
}

TEST("a job that the file does not have is not found")
{
        scoped(pipeline_file) struct pipeline_file *file =
                pipeline_file_parse("f", text, strlen(text));
        scoped(build) struct build *build = make_build("refs/heads/main");
        scoped(order) struct order *order = NULL;
        struct job job = {.name = "gone"};
        struct attempt attempt = {.token = ""};
        struct error err = {0};

        assert_int_equal(plan_order(&order, file, build, &job, &attempt, &limits, "", &err),
                         -ERROR_NOT_FOUND);
        assert_null(order);
}

TEST("the kind of a project is read from the names in its top folder")
{
        assert_string_equal(plan_project_type("README\npom.xml\nMakefile\n"), "maven");
        assert_string_equal(plan_project_type("build.gradle.kts"), "gradle");
        assert_string_equal(plan_project_type("package.json\n"), "npm");
        assert_string_equal(plan_project_type("src\nrequirements.txt"), "python");
        assert_string_equal(plan_project_type("go.mod\ngo.sum"), "go");
        assert_string_equal(plan_project_type("Cargo.toml"), "cargo");
        assert_string_equal(plan_project_type("CMakeLists.txt\nMakefile"), "cmake");
        assert_string_equal(plan_project_type("Makefile"), "make");
        assert_string_equal(plan_project_type("Makefile.am\nmy-package.json\n"), "unknown");
        assert_string_equal(plan_project_type(""), "unknown");
}

TEST_MAIN()
