#pragma once
/*
 * step_frame - what the executor and argon-step (PID 1 of the sandbox) say to each other
 *
 * A frame is a mark byte, a type byte, the payload's length (32 bits, little endian) and at most
 * STEP_FRAME_MAX bytes of payload. Zero bytes between frames are padding.
 *
 *         executor                                argon-step
 *         ATTACH{version, nonce, resume}   →
 *                                          ←      HELLO{nonce, version, planned, base, end}
 *         PLAN{part} … GO{length, sum}     →      (only when HELLO says "not planned")
 *                                          ←      STEP_STARTED, OUTPUT…, STEP_FINISHED, …, JOB_END
 *         ACK{offset}, CANCEL, STOP        →
 *
 * Everything from STEP_STARTED to JOB_END is one stream of bytes (frames with their headers) in
 * which every byte has an offset from 0. argon-step keeps at most STEP_UNACKED_MAX bytes that are
 * not acknowledged, and sends them again from `resume` on after each ATTACH: what the executor
 * recorded and acknowledged is never sent twice, what it did not is never lost. When the buffer is
 * full argon-step stops reading the job's pipes, so output waits in the job. After JOB_END it stays
 * until all is acknowledged.
 *
 * The plan counts from GO on. A connection that ends before it leaves argon-step without a plan,
 * and the next one sends it again whole.
 *
 * Over a pair of pipes (a container elsewhere, see channel.h) either side may begin in the middle
 * of a frame: the executor then sends step_frame_pad() first, whose zeros complete whatever was
 * cut, and looks for the HELLO that repeats its nonce.
 *
 * Output of a step may come after its STEP_FINISHED: from processes that it left behind.
 *
 * This pair compiles in two worlds (argon with glibc, argon-step with musl) and needs only
 * base/error and base/str. Encoders append whole frames to a str. Decoders return views into the
 * bytes that they were given.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct str;

#define STEP_PROTOCOL 1
#define STEP_FRAME_HEADER 6
#define STEP_FRAME_MAX (64 * 1024)
#define STEP_OUTPUT_HEADER 13
#define STEP_OUTPUT_MAX (STEP_FRAME_MAX - STEP_OUTPUT_HEADER)
#define STEP_UNACKED_MAX (4 * 1024 * 1024)
#define STEP_NONCE 16
#define STEP_PLAN_MAX (8 * 1024 * 1024)
#define STEP_TEXT_MAX (1024 * 1024) /* one text of the plan: a script, a value */
#define STEP_STEPS_MAX 512
#define STEP_ENV_MAX 4096      /* variables in one list */
#define STEP_SENTENCE_MAX 1024 /* texts for people in frames of argon-step */
#define STEP_TIME_MAX_MS (INT64_C(10) * 366 * 86400 * 1000)

enum step_frame_type {
        STEP_FRAME_PAD = 0, /* a frame that was cut and completed with zeros: ignore it */
        /* from the executor */
        STEP_FRAME_ATTACH = 1,
        STEP_FRAME_PLAN = 2,
        STEP_FRAME_GO = 3,
        STEP_FRAME_ACK = 4,
        STEP_FRAME_CANCEL = 5, /* SIGTERM, grace, SIGKILL, JOB_END */
        STEP_FRAME_STOP = 6,   /* SIGKILL at once, JOB_END */
        /* from argon-step */
        STEP_FRAME_HELLO = 16,
        STEP_FRAME_STEP_STARTED = 17,
        STEP_FRAME_OUTPUT = 18,
        STEP_FRAME_STEP_FINISHED = 19,
        STEP_FRAME_JOB_END = 20,
};

enum step_stream { STEP_STREAM_STDOUT = 1, STEP_STREAM_STDERR = 2 };

/** enum step_cause - why a step did not end by itself with 0 */
enum step_cause {
        STEP_CAUSE_NONE, /* its exit code or signal says it all */
        STEP_CAUSE_TIMEOUT,
        STEP_CAUSE_JOB_TIMEOUT,
        STEP_CAUSE_OOM,
        STEP_CAUSE_PIDS,
        STEP_CAUSE_DISK,
        STEP_CAUSE_CANCELLED,
        STEP_CAUSE_STOPPED,  /* STOP, or SIGTERM to the sandbox */
        STEP_CAUSE_ORPHANED, /* no executor for longer than the plan's orphan_max_ms */
        STEP_CAUSE_START, /* could not be started: no shell, no such folder, …; the text says it */
        STEP_CAUSE_INTERNAL, /* the supervisor itself failed */
        STEP_CAUSES,
};

