/*
 * What only the docker engine has: images and registries, the networks of slots and the rules that
 * close this machine to them, odd images, a daemon that dies, a daemon elsewhere.
 *
 * Needs a Docker daemon, the image of tests/support/image.sh, docker-registry and htpasswd, and
 * root for the rules and the daemons of its own.
 */
#include "tests/contract/engine_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/process.h"

#include "base/banned.h"

#define RUN_MS 120000

/* Run a program to its end; its output without the last newline, on the heap. */
static char *run(const char *const *argv)
{
        scoped_process_result struct process_result result = PROCESS_RESULT_INIT;
        scoped_text char *path = text_format("PATH=%s", getenv("PATH"));
        scoped_text char *host =
                text_format("DOCKER_HOST=%s",
                            text_or(fixture.options.docker_host, "unix:///var/run/docker.sock"));
        scoped_text char *config = text_format("DOCKER_CONFIG=%s/docker", fixture.folder);
        scoped_text char *args = text_format("ARGON_TEST_DOCKERD_ARGS=%s",
                                             text_or(getenv("ARGON_TEST_DOCKERD_ARGS"), ""));
        const char *const env[] = {path, host, config, args, "HOME=/nonexistent", NULL};
        struct process_spec spec = {
                .argv = argv,
                .env = env,
                .folder = getenv("ARGON_SOURCE_ROOT"),
                .timeout_ms = RUN_MS,
                .output_max = 1 << 20,
                .error_max = 4096,
                .cancel_fd = -1,
        };
        struct error err = {0};

        assert_ok(process_run(&result, &spec, &err), err);
        if (result.exit_code != 0)
                fail_msg("%s %s: exit code %d: %s%s", argv[0], argv[1], result.exit_code,
                         result.output.data, result.errors.data);
        while (text_ends(result.output.data, "\n"))
                str_truncate(&result.output, result.output.len - 1);
        return str_steal(&result.output);
}

#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})
#define DO(...) free(RUN(__VA_ARGS__))

TEST("the engine opens")
{
        fixture_open(getenv("DOCKER_HOST"));
        assert_false(fixture.info->remote);
        assert_true(fixture.info->strict);
}

/* ---- the slots' networks ---- */

static int listen_everywhere(int *ret_port)
{
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
        socklen_t n = sizeof(address);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(listen(fd, 8), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &n), 0);
        *ret_port = ntohs(address.sin_port);
        return fd;
}

/* A job that says of each address whether it answers; "GATEWAY" stands for its way out. */
static char *try_addresses(int slot, const char *addresses, int port)
{
        struct job job;
        scoped_talk struct talk talk = {.output = STR_INIT};
        struct sandbox_end end = {0};
        scoped_text char *script = text_format(
                "exec python3 - <<'END'\n"
                "import socket, struct\n"
                "gateway = [l.split()[2] for l in open('/proc/net/route') if l.split()[1] == "
                "'00000000'][0]\n"
                "gateway = socket.inet_ntoa(struct.pack('<L', int(gateway, 16)))\n"
                "for a in '%s'.split():\n"
                "    s = socket.socket()\n"
                "    s.settimeout(2)\n"
                "    try:\n"
                "        s.connect((gateway if a == 'GATEWAY' else a, %d))\n"
                "        print(a, 'OPEN')\n"
                "    except OSError as e:\n"
                "        print(a, type(e).__name__)\n"
                "END\n",
                addresses, port);

        job_init(&job);
        job.spec.slot = slot;
        job_run(&job, &talk, &end, script);
        job_done(&job);
        return str_steal(&talk.output);
}

/* An address of this machine that is not of Docker, from its default route. */
static char *own_address(void)
{
        return RUN("sh", "-c",
                   "ip -4 -o addr show scope global | grep -v ' ar\\| docker\\| br-' | "
                   "awk '{ sub(\"/.*\", \"\", $4); print $4; exit }'");
}

static char *rules_prefix(void)
{
        scoped_text char *path = fs_path(fixture.folder, "engine/id");
        scoped_str struct str id = STR_INIT;
        struct error err = {0};

        assert_ok(str_read_file(&id, path, 64, &err), err);
        return text_format("ar%s+", id.data + strlen(id.data) - 8);
}

