// SPDX-License-Identifier: Apache-2.0
#include "karpenter/profileslices.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "karpenter/test-bench.h"

static void test_reads(void **state)
{
    cleanup_sliceprofile struct sliceprofile p =
        bench_profile("gpuNames: [a], slices: [{name: half, share: 50%}, {name: 125m, share: "
                      "12.5%, count: 4, memory: 1Gi}]");
    cleanup_text struct text text = TEXT_INIT;

    assert_int_equal(p.mode, SLICEPROFILE_SLICES);
    assert_int_equal(p.slices.n_items, 2);
    assert_string_equal(p.slices.items[0].name, "nvidia.com/gpu-half");
    assert_int_equal(p.slices.items[0].share_permille, 500);
    assert_int_equal(p.slices.items[0].count, 1);
    assert_int_equal(p.slices.items[1].share_permille, 125);
    assert_int_equal(p.slices.items[1].count, 4);
    assert_int_equal(p.slices.items[1].mem_bytes, 1 << 30);
    sliceprofile_add_config(&p, &text);
    assert_string_equal(text.data,
                        "version: v1\ngpuslice:\n  slices:\n"
                        "  - {name: 'half', share: 50.0%, count: 1}\n"
                        "  - {name: '125m', share: 12.5%, count: 4, memory: 1073741824}\n");
}

static void test_refuses(void **state)
{
    static const struct {
        const char *slices, *words;
    } rows[] = {
        {"[]", "the list is empty"},
        {"{name: half}", "list"},
        {"[{name: half}]", "share"},
        {"[{share: 50%}]", "name"},
        {"[{name: Half, share: 50%}]", "such as half"},
        {"[{name: half, share: 50}]", "12.5%"},
        {"[{name: half, share: 50%, count: 0}]", "from 1"},
        {"[{name: half, share: 50%, memory: much}]", "such as 16384Mi"},
        {"[{name: half, share: 50%, size: 1}]", "size"},
        {"[{name: half, share: 50%}, {name: half, share: 25%}]", "another slice has this name"},
        {"[{name: half, share: 50%, count: 2}, {name: x, share: 0.1%}]", "100.1 %"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        cleanup_text struct text spec = TEXT_INIT;

        text_addf(&spec, "gpuNames: [a], slices: %s", rows[i].slices);
        bench_assert_refused(spec.data, rows[i].words);
    }
}

static size_t count_of(const struct promise *promise, const char *name)
{
    for (size_t i = 0; i < promise->n_resources; i++)
        if (!strcmp(promise->resources[i].name, name))
            return promise->resources[i].count;
    return SIZE_MAX;
}

/* Of four GPUs; the whole ones are not to be had. */
static void test_promises(void **state)
{
    cleanup_sliceprofile struct sliceprofile p =
        bench_profile("instanceTypes: [g5.12xlarge], slices: [{name: 810m, share: 81%}, {name: "
                      "80m, share: 8%, count: 2}]");
    cleanup_promises struct promises promises = bench_promises(&p);

    assert_int_equal(promises.n_items, 1);
    assert_int_equal(promises.items[0].n_resources, 3);
    assert_int_equal(count_of(&promises.items[0], "nvidia.com/gpu-810m"), 4);
    assert_int_equal(count_of(&promises.items[0], "nvidia.com/gpu-80m"), 8);
    assert_int_equal(count_of(&promises.items[0], "nvidia.com/gpu"), 0);
    assert_true(promises.items[0].is_masked);
}

/* Each part of a slice is part of what nodes do. */
static void test_hash(void **state)
{
    static const char *const specs[] = {
        "[{name: a, share: 50%}]", "[{name: b, share: 50%}]", "[{name: a, share: 49%}]",
        "[{name: a, share: 50%, count: 2}]", "[{name: a, share: 50%, memory: 1Gi}]"};
    char hashes[ARRAY_SIZE(specs)][SLICEPROFILE_HASH];

    for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
        cleanup_text struct text spec = TEXT_INIT;

        text_addf(&spec, "gpuNames: [a], slices: %s", specs[i]);
        cleanup_sliceprofile struct sliceprofile p = bench_profile(spec.data);

        sliceprofile_hash(&p, hashes[i]);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(hashes[i], hashes[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_promises),
        cmocka_unit_test(test_hash),
    };

    return cmocka_run_group_tests_name("karpenter/profileslices", tests, bench_setup,
                                       bench_teardown);
}
