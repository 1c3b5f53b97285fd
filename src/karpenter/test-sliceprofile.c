// SPDX-License-Identifier: Apache-2.0
#include "karpenter/sliceprofile.h"

#include <errno.h>
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
    cleanup_sliceprofile struct sliceprofile p = bench_profile(
        "gpuNames: [a10g], instanceTypes: [g5.xlarge, g5.2xlarge], timeSlicing: {replicas: 4, "
        "renameByDefault: true}, labels: {a/b: c}, taints: [{key: k, effect: NoExecute}], "
        "nodePool: "
        "mine, nodeClass: {group: g, kind: k, name: n}, capacityTypes: [spot], maxNodes: 3, "
        "consolidateAfter: 1h30m, repair: replace");
    char resource[RESOURCE_NAME_SIZE];

    assert_string_equal(p.name, "p");
    assert_int_equal(p.mode, SLICEPROFILE_TIME_SLICING);
    assert_int_equal(p.replicas, 4);
    assert_int_equal(p.instance_types.n_items, 2);
    assert_string_equal(p.gpu_names.items[0], "a10g");
    assert_string_equal(p.marks.labels[0].key, "a/b");
    assert_string_equal(p.marks.taints[0].effect, "NoExecute");
    assert_string_equal(p.node_pool, "mine");
    assert_string_equal(p.node_class, "n");
    assert_string_equal(p.capacity_types.items[0], "spot");
    assert_int_equal(p.max_nodes, 3);
    assert_string_equal(p.consolidate_after, "1h30m");
    assert_int_equal(p.replace, 1);
    sliceprofile_resource(&p, resource);
    assert_string_equal(resource, "nvidia.com/gpu.shared");
}

static void test_create_is_no_name(void **state)
{
    cleanup_sliceprofile struct sliceprofile p =
        bench_profile("gpuNames: [a], mps: {replicas: 2}, nodePool: create");

    assert_string_equal(p.node_pool, "");
    assert_false(p.marks.has_taints);
}

