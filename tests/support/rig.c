#include "tests/support/rig.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "adapters/bus/sqlite.h"
#include "adapters/forge/git.h"
#include "adapters/sqlite/files.h"
#include "adapters/store/sqlite.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/process.h"
#include "base/scoped.h"
#include "base/str.h"
#include "pipeline/topology.h"
#include "ports/bus.h"
#include "ports/forge.h"
#include "ports/store.h"
#include "tests/support/test.h"
#include "wire/control_request.h"
#include "wire/dispatch.h"
#include "wire/webhook_event.h"

#include "base/banned.h"

#define PAUSE_MS 5
#define ARGUMENTS_MAX 16

static void pause_a_little(void)
{
        nanosleep(&(struct timespec){0, PAUSE_MS * 1000000}, NULL);
}

void rig_attach(struct rig *rig)
{
        scoped_text char *data = fs_path(rig->folder, "data");
        struct forge_options options = {.allow = "file", .timeout_ms = 20000, .size_max = 64 << 20};
        struct error err = {0};

        assert_ok(sqlite_files_open(&rig->files, data, &err), err);
        assert_ok(bus_sqlite_open(&rig->bus, "sqlite", rig->files, &err), err);
        assert_ok(store_sqlite_open(&rig->store, "sqlite", rig->files, &err), err);
        rig->mirrors = fs_path(rig->folder, "mirrors");
        options.mirrors = rig->mirrors;
        assert_ok(fs_mkdirs(options.mirrors, 0700, &err), err);
        assert_ok(git_forge_open(&rig->forge, &options, &err), err);
}

void rig_prepare(struct rig *rig)
{
        struct error err = {0};

        *rig = (struct rig){.folder = "/tmp/argon-rig.XXXXXX"};
        assert_non_null(mkdtemp(rig->folder));
        rig->repository = fs_path(rig->folder, "repository");
        rig->url = text_format("file://%s", rig->repository);
        assert_ok(fs_mkdirs(rig->repository, 0700, &err), err);
        rig_git(rig, (const char *const[]){"init", "-q", "-b", "main", NULL});
}

void rig_open(struct rig *rig)
{
        rig_prepare(rig);
        rig_attach(rig);
}

void rig_detach(struct rig *rig)
{
        forge_close(rig->forge);
        store_close(rig->store);
        bus_close(rig->bus);
        sqlite_files_close(rig->files);
        free(rig->mirrors);
        rig->mirrors = NULL;
}

