/*
 * The line between argon-step and the executor when things go wrong: an executor that is killed,
 * that is slow, that sends garbage; strangers that knock; pipes instead of a socket.
 */
#include <poll.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "tests/support/step_run.h"

#include "base/banned.h"

/* --- an executor in a process of its own, to be killed --- */

/**
 * struct record - what a follower has on record, in memory that outlives it
 * @length: of its output file
 */
struct record {
        uint64_t offset;
        uint64_t length;
        uint64_t finished;
        uint64_t ended;
};

#define WRITE_ALL(fd, bytes, n) assert_int_equal(write(fd, bytes, n), (ssize_t)(n))

/* The rule of channel.h: output, then the record in one piece, then the acknowledgement. Everything
 * is in files, with one pwrite for the record, as an executor would do it. */
static _Noreturn void follow_until_killed(struct run *run, int output, int record_fd,
                                          struct step_plan *plan)
{
        struct record record = {0};
        struct step_event event;
        struct error err = {0};

        if (pread(record_fd, &record, sizeof(record), 0) < 0 ||
            ftruncate(output, (off_t)record.length) < 0)
                _exit(10);
        run_listen(run, record.offset);
        if (channel_set_plan(run->channel, plan, &err) < 0)
                _exit(11);
        while (!record.ended) {
                if (channel_receive(run->channel, RUN_PATIENCE_MS, -1, &event, &err) != 1) {
                        fprintf(stderr, "follower: %s\n", err.text);
                        _exit(12);
                }
                if (event.type == STEP_FRAME_OUTPUT) {
                        if (pwrite(output, event.output.bytes, event.output.n,
                                   (off_t)record.length) != (ssize_t)event.output.n)
                                _exit(13);
                        record.length += event.output.n;
                }
                record.finished += event.type == STEP_FRAME_STEP_FINISHED;
                record.ended = event.type == STEP_FRAME_JOB_END;
                record.offset = event.offset;
                if (pwrite(record_fd, &record, sizeof(record), 0) != sizeof(record))
                        _exit(14);
                channel_ack(run->channel, event.offset);
        }
        _exit(0);
}

static int open_file(const struct run *run, const char *name)
{
        scoped_text char *path = run_path(run, name);
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        return fd;
}

static void check_numbers(int output, int last)
{
        scoped_str struct str text = STR_INIT;
        scoped_str struct str want = STR_INIT;

        assert_int_equal(lseek(output, 0, SEEK_SET), 0);
        assert_int_equal(str_read_fd(&text, output, 64 * 1024 * 1024, NULL), 0);
        for (int i = 1; i <= last; i++)
                str_printf(&want, "%d\n", i);
        assert_int_equal(text.len, want.len);
        assert_memory_equal(text.data, want.data, want.len);
}

TEST("an executor may be killed at any moment: the output is byte for byte the same")
{
        struct step_plan_step steps[] = {
                {.name = "a", .script = "seq 1 300000", .shell = "sh", .folder = ""},
                {.name = "b", .script = "exit 7", .shell = "sh", .folder = ""}};
        struct step_plan plan = {.uid = STEP_ID_KEEP,
                                 .gid = STEP_ID_KEEP,
                                 .supervisor_uid = STEP_ID_KEEP,
                                 .workspace = "/",
                                 .steps = steps,
                                 .n_steps = 2};
        struct record record;
        unsigned seed = 12345;
        int kills = 0;
        struct run run;
        int output;
        int record_fd;

        run_init(&run);
        output = open_file(&run, "output");
        record_fd = open_file(&run, "record");
        run_start(&run, RUN_INIT);
        for (;;) {
                pid_t follower = fork();
                int status;
                struct timespec pause;

                if (follower == 0)
                        follow_until_killed(&run, output, record_fd, &plan);
                pause = (struct timespec){.tv_nsec = rand_r(&seed) % 12000000};
                nanosleep(&pause, NULL);
                if (kills < 60)
                        kill(follower, SIGKILL);
                assert_int_equal(waitpid(follower, &status, 0), follower);
                if (WIFEXITED(status)) {
                        assert_int_equal(WEXITSTATUS(status), 0);
                        break;
                }
                kills++;
        }
        assert_true(kills >= 3);
        assert_int_equal(pread(record_fd, &record, sizeof(record), 0), sizeof(record));
        assert_int_equal(record.finished, 2);
        /* Killed between record and acknowledgement of the end: argon-step still waits for it. */
        run_listen(&run, record.offset);
        channel_receive(run.channel, 50, -1, &(struct step_event){0}, NULL);
        assert_int_equal(run_wait(&run), 7);
        check_numbers(output, 300000);
        close(output);
        close(record_fd);
        run_done(&run);
}

