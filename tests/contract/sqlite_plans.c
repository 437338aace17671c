/*
 * An automatic extension is called for each new connection; it asks SQLite to tell each statement
 * when it starts. The plans are read at the end, from databases with the same schema.
 */
#include "tests/contract/sqlite_plans.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scoped.h"
#include "base/str.h"

#include "base/banned.h"

#define STATEMENTS_MAX 512

static struct watch {
        pthread_mutex_t lock;
        char *statements[STATEMENTS_MAX];
        size_t n;
} watch = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Statements that read whole tables and may: once per start, or of few rows by nature. */
static const char *const allowed[] = {
        "UPDATE queue_message SET state = 0, due = 0 WHERE state <> 0", /* when it opens */
        "SELECT queue, count(*) FROM queue_message GROUP BY queue",     /* when it opens */
        "SELECT due FROM queue_message",                                /* of delayed ones alone */
        "SELECT id, name, labels, engine",                              /* executors */
};

static int remember(unsigned type, void *context, void *stmt, void *text)
{
        const char *sql = sqlite3_sql(stmt);
        size_t i = 0;

        pthread_mutex_lock(&watch.lock);
        while (i < watch.n && strcmp(watch.statements[i], sql) != 0)
                i++;
        if (i == watch.n && i < STATEMENTS_MAX)
                watch.statements[watch.n++] = text_copy(sql);
        pthread_mutex_unlock(&watch.lock);
        return 0;
}

static int watch_connection(sqlite3 *handle, char **error,
                            const struct sqlite3_api_routines *routines)
{
        return sqlite3_trace_v2(handle, SQLITE_TRACE_STMT, remember, NULL);
}

void sqlite_plans_watch(void)
{
        sqlite3_auto_extension((void (*)(void))watch_connection);
}

static bool may_read_all(const char *sql)
{
        for (size_t i = 0; i < sizeof(allowed) / sizeof(*allowed); i++) {
                if (text_starts(sql, allowed[i]))
                        return true;
        }
        return false;
}

/* "SCAN x" without an index reads all of x, unless a LIMIT ends it. */
static bool is_bad(const char *sql, const char *step)
{
        if (strstr(step, "TEMP B-TREE"))
                return true;
        return text_starts(step, "SCAN ") && !strstr(step, " USING ") &&
               !strstr(step, "(subquery") && !strstr(step, "CONSTANT ROW") &&
               !strstr(sql, "LIMIT") && !strstr(sql, "sqlite_schema");
}

/* Return: how many steps of its plan are bad; 0 also when this database has no such tables. */
static int check(sqlite3 *handle, const char *sql)
{
        scoped_text char *explain = text_format("EXPLAIN QUERY PLAN %s", sql);
        sqlite3_stmt *stmt = NULL;
        int bad = 0;

        if (sqlite3_prepare_v2(handle, explain, -1, &stmt, NULL) != SQLITE_OK)
                return 0;
        while (sqlite3_step(stmt) == SQLITE_ROW) {
                const char *step = (const char *)sqlite3_column_text(stmt, 3);

                if (!is_bad(sql, step))
                        continue;
                fprintf(stderr, "%s\n    in: %s\n", step, sql);
                bad++;
        }
        sqlite3_finalize(stmt);
        return bad;
}

static bool has_plan(const char *sql)
{
        static const char *const verbs[] = {"SELECT", "INSERT", "UPDATE", "DELETE"};

        for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++) {
                if (text_starts(sql, verbs[i]))
                        return true;
        }
        return false;
}

int sqlite_plans_check(const char *const *paths)
{
        int bad = 0;

        sqlite3_reset_auto_extension();
        for (; *paths; paths++) {
                sqlite3 *handle = NULL;

                if (sqlite3_open_v2(*paths, &handle, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK) {
                        fprintf(stderr, "cannot open %s\n", *paths);
                        bad++;
                }
                for (size_t i = 0; i < watch.n; i++) {
                        if (has_plan(watch.statements[i]) && !may_read_all(watch.statements[i]))
                                bad += check(handle, watch.statements[i]);
                }
                sqlite3_close(handle);
        }
        for (size_t i = 0; i < watch.n; i++)
                free(watch.statements[i]);
        return bad;
}
