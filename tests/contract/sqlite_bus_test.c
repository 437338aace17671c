/* The bus contract against SQLite, in a data folder of its own. */
#include <stdlib.h>
#include <string.h>

#include "adapters/bus/sqlite.h"
#include "adapters/sqlite/files.h"
#include "base/error.h"
#include "base/fs.h"
#include "ports/bus.h"
#include "tests/contract/bus_contract.h"
#include "tests/contract/sqlite_plans.h"
#include "tests/support/test.h"

#include "base/banned.h"

struct sqlite_bus_folder {
        char folder[64];
        struct sqlite_files *files;
};

static void clean(void *data)
{
        struct sqlite_bus_folder *self = data;

        fs_remove_tree(self->folder, NULL);
}

static struct bus *open_bus(void *data)
{
        struct sqlite_bus_folder *self = data;
        struct bus *bus = NULL;
        struct error err;

        assert_ok(sqlite_files_open(&self->files, self->folder, &err), err);
        assert_ok(bus_sqlite_open(&bus, "sqlite", self->files, &err), err);
        return bus;
}

static void close_bus(void *data, struct bus *bus)
{
        struct sqlite_bus_folder *self = data;

        bus_close(bus);
        sqlite_files_close(self->files);
}

/* One contract per run: TAP knows one plan per program. */
int main(int argc, char **argv)
{
        struct sqlite_bus_folder self = {.folder = "/tmp/argon-bus-XXXXXX"};
        struct bus_opener opener = {
                .clean = clean, .open = open_bus, .close = close_bus, .data = &self};
        scoped_text char *state = NULL;
        scoped_text char *logs = NULL;
        int failed;

        if (!mkdtemp(self.folder))
                return 1;
        state = fs_path(self.folder, "argon.db");
        logs = fs_path(self.folder, "logs.db");
        sqlite_plans_watch();
        if (argc > 1 && strcmp(argv[1], "crash") == 0)
                failed = bus_crash_contract_run("killed bus on SQLite", &opener);
        else
                failed = bus_contract_run("bus on SQLite", &opener);
        failed += sqlite_plans_check((const char *const[]){state, logs, NULL});
        clean(&self);
        return failed;
}
