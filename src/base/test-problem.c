// SPDX-License-Identifier: Apache-2.0
#include "base/problem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct position nowhere = {0, 0};

static void assert_line(const struct problems *problems, size_t i, const char *expected)
{
    char line[256];

    assert_true(i < problems->n_items);
    problem_format(problems, &problems->items[i], line, sizeof(line));
    assert_string_equal(line, expected);
}

static void test_a_problem_is_one_line(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    problem_add(&problems, PROBLEM_ERROR, nowhere, "--config", "no such file");
    problem_add(&problems, PROBLEM_ERROR, (struct position){3, 7}, "", "not YAML");
    assert_line(&problems, 0, "--config: no such file");
    assert_line(&problems, 1, ":3:7: not YAML");

    assert_int_equal(problems_set_source(&problems, "any.yaml"), 0);
    problem_add(&problems, PROBLEM_WARNING, (struct position){12, 5}, "sharing.mps",
                "unknown key %s", "x");
    assert_line(&problems, 0, "any.yaml: --config: no such file");
    assert_line(&problems, 1, "any.yaml:3:7: not YAML");
    assert_line(&problems, 2, "any.yaml:12:5: sharing.mps: unknown key x");
}

static void test_an_outside_word_cannot_break_the_line(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    problem_add(&problems, PROBLEM_ERROR, nowhere, "a\rb", "unknown key '%s'", "x\ny\x1b");
    assert_line(&problems, 0, "a?b: unknown key 'x?y?'");
}

static void test_a_small_buffer_is_still_terminated(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    char line[8];

    problem_add(&problems, PROBLEM_ERROR, (struct position){1, 1}, "path", "text");
    problem_format(&problems, &problems.items[0], line, sizeof(line));
    assert_string_equal(line, ":1:1: p");
}

static void test_counted_by_severity(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    problem_add(&problems, PROBLEM_NOTE, nowhere, "", "a");
    problem_add(&problems, PROBLEM_WARNING, nowhere, "", "b");
    problem_add(&problems, PROBLEM_WARNING, nowhere, "", "c");
    assert_int_equal(problems_count(&problems, PROBLEM_NOTE), 1);
    assert_int_equal(problems_count(&problems, PROBLEM_WARNING), 2);
    assert_int_equal(problems_count(&problems, PROBLEM_ERROR), 0);

    problems.failed = true; /* a problem lost without memory must not look like success */
    assert_int_equal(problems_count(&problems, PROBLEM_ERROR), 1);
    problem_add(NULL, PROBLEM_ERROR, nowhere, "", "nobody cares");
}

/* What is counted can also be walked and shown. */
static void test_a_lost_problem_is_the_last_one(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    const struct problem *problem;
    char line[80];

    assert_null(problems_next(&problems, NULL));
    problems.failed = true;
    problem = problems_next(&problems, NULL);
    problem_format(&problems, problem, line, sizeof(line));
    assert_string_equal(line, "out of memory: not every problem is shown");
    assert_int_equal(problem->severity, PROBLEM_ERROR);
    assert_null(problems_next(&problems, problem));

    problem_add(&problems, PROBLEM_WARNING, nowhere, "", "a");
    problem = problems_next(&problems, NULL);
    assert_string_equal(problem->text, "a");
    problem = problems_next(&problems, problem);
    assert_int_equal(problem->severity, PROBLEM_ERROR);
    assert_null(problems_next(&problems, problem));
}

static void assert_described(const struct problems *problems, size_t size, const char *expected)
{
    char line[128];

    problems_describe(problems, line, size);
    assert_string_equal(line, expected);
}

static void test_described_by_the_first_error(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    problem_add(&problems, PROBLEM_WARNING, (struct position){1, 1}, "a", "is odd");
    assert_described(&problems, 128, "");
    problems.failed = true;
    assert_described(&problems, 128, "out of memory: not every problem is shown");
    problem_add(&problems, PROBLEM_ERROR, (struct position){1, 2}, "b",
                "is w\xc3\xa4"
                "rong");
    assert_described(&problems, 128, ":1:2: b: is w\xc3\xa4rong (and 1 more problem)");
    problem_add(&problems, PROBLEM_ERROR, (struct position){1, 3}, "c", "is wrong");
    assert_described(&problems, 128, ":1:2: b: is w\xc3\xa4rong (and 2 more problems)");
    assert_described(&problems, 37,
                     ":1:2: b: is w (and 2 more problems)"); /* half an \xe4 is cut */
}

static void test_sorted_by_place_then_by_order(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    static const struct {
        struct position at;
        const char *text;
    } added[] = {{{9, 1}, "e"}, {{2, 8}, "d"}, {{2, 3}, "b"}, {{2, 3}, "c"}, {{0, 0}, "a"}};

    for (size_t i = 0; i < sizeof(added) / sizeof(added[0]); i++)
        problem_add(&problems, PROBLEM_ERROR, added[i].at, "", "%s", added[i].text);
    problems_sort(&problems);
    for (size_t i = 0; i < problems.n_items; i++) {
        const char expected[] = {(char)('a' + i), '\0'};

        assert_string_equal(problems.items[i].text, expected);
    }
}

static void test_severities_have_names(void **state)
{
    assert_string_equal(problem_severity_name(PROBLEM_NOTE), "note");
    assert_string_equal(problem_severity_name(PROBLEM_WARNING), "warning");
    assert_string_equal(problem_severity_name(PROBLEM_ERROR), "error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_problem_is_one_line),
        cmocka_unit_test(test_an_outside_word_cannot_break_the_line),
        cmocka_unit_test(test_a_small_buffer_is_still_terminated),
        cmocka_unit_test(test_counted_by_severity),
        cmocka_unit_test(test_a_lost_problem_is_the_last_one),
        cmocka_unit_test(test_described_by_the_first_error),
        cmocka_unit_test(test_sorted_by_place_then_by_order),
        cmocka_unit_test(test_severities_have_names),
    };

    return cmocka_run_group_tests_name("base/problem", tests, NULL, NULL);
}
