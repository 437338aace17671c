#include "base/failpoint.h"

#ifdef ARGON_FAILPOINTS
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/banned.h"

/* How often each rule of ARGON_FAIL was passed, by its place in the list. */
static atomic_int passes[32];

static int act(const char *action)
{
        if (strncmp(action, "kill", 4) == 0) {
                kill(getpid(), SIGKILL);
                pause();
        }
        if (strncmp(action, "sleep-", 6) == 0) {
                long ms = strtol(action + 6, NULL, 10);
                struct timespec time = {ms / 1000, ms % 1000 * 1000000};

                nanosleep(&time, NULL);
                return 0;
        }
        return 1;
}

int failpoint(const char *name)
{
        const char *rule = getenv("ARGON_FAIL");
        size_t n = strlen(name);

        for (size_t i = 0; rule && *rule && i < sizeof(passes) / sizeof(*passes); i++) {
                const char *next = strchr(rule, ',');
                const char *colon = strchr(rule, ':');

                if (strncmp(rule, name, n) == 0 && rule[n] == '=') {
                        int pass = atomic_fetch_add(&passes[i], 1) + 1;

                        if (!colon || (next && colon > next) || strtol(colon + 1, NULL, 10) == pass)
                                return act(rule + n + 1);
                }
                rule = next ? next + 1 : NULL;
        }
        return 0;
}
#else
typedef int failpoint_is_compiled_out;
#endif