TEST("a job reaches neither this machine's ports nor the metadata address")
{
        scoped_text char *own = own_address();
        scoped_text char *prefix = NULL;
        scoped_text char *addresses = text_format("GATEWAY %s 172.17.0.1 169.254.169.254", own);
        scoped_text char *closed = NULL;
        scoped_text char *open = NULL;
        scoped_text char *again = NULL;
        scoped_text char *pause = NULL;
        scoped_text char *id8 = NULL;
        scoped_fd int listener = -1;
        int port;

        listener = listen_everywhere(&port);
        closed = try_addresses(0, addresses, port);
        note("closed", closed);
        assert_null(strstr(closed, "OPEN"));
        /* told at once, not by running into a time-out */
        assert_non_null(strstr(closed, "GATEWAY ConnectionRefusedError"));
        assert_null(strstr(closed, "timeout"));
        /* the rules are what did it: without them the port is open */
        prefix = rules_prefix();
        DO("iptables", "-D", "INPUT", "-i", prefix, "-p", "tcp", "-j", "REJECT", "--reject-with",
           "tcp-reset");
        open = try_addresses(0, "GATEWAY", port);
        assert_non_null(strstr(open, "GATEWAY OPEN"));
        /* and they come back with the next pause container */
        id8 = text_format("%.8s", prefix + 2);
        pause = text_format("argon-%s-slot-0", id8);
        DO("docker", "kill", pause);
        again = try_addresses(0, "GATEWAY", port);
        assert_null(strstr(again, "OPEN"));
}

TEST("jobs of two slots do not reach each other, those of one slot share nothing that lives")
{
        struct job server;
        struct error err = {0};
        scoped_text char *address = NULL;
        scoped_text char *seen = NULL;
        char line[256] = "";
        size_t n = 0;

        job_init(&server);
        server.spec.slot = 1;
        job_create(&server);
        job_start(&server, "exec python3 -u - <<'END'\n"
                           "import socket, time\n"
                           "s = socket.create_server(('0.0.0.0', 9099))\n"
                           "p = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                           "p.connect(('192.0.2.1', 1))\n"
                           "open('/workspace/address', 'w').write(p.getsockname()[0] + '\\n')\n"
                           "time.sleep(60)\n"
                           "END\n");
        address = fs_path(server.workspace, "address");
        for (int64_t until = clock_ms() + 15000; clock_ms() < until && !strchr(line, '\n');) {
                FILE *file = fopen(address, "re");

                n = file ? fread(line, 1, sizeof(line) - 1, file) : 0;
                line[n] = '\0';
                if (file)
                        fclose(file);
                usleep(20000);
        }
        assert_non_null(strchr(line, '\n'));
        *strchr(line, '\n') = '\0';
        seen = try_addresses(0, line, 9099);
        note("other slot", seen);
        assert_null(strstr(seen, "OPEN"));
        assert_ok(engine_remove(fixture.engine, server.sandbox, &err), err);
        free(take(seen));
        seen = try_addresses(1, "127.0.0.1", 9099); /* the same slot, the next job */
        assert_null(strstr(seen, "OPEN"));
        free(take(seen));
        seen = try_addresses(1, "127.0.0.1", 9099);
        assert_null(strstr(seen, "OPEN"));
        job_done(&server);
}

/* ---- images ---- */

static void remember(void *data, const char *line)
{
        str_printf(data, "%s\n", line);
}

TEST("an image that nobody serves says so, in the words of the daemon")
{
        struct error err = {0};
        scoped_str struct str lines = STR_INIT;

        assert_int_equal(engine_image_ensure(fixture.engine, "127.0.0.1:1/none:1", remember, &lines,
                                             -1, &err),
                         -ERROR_UNAVAILABLE);
        assert_non_null(strstr(err.text, "127.0.0.1:1/none:1"));
        assert_non_null(strstr(err.text, "connection refused"));
        assert_non_null(strstr(lines.data, "pulling"));
        assert_int_equal(engine_image_ensure(fixture.engine, "Not An Image", NULL, NULL, -1, &err),
                         -ERROR_INVALID);
        assert_int_equal(engine_image_ensure(fixture.engine, "UPPER/case:1", NULL, NULL, -1, &err),
                         -ERROR_INVALID);
        assert_ok(engine_image_ensure(fixture.engine, "argon-test:base", NULL, NULL, -1, &err),
                  err);
        assert_ok(engine_image_ensure(fixture.engine, "", NULL, NULL, -1, &err), err);
}

/* An image with one file of random bytes, pushed to a registry and forgotten here. */
static char *push_image(const char *registry)
{
        scoped_text char *image = text_format("%s/made/tiny:1", registry);
        scoped_text char *script = text_format(
                "cd %s && mkdir -p t && head -c 3000000 /dev/urandom >t/bytes && "
                "tar -C t -c . | docker import - %s && docker push -q %s && docker rmi %s",
                fixture.folder, image, image, image);

        DO("sh", "-c", script);
        return take(image);
}

