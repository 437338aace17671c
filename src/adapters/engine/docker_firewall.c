/*
 * All bridges of one server begin with the same letters, so that a handful of rules with a wildcard
 * serve every slot. To this machine's own addresses a job's packets go through INPUT; to everything
 * else through FORWARD, where Docker itself keeps bridges apart. REJECT rather than DROP: a job
 * that tries is told at once instead of running into a time-out.
 */
#include "adapters/engine/docker_private.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/process.h"

#include "base/banned.h"

#define RULE_WORDS_MAX 16
#define IPTABLES_MS 20000
#define METADATA "169.254.0.0/16"

/* One rule: chain, then what comes after "-i BRIDGES". */
struct rule {
        const char *program;
        const char *chain;
        const char *words[8];
        bool optional; /* no IPv6 here: nothing to close */
};

static const struct rule rules[] = {
        {"iptables", "INPUT", {"-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset"}, false},
        {"iptables", "INPUT", {"!", "-p", "tcp", "-j", "REJECT"}, false},
        {"iptables", "DOCKER-USER", {"-d", METADATA, "-j", "REJECT"}, false},
        {"ip6tables", "INPUT", {"-j", "REJECT"}, true},
};

void docker_bridge_prefix(const char *id8, char ret[16])
{
        snprintf(ret, 16, "ar%s", id8);
}

static int run_rule(const char *id8, const struct rule *rule, const char *action, int *ret_code,
                    struct error *err)
{
        char bridges[17];
        char prefix[16];
        const char *argv[RULE_WORDS_MAX] = {rule->program, "-w", action,
                                            rule->chain,   "-i", bridges};
        size_t n = 6;
        scoped_process_result struct process_result result = PROCESS_RESULT_INIT;
        struct process_spec spec = {
                .argv = argv,
                .timeout_ms = IPTABLES_MS,
                .output_max = 65536,
                .error_max = 512,
                .cancel_fd = -1,
        };

        docker_bridge_prefix(id8, prefix);
        snprintf(bridges, sizeof(bridges), "%s+", prefix);
        for (size_t i = 0; i < 8 && rule->words[i]; i++)
                argv[n++] = rule->words[i];
        if (process_run(&result, &spec, err) < 0)
                return -ERROR_UNAVAILABLE;
        *ret_code = result.exit_code;
        if (result.exit_code != 0)
                return error_set(err, ERROR_UNAVAILABLE, "%s %s %s: %s", rule->program, action,
                                 rule->chain, result.errors.data);
        return 0;
}

bool docker_firewall_possible(const char **ret_why)
{
        static const char *const places[] = {"/usr/sbin/iptables", "/sbin/iptables",
                                             "/usr/local/sbin/iptables"};

        if (geteuid() != 0) {
                *ret_why = "without root no rule of iptables can be set";
                return false;
        }
        for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
                if (access(places[i], X_OK) == 0)
                        return true;
        *ret_why = "iptables is not installed (Debian: apt-get install iptables)";
        return false;
}

int docker_firewall_ensure(struct docker *docker, struct error *err)
{
        for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
                struct error why = {0};
                int code = -1;

                if (run_rule(docker->id8, &rules[i], "-C", &code, NULL) == 0 || code == 0)
                        continue;
                if (run_rule(docker->id8, &rules[i], "-I", &code, &why) == 0 || rules[i].optional)
                        continue;
                return error_set(err, ERROR_UNAVAILABLE,
                                 "close this machine's ports to the jobs: %s", why.text);
        }
        return 0;
}

void docker_firewall_clear(const char *id8)
{
        int code;

        for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
                run_rule(id8, &rules[i], "-D", &code, NULL);
}
