/* A configuration file of any bytes: each key is parsed or refused with its line. */
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/error.h"
#include "commands/settings.h"

#include "base/banned.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
        struct settings settings = {0};
        struct config *config = NULL;
        struct error err = {0};
        size_t n;
        const struct config_key *table = settings_table(&n);

        if (config_open(&config, table, n, &settings, &err) < 0)
                abort();
        if (config_text(config, "fuzz.conf", (const char *)data, size, NULL, &err) < 0 &&
            strncmp(err.text, "fuzz.conf:", strlen("fuzz.conf:")) != 0)
                abort(); /* every complaint names its place */
        if (settings.slots < 0 || settings.job_timeout_ms < 1000 || settings.job_pids < 16)
                abort(); /* bounds hold whatever came */
        config_close(config);
        return 0;
}
