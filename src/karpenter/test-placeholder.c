// SPDX-License-Identifier: Apache-2.0
#include "karpenter/placeholder.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"
#include "karpenter/cost.h"
#include "karpenter/test-bench.h"

/* What is made for so many slices: "g5-xlarge=5"; or the end of the error. */
static void assert_nodes(const char *spec, const uint64_t *hourly, size_t n_slices,
                         const char *expected)
{
    cleanup_sliceprofile struct sliceprofile profile = bench_profile(spec);
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_promises struct promises promises = PROMISES_INIT;
    cleanup_documents struct documents documents = DOCUMENTS_INIT;
    cleanup_text struct text text = TEXT_INIT;
    struct error err = ERROR_INIT;

    assert_int_equal(promises_make(&profile, &bench_catalog, NULL, &problems, &promises), 0);
    if (placeholder_make(&profile, &promises, hourly, n_slices, &documents, &err) < 0)
        text_add(&text, error_text(&err));
    for (size_t i = 1; i < documents.n_items; i++) {
        const json_t *tree = documents.items[i].tree;
        const char *name =
            json_string_value(json_object_get(json_object_get(tree, "metadata"), "name"));

        text_addf(&text, "%s%s=%lld", i > 1 ? " " : "", name + strlen("p-placeholder-"),
                  (long long)json_integer_value(
                      json_object_get(json_object_get(tree, "spec"), "replicas")));
    }
    if (!strstr(text_string(&text), expected) || (!*expected && text.length))
        fail_msg("%zu slices of %s: '%s', not '%s'", n_slices, spec, text_string(&text), expected);
}

#define SPEC(types, mode) "instanceTypes: [" types "], " mode
#define SHARED            "timeSlicing: {replicas: 4, renameByDefault: true}"

/* By hand: 4 slices for 10 or 16 for 56 (in the catalog's order, the smaller first). */
static void test_arithmetic(void **state)
{
    static const uint64_t hourly[] = {10, 56}, cheap_large[] = {10, 36}, unknown[] = {0, 0},
                          only_large[] = {0, 56};

    assert_nodes(SPEC("g5.xlarge, g5.12xlarge", SHARED), hourly, 1, "g5-xlarge=1");
    assert_nodes(SPEC("g5.xlarge, g5.12xlarge", SHARED), hourly, 4, "g5-xlarge=1");
    assert_nodes(SPEC("g5.xlarge, g5.12xlarge", SHARED), hourly, 17, "g5-xlarge=5");
    assert_nodes(SPEC("g5.xlarge, g5.12xlarge", SHARED), cheap_large, 17,
                 "g5-xlarge=1 g5-12xlarge=1");
    assert_nodes(SPEC("g5.xlarge, g5.12xlarge", SHARED), only_large, 17, "g5-12xlarge=2");
    assert_nodes(SPEC("g5.xlarge, g5.12xlarge", SHARED), unknown, 16, "g5-12xlarge=1");
    assert_nodes(SPEC("p4d.24xlarge", "mig: {strategy: mixed, layout: all-1g.5gb}"), hourly, 57,
                 "p4d-24xlarge=2");
}

/* A p5.48xlarge has addresses for 100 pods, one of which the placeholder takes. */
static void test_addresses(void **state)
{
    static const uint64_t hourly[] = {1};

    assert_nodes(SPEC("p5.48xlarge", "timeSlicing: {replicas: 20}"), hourly, 99, "p5-48xlarge=1");
    assert_nodes(SPEC("p5.48xlarge", "timeSlicing: {replicas: 20}"), hourly, 100, "p5-48xlarge=2");
    assert_nodes(SPEC("p5.48xlarge", "timeSlicing: {replicas: 12}"), hourly, 96, "p5-48xlarge=1");
}

static void test_refusals(void **state)
{
    static const uint64_t hourly[] = {1};

    assert_nodes(SPEC("p4d.24xlarge", "mig: {strategy: mixed, layout: all-balanced}"), hourly, 5,
                 "several kinds of slice");
    assert_nodes(SPEC("p4d.24xlarge", SHARED), hourly, COST_SLICES_MAX + 1, "1 to 100000");
}

/* What makes Karpenter start a node for each, whatever GPUs it believes in. */
static void test_pod(void **state)
{
    static const uint64_t hourly[] = {1};
    cleanup_sliceprofile struct sliceprofile profile = bench_profile(
        SPEC("g5.xlarge", SHARED) ", taints: [{key: a, value: b, effect: NoExecute}]");
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_promises struct promises promises = PROMISES_INIT;
    cleanup_documents struct documents documents = DOCUMENTS_INIT;
    json_t *pod, *requests;
    cleanup_free char *text = NULL;

    assert_int_equal(promises_make(&profile, &bench_catalog, NULL, &problems, &promises), 0);
    assert_int_equal(placeholder_make(&profile, &promises, hourly, 4, &documents, NULL), 0);
    pod = json_object_get(
        json_object_get(json_object_get(documents.items[1].tree, "spec"), "template"), "spec");
    requests = json_object_get(
        json_object_get(json_array_get(json_object_get(pod, "containers"), 0), "resources"),
        "requests");
    assert_int_equal(json_object_size(requests), 2); /* cpu and memory: no GPU */
    text = json_dumps(pod, JSON_COMPACT);
    assert_non_null(text);
    assert_non_null(strstr(text, "\"nodeSelector\":{\"gpuslice.dev/profile\":\"p\","
                                 "\"node.kubernetes.io/instance-type\":\"g5.xlarge\"}"));
    assert_non_null(strstr(text, "\"tolerations\":[{\"key\":\"a\",\"operator\":\"Exists\","
                                 "\"effect\":\"NoExecute\"}]"));
    assert_non_null(strstr(text, "\"topologyKey\":\"kubernetes.io/hostname\""));
    assert_non_null(strstr(text, "\"priorityClassName\":\"gpuslice-placeholder\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arithmetic),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_pod),
    };

    return cmocka_run_group_tests_name("karpenter/placeholder", tests, bench_setup, bench_teardown);
}
