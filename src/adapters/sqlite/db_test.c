#include "adapters/sqlite/db.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "adapters/sqlite/backup.h"
#include "adapters/sqlite/conn.h"
#include "adapters/sqlite/files.h"
#include "adapters/sqlite/schema.h"
#include "adapters/store/sqlite.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/str.h"
#include "domain/build.h"
#include "ports/store.h"
#include "tests/support/test.h"

#include "base/banned.h"

static const char *const first_version[] = {
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT NOT NULL UNIQUE) STRICT",
};
static const char *const second_version[] = {
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT NOT NULL UNIQUE) STRICT",
        "ALTER TABLE t ADD COLUMN b INTEGER NOT NULL DEFAULT 7",
};
static const char *const broken_version[] = {
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT NOT NULL UNIQUE) STRICT",
        "CREATE TABLE u (id INTEGER PRIMARY KEY) STRICT; ALTER TABLE missing ADD COLUMN b TEXT",
};
static const struct sqlite_schema schema_1 = {7, 0, first_version, 1};
static const struct sqlite_schema schema_2 = {7, 0, second_version, 2};
static const struct sqlite_schema schema_broken = {7, 0, broken_version, 2};
static const struct sqlite_schema schema_other = {8, 0, first_version, 1};

struct folder {
        char path[64];
        char file[80];
};

static struct folder make_folder(void)
{
        struct folder folder = {.path = "/tmp/argon-sqlite-XXXXXX"};

        assert_non_null(mkdtemp(folder.path));
        snprintf(folder.file, sizeof(folder.file), "%s/t.db", folder.path);
        return folder;
}

static void remove_folder(struct folder *folder)
{
        struct error err;

        assert_ok(fs_remove_tree(folder->path, &err), err);
}

static struct sqlite_db *open_db(const struct folder *folder, const struct sqlite_schema *schema)
{
        struct sqlite_db *db = NULL;
        struct error err;

        assert_ok(sqlite_db_open(&db, folder->file, schema, &err), err);
        return db;
}

struct row {
        const char *text;
        int64_t pause_ms;
        atomic_int *committed;
        int runs;
};

static int insert_row(struct sqlite_conn *conn, void *data, struct error *err)
{
        struct row *row = data;
        int r;

        row->runs++;
        if (row->pause_ms)
                usleep((useconds_t)row->pause_ms * 1000);
        r = sqlite_run(conn, "INSERT INTO t (a) VALUES (?)", SQL_VALUES(SQL_TEXT(row->text)), err);
        return r < 0 ? r : 0;
}

static void count_committed(void *data)
{
        struct row *row = data;

        if (row->committed)
                atomic_fetch_add(row->committed, 1);
}

static int add_row(struct sqlite_db *db, const char *text, bool lazy, struct error *err)
{
        struct row row = {.text = text};
        struct sqlite_task task = {.run = insert_row, .data = &row, .lazy = lazy};

        return sqlite_db_write(db, &task, err);
}

static int read_count(struct sqlite_conn *conn, void *data, struct error *err)
{
        return sqlite_get_int(conn, data, "SELECT count(*) FROM t", SQL_NONE, err);
}

static int64_t count_rows(struct sqlite_db *db)
{
        int64_t n = -1;
        struct error err;

        assert_ok(sqlite_db_read(db, read_count, &n, &err), err);
        return n;
}

TEST("what was written is read at once, and after the file was opened again")
{
        struct folder folder = make_folder();
        struct sqlite_db *db = open_db(&folder, &schema_1);
        struct error err;

        assert_ok(add_row(db, "one", false, &err), err);
        assert_int_equal(count_rows(db), 1);
        sqlite_db_close(db);
        db = open_db(&folder, &schema_1);
        assert_int_equal(count_rows(db), 1);
        sqlite_db_close(db);
        remove_folder(&folder);
}

