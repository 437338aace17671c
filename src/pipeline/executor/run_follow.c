/*
 * One loop: events of argon-step, the end of the sandbox (watch), the stop handle, and three
 * timers: the rhythm of the log, the outer deadline of the job, and what a cancelled job gets to
 * end by itself. The outer ones count on nothing inside the sandbox: they end it by the engine.
 */
#include "pipeline/executor/run_follow.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/scoped.h"
#include "domain/order.h"
#include "pipeline/executor/channel.h"
#include "pipeline/executor/run.h"
#include "pipeline/executor/log_cut.h"
#include "pipeline/executor/watch.h"

#include "base/banned.h"

#define LOOK_MS 1000       /* how often timers are looked at when nothing happens */
#define PEER_AGAIN_MS 200  /* between two questions for the peer's pid */
#define DRAIN_MS 300       /* what may still lie in the socket of a sandbox that has ended */
#define STOP_KILL_MS 1000  /* from STOP to the engine's kill */
#define KILL_AGAIN_MS 2000 /* between two kills, where the engine did not answer */
#define DROPPED_COMMIT (256 * 1024)

/**
 * struct follow
 * @wake: epoll of the stop handle and the watch
 * @peer_at: when to ask for the peer, INT64_MAX: known; @connect_by: when argon-step must be there
 * @stop_at: when to send STOP; @kill_at: when to end it by the engine; INT64_MAX: not
 * @late: the deadline passed; @silent: it did not connect in time; @heard: it is or was there;
 * @ended: the watch said so
 */
struct follow {
        struct run *run;
        int wake;
        int64_t peer_at;
        int64_t connect_by;
        int64_t stop_at;
        int64_t kill_at;
        int64_t dropped;
        enum job_stop_kind stop;
        bool late;
        bool silent;
        bool heard;
        bool ended;
        struct sandbox_end end;
};

static void ask_to_stop(struct follow *follow, int64_t now)
{
        follow->run->asked = true;
        channel_stop(follow->run->channel);
        follow->stop_at = INT64_MAX;
        follow->kill_at = now + STOP_KILL_MS;
}

static void take_stop(struct follow *follow, int64_t now)
{
        struct run *run = follow->run;
        enum job_stop_kind kind = job_stop_seen(run->options->stop);

        if (kind <= follow->stop)
                return;
        follow->stop = kind;
        if (kind == JOB_STOP_CANCEL) {
                int64_t grace = run->options->cancel_ms;

                run->asked = true;
                run->state.cancelled = true;
                run->dirty = true;
                channel_cancel(run->channel);
                follow->stop_at = now + (grace ? grace : JOB_CANCEL_MAX_MS);
        } else if (kind == JOB_STOP_KILL) {
                run->state.cancelled = true;
                run->dirty = true;
                ask_to_stop(follow, now);
        }
}

static void take_end(struct follow *follow)
{
        if (follow->ended || !watch_ended(follow->run->watch, &follow->end))
                return;
        follow->ended = true;
        epoll_ctl(follow->wake, EPOLL_CTL_DEL, watch_fd(follow->run->watch), NULL);
}

/* A job that was cancelled by the process before is cancelled by this one too. */
static void cancel_again(struct follow *follow, int64_t now)
{
        if (!follow->run->state.cancelled)
                return;
        follow->stop = JOB_STOP_CANCEL;
        follow->run->asked = true;
        channel_cancel(follow->run->channel);
        follow->stop_at = now + JOB_CANCEL_MAX_MS;
}

static void judge_unheard(struct run *run, const struct sandbox_end *end)
{
        scoped_text char *text =
                text_format("the sandbox ended before argon-step connected (exit code %d): this "
                            "image, or this machine, does not let it run",
                            end->exit_code);

        cause_set(&run->state.verdict, STATE_ERROR, REASON_ENGINE_UNAVAILABLE, text);
}

