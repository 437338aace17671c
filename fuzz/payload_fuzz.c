/*
 * Payloads of the webhook: the first byte says whether it is a form and which event the header
 * claims. Cut into pieces it must pass form and guard the same; jansson must agree on what is JSON;
 * what is accepted must fit a message and decode again.
 */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/scoped.h"
#include "base/str.h"
#include "pipeline/webhook/form.h"
#include "pipeline/webhook/guard.h"
#include "pipeline/webhook/judge.h"
#include "pipeline/webhook/payload.h"
#include "ports/bus.h"
#include "wire/webhook_event.h"

#include "base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const events[] = {"push", "pull_request", "ping", "create", "delete", "star"};
/* Where payloads are stricter than JSON is. */
static const char *const stricter[] = {"twice", "too long", "nested deeper", "digits"};
/* Where jansson is stricter than JSON is: single surrogates, numbers that do not fit. */
static const char *const stricter_jansson[] = {"Unicode", "unicode", "overflow", "too big"};

static bool says_one_of(const char *text, const char *const *words, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                if (strstr(text, words[i]))
                        return true;
        }
        return false;
}

static void must(bool holds)
{
        if (!holds)
                abort();
}

/** struct passed - what came through form and guard */
struct passed {
        struct form form;
        struct guard guard;
        struct str text;
        bool failed;
};

static bool keep_text(void *data, const char *bytes, size_t n)
{
        str_add_bytes(data, bytes, n);
        return true;
}

static void to_guard(void *data, const char *bytes, size_t n)
{
        struct passed *passed = data;

        if (!passed->guard.failed)
                guard_add(&passed->guard, bytes, n);
}

static void pass(struct passed *passed, const uint8_t *data, size_t size, size_t piece, bool form)
{
        passed->form = (struct form){.sink = to_guard, .data = passed};
        passed->guard = (struct guard){.sink = keep_text, .data = &passed->text};
        str_init(&passed->text);
        for (size_t i = 0; i < size; i += piece) {
                size_t n = piece < size - i ? piece : size - i;

                if (form)
                        form_add(&passed->form, (const char *)data + i, n);
                else
                        to_guard(passed, (const char *)data + i, n);
        }
        passed->failed = (form && form_end(&passed->form, NULL) < 0) || !guard_end(&passed->guard);
}

static void pass_both_ways(const uint8_t *data, size_t size, bool form)
{
        struct passed whole;
        struct passed cut;

        pass(&whole, data, size, size, form);
        pass(&cut, data, size, 1 + data[0] % 7, form);
        must(whole.failed == cut.failed);
        must(whole.failed || (whole.text.len == cut.text.len &&
                              memcmp(whole.text.data, cut.text.data, cut.text.len) == 0));
        str_done(&whole.text);
        str_done(&cut.text);
}

static struct payload *feed(const uint8_t *data, size_t size, size_t piece, bool form)
{
        struct payload *payload = payload_new(form);

        for (size_t i = 0; i < size; i += piece)
                payload_add(payload, data + i, piece < size - i ? piece : size - i);
        return payload;
}

static void compare_with_jansson(const uint8_t *data, size_t size, bool taken, const char *why)
{
        json_error_t error;
        json_t *json = json_loadb((const char *)data, size, 0, &error);

        if (json && json_is_object(json) && !taken)
                must(says_one_of(why, stricter, sizeof(stricter) / sizeof(*stricter)));
        if (taken && !json)
                must(says_one_of(error.text, stricter_jansson,
                                 sizeof(stricter_jansson) / sizeof(*stricter_jansson)));
        if (taken && json)
                must(json_is_object(json));
        json_decref(json);
}

static void judge(const struct payload *payload, const char *name)
{
        struct judgement judgement = {0};
        scoped(webhook_event) struct webhook_event *again = NULL;
        scoped_str struct str text = STR_INIT;
        struct error err = {0};

        if (judge_event(&judgement, payload, name, &err) < 0) {
                must(err.kind == ERROR_INVALID && err.text[0]);
                return;
        }
        if (judgement.kind == JUDGED_ACCEPTED) {
                judgement.event->id = "0192f0c1-2222-7333-8444-555566667777";
                judgement.event->delivery_id = "d";
                webhook_event_encode(judgement.event, &text);
                must(text.len <= BUS_BODY_MAX);
                must(webhook_event_decode(&again, text.data, text.len, &err) == 0);
        }
        judgement_done(&judgement);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct error whole_err = {0};
        struct error err = {0};
        bool form = size && data[0] & 0x80;
        const char *name = events[size ? (data[0] & 0x7f) % (sizeof(events) / sizeof(*events)) : 0];
        struct payload *whole;
        struct payload *cut;
        int result;

        if (size < 2)
                return 0;
        data++;
        size--;
        pass_both_ways(data, size, form);
        whole = feed(data, size, size, form);
        cut = feed(data, size, 1 + data[0] % 7, form);
        result = payload_end(whole, &whole_err);
        must(payload_end(cut, &err) == result);
        for (int field = 0; result == 0 && field < PAYLOAD_FIELDS; field++) {
                must(payload_type(whole, field) == payload_type(cut, field));
                must(strcmp(payload_text(whole, field), payload_text(cut, field)) == 0);
        }
        if (!form)
                compare_with_jansson(data, size, result == 0, whole_err.text);
        if (result == 0)
                judge(whole, name);
        payload_free(whole);
        payload_free(cut);
        return 0;
}