TEST("a failure says what it was and leaves nothing behind")
{
        struct folder folder = make_folder();
        struct sqlite_db *db = open_db(&folder, &schema_1);
        struct error err = {0};

        assert_ok(add_row(db, "one", false, &err), err);
        assert_int_equal(add_row(db, "one", false, &err), -ERROR_CONFLICT);
        assert_non_null(strstr(err.text, "UNIQUE"));
        assert_int_equal(add_row(db, NULL, false, NULL), -ERROR_CONFLICT);
        assert_int_equal(count_rows(db), 1);
        sqlite_db_close(db);
        remove_folder(&folder);
}

TEST("a lazy write does not wait for the disk, a durable one does")
{
        struct folder folder = make_folder();
        struct sqlite_db *db = open_db(&folder, &schema_1);
        struct sqlite_stats before;
        struct sqlite_stats after;
        struct error err;

        sqlite_db_stats(db, &before);
        assert_ok(add_row(db, "lazy", true, &err), err);
        sqlite_db_stats(db, &after);
        assert_int_equal(after.commits - before.commits, 1);
        assert_int_equal(after.syncs - before.syncs, 0);
        assert_ok(add_row(db, "durable", false, &err), err);
        sqlite_db_stats(db, &after);
        assert_int_equal(after.commits - before.commits, 2);
        assert_int_equal(after.syncs - before.syncs, 1);
        sqlite_db_close(db);
        remove_folder(&folder);
}

struct late_write {
        struct sqlite_db *db;
        struct row row;
        int result;
};

static void *write_one(void *data)
{
        struct late_write *late = data;
        struct sqlite_task task = {
                .run = insert_row, .committed = count_committed, .data = &late->row};

        late->result = sqlite_db_write(late->db, &task, NULL);
        return NULL;
}

TEST("writes that come while another commits share one transaction, and one that fails stays alone")
{
        enum { N = 12 };
        struct folder folder = make_folder();
        struct sqlite_db *db = open_db(&folder, &schema_1);
        struct sqlite_stats before;
        struct sqlite_stats after;
        atomic_int committed = 0;
        struct late_write writes[N];
        pthread_t threads[N];
        char texts[N][8];

        sqlite_db_stats(db, &before);
        for (int i = 0; i < N; i++) {
                snprintf(texts[i], sizeof(texts[i]), "%d", i == 7 ? 5 : i);
                writes[i] = (struct late_write){.db = db,
                                                .row = {.text = texts[i],
                                                        .pause_ms = i == 0 ? 300 : 0,
                                                        .committed = &committed}};
                pthread_create(&threads[i], NULL, write_one, &writes[i]);
                if (i == 0)
                        usleep(50000);
        }
        for (int i = 0; i < N; i++)
                pthread_join(threads[i], NULL);
        sqlite_db_stats(db, &after);
        assert_int_equal(after.commits - before.commits, 2);
        assert_int_equal(committed, N - 1);
        assert_int_equal(count_rows(db), N - 1);
        for (int i = 0; i < N; i++) {
                if (i != 5 && i != 7)
                        assert_int_equal(writes[i].result, 0);
        }
        assert_true((writes[5].result == 0) != (writes[7].result == 0));
        sqlite_db_close(db);
        remove_folder(&folder);
}

static int roll_all_back(struct sqlite_conn *conn, void *data, struct error *err)
{
        int *runs = data;

        ++*runs;
        sqlite_script(conn, "ROLLBACK", NULL); /* as SQLite does by itself when the disk is full */
        return error_set(err, ERROR_UNAVAILABLE, "the disk is full");
}

static void *write_fatal(void *data)
{
        struct late_write *late = data;
        struct sqlite_task task = {.run = roll_all_back, .data = &late->row.runs};

        late->result = sqlite_db_write(late->db, &task, NULL);
        return NULL;
}

