#include "wire/step_frame.h"

#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "tests/support/test.h"

#include "base/banned.h"

static struct step_frame first_frame(const struct str *bytes)
{
        struct step_frame frame;
        struct error err;

        assert_int_equal(step_frame_next(&frame, bytes->data, bytes->len, &err), 1);
        return frame;
}

/* Every shorter prefix of a payload, and one byte more, must be refused. */
static void refuse_other_lengths(const struct str *bytes)
{
        struct step_frame frame = first_frame(bytes);
        struct step_event event;
        size_t len = frame.len;
        scoped_str struct str copy = STR_INIT;

        for (size_t n = 0; n < len; n++) {
                frame.len = n;
                assert_int_equal(step_event_decode(&event, &frame, NULL), -ERROR_INVALID);
        }
        str_add_bytes(&copy, frame.payload, len);
        str_add_char(&copy, 0);
        frame.payload = (const unsigned char *)copy.data;
        frame.len = len + 1;
        assert_int_equal(step_event_decode(&event, &frame, NULL), -ERROR_INVALID);
}

TEST("a finished step comes back as it went in, and no other length is taken")
{
        struct step_event event = {
                .type = STEP_FRAME_STEP_FINISHED,
                .finished = {.step = 3,
                             .exit_code = -1,
                             .signal = 9,
                             .ms = 123456789012,
                             .duration_ms = 60001,
                             .cpu_ms = 17,
                             .max_rss = INT64_C(5) << 32,
                             .blocked_ms = 2,
                             .killed = 4,
                             .cause = STEP_CAUSE_OOM,
                             .text = "out of memory (64 MiB)",
                             .warning = ""},
        };
        scoped_str struct str bytes = STR_INIT;
        struct step_event back = {0};
        struct step_frame frame;
        struct error err;

        step_event_encode(&bytes, &event);
        frame = first_frame(&bytes);
        assert_int_equal(frame.size, bytes.len);
        assert_ok(step_event_decode(&back, &frame, &err), err);
        assert_int_equal(back.type, STEP_FRAME_STEP_FINISHED);
        assert_int_equal(back.finished.step, 3);
        assert_int_equal(back.finished.exit_code, -1);
        assert_int_equal(back.finished.signal, 9);
        assert_int_equal(back.finished.ms, 123456789012);
        assert_int_equal(back.finished.duration_ms, 60001);
        assert_int_equal(back.finished.cpu_ms, 17);
        assert_int_equal(back.finished.max_rss, INT64_C(5) << 32);
        assert_int_equal(back.finished.blocked_ms, 2);
        assert_int_equal(back.finished.killed, 4);
        assert_int_equal(back.finished.cause, STEP_CAUSE_OOM);
        assert_string_equal(back.finished.text, "out of memory (64 MiB)");
        assert_string_equal(back.finished.warning, "");
        refuse_other_lengths(&bytes);
}

TEST("the end of a job comes back as it went in, and no other length is taken")
{
        struct step_event event = {
                .type = STEP_FRAME_JOB_END,
                .end = {.result = STEP_JOB_TIMEOUT,
                        .step = -1,
                        .exit_code = 143,
                        .signal = 0,
                        .ms = 5,
                        .killed = 2,
                        .cause = STEP_CAUSE_JOB_TIMEOUT,
                        .text = "timed out",
                        .warning = "w"},
        };
        scoped_str struct str bytes = STR_INIT;
        struct step_event back = {0};
        struct step_frame frame;
        struct error err;

        step_event_encode(&bytes, &event);
        frame = first_frame(&bytes);
        assert_ok(step_event_decode(&back, &frame, &err), err);
        assert_int_equal(back.end.result, STEP_JOB_TIMEOUT);
        assert_int_equal(back.end.step, -1);
        assert_int_equal(back.end.exit_code, 143);
        assert_int_equal(back.end.killed, 2);
        assert_int_equal(back.end.cause, STEP_CAUSE_JOB_TIMEOUT);
        assert_string_equal(back.end.text, "timed out");
        assert_string_equal(back.end.warning, "w");
        refuse_other_lengths(&bytes);
}

TEST("output of any bytes and of the largest size comes back")
{
        static unsigned char big[STEP_OUTPUT_MAX];
        struct step_event event = {.type = STEP_FRAME_OUTPUT,
                                   .output = {.step = 511,
                                              .stream = STEP_STREAM_STDERR,
                                              .ms = INT64_C(1) << 35,
                                              .bytes = big,
                                              .n = sizeof(big)}};
        scoped_str struct str bytes = STR_INIT;
        struct step_event back = {0};
        struct step_frame frame;
        struct error err;

        for (size_t i = 0; i < sizeof(big); i++)
                big[i] = (unsigned char)(i * 7);
        step_event_encode(&bytes, &event);
        assert_int_equal(bytes.len, STEP_FRAME_HEADER + STEP_FRAME_MAX);
        frame = first_frame(&bytes);
        assert_ok(step_event_decode(&back, &frame, &err), err);
        assert_int_equal(back.output.step, 511);
        assert_int_equal(back.output.stream, STEP_STREAM_STDERR);
        assert_int_equal(back.output.ms, INT64_C(1) << 35);
        assert_int_equal(back.output.n, sizeof(big));
        assert_memory_equal(back.output.bytes, big, sizeof(big));
}

