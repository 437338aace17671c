/*
 * The composition root: adapters are chosen here, services get them and know nothing of each other.
 *
 * Opening goes from what is needed to what needs it. Closing starts with the executor, which lets
 * running jobs end; meanwhile everything else goes on, webhooks are still taken and results still
 * recorded. Then the HTTP servers end, then the services that only read queues, the adapters last.
 */
#include "commands/serve.h"

#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "adapters/bus/sqlite.h"
#include "adapters/engine/docker.h"
#include "adapters/engine/local.h"
#include "adapters/forge/git.h"
#include "adapters/mailer/mailers.h"
#include "adapters/sqlite/files.h"
#include "adapters/store/sqlite.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/http_server.h"
#include "base/log.h"
#include "base/scoped.h"
#include "base/str.h"
#include "commands/settings.h"
#include "pipeline/dashboard/dashboard.h"
#include "pipeline/executor/executor.h"
#include "pipeline/logger/log_relay.h"
#include "pipeline/logger/logger.h"
#include "pipeline/notifier/notifier.h"
#include "pipeline/orchestrator/orchestrator.h"
#include "pipeline/webhook/webhook.h"
#include "ports/bus.h"
#include "ports/engine.h"
#include "ports/forge.h"
#include "ports/mailer.h"
#include "ports/store.h"
#include "step/install.h"

#include "base/banned.h"

#define HTTP_THREADS 4
#define HTTP_CONNECTIONS_MAX 4096
#define HTTP_HEADER_MS 10000
#define HTTP_BODY_RATE 1000
#define DESCRIPTORS_RESERVED 256 /* files, databases, jobs: not for connections */
#define ARENAS_MAX 2             /* of malloc: many would keep memory that nobody uses */
#define HOST_NAME_SIZE 256

struct serve {
        const struct serve_options *options;
        const struct settings *settings;
        char host[HOST_NAME_SIZE];
        int slots;
        char *mirrors;
        char *scratch;
        char *from;
        char *step_binary;
        char *why;
        struct sqlite_files *files;
        struct bus *bus;
        struct store *store;
        struct forge *forge;
        struct engine *engine;
        struct mailer *mailer;
        struct log_relay *relay;
        struct logger *logger;
        struct orchestrator *orchestrator;
        struct executor *executor;
        struct notifier *notifier;
        struct webhook *webhook;
        struct dashboard *dashboard;
        struct dashboard_metric *metrics;
        size_t n_metrics;
        struct http_route *routes;
        size_t n_routes;
        struct http_server *servers[SERVE_LISTENERS_MAX];
        size_t n_servers;
};

static const struct log_context about = {.service = "up"};

static int open_store(struct serve *serve, struct error *err)
{
        const struct settings *settings = serve->settings;
        struct bus_adapter buses[] = {{"sqlite", bus_sqlite_open, NULL}};
        struct store_adapter stores[] = {{"sqlite", store_sqlite_open, NULL}};

        if (sqlite_files_open(&serve->files, settings->data, err) < 0)
                return error_wrap(err, "open the databases");
        buses[0].context = serve->files;
        stores[0].context = serve->files;
        if (bus_open(&serve->bus, buses, 1, settings->bus, err) < 0)
                return error_wrap(err, "open the bus");
        if (store_open(&serve->store, stores, 1, settings->store, err) < 0)
                return error_wrap(err, "open the store");
        return 0;
}

static int open_logger(struct serve *serve, struct error *err)
{
        struct logger_options options = {
                .bus = serve->bus,
                .store = serve->store,
                .retention =
                        {
                                .logs_ms = serve->settings->retention_logs_ms,
                                .builds_ms = serve->settings->retention_builds_ms,
                                .builds_keep = (int)serve->settings->retention_keep,
                                .deliveries_ms = serve->settings->retention_deliveries_ms,
                        },
        };

        if (log_relay_open(&serve->relay, serve->bus, err) < 0)
                return error_wrap(err, "start the relay of log lines");
        log_set_sink(log_relay_sink, serve->relay);
        if (logger_open(&serve->logger, &options, err) < 0)
                return error_wrap(err, "start the logger");
        return 0;
}

static void say_engine(const struct serve *serve)
{
        const struct engine_info *info = engine_info(serve->engine);
        scoped_text char *missing = text_copy(text_or(info->missing, ""));
        char *line = missing;

        log_event(LOG_INFO, &about, "jobs run on %s; %d at once",
                  text_or(serve->why, info->version), serve->slots);
        while (*line) {
                size_t n = strcspn(line, "\n");
                bool more = line[n] == '\n';

                line[n] = '\0';
                log_event(LOG_WARNING, &about, "engine %s: %s", info->name, line);
                line += n + more;
        }
        if (!info->strict)
                log_event(
                        LOG_WARNING, &about,
                        "engine %s: jobs of forks are refused, the strict profile cannot be kept: "
                        "%s",
                        info->name, text_or(info->strict_why, "unknown"));
}

