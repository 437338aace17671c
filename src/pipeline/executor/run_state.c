#include "pipeline/executor/run_state.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "pipeline/executor/log_cut.h"
#include "pipeline/executor/pack.h"

#include "base/banned.h"

void run_state_init(struct run_state *state)
{
        *state = (struct run_state){.begun_boot = clock_boot_ms(), .zero = -1, .step = -1};
        cause_set(&state->verdict, STATE_ERROR, REASON_INTERNAL, "");
}

void run_state_done(struct run_state *state)
{
        cause_done(&state->verdict);
}

void run_state_save(const struct run_state *state, struct log_cut *cut, struct str *ret)
{
        pack_int(ret, RUN_STATE_VERSION);
        pack_int(ret, state->phase);
        pack_int(ret, state->starts);
        pack_int(ret, state->begun_boot);
        pack_int(ret, clock_boot_ms());
        pack_int(ret, state->zero);
        pack_int(ret, state->extra_ms);
        pack_int(ret, state->result_seq);
        pack_int(ret, (int64_t)state->position);
        pack_int(ret, (int64_t)state->seen);
        pack_int(ret, state->step);
        pack_int(ret, state->step_running);
        pack_int(ret, state->first_line);
        pack_int(ret, state->last_line);
        pack_int(ret, state->cancelled);
        pack_int(ret, state->verdict.state);
        pack_int(ret, state->verdict.reason);
        pack_text(ret, state->verdict.text);
        pack_int(ret, state->verdict.exit_code);
        pack_int(ret, state->verdict.signal);
        pack_int(ret, state->verdict.step);
        log_cut_save(cut, ret);
}

static void load_verdict(struct cause *verdict, struct unpack *from)
{
        enum state state = (enum state)unpack_int(from);
        enum reason reason = (enum reason)unpack_int(from);
        size_t n;
        const char *text = unpack_bytes(from, &n);
        scoped_text char *copy = text_format("%.*s", (int)n, text);

        cause_set(verdict, state, reason, copy);
        verdict->exit_code = (int)unpack_int(from);
        verdict->signal = (int)unpack_int(from);
        verdict->step = (int)unpack_int(from);
}

int run_state_load(struct run_state *state, struct log_cut *cut, const void *bytes, size_t n,
                   struct error *err)
{
        struct unpack from = {bytes, n, false};

        if (unpack_int(&from) != RUN_STATE_VERSION)
                return error_set(err, ERROR_INVALID,
                                 "the state of the job was written by another version");
        state->phase = (enum run_phase)unpack_int(&from);
        state->starts = (int)unpack_int(&from);
        state->begun_boot = unpack_int(&from);
        state->saved_boot = unpack_int(&from);
        state->zero = unpack_int(&from);
        state->extra_ms = unpack_int(&from);
        state->result_seq = unpack_int(&from);
        state->position = (uint64_t)unpack_int(&from);
        state->seen = (uint64_t)unpack_int(&from);
        state->step = (int)unpack_int(&from);
        state->step_running = unpack_int(&from) != 0;
        state->first_line = unpack_int(&from);
        state->last_line = unpack_int(&from);
        state->cancelled = unpack_int(&from) != 0;
        load_verdict(&state->verdict, &from);
        log_cut_load(cut, &from);
        if (from.bad)
                return error_set(err, ERROR_INVALID, "the state of the job is cut short");
        return 0;
}

enum run_phase run_state_phase(const void *bytes, size_t n)
{
        struct unpack from = {bytes, n, false};
        int64_t version = unpack_int(&from);
        int64_t phase = unpack_int(&from);

        if (from.bad || version != RUN_STATE_VERSION || phase < 0 || phase > RUN_PHASE_FINISHED)
                return RUN_PHASE_NEW;
        return (enum run_phase)phase;
}
