/*
 * The frames between executor and argon-step, in both directions. The first byte says which: 0 a
 * stream of frames, 1 a plan. What decodes must encode again to the same bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "wire/step_frame.h"

#include "base/banned.h"

static void same(const struct str *again, const struct step_frame *frame)
{
        if (again->len != STEP_FRAME_HEADER + frame->len ||
            memcmp(again->data + STEP_FRAME_HEADER, frame->payload, frame->len) != 0)
                abort();
}

static void try_event(const struct step_frame *frame)
{
        scoped_str struct str again = STR_INIT;
        struct step_event event = {0};

        if (step_event_decode(&event, frame, NULL) < 0)
                return;
        step_event_encode(&again, &event);
        same(&again, frame);
}

static void try_control(const struct step_frame *frame)
{
        scoped_str struct str again = STR_INIT;
        struct step_attach attach;
        struct step_hello hello;
        struct step_go go;
        uint64_t offset;

        if (step_attach_decode(&attach, frame, NULL) == 0)
                step_attach_encode(&again, &attach);
        else if (step_hello_decode(&hello, frame, NULL) == 0)
                step_hello_encode(&again, &hello);
        else if (step_ack_decode(&offset, frame, NULL) == 0)
                step_ack_encode(&again, offset);
        else
                step_go_decode(&go, frame, NULL);
        if (again.len)
                same(&again, frame);
}

static void try_frames(const unsigned char *data, size_t size)
{
        struct step_frame frame = {0};

        while (step_frame_next(&frame, data, size, NULL) == 1) {
                try_event(&frame);
                try_control(&frame);
                data += frame.size;
                size -= frame.size;
        }
}

static void try_plan(const unsigned char *data, size_t size)
{
        scoped_str struct str again = STR_INIT;
        struct step_plan plan = {0};

        if (step_plan_decode(&plan, data, size, NULL) < 0)
                return;
        if (step_plan_encode(&again, &plan, NULL) < 0 || again.len != size ||
            memcmp(again.data, data, size) != 0)
                abort();
        step_plan_done(&plan);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
        if (size == 0)
                return 0;
        if (data[0] == 1)
                try_plan(data + 1, size - 1);
        else
                try_frames(data + 1, size - 1);
        return 0;
}
