#include <stdlib.h>

#include "base/str.h"
#include "domain/order.h"
#include "pipeline/executor/channel.h"
#include "pipeline/executor/run.h"

#include "base/banned.h"

#define WORKSPACE "/workspace"

static struct step_plan_env *copy_env(const struct order_env *env, size_t n)
{
        struct step_plan_env *copy = xcalloc(n + 1, sizeof(*copy));

        for (size_t i = 0; i < n; i++)
                copy[i] = (struct step_plan_env){env[i].name, env[i].value};
        return copy;
}

static struct step_plan_env *copy_secrets(const struct job_options *options)
{
        struct step_plan_env *copy = xcalloc(options->n_secrets + 1, sizeof(*copy));

        for (size_t i = 0; i < options->n_secrets; i++)
                copy[i] =
                        (struct step_plan_env){options->secrets[i].name, options->secrets[i].value};
        return copy;
}

static struct step_plan_step *copy_steps(const struct order *order)
{
        struct step_plan_step *copy = xcalloc(order->n_steps + 1, sizeof(*copy));

        for (size_t i = 0; i < order->n_steps; i++) {
                const struct order_step *step = &order->steps[i];

                copy[i] = (struct step_plan_step){
                        .name = step->name,
                        .script = step->run,
                        .shell = step->shell,
                        .folder = step->folder,
                        .timeout_ms = step->timeout_ms,
                        .continue_on_error = step->continue_on_error,
                        .env = copy_env(step->env, step->n_env),
                        .n_env = step->n_env,
                };
        }
        return copy;
}

bool run_changes_users(const struct run *run)
{
        return run->order->strict && engine_info(run->options->engine)->images;
}

static void set_users(struct step_plan *plan, const struct run *run)
{
        bool change = run_changes_users(run);

        plan->uid = plan->gid = change ? STRICT_STEP_ID : STEP_ID_KEEP;
        plan->supervisor_uid = change ? STRICT_SUPERVISOR_ID : STEP_ID_KEEP;
        plan->strict = run->order->strict;
}

int run_set_plan(struct run *run, struct error *err)
{
        const struct order *order = run->order;
        struct step_plan plan = {
                .workspace = WORKSPACE,
                .timeout_ms = order->timeout_ms,
                .orphan_max_ms = run->options->orphan_max_ms,
                .env = copy_env(order->env, order->n_env),
                .n_env = order->n_env,
                .secrets = copy_secrets(run->options),
                .n_secrets = run->options->n_secrets,
                .steps = copy_steps(order),
                .n_steps = order->n_steps,
        };
        int result;

        set_users(&plan, run);
        result = channel_set_plan(run->channel, &plan, err);
        for (size_t i = 0; i < plan.n_steps; i++)
                free(plan.steps[i].env);
        free(plan.steps);
        free(plan.secrets);
        free(plan.env);
        return result;
}
