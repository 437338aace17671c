/*
 * The store contract against SQLite, in a data folder of its own.
 */
#include <stdlib.h>
#include <string.h>

#include "adapters/sqlite/files.h"
#include "adapters/store/sqlite.h"
#include "base/error.h"
#include "base/fs.h"
#include "ports/store.h"
#include "tests/contract/store_contract.h"
#include "tests/contract/sqlite_plans.h"
#include "tests/support/test.h"

#include "base/banned.h"

struct sqlite_store_folder {
        char folder[64];
        struct sqlite_files *files;
};

static void clean(void *data)
{
        struct sqlite_store_folder *self = data;

        fs_remove_tree(self->folder, NULL);
}

static struct store *open_store(void *data)
{
        struct sqlite_store_folder *self = data;
        struct store *store = NULL;
        struct error err;

        assert_ok(sqlite_files_open(&self->files, self->folder, &err), err);
        assert_ok(store_sqlite_open(&store, "sqlite", self->files, &err), err);
        return store;
}

static void close_store(void *data, struct store *store)
{
        struct sqlite_store_folder *self = data;

        store_close(store);
        sqlite_files_close(self->files);
}

/* One contract per run: TAP knows one plan per program. */
int main(int argc, char **argv)
{
        struct sqlite_store_folder self = {.folder = "/tmp/argon-store-XXXXXX"};
        struct store_opener opener = {
                .clean = clean, .open = open_store, .close = close_store, .data = &self};
        scoped_text char *state = NULL;
        scoped_text char *logs = NULL;
        int failed;

        if (!mkdtemp(self.folder))
                return 1;
        state = fs_path(self.folder, "argon.db");
        logs = fs_path(self.folder, "logs.db");
        sqlite_plans_watch();
        if (argc > 1 && strcmp(argv[1], "logs") == 0)
                failed = store_logs_contract_run("logs on SQLite", &opener);
        else if (argc > 1 && strcmp(argv[1], "builds") == 0)
                failed = store_builds_contract_run("builds on SQLite", &opener);
        else
                failed = store_contract_run("store on SQLite", &opener);
        failed += sqlite_plans_check((const char *const[]){state, logs, NULL});
        clean(&self);
        return failed;
}
