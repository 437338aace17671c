/*
 * Standard output gets what steps write, standard error what we say. On a terminal the jobs under
 * way are a block below everything else, redrawn in place; it is taken away before anything else is
 * printed, so what was printed stays in the scrollback as if there were no block.
 */
#include "commands/exec.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scoped.h"
#include "commands/command.h"
#include "commands/show.h"
#include "domain/build.h"
#include "domain/pipeline_file.h"

#include "base/banned.h"

#define TAIL_SHOWN 10
#define BLOCK_MAX 16
#define NAME_WIDTH_MAX 24

/* show_state() paints for standard output; our lines go to standard error. */
static void add_state(const struct exec_view *view, enum state state, struct str *ret)
{
        struct invocation on_err = *view->invocation;

        on_err.colour_out = on_err.colour_err;
        show_state(&on_err, state_name(state), ret);
}

static size_t name_width(const struct build *build)
{
        size_t width = 0;

        for (size_t i = 0; i < build->n_jobs; i++) {
                size_t n = strlen(build->jobs[i].name);

                width = n > width ? n : width;
        }
        return width < NAME_WIDTH_MAX ? width : NAME_WIDTH_MAX;
}

void exec_view_init(struct exec_view *view, struct invocation *invocation,
                    const struct build *build, const struct exec_place *place)
{
        size_t n_jobs = build->n_jobs;

        pthread_mutex_init(&view->lock, NULL);
        view->invocation = invocation;
        view->quiet = invocation_given(invocation, "json");
        view->redraw = invocation->tty_err && !view->quiet;
        view->stream = !view->quiet && (n_jobs == 1 || !invocation->tty_out ||
                                        invocation_given(invocation, "verbose"));
        view->begun_ms = clock_ms();
        view->build = build;
        view->place = place;
        view->prefix = n_jobs > 1 ? name_width(build) : 0;
        view->told = xcalloc(n_jobs + 1, sizeof(*view->told));
}

void exec_view_done(struct exec_view *view)
{
        pthread_mutex_destroy(&view->lock);
        free(view->told);
        free(view->block);
}

/* --- the block --- */