TEST("an image is pulled from its registry, and a missing one is not found there")
{
        scoped_text char *folder = fs_path(fixture.folder, "registry");
        scoped_text char *registry = RUN("sh", "tests/support/registry.sh", "start", folder);
        scoped_text char *image = push_image(registry);
        scoped_text char *missing = text_format("%s/made/tiny:2", registry);
        scoped_text char *untagged = text_format("%s/made/tiny", registry);
        struct error err = {0};
        scoped_str struct str lines = STR_INIT;

        assert_ok(engine_image_ensure(fixture.engine, image, remember, &lines, -1, &err), err);
        assert_non_null(strstr(lines.data, "pulling it"));
        assert_ok(engine_image_ensure(fixture.engine, image, NULL, NULL, -1, &err), err);
        assert_int_equal(engine_image_ensure(fixture.engine, missing, NULL, NULL, -1, &err),
                         -ERROR_NOT_FOUND);
        note("missing", err.text);
        assert_non_null(strstr(err.text, "not found"));
        assert_int_equal(engine_image_ensure(fixture.engine, untagged, NULL, NULL, -1, &err),
                         -ERROR_NOT_FOUND); /* only :latest was asked for */
        DO("docker", "rmi", image);
        DO("sh", "tests/support/registry.sh", "stop", folder);
}

static void write_login(const char *folder, const char *registry, const char *auth)
{
        scoped_text char *path = fs_path(folder, "config.json");
        scoped_text char *text =
                text_format("{\"auths\":{\"%s\":{\"auth\":\"%s\"}}}", registry, auth);
        struct error err = {0};

        assert_ok(fs_mkdirs(folder, 0700, &err), err);
        assert_ok(fs_write_atomic(path, text, strlen(text), 0600, &err), err);
}

TEST("a registry with a password takes the login of docker's config.json, and no other")
{
        scoped_text char *folder = fs_path(fixture.folder, "closed");
        scoped_text char *logins = fs_path(fixture.folder, "docker");
        scoped_text char *registry =
                RUN("sh", "tests/support/registry.sh", "start", folder, "ci", "pw");
        scoped_text char *image = NULL;
        struct error err = {0};

        write_login(logins, registry, "Y2k6cHc="); /* ci:pw */
        image = push_image(registry);
        setenv("DOCKER_CONFIG", "/nonexistent", 1);
        assert_int_equal(engine_image_ensure(fixture.engine, image, NULL, NULL, -1, &err),
                         -ERROR_DENIED);
        note("without a login", err.text);
        setenv("DOCKER_CONFIG", logins, 1);
        write_login(logins, registry, "Y2k6d3Jvbmc="); /* ci:wrong */
        assert_int_equal(engine_image_ensure(fixture.engine, image, NULL, NULL, -1, &err),
                         -ERROR_DENIED);
        assert_null(strstr(err.text, "wrong"));
        write_login(logins, registry, "%%%");
        assert_int_equal(engine_image_ensure(fixture.engine, image, NULL, NULL, -1, &err),
                         -ERROR_INVALID);
        write_login(logins, registry, "Y2k6cHc=");
        assert_ok(engine_image_ensure(fixture.engine, image, NULL, NULL, -1, &err), err);
        unsetenv("DOCKER_CONFIG");
        DO("docker", "rmi", image);
        DO("sh", "tests/support/registry.sh", "stop", folder);
}

static void *ring_later(void *data)
{
        usleep(300000);
        eventfd_write(*(int *)data, 1);
        return NULL;
}

TEST("a pull from a registry that hangs is cancelled")
{
        struct error err = {0};
        scoped_fd int bell = eventfd(0, EFD_CLOEXEC);
        scoped_fd int listener = -1;
        scoped_text char *image = NULL;
        pthread_t thread;
        int64_t began;
        int port;

        listener = listen_everywhere(&port);
        image = text_format("127.0.0.1:%d/slow:1", port);
        pthread_create(&thread, NULL, ring_later, &bell);
        began = clock_ms();
        assert_int_equal(engine_image_ensure(fixture.engine, image, NULL, NULL, bell, &err),
                         -ERROR_CANCELLED);
        assert_in_range(clock_ms() - began, 290, 3000);
        pthread_join(thread, NULL);
}

TEST("an image without anything in it runs argon-step, and says what a step lacks")
{
        struct job job;
        scoped_talk struct talk talk = {.output = STR_INIT};
        struct sandbox_end end = {0};

        DO("sh", "-c",
           "mkdir -p /tmp/argon-empty-$$ && cd /tmp/argon-empty-$$ && touch nothing && "
           "tar -c nothing | docker import - argon-test:empty && "
           "rm -r /tmp/argon-empty-$$");
        job_init(&job);
        job.spec.image = "argon-test:empty";
        job_run(&job, &talk, &end, "true");
        assert_int_equal(talk.cause, STEP_CAUSE_START);
        note("no shell", talk.text);
        assert_non_null(strstr(talk.text, "sh"));
        job_done(&job);
        DO("docker", "rmi", "argon-test:empty");
}

