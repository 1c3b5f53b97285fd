// SPDX-License-Identifier: Apache-2.0
#include "karpenter/promise.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "karpenter/test-bench.h"

/* "nvidia.com/gpu=0 nvidia.com/gpu.shared=16" */
static void assert_promises(const char *spec, const char *type, const char *expected)
{
    cleanup_sliceprofile struct sliceprofile profile = bench_profile(spec);
    cleanup_text struct text text = TEXT_INIT;
    struct error err = ERROR_INIT;
    struct promise promise;
    int r = promise_make(&profile, &bench_catalog, catalog_find_type(&bench_catalog, type),
                         &promise, &err);

    if (r == PROMISE_IMPOSSIBLE)
        text_add(&text, error_text(&err));
    for (size_t i = 0; r == 0 && i < promise.n_resources; i++)
        text_addf(&text, "%s%s=%zu", i ? " " : "", promise.resources[i].name,
                  promise.resources[i].count);
    if (r ? !strstr(text_string(&text), expected) : !str_equal(text_string(&text), expected))
        fail_msg("%s on %s: '%s', not '%s'", spec, type, text_string(&text), expected);
}

#define SHARED                "gpuNames: [a], timeSlicing: {replicas: 4}"
#define RENAMED               "gpuNames: [a], timeSlicing: {replicas: 4, renameByDefault: true}"
#define DEVICES(devices)      "gpuNames: [a], mig: {strategy: mixed, devices: {" devices "}}"
#define MIG(strategy, layout) "gpuNames: [a], mig: {strategy: " strategy ", layout: " layout "}"

static void test_numbers(void **state)
{
    assert_promises(SHARED, "p3.8xlarge", "nvidia.com/gpu=16");
    assert_promises(SHARED, "g5.48xlarge", "nvidia.com/gpu=32");
    assert_promises(SHARED, "p4d.24xlarge", "nvidia.com/gpu=32");
    assert_promises(RENAMED, "p3.8xlarge", "nvidia.com/gpu=0 nvidia.com/gpu.shared=16");
    assert_promises("gpuNames: [a], mps: {replicas: 10}", "g5.12xlarge", "nvidia.com/gpu=40");
    assert_promises("gpuNames: [a], timeSlicing: {replicas: 3, rename: gpu.third}", "g5.xlarge",
                    "nvidia.com/gpu=0 nvidia.com/gpu.third=3");
    assert_promises(MIG("mixed", "all-1g.5gb"), "p4d.24xlarge",
                    "nvidia.com/gpu=0 nvidia.com/mig-1g.5gb=56");
    assert_promises(MIG("single", "all-1g.5gb"), "p4d.24xlarge", "nvidia.com/gpu=56");
    assert_promises(MIG("mixed", "all-1g.10gb"), "p5.48xlarge",
                    "nvidia.com/gpu=0 nvidia.com/mig-1g.10gb=56");
    assert_promises(MIG("mixed", "all-balanced"), "p5.48xlarge",
                    "nvidia.com/gpu=0 nvidia.com/mig-1g.10gb=16 nvidia.com/mig-2g.20gb=8 "
                    "nvidia.com/mig-3g.40gb=8");
    assert_promises(DEVICES("1g.10gb: 3, 4g.40gb: 1"), "p5.48xlarge",
                    "nvidia.com/gpu=0 nvidia.com/mig-1g.10gb=24 nvidia.com/mig-4g.40gb=8");
    assert_promises(DEVICES("2c.4g.20gb: 2"), "p4d.24xlarge",
                    "nvidia.com/gpu=0 nvidia.com/mig-2c.4g.20gb=16");
    assert_promises(MIG("mixed", "all-1g.23gb"), "p6-b200.48xlarge",
                    "nvidia.com/gpu=0 nvidia.com/mig-1g.23gb=56");
    assert_promises(MIG("mixed", "all-1g.24gb"), "g7e.48xlarge",
                    "nvidia.com/gpu=0 nvidia.com/mig-1g.24gb=32");
    assert_promises(MIG("mixed", "all-1g.16gb"), "g7.12xlarge",
                    "nvidia.com/gpu=0 nvidia.com/mig-1g.16gb=4");
}