TEST("killed between record and acknowledgement with a full buffer: the next one goes on")
{
        struct step_plan_step steps[] = {{.script = "seq 1 2000000"}};
        struct step_plan plan = {0};
        struct step_event event;
        struct run run;
        struct error err;
        int64_t until;
        char *last;

        run_init(&run);
        run_start(&run, RUN_INIT);
        run_listen(&run, 0);
        run_plan(&run, steps, 1, &plan);
        until = clock_ms() + 1500;
        while (clock_ms() < until && channel_receive(run.channel, 300, -1, &event, &err) == 1)
                run_take(&run, &event); /* recorded, never acknowledged */
        assert_true(run.offset > STEP_UNACKED_MAX - 256 * 1024);
        assert_true(run.offset <= STEP_UNACKED_MAX);
        channel_close(run.channel);
        run_listen(&run, run.offset);
        run_follow(&run, NULL);
        assert_int_equal(run.out.len, 14888896); /* seq 1 2000000 | wc -c */
        last = strstr(run.out.data + run.out.len - 20, "2000000\n");
        assert_non_null(last);
        assert_true(run.finished[0].blocked_ms > 0);
        run_done(&run);
}

TEST("time in which the output waits for the executor is not charged to the step")
{
        struct step_plan_step steps[] = {{.script = "seq 1 1000000; sleep 0.1", .timeout_ms = 3000},
                                         {.script = "echo ok"}};
        struct step_plan plan = {.timeout_ms = 4000};
        struct timespec pause = {.tv_sec = 5};
        struct step_event event;
        struct run run;

        run_init(&run);
        run_start(&run, RUN_INIT);
        run_listen(&run, 0);
        run_plan(&run, steps, 2, &plan);
        assert_int_equal(channel_receive(run.channel, RUN_PATIENCE_MS, -1, &event, NULL), 1);
        run_take(&run, &event);
        nanosleep(&pause, NULL);
        run_follow(&run, NULL);
        assert_int_equal(run.end.result, STEP_JOB_SUCCESS);
        assert_int_equal(run.finished[0].exit_code, 0);
        assert_true(run.finished[0].blocked_ms > 2000);
        assert_true(run.finished[0].duration_ms > 5000);
        run_done(&run);
}

TEST("a silent step is timed out although nobody is listening")
{
        struct step_plan_step steps[] = {{.script = "echo up; exec sleep 60", .timeout_ms = 400}};
        struct step_plan plan = {0};
        struct timespec pause = {.tv_sec = 3};
        struct run run;

        run_init(&run);
        run_start(&run, RUN_INIT);
        run_listen(&run, 0);
        run_plan(&run, steps, 1, &plan);
        run_follow(&run, "up");
        channel_close(run.channel);
        nanosleep(&pause, NULL);
        run_listen(&run, run.offset);
        run_follow(&run, NULL);
        assert_int_equal(run.finished[0].cause, STEP_CAUSE_TIMEOUT);
        assert_true(run.finished[0].duration_ms < 2900); /* before we were back */
        run_done(&run);
}

TEST("64 MB without a newline, NUL bytes and invalid UTF-8 pass as they are")
{
        struct step_plan_step steps[] = {
                {.script = "head -c 64000000 /dev/zero; printf '\\377\\376\\0end'"}};
        struct run run;

        run_init(&run);
        assert_int_equal(run_job(&run, RUN_INIT, steps, 1, NULL), 0);
        assert_int_equal(run.out.len, 64000000 + 6);
        for (size_t i = 0; i < 64000000; i++)
                assert_int_equal(run.out.data[i], 0);
        assert_memory_equal(run.out.data + 64000000, "\377\376\0end", 6);
        run_done(&run);
}

/* --- an executor that does not keep to the protocol --- */

static int listen_raw(const struct run *run)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        scoped_text char *path = run_path(run, CHANNEL_SOCKET);

        unlink(path);
        snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(listen(fd, 8), 0);
        return fd;
}