TEST("when one write loses the whole transaction, its neighbours are written all the same")
{
        enum { N = 6 };
        struct folder folder = make_folder();
        struct sqlite_db *db = open_db(&folder, &schema_1);
        struct late_write writes[N];
        pthread_t threads[N];
        char texts[N][8];

        for (int i = 0; i < N; i++) {
                snprintf(texts[i], sizeof(texts[i]), "%d", i);
                writes[i] = (struct late_write){
                        .db = db, .row = {.text = texts[i], .pause_ms = i == 0 ? 300 : 0}};
                pthread_create(&threads[i], NULL, i == 3 ? write_fatal : write_one, &writes[i]);
                if (i == 0)
                        usleep(50000);
        }
        for (int i = 0; i < N; i++) {
                pthread_join(threads[i], NULL);
                assert_int_equal(writes[i].result, i == 3 ? -ERROR_UNAVAILABLE : 0);
        }
        assert_int_equal(count_rows(db), N - 1);
        sqlite_db_close(db);
        remove_folder(&folder);
}

TEST("an older file is brought up to date, and a copy of it is kept")
{
        struct folder folder = make_folder();
        struct sqlite_db *db = open_db(&folder, &schema_1);
        scoped_text char *copy = text_format("%s.pre-2", folder.file);
        struct error err;

        assert_ok(add_row(db, "one", false, &err), err);
        sqlite_db_close(db);
        db = open_db(&folder, &schema_2);
        assert_int_equal(count_rows(db), 1);
        sqlite_db_close(db);
        snprintf(folder.file, sizeof(folder.file), "%s", copy);
        db = open_db(&folder, &schema_1);
        assert_int_equal(count_rows(db), 1);
        sqlite_db_close(db);
        remove_folder(&folder);
}

TEST("a newer file is refused with the version that is needed, and stays as it is")
{
        struct folder folder = make_folder();
        struct sqlite_db *db = open_db(&folder, &schema_2);
        struct error err = {0};

        sqlite_db_close(db);
        db = NULL;
        assert_int_equal(sqlite_db_open(&db, folder.file, &schema_1, &err), -ERROR_INVALID);
        assert_null(db);
        assert_non_null(strstr(err.text, "schema 2"));
        assert_non_null(strstr(err.text, "run argon " ARGON_VERSION " or newer"));
        db = open_db(&folder, &schema_2);
        sqlite_db_close(db);
        remove_folder(&folder);
}

TEST("a migration that fails changes nothing")
{
        struct folder folder = make_folder();
        struct sqlite_db *db = open_db(&folder, &schema_1);
        struct error err = {0};

        sqlite_db_close(db);
        db = NULL;
        assert_true(sqlite_db_open(&db, folder.file, &schema_broken, &err) < 0);
        assert_non_null(strstr(err.text, "missing"));
        db = open_db(&folder, &schema_2);
        assert_int_equal(count_rows(db), 0);
        sqlite_db_close(db);
        remove_folder(&folder);
}

TEST("a file of another program, or no database at all, is refused and untouched")
{
        struct folder folder = make_folder();
        struct sqlite_db *db = open_db(&folder, &schema_other);
        static const char text[] = "This is no database, but it is longer than a header of one is, "
                                   "so that SQLite has something to read and to be unhappy about.";
        scoped_str struct str after = STR_INIT;
        struct error err = {0};

        sqlite_db_close(db);
        db = NULL;
        assert_int_equal(sqlite_db_open(&db, folder.file, &schema_1, &err), -ERROR_INVALID);
        assert_non_null(strstr(err.text, "another program"));
        assert_ok(fs_write_atomic(folder.file, text, sizeof(text), 0600, &err), err);
        assert_int_equal(sqlite_db_open(&db, folder.file, &schema_1, &err), -ERROR_UNAVAILABLE);
        assert_non_null(strstr(err.text, "damaged"));
        assert_ok(str_read_file(&after, folder.file, 4096, &err), err);
        assert_int_equal(after.len, sizeof(text));
        remove_folder(&folder);
}

TEST("a data folder is open once at a time")
{
        struct folder folder = make_folder();
        struct sqlite_files *first = NULL;
        struct sqlite_files *second = NULL;
        scoped_text char *pid = text_format("process %d", (int)getpid());
        struct error err = {0};

        assert_ok(sqlite_files_open(&first, folder.path, &err), err);
        assert_int_equal(sqlite_files_open(&second, folder.path, &err), -ERROR_CONFLICT);
        assert_non_null(strstr(err.text, pid));
        assert_null(second);
        sqlite_files_close(first);
        assert_ok(sqlite_files_open(&second, folder.path, &err), err);
        sqlite_files_close(second);
        remove_folder(&folder);
}

