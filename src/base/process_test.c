#include "base/process.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/scoped.h"
#include "tests/support/test.h"

#include "base/banned.h"

#define SHELL(script) ((const char *const[]){"sh", "-c", (script), NULL})

TEST("the exit code, both outputs and the fed input come back")
{
        scoped_process_result struct process_result result = PROCESS_RESULT_INIT;
        struct process_spec spec = {
                .argv = SHELL("cat; echo bad >&2; exit 3"),
                .input = "hello",
                .input_len = 5,
                .output_max = 100,
                .cancel_fd = -1,
        };
        struct error err = {0};

        assert_ok(process_run(&result, &spec, &err), err);
        assert_int_equal(result.exit_code, 3);
        assert_string_equal(result.output.data, "hello");
        assert_string_equal(result.errors.data, "bad\n");
}

TEST("a program that does not exist is not found")
{
        scoped_process_result struct process_result result = PROCESS_RESULT_INIT;
        struct process_spec spec = {.argv = (const char *const[]){"argon-no-such-program", NULL},
                                    .cancel_fd = -1};
        struct error err = {0};

        assert_int_equal(process_run(&result, &spec, &err), -ERROR_NOT_FOUND);
}

TEST("nothing of our environment and no descriptor is inherited")
{
        scoped_process_result struct process_result result = PROCESS_RESULT_INIT;
        struct process_spec spec = {
                .argv = SHELL("env | grep -c ARGON_SECRET_OF_TEST; ls /proc/self/fd | wc -l"),
                .output_max = 100,
                .cancel_fd = -1,
        };
        struct error err = {0};
        scoped_fd int fd = eventfd(0, 0);

        assert_true(fd >= 0);
        setenv("ARGON_SECRET_OF_TEST", "1", 1);
        assert_ok(process_run(&result, &spec, &err), err);
        assert_string_equal(result.output.data, "0\n4\n");
}

TEST("too much output ends the child with a limit")
{
        scoped_process_result struct process_result result = PROCESS_RESULT_INIT;
        struct process_spec spec = {.argv = SHELL("yes"), .output_max = 1000, .cancel_fd = -1};
        struct error err = {0};

        assert_int_equal(process_run(&result, &spec, &err), -ERROR_LIMIT);
}

TEST("the whole group ends at the deadline, also what ignores SIGTERM")
{
        scoped_process_result struct process_result result = PROCESS_RESULT_INIT;
        struct process_spec spec = {
                .argv = SHELL("trap '' TERM; sleep 100 & sleep 100; sleep 100"),
                .timeout_ms = 100,
                .cancel_fd = -1,
        };
        struct error err = {0};
        int64_t start = clock_ms();

        assert_int_equal(process_run(&result, &spec, &err), -ERROR_LIMIT);
        assert_true(clock_ms() - start < 20000);
}

TEST("a readable cancel descriptor ends it")
{
        scoped_process_result struct process_result result = PROCESS_RESULT_INIT;
        scoped_fd int fd = eventfd(1, EFD_CLOEXEC);
        struct process_spec spec = {.argv = SHELL("sleep 100"), .cancel_fd = fd};
        struct error err = {0};

        assert_int_equal(process_run(&result, &spec, &err), -ERROR_CANCELLED);
}

static void count_line(void *data, const char *line)
{
        if (strcmp(line, "50%") == 0 || strcmp(line, "100%") == 0)
                ++*(int *)data;
}

TEST("lines of stderr are told as they come, and its middle is dropped when it is long")
{
        scoped_process_result struct process_result result = PROCESS_RESULT_INIT;
        int lines = 0;
        struct process_spec spec = {
                .argv = SHELL("printf '50%%\\r100%%\\n' >&2; seq 100000 >&2; echo end >&2"),
                .error_max = 1000,
                .on_line = count_line,
                .data = &lines,
                .cancel_fd = -1,
        };
        struct error err = {0};

        assert_ok(process_run(&result, &spec, &err), err);
        assert_int_equal(lines, 2);
        assert_int_equal(result.errors.len, 1000);
        assert_true(text_starts(result.errors.data, "50%"));
        assert_true(text_ends(result.errors.data, "100000\nend\n"));
}

TEST_MAIN()
