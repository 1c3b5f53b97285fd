// SPDX-License-Identifier: Apache-2.0
#include "karpenter/overlaycheck.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "karpenter/overlay.h"
#include "karpenter/test-bench.h"
#include "karpenter/yamljson.h"

/* A profile's overlays beside a stranger's; the words of the first problem, or "" for none. */
static void assert_finds_of(const char *spec, const char *stranger, const char *words)
{
    cleanup_sliceprofile struct sliceprofile profile = bench_profile(spec);
    cleanup_promises struct promises promises = bench_promises(&profile);
    cleanup_documents struct documents documents = DOCUMENTS_INIT;
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    json_t *overlays = json_array();
    char line[1024];

    assert_int_equal(overlay_make(&profile, &promises, &documents), 0);
    for (size_t i = 0; i < documents.n_items; i++)
        json_array_append(overlays, documents.items[i].tree);
    assert_int_equal(
        yamljson_collect(stranger, strlen(stranger), "NodeOverlay", &problems, overlays), 0);
    assert_int_equal(overlaycheck_compare(&profile, &promises, overlays, &problems), 0);
    problems_describe(&problems, line, sizeof(line));
    if (*words ? !strstr(line, words) : *line)
        fail_msg("'%s', not '%s'", line, words);
    json_decref(overlays);
}

static void assert_finds(const char *stranger, const char *words)
{
    assert_finds_of("instanceTypes: [g5.xlarge], timeSlicing: {replicas: 4}", stranger, words);
}

#define STRANGER(weight, requirement, amount)                            \
    "kind: NodeOverlay\nmetadata: {name: other}\nspec: {weight: " weight \
    ", requirements: [" requirement "], capacity: {nvidia.com/gpu: " amount "}}\n"

static void test_strangers(void **state)
{
    assert_finds("", "");
    assert_finds("kind: ConfigMap\n", "");
    assert_finds(STRANGER("1", "", "8"), "");
    assert_finds(STRANGER("2000", "", "4"), "");
    assert_finds(STRANGER("2000", "", "'8'"), "other: this NodeOverlay sets another amount");
    assert_finds(STRANGER("1000", "", "8"), "the NodeOverlays");
    assert_finds(STRANGER("2000",
                          "{key: karpenter.k8s.aws/instance-gpu-name, operator: In, "
                          "values: [t4]}",
                          "8"),
                 "");
    assert_finds(STRANGER("2000", "{key: karpenter.sh/nodepool, operator: In, values: [p]}", "8"),
                 "other");
    assert_finds("kind: List\nitems: [{kind: NodeOverlay, metadata: {name: other}, spec: {weight: "
                 "9999, requirements: [], capacity: {nvidia.com/gpu: 2}}}]",
                 "other");
    assert_finds("kind: NodeOverlay\n", "no name");
}

static void test_of_another_architecture(void **state)
{
    const char *arm =
        STRANGER("2000", "{key: kubernetes.io/arch, operator: In, values: [arm64]}", "8");

    assert_finds(arm, "");
    assert_finds_of("instanceTypes: [g5g.xlarge], timeSlicing: {replicas: 4}", arm,
                    "other: this NodeOverlay sets another amount");
}

static void test_nobody_sets_it(void **state)
{
    cleanup_sliceprofile struct sliceprofile profile =
        bench_profile("instanceTypes: [g5.xlarge], timeSlicing: {replicas: 4}");
    cleanup_promises struct promises promises = bench_promises(&profile);
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    json_t *none = json_array();

    assert_int_equal(overlaycheck_compare(&profile, &promises, none, &problems), 0);
    assert_int_equal(problems.n_items, 1);
    assert_non_null(strstr(problems.items[0].text, "nvidia.com/gpu"));
    json_decref(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_of_another_architecture),
        cmocka_unit_test(test_nobody_sets_it),
    };

    return cmocka_run_group_tests_name("karpenter/overlaycheck", tests, bench_setup,
                                       bench_teardown);
}