TEST("what an image says of entrypoint, user, volumes and health is taken or left as it should be")
{
        struct job job;
        scoped_talk struct talk talk = {.output = STR_INIT};
        struct sandbox_end end = {0};
        scoped_text char *volumes = NULL;
        scoped_text char *after = NULL;
        scoped_text char *below = NULL;

        DO("sh", "-c",
           "id=$(docker create argon-test:base) && docker commit -c 'USER 1000:1000' "
           "-c 'VOLUME /data' -c 'ENTRYPOINT [\"/bin/false\"]' -c 'WORKDIR /opt' "
           "-c 'HEALTHCHECK --interval=1s CMD touch /tmp/sick' -c 'ENV FROM_IMAGE=yes' "
           "$id argon-test:odd && docker rm $id");
        volumes = RUN("sh", "-c", "docker volume ls -q | wc -l");
        job_init(&job);
        job.spec.image = "argon-test:odd";
        below = text_format("%s/below", job.workspace); /* checked out by root */
        assert_int_equal(mkdir(below, 0755), 0);
        job_run(&job, &talk, &end,
                "id -u; pwd; echo $FROM_IMAGE; touch below/x || echo no; sleep 1.5; ls /tmp/sick "
                "2>/dev/null; true");
        assert_string_equal(talk.output.data, "1000\n/workspace\nyes\n");
        job_done(&job);
        after = RUN("sh", "-c", "docker volume ls -q | wc -l");
        assert_string_equal(volumes, after);
        DO("docker", "rmi", "argon-test:odd");
}

/* A server of its own on this folder, which makes a slot and a container and is then killed. */
static void be_killed(const char *folder)
{
        int status;
        pid_t pid = fork();

        if (pid == 0) {
                struct engine_options options = fixture.options;
                struct engine *engine = NULL;
                struct sandbox *sandbox = NULL;
                scoped_text char *why = NULL;
                struct sandbox_spec spec = {.build_id = "b",
                                            .job_id = folder + 5,
                                            .attempt = 1,
                                            .token = "token",
                                            .control = folder,
                                            .workspace = folder};

                options.data = folder;
                if (engine_open(&engine, &why, adapters, 1, "docker", &options, NULL) < 0 ||
                    engine_create(engine, &sandbox, &spec, NULL) < 0)
                        _exit(1);
                raise(SIGKILL);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
}

TEST("what a killed server left is taken away once its folder of data is gone")
{
        char folder[] = "/tmp/argon-killed-XXXXXX";
        struct error err = {0};
        scoped_text char *path = NULL;
        scoped_text char *script = NULL;
        scoped_text char *before = NULL;
        scoped_text char *kept = NULL;
        scoped_text char *after = NULL;
        scoped_str struct str id = STR_INIT;

        assert_non_null(mkdtemp(folder));
        be_killed(folder);
        path = text_format("%s/engine/id", folder);
        assert_ok(str_read_file(&id, path, 64, &err), err);
        script = text_format("{ docker ps -a --filter label=argon.data=%s -q; "
                             "docker network ls --filter label=argon.data=%s -q; "
                             "iptables -S INPUT | grep ar%s; } | wc -l",
                             id.data, id.data, id.data + strlen(id.data) - 8);
        before = RUN("sh", "-c", script);
        assert_string_equal(before, "5"); /* pause, job; network; two rules */
        engine_close(open_engine());
        kept = RUN("sh", "-c", script);
        assert_string_equal(kept, "5"); /* the folder is there: it may come back */
        assert_ok(fs_remove_tree(folder, &err), err);
        engine_close(open_engine());
        after = RUN("sh", "-c", script);
        assert_string_equal(after, "0");
}

TEST("nothing of all that is left over")
{
        scoped_text char *prefix = rules_prefix();
        scoped_text char *names = NULL;
        scoped_text char *rules = NULL;
        scoped_text char *script = text_format(
                "docker ps -a --format '{{.Names}}' | grep %.8s; docker network ls | grep %.8s; "
                "true",
                prefix + 2, prefix + 2);
        scoped_text char *grep = text_format("iptables -S | grep %.10s; true", prefix);

        fixture_close();
        names = RUN("sh", "-c", script);
        assert_string_equal(names, "");
        rules = RUN("sh", "-c", grep);
        assert_string_equal(rules, "");
}

TEST_MAIN()