static void test_refuses(void **state)
{
    static const struct {
        const char *spec, *words;
    } rows[] = {
        {"gpuNames: [a]", "nothing says how to slice"},
        {"timeSlicing: {replicas: 2}", "nothing says which nodes"},
        {"gpuNames: [], timeSlicing: {replicas: 2}", "the list is empty"},
        {"gpuNames: [a], timeSlicing: {replicas: 1}", "from 2 to"},
        {"gpuNames: [a], timeSlicing: {}", "replicas"},
        {"gpuNames: [a], timeSlicing: {replicas: 2}, mps: {replicas: 2}", "in one way"},
        {"gpuNames: [a], timeSlicing: {replicas: 2, rename: x, renameByDefault: true}", "exclude"},
        {"gpuNames: [a], timeSlicing: {replicas: 2, rename: nvidia.com/gpu}", "have already"},
        {"gpuNames: [a], mps: {replicas: 2}, slices: [{name: a, share: 5%}]", "in one way"},
        {"gpuNames: [a], mig: {strategy: none, layout: all-1g.5gb}", "single, mixed"},
        {"gpuNames: [a], mig: {strategy: mixed, layout: custom}", "built-in layout"},
        {"gpuNames: [a], mig: {strategy: mixed, layout: all-disabled}", "built-in layout"},
        {"gpuNames: [a], mig: {strategy: mixed, layout: 2 x 1g.5gb}", "devices"},
        {"gpuNames: [a], mig: {strategy: mixed}", "add layout"},
        {"gpuNames: [a], mig: {strategy: mixed, layout: all-1g.5gb, devices: {1g.5gb: 1}}",
         "only one of them"},
        {"gpuNames: [a], mps: {replicas: 2}, nodepool: x", "did you mean 'nodePool'"},
        {"gpuNames: [a], mps: {replicas: 2}, nodePool: X", "create"},
        {"gpuNames: [a], mps: {replicas: 2}, repair: all", "report, replace"},
        {"gpuNames: [a], mps: {replicas: 2}, consolidateAfter: 5 minutes", "300s"},
        {"gpuNames: [a], mps: {replicas: 2}, capacityTypes: [cheap]", "spot"},
        {"gpuNames: [a], mps: {replicas: 2}, maxNodes: 0", "from 1"},
        {"gpuNames: [a], mps: {replicas: 2}, nodeClass: {name: x}", "group"},
        {"gpuNames: [a], mps: {replicas: 2}, nodeClass: {group: eks.amazonaws.com, kind: "
         "NodeClass, name: default}",
         "EKS Auto Mode"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        bench_assert_refused(rows[i].spec, rows[i].words);
}

/* However they are written, devices are one layout, and the agent's configuration names it. */
static void test_devices(void **state)
{
    cleanup_sliceprofile struct sliceprofile p = bench_profile(
        "gpuNames: [a], mig: {strategy: mixed, devices: {3g.20gb: 1, 1c.1g.5gb+me: 1, 1g.5gb: 2}}");
    cleanup_text struct text config = TEXT_INIT;

    assert_string_equal(p.layout, "2 x 1g.5gb, 1 x 1g.5gb+me, 1 x 3g.20gb");
    sliceprofile_add_config(&p, &config);
    assert_non_null(
        strstr(text_string(&config), "    layout: 2 x 1g.5gb, 1 x 1g.5gb+me, 1 x 3g.20gb\n"));
}

static const char two[] = "apiVersion: v1\nkind: ConfigMap\n---\n"
                          "apiVersion: v1\nkind: List\nitems:\n"
                          "- apiVersion: gpuslice.dev/v1alpha1\n"
                          "  kind: SliceProfile\n"
                          "  metadata: {name: a, uid: x}\n"
                          "  spec: {gpuNames: [t4], mps: {replicas: 2}}\n"
                          "  status: {conditions: []}\n"
                          "- apiVersion: gpuslice.dev/v1alpha1\n"
                          "  kind: SliceProfile\n"
                          "  metadata: {name: %s}\n"
                          "  spec: {gpuNames: [t4], mps: {replicas: 2}}\n";

static void test_several(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_sliceprofiles struct sliceprofiles profiles = SLICEPROFILES_INIT, none = profiles;
    cleanup_text struct text text = TEXT_INIT, same = TEXT_INIT;

    text_addf(&text, two, "b");
    text_addf(&same, two, "a");
    assert_int_equal(sliceprofiles_parse(text.data, text.length, &problems, &profiles), 0);
    assert_int_equal(profiles.n_items, 2);
    assert_int_equal(sliceprofiles_parse(same.data, same.length, &problems, &none), -EBADMSG);
    assert_non_null(strstr(problems.items[0].text, "another profile"));
    assert_int_equal(problems.items[0].at.line, 14);
}

static void test_none(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_sliceprofiles struct sliceprofiles profiles = SLICEPROFILES_INIT;

    assert_int_equal(sliceprofiles_parse("kind: X", 7, &problems, &profiles), -EBADMSG);
    assert_non_null(strstr(problems.items[0].text, "no object has"));
}

static void test_reads_what_it_writes(void **state)
{
    static const char *const specs[] = {
        "gpuNames: [a10g], timeSlicing: {replicas: 4, rename: x, failRequestsGreaterThanOne: true}",
        "instanceTypes: [a], mig: {strategy: single, layout: all-balanced}, taints: [], labels: "
        "{a: "
        "b}, nodeClass: {group: g, kind: k, name: n}, maxNodes: 2, repair: replace, nodePool: x",
        "gpuNames: [a], mig: {strategy: mixed, devices: {3g.20gb: 1, 1g.5gb: 2}}",
        ("gpuNames: [a], mps: {replicas: 7}, taints: [{key: k, value: v, effect: NoSchedule}], "
         "capacityTypes: [spot, on-demand], consolidateAfter: Never"),
    };

    for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
        cleanup_sliceprofile struct sliceprofile p = bench_profile(specs[i]);
        cleanup_problems struct problems problems = PROBLEMS_INIT;
        cleanup_sliceprofiles struct sliceprofiles again = SLICEPROFILES_INIT;
        json_t *tree = sliceprofile_json(&p), *second;
        cleanup_free char *text = json_dumps(tree, 0);

        assert_int_equal(sliceprofiles_parse(text, strlen(text), &problems, &again), 0);
        second = sliceprofile_json(&again.items[0]);
        assert_true(json_equal(tree, second));
        json_decref(tree);
        json_decref(second);
    }
}

static void test_hash(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {
        {"gpuNames: [a], timeSlicing: {replicas: 4}", "gpuNames: [b], timeSlicing: {replicas: 4}",
         true},
        {"gpuNames: [a], timeSlicing: {replicas: 4, renameByDefault: true}",
         "gpuNames: [a], timeSlicing: {replicas: 4, rename: gpu.shared}, labels: {x: y}", true},
        {"gpuNames: [a], timeSlicing: {replicas: 4}", "gpuNames: [a], timeSlicing: {replicas: 5}",
         false},
        {"gpuNames: [a], timeSlicing: {replicas: 4}", "gpuNames: [a], mps: {replicas: 4}", false},
        {"gpuNames: [a], timeSlicing: {replicas: 4}",
         "gpuNames: [a], timeSlicing: {replicas: 4, renameByDefault: true}", false},
        {"gpuNames: [a], mig: {strategy: mixed, layout: all-1g.5gb}",
         "gpuNames: [a], mig: {strategy: single, layout: all-1g.5gb}", false},
        {"gpuNames: [a], mig: {strategy: mixed, devices: {1g.5gb: 2, 3g.20gb: 1}}",
         "gpuNames: [a], mig: {strategy: mixed, devices: {3g.20gb: 1, 1g.5gb: 2}}", true},
        {"gpuNames: [a], mig: {strategy: mixed, devices: {1g.5gb: 2, 3g.20gb: 1}}",
         "gpuNames: [a], mig: {strategy: mixed, devices: {1g.5gb: 1, 3g.20gb: 1}}", false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        cleanup_sliceprofile struct sliceprofile a = bench_profile(rows[i].a),
                                                 b = bench_profile(rows[i].b);
        char hash_a[SLICEPROFILE_HASH], hash_b[SLICEPROFILE_HASH];

        sliceprofile_hash(&a, hash_a);
        sliceprofile_hash(&b, hash_b);
        assert_int_equal(str_equal(hash_a, hash_b), rows[i].same);
    }
}

/* Nodes of an earlier release must not be replaced because of a later one. */
static void test_hash_stays(void **state)
{
    cleanup_sliceprofile struct sliceprofile
        p = bench_profile("gpuNames: [a], timeSlicing: {replicas: 4, renameByDefault: true}"),
        q = bench_profile("gpuNames: [a], mig: {strategy: mixed, layout: all-1g.5gb}"),
        d = bench_profile("gpuNames: [a], mig: {strategy: mixed, devices: {1g.5gb: 2}}");
    char hash[SLICEPROFILE_HASH];

    sliceprofile_hash(&p, hash);
    assert_string_equal(hash, "7d66084146ee");
    sliceprofile_hash(&q, hash);
    assert_string_equal(hash, "13727ba6b340");
    sliceprofile_hash(&d, hash);
    assert_string_equal(hash, "bb3314e8a4d5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads),   cmocka_unit_test(test_create_is_no_name),
        cmocka_unit_test(test_refuses), cmocka_unit_test(test_several),
        cmocka_unit_test(test_none),    cmocka_unit_test(test_reads_what_it_writes),
        cmocka_unit_test(test_hash),    cmocka_unit_test(test_hash_stays),
        cmocka_unit_test(test_devices),
    };

    return cmocka_run_group_tests_name("karpenter/sliceprofile", tests, NULL, NULL);
}
