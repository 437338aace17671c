#include "commands/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/parse.h"
#include "base/scoped.h"
#include "base/str.h"

#include "base/banned.h"

#define AT(member) offsetof(struct settings, member)
#define KIB INT64_C(1024)
#define MIB (KIB * 1024)
#define TIB (MIB * 1024 * 1024)
#define SECOND INT64_C(1000)
#define DAY (24 * 3600 * SECOND)
#define YEARS_10 (3653 * DAY)

/* The bounds keep a slip of the pen (a unit forgotten) from looking like a wish. */
static const struct config_key table[] = {
        {.group = "Server",
         .key = "data",
         .type = CONFIG_TEXT,
         .offset = AT(data),
         .help = "folder for databases, spool, outbox, mirrors, workspaces and the token; one "
                 "server, one folder (default: ~/.local/share/argon, or systemd's state folder)"},
        {.group = "Server",
         .key = "listen",
         .type = CONFIG_LINES,
         .offset = AT(listen),
         .standard = "127.0.0.1:8080",
         .allowed = "ADDRESS:PORT or [IPV6]:PORT, port 0 for a free one",
         .help = "where HTTP is served; several are allowed"},
        {.group = "Server",
         .key = "url",
         .type = CONFIG_TEXT,
         .offset = AT(url),
         .allowed = "http://… or https://…",
         .help = "what people's links start with, as seen from outside (default: http:// and the "
                 "address listened on)"},
        {.group = "Server",
         .key = "webhook.secret",
         .type = CONFIG_LINES,
         .offset = AT(webhook_secret),
         .secret = true,
         .help = "shared with the forge; one per line, all are accepted (default: made at the "
                 "first start, kept in DATA/webhook-secret)"},
        {.group = "Server",
         .key = "token",
         .type = CONFIG_TEXT,
         .offset = AT(token),
         .secret = true,
         .help = "the administrator's token for the REST API (default: made at the first start, "
                 "kept in DATA/token)"},
        {.group = "Server",
         .key = "bus",
         .type = CONFIG_TEXT,
         .offset = AT(bus),
         .standard = "sqlite",
         .allowed = "sqlite",
         .help = "what carries messages"},
        {.group = "Server",
         .key = "store",
         .type = CONFIG_TEXT,
         .offset = AT(store),
         .standard = "sqlite",
         .allowed = "sqlite",
         .help = "what keeps builds and logs"},
        {.group = "Server",
         .key = "grace",
         .type = CONFIG_DURATION,
         .offset = AT(grace_ms),
         .standard = "30s",
         .min = 0,
         .max = DAY,
         .allowed = "a duration of at most 1d",
         .help = "at the end: how long to wait for jobs before they are handed back"},
        {.group = "Server",
         .key = "log.level",
         .type = CONFIG_WORD,
         .offset = AT(log_level),
         .standard = "info",
         .allowed = "debug|info|warning|error",
         .help = "the least severe line that services write"},

        {.group = "Client",
         .key = "server",
         .type = CONFIG_TEXT,
         .offset = AT(server),
         .allowed = "http://… or https://…",
         .help = "the server that the command line speaks to (default: this machine's)"},

        {.group = "Executor",
         .key = "engine",
         .type = CONFIG_WORD,
         .offset = AT(engine),
         .standard = "auto",
         .allowed = "auto|docker|local",
         .help = "what runs jobs; auto takes docker when it answers, else local"},
        {.group = "Executor",
         .key = "docker.host",
         .type = CONFIG_TEXT,
         .offset = AT(docker_host),
         .variable = "DOCKER_HOST",
         .allowed = "unix://PATH or tcp://HOST:PORT",
         .help = "where the Docker Engine listens (default: unix:///var/run/docker.sock)"},
        {.group = "Executor",
         .key = "image",
         .type = CONFIG_TEXT,
         .offset = AT(image),
         .standard = "debian:12",
         .help = "container image of jobs that name none"},
        {.group = "Executor",
         .key = "slots",
         .type = CONFIG_INT,
         .offset = AT(slots),
         .min = 1,
         .max = 1024,
         .allowed = "1 to 1024",
         .help = "jobs that run at once (default: as many as there are cores)"},
        {.group = "Executor",
         .key = "labels",
         .type = CONFIG_TEXT,
         .offset = AT(labels),
         .standard = "",
         .help = "what this executor offers, separated by commas"},
        {.group = "Executor",
         .key = "orphan.max",
         .type = CONFIG_DURATION,
         .offset = AT(orphan_max_ms),
         .standard = "15m",
         .min = 10 * SECOND,
         .max = 7 * DAY,
         .allowed = "10s to 7d",
         .help = "a job without a living executor ends itself after this time"},
        {.group = "Executor",
         .key = "log.max",
         .type = CONFIG_SIZE,
         .offset = AT(log_max),
         .standard = "1GiB",
         .min = 64 * KIB,
         .max = TIB,
         .allowed = "64KiB to 1TiB",
         .help = "bytes of output kept per job; what is beyond is dropped, the job goes on"},

        {.group = "Source",
         .key = "git.allow",
         .type = CONFIG_TEXT,
         .offset = AT(git_allow),
         .standard = "https:ssh",
         .allowed = "protocols separated by colons, as git's GIT_ALLOW_PROTOCOL",
         .help = "protocols that repositories may be fetched by"},
        {.group = "Source",
         .key = "git.rewrite",
         .type = CONFIG_LINES,
         .offset = AT(git_rewrite),
         .allowed = "PREFIX=REPLACEMENT",
         .help = "other addresses for clone URLs that start with PREFIX; one per line"},
        {.group = "Source",
         .key = "git.timeout",
         .type = CONFIG_DURATION,
         .offset = AT(git_timeout_ms),
         .standard = "10m",
         .min = SECOND,
         .max = DAY,
         .allowed = "1s to 1d",
         .help = "the longest that one fetch may take"},
        {.group = "Source",
         .key = "git.size.max",
         .type = CONFIG_SIZE,
         .offset = AT(git_size_max),
         .standard = "4GiB",
         .min = MIB,
         .max = 16 * TIB,
         .allowed = "1MiB to 16TiB",
         .help = "the most that one repository may bring"},

        {.group = "Mail",
         .key = "mail",
         .type = CONFIG_TEXT,
         .offset = AT(mail),
         .standard = "outbox",
         .secret = true, /* it may hold a password */
         .allowed = "outbox[:DIR], smtp://[USER:PASSWORD@]HOST[:PORT], smtps://…, none",
         .help = "who delivers mails"},
        {.group = "Mail",
         .key = "mail.from",
         .type = CONFIG_TEXT,
         .offset = AT(mail_from),
         .help = "sender (default: argon@ and the name of this host)"},
        {.group = "Mail",
         .key = "mail.to",
         .type = CONFIG_TEXT,
         .offset = AT(mail_to),
         .help = "recipient when no usable address is known"},
        {.group = "Mail",
         .key = "mail.policy",
         .type = CONFIG_WORD,
         .offset = AT(mail_policy),
         .standard = "always",
         .allowed = "always|change|failure|never",
         .help = "which finished builds are told by mail"},

        {.group = "Jobs",
         .key = "job.timeout",
         .type = CONFIG_DURATION,
         .offset = AT(job_timeout_ms),
         .standard = "60m",
         .min = SECOND,
         .max = 30 * DAY,
         .allowed = "1s to 30d",
         .help = "time of a job whose file names none"},
        {.group = "Jobs",
         .key = "job.timeout.max",
         .type = CONFIG_DURATION,
         .offset = AT(job_timeout_max_ms),
         .standard = "6h",
         .min = SECOND,
         .max = 30 * DAY,
         .allowed = "1s to 30d",
         .help = "the most time that a file may ask for"},
        {.group = "Jobs",
         .key = "job.memory",
         .type = CONFIG_SIZE,
         .offset = AT(job_memory),
         .standard = "2GiB",
         .min = 16 * MIB,
         .max = 64 * TIB,
         .allowed = "16MiB to 64TiB",
         .help = "memory of a job whose file names none"},
        {.group = "Jobs",
         .key = "job.memory.max",
         .type = CONFIG_SIZE,
         .offset = AT(job_memory_max),
         .standard = "8GiB",
         .min = 16 * MIB,
         .max = 64 * TIB,
         .allowed = "16MiB to 64TiB",
         .help = "the most memory that a file may ask for"},
        {.group = "Jobs",
         .key = "job.cpus",
         .type = CONFIG_MILLI,
         .offset = AT(job_millicpus),
         .standard = "2",
         .min = 10,
         .max = 4096000,
         .allowed = "0.01 to 4096",
         .help = "cores of a job whose file names none"},
        {.group = "Jobs",
         .key = "job.cpus.max",
         .type = CONFIG_MILLI,
         .offset = AT(job_millicpus_max),
         .standard = "16",
         .min = 10,
         .max = 4096000,
         .allowed = "0.01 to 4096",
         .help = "the most cores that a file may ask for"},
        {.group = "Jobs",
         .key = "job.pids",
         .type = CONFIG_INT,
         .offset = AT(job_pids),
         .standard = "1024",
         .min = 16,
         .max = 4194304,
         .allowed = "16 to 4194304",
         .help = "processes and threads of a job whose file names none"},
        {.group = "Jobs",
         .key = "job.pids.max",
         .type = CONFIG_INT,
         .offset = AT(job_pids_max),
         .standard = "16384",
         .min = 16,
         .max = 4194304,
         .allowed = "16 to 4194304",
         .help = "the most processes and threads that a file may ask for"},
        {.group = "Jobs",
         .key = "job.disk",
         .type = CONFIG_SIZE,
         .offset = AT(job_disk),
         .standard = "10GiB",
         .min = MIB,
         .max = 64 * TIB,
         .allowed = "1MiB to 64TiB",
         .help = "disk space of a job whose file names none"},
        {.group = "Jobs",
         .key = "job.disk.max",
         .type = CONFIG_SIZE,
         .offset = AT(job_disk_max),
         .standard = "100GiB",
         .min = MIB,
         .max = 64 * TIB,
         .allowed = "1MiB to 64TiB",
         .help = "the most disk space that a file may ask for"},

        {.group = "Retention",
         .key = "retention.logs",
         .type = CONFIG_DURATION,
         .offset = AT(retention_logs_ms),
         .standard = "30d",
         .min = 60 * SECOND,
         .max = YEARS_10,
         .allowed = "1m to 3653d",
         .help = "how long logs are kept"},
        {.group = "Retention",
         .key = "retention.builds",
         .type = CONFIG_TEXT,
         .offset = AT(retention_builds),
         .standard = "100 and 180d",
         .allowed = "NUMBER and DURATION",
         .help = "the newest of each repository that are kept, and how long all others are"},
        {.group = "Retention",
         .key = "retention.deliveries",
         .type = CONFIG_DURATION,
         .offset = AT(retention_deliveries_ms),
         .standard = "30d",
         .min = 60 * SECOND,
         .max = YEARS_10,
         .allowed = "1m to 3653d",
         .help = "how long deliveries of webhooks are kept, and duplicates recognised"},
};

