/*
 * YAML and the language of .runnerci.yml: whatever the bytes are, findings have places, all formats
 * can show them, and what is found without an error can be planned into orders.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/str.h"
#include "domain/build.h"
#include "domain/order.h"
#include "domain/pipeline_file.h"
#include "domain/plan.h"
#include "wire/build_json.h"

#include "base/banned.h"

static void check_findings(const struct findings *findings)
{
        scoped_str struct str text = STR_INIT;
        scoped(json) json_t *json = NULL;

        for (size_t i = 0; i < findings->n; i++) {
                const struct finding *finding = &findings->items[i];

                if (finding->line < 1 || finding->column < 1 || finding->width < 1 ||
                    !*finding->message || !*finding_rule_text(finding->rule) ||
                    !utf8_valid(finding->message, strlen(finding->message)) ||
                    !utf8_valid(finding->hint, strlen(finding->hint)))
                        abort();
        }
        if (findings->n + findings->more != findings->errors + findings->warnings)
                abort();
        findings_json(findings, &text);
        if (json_parse(&json, text.data, text.len, SIZE_MAX, NULL) < 0)
                abort();
        findings_sarif(&findings, 1, &text);
        findings_human(findings, true, &text);
        findings_gcc(findings, &text);
        findings_github(findings, &text);
}

/* What a file can ask for can be stored and read again. */
static void check_stored(const struct order *order)
{
        scoped(json) json_t *json = order_to_json(order);
        scoped(order) struct order *again = NULL;
        scoped_str struct str text = STR_INIT;

        str_add_json(&text, json);
        if (order_decode(&again, text.data, text.len, NULL) < 0 ||
            again->n_steps != order->n_steps || again->n_env != order->n_env)
                abort();
}

static void check_orders(const struct pipeline_file *file)
{
        static const struct plan_limits limits = {.timeout_ms = 1000, .timeout_max_ms = 60000};
        scoped(build) struct build *build = build_new();

        build->id = "build";
        build->repo = "o/n";
        build->clone_url = "https://example.org/o/n.git";
        build->ref = "refs/heads/main";
        build->commit = "0123456789abcdef0123456789abcdef01234567";
        plan_jobs(build, file);
        for (size_t i = 0; i < build->n_jobs && i < 3; i++) {
                scoped(order) struct order *order = NULL;
                struct attempt *attempt = build_add_attempt(build, &build->jobs[i]);

                attempt->token = "token";
                if (plan_order(&order, file, build, &build->jobs[i], attempt, &limits, "", NULL) <
                    0)
                        abort();
                if (!order->n_steps)
                        abort();
                for (size_t j = 0; j < order->n_steps; j++) {
                        if (!*order->steps[j].run)
                                abort();
                }
                check_stored(order);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        scoped(pipeline_file) struct pipeline_file *file =
                pipeline_file_parse("fuzz.yml", (const char *)data, size);

        check_findings(&file->findings);
        if (!findings_errors(&file->findings))
                check_orders(file);
        return 0;
}