/* A program of its own: a forked child would share what SQLite knows of our locks. */
static void look_into(const char *path)
{
        execlp("python3", "python3", "-c",
               "import sqlite3, sys\n"
               "c = sqlite3.connect(sys.argv[1])\n"
               "c.execute('SELECT count(*) FROM build').fetchall()\n"
               "c.close()\n",
               path, NULL);
        _exit(127);
}

TEST("another program that looks into a database takes nothing away from us")
{
        struct folder folder = make_folder();
        scoped_text char *database = fs_path(folder.path, "argon.db");
        scoped_text char *wal = fs_path(folder.path, "argon.db-wal");
        struct sqlite_files *files = NULL;
        struct store *store = NULL;
        struct stat before;
        struct stat after;
        int status = -1;
        struct error err;
        pid_t pid;

        assert_ok(sqlite_files_open(&files, folder.path, &err), err);
        assert_ok(store_sqlite_open(&store, "sqlite", files, &err), err);
        assert_ok(store_check(store, &err), err);
        assert_int_equal(stat(wal, &before), 0);
        pid = fork();
        if (pid == 0)
                look_into(database);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        assert_int_equal(stat(wal, &after), 0);
        assert_int_equal(after.st_ino, before.st_ino);
        assert_true(after.st_size >= before.st_size);
        assert_ok(store_check(store, &err), err);
        store_close(store);
        sqlite_files_close(files);
        remove_folder(&folder);
}

TEST("nobody else can read the databases")
{
        struct folder folder = make_folder();
        static const char *const names[] = {"argon.db", "argon.db-wal", "logs.db", "store.lock"};
        struct sqlite_files *files = NULL;
        struct error err;

        assert_ok(sqlite_files_open(&files, folder.path, &err), err);
        for (size_t i = 0; i < 4; i++) {
                scoped_text char *path = fs_path(folder.path, names[i]);
                struct stat st;

                assert_int_equal(stat(path, &st), 0);
                assert_int_equal(st.st_mode & 0777, 0600);
        }
        sqlite_files_close(files);
        remove_folder(&folder);
}

/* A data folder with one build in it, saved to backup. */
static void make_backup(const struct folder *folder, const char *backup)
{
        scoped_text char *data = fs_path(folder->path, "data");
        scoped(build) struct build *build = build_new();
        struct sqlite_files *files = NULL;
        struct store *store = NULL;
        struct error err;

        build->id = "b1";
        build->repo = "a/a";
        assert_ok(sqlite_files_open(&files, data, &err), err);
        assert_ok(store_sqlite_open(&store, "sqlite", files, &err), err);
        assert_ok(store_build_insert(store, build, &err), err);
        assert_ok(store_backup(store, backup, &err), err);
        assert_int_equal(store_backup(store, backup, &err), -ERROR_CONFLICT);
        store_close(store);
        sqlite_files_close(files);
}

static void assert_restores(const char *backup, const char *folder)
{
        scoped(build) struct build *build = NULL;
        struct sqlite_files *files = NULL;
        struct store *store = NULL;
        struct error err;

        assert_ok(sqlite_restore(backup, folder, &err), err);
        assert_ok(sqlite_files_open(&files, folder, &err), err);
        assert_ok(store_sqlite_open(&store, "sqlite", files, &err), err);
        assert_ok(store_build_get(store, &build, "b1", &err), err);
        store_close(store);
        sqlite_files_close(files);
}

TEST("a backup is one file that restores into an empty folder only")
{
        struct folder folder = make_folder();
        scoped_text char *backup = fs_path(folder.path, "backup");
        scoped_text char *target = fs_path(folder.path, "new");
        struct error err = {0};

        make_backup(&folder, backup);
        assert_restores(backup, target);
        assert_int_equal(sqlite_restore(backup, target, &err), -ERROR_CONFLICT);
        assert_non_null(strstr(err.text, "not empty"));
        remove_folder(&folder);
}

