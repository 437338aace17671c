/*
 * The version is SQLite's user_version; the table `meta` remembers which Argon last changed the
 * schema, so that an older one can say which version is needed.
 */
#include "adapters/sqlite/schema.h"

#include <string.h>
#include <unistd.h>

#include "adapters/sqlite/conn.h"
#include "adapters/sqlite/db.h"
#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"

#include "base/banned.h"

#define META "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;"

static int writer_version(struct sqlite_conn *conn, struct str *ret)
{
        scoped(sqlite_stmt) sqlite3_stmt *stmt = NULL;
        int r;

        r = sqlite_query(conn, &stmt, "SELECT value FROM meta WHERE key = 'argon'", SQL_NONE, NULL);
        if (r == 0)
                r = sqlite_next(conn, stmt, NULL);
        if (r > 0)
                str_add(ret, (const char *)sqlite3_column_text(stmt, 0));
        return r;
}

static int refuse_newer(struct sqlite_conn *conn, const char *path, int64_t version, size_t known,
                        struct error *err)
{
        scoped_str struct str writer = STR_INIT;

        if (writer_version(conn, &writer) <= 0)
                str_add(&writer, "a newer version");
        return error_set(err, ERROR_INVALID,
                         "'%s' has schema %lld, this argon %s knows %zu: run argon %s or newer, or "
                         "restore a backup made before the upgrade",
                         path, (long long)version, ARGON_VERSION, known, writer.data);
}

static int read_version(struct sqlite_conn *conn, const char *path, int64_t *ret,
                        const struct sqlite_schema *schema, struct error *err)
{
        int64_t application = 0;
        int64_t tables = 0;
        int r;

        r = sqlite_get_int(conn, &application, "PRAGMA application_id", SQL_NONE, err);
        if (r >= 0)
                r = sqlite_get_int(conn, ret, "PRAGMA user_version", SQL_NONE, err);
        if (r >= 0)
                r = sqlite_get_int(conn, &tables, "SELECT count(*) FROM sqlite_schema", SQL_NONE,
                                   err);
        if (r < 0)
                return r;
        if (application != schema->application && (application || *ret || tables))
                return error_set(err, ERROR_INVALID,
                                 "'%s' is a database of another program or another file of Argon",
                                 path);
        return 0;
}

int sqlite_schema_check(struct sqlite_conn *conn, const char *path,
                        const struct sqlite_schema *schema, struct error *err)
{
        int64_t version = 0;
        int r;

        r = read_version(conn, path, &version, schema, err);
        if (r < 0)
                return r;
        if (version > (int64_t)schema->n_migrations)
                return refuse_newer(conn, path, version, schema->n_migrations, err);
        return 0;
}

static int keep_copy(struct sqlite_conn *conn, const char *path, int64_t version, struct error *err)
{
        scoped_text char *target = text_format("%s.pre-%lld", path, (long long)version + 1);
        int r;

        unlink(target);
        r = sqlite_run(conn, "VACUUM INTO ?", SQL_VALUES(SQL_TEXT(target)), err);
        if (r < 0)
                error_wrap(err, "copy '%s' to '%s' before its schema is changed", path, target);
        return r;
}

static int migrate(struct sqlite_conn *conn, int64_t version, const struct sqlite_schema *schema,
                   struct error *err)
{
        scoped_text char *stamp = text_format("PRAGMA application_id=%d;PRAGMA user_version=%zu",
                                              schema->application, schema->n_migrations);
        int r = 0;

        if (version == 0)
                r = sqlite_script(conn, META, err);
        for (size_t i = (size_t)version; r == 0 && i < schema->n_migrations; i++)
                r = sqlite_script(conn, schema->migrations[i], err);
        if (r == 0)
                r = sqlite_script(conn, stamp, err);
        if (r < 0)
                return r;
        return sqlite_run(conn,
                          "INSERT INTO meta VALUES ('argon', ?) "
                          "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                          SQL_VALUES(SQL_TEXT(ARGON_VERSION)), err);
}

int sqlite_schema_bring_up(struct sqlite_conn *conn, const char *path,
                           const struct sqlite_schema *schema, struct error *err)
{
        int64_t version = 0;
        int r;

        r = sqlite_schema_check(conn, path, schema, err);
        if (r == 0)
                r = sqlite_get_int(conn, &version, "PRAGMA user_version", SQL_NONE, err);
        if (r < 0 || version == (int64_t)schema->n_migrations)
                return r < 0 ? r : 0;
        if (version > 0)
                r = keep_copy(conn, path, version, err);
        if (r >= 0)
                r = sqlite_script(conn, "BEGIN IMMEDIATE", err);
        if (r == 0)
                r = migrate(conn, version, schema, err);
        if (r >= 0)
                r = sqlite_script(conn, "COMMIT", err);
        if (r < 0) {
                sqlite_script(conn, "ROLLBACK", NULL);
                return error_wrap(err, "bring the schema of '%s' from %lld to %zu", path,
                                  (long long)version, schema->n_migrations);
        }
        return 0;
}
