// SPDX-License-Identifier: Apache-2.0
#include "cli/findings.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void fill(struct problems *problems)
{
    problems_set_source(problems, "any.yaml");
    problem_add(problems, PROBLEM_NOTE, (struct position){1, 1}, "", "a note");
    problem_add(problems, PROBLEM_WARNING, (struct position){0, 0}, "", "GPU 1 is lost");
    problem_add(problems, PROBLEM_WARNING, (struct position){0, 0}, "flags.x", "is odd");
    problem_add(problems, PROBLEM_ERROR, (struct position){9, 2}, "b", "second");
    problem_add(problems, PROBLEM_ERROR, (struct position){3, 4}, "a", "first");
}

static void assert_printed(struct problems *problems, bool with_summary, const char *wanted)
{
    char text[1024] = "";
    FILE *out = fmemopen(text, sizeof(text), "w");

    assert_non_null(out);
    findings_print(problems, NULL, with_summary, out);
    fclose(out);
    assert_string_equal(text, wanted);
}

static void test_in_the_order_of_the_file_each_with_place_and_severity(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    fill(&problems);
    assert_printed(&problems, true,
                   "any.yaml:1:1: note: a note\n"
                   "any.yaml:3:4: error: a: first\n"
                   "any.yaml:9:2: error: b: second\n"
                   "warning: GPU 1 is lost\n"
                   "any.yaml: warning: flags.x: is odd\n"
                   "any.yaml: 2 errors, 2 warnings, 1 note\n");
}

static void test_nothing_found(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    assert_printed(&problems, false, "");
    assert_printed(&problems, true, "configuration: clean\n");
    problems_set_source(&problems, "any.yaml");
    assert_printed(&problems, true, "any.yaml: clean\n");
}

static void test_a_lost_problem_is_an_error(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    problems.failed = true;
    assert_printed(&problems, true,
                   "error: out of memory: not every problem is shown\n"
                   "configuration: 1 error\n");
}

static void test_the_worst_decides_the_status(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    assert_int_equal(findings_status(&problems), EXIT_CLEAN);
    problem_add(&problems, PROBLEM_NOTE, (struct position){1, 1}, "", "x");
    assert_int_equal(findings_status(&problems), EXIT_CLEAN);
    problem_add(&problems, PROBLEM_WARNING, (struct position){1, 1}, "", "x");
    assert_int_equal(findings_status(&problems), EXIT_WARNINGS);
    problem_add(&problems, PROBLEM_ERROR, (struct position){1, 1}, "", "x");
    assert_int_equal(findings_status(&problems), EXIT_ERRORS);
}

static void test_a_files_name_cannot_steer_the_terminal(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    problems_set_source(&problems, "a\x1b[31m\nb.yaml");
    problem_add(&problems, PROBLEM_ERROR, (struct position){1, 1}, "", "x");
    assert_printed(&problems, true, "a?[31m?b.yaml:1:1: error: x\na?[31m?b.yaml: 1 error\n");
}

static void test_tree(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup(json_decrefp) json_t *tree = NULL;
    cleanup(json_decrefp) json_t *wanted = json_loads(
        "{\"file\": \"any.yaml\", \"errors\": 2, \"warnings\": 2, \"notes\": 1, \"problems\": ["
        "{\"severity\": \"warning\", \"line\": null, \"column\": null, \"path\": \"\","
        " \"text\": \"GPU 1 is lost\"},"
        "{\"severity\": \"warning\", \"line\": null, \"column\": null, \"path\": \"flags.x\","
        " \"text\": \"is odd\"},"
        "{\"severity\": \"note\", \"line\": 1, \"column\": 1, \"path\": \"\","
        " \"text\": \"a note\"},"
        "{\"severity\": \"error\", \"line\": 3, \"column\": 4, \"path\": \"a\","
        " \"text\": \"first\"},"
        "{\"severity\": \"error\", \"line\": 9, \"column\": 2, \"path\": \"b\","
        " \"text\": \"second\"}]}",
        0, NULL);

    fill(&problems);
    tree = findings_tree(&problems);
    assert_non_null(wanted);
    assert_true(json_equal(tree, wanted));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_the_order_of_the_file_each_with_place_and_severity),
        cmocka_unit_test(test_nothing_found),
        cmocka_unit_test(test_a_lost_problem_is_an_error),
        cmocka_unit_test(test_the_worst_decides_the_status),
        cmocka_unit_test(test_a_files_name_cannot_steer_the_terminal),
        cmocka_unit_test(test_tree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
