// SPDX-License-Identifier: Apache-2.0
#include "karpenter/poolcheck.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "karpenter/nodepool.h"
#include "karpenter/test-bench.h"

/* The NodePool that we would make ourselves fits; `change` is merged into its spec. */
static void assert_finds(const char *change, const char *words)
{
    cleanup_sliceprofile struct sliceprofile profile = bench_profile(
        "gpuNames: [a10g], timeSlicing: {replicas: 4, renameByDefault: true}, maxNodes: 8");
    cleanup_promises struct promises promises = bench_promises(&profile);
    cleanup_documents struct documents documents = DOCUMENTS_INIT;
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    const struct nodepool_options options = {.has_startup_taint = true};
    json_t *merged = json_loads(change, 0, NULL), *pools;
    char line[1024] = "";

    assert_non_null(merged);
    assert_int_equal(nodepool_make(&profile, &promises, &options, &documents), 0);
    snprintf(profile.node_pool, sizeof(profile.node_pool), "p");
    json_object_update_recursive(json_object_get(documents.items[0].tree, "spec"), merged);
    pools = json_pack("[O]", documents.items[0].tree);
    poolcheck_compare(&profile, &promises, false, &bench_catalog, pools, &problems);
    if (problems.n_items)
        problem_format_severe(&problems, &problems.items[0], line, sizeof(line));
    if (problems.n_items > (*words ? 1 : 0) || !strstr(line, words))
        fail_msg("%s: %zu problems, '%s', not '%s'", change, problems.n_items, line, words);
    json_decref(pools);
    json_decref(merged);
}

#define REQUIRE(values)                                        \
    "{\"template\": {\"spec\": {\"requirements\": [{\"key\": " \
    "\"node.kubernetes.io/instance-type\", "                   \
    "\"operator\": \"In\", \"values\": [" values "]}]}}}"

static void test_findings(void **state)
{
    assert_finds("{}", "");
    assert_finds(
        "{\"template\": {\"spec\": {\"nodeClassRef\": {\"group\": \"eks.amazonaws.com\"}}}}",
        "error: p: the NodePool is one of EKS Auto Mode");
    assert_finds(
        "{\"template\": {\"metadata\": {\"labels\": {\"gpuslice.dev/profile-hash\": \"x\"}}}}",
        "error: p: the NodePool's template has the label gpuslice.dev/profile-hash: x");
    assert_finds("{\"template\": {\"metadata\": {\"labels\": {\"gpuslice.dev/profile\": null}}}}",
                 "error: p: the NodePool's template lacks the label gpuslice.dev/profile: p");
    assert_finds(
        "{\"template\": {\"metadata\": {\"annotations\": {\"gpuslice.dev/config\": null}}}}",
        "warning: p: the annotation gpuslice.dev/config of the NodePool's template is "
        "missing, so that the agents do not slice its nodes as the profile says; make it "
        "\"version: v1\\nsharing:\\n");
    assert_finds(
        "{\"template\": {\"metadata\": {\"annotations\": {\"gpuslice.dev/promise\": \"\"}}}}",
        "is another, so that no agent opens its own node while there is no controller; "
        "make it \"nvidia.com/gpu=0,nvidia.com/gpu.shared=4 per GPU\"");
    assert_finds(REQUIRE("\"g5.xlarge\", \"g4dn.xlarge\""),
                 "error: p: the NodePool may start g4dn");
    assert_finds(REQUIRE("\"g5.xlarge\", \"m5.large\""),
                 "warning: p: the NodePool may start m5.large, which no catalog");
    assert_finds("{\"template\": {\"spec\": {\"requirements\": []}}}",
                 "does not name its instance types");
    assert_finds("{\"template\": {\"spec\": {\"taints\": []}}}", "have no taint");
    assert_finds("{\"limits\": {\"nodes\": null, \"cpu\": \"1\"}}", "");
    assert_finds("{\"limits\": {\"nvidia.com/gpu\": \"8\"}}", "spec.limits names nvidia.com/gpu");
}

static void test_missing(void **state)
{
    cleanup_sliceprofile struct sliceprofile profile =
        bench_profile("gpuNames: [a10g], timeSlicing: {replicas: 4}, nodePool: theirs");
    cleanup_promises struct promises promises = bench_promises(&profile);
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    json_t *none = json_array();

    poolcheck_compare(&profile, &promises, false, &bench_catalog, none, &problems);
    assert_int_equal(problems.n_items, 1);
    assert_int_equal(problems.items[0].severity, PROBLEM_NOTE);
    assert_non_null(strstr(problems.items[0].text, "\"gpuslice.dev/profile\": \"p\""));
    json_decref(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_findings),
        cmocka_unit_test(test_missing),
    };

    return cmocka_run_group_tests_name("karpenter/poolcheck", tests, bench_setup, bench_teardown);
}
