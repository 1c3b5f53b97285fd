// SPDX-License-Identifier: Apache-2.0
#include "karpenter/autoscaler.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "karpenter/test-bench.h"

static void assert_tag(const json_t *tree, const char *key, const char *value)
{
    char name[200];
    const char *text;

    snprintf(name, sizeof(name), "k8s.io/cluster-autoscaler/node-template/%s", key);
    text = json_string_value(json_object_get(json_object_get(tree, "tags"), name));
    if (!text || !str_equal(text, value))
        fail_msg("%s is %s, not %s", key, text ? text : "missing", value);
}

static void test_tags(void **state)
{
    cleanup_sliceprofile struct sliceprofile profile = bench_profile(
        "instanceTypes: [g5.12xlarge, g5.24xlarge, g5.xlarge], taints: [{key: t, "
        "value: v, effect: NoExecute}, {key: u, effect: NoSchedule}], labels: {l: m}, "
        "timeSlicing: {replicas: 4, renameByDefault: true}");
    cleanup_promises struct promises promises = bench_promises(&profile);
    cleanup_documents struct documents documents = DOCUMENTS_INIT;
    const json_t *second;

    assert_int_equal(autoscaler_make(&profile, &promises, &documents), 0);
    assert_int_equal(documents.n_items, 2);
    assert_tag(documents.items[0].tree, "resources/nvidia.com/gpu.shared", "4");
    second = documents.items[1].tree;
    assert_int_equal(json_array_size(json_object_get(second, "instanceTypes")), 2);
    assert_tag(second, "resources/nvidia.com/gpu.shared", "16");
    assert_tag(second, "resources/nvidia.com/gpu", "0");
    assert_tag(second, "label/gpuslice.dev/profile", "p");
    assert_tag(second, "label/l", "m");
    assert_tag(second, "taint/t", "v:NoExecute");
    assert_tag(second, "taint/u", ":NoSchedule");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tags)};

    return cmocka_run_group_tests_name("karpenter/autoscaler", tests, bench_setup, bench_teardown);
}