/** step_cause_name() - "timeout", "oom", …; "" for none */
const char *step_cause_name(enum step_cause cause);

#define STEP_ID_KEEP UINT32_MAX

struct step_plan_env {
        const char *name;
        const char *value;
};

/**
 * struct step_plan_step
 * @name: for people
 * @script: text of `run`
 * @shell: "sh", "bash", "python" or a command in which {0} stands for the script's path
 * @folder: absolute, or relative to the plan's workspace; "" is the workspace
 * @timeout_ms: 0: only the job's
 */
struct step_plan_step {
        const char *name;
        const char *script;
        const char *shell;
        const char *folder;
        int64_t timeout_ms;
        bool continue_on_error;
        struct step_plan_env *env;
        size_t n_env;
};

/**
 * struct step_plan - what argon-step is to do; texts borrowed (encoding) or views (decoded)
 * @workspace: absolute path inside the sandbox
 * @timeout_ms: of the job, counted from its first step; 0: none
 * @orphan_max_ms: without a connection for longer the job is ended; 0: 15 minutes
 * @grace_ms: between SIGTERM and SIGKILL; 0: 10 s
 * @uid, @gid: of the steps, or STEP_ID_KEEP: as argon-step was started
 * @supervisor_uid: argon-step itself changes to it (keeping SETUID, SETGID, KILL), or STEP_ID_KEEP
 * @strict: steps get no capability at all and no_new_privs; without it they keep what the sandbox
 *         gave. What cannot be kept is an error of the job, never a weaker profile
 * @env: for every step, on top of the sandbox's own environment; a later one of a name wins, a
 *         step's own env over it, secrets over all
 * @secrets: name and value; values are nowhere else
 */
struct step_plan {
        const char *workspace;
        int64_t timeout_ms;
        int64_t orphan_max_ms;
        int64_t grace_ms;
        uint32_t uid;
        uint32_t gid;
        uint32_t supervisor_uid;
        bool strict;
        struct step_plan_env *env;
        size_t n_env;
        struct step_plan_env *secrets;
        size_t n_secrets;
        struct step_plan_step *steps;
        size_t n_steps;
};

/** struct step_frame - one frame in a buffer; @size: with header and the padding before it */
struct step_frame {
        enum step_frame_type type;
        const unsigned char *payload;
        size_t len;
        size_t size;
};

struct step_attach {
        uint32_t version;
        unsigned char nonce[STEP_NONCE];
        uint64_t resume;
};

/** struct step_hello - @base: lowest offset still held; @end: offset after the last byte so far;
 *  @planned: has its plan; @ended: JOB_END is in the stream */
struct step_hello {
        uint32_t version;
        unsigned char nonce[STEP_NONCE];
        bool planned;
        bool ended;
        uint64_t base;
        uint64_t end;
};

struct step_go {
        uint32_t length;
        uint32_t sum;
};

/** struct step_output - @ms: since GO, by the monotonic clock of the sandbox */
struct step_output {
        uint32_t step;
        enum step_stream stream;
        int64_t ms;
        const unsigned char *bytes;
        size_t n;
};

struct step_started {
        uint32_t step;
        int64_t ms;
};

/**
 * struct step_finished
 * @exit_code: -1 when a signal ended it or it never started; @signal: 0: none
 * @cpu_ms, @max_rss: of the step's process and the children it waited for; bytes
 * @blocked_ms: how long its output had to wait for the executor; not counted by its time limits
 * @killed: processes of the step that outlived their SIGTERM
 * @text: the cause as a sentence with figures ("timed out after 60 s"), or ""
 * @warning: what happened though it is not the cause ("a process was killed for lack of memory"),
 *         or ""
 */