/* One connection that gets these bytes; returns when argon-step has hung up, or after 300 ms. */
static void send_raw(int listener, const struct str *bytes)
{
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        char dump[4096];

        assert_true(fd >= 0);
        WRITE_ALL(fd, bytes->data, bytes->len);
        while (poll(&poll_fd, 1, 300) > 0 && read(fd, dump, sizeof(dump)) > 0)
                ;
        close(fd);
}

static void attach_raw(struct str *bytes, uint64_t resume)
{
        struct step_attach attach = {.version = STEP_PROTOCOL, .resume = resume};

        step_attach_encode(bytes, &attach);
}

TEST("frames that make no sense end a connection, never the supervisor")
{
        struct step_plan_step steps[] = {{.script = "echo fine"}};
        struct str frames[12];
        struct step_plan plan = {0};
        struct run run;
        int listener;

        for (size_t i = 0; i < 12; i++)
                str_init(&frames[i]);
        run_init(&run);
        run_start(&run, RUN_INIT);
        listener = listen_raw(&run);
        str_add(&frames[0], "GET / HTTP/1.1\r\n\r\n");
        str_add_bytes(&frames[1], "\xa5\x02\xff\xff\xff\xff", 6);
        step_ack_encode(&frames[2], 5); /* before ATTACH */
        attach_raw(&frames[3], UINT64_MAX);
        attach_raw(&frames[4], 0);
        step_ack_encode(&frames[4], 99); /* beyond the end */
        attach_raw(&frames[5], 0);
        step_frame_bare(&frames[5], STEP_FRAME_GO); /* no payload */
        attach_raw(&frames[6], 0);
        step_plan_frames(&frames[6], "x", 1);
        frames[6].data[frames[6].len - 1] ^= 1;          /* GO with a wrong sum */
        step_frame_bare(&frames[7], STEP_FRAME_JOB_END); /* the wrong direction */
        step_frame_bare(&frames[8], STEP_FRAME_CANCEL);  /* before ATTACH */
        step_frame_bare(&frames[9], 99);
        str_add_bytes(&frames[10], "\xa5", 1);
        attach_raw(&frames[11], 0);
        str_add_bytes(&frames[11], "\xa5\x01\x03\0\0\0abc", 9); /* ATTACH too short */
        for (size_t i = 0; i < 12; i++)
                send_raw(listener, &frames[i]);
        close(listener);
        run_listen(&run, 0);
        run_plan(&run, steps, 1, &plan);
        run_follow(&run, NULL);
        assert_string_equal(run.out.data, "fine\n");
        assert_int_equal(run.end.result, STEP_JOB_SUCCESS);
        assert_int_equal(run_wait(&run), 0);
        for (size_t i = 0; i < 12; i++)
                str_done(&frames[i]);
        run_done(&run);
}

TEST("a plan that is no plan ends the job in error, with the reason")
{
        scoped_str struct str bytes = STR_INIT;
        struct run run;
        int listener;

        run_init(&run);
        run_start(&run, RUN_INIT);
        listener = listen_raw(&run);
        attach_raw(&bytes, 0);
        step_plan_frames(&bytes, "this is no plan", 15);
        send_raw(listener, &bytes);
        close(listener);
        run_listen(&run, 0);
        run_follow(&run, NULL);
        assert_int_equal(run.end.result, STEP_JOB_ERROR);
        assert_non_null(strstr(run.end_text, "frame PLAN"));
        run_done(&run);
}

TEST("a plan that is cut anywhere is sent again whole, and runs once")
{
        struct step_plan_step steps[] = {
                {.name = "n", .script = "echo once >>runs; cat runs", .shell = "sh", .folder = ""}};
        struct step_plan plan = {.uid = STEP_ID_KEEP,
                                 .gid = STEP_ID_KEEP,
                                 .supervisor_uid = STEP_ID_KEEP,
                                 .steps = steps,
                                 .n_steps = 1};
        scoped_str struct str encoded = STR_INIT;
        scoped_str struct str bytes = STR_INIT;
        size_t attach_len;
        struct run run;
        int listener;

        run_init(&run);
        plan.workspace = run.folder;
        run_start(&run, RUN_INIT);
        listener = listen_raw(&run);
        attach_raw(&bytes, 0);
        attach_len = bytes.len;
        assert_int_equal(step_plan_encode(&encoded, &plan, NULL), 0);
        step_plan_frames(&bytes, encoded.data, encoded.len);
        for (size_t cut = attach_len; cut < bytes.len; cut += 7) {
                int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

                WRITE_ALL(fd, bytes.data, cut);
                close(fd);
        }
        close(listener);
        run_listen(&run, 0);
        run_plan(&run, steps, 1, &plan);
        run_follow(&run, NULL);
        assert_string_equal(run.out.data, "once\n");
        run_done(&run);
}