static void test_impossible(void **state)
{
    assert_promises(MIG("mixed", "all-1g.5gb"), "g5.xlarge", "cannot be partitioned");
    assert_promises(MIG("mixed", "all-1g.5gb"), "p4de.24xlarge", "all-1g.10gb");
    assert_promises(DEVICES("1g.5gb: 8"), "p4d.24xlarge", "has no room");
    assert_promises(DEVICES("1g.10gb: 1"), "p4de.24xlarge",
                    "nvidia.com/gpu=0 nvidia.com/mig-1g.10gb=8");
    assert_promises(DEVICES("1g.5gb: 1"), "p4de.24xlarge", "has no MIG profile 1g.5gb");
    assert_promises(DEVICES("1g.5gb: 1"), "g5.xlarge", "cannot be partitioned");
    /* Under single all devices have one name, and must be of one kind. */
    assert_promises(MIG("single", "all-balanced"), "p4d.24xlarge", "cannot be sliced so");
}

/* "g5.xlarge=4 g5.12xlarge=16"; problems that say what is in `words` ("" = none). */
static void assert_selects(const char *spec, const char *only_type, int result,
                           const char *expected, const char *words)
{
    cleanup_sliceprofile struct sliceprofile profile = bench_profile(spec);
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_promises struct promises promises = PROMISES_INIT;
    cleanup_names struct names only = NAMES_INIT;
    cleanup_text struct text text = TEXT_INIT;

    if (only_type)
        names_add(&only, only_type, strlen(only_type));
    assert_int_equal(
        promises_make(&profile, &bench_catalog, only_type ? &only : NULL, &problems, &promises),
        result);
    for (size_t i = 0; i < promises.n_items; i++)
        text_addf(&text, "%s%s=%zu", i ? " " : "", promises.items[i].type->name,
                  promises.items[i].n_slices);
    assert_string_equal(text_string(&text), expected);
    assert_int_equal(problems.n_items, *words ? 1 : 0);
    if (*words && !strstr(problems.items[0].text, words))
        fail_msg("'%s' is not in: %s", words, problems.items[0].text);
}

static void test_selection(void **state)
{
    assert_selects("gpuNames: [v100], timeSlicing: {replicas: 2}", NULL, 0,
                   "p3.2xlarge=2 p3.8xlarge=8 p3.16xlarge=16 p3dn.24xlarge=16", "");
    assert_selects("instanceTypes: [g5.12xlarge, G5.xlarge], timeSlicing: {replicas: 4}", NULL, 0,
                   "g5.xlarge=4 g5.12xlarge=16", "");
    assert_selects("gpuNames: [a10g], timeSlicing: {replicas: 4}", "g5.24xlarge", 0,
                   "g5.24xlarge=16", "");
    assert_selects("gpuNames: [a100], mig: {strategy: mixed, layout: all-1g.5gb}", NULL, 0,
                   "p4d.24xlarge=56", "p4de.24xlarge has no MIG layout");
    assert_selects("gpuNames: [a10g, a100], mig: {strategy: mixed, layout: all-1g.10gb}", NULL, 0,
                   "p4d.24xlarge=32 p4de.24xlarge=56",
                   "g5.xlarge, as 7 other types with this GPU, cannot be partitioned");
    assert_selects("instanceTypes: [p4de.24xlarge], mig: {strategy: mixed, layout: all-1g.5gb}",
                   NULL, -EBADMSG, "", "p4de.24xlarge has no MIG layout");
    assert_selects("gpuNames: [a10], timeSlicing: {replicas: 4}", NULL, -EBADMSG, "", "a10g");
    assert_selects("instanceTypes: [g5.3xlarge], timeSlicing: {replicas: 4}", NULL, -EBADMSG, "",
                   "g5.2xlarge");
    assert_selects("gpuNames: [t4], instanceTypes: [g5.xlarge], timeSlicing: {replicas: 4}", NULL,
                   -EBADMSG, "", "another GPU");
    assert_selects("gpuNames: [t4], timeSlicing: {replicas: 4}", "g5.xlarge", 0, "",
                   "none of --instance-types");
    assert_selects("gpuNames: [t4], timeSlicing: {replicas: 4}", "g5.3xlarge", -EBADMSG, "",
                   "not known");
}

static void test_pods(void **state)
{
    assert_selects("instanceTypes: [p5.48xlarge], timeSlicing: {replicas: 12}", NULL, 0,
                   "p5.48xlarge=96", "");
    assert_selects("instanceTypes: [p5.48xlarge], timeSlicing: {replicas: 20}", NULL, 0,
                   "p5.48xlarge=160", "100 pods");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_impossible),
        cmocka_unit_test(test_selection),
        cmocka_unit_test(test_pods),
    };

    return cmocka_run_group_tests_name("karpenter/promise", tests, bench_setup, bench_teardown);
}
