// SPDX-License-Identifier: Apache-2.0
#include "catalog/boards.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_models(void **state)
{
    struct boards *boards = boards_new();
    const struct mig_board *board = boards_find(boards, "NVIDIA A100-SXM4-40GB");

    assert_non_null(board);
    assert_int_equal(board->n_slots, 8);
    assert_null(boards_find(boards, "NVIDIA A10G")); /* known, and cannot be partitioned */
    assert_null(boards_find(boards, "NVIDIA X100"));
    assert_null(boards_find(boards, ""));
    assert_null(boards_find(NULL, "NVIDIA A100-SXM4-40GB"));
    boards_free(boards);
    boards_free(NULL);
    (void)state;
}

static void test_without_a_catalog_nothing_is_known(void **state)
{
    struct boards *boards = boards_new();

    setenv("GPUSLICE_CATALOG", "/nowhere", 1);
    assert_string_equal(boards_folder(), "/nowhere");
    assert_null(boards_find(boards, "NVIDIA A100-SXM4-40GB"));
    unsetenv("GPUSLICE_CATALOG");
    boards_free(boards);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_models),
        cmocka_unit_test(test_without_a_catalog_nothing_is_known),
    };

    return cmocka_run_group_tests_name("catalog/boards", tests, NULL, NULL);
}
