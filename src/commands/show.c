#include "commands/show.h"

#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "commands/command.h"

#include "base/banned.h"

#define COMMIT_SHOWN 7
#define MESSAGE_SHOWN 60
#define STEP_SHOWN 48

struct look {
        const char *state;
        const char *symbol;
        const char *word;
        enum colour colour;
        int exit_code;
};

static const struct look looks[] = {
        {"queued", "◷", "wait", COLOUR_DIM, EXIT_GREEN},
        {"running", "◐", "run ", COLOUR_BLUE, EXIT_GREEN},
        {"success", "✔", "ok  ", COLOUR_GREEN, EXIT_GREEN},
        {"failed", "✖", "FAIL", COLOUR_RED, EXIT_RED},
        {"error", "✖", "ERR ", COLOUR_RED, EXIT_BROKEN},
        {"cancelled", "⊘", "stop", COLOUR_YELLOW, EXIT_CANCELLED},
        {"skipped", "⊘", "skip", COLOUR_DIM, EXIT_GREEN},
        {"timeout", "✖", "TIME", COLOUR_RED, EXIT_TIMEOUT},
        {"blocked", "◷", "hold", COLOUR_YELLOW, EXIT_GREEN},
};

static const struct look *look_of(const char *state)
{
        for (size_t i = 0; i < sizeof(looks) / sizeof(*looks); i++) {
                if (strcmp(looks[i].state, state) == 0)
                        return &looks[i];
        }
        return &looks[0];
}

int show_exit_code(const char *state)
{
        return look_of(state)->exit_code;
}

bool show_ended(const char *state)
{
        return strcmp(state, "queued") && strcmp(state, "running") && strcmp(state, "blocked");
}

void show_state(const struct invocation *invocation, const char *state, struct str *ret)
{
        const struct look *look = look_of(state);

        str_printf(ret, "%s%s%s", colour_code(invocation->colour_out, look->colour),
                   invocation->utf8 ? look->symbol : look->word,
                   colour_code(invocation->colour_out, COLOUR_NONE));
}

void show_safe(struct str *ret, const char *text, size_t width)
{
        size_t shown = 0;

        for (; *text && *text != '\n'; text++) {
                unsigned char c = (unsigned char)*text;

                /* continuation bytes of UTF-8 belong to the character before */
                if ((c & 0xc0) != 0x80 && width && ++shown > width)
                        return;
                str_add_char(ret, c < 0x20 || c == 0x7f ? ' ' : (char)c);
        }
}

void show_age(const struct invocation *invocation, const json_t *object, const char *key,
              struct str *ret)
{
        int64_t at = json_time_or_zero(object, key);
        int64_t seconds = (wall_ms() - at) / 1000;

        if (!at)
                return;
        if (!invocation->tty_out)
                str_add_time_ms(ret, at);
        else if (seconds < 60)
                str_add(ret, "now");
        else if (seconds < 3600)
                str_printf(ret, "%lld min ago", (long long)seconds / 60);
        else if (seconds < 2 * 86400)
                str_printf(ret, "%lld h ago", (long long)seconds / 3600);
        else
                str_printf(ret, "%lld days ago", (long long)seconds / 86400);
}

void show_duration(const json_t *object, struct str *ret)
{
        int64_t started = json_time_or_zero(object, "started_at");
        int64_t ms = json_int_or(object, "duration_ms", 0);
        const char *state = json_text_or(object, "state", "queued");

        if (!strcmp(state, "queued") || !strcmp(state, "blocked"))
                return;
        if (!show_ended(state))
                ms = started ? wall_ms() - started : 0;
        if (ms > 0 || started)
                str_add_duration(ret, ms);
}

