// SPDX-License-Identifier: Apache-2.0
#include "cli/podlist.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"

static void parse(const char *text, struct problems *problems, struct podlist *ret_podlist)
{
    assert_int_equal(podlist_parse(text, strlen(text), problems, ret_podlist), 0);
}

static void test_ours(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_podlist struct podlist w = PODLIST_INIT;

    parse("name,share,count,model,memory\r\n"
          "a,12.5%,3,,\r\n"
          "\r\n"
          "\"b, \"\"the second\"\"\", 81% ,,a10g,4Gi\n"
          "c,,,a10g,2Gi\n"
          "d,,0,,",
          &problems, &w);
    assert_int_equal(problems_count(&problems, PROBLEM_WARNING), 0);
    assert_int_equal(w.n_rows, 3);
    assert_int_equal(w.rows[0].share_permille, 125);
    assert_int_equal(w.rows[0].n_pods, 3);
    assert_int_equal(w.rows[0].kind, 0);
    assert_int_equal(w.rows[1].share_permille, 810);
    assert_int_equal(w.rows[1].n_pods, 1);
    assert_int_equal(w.rows[1].mem_bytes, UINT64_C(4) << 30);
    assert_int_equal(w.rows[1].at.line, 4);
    assert_int_equal(w.rows[2].share_permille, 0);
    assert_int_equal(w.rows[2].kind, 1);
    assert_int_equal(w.kinds.n_items, 2);
    assert_string_equal(w.kinds.items[1], "a10g");
    assert_int_equal(w.n_without, 0);
}

static void test_trace(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_podlist struct podlist w = PODLIST_INIT;

    parse("\xef\xbb\xbfname,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,"
          "creation_time,deletion_time,scheduled_time\n"
          "openb-pod-0000,12000,16384,1,1000,,LS,Running,0,12537496,0\n"
          "openb-pod-0001,6000,12288,1,460,V100M16|V100M32,LS,Running,427061,12902960,427061\n"
          "openb-pod-0002,6000,12288,8,1000,,LS,Running,427061,12902960,427061\n"
          "openb-pod-0003,6000,12288,0,0,,LS,Running,427061,12902960,427061\n",
          &problems, &w);
    assert_int_equal(problems_count(&problems, PROBLEM_WARNING), 0);
    assert_int_equal(w.n_rows, 3);
    assert_int_equal(w.rows[0].share_permille, 1000);
    assert_int_equal(w.rows[1].share_permille, 460);
    assert_string_equal(w.kinds.items[w.rows[1].kind], "V100M16|V100M32");
    assert_int_equal(w.rows[2].n_gpus, 8);
    assert_int_equal(w.n_without, 1);
}

static void test_unknown_columns(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_podlist struct podlist w = PODLIST_INIT;
    const struct problem *problem;

    parse("share,modl,tenant\n25%,a10g,us\n", &problems, &w);
    assert_int_equal(w.rows[0].kind, 0);
    problem = problems_next(&problems, NULL);
    assert_non_null(strstr(problem->text, "did you mean model?"));
    assert_int_equal(problem->at.column, 7);
    assert_int_equal(problems_count(&problems, PROBLEM_WARNING), 2);
}

static const struct {
    const char *text;
    unsigned line, column;
    const char *words;
} mistakes[] = {
    {"", 1, 1, "names the columns"},
    {"25%\n50%\n", 1, 1, "names the columns"},
    {"share,gpu_milli\n", 1, 7, "the column share says the same"},
    {"share,gpus\n50%\n", 2, 1, "1 fields, and the first line names 2"},
    {"share,gpus\n50%,1,2\n", 2, 1, "3 fields"},
    {"name,share\na,half\n", 2, 3, "'half'"},
    {"name,share\n\xc3\xa4,0%\n", 2, 3, "'0%'"},
    {"gpu_milli\n1001\n", 2, 1, "from 0 to 1000"},
    {"share,gpus\n50%,2\n", 2, 1, "parts of several GPUs"},
    {"share,gpus\n50%,-1\n", 2, 5, "how many GPUs"},
    {"share,count\n50%,10000001\n", 2, 5, "how many such pods"},
    {"share,count\n50%,9999999\n50%,2\n", 3, 1, "more pods"},
    {"share,memory\n50%,much\n", 2, 5, "'much'"},
    {"share,name\n50%,\"a\n50%,b\n", 2, 5, "quotes are not closed"},
};

static void test_mistakes(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(mistakes); i++) {
        cleanup_problems struct problems problems = PROBLEMS_INIT;
        cleanup_podlist struct podlist w = PODLIST_INIT;
        const char *text = mistakes[i].text;
        const struct problem *problem = NULL;

        assert_int_equal(podlist_parse(text, strlen(text), &problems, &w), -EBADMSG);
        do
            problem = problems_next(&problems, problem);
        while (problem && problem->severity != PROBLEM_ERROR);
        assert_non_null(problem);
        if (problem->at.line != mistakes[i].line || problem->at.column != mistakes[i].column ||
            !strstr(problem->text, mistakes[i].words))
            fail_msg("%s -> %u:%u: %s", text, problem->at.line, problem->at.column, problem->text);
        assert_null(w.rows);
    }
}

/* Of a file that is something else, a few mistakes say enough. */
static void test_ends_after_many_mistakes(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_podlist struct podlist w = PODLIST_INIT;
    cleanup_text struct text text = TEXT_INIT;

    text_add(&text, "share\n");
    for (int i = 0; i < 1000; i++)
        text_add(&text, "x\n");
    assert_int_equal(podlist_parse(text.data, text.length, &problems, &w), -EBADMSG);
    assert_int_equal(problems_count(&problems, PROBLEM_ERROR), PODLIST_MAX_ERRORS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ours),
        cmocka_unit_test(test_trace),
        cmocka_unit_test(test_unknown_columns),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_ends_after_many_mistakes),
    };

    return cmocka_run_group_tests_name("cli/podlist", tests, NULL, NULL);
}