static void assert_refused(const struct folder *folder, const char *bytes, size_t n,
                           const char *why)
{
        scoped_text char *backup = fs_path(folder->path, "bad");
        scoped_text char *target = fs_path(folder->path, "bad-target");
        scoped_text char *database = fs_path(target, "argon.db");
        struct error err = {0};

        assert_ok(fs_write_atomic(backup, bytes, n, 0600, &err), err);
        if (sqlite_restore(backup, target, &err) != -ERROR_INVALID)
                fail_msg("restored, or failed otherwise: %s", err.text);
        if (!strstr(err.text, why))
                fail_msg("'%s' does not say '%s'", err.text, why);
        assert_int_equal(access(database, F_OK), -1);
        assert_int_equal(rmdir(target), 0);
}

struct busy {
        struct store *store;
        atomic_bool stop;
        atomic_int inserted;
};

static void *insert_builds(void *data)
{
        struct busy *busy = data;

        for (int i = 0; !atomic_load(&busy->stop); i++) {
                scoped(build) struct build *build = build_new();

                build->id = build_text(build, "b%d", i);
                build->repo = "a/a";
                if (store_build_insert(busy->store, build, NULL) == 0)
                        atomic_store(&busy->inserted, i + 1);
        }
        return NULL;
}

TEST("a backup made while builds come in holds all that were there when it began")
{
        struct folder folder = make_folder();
        scoped_text char *data = fs_path(folder.path, "data");
        scoped_text char *backup = fs_path(folder.path, "backup");
        scoped_text char *target = fs_path(folder.path, "new");
        struct sqlite_files *files = NULL;
        struct busy busy = {0};
        pthread_t thread;
        int before;
        struct error err;

        assert_ok(sqlite_files_open(&files, data, &err), err);
        assert_ok(store_sqlite_open(&busy.store, "sqlite", files, &err), err);
        pthread_create(&thread, NULL, insert_builds, &busy);
        while (atomic_load(&busy.inserted) < 20)
                usleep(1000);
        before = atomic_load(&busy.inserted);
        assert_ok(store_backup(busy.store, backup, &err), err);
        atomic_store(&busy.stop, true);
        pthread_join(thread, NULL);
        store_close(busy.store);
        sqlite_files_close(files);
        assert_ok(sqlite_restore(backup, target, &err), err);
        assert_ok(sqlite_files_open(&files, target, &err), err);
        assert_ok(store_sqlite_open(&busy.store, "sqlite", files, &err), err);
        for (int i = 0; i < before; i++) {
                scoped(build) struct build *build = NULL;
                scoped_text char *id = text_format("b%d", i);

                assert_ok(store_build_get(busy.store, &build, id, &err), err);
        }
        store_close(busy.store);
        sqlite_files_close(files);
        remove_folder(&folder);
}

TEST("a backup that is damaged, cut short or none is refused, and nothing of it stays")
{
        struct folder folder = make_folder();
        scoped_text char *backup = fs_path(folder.path, "backup");
        scoped_str struct str bytes = STR_INIT;
        struct error err;
        size_t second;

        make_backup(&folder, backup);
        assert_ok(str_read_file(&bytes, backup, 64 << 20, &err), err);
        assert_refused(&folder, "hello", 5, "ends too early");
        assert_refused(&folder, bytes.data, bytes.len / 2, "ends too early");
        assert_refused(&folder, bytes.data, 0, "ends too early");
        for (second = 512; memcmp(bytes.data + second, "logs.db", 8) != 0; second += 512)
                ;
        bytes.data[second] = 'x';
        assert_refused(&folder, bytes.data, bytes.len, "header is damaged");
        bytes.data[second] = '\0';
        assert_refused(&folder, bytes.data, bytes.len, "logs.db is missing");
        bytes.data[second] = 'l';
        memset(bytes.data + 512 + 4096, 0x5a, 20000);
        assert_refused(&folder, bytes.data, bytes.len, "argon.db in the backup is damaged");
        remove_folder(&folder);
}

TEST_MAIN()