#define TABLE_LENGTH (sizeof(table) / sizeof(*table))

/* What the user's own file may say: the rest belongs to a server. */
static const char *const user_keys[] = {"server", "token", NULL};

const struct config_key *settings_table(size_t *ret_n)
{
        *ret_n = TABLE_LENGTH;
        return table;
}

/* A folder of the XDG base directory specification: relative values are to be ignored. */
static char *xdg_folder(const char *variable, const char *below_home)
{
        const char *folder = getenv(variable);
        const char *home = getenv("HOME");

        if (folder && *folder == '/')
                return text_format("%s/argon", folder);
        if (home && *home == '/')
                return text_format("%s/%s/argon", home, below_home);
        return NULL;
}

static char *user_file(void)
{
        scoped_text char *folder = xdg_folder("XDG_CONFIG_HOME", ".config");

        return folder ? fs_path(folder, "config") : NULL;
}

static char *default_data(void)
{
        const char *state = getenv("STATE_DIRECTORY"); /* systemd's, may name several */

        if (state && *state == '/')
                return text_format("%.*s", (int)strcspn(state, ":"), state);
        return xdg_folder("XDG_DATA_HOME", ".local/share");
}

char *settings_files(const char *file)
{
        scoped_text char *user = user_file();
        scoped_str struct str text = STR_INIT;

        if (file)
                str_printf(&text, "%s\n", file);
        else
                str_printf(&text, "%s\n%s/*.conf\n", SETTINGS_FILE, SETTINGS_FOLDER);
        if (user)
                str_printf(&text, "%s\n", user);
        return str_steal(&text);
}