void rig_die(struct rig *rig, const char *failpoint, void (*body)(struct rig *rig, void *data),
             void *data)
{
        pid_t pid = fork();
        int status = 0;

        if (pid == 0) {
                setenv("ARGON_FAIL", failpoint, 1);
                alarm(RIG_WAIT_MS / 1000);
                rig_attach(rig);
                body(rig, data);
                sleep(RIG_WAIT_MS / 1000);
                _exit(1);
        }
        assert_true(pid > 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
                fail_msg("%s did not kill: status %x", failpoint, status);
}

void rig_close(struct rig *rig)
{
        rig_detach(rig);
        fs_remove_tree(rig->folder, NULL);
        free(rig->repository);
        free(rig->url);
}

static void run_git(struct rig *rig, const char *const *arguments, struct str *ret)
{
        static const char *const env[] = {"PATH=/usr/local/bin:/usr/bin:/bin",
                                          "HOME=/nonexistent",
                                          "GIT_CONFIG_NOSYSTEM=1",
                                          "GIT_AUTHOR_NAME=Ada",
                                          "GIT_AUTHOR_EMAIL=ada@example.org",
                                          "GIT_COMMITTER_NAME=Ada",
                                          "GIT_COMMITTER_EMAIL=c@example.org",
                                          NULL};
        const char *argv[ARGUMENTS_MAX] = {"git"};
        scoped_process_result struct process_result result = PROCESS_RESULT_INIT;
        struct error err = {0};

        for (size_t i = 0; arguments[i] && i + 2 < ARGUMENTS_MAX; i++)
                argv[i + 1] = arguments[i];
        assert_ok(process_run(&result,
                              &(struct process_spec){.argv = argv,
                                                     .env = env,
                                                     .folder = rig->repository,
                                                     .timeout_ms = RIG_WAIT_MS,
                                                     .output_max = 65536,
                                                     .error_max = 65536,
                                                     .cancel_fd = -1},
                              &err),
                  err);
        if (result.exit_code != 0)
                fail_msg("git %s: %s", arguments[0], result.errors.data);
        if (ret)
                str_add(ret, result.output.data);
}

void rig_git(struct rig *rig, const char *const *arguments)
{
        run_git(rig, arguments, NULL);
}

void rig_commit(struct rig *rig, const char *name, const char *content, char ret[65])
{
        scoped_text char *path = fs_path(rig->repository, name);
        scoped_str struct str commit = STR_INIT;
        struct error err = {0};

        if (content)
                assert_ok(fs_write_atomic(path, content, strlen(content), 0644, &err), err);
        rig_git(rig, (const char *const[]){"add", "-A", NULL});
        rig_git(rig,
                (const char *const[]){"commit", "-q", "--allow-empty", "-m", "A change", NULL});
        run_git(rig, (const char *const[]){"rev-parse", "HEAD", NULL}, &commit);
        snprintf(ret, 65, "%.*s", (int)strcspn(commit.data, "\n"), commit.data);
}

void rig_push(struct rig *rig, const char *repo, const char *url, const char *commit,
              const char *delivery)
{
        scoped_str struct str body = STR_INIT;
        struct error err = {0};
        struct webhook_event event = {
                .id = delivery,
                .forge = "github",
                .repository_url = url,
                .repo_name = strchr(repo, '/') + 1,
                .repo_full_name = repo,
                .branch = "main",
                .ref = "refs/heads/main",
                .commit = commit,
                .message = "A change",
                .pusher = "ada",
                .pusher_email = "ada@example.org",
                .author = "",
                .author_email = "",
                .committer_email = "",
                .timestamp_ns = wall_ns(),
                .trigger = "push",
                .project_type = "unknown",
                .delivery_id = delivery,
                .pull_request_title = "",
                .requested_by = "",
        };

        webhook_event_encode(&event, &body);
        assert_ok(bus_publish(rig->bus, QUEUE_WEBHOOK, body.data, body.len, &err), err);
}

void rig_ask(struct rig *rig, int kind, const char *target, const char *what)
{
        scoped_str struct str body = STR_INIT;
        struct error err = {0};
        char id[ID_SIZE];
        struct control_request request = {
                .id = id,
                .kind = (enum control_kind)kind,
                .build_id = kind == CONTROL_RUN ? "" : target,
                .jobs = kind == CONTROL_RERUN ? what : "",
                .repo = kind == CONTROL_RUN ? target : "",
                .ref = kind == CONTROL_RUN ? what : "",
                .who = "dev1",
        };

        id_new(id);
        control_request_encode(&request, &body);
        assert_ok(bus_publish(rig->bus, QUEUE_CONTROL, body.data, body.len, &err), err);
}

static struct dispatch *take_dispatch(struct rig *rig, int64_t ms)
{
        static const char *const queues[] = {QUEUE_SANDBOX};
        struct bus_consumer *consumer;
        struct bus_message message;
        struct dispatch *dispatch = NULL;
        struct error err = {0};

        assert_ok(bus_consume(rig->bus, &consumer, queues, 1, 1, &err), err);
        if (bus_receive(consumer, &message, 1, ms, &err) == 1) {
                assert_ok(dispatch_decode(&dispatch, message.body, message.len, &err), err);
                assert_ok(bus_ack(consumer, message.tag, &err), err);
        }
        bus_consumer_close(consumer);
        return dispatch;
}

struct dispatch *rig_take(struct rig *rig)
{
        struct dispatch *dispatch = take_dispatch(rig, RIG_WAIT_MS);

        assert_non_null(dispatch);
        return dispatch;
}

void rig_take_none(struct rig *rig, int64_t ms)
{
        assert_null(take_dispatch(rig, ms));
}

int rig_claim(struct rig *rig, const struct dispatch *dispatch, const char *executor)
{
        return store_lease_claim(rig->store, dispatch->job_id, dispatch->attempt, dispatch->token,
                                 executor, NULL);
}

void rig_result(struct rig *rig, const struct dispatch *dispatch, struct job_result result)
{
        scoped_str struct str body = STR_INIT;
        struct error err = {0};

        result.build_id = dispatch->build_id;
        result.job_id = dispatch->job_id;
        result.attempt = dispatch->attempt;
        result.token = result.token ? result.token : dispatch->token;
        result.executor = result.executor ? result.executor : "rig";
        result.step_name = text_or(result.step_name, "");
        result.reason_text = text_or(result.reason_text, "");
        result.tail = text_or(result.tail, "");
        result.at = wall_ms();
        result.seq = result.seq ? result.seq : (int64_t)result.kind + 1;
        job_result_encode(&result, &body);
        assert_ok(bus_publish(rig->bus, QUEUE_RESULT, body.data, body.len, &err), err);
}

void rig_finish(struct rig *rig, const struct dispatch *dispatch, enum state state,
                enum reason reason, const char *text)
{
        rig_result(rig, dispatch,
                   (struct job_result){.kind = RESULT_FINISHED,
                                       .state = state,
                                       .reason = reason,
                                       .reason_text = text,
                                       .exit_code = state == STATE_SUCCESS ? 0 : 1});
        store_lease_release(rig->store, dispatch->job_id, dispatch->attempt, dispatch->token, NULL);
}

void rig_run(struct rig *rig, const struct dispatch *dispatch, enum state state)
{
        assert_int_equal(rig_claim(rig, dispatch, "rig"), 0);
        rig_result(rig, dispatch, (struct job_result){.kind = RESULT_ACCEPTED});
        rig_result(rig, dispatch, (struct job_result){.kind = RESULT_STARTED});
        rig_result(rig, dispatch, (struct job_result){.kind = RESULT_STEP_STARTED});
        rig_result(rig, dispatch,
                   (struct job_result){.kind = RESULT_STEP_FINISHED,
                                       .state = state,
                                       .exit_code = state == STATE_SUCCESS ? 0 : 1});
        rig_finish(rig, dispatch, state, state == STATE_SUCCESS ? REASON_NONE : REASON_EXIT_CODE,
                   state == STATE_SUCCESS ? "" : "exited with 1");
}

struct build *rig_build_of(struct rig *rig, const char *delivery)
{
        for (int64_t end = clock_ms() + RIG_WAIT_MS; clock_ms() < end; pause_a_little()) {
                struct build *build = NULL;

                if (store_build_of_delivery(rig->store, &build, delivery, NULL) == 0)
                        return build;
        }
        fail_msg("no build of the delivery %s", delivery);
        return NULL;
}

struct build *rig_wait_job(struct rig *rig, const char *id, const char *job, enum state state)
{
        enum state last = STATE_QUEUED;

        for (int64_t end = clock_ms() + RIG_WAIT_MS; clock_ms() < end; pause_a_little()) {
                struct build *build = NULL;
                struct error err = {0};

                assert_ok(store_build_get(rig->store, &build, id, &err), err);
                last = job ? build_job(build, job)->state : build->state;
                if (last == state)
                        return build;
                build_free(build);
        }
        fail_msg("%s is %s, not %s", job ? job : "the build", state_name(last), state_name(state));
        return NULL;
}

struct build *rig_wait(struct rig *rig, const char *id, enum state state)
{
        return rig_wait_job(rig, id, NULL, state);
}

int64_t rig_depth(struct rig *rig, const char *queue)
{
        int64_t ready = 0;
        int64_t unsettled = 0;
        struct error err = {0};

        assert_ok(bus_depth(rig->bus, queue, &ready, &unsettled, &err), err);
        return ready + unsettled;
}

void rig_wait_depth(struct rig *rig, const char *queue, int64_t depth)
{
        int64_t now = -1;

        for (int64_t end = clock_ms() + RIG_WAIT_MS; clock_ms() < end; pause_a_little()) {
                now = rig_depth(rig, queue);
                if (now == depth)
                        return;
        }
        fail_msg("%s has %lld messages, not %lld", queue, (long long)now, (long long)depth);
}
