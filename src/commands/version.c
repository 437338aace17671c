#include <sqlite3.h>
#include <sys/utsname.h>

#include "commands/command.h"

#include "base/banned.h"

/* Three versions that change apart: the program, the language of the file, the REST API. */
static int run_version(struct invocation *invocation)
{
        scoped(json) json_t *json = json_object();
        struct utsname machine;

        uname(&machine);
        if (!invocation_given(invocation, "json")) {
                printf("argon %s\n.runnerci.yml 1.0, REST v1, SQLite %s, %s %s\n", ARGON_VERSION,
                       sqlite3_libversion(), machine.sysname, machine.machine);
                return EXIT_GREEN;
        }
        json_set_text(json, "version", ARGON_VERSION);
        json_set_text(json, "pipeline_file", "1.0");
        json_set_text(json, "api", "v1");
        json_set_text(json, "sqlite", sqlite3_libversion());
        json_set_text(json, "system", machine.sysname);
        json_set_text(json, "machine", machine.machine);
        return invocation_json(invocation, json);
}

static const struct command_option options[] = {OPTION_JSON, OPTION_END};

const struct command command_version = {
        .name = "version",
        .group = "Other",
        .synopsis = "",
        .summary = "show the versions of the program, the file and the API",
        .description = "",
        .options = options,
        .arguments_max = 0,
        .run = run_version,
};