/* A file that need not exist; the client also does without those that it may not read. */
static int optional_file(struct config *config, const char *path, const char *const *only,
                         bool client, struct error *err)
{
        struct error why = {0};
        int result = config_file(config, path, only, &why);

        if (result == -ERROR_NOT_FOUND && access(path, F_OK) < 0)
                return 0;
        if (result == -ERROR_DENIED && client)
                return 0;
        if (result < 0)
                return error_set(err, why.kind, "%s", why.text);
        return 0;
}

static int read_files(struct config *config, const char *file, bool client, struct error *err)
{
        scoped_text char *user = user_file();
        struct error why = {0};

        if (file) {
                if (config_file(config, file, NULL, err) < 0)
                        return -ERROR_INVALID;
        } else {
                if (optional_file(config, SETTINGS_FILE, NULL, client, err) < 0)
                        return -ERROR_INVALID;
                if (config_folder(config, SETTINGS_FOLDER, &why) < 0 &&
                    !(client && why.kind == ERROR_DENIED))
                        return error_set(err, why.kind, "%s", why.text);
        }
        return user ? optional_file(config, user, user_keys, client, err) : 0;
}

static int check_pair(const struct settings *settings, const char *key, int64_t value,
                      int64_t maximum, struct error *err)
{
        size_t i = (size_t)config_find(settings->config, key);

        if (value <= maximum)
                return 0;
        return error_set(err, ERROR_INVALID, "%s: %s = %s is more than %s.max",
                         config_origin(settings->config, i), key, config_value(settings->config, i),
                         key);
}

