// SPDX-License-Identifier: Apache-2.0
#include "slice/align.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

static void test_scores(void **state)
{
    static const struct {
        enum gpu_path path;
        uint8_t nvlinks;
        unsigned switch_a, switch_b, score;
    } table[] = {
        {GPU_PATH_ACROSS_CPUS, 0, 0, 0, 10},     {GPU_PATH_SAME_CPU, 0, 0, 0, 20},
        {GPU_PATH_HOST_BRIDGE, 0, 0, 0, 30},     {GPU_PATH_SEVERAL_SWITCHES, 0, 0, 0, 40},
        {GPU_PATH_SINGLE_SWITCH, 0, 0, 0, 50},   {GPU_PATH_SAME_BOARD, 0, 0, 0, 60},
        {GPU_PATH_UNKNOWN, 0, 0, 0, 0},          {GPU_PATH_HOST_BRIDGE, 2, 0, 0, 230},
        {GPU_PATH_ACROSS_CPUS, 0, 12, 12, 1210}, {GPU_PATH_ACROSS_CPUS, 0, 12, 11, 1110},
        {GPU_PATH_ACROSS_CPUS, 0, 12, 0, 10},    {GPU_PATH_UNKNOWN + 1, 1, 0, 0, 100},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct gpu a = {.n_nvswitch_links = table[i].switch_a};
        struct gpu b = {.n_nvswitch_links = table[i].switch_b};
        struct gpu_link link = {(uint8_t)table[i].path, table[i].nvlinks};

        assert_int_equal(align_score(&a, &b, link), table[i].score);
    }
}

enum { N_MAX = 20 };

struct matrix {
    unsigned scores[N_MAX * N_MAX];
};

/* Symmetric; a small generator of its own, so that each seed is the same everywhere. */
static struct matrix make_matrix(size_t n, unsigned seed)
{
    struct matrix m = {{0}};

    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            seed = seed * 1103515245u + 12345u;
            m.scores[i * n + j] = m.scores[j * n + i] = (seed >> 16) % 4 * 100 + 10;
        }
    }
    return m;
}

struct worth {
    unsigned long own, rest;
};

/* Worth of a set, counted plainly: pairs within it (and the required ones), pairs of the free rest.
 */
static struct worth count_worth(const struct matrix *m, size_t n, size_t n_free, unsigned set)
{
    struct worth worth = {0, 0};

    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            bool i_in = i >= n_free || set >> i & 1, j_in = j >= n_free || set >> j & 1;

            if (i_in && j_in)
                worth.own += m->scores[i * n + j];
            if (!i_in && !j_in)
                worth.rest += m->scores[i * n + j];
        }
    }
    return worth;
}

static bool is_better(struct worth a, struct worth b)
{
    return a.own != b.own ? a.own > b.own : a.rest > b.rest;
}

/* The first best of all sets, bit by bit: the lowest positions come first. */
static unsigned best_by_counting(const struct matrix *m, size_t n, size_t n_free, size_t n_wanted)
{
    struct worth best = {0, 0};
    unsigned best_set = 0;
    bool any = false;

    for (unsigned set = 0; set < 1u << n_free; set++) {
        struct worth worth;

        if ((size_t)__builtin_popcount(set) != n_wanted)
            continue;
        worth = count_worth(m, n, n_free, set);
        if (any && !is_better(worth, best))
            continue;
        any = true;
        best = worth;
        best_set = set;
    }
    return best_set;
}

static unsigned choose(const struct matrix *m, size_t n, size_t n_free, size_t n_wanted)
{
    bool chosen[N_MAX];
    unsigned set = 0;

    assert_int_equal(align_choose(m->scores, n_free, n - n_free, n_wanted, chosen), 0);
    for (size_t i = 0; i < n_free; i++)
        set |= (unsigned)chosen[i] << i;
    assert_int_equal(__builtin_popcount(set), n_wanted);
    return set;
}

static void test_exact_against_counting(void **state)
{
    for (unsigned seed = 0; seed < 40; seed++) {
        size_t n = 2 + seed % 8, n_required = seed % 3 < n ? seed % 3 : 0, n_free = n - n_required;
        struct matrix m = make_matrix(n, seed);

        for (size_t n_wanted = 0; n_wanted <= n_free; n_wanted++) {
            unsigned set = choose(&m, n, n_free, n_wanted);
            unsigned best = best_by_counting(&m, n, n_free, n_wanted);
            struct worth got = count_worth(&m, n, n_free, set);
            struct worth wanted = count_worth(&m, n, n_free, best);

            assert_int_equal(got.own, wanted.own);
            assert_int_equal(got.rest, wanted.rest);
        }
    }
}

/* Beyond ALIGN_EXACT_MAX: within 3 % of the best on random links, which are harder than real ones.
 */
static void test_large_is_near_the_best(void **state)
{
    for (unsigned seed = 0; seed < 4; seed++) {
        size_t n = 18, n_free = 18 - seed % 2;
        struct matrix m = make_matrix(n, seed);
        unsigned set = choose(&m, n, n_free, 4);
        unsigned best = best_by_counting(&m, n, n_free, 4);

        assert_true(count_worth(&m, n, n_free, set).own * 100 >=
                    count_worth(&m, n, n_free, best).own * 97);
    }
}

/* Two groups of nine, well linked within: a set of up to nine stays in one. */
static void test_large_finds_the_group(void **state)
{
    struct matrix m = {{0}};

    for (size_t i = 0; i < 18; i++)
        for (size_t j = 0; j < 18; j++)
            m.scores[i * 18 + j] = i % 2 == j % 2 ? 600 : 10;
    for (size_t n_wanted = 2; n_wanted <= 9; n_wanted++) {
        unsigned set = choose(&m, 18, 18, n_wanted);

        assert_true((set & 0x15555) == set || (set & 0x2aaaa) == set);
    }
    assert_int_equal(choose(&m, 18, 18, 0), 0);
    assert_int_equal(choose(&m, 18, 18, 18), 0x3ffff);
    assert_int_equal(choose(&m, 18, 17, 8), 0xaaaa); /* with the required one, which is odd */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_exact_against_counting),
        cmocka_unit_test(test_large_is_near_the_best),
        cmocka_unit_test(test_large_finds_the_group),
    };

    return cmocka_run_group_tests_name("slice/align", tests, NULL, NULL);
}