static int open_engine(struct serve *serve, struct error *err)
{
        static const struct engine_adapter engines[] = {
                {"docker", docker_engine_open},
                {"local", local_engine_open},
        };
        const struct settings *settings = serve->settings;
        struct engine_options options = {
                .data = settings->data,
                .docker_host = settings->docker_host,
                .slots = serve->slots,
                .default_image = settings->image,
        };

        if (step_install(&serve->step_binary, settings->data, err) < 0)
                return error_wrap(err, "install argon-step");
        options.step_binary = serve->step_binary;
        if (engine_open(&serve->engine, &serve->why, engines, sizeof(engines) / sizeof(*engines),
                        settings->engine, &options, err) < 0)
                return error_wrap(err, "open the engine '%s'", settings->engine);
        say_engine(serve);
        return 0;
}

static int open_forge(struct serve *serve, struct error *err)
{
        struct forge_options options = {
                .allow = serve->settings->git_allow,
                .rewrite = serve->settings->git_rewrite,
                .timeout_ms = serve->settings->git_timeout_ms,
                .size_max = serve->settings->git_size_max,
        };

        serve->mirrors = fs_path(serve->settings->data, "mirrors");
        options.mirrors = serve->mirrors;
        if (fs_mkdirs(serve->mirrors, 0700, err) < 0 ||
            git_forge_open(&serve->forge, &options, err) < 0)
                return error_wrap(err, "open the forge");
        return 0;
}

static int open_mailer(struct serve *serve, struct error *err)
{
        struct mailer_adapter mailers[] = {
                {"outbox", mailer_open_outbox, (void *)serve->settings->data},
                {"none", mailer_open_none, NULL},
                {"smtp", mailer_open_smtp, NULL},
                {"smtps", mailer_open_smtp, NULL},
        };

        if (mailer_open(&serve->mailer, mailers, sizeof(mailers) / sizeof(*mailers),
                        serve->settings->mail, err) < 0)
                return error_wrap(err, "open the mailer");
        return 0;
}

static int open_orchestrator(struct serve *serve, struct error *err)
{
        struct orchestrator_options options = {
                .bus = serve->bus,
                .store = serve->store,
                .forge = serve->forge,
                .url = serve->options->url,
        };

        settings_limits(serve->settings, &options.limits);
        if (orchestrator_open(&serve->orchestrator, &options, err) < 0)
                return error_wrap(err, "start the orchestrator");
        return 0;
}

static int open_executor(struct serve *serve, struct error *err)
{
        struct executor_options options = {
                .data = serve->settings->data,
                .bus = serve->bus,
                .store = serve->store,
                .engine = serve->engine,
                .forge = serve->forge,
                .name = serve->host,
                .labels = serve->settings->labels,
                .slots = serve->slots,
                .log_max = serve->settings->log_max,
                .orphan_max_ms = serve->settings->orphan_max_ms,
                .grace_ms = serve->settings->grace_ms,
        };

        if (executor_open(&serve->executor, &options, err) < 0)
                return error_wrap(err, "start the executor");
        return 0;
}

static int open_notifier(struct serve *serve, struct error *err)
{
        struct notifier_options options = {
                .bus = serve->bus,
                .store = serve->store,
                .mailer = serve->mailer,
                .to = text_or(serve->settings->mail_to, ""),
                .policy = serve->settings->mail_policy,
                .url = serve->options->url,
                .with_log = true,
        };

        serve->from = *text_or(serve->settings->mail_from, "")
                              ? text_copy(serve->settings->mail_from)
                              : text_format("argon@%s", serve->host);
        options.from = serve->from;
        if (notifier_open(&serve->notifier, &options, err) < 0)
                return error_wrap(err, "start the notifier");
        return 0;
}

static int open_http_services(struct serve *serve, struct error *err)
{
        struct webhook_options webhook = {
                .bus = serve->bus,
                .store = serve->store,
                .secrets = serve->options->webhook_secret,
        };
        struct dashboard_options dashboard = {
                .bus = serve->bus,
                .store = serve->store,
                .url = serve->options->url,
                .token = serve->options->token,
        };

        if (webhook_open(&serve->webhook, &webhook, err) < 0)
                return error_wrap(err, "start the webhook");
        serve->metrics = serve_metrics(serve->webhook, &serve->n_metrics);
        dashboard.metrics = serve->metrics;
        serve->scratch = fs_path(serve->settings->data, "tmp");
        if (fs_remove_tree(serve->scratch, err) < 0 || fs_mkdirs(serve->scratch, 0700, err) < 0)
                return error_wrap(err, "scratch folder");
        dashboard.scratch = serve->scratch;
        dashboard.n_metrics = serve->n_metrics;
        if (dashboard_open(&serve->dashboard, &dashboard, err) < 0)
                return error_wrap(err, "start the dashboard");
        return 0;
}

/* As many descriptors as the machine allows: every connection takes one. */
static int raise_descriptors(void)
{
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return HTTP_CONNECTIONS_MAX / 8;
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        getrlimit(RLIMIT_NOFILE, &limit);
        if (limit.rlim_cur > HTTP_CONNECTIONS_MAX + DESCRIPTORS_RESERVED)
                return HTTP_CONNECTIONS_MAX;
        return limit.rlim_cur > 2 * DESCRIPTORS_RESERVED
                       ? (int)(limit.rlim_cur - DESCRIPTORS_RESERVED)
                       : DESCRIPTORS_RESERVED / 2;
}