static int terminal_width(void)
{
        struct winsize size;

        return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

static void erase(struct exec_view *view)
{
        if (view->drawn)
                fprintf(stderr, "\r\033[%dA\033[0J", view->drawn);
        view->drawn = 0;
        fflush(stderr);
}

static const struct step_run *step_under_way(const struct attempt *attempt)
{
        for (size_t i = 0; attempt && i < attempt->n_steps; i++) {
                if (attempt->steps[i].state == STATE_RUNNING)
                        return &attempt->steps[i];
        }
        return NULL;
}

/* "◐ test    0:12  step 2/3 pytest" without the colours counted */
static void add_running(const struct exec_view *view, const struct job *job, struct str *ret)
{
        const struct attempt *attempt = job_attempt(job);
        const struct step_run *step = step_under_way(attempt);
        int64_t begun = attempt && attempt->started_at ? attempt->started_at : 0;
        size_t room = (size_t)terminal_width();
        scoped_str struct str text = STR_INIT;

        str_printf(&text, " %-*s  ", (int)name_width(view->build), job->name);
        if (begun)
                str_add_duration(&text, (wall_ms() - begun) / 1000 * 1000);
        if (step)
                str_printf(&text, "  step %d: %s", step->index + 1, step->name);
        else
                str_add(&text, begun ? "" : "  preparing");
        add_state(view, STATE_RUNNING, ret);
        show_safe(ret, text.data, room > 6 ? room - 6 : 1);
        str_add_char(ret, '\n');
}

static void draw(struct exec_view *view)
{
        scoped_str struct str text = STR_INIT;
        int lines = 0;

        if (!view->redraw || view->open_line)
                return;
        for (size_t i = 0; i < view->build->n_jobs && lines < BLOCK_MAX; i++) {
                const struct job *job = &view->build->jobs[i];
                const struct attempt *attempt = job_attempt(job);

                if (state_ended(job->state) || !attempt || state_ended(attempt->state))
                        continue;
                add_running(view, job, &text);
                lines++;
        }
        if (view->drawn == lines && view->block && strcmp(view->block, text.data) == 0)
                return;
        erase(view);
        fwrite(text.data, 1, text.len, stderr);
        fflush(stderr);
        view->drawn = lines;
        free(view->block);
        view->block = str_steal(&text);
}

void exec_view_tick(struct exec_view *view)
{
        pthread_mutex_lock(&view->lock);
        draw(view);
        pthread_mutex_unlock(&view->lock);
}

void exec_view_pause(struct exec_view *view)
{
        pthread_mutex_lock(&view->lock);
        erase(view);
}

void exec_view_resume(struct exec_view *view)
{
        pthread_mutex_unlock(&view->lock);
}

/* --- lines --- */

static void put_line(struct exec_view *view, const char *text)
{
        if (view->quiet)
                return;
        erase(view);
        if (view->open_line && view->invocation->tty_out)
                fputc('\n', stdout);
        view->open_line = false;
        fflush(stdout);
        fputs(text, stderr);
        fputc('\n', stderr);
        fflush(stderr);
}

void exec_view_line(struct exec_view *view, const char *format, ...)
{
        scoped_str struct str text = STR_INIT;
        va_list args;

        va_start(args, format);
        str_vprintf(&text, format, args);
        va_end(args);
        pthread_mutex_lock(&view->lock);
        put_line(view, text.data);
        pthread_mutex_unlock(&view->lock);
}

/* Each line gets the name of its job in front when several jobs run. */
static void put_prefixed(const struct exec_view *view, const char *job, const char *bytes, size_t n)
{
        while (n > 0) {
                const char *end = memchr(bytes, '\n', n);
                size_t step = end ? (size_t)(end - bytes) + 1 : n;

                printf("%s%-*s |%s ", colour_code(view->invocation->colour_out, COLOUR_DIM),
                       (int)view->prefix, job,
                       colour_code(view->invocation->colour_out, COLOUR_NONE));
                fwrite(bytes, 1, step, stdout);
                if (!end)
                        fputc('\n', stdout);
                bytes += step;
                n -= step;
        }
}

void exec_view_output(struct exec_view *view, const char *job, const char *bytes, size_t n)
{
        if (!view->stream || n == 0)
                return;
        pthread_mutex_lock(&view->lock);
        erase(view);
        if (view->prefix) {
                put_prefixed(view, job, bytes, n);
        } else {
                fwrite(bytes, 1, n, stdout);
                view->open_line = bytes[n - 1] != '\n';
        }
        fflush(stdout);
        pthread_mutex_unlock(&view->lock);
}

/* --- what changes --- */

/* The step that decided, of how many: `step 2/3 "pytest" exited with 1`. */
static void add_reason(const struct job *job, struct str *ret)
{
        const struct attempt *attempt = job_attempt(job);

        for (size_t i = 0; attempt && job->state != STATE_SKIPPED && i < attempt->n_steps; i++) {
                const struct step_run *step = &attempt->steps[i];

                if (step->state == STATE_SUCCESS || !state_ended(step->state) ||
                    step->state == STATE_SKIPPED || !*step->reason_text)
                        continue;
                if (i + 1 < attempt->n_steps && attempt->steps[i + 1].state != STATE_QUEUED)
                        continue; /* it was allowed to fail */
                str_printf(ret, "   step %zu \"", i + 1);
                show_safe(ret, step->name, 60);
                str_add(ret, "\" ");
                show_safe(ret, step->reason_text, 0);
                return;
        }
        if (*text_or(job->reason_text, "")) {
                str_add(ret, "   ");
                show_safe(ret, job->reason_text, 0);
        }
}

static void put_tail(struct exec_view *view, const struct attempt *attempt)
{
        const char *tail = attempt ? text_or(attempt->tail, "") : "";
        const char *from = tail + strlen(tail);
        int lines = 0;

        if (view->stream)
                return;
        while (from > tail && lines <= TAIL_SHOWN) {
                from--;
                lines += *from == '\n' && from[1];
        }
        if (lines > TAIL_SHOWN)
                from++;
        while (*from) {
                scoped_str struct str line = STR_INIT;

                str_add(&line, "    ");
                show_safe(&line, from, 0);
                put_line(view, line.data);
                from += strcspn(from, "\n");
                from += *from == '\n';
        }
}

static void put_ended(struct exec_view *view, const struct job *job)
{
        const struct attempt *attempt = job_attempt(job);
        scoped_str struct str line = STR_INIT;

        add_state(view, job->state, &line);
        str_printf(&line, " %-*s  ", (int)name_width(view->build), job->name);
        if (attempt && job->state != STATE_SKIPPED)
                str_add_duration(&line, attempt->duration_ms);
        if (job->state != STATE_SUCCESS)
                add_reason(job, &line);
        put_line(view, line.data);
        if (job->state == STATE_SUCCESS || job->state == STATE_SKIPPED || !attempt)
                return;
        put_tail(view, attempt);
        str_clear(&line);
        str_printf(&line, "  full log: %s/%s.log", view->place->logs, job->name);
        put_line(view, line.data);
        if (job->state == STATE_FAILED || job->state == STATE_TIMEOUT) {
                str_clear(&line);
                str_printf(&line, "  retry:    argon exec %s --keep --shell-on-fail", job->name);
                put_line(view, line.data);
        }
}

static void put_again(struct exec_view *view, const struct job *job)
{
        scoped_str struct str line = STR_INIT;

        add_state(view, STATE_QUEUED, &line);
        str_printf(&line, " %-*s  ", (int)name_width(view->build), job->name);
        show_safe(&line, job->reason_text, 0);
        put_line(view, line.data);
}

static void put_started(struct exec_view *view, const struct job *job)
{
        scoped_str struct str line = STR_INIT;

        if (view->redraw)
                return;
        add_state(view, STATE_RUNNING, &line);
        str_printf(&line, " %-*s  started", (int)name_width(view->build), job->name);
        put_line(view, line.data);
}

/* A job's place in what was told: 2 * attempts, + 1 when the newest is under way; ended: -1. */
static int told_now(const struct job *job)
{
        const struct attempt *attempt = job_attempt(job);

        if (state_ended(job->state))
                return -1;
        return 2 * (int)job->n_attempts + (attempt && !state_ended(attempt->state));
}

void exec_view_change(struct exec_view *view)
{
        pthread_mutex_lock(&view->lock);
        for (size_t i = 0; i < view->build->n_jobs; i++) {
                const struct job *job = &view->build->jobs[i];
                int now = told_now(job);

                if (view->told[i] == now)
                        continue;
                if (now < 0)
                        put_ended(view, job);
                else if (now & 1)
                        put_started(view, job);
                else if (job->n_attempts)
                        put_again(view, job);
                view->told[i] = now;
        }
        draw(view);
        pthread_mutex_unlock(&view->lock);
}

/* --- the whole --- */

void exec_view_end(struct exec_view *view)
{
        const struct build *build = view->build;
        scoped_str struct str line = STR_INIT;
        size_t bad = 0;
        size_t ran = 0;

        for (size_t i = 0; i < build->n_jobs; i++) {
                enum state state = build->jobs[i].state;

                ran += state != STATE_SKIPPED && build->jobs[i].n_attempts > 0;
                bad += state != STATE_SUCCESS && state != STATE_SKIPPED;
        }
        if (build->state == STATE_SUCCESS)
                str_printf(&line, "%zu job%s, all is well, in ", ran, ran == 1 ? "" : "s");
        else if (build->state == STATE_CANCELLED)
                str_printf(&line, "stopped after ");
        else if (build->state == STATE_ERROR)
                str_printf(&line, "%zu of %zu job%s ended with an error in ", bad, build->n_jobs,
                           build->n_jobs == 1 ? "" : "s");
        else
                str_printf(&line, "%zu of %zu job%s failed in ", bad, build->n_jobs,
                           build->n_jobs == 1 ? "" : "s");
        str_add_duration(&line, clock_ms() - view->begun_ms);
        pthread_mutex_lock(&view->lock);
        put_line(view, line.data);
        pthread_mutex_unlock(&view->lock);
}

/* --- the plan --- */

/* How many jobs must end before it, one after the other. */
static size_t depth_of(const struct build *build, const struct job *job, size_t *depths)
{
        size_t at = (size_t)(job - build->jobs);
        size_t depth = 0;

        if (depths[at])
                return depths[at] - 1;
        for (size_t i = 0; i < job->n_needs; i++) {
                const struct job *need = build_job((struct build *)build, job->needs[i]);
                size_t below = need ? depth_of(build, need, depths) + 1 : 0;

                depth = below > depth ? below : depth;
        }
        depths[at] = depth + 1;
        return depth;
}

void exec_view_graph(const struct build *build, struct str *ret)
{
        size_t *depths = xcalloc(build->n_jobs, sizeof(*depths));
        size_t left = build->n_jobs;

        for (size_t depth = 0; left > 0; depth++) {
                bool first = true;

                for (size_t i = 0; i < build->n_jobs; i++) {
                        if (depth_of(build, &build->jobs[i], depths) != depth)
                                continue;
                        str_printf(ret, "%s%s", first ? (depth ? " → " : "") : ", ",
                                   build->jobs[i].name);
                        first = false;
                        left--;
                }
        }
        free(depths);
}

void exec_view_plan(struct invocation *invocation, const struct build *build,
                    const struct pipeline_file *file)
{
        for (size_t i = 0; i < build->n_jobs; i++) {
                const struct job *job = &build->jobs[i];

                printf("%s%s%s", colour_code(invocation->colour_out, COLOUR_BOLD), job->name,
                       colour_code(invocation->colour_out, COLOUR_NONE));
                if (strcmp(job->title, job->name) != 0)
                        printf(" (%s)", job->title);
                if (*job->image)
                        printf("  %s", job->image);
                for (size_t j = 0; j < job->n_needs; j++)
                        printf("%s%s", j ? ", " : "  needs ", job->needs[j]);
                putchar('\n');
                for (size_t j = 0; j < file->n_jobs; j++) {
                        const struct pipeline_job *from = &file->jobs[j];

                        for (size_t k = 0; strcmp(from->name, job->name) == 0 && k < from->n_steps;
                             k++)
                                printf("  %s %s\n", k + 1 < from->n_steps ? "├" : "└",
                                       from->steps[k].name);
                }
        }
}
