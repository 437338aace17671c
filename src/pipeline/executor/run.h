#pragma once
/*
 * run - what the parts of job_run() share; private to them
 *
 * job_run.c goes through the phases, run_events.c turns events of argon-step into log and results,
 * run_prepare.c makes the sandbox, run_plan.c the plan, run_follow.c waits, run_end.c tells the end
 * and cleans up. All of it belongs to the thread of job_run().
 */
#include <stdbool.h>

#include "base/str.h"
#include "pipeline/executor/job_run.h"
#include "pipeline/executor/run_state.h"
#include "ports/engine.h"

struct channel;
struct log_cut;
struct mask_set;
struct step_event;
struct step_plan;
struct watch;

/**
 * struct run
 * @dirty: something was given to the sink since the last commit
 * @broken: the sink could not commit: leave everything as it is
 * @away_ms: for how long no process followed the running job before this one
 * @asked: we told argon-step to stop (cancel, kill or deadline)
 */
struct run {
        const struct job_options *options;
        const struct order *order;
        struct run_state state;
        struct mask_set *masks;
        struct log_cut *cut;
        struct channel *channel;
        struct sandbox *sandbox;
        struct watch *watch;
        char *workspace;
        char *control;
        char *id_prefix;
        struct str unmasked; /* lines about values that are too short to mask */
        uint64_t read;       /* offset after the last event */
        int64_t away_ms;
        bool dirty;
        bool broken;
        bool asked;
        struct error *err;
};

int run_begin(struct run *run, const struct job_options *options, struct error *err);
void run_done(struct run *run);

/** run_at() - ms since the attempt began */
int64_t run_at(const struct run *run);
/** run_note() - a line of ours in the job's log */
void run_note(struct run *run, const char *line);
/** run_event() - a line of the executor about the job; pairs: members of its context */
void run_event(struct run *run, enum log_severity severity, const char *message,
               const char *const (*pairs)[2], size_t n);
/** run_result() - fill in what all results share, number it and give it to the sink */
void run_result(struct run *run, struct job_result *result);
/** run_commit() - make what was said durable, then acknowledge; sets run->broken on failure */
void run_commit(struct run *run);

/** run_judge() - the verdict stands; the text is copied */
void run_judge(struct run *run, enum state state, enum reason reason, const char *text);
/** run_open_channel() - unless it is open; with the plan. Elsewhere (remote) the sandbox must run.
 */
int run_open_channel(struct run *run, struct error *err);

/** run_prepare() - up to the start; a failure is judged, a stop leaves the phase at PREPARING */
void run_prepare(struct run *run);
/** run_finish() - tell the verdict */
void run_finish(struct run *run);
/** run_give_back() - tell that nothing of it began */
void run_give_back(struct run *run);
/** run_clean_up() - nothing of it is left; @ended: it was not given back or abandoned */
void run_clean_up(struct run *run, bool ended);

/** run_handle() - one event of argon-step; Return: -ERROR_INVALID when it cannot be true */
int run_handle(struct run *run, const struct step_event *event, struct error *err);
/** run_emit(), run_learned() - for the cutter; data is the run */
void run_emit(void *data, const struct log_entry *entry);
void run_learned(void *data, const char *value, size_t n);
/** run_load_learned() - the masks that an earlier process learned */
int run_load_learned(struct run *run, struct error *err);

/* Steps of the strict profile are nobody; argon-step has a uid that no step can take. */
#define STRICT_STEP_ID 65534
#define STRICT_SUPERVISOR_ID 65533

/** run_changes_users() - whether the strict profile's users are set by argon-step: only a sandbox
 * of an engine with images starts as root; elsewhere the engine has chosen an unprivileged one */
bool run_changes_users(const struct run *run);
/** run_set_plan() - give the channel what the order says */
int run_set_plan(struct run *run, struct error *err);
