/*
 * logs.db: what jobs print and services tell, and the queue it comes through; apart from argon.db,
 * so that a flood of lines never delays a webhook.
 *
 * `log` is one attempt of a job (or, without a job, a build or nothing at all); `entry` is what
 * arrived, in the order of its arrival: a chunk of output (seq > 0) or a line of a service (seq 0).
 * Within a log, seq, first line and offset rise together, so the index by seq finds a line or a
 * byte too, by halving. Pages are large because most rows are chunks of many kilobytes.
 */
#include "adapters/sqlite/db.h"
#include "adapters/sqlite/queue.h"
#include "adapters/sqlite/schema.h"

#include "base/banned.h"

#define APPLICATION_ID 0x4172676c /* "Argl" */
#define PAGE_BYTES 8192

/* clang-format off */
static const char version_1[] =
QUEUE_SCHEMA
"CREATE TABLE log ("
" id INTEGER PRIMARY KEY,"
" job_id TEXT NOT NULL,"
" attempt INTEGER NOT NULL,"
" scope TEXT NOT NULL,"       /* the build, where there is no job; else '' */
" build_id TEXT NOT NULL,"
" lines INTEGER NOT NULL,"
" bytes INTEGER NOT NULL,"
" last_seq INTEGER NOT NULL,"
" chunks INTEGER NOT NULL,"
" ended_at INTEGER NOT NULL," /* wall ms, 0: more may follow */
" touched_at INTEGER NOT NULL"
") STRICT;"
"CREATE UNIQUE INDEX log_key ON log (job_id, attempt, scope);"
"CREATE INDEX log_build ON log (build_id);"
"CREATE INDEX log_touched ON log (touched_at);"
"CREATE TABLE entry ("
" id INTEGER PRIMARY KEY,"
" log INTEGER NOT NULL,"
" seq INTEGER NOT NULL,"
" at INTEGER NOT NULL,"       /* wall ns, where it happened */
" received INTEGER NOT NULL," /* wall ms, here */
" service TEXT NOT NULL,"
" severity INTEGER NOT NULL,"
" step INTEGER NOT NULL,"
" stream INTEGER NOT NULL,"
" first_line INTEGER NOT NULL,"
" lines INTEGER NOT NULL,"
" offset INTEGER NOT NULL,"
" ms INTEGER NOT NULL,"
" ended INTEGER NOT NULL,"
" uid TEXT,"                  /* of a service's line */
" context TEXT,"
" bytes BLOB NOT NULL"
") STRICT;"
"CREATE UNIQUE INDEX entry_seq ON entry (log, seq) WHERE seq > 0;"
"CREATE UNIQUE INDEX entry_uid ON entry (uid) WHERE uid IS NOT NULL;"
"CREATE INDEX entry_log ON entry (log);"
"CREATE INDEX entry_service ON entry (service);"
"CREATE INDEX entry_severity ON entry (severity) WHERE severity >= 2;";
/* clang-format on */

static const char *const migrations[] = {version_1};

const struct sqlite_schema sqlite_logs_schema = {
        .application = APPLICATION_ID,
        .page_size = PAGE_BYTES,
        .migrations = migrations,
        .n_migrations = sizeof(migrations) / sizeof(*migrations),
};
