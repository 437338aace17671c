#include <string.h>

#include "base/config.h"
#include "base/error.h"
#include "base/str.h"
#include "commands/command.h"
#include "commands/settings.h"

#include "base/banned.h"

#define HIDDEN "***"

/* Variables that start with ARGON_ and are no settings: what jobs see, and a test build's. */
static const char *const known_variables[] = {
        "ARGON_OUTPUT", "ARGON_ENV", "ARGON_PATH", "ARGON_SUMMARY", "ARGON_FAIL", NULL,
};

static const char *shown(const struct settings *settings, const struct config_key *key, size_t i)
{
        const char *value = config_value(settings->config, i);

        return value && key->secret && strcmp(value, text_or(key->standard, "")) != 0 ? HIDDEN
                                                                                      : value;
}

static void print_setting(const struct settings *settings, size_t i, bool origin)
{
        size_t n;
        const struct config_key *key = &settings_table(&n)[i];
        const char *value = shown(settings, key, i);

        if (!value) {
                printf("# %s is not set", key->key);
        } else {
                /* one line per value, as the file takes it */
                while (value) {
                        size_t length = strcspn(value, "\n");

                        printf("%s = %.*s", key->key, (int)length, value);
                        value = value[length] ? value + length + 1 : NULL;
                        if (value)
                                printf("\n");
                }
        }
        if (origin)
                printf("%s%s", value || shown(settings, key, i) ? "    # " : ": ",
                       config_origin(settings->config, i));
        printf("\n");
}

static int list_json(const struct invocation *invocation, const struct settings *settings)
{
        scoped(json) json_t *list = json_array();
        size_t n;
        const struct config_key *table = settings_table(&n);

        for (size_t i = 0; i < n; i++) {
                json_t *one = json_object();

                json_set_text(one, "key", table[i].key);
                json_set_text(one, "value", shown(settings, &table[i], i));
                json_set_text(one, "origin", config_origin(settings->config, i));
                json_set_text(one, "help", table[i].help);
                json_array_append_new(list, one);
        }
        return invocation_json(invocation, list);
}

static int list(const struct invocation *invocation, const struct settings *settings)
{
        size_t n;

        if (invocation_given(invocation, "json"))
                return list_json(invocation, settings);
        settings_table(&n);
        for (size_t i = 0; i < n; i++)
                print_setting(settings, i, invocation_given(invocation, "origin"));
        return EXIT_GREEN;
}

static int get(const struct invocation *invocation, const struct settings *settings)
{
        size_t n;
        const struct config_key *table = settings_table(&n);
        int i;

        if (invocation->n_arguments != 2)
                return invocation_usage(invocation, "get needs one key, like data");
        i = config_find(settings->config, invocation->arguments[1]);
        if (i < 0) {
                fprintf(stderr, "argon config: no setting '%s'; 'argon config list' shows them\n",
                        invocation->arguments[1]);
                return EXIT_NOT_FOUND;
        }
        printf("%s\n", text_or(shown(settings, &table[i], (size_t)i), ""));
        if (invocation_given(invocation, "origin"))
                fprintf(stderr, "from: %s\n", config_origin(settings->config, (size_t)i));
        return EXIT_GREEN;
}

static int check(const struct settings *settings)
{
        scoped_str struct str unknown = STR_INIT;

        config_unknown_variables(settings->config, environ, known_variables, &unknown);
        if (unknown.len) {
                fprintf(stderr, "%s", unknown.data);
                return EXIT_RED;
        }
        fprintf(stderr, "the configuration is valid\n");
        return EXIT_GREEN;
}

static int run_config(struct invocation *invocation)
{
        const char *what = invocation->arguments[0];
        struct settings *settings;
        struct error err = {0};

        if (strcmp(what, "path") == 0) {
                scoped_text char *files = settings_files(invocation_option(invocation, "config"));

                printf("%s", files);
                return EXIT_GREEN;
        }
        if (strcmp(what, "list") && strcmp(what, "get") && strcmp(what, "check"))
                return invocation_usage(invocation, "'%s' is none of list, get, path, check", what);
        if (invocation_settings(invocation, strcmp(what, "check") != 0, &settings, &err) < 0)
                return invocation_fail(invocation, &err);
        if (strcmp(what, "get") == 0)
                return get(invocation, settings);
        if (invocation->n_arguments > 1)
                return invocation_usage(invocation, "'%s' is one argument too many",
                                        invocation->arguments[1]);
        return strcmp(what, "list") == 0 ? list(invocation, settings) : check(settings);
}

static const struct command_option options[] = {
        {"origin", 0, NULL, "show where each value came from", NULL},
        OPTION_CONFIG,
        OPTION_JSON,
        OPTION_END,
};

const struct command command_config = {
        .name = "config",
        .group = "Other",
        .synopsis = "{list | get KEY | path | check}",
        .summary = "show and check the settings",
        .description = "list shows every setting as a file would have it, secrets as ***. get "
                       "prints one value. path names the files that are read. check reads them as "
                       "the server does and also complains about ARGON_… variables that are no "
                       "setting.\n\n'argon help config' explains them all.",
        .options = options,
        .arguments_min = 1,
        .arguments_max = 2,
        .run = run_config,
};
