// SPDX-License-Identifier: Apache-2.0

/* What a context is expected to cost, by what is known and what was seen. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "arbiter/contextcost.h"

#define MIB (UINT64_C(1) << 20)

static void test_measured_figures_come_first(void **state)
{
    struct contextcost cost = {.n = 0};

    assert_int_equal(contextcost_get(&cost, "NVIDIA H200", "", "580.95.05"), 518 * MIB);
    assert_int_equal(contextcost_get(&cost, "NVIDIA H100 80GB HBM3", "", "580.159.04"), 518 * MIB);
    contextcost_learn(&cost, "NVIDIA H200", "", 100 * MIB);
    assert_int_equal(contextcost_get(&cost, "NVIDIA H200", "", "580.95.05"), 518 * MIB);
    assert_int_equal(contextcost_get(&cost, "NVIDIA H200", "", "575.1"), 100 * MIB);
    assert_int_equal(contextcost_get(&cost, "NVIDIA H200", "1g.18gb", "580.95.05"),
                     CONTEXTCOST_UNKNOWN_BYTES);
}

static void test_the_first_one_seen_counts_for_its_kind(void **state)
{
    struct contextcost cost = {.n = 0};

    assert_int_equal(contextcost_get(&cost, "Tesla T4", "", "550.1"), CONTEXTCOST_UNKNOWN_BYTES);
    contextcost_learn(&cost, "Tesla T4", "", 0); /* nothing was measured */
    contextcost_learn(&cost, "Tesla T4", "", 105 * MIB);
    contextcost_learn(&cost, "Tesla T4", "", 400 * MIB);
    assert_int_equal(contextcost_get(&cost, "Tesla T4", "", "550.1"), 105 * MIB);
    assert_int_equal(contextcost_get(&cost, "NVIDIA L4", "", "550.1"), CONTEXTCOST_UNKNOWN_BYTES);
}

/* Whose context it is decides what others are charged, for a moment: within bounds. */
static void test_nobody_makes_contexts_of_others_dear_or_free(void **state)
{
    struct contextcost cost = {.n = 0};

    contextcost_learn(&cost, "dear", "", 40000 * MIB);
    contextcost_learn(&cost, "free", "", 1);
    assert_int_equal(contextcost_get(&cost, "dear", "", ""), CONTEXTCOST_UNKNOWN_BYTES);
    assert_int_equal(contextcost_get(&cost, "free", "", ""), CONTEXTCOST_LEAST_BYTES);
}

static void test_more_kinds_than_a_node_has(void **state)
{
    struct contextcost cost = {.n = 0};
    char model[16];

    for (int i = 0; i < 2 * CONTEXTCOST_MODELS_MAX; i++) {
        snprintf(model, sizeof(model), "%d", i);
        contextcost_learn(&cost, model, "", 100 * MIB);
    }
    assert_int_equal(contextcost_get(&cost, "0", "", ""), 100 * MIB);
    assert_int_equal(contextcost_get(&cost, model, "", ""), CONTEXTCOST_UNKNOWN_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_measured_figures_come_first),
        cmocka_unit_test(test_the_first_one_seen_counts_for_its_kind),
        cmocka_unit_test(test_nobody_makes_contexts_of_others_dear_or_free),
        cmocka_unit_test(test_more_kinds_than_a_node_has),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
