// SPDX-License-Identifier: Apache-2.0
#include "slice/sharechoice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/array.h"

static void add(struct sharedemand *demand, unsigned share, size_t n_pods)
{
    demand->n_pods[share] += n_pods;
}

static void test_equal_slices(void **state)
{
    static struct sharedemand demand;
    static const struct {
        unsigned n_slices;
        size_t n_gpus, n_parts;
    } cases[] = {
        {1, 5, 5},
        {2, 3, 6},
        {4, 3, 10},
        {10, 3, 22},
    };

    add(&demand, 810, 1);
    add(&demand, 500, 1);
    add(&demand, 200, 2);
    add(&demand, 400, 1);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct sharefit fit = sharechoice_equal(&demand, 1, cases[i].n_slices);

        assert_int_equal(fit.n_gpus, cases[i].n_gpus);
        assert_int_equal(fit.n_parts, cases[i].n_parts);
        assert_int_equal(fit.whole, cases[i].n_slices);
    }
    assert_int_equal(sharechoice_exact(&demand, 1).n_parts, 2110);
}

static void test_all_shares_have_a_name(void **state)
{
    static struct sharedemand demand;
    struct sharechoice choice;

    add(&demand, 125, 8);
    add(&demand, 1000, 1);
    assert_int_equal(sharechoice_make(&demand, 1, 8, &choice), 0);
    assert_int_equal(choice.n_sizes, 2);
    assert_int_equal(choice.sizes[0], 1000);
    assert_int_equal(choice.sizes[1], 125);
    assert_int_equal(sharechoice_fit(&choice, &demand, 1).n_gpus, 2);
}

/* No pod shares a GPU with one that wants another kind. */
static void test_kinds_are_apart(void **state)
{
    static struct sharedemand kinds[2];
    struct sharechoice choice;

    add(&kinds[0], 500, 1);
    add(&kinds[1], 300, 1);
    assert_int_equal(sharechoice_make(kinds, 2, 8, &choice), 0);
    assert_int_equal(choice.n_sizes, 2);
    assert_int_equal(sharechoice_fit(&choice, kinds, 2).n_gpus, 2);
    assert_int_equal(sharechoice_exact(kinds, 2).n_gpus, 2);
}

static void test_nothing(void **state)
{
    static struct sharedemand demand;
    struct sharechoice choice;

    assert_int_equal(sharechoice_make(&demand, 1, 8, &choice), 0);
    assert_int_equal(choice.n_sizes, 0);
    assert_int_equal(sharechoice_fit(&choice, &demand, 1).n_gpus, 0);
    assert_int_equal(sharechoice_equal(&demand, 1, 4).n_gpus, 0);
}

/* ---- Beside brute force ---- */

enum { VALUES = 7 };

/* The fewest GPUs of every choice of n_names of these values, with the largest. */
static size_t fewest_of_all(const struct sharedemand *demand, const unsigned *values,
                            size_t n_names)
{
    size_t fewest = SIZE_MAX;

    for (unsigned set = 1u << (VALUES - 1); set < 1u << VALUES; set++) {
        struct sharechoice choice = {.n_sizes = 0};
        size_t n_gpus;

        if ((size_t)__builtin_popcount(set) != n_names)
            continue;
        for (size_t i = VALUES; i-- > 0;)
            if (set >> i & 1)
                choice.sizes[choice.n_sizes++] = values[i];
        n_gpus = sharechoice_fit(&choice, demand, 1).n_gpus;
        if (n_gpus < fewest)
            fewest = n_gpus;
    }
    return fewest;
}

static void make_case(struct sharedemand *demand, unsigned *values)
{
    *demand = (struct sharedemand){.n_pods = {0}};
    for (unsigned i = 0, share = 0; i < VALUES; i++) {
        share += 1 + (unsigned)rand() % 142;
        values[i] = share;
        add(demand, share, 1 + (size_t)rand() % 50);
    }
}

static void test_beside_brute_force(void **state)
{
    static struct sharedemand demand;

    srand(11);
    for (int n = 0; n < 400; n++) {
        const size_t n_names = 1 + (size_t)n % 5;
        struct sharechoice made;
        unsigned values[VALUES];

        make_case(&demand, values);
        assert_int_equal(sharechoice_make(&demand, 1, n_names, &made), 0);
        assert_int_equal(sharechoice_fit(&made, &demand, 1).n_gpus,
                         fewest_of_all(&demand, values, n_names));
        assert_true(made.n_sizes == n_names && made.sizes[0] == values[VALUES - 1]);
    }
}

/* So many choices that not all are tried: the sizes need fewer GPUs than as many in equal steps,
 * and are still in order. */
static void test_many_shares(void **state)
{
    static struct sharedemand demand;
    struct sharechoice steps = {.n_sizes = 0}, made;
    size_t n_gpus;

    srand(13);
    for (unsigned share = 11; share <= 950; share += 13)
        add(&demand, share, (size_t)rand() % 60);
    for (unsigned share = 952; share; share -= 119)
        steps.sizes[steps.n_sizes++] = share;
    assert_int_equal(sharechoice_make(&demand, 1, 8, &made), 0);
    n_gpus = sharechoice_fit(&made, &demand, 1).n_gpus;
    assert_true(n_gpus < sharechoice_fit(&steps, &demand, 1).n_gpus);
    assert_true(n_gpus >= sharechoice_exact(&demand, 1).n_gpus);
    assert_int_equal(made.n_sizes, 8);
    for (size_t i = 1; i < 8; i++)
        assert_true(made.sizes[i] < made.sizes[i - 1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_slices),       cmocka_unit_test(test_all_shares_have_a_name),
        cmocka_unit_test(test_kinds_are_apart),    cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_beside_brute_force), cmocka_unit_test(test_many_shares),
    };

    return cmocka_run_group_tests_name("slice/sharechoice", tests, NULL, NULL);
}
