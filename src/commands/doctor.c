#include "commands/doctor.h"

#include <stdarg.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/error.h"
#include "base/str.h"
#include "commands/client.h"
#include "commands/command.h"
#include "commands/settings.h"

#include "base/banned.h"

static const char *const state_words[] = {
        [DOCTOR_FINE] = "ok",
        [DOCTOR_WARNING] = "warning",
        [DOCTOR_ERROR] = "error",
};

void doctor_tell(struct doctor *doctor, const char *check, enum doctor_state state, const char *fix,
                 const char *format, ...)
{
        scoped_str struct str text = STR_INIT;
        json_t *finding = json_object();
        va_list args;

        va_start(args, format);
        str_vprintf(&text, format, args);
        va_end(args);
        json_set_text(finding, "check", check);
        json_set_text(finding, "state", state_words[state]);
        json_set_text(finding, "text", text.data);
        json_set_text(finding, "fix", fix);
        json_array_append_new(doctor->findings, finding);
}

static void print_finding(const struct invocation *invocation, const json_t *finding)
{
        static const char *const symbols[][2] = {{"✔", "ok  "}, {"!", "warn"}, {"✖", "FAIL"}};
        static const enum colour colours[] = {COLOUR_GREEN, COLOUR_YELLOW, COLOUR_RED};
        const char *word = json_text_or(finding, "state", "");
        const char *fix = json_text_or(finding, "fix", NULL);
        size_t state = DOCTOR_FINE;

        while (state < DOCTOR_ERROR && strcmp(state_words[state], word) != 0)
                state++;
        printf("%s%s%s %-12s %s\n", colour_code(invocation->colour_out, colours[state]),
               symbols[state][!invocation->utf8], colour_code(invocation->colour_out, COLOUR_NONE),
               json_text_or(finding, "check", ""), json_text_or(finding, "text", ""));
        if (fix)
                printf("  %-12s fix: %s\n", "", fix);
}

static size_t count(const json_t *findings, enum doctor_state state)
{
        size_t n = 0;

        for (size_t i = 0; i < json_array_size(findings); i++) {
                const json_t *one = json_array_get(findings, i);

                n += strcmp(json_text_or(one, "state", ""), state_words[state]) == 0;
        }
        return n;
}

static int report(const struct doctor *doctor)
{
        size_t errors = count(doctor->findings, DOCTOR_ERROR);
        size_t warnings = count(doctor->findings, DOCTOR_WARNING);

        if (invocation_given(doctor->invocation, "json")) {
                int code = invocation_json(doctor->invocation, doctor->findings);

                return code ? code : (errors ? EXIT_RED : EXIT_GREEN);
        }
        for (size_t i = 0; i < json_array_size(doctor->findings); i++)
                print_finding(doctor->invocation, json_array_get(doctor->findings, i));
        if (errors + warnings)
                printf("%zu problem%s (%zu error%s, %zu warning%s)     report: argon doctor "
                       "--json\n",
                       errors + warnings, errors + warnings == 1 ? "" : "s", errors,
                       errors == 1 ? "" : "s", warnings, warnings == 1 ? "" : "s");
        return errors ? EXIT_RED : EXIT_GREEN;
}

static void look(struct doctor *doctor)
{
        struct utsname machine;

        uname(&machine);
        doctor_tell(doctor, "binary", DOCTOR_FINE, NULL, "%s %s/%s", ARGON_VERSION, machine.sysname,
                    machine.machine);
        doctor_engine(doctor);
        doctor_git(doctor);
        doctor_clock(doctor);
        doctor_disk(doctor);
        doctor_mail(doctor);
        doctor_server(doctor);
        if (!doctor->client)
                return;
        doctor_executors(doctor);
        doctor_url(doctor);
        doctor_webhook(doctor);
}

static int run_doctor(struct invocation *invocation)
{
        struct doctor doctor = {.invocation = invocation};
        scoped(client) struct client *client = NULL;
        struct settings *settings;
        struct error err = {0};
        int code;

        /* settings as the server reads them, where this user may; else what the client may know */
        if (invocation_settings(invocation, true, &settings, &err) < 0)
                return invocation_fail(invocation, &err);
        doctor.settings = settings;
        doctor.findings = json_array();
        client_open(&client, invocation, &err);
        doctor.client = client;
        look(&doctor);
        code = report(&doctor);
        json_decref(doctor.findings);
        return code;
}

static const struct command_option options[] = {
        OPTION_JSON, OPTION_SERVER, OPTION_DATA, OPTION_CONFIG, OPTION_END,
};

const struct command command_doctor = {
        .name = "doctor",
        .group = "Start here",
        .synopsis = "",
        .summary = "look for what is missing or wrong, and say how to mend it",
        .description = "Looks at the container engine, git, the clock, the disk, mail, the server, "
                       "its executors, whether ARGON_URL leads to it, and the last deliveries of "
                       "the webhook. Ends with 1 when it found an error; warnings are only shown.",
        .options = options,
        .arguments_max = 0,
        .run = run_doctor,
};