TEST("values that cannot be are refused by name")
{
        static const struct {
                size_t at;
                unsigned char value;
                const char *want;
        } cases[] = {{0, 0xff, "step"}, {4, 0, "stream"}, {4, 3, "stream"}, {12, 0x80, "ms"}};
        struct step_event event = {
                .type = STEP_FRAME_OUTPUT,
                .output = {.step = 1, .stream = STEP_STREAM_STDOUT, .bytes = (void *)"x", .n = 1}};

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                scoped_str struct str bytes = STR_INIT;
                struct step_frame frame;
                struct error err;

                step_event_encode(&bytes, &event);
                bytes.data[STEP_FRAME_HEADER + cases[i].at] = (char)cases[i].value;
                if (cases[i].at == 0)
                        bytes.data[STEP_FRAME_HEADER + 1] = (char)0xff;
                frame = first_frame(&bytes);
                assert_int_equal(step_event_decode(&event, &frame, &err), -ERROR_INVALID);
                assert_non_null(strstr(err.text, cases[i].want));
                event.output = (struct step_output){1, STEP_STREAM_STDOUT, 0, (void *)"x", 1};
        }
}

TEST("a frame is found only when it is whole, and garbage is not looked through")
{
        scoped_str struct str bytes = STR_INIT;
        struct step_frame frame;
        struct error err;

        step_ack_encode(&bytes, 77);
        for (size_t n = 0; n < bytes.len; n++)
                assert_int_equal(step_frame_next(&frame, bytes.data, n, &err), 0);
        assert_int_equal(step_frame_next(&frame, bytes.data, bytes.len, &err), 1);
        assert_int_equal(step_frame_next(&frame, "GET / HTTP/1.1\r\n", 16, &err), -ERROR_INVALID);
        assert_non_null(strstr(err.text, "0x47"));
        assert_int_equal(step_frame_next(&frame, "\xa5\x04\x01\x00\x01\x00", 6, &err),
                         -ERROR_LIMIT);
        assert_non_null(strstr(err.text, "65537"));
}

TEST("a frame cut at any byte and completed with zeros does no harm to the next")
{
        scoped_str struct str bytes = STR_INIT;
        struct step_attach attach = {.version = STEP_PROTOCOL, .resume = 42};

        step_ack_encode(&bytes, 0x0123456789abcdef);
        for (size_t cut = 0; cut < bytes.len; cut++) {
                scoped_str struct str mixed = STR_INIT;
                struct step_frame frame = {0};
                struct step_attach back;
                struct error err;
                size_t at = 0;

                str_add_bytes(&mixed, bytes.data, cut);
                step_frame_pad(&mixed);
                step_attach_encode(&mixed, &attach);
                for (;;) {
                        uint64_t offset;

                        assert_int_equal(
                                step_frame_next(&frame, mixed.data + at, mixed.len - at, &err), 1);
                        if (frame.type == STEP_FRAME_ATTACH)
                                break;
                        if (frame.type == STEP_FRAME_ACK &&
                            step_ack_decode(&offset, &frame, &err) == 0)
                                assert_true(offset < 0x0123456789abcdef);
                        at += frame.size;
                }
                assert_ok(step_attach_decode(&back, &frame, &err), err);
                assert_int_equal(back.resume, 42);
                assert_int_equal(at + frame.size, mixed.len);
        }
}

TEST("hello and attach keep what they carry")
{
        struct step_hello hello = {.version = 9, .planned = true, .base = 5, .end = 4096};
        struct step_hello back;
        scoped_str struct str bytes = STR_INIT;
        struct step_frame frame;
        struct error err;

        memcpy(hello.nonce, "0123456789abcdef", STEP_NONCE);
        step_hello_encode(&bytes, &hello);
        frame = first_frame(&bytes);
        assert_ok(step_hello_decode(&back, &frame, &err), err);
        assert_int_equal(back.version, 9);
        assert_true(back.planned);
        assert_false(back.ended);
        assert_int_equal(back.base, 5);
        assert_int_equal(back.end, 4096);
        assert_memory_equal(back.nonce, hello.nonce, STEP_NONCE);
        str_clear(&bytes);
        hello.end = 5 + STEP_UNACKED_MAX + 1;
        step_hello_encode(&bytes, &hello);
        frame = first_frame(&bytes);
        assert_int_equal(step_hello_decode(&back, &frame, &err), -ERROR_INVALID);
}