/* The sandbox has ended and its socket is empty: argon-step left without a word. */
static void judge_ended(struct follow *follow)
{
        struct run *run = follow->run;

        if (follow->late)
                cause_of_deadline(&run->state.verdict, run->order);
        else if (follow->silent)
                cause_set(&run->state.verdict, STATE_ERROR, REASON_ENGINE_UNAVAILABLE,
                          "argon-step did not connect: the sandbox does not run it, or cannot "
                          "reach its control folder");
        else if (run->away_ms >= run->options->orphan_max_ms && run->away_ms > 0)
                cause_of_absence(&run->state.verdict, run->options->orphan_max_ms);
        else if (run->asked)
                cause_set(&run->state.verdict, STATE_CANCELLED, REASON_CANCELLED, "cancelled");
        else if (!follow->heard && run->away_ms == 0 && !follow->end.oom && !follow->end.disk &&
                 !follow->end.gone)
                judge_unheard(run, &follow->end);
        else
                cause_of_sandbox(&run->state.verdict, run->order, &follow->end);
        run->state.phase = RUN_PHASE_JUDGED;
        run->dirty = true;
}

/* JOB_END came: what we did to it, or the engine saw, is the deeper cause. */
static void correct_verdict(struct follow *follow)
{
        struct run *run = follow->run;
        struct cause *verdict = &run->state.verdict;

        if (verdict->state == STATE_SUCCESS)
                return;
        if (follow->late && verdict->state == STATE_CANCELLED) {
                cause_of_deadline(verdict, run->order);
        } else if (verdict->reason == REASON_ENGINE_UNAVAILABLE) {
                struct error err;

                /* stopped from outside: the engine may have done it for the disk limit */
                if (engine_wait(run->options->engine, run->sandbox, DRAIN_MS, -1, &follow->end,
                                &err) == 1 &&
                    follow->end.disk)
                        cause_of_sandbox(verdict, run->order, &follow->end);
        }
}

static int64_t deadline(const struct run *run)
{
        const struct run_state *state = &run->state;

        if (run->order->timeout_ms <= 0 || state->zero < 0)
                return INT64_MAX;
        return state->begun_boot + state->zero + run->order->timeout_ms + state->extra_ms +
               JOB_DEADLINE_SLACK_MS;
}

static void end_by_engine(struct follow *follow, int64_t now)
{
        struct error err;

        follow->kill_at = now + KILL_AGAIN_MS;
        if (engine_kill(follow->run->options->engine, follow->run->sandbox, &err) < 0)
                run_event(follow->run, LOG_WARNING, "The sandbox cannot be ended, trying again",
                          (const char *const[][2]){{"error", err.text}}, 1);
}

static void look_at_timers(struct follow *follow, int64_t now)
{
        struct run *run = follow->run;

        if (follow->ended)
                return;
        if (now >= follow->stop_at)
                ask_to_stop(follow, now);
        if (now >= follow->kill_at)
                end_by_engine(follow, now);
        if (!follow->late && clock_boot_ms() >= deadline(run)) {
                follow->late = true;
                ask_to_stop(follow, now);
        }
        if (channel_connected(run->channel)) {
                follow->heard = true;
                follow->connect_by = INT64_MAX;
        } else if (!follow->silent && now >= follow->connect_by) {
                follow->silent = true;
                end_by_engine(follow, now);
        }
}

static void seek_peer(struct follow *follow, int64_t now)
{
        struct run *run = follow->run;
        struct error err;
        pid_t pid;

        if (now < follow->peer_at || follow->ended)
                return;
        follow->peer_at = now + PEER_AGAIN_MS;
        if (engine_peer(run->options->engine, run->sandbox, &pid, &err) < 0)
                return;
        channel_set_peer(run->channel, pid);
        follow->peer_at = INT64_MAX;
        follow->connect_by = now + JOB_CONNECT_MAX_MS;
}

static int64_t sooner(int64_t timeout, int64_t at, int64_t now)
{
        int64_t left = at == INT64_MAX ? timeout : at > now ? at - now : 0;

        return left < timeout ? left : timeout;
}

static int64_t next_timeout(const struct follow *follow, int64_t now)
{
        int64_t due = log_cut_due(follow->run->cut);
        int64_t timeout = follow->ended ? DRAIN_MS : LOOK_MS;

        if (due >= 0)
                timeout = sooner(timeout, due, now);
        timeout = sooner(timeout, follow->peer_at, now);
        timeout = sooner(timeout, follow->stop_at, now);
        return sooner(timeout, follow->kill_at, now);
}