static int open_servers(struct serve *serve, struct error *err)
{
        size_t n_webhook;
        size_t n_dashboard;
        const struct http_route *webhook = webhook_routes(serve->webhook, &n_webhook);
        const struct http_route *dashboard = dashboard_routes(serve->dashboard, &n_dashboard);
        struct http_options options = {
                .token = serve->options->token,
                .threads = HTTP_THREADS,
                .connections_max = raise_descriptors(),
                .header_ms = HTTP_HEADER_MS,
                .body_rate = HTTP_BODY_RATE,
        };

        serve->n_routes = n_webhook + n_dashboard;
        serve->routes = xcalloc(serve->n_routes, sizeof(*serve->routes));
        memcpy(serve->routes, webhook, n_webhook * sizeof(*webhook));
        memcpy(serve->routes + n_webhook, dashboard, n_dashboard * sizeof(*dashboard));
        options.routes = serve->routes;
        options.n_routes = serve->n_routes;
        for (size_t i = 0; i < serve->options->n_listen_fds; i++) {
                options.listen_fd = serve->options->listen_fds[i];
                if (http_server_open(&serve->servers[i], &options, err) < 0)
                        return error_wrap(err, "start the HTTP server");
                serve->n_servers++;
        }
        return dashboard_start(serve->dashboard, serve->servers, serve->n_servers, err);
}

static int open_all(struct serve *serve, struct error *err)
{
        if (open_store(serve, err) < 0 || open_logger(serve, err) < 0 ||
            open_forge(serve, err) < 0 || open_engine(serve, err) < 0 ||
            open_mailer(serve, err) < 0 || open_orchestrator(serve, err) < 0 ||
            open_executor(serve, err) < 0 || open_notifier(serve, err) < 0 ||
            open_http_services(serve, err) < 0 || open_servers(serve, err) < 0)
                return err ? -err->kind : -ERROR_UNAVAILABLE;
        return 0;
}

static void close_services(struct serve *serve)
{
        if (serve->executor)
                executor_close(serve->executor);
        if (serve->dashboard)
                dashboard_stop(serve->dashboard);
        for (size_t i = 0; i < serve->n_servers; i++)
                http_server_close(serve->servers[i]);
        if (serve->dashboard)
                dashboard_close(serve->dashboard);
        if (serve->webhook)
                webhook_close(serve->webhook);
        if (serve->orchestrator)
                orchestrator_close(serve->orchestrator);
        if (serve->notifier)
                notifier_close(serve->notifier);
        log_set_sink(NULL, NULL);
        if (serve->relay)
                log_relay_close(serve->relay);
        if (serve->logger)
                logger_close(serve->logger);
}

static void close_all(struct serve *serve)
{
        close_services(serve);
        mailer_close(serve->mailer);
        engine_close(serve->engine);
        forge_close(serve->forge);
        store_close(serve->store);
        bus_close(serve->bus);
        if (serve->files)
                sqlite_files_close(serve->files);
        free(serve->routes);
        free(serve->metrics);
        free(serve->mirrors);
        free(serve->scratch);
        free(serve->from);
        free(serve->step_binary);
        free(serve->why);
}

static void set_level(const char *word)
{
        static const char *const words[] = {"debug", "info", "warning", "error"};

        for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
                if (strcmp(words[i], word) == 0)
                        log_set_level((enum log_severity)i);
        }
}

static void block_signals(sigset_t *ret)
{
        sigemptyset(ret);
        sigaddset(ret, SIGTERM);
        sigaddset(ret, SIGINT);
        sigaddset(ret, SIGHUP);
        pthread_sigmask(SIG_BLOCK, ret, NULL);
        signal(SIGPIPE, SIG_IGN);
}

int serve_run(const struct serve_options *options, struct error *err)
{
        struct serve serve = {.options = options, .settings = options->settings};
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        sigset_t signals;
        int result;

        mallopt(M_ARENA_MAX, ARENAS_MAX);
        block_signals(&signals);
        set_level(options->settings->log_level);
        gethostname(serve.host, sizeof(serve.host) - 1);
        serve.slots = options->settings->slots ? (int)options->settings->slots : (int)cores;
        if (serve.slots < 1)
                serve.slots = 1;
        if (serve.slots > EXECUTOR_SLOTS_MAX)
                serve.slots = EXECUTOR_SLOTS_MAX;
        result = open_all(&serve, err);
        if (result == 0 && write(options->ready_fd, "R", 1) == 1) {
                close(options->ready_fd);
                malloc_trim(0); /* what opening needed is not needed again */
                while (sigwaitinfo(&signals, NULL) < 0)
                        ;
                log_event(LOG_INFO, &about,
                          "draining: no new jobs, up to %lld s for those that run",
                          (long long)options->settings->grace_ms / 1000);
        }
        close_all(&serve);
        return result;
}
