#pragma once
/*
 * test - cmocka behind a wrapper in which a test's name is a sentence
 *
 *         TEST("an empty text has no bytes")
 *         {
 *                 ...
 *                 assert_int_equal(str.len, 0);
 *         }
 *         TEST_MAIN()
 *
 * Tests run in the order of the file; TEST_MAIN() stands last.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define TEST_COUNT_MAX 256

static __attribute__((__unused__)) struct CMUnitTest test_list[TEST_COUNT_MAX];
static __attribute__((__unused__)) size_t test_count;

#define TEST_JOIN_(a, b) a##b
#define TEST_JOIN(a, b) TEST_JOIN_(a, b)
#define TEST(sentence) TEST_(sentence, TEST_JOIN(test_, __LINE__), TEST_JOIN(test_add_, __LINE__))
#define TEST_(sentence, function, adder)                                                \
        static void function(void **state);                                             \
        __attribute__((__constructor__)) static void adder(void)                        \
        {                                                                               \
                test_list[test_count++] =                                               \
                        (struct CMUnitTest){.name = (sentence), .test_func = function}; \
        }                                                                               \
        static void function(void **state)

/* A test that empties its environment still speaks TAP when it was asked to. */
#define TEST_MAIN()                                                                          \
        int main(void)                                                                       \
        {                                                                                    \
                if (getenv("CMOCKA_MESSAGE_OUTPUT"))                                         \
                        cmocka_set_message_output(CM_OUTPUT_TAP);                            \
                return _cmocka_run_group_tests(__FILE__, test_list, test_count, NULL, NULL); \
        }

/** assert_ok() - the call returned 0; else its error is shown */
#define assert_ok(call, err)                                   \
        do {                                                   \
                if ((call) < 0)                                \
                        fail_msg("%s: %s", #call, (err).text); \
        } while (0)