/* --- strangers and garbage at the executor's end --- */

TEST("only the expected process is listened to, whoever else knocks first")
{
        struct step_plan_step steps[] = {{.script = "echo fine"}};
        struct step_plan plan = {0};
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        struct step_event event;
        struct run run;
        int strangers[8];

        run_init(&run);
        run_start(&run, RUN_INIT);
        run_listen(&run, 0);
        channel_set_peer(run.channel, run.pid);
        snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", run.folder, CHANNEL_SOCKET);
        for (size_t i = 0; i < 8; i++) {
                strangers[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
                assert_int_equal(
                        connect(strangers[i], (struct sockaddr *)&address, sizeof(address)), 0);
                WRITE_ALL(strangers[i], "\xa5\x10\0\0\0\0", 6);
        }
        run_plan(&run, steps, 1, &plan);
        assert_int_equal(channel_receive(run.channel, RUN_PATIENCE_MS, -1, &event, NULL), 1);
        run_take(&run, &event);
        run_follow(&run, NULL);
        assert_string_equal(run.out.data, "fine\n");
        for (size_t i = 0; i < 8; i++) {
                char byte;

                assert_true(read(strangers[i], &byte, 1) <= 0); /* not even an ATTACH */
                close(strangers[i]);
        }
        run_done(&run);
}

TEST("an executor in a PID namespace of its own, which cannot see the sandbox, is served too")
{
        struct step_plan_step steps[] = {{.script = "echo fine"}};
        struct step_plan plan = {0};
        unsigned long flags = SIGCHLD | CLONE_NEWPID | (geteuid() ? CLONE_NEWUSER : 0);
        struct run run;
        pid_t executor;
        int status;

        run_init(&run);
        run_start(&run, RUN_PLAIN);
        executor = (pid_t)syscall(SYS_clone, flags, NULL, NULL, NULL, 0);
        if (executor == 0) {
                run_listen(&run, 0);
                run_plan(&run, steps, 1, &plan);
                run_follow(&run, NULL);
                _exit(strcmp(run.out.data, "fine\n") == 0 ? 0 : 1);
        }
        assert_int_equal(waitpid(executor, &status, 0), executor);
        assert_int_equal(status, 0);
        assert_int_equal(run_wait(&run), 0);
        run_done(&run);
}

/* A channel whose other end is the test itself; it has greeted. */
static int open_pair(struct channel **ret, uint64_t resume, uint64_t base, uint64_t end)
{
        struct channel_options options = {.attached = -1, .resume = resume};
        struct step_hello hello = {
                .version = STEP_PROTOCOL, .planned = true, .base = base, .end = end};
        static unsigned char bytes[STEP_FRAME_MAX * 2];
        scoped_str struct str greeting = STR_INIT;
        struct step_attach attach;
        struct step_frame frame;
        struct step_event event;
        struct error err;
        size_t have = 0;
        int pair[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        options.attached = pair[0];
        assert_ok(channel_open(ret, &options, &err), err);
        do {
                ssize_t n;

                assert_int_equal(channel_receive(*ret, 20, -1, &event, &err), 0);
                n = recv(pair[1], bytes + have, sizeof(bytes) - have, MSG_DONTWAIT);
                have += n > 0 ? (size_t)n : 0;
        } while (step_frame_next(&frame, bytes, have, &err) == 0);
        assert_ok(step_attach_decode(&attach, &frame, &err), err);
        assert_int_equal(attach.resume, resume);
        memcpy(hello.nonce, attach.nonce, STEP_NONCE);
        str_add(&greeting, "rest of a frame \xa5\x10 that was cut");
        step_hello_encode(&greeting, &hello);
        WRITE_ALL(pair[1], greeting.data, greeting.len);
        return pair[1];
}

static void expect_refusal(const void *bytes, size_t n, const char *want)
{
        struct channel *channel;
        struct step_event event;
        struct error err = {0};
        int fd = open_pair(&channel, 0, 0, 1000);

        WRITE_ALL(fd, bytes, n);
        assert_int_equal(channel_receive(channel, 2000, -1, &event, &err), -ERROR_INVALID);
        if (!strstr(err.text, want))
                fail_msg("'%s' instead of '%s'", err.text, want);
        channel_close(channel);
        close(fd);
}

TEST("garbage in a job's stream is refused with what is wrong about it")
{
        expect_refusal("hello", 5, "byte 0x68 is not the start of a frame");
        expect_refusal("\xa5\x12\xff\xff\xff\x7f", 6, "2147483647 bytes");
        expect_refusal("\xa5\x12\x01\0\0\0x", 7, "frame OUTPUT: bad or missing step");
        expect_refusal("\xa5\x04\x08\0\0\0\0\0\0\0\0\0\0\0", 14, "frame 4 is not part of a job's");
}

TEST("a stream that does not begin where the record ends is refused with both figures")
{
        struct channel *channel;
        struct step_event event;
        struct error err = {0};
        int fd = open_pair(&channel, 500, 600, 1000);

        assert_int_equal(channel_receive(channel, 2000, -1, &event, &err), -ERROR_INVALID);
        assert_non_null(strstr(err.text, "holds output from 600 to 1000, the record says 500"));
        channel_close(channel);
        close(fd);
}

TEST("steps that the plan does not have are refused")
{
        struct step_plan_step steps[] = {{.name = "n", .script = "x", .shell = "sh", .folder = ""}};
        struct step_plan plan = {.workspace = "/", .steps = steps, .n_steps = 1};
        struct step_event event = {.type = STEP_FRAME_STEP_STARTED, .started = {1, 0}};
        scoped_str struct str bytes = STR_INIT;
        struct channel *channel;
        struct error err = {0};
        int fd = open_pair(&channel, 0, 0, 0);

        assert_int_equal(channel_set_plan(channel, &plan, NULL), 0);
        step_event_encode(&bytes, &event);
        WRITE_ALL(fd, bytes.data, bytes.len);
        assert_int_equal(channel_receive(channel, 2000, -1, &event, &err), -ERROR_INVALID);
        assert_non_null(strstr(err.text, "step 2 of 1"));
        channel_close(channel);
        close(fd);
}

TEST("receiving can be woken, and ends when its time is over")
{
        struct channel *channel;
        struct step_event event;
        struct error err = {0};
        int64_t began;
        int wake[2];
        int fd = open_pair(&channel, 0, 0, 0);

        assert_int_equal(pipe(wake), 0);
        began = clock_ms();
        assert_int_equal(channel_receive(channel, 120, wake[0], &event, &err), 0);
        assert_true(clock_ms() - began >= 115 && clock_ms() - began < 1000);
        WRITE_ALL(wake[1], "x", 1);
        assert_int_equal(channel_receive(channel, 5000, wake[0], &event, &err), -ERROR_CANCELLED);
        assert_true(clock_ms() - began < 2000);
        channel_close(channel);
        close(fd);
        close(wake[0]);
        close(wake[1]);
}

TEST("a folder with a path longer than an address may hold works")
{
        struct channel_options options = {.attached = -1};
        scoped_str struct str deep = STR_INIT;
        scoped_text char *path = NULL;
        struct channel *channel;
        struct stat st;
        struct error err;
        struct run run;

        run_init(&run);
        str_add(&deep, run.folder);
        for (int i = 0; i < 6; i++)
                str_add(&deep, "/a-folder-with-a-rather-long-name-indeed");
        assert_ok(fs_mkdirs(deep.data, 0755, &err), err);
        options.folder = deep.data;
        assert_ok(channel_open(&channel, &options, &err), err);
        path = fs_path(deep.data, CHANNEL_SOCKET);
        assert_int_equal(stat(path, &st), 0);
        assert_true(S_ISSOCK(st.st_mode));
        assert_int_equal(st.st_mode & 07777, 0777);
        channel_close(channel);
        options.folder = "/no/such/folder";
        assert_int_equal(channel_open(&channel, &options, &err), -ERROR_NOT_FOUND);
        assert_non_null(strstr(err.text, "/no/such/folder"));
        run_done(&run);
}

/* --- pipes --- */

static void open_stdio(struct run *run, uint64_t resume, int fd)
{
        struct channel_options options = {.attached = fd, .resume = resume};
        struct error err;

        assert_ok(channel_open(&run->channel, &options, &err), err);
}

TEST("over standard input and output a job runs as over the socket")
{
        struct step_plan_step steps[] = {{.script = "seq 1 100000"}, {.script = "exit 4"}};
        struct step_plan plan = {0};
        struct run run;

        run_init(&run);
        run_start(&run, RUN_STDIO | RUN_INIT);
        open_stdio(&run, 0, fcntl(run.pipe, F_DUPFD_CLOEXEC, 3));
        run_plan(&run, steps, 2, &plan);
        run_follow(&run, NULL);
        assert_int_equal(run.out.len, 588895); /* seq 1 100000 | wc -c */
        assert_int_equal(run.end.exit_code, 4);
        assert_int_equal(run_wait(&run), 4);
        run_done(&run);
}

TEST("over pipes a new executor takes over in the middle of frames, in both directions")
{
        struct step_plan_step steps[] = {{.script = "seq 1 200000"}};
        struct step_plan plan = {0};
        scoped_str struct str bytes = STR_INIT;
        scoped_str struct str encoded = STR_INIT;
        struct pollfd readable = {.events = POLLIN};
        char dump[777];
        struct run run;
        struct error err;

        run_init(&run);
        run_start(&run, RUN_STDIO | RUN_INIT);
        readable.fd = run.pipe;
        /* A predecessor that died in the middle of its plan. */
        attach_raw(&bytes, 0);
        plan.workspace = "/";
        steps[0].name = "n";
        steps[0].shell = "sh";
        steps[0].folder = "";
        plan.steps = steps;
        plan.n_steps = 1;
        plan.uid = plan.gid = plan.supervisor_uid = STEP_ID_KEEP;
        assert_ok(step_plan_encode(&encoded, &plan, &err), err);
        step_plan_frames(&bytes, encoded.data, encoded.len);
        WRITE_ALL(run.pipe, bytes.data, bytes.len - 9);
        /* One that took the plan, read some output and died in the middle of a frame. */
        open_stdio(&run, 0, fcntl(run.pipe, F_DUPFD_CLOEXEC, 3));
        assert_ok(channel_set_plan(run.channel, &plan, &err), err);
        run_follow(&run, "100\n");
        channel_close(run.channel);
        assert_int_equal(poll(&readable, 1, RUN_PATIENCE_MS), 1);
        assert_true(read(run.pipe, dump, sizeof(dump)) > 0);
        WRITE_ALL(run.pipe, "\xa5\x04\x08\0\0\0\xff", 7);
        /* And the one that brings it to its end. */
        open_stdio(&run, run.offset, fcntl(run.pipe, F_DUPFD_CLOEXEC, 3));
        run_follow(&run, NULL);
        assert_int_equal(run.out.len, 1288895); /* seq 1 200000 | wc -c */
        assert_int_equal(run.end.result, STEP_JOB_SUCCESS);
        assert_int_equal(run_wait(&run), 0);
        run_done(&run);
}

TEST("over pipes garbage is passed over until the next executor")
{
        struct step_plan_step steps[] = {{.script = "echo fine"}};
        struct step_plan plan = {0};
        struct run run;

        run_init(&run);
        run_start(&run, RUN_STDIO | RUN_INIT);
        WRITE_ALL(run.pipe, "ls -l\n\xa5\x02\xff\xff\xff\xff", 12);
        open_stdio(&run, 0, fcntl(run.pipe, F_DUPFD_CLOEXEC, 3));
        run_plan(&run, steps, 1, &plan);
        run_follow(&run, NULL);
        assert_string_equal(run.out.data, "fine\n");
        run_done(&run);
}

TEST("the end of standard input is no cancel, but nobody being there for long is")
{
        struct step_plan_step steps[] = {
                {.script = "echo up; sleep 0.3; echo later; exec sleep 60"}};
        struct step_plan plan = {.orphan_max_ms = 1000};
        struct run run;

        run_init(&run);
        run_start(&run, RUN_STDIO | RUN_INIT);
        open_stdio(&run, 0, fcntl(run.pipe, F_DUPFD_CLOEXEC, 3));
        run_plan(&run, steps, 1, &plan);
        run_follow(&run, "up");
        shutdown(run.pipe, SHUT_WR);
        run_follow(&run, "later");
        run_follow(&run, NULL);
        assert_int_equal(run.end.result, STEP_JOB_ORPHANED);
        run_done(&run);
}

TEST_MAIN()
