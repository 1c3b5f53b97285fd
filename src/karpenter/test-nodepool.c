// SPDX-License-Identifier: Apache-2.0
#include "karpenter/nodepool.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "karpenter/test-bench.h"

static const json_t *at(const json_t *tree, const char *path)
{
    while (*path) {
        size_t length = strcspn(path, "|");
        char key[64];

        snprintf(key, sizeof(key), "%.*s", (int)length, path);
        tree = json_is_array(tree) ? json_array_get(tree, (size_t)atoi(key))
                                   : json_object_get(tree, key);
        path += length + (path[length] == '|');
    }
    return tree;
}

static void assert_has(const json_t *tree, const char *path, const char *value)
{
    const char *text = json_string_value(at(tree, path));

    if (!text || !str_equal(text, value))
        fail_msg("%s is %s, not %s", path, text ? text : "missing", value);
}

static json_t *make(const char *spec, bool has_startup_taint)
{
    cleanup_sliceprofile struct sliceprofile profile = bench_profile(spec);
    cleanup_promises struct promises promises = bench_promises(&profile);
    cleanup_documents struct documents documents = DOCUMENTS_INIT;
    const struct nodepool_options options = {.has_startup_taint = has_startup_taint};

    assert_int_equal(nodepool_make(&profile, &promises, &options, &documents), 0);
    return json_incref(documents.items[0].tree);
}

static void test_defaults(void **state)
{
    json_t *pool = make("instanceTypes: [g5.xlarge], timeSlicing: {replicas: 4}", true);

    assert_has(pool, "metadata|name", "p");
    assert_has(pool, "spec|template|metadata|labels|gpuslice.dev/profile", "p");
    assert_has(pool, "spec|template|metadata|annotations|gpuslice.dev/config",
               "version: v1\nsharing:\n  timeSlicing:\n    resources:\n    - name: nvidia.com/gpu\n"
               "      replicas: 4\n");
    assert_has(pool, "spec|template|metadata|annotations|gpuslice.dev/promise",
               "nvidia.com/gpu=4 per GPU");
    assert_has(pool, "spec|template|spec|nodeClassRef|kind", "EC2NodeClass");
    assert_has(pool, "spec|template|spec|nodeClassRef|name", "p");
    assert_has(pool, "spec|template|spec|requirements|0|values|0", "on-demand");
    assert_has(pool, "spec|template|spec|requirements|1|values|0", "g5.xlarge");
    assert_has(pool, "spec|template|spec|taints|0|key", "nvidia.com/gpu");
    assert_has(pool, "spec|template|spec|startupTaints|0|key", "gpuslice.dev/not-ready");
    assert_has(pool, "spec|disruption|consolidateAfter", "300s");
    assert_null(at(pool, "spec|limits"));
    json_decref(pool);
}

static void test_options(void **state)
{
    json_t *pool = make("instanceTypes: [g5.xlarge], timeSlicing: {replicas: 4}, taints: [], "
                        "labels: {x: y}, maxNodes: 8, capacityTypes: [spot], nodeClass: {group: "
                        "karpenter.kwok.sh, kind: KWOKNodeClass, name: c}, consolidateAfter: Never",
                        false);

    assert_has(pool, "spec|template|metadata|labels|x", "y");
    assert_has(pool, "spec|template|spec|nodeClassRef|group", "karpenter.kwok.sh");
    assert_has(pool, "spec|template|spec|requirements|0|values|0", "spot");
    assert_has(pool, "spec|limits|nodes", "8");
    assert_has(pool, "spec|disruption|consolidateAfter", "Never");
    assert_null(at(pool, "spec|template|spec|taints"));
    assert_null(at(pool, "spec|template|spec|startupTaints"));
    json_decref(pool);
}

static void test_class(void **state)
{
    cleanup_sliceprofile struct sliceprofile profile =
        bench_profile("gpuNames: [t4], timeSlicing: {replicas: 4}");
    cleanup_documents struct documents documents = DOCUMENTS_INIT;

    assert_int_equal(nodepool_make_class(&profile, NODEPOOL_AL2023, &documents), 0);
    assert_int_equal(nodepool_make_class(&profile, NODEPOOL_BOTTLEROCKET, &documents), 0);
    assert_has(documents.items[0].tree, "spec|amiSelectorTerms|0|alias", "al2023@latest");
    assert_null(at(documents.items[0].tree, "spec|userData"));
    assert_has(documents.items[1].tree, "spec|userData",
               "[settings.kubelet-device-plugins.nvidia]\nenabled = false\n");
    assert_non_null(strstr(text_string(&documents.items[0].comments), "Placeholders"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_class),
    };

    return cmocka_run_group_tests_name("karpenter/nodepool", tests, bench_setup, bench_teardown);
}