void show_build_head(const struct invocation *invocation, const json_t *build, struct str *ret)
{
        const char *dim = colour_code(invocation->colour_out, COLOUR_DIM);
        const char *bold = colour_code(invocation->colour_out, COLOUR_BOLD);
        const char *none = colour_code(invocation->colour_out, COLOUR_NONE);

        show_state(invocation, json_text_or(build, "state", ""), ret);
        str_printf(ret, " %s%s #%lld%s %s ", bold, json_text_or(build, "repo", "?"),
                   (long long)json_int_or(build, "number", 0), none,
                   json_text_or(build, "state", ""));
        show_duration(build, ret);
        str_printf(ret, "  %s", dim);
        show_safe(ret, json_text_or(build, "branch", ""), 0);
        str_printf(ret, " %.*s%s  ", COMMIT_SHOWN, json_text_or(build, "commit", ""), none);
        show_safe(ret, json_text_or(build, "message", ""), MESSAGE_SHOWN);
        str_add_char(ret, '\n');
        if (*json_text_or(build, "reason", "")) {
                str_add(ret, "  ");
                show_safe(ret, json_text_or(build, "reason", ""), 0);
                str_add_char(ret, '\n');
        }
}

/* The step that tells most about the job now: the one that runs, or the first that went wrong. */
static const json_t *step_of_interest(const json_t *job)
{
        const json_t *steps = json_object_get(job, "steps");

        for (size_t i = 0; i < json_array_size(steps); i++) {
                const json_t *step = json_array_get(steps, i);
                const char *state = json_text_or(step, "state", "");

                if (strcmp(state, "running") == 0 ||
                    (show_ended(state) && strcmp(state, "success") && strcmp(state, "skipped")))
                        return step;
        }
        return NULL;
}

static void add_job(const struct invocation *invocation, const json_t *job, struct str *ret)
{
        const json_t *step = step_of_interest(job);
        scoped_str struct str duration = STR_INIT;
        const char *reason = json_text_or(job, "reason", "");

        show_duration(job, &duration);
        str_add(ret, "  ");
        show_state(invocation, json_text_or(job, "state", ""), ret);
        str_add_char(ret, ' ');
        str_printf(ret, "%-20s %-7s", json_text_or(job, "name", "?"), duration.data);
        if (json_int_or(job, "attempt", 1) > 1)
                str_printf(ret, " attempt %lld", (long long)json_int_or(job, "attempt", 1));
        if (step) {
                str_printf(ret, " step %lld/%zu ", (long long)json_int_or(step, "index", 0) + 1,
                           json_array_size(json_object_get(job, "steps")));
                show_safe(ret, json_text_or(step, "name", ""), STEP_SHOWN);
        }
        if (*reason) {
                str_add(ret, step ? ": " : " ");
                show_safe(ret, reason, 0);
        }
        str_add_char(ret, '\n');
}

static void add_steps(const struct invocation *invocation, const json_t *job, struct str *ret)
{
        const json_t *steps = json_object_get(job, "steps");

        for (size_t i = 0; i < json_array_size(steps); i++) {
                const json_t *step = json_array_get(steps, i);
                scoped_str struct str duration = STR_INIT;

                show_duration(step, &duration);
                str_add(ret, "      ");
                show_state(invocation, json_text_or(step, "state", ""), ret);
                str_printf(ret, " %-7s ", duration.data);
                show_safe(ret, json_text_or(step, "name", ""), STEP_SHOWN);
                if (json_int_or(step, "exit_code", 0) > 0)
                        str_printf(ret, "  exit %lld",
                                   (long long)json_int_or(step, "exit_code", 0));
                if (*json_text_or(step, "reason", "")) {
                        str_add(ret, "  ");
                        show_safe(ret, json_text_or(step, "reason", ""), 0);
                }
                str_add_char(ret, '\n');
        }
}

void show_tree(const struct invocation *invocation, const json_t *build, bool steps,
               struct str *ret)
{
        const json_t *jobs = json_object_get(build, "jobs");

        show_build_head(invocation, build, ret);
        for (size_t i = 0; i < json_array_size(jobs); i++) {
                add_job(invocation, json_array_get(jobs, i), ret);
                if (steps)
                        add_steps(invocation, json_array_get(jobs, i), ret);
        }
}
