// SPDX-License-Identifier: Apache-2.0
#include "karpenter/promisetext.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "karpenter/test-bench.h"

#define A100 "NVIDIA A100-SXM4-40GB"

/* What is promised reads back as what each type promises. */
static void assert_reads_back(const struct promises *promises, const char *text)
{
    for (size_t i = 0; i < promises->n_items; i++) {
        const struct promise *promise = &promises->items[i];
        const char *model = bench_catalog.models[promise->type->model].name;
        struct namedemand counts;

        assert_int_equal(promisetext_read(text, model, promise->type->n_gpus, &counts, NULL), 0);
        assert_int_equal(counts.n_items, promise->n_resources);
        for (size_t k = 0; k < promise->n_resources; k++)
            assert_int_equal(namedemand_count(&counts, promise->resources[k].name),
                             promise->resources[k].count);
    }
}

static void assert_text(const char *spec, const char *expected)
{
    cleanup_sliceprofile struct sliceprofile profile = bench_profile(spec);
    cleanup_promises struct promises promises = bench_promises(&profile);
    cleanup_text struct text text = TEXT_INIT;

    assert_int_equal(promisetext_add(&promises, &text), 0);
    assert_string_equal(text_string(&text), expected);
    assert_reads_back(&promises, expected);
}

/* A text that changes replaces nodes: a profile that gains types, of whatever size, keeps it. */
static void counts_are_those_of_one_gpu(void **state)
{
#define SLICES "timeSlicing: {replicas: 4, renameByDefault: true}"
    static const char quarters[] = "nvidia.com/gpu=0,nvidia.com/gpu.shared=4 per GPU";

    (void)state;
    assert_text("instanceTypes: [g5.xlarge], " SLICES, quarters);
    assert_text("instanceTypes: [g5.xlarge, g5.48xlarge, p3.8xlarge], " SLICES, quarters);
    assert_text("gpuNames: [a10g, v100, t4], " SLICES, quarters);
    assert_text("gpuNames: [v100], timeSlicing: {replicas: 3}", "nvidia.com/gpu=3 per GPU");
    assert_text("instanceTypes: [p4d.24xlarge], mig: {strategy: mixed, layout: all-1g.5gb}",
                "nvidia.com/gpu=0,nvidia.com/mig-1g.5gb=7 per GPU");
}

static void where_models_differ_each_is_named(void **state)
{
    (void)state;
    assert_text("instanceTypes: [p5.48xlarge, p4d.24xlarge], mig: {strategy: mixed, layout: "
                "all-1g.10gb}",
                A100 ": nvidia.com/gpu=0,nvidia.com/mig-1g.10gb=4 per GPU; NVIDIA H100 80GB HBM3: "
                     "nvidia.com/gpu=0,nvidia.com/mig-1g.10gb=7 per GPU");
    assert_text("instanceTypes: [p5.48xlarge, p5.4xlarge, p4d.24xlarge], mig: {strategy: mixed, "
                "layout: all-1g.10gb}",
                A100 ": nvidia.com/gpu=0,nvidia.com/mig-1g.10gb=4 per GPU; NVIDIA H100 80GB HBM3: "
                     "nvidia.com/gpu=0,nvidia.com/mig-1g.10gb=7 per GPU");
}

static void what_is_wrong_is_said(void **state)
{
    static const struct {
        const char *text;
        int outcome;
        const char *says;
    } rows[] = {
        {"", -EINVAL, "'' does not end with per GPU"},
        {"nvidia.com/gpu=4", -EINVAL, "'nvidia.com/gpu=4' does not end with per GPU; write for "},
        {" per GPU", -EINVAL, "names no resource"},
        {"nvidia.com/gpu=x per GPU", -EINVAL, "has no number behind the '='"},
        {"nvidia.com/gpu=4 per GPU; ", -EINVAL, "does not end with"},
        {"nvidia.com/gpu=4 per GPU; nvidia.com/gpu=5 per GPU", -EINVAL, "is a second group of one"},
        {A100 ": nvidia.com/gpu=4 per GPU; " A100 ": nvidia.com/gpu=4 per GPU", -EINVAL,
         "'" A100 "' is a second group of one model"},
        {"NVIDIA H100: nvidia.com/gpu=4 per GPU", -ENOENT, "does not tell of the GPU " A100},
        {"NVIDIA H100: nvidia.com/gpu=? per GPU", -EINVAL, "has no number"},
        {"a\nb", -EINVAL, "'a?b' does not end"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct error err = ERROR_INIT;
        struct namedemand counts;
        int r = promisetext_read(rows[i].text, A100, 8, &counts, &err);

        if (r != rows[i].outcome || !strstr(error_text(&err), rows[i].says))
            fail_msg("row %zu: %d '%s'", i, r, error_text(&err));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_those_of_one_gpu),
        cmocka_unit_test(where_models_differ_each_is_named),
        cmocka_unit_test(what_is_wrong_is_said),
    };

    return cmocka_run_group_tests_name("karpenter/promisetext", tests, bench_setup, bench_teardown);
}