static int check_url(const struct settings *settings, const char *key, const char *url,
                     struct error *err)
{
        size_t i = (size_t)config_find(settings->config, key);
        const char *rest = NULL;

        if (!url || !*url)
                return 0;
        if (text_starts(url, "http://"))
                rest = url + strlen("http://");
        if (text_starts(url, "https://"))
                rest = url + strlen("https://");
        if (!rest || !*rest || *rest == '/' || strpbrk(url, " \t\r\n\"<>"))
                return error_set(err, ERROR_INVALID,
                                 "%s: %s = '%.128s' is not a URL; allowed: http://HOST[:PORT] or "
                                 "https://HOST[:PORT]",
                                 config_origin(settings->config, i), key, url);
        return 0;
}

static int parse_retention(struct settings *settings, struct error *err)
{
        size_t i = (size_t)config_find(settings->config, "retention.builds");
        scoped_text char *text = text_copy(settings->retention_builds);
        char *and = strstr(text, " and ");

        if (and) {
                *and = '\0';
                if (parse_int(&settings->retention_keep, text, 0, 1000000, NULL) == 0 &&
                    parse_duration(&settings->retention_builds_ms, and+strlen(" and "), NULL) == 0)
                        return 0;
        }
        return error_set(err, ERROR_INVALID,
                         "%s: retention.builds = '%.64s' is not like '100 and 180d' (how many, and "
                         "how long)",
                         config_origin(settings->config, i), settings->retention_builds);
}