/* Remote mode: the line broke; the sandbox may be fine. */
static void attach_again(struct follow *follow)
{
        struct run *run = follow->run;
        struct error err;
        int fd;

        if (engine_attach(run->options->engine, run->sandbox, &fd, &err) == 0)
                channel_attach(run->channel, fd);
        else
                usleep(PEER_AGAIN_MS * 1000);
}

static void take_event(struct follow *follow, const struct step_event *event)
{
        struct run *run = follow->run;
        struct error err;

        if (run_handle(run, event, &err) < 0)
                run_judge(run, STATE_ERROR, REASON_INTERNAL, err.text);
        else if (run->state.phase == RUN_PHASE_JUDGED)
                correct_verdict(follow);
        follow->dropped += log_cut_dropped(run->cut);
        if (event->type == STEP_FRAME_OUTPUT && FAILPOINT("executor.mid_log"))
                run_judge(run, STATE_ERROR, REASON_INTERNAL, "failpoint executor.mid_log");
}

static void take_failure(struct follow *follow, int result, const struct error *err)
{
        struct run *run = follow->run;

        if (result == -ERROR_CANCELLED)
                return; /* the wake is looked at in any case */
        if (result == -ERROR_UNAVAILABLE && engine_info(run->options->engine)->remote) {
                attach_again(follow);
                return;
        }
        run_judge(run, STATE_ERROR, REASON_INTERNAL, err->text);
}

static void turn(struct follow *follow)
{
        struct run *run = follow->run;
        int64_t now = clock_ms();
        struct step_event event;
        struct error err;
        int result;

        seek_peer(follow, now);
        result = channel_receive(run->channel, next_timeout(follow, now), follow->wake, &event,
                                 &err);
        now = clock_ms();
        if (result == 1)
                take_event(follow, &event);
        else if (result < 0)
                take_failure(follow, result, &err);
        else if (follow->ended && log_cut_due(run->cut) < 0)
                judge_ended(follow);
        if (result != 1)
                take_end(follow);
        if (result == -ERROR_CANCELLED || job_stop_kind(run->options->stop) > follow->stop)
                take_stop(follow, now);
        look_at_timers(follow, now);
        log_cut_tick(run->cut, now);
        if (run->dirty || follow->dropped >= DROPPED_COMMIT) {
                run_commit(run);
                follow->dropped = 0;
        }
}

static int open_wake(struct follow *follow, struct error *err)
{
        struct run *run = follow->run;
        struct epoll_event event = {.events = EPOLLIN};

        if (watch_open(&run->watch, run->options->engine, run->sandbox, err) < 0)
                return -err->kind;
        follow->wake = epoll_create1(EPOLL_CLOEXEC);
        if (follow->wake < 0 ||
            epoll_ctl(follow->wake, EPOLL_CTL_ADD, job_stop_fd(run->options->stop), &event) < 0 ||
            epoll_ctl(follow->wake, EPOLL_CTL_ADD, watch_fd(run->watch), &event) < 0)
                return error_set_errno(err, "make an epoll");
        return 0;
}

enum run_followed run_follow(struct run *run)
{
        bool remote = engine_info(run->options->engine)->remote;
        int64_t now = clock_ms();
        struct follow follow = {
                .run = run,
                .wake = -1,
                .peer_at = remote ? INT64_MAX : now,
                .connect_by = remote ? now + JOB_CONNECT_MAX_MS : INT64_MAX,
                .stop_at = INT64_MAX,
                .kill_at = INT64_MAX,
        };
        struct error err;

        if (open_wake(&follow, &err) < 0)
                run_judge(run, STATE_ERROR, REASON_INTERNAL, err.text);
        else
                cancel_again(&follow, now);
        while (run->state.phase == RUN_PHASE_RUNNING && !run->broken) {
                enum job_stop_kind stop = job_stop_kind(run->options->stop);

                if (stop == JOB_STOP_DETACH || stop == JOB_STOP_ABANDON)
                        break;
                turn(&follow);
        }
        if (follow.wake >= 0)
                close(follow.wake);
        return run->state.phase == RUN_PHASE_JUDGED ? RUN_FOLLOWED_VERDICT : RUN_FOLLOWED_LEFT;
}