struct step_finished {
        uint32_t step;
        int exit_code;
        int signal;
        int64_t ms;
        int64_t duration_ms;
        int64_t cpu_ms;
        int64_t max_rss;
        int64_t blocked_ms;
        uint32_t killed;
        enum step_cause cause;
        const char *text;
        const char *warning;
};

enum step_job_result {
        STEP_JOB_SUCCESS,
        STEP_JOB_FAILED, /* a step failed by itself, or by a limit that is no time limit */
        STEP_JOB_TIMEOUT,
        STEP_JOB_CANCELLED,
        STEP_JOB_ORPHANED,
        STEP_JOB_STOPPED,
        STEP_JOB_ERROR, /* the plan could not be carried out; the text says why */
        STEP_JOB_RESULTS,
};

/**
 * struct step_job_end
 * @step: index of the step that decided, or -1; @exit_code, @signal, @cause: of that step
 * @killed: processes that were still alive at the job's end
 */
struct step_job_end {
        enum step_job_result result;
        int step;
        int exit_code;
        int signal;
        int64_t ms;
        uint32_t killed;
        enum step_cause cause;
        const char *text;
        const char *warning;
};

/**
 * struct step_event - a decoded frame of the stream; @type says which member is filled
 * @offset: of the byte after this frame: what to acknowledge once it is recorded (filled in by
 *         the reader of the stream)
 */
struct step_event {
        enum step_frame_type type;
        uint64_t offset;
        union {
                struct step_started started;
                struct step_output output;
                struct step_finished finished;
                struct step_job_end end;
        };
};

/**
 * step_frame_next() - find the first whole frame in n bytes
 *
 * Return: 1 and *ret; 0 when more bytes are needed (ret->size: leading padding that may be
 * dropped); -ERROR_INVALID for what is no frame, -ERROR_LIMIT for one that claims to be too long.
 */
int step_frame_next(struct step_frame *ret, const void *bytes, size_t n, struct error *err);

/** step_frame_pad() - zeros enough to complete any frame that was cut */
void step_frame_pad(struct str *ret);
/** step_frame_bare() - a frame without payload: CANCEL, STOP */
void step_frame_bare(struct str *ret, enum step_frame_type type);
void step_attach_encode(struct str *ret, const struct step_attach *attach);
int step_attach_decode(struct step_attach *ret, const struct step_frame *frame, struct error *err);
void step_hello_encode(struct str *ret, const struct step_hello *hello);
int step_hello_decode(struct step_hello *ret, const struct step_frame *frame, struct error *err);
void step_ack_encode(struct str *ret, uint64_t offset);
int step_ack_decode(uint64_t *ret, const struct step_frame *frame, struct error *err);
int step_go_decode(struct step_go *ret, const struct step_frame *frame, struct error *err);

/**
 * step_plan_encode() - the plan as text for step_plan_frames() and step_plan_decode()
 *
 * Return: 0; -ERROR_LIMIT, -ERROR_INVALID with what is too long or wrong; *ret is then unchanged.
 */
int step_plan_encode(struct str *ret, const struct step_plan *plan, struct error *err);
/** step_plan_frames() - PLAN… and GO for the n bytes that step_plan_encode() made */
void step_plan_frames(struct str *ret, const void *bytes, size_t n);
/** step_plan_sum() - what GO carries; tells a cut plan from a whole one, no defence */
uint32_t step_plan_sum(const void *bytes, size_t n);
/** step_plan_decode() - *ret's texts are views into bytes; arrays are its own: step_plan_done() */
int step_plan_decode(struct step_plan *ret, const void *bytes, size_t n, struct error *err);
void step_plan_done(struct step_plan *plan);

/** step_output_header() - the STEP_FRAME_HEADER + STEP_OUTPUT_HEADER bytes before output->n bytes
 */
void step_output_header(unsigned char *ret, const struct step_output *output);
/** step_event_encode() - one frame of the stream; texts are cut at STEP_SENTENCE_MAX */
void step_event_encode(struct str *ret, const struct step_event *event);
/** step_event_decode() - texts and bytes are views into the frame; offset is left alone */
int step_event_decode(struct step_event *ret, const struct step_frame *frame, struct error *err);