static int check_rewrite(const struct settings *settings, struct error *err)
{
        size_t i = (size_t)config_find(settings->config, "git.rewrite");
        const char *line = settings->git_rewrite;

        while (line && *line) {
                size_t n = strcspn(line, "\n");

                if (n && (*line == '=' || !memchr(line, '=', n)))
                        return error_set(err, ERROR_INVALID,
                                         "%s: git.rewrite = '%.*s' is not PREFIX=REPLACEMENT",
                                         config_origin(settings->config, i),
                                         (int)(n > 128 ? 128 : n), line);
                line += n + (line[n] == '\n');
        }
        return 0;
}

static int check_all(struct settings *s, struct error *err)
{
        if (check_url(s, "url", s->url, err) < 0 || check_url(s, "server", s->server, err) < 0 ||
            parse_retention(s, err) < 0 || check_rewrite(s, err) < 0 ||
            check_pair(s, "job.timeout", s->job_timeout_ms, s->job_timeout_max_ms, err) < 0 ||
            check_pair(s, "job.memory", s->job_memory, s->job_memory_max, err) < 0 ||
            check_pair(s, "job.cpus", s->job_millicpus, s->job_millicpus_max, err) < 0 ||
            check_pair(s, "job.pids", s->job_pids, s->job_pids_max, err) < 0 ||
            check_pair(s, "job.disk", s->job_disk, s->job_disk_max, err) < 0)
                return -ERROR_INVALID;
        return 0;
}

/* The data folder is an absolute path: engines hand its folders to others. */
static int place_data(struct settings *settings, struct error *err)
{
        size_t i = (size_t)config_find(settings->config, "data");
        scoped_text char *origin = text_copy(config_origin(settings->config, i));
        scoped_text char *data = NULL;
        scoped_text char *here = NULL;

        if (*text_or(settings->data, "") == '/')
                return 0;
        if (!*text_or(settings->data, "")) {
                data = default_data();
                if (!data)
                        return error_set(err, ERROR_INVALID,
                                         "no data folder: HOME is not set; set "
                                         "ARGON_DATA or --data");
                return config_set(settings->config, "data", data, "default", err);
        }
        here = getcwd(NULL, 0);
        if (!here)
                return error_set_errno(err, "the current folder");
        data = fs_path(here, settings->data);
        return config_set(settings->config, "data", data, origin, err);
}

int settings_load(struct settings **ret, const char *file, bool client,
                  const struct settings_flag *flags, size_t n_flags, struct error *err)
{
        scoped(settings) struct settings *settings = xcalloc(1, sizeof(*settings));

        if (config_open(&settings->config, table, TABLE_LENGTH, settings, err) < 0 ||
            read_files(settings->config, file, client, err) < 0 ||
            config_environment(settings->config, environ, err) < 0)
                return err ? -err->kind : -ERROR_INVALID;
        for (size_t i = 0; i < n_flags; i++) {
                scoped_text char *origin = text_format("flag %s", flags[i].flag);

                if (config_set(settings->config, flags[i].key, flags[i].value, origin, err) < 0)
                        return -ERROR_INVALID;
        }
        if (check_all(settings, err) < 0 || place_data(settings, err) < 0)
                return -ERROR_INVALID;
        *ret = take(settings);
        return 0;
}

void settings_free(struct settings *settings)
{
        if (settings->config)
                config_close(settings->config);
        free(settings);
}

void settings_limits(const struct settings *settings, struct plan_limits *ret)
{
        *ret = (struct plan_limits){
                .timeout_ms = settings->job_timeout_ms,
                .timeout_max_ms = settings->job_timeout_max_ms,
                .memory = settings->job_memory,
                .memory_max = settings->job_memory_max,
                .millicpus = settings->job_millicpus,
                .millicpus_max = settings->job_millicpus_max,
                .pids = settings->job_pids,
                .pids_max = settings->job_pids_max,
                .disk = settings->job_disk,
                .disk_max = settings->job_disk_max,
        };
}