static struct step_plan_env job_env[] = {{"CI", "true"}, {"EMPTY", ""}};
static struct step_plan_env step_env[] = {{"A", "1"}};
static struct step_plan_env secrets[] = {{"TOKEN", "s3cr3t\nline"}};
static struct step_plan_step steps[] = {
        {.name = "one", .script = "echo hi", .shell = "sh", .folder = "", .timeout_ms = 1500},
        {.name = "two",
         .script = "false",
         .shell = "perl {0}",
         .folder = "/tmp",
         .continue_on_error = true,
         .env = step_env,
         .n_env = 1},
};

static struct step_plan a_plan(void)
{
        return (struct step_plan){.workspace = "/workspace",
                                  .timeout_ms = 3600000,
                                  .orphan_max_ms = 900000,
                                  .grace_ms = 10000,
                                  .uid = 65534,
                                  .gid = 65534,
                                  .supervisor_uid = STEP_ID_KEEP,
                                  .strict = true,
                                  .env = job_env,
                                  .n_env = 2,
                                  .secrets = secrets,
                                  .n_secrets = 1,
                                  .steps = steps,
                                  .n_steps = 2};
}

TEST("a plan comes back as it went in, and no prefix of it is taken")
{
        struct step_plan plan = a_plan();
        struct step_plan back;
        scoped_str struct str bytes = STR_INIT;
        struct error err;

        assert_ok(step_plan_encode(&bytes, &plan, &err), err);
        for (size_t n = 0; n < bytes.len; n++)
                assert_int_equal(step_plan_decode(&back, bytes.data, n, NULL), -ERROR_INVALID);
        assert_ok(step_plan_decode(&back, bytes.data, bytes.len, &err), err);
        assert_string_equal(back.workspace, "/workspace");
        assert_int_equal(back.timeout_ms, 3600000);
        assert_int_equal(back.uid, 65534);
        assert_int_equal(back.supervisor_uid, STEP_ID_KEEP);
        assert_true(back.strict);
        assert_int_equal(back.n_env, 2);
        assert_string_equal(back.env[1].name, "EMPTY");
        assert_string_equal(back.secrets[0].value, "s3cr3t\nline");
        assert_int_equal(back.n_steps, 2);
        assert_string_equal(back.steps[0].script, "echo hi");
        assert_int_equal(back.steps[0].timeout_ms, 1500);
        assert_true(back.steps[1].continue_on_error);
        assert_string_equal(back.steps[1].env[0].value, "1");
        step_plan_done(&back);
}

TEST("a plan beyond its limits is refused with what is too long or wrong")
{
        scoped_str struct str bytes = STR_INIT;
        scoped_str struct str large = STR_INIT;
        struct step_plan plan = a_plan();
        struct step_plan_step bad = steps[0];
        struct step_plan_step many[9];
        struct step_plan_env odd = {"A=B", "x"};
        struct error err;

        while (large.len < STEP_TEXT_MAX)
                str_add_char(&large, 'x');
        for (size_t i = 0; i < 9; i++)
                many[i] = (struct step_plan_step){.name = "n", .script = large.data, .shell = "sh"};
        plan.steps = many;
        plan.n_steps = 9;
        assert_int_equal(step_plan_encode(&bytes, &plan, &err), -ERROR_LIMIT);
        assert_non_null(strstr(err.text, "8 MiB"));
        assert_int_equal(bytes.len, 0);
        str_add_char(&large, 'x');
        bad.script = large.data;
        plan.steps = &bad;
        plan.n_steps = 1;
        assert_int_equal(step_plan_encode(&bytes, &plan, &err), -ERROR_LIMIT);
        assert_non_null(strstr(err.text, "the script of step 'one'"));
        plan = a_plan();
        plan.env = &odd;
        plan.n_env = 1;
        assert_int_equal(step_plan_encode(&bytes, &plan, &err), -ERROR_INVALID);
        assert_non_null(strstr(err.text, "A=B"));
        plan = a_plan();
        plan.n_steps = 0;
        assert_int_equal(step_plan_encode(&bytes, &plan, &err), -ERROR_INVALID);
        plan = a_plan();
        plan.workspace = "work";
        assert_int_equal(step_plan_encode(&bytes, &plan, &err), -ERROR_INVALID);
}

TEST("the frames of a plan put together are the plan, and GO carries its sum")
{
        scoped_str struct str plan = STR_INIT;
        scoped_str struct str frames = STR_INIT;
        scoped_str struct str back = STR_INIT;
        struct step_frame frame;
        struct step_go go;
        struct error err;
        size_t at = 0;

        for (size_t i = 0; i < 100000; i++)
                str_add_char(&plan, (char)i);
        step_plan_frames(&frames, plan.data, plan.len);
        while (step_frame_next(&frame, frames.data + at, frames.len - at, &err) == 1 &&
               frame.type == STEP_FRAME_PLAN) {
                str_add_bytes(&back, frame.payload, frame.len);
                at += frame.size;
        }
        assert_ok(step_go_decode(&go, &frame, &err), err);
        assert_int_equal(back.len, plan.len);
        assert_memory_equal(back.data, plan.data, plan.len);
        assert_int_equal(go.length, plan.len);
        assert_int_equal(go.sum, step_plan_sum(back.data, back.len));
}

TEST_MAIN()
