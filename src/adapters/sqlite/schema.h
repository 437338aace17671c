#pragma once
/*
 * schema - brings a file's tables to the version this program knows, or refuses it
 */
struct error;
struct sqlite_conn;
struct sqlite_schema;

/** sqlite_schema_bring_up() - migrate inside one transaction; see sqlite_db_open() */
int sqlite_schema_bring_up(struct sqlite_conn *conn, const char *path,
                           const struct sqlite_schema *schema, struct error *err);
/** sqlite_schema_check() - -ERROR_INVALID for a file that is not ours or of a newer Argon */
int sqlite_schema_check(struct sqlite_conn *conn, const char *path,
                        const struct sqlite_schema *schema, struct error *err);

/** The two files of a data folder. */
extern const struct sqlite_schema sqlite_state_schema;
extern const struct sqlite_schema sqlite_logs_schema;
