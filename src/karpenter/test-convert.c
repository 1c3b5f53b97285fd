// SPDX-License-Identifier: Apache-2.0
#include "karpenter/convert.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "karpenter/test-bench.h"

#define HEAD                                                                  \
    "apiVersion: karpenter.sh/v1alpha5\nkind: Provisioner\nmetadata: {name: " \
    "old}\nspec:\n"
#define GUIDE "  requirements: [{key: nvidia.com/gpu, operator: In, values: [a100, a10]}]\n"

static struct documents convert(const char *text)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct documents documents = DOCUMENTS_INIT;
    int r = convert_provisioners(text, strlen(text), &bench_catalog, &problems, &documents);

    for (size_t i = 0; i < problems.n_items; i++)
        print_error("%u: %s: %s\n", problems.items[i].at.line, problems.items[i].path,
                    problems.items[i].text);
    assert_int_equal(r, 0);
    return documents;
}

/* "EC2NodeClass old, NodePool old-a100" */
static void assert_objects(const struct documents *documents, const char *expected)
{
    cleanup_text struct text text = TEXT_INIT;

    for (size_t i = 0; i < documents->n_items; i++) {
        const json_t *tree = documents->items[i].tree;

        text_addf(&text, "%s%s %s", i ? ", " : "", json_string_value(json_object_get(tree, "kind")),
                  json_string_value(json_object_get(json_object_get(tree, "metadata"), "name")));
    }
    assert_string_equal(text_string(&text), expected);
}

/* The spec of document i as JSON has these words, or its comments do. */
static void assert_says(const struct documents *documents, size_t i, const char *words)
{
    cleanup_free char *spec =
        json_dumps(json_object_get(documents->items[i].tree, "spec"), JSON_COMPACT);

    if (!strstr(spec, words) && !strstr(text_string(&documents->items[i].comments), words))
        fail_msg("'%s' is not in %s\n%s", words, spec, text_string(&documents->items[i].comments));
}

static void test_guide(void **state)
{
    cleanup_documents struct documents d = convert(HEAD "  ttlSecondsAfterEmpty: 300\n" GUIDE);

    assert_objects(&d, "EC2NodeClass old, SliceProfile old-a100, NodePool old-a100, SliceProfile "
                       "old-a10, NodePool old-a10");
    assert_says(&d, 0, "\"role\":\"KarpenterNodeRole-${CLUSTER_NAME}\"");
    assert_says(&d, 0, "PLACEHOLDER spec.role");
    assert_says(&d, 0, "PLACEHOLDER spec.amiSelectorTerms");
    assert_says(&d, 0, "PLACEHOLDER spec.securityGroupSelectorTerms");
    assert_says(&d, 1, "\"layout\":\"all-1g.5gb\"");
    assert_says(&d, 1, "\"instanceTypes\":[\"p4d.24xlarge\"]");
    assert_says(&d, 1, "p4de.24xlarge");
    assert_says(&d, 2, "\"nvidia.com/gpu\":\"a100\"");
    assert_says(&d, 2, "{\"key\":\"nvidia.com/gpu-shared\",\"effect\":\"NoSchedule\"}");
    assert_says(&d, 2, "\"consolidationPolicy\":\"WhenEmpty\",\"consolidateAfter\":\"300s\"");
    assert_says(&d, 3, "\"timeSlicing\":{\"replicas\":4,\"renameByDefault\":true}");
    assert_says(&d, 4, "\"nvidia.com/gpu\":\"a10\"");
    assert_says(&d, 4, "\"a10g\"");
}

/* The label of the NodePool is what its profile's nodes have: nothing would be drift. */
static void test_profile_reads_back(void **state)
{
    cleanup_documents struct documents d = convert(HEAD GUIDE);

    for (size_t i = 1; i < d.n_items; i += 2) {
        cleanup_free char *text = json_dumps(d.items[i].tree, 0);
        cleanup_problems struct problems problems = PROBLEMS_INIT;
        cleanup_sliceprofiles struct sliceprofiles profiles = SLICEPROFILES_INIT;
        char hash[SLICEPROFILE_HASH];

        assert_int_equal(sliceprofiles_parse(text, strlen(text), &problems, &profiles), 0);
        sliceprofile_hash(&profiles.items[0], hash);
        assert_says(&d, i + 1, hash);
    }
}

static void test_fields(void **state)
{
    static const struct {
        const char *spec, *words;
        size_t document;
    } rows[] = {
        {"  labels: {a: b}\n", "\"labels\":{\"a\":\"b\"}", 1},
        {"  annotations: {a: 'true'}\n", "\"annotations\":{\"a\":\"true\"}", 1},
        {"  annotations: {karpenter.sh/do-not-evict: 'true'}\n",
         "\"karpenter.sh/do-not-disrupt\":\"true\"", 1},
        {"  taints: [{key: k, value: v, effect: NoSchedule}]\n",
         "\"taints\":[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"NoSchedule\"}]", 1},
        {"  startupTaints: [{key: k, effect: NoExecute}]\n",
         "\"startupTaints\":[{\"key\":\"k\",\"effect\":\"NoExecute\"}]", 1},
        {"  ttlSecondsUntilExpired: 60\n", "\"expireAfter\":\"60s\"", 1},
        {"  {}\n", "\"expireAfter\":\"Never\"", 1},
        {"  {}\n", "\"consolidationPolicy\":\"WhenEmpty\",\"consolidateAfter\":\"Never\"", 1},
        {"  consolidation: {enabled: true}\n", "\"WhenEmptyOrUnderutilized\"", 1},
        {"  limits: {resources: {cpu: 100, memory: 1Ti}}\n",
         "\"limits\":{\"cpu\":\"100\",\"memory\":\"1Ti\"}", 1},
        {"  requirements: [{key: a, operator: Gt, values: ['3']}]\n",
         "{\"key\":\"a\",\"operator\":\"Gt\",\"values\":[\"3\"]}", 1},
        {"  weight: 7\n", "\"weight\":7", 1},
        {"  {}\n",
         "{\"key\":\"karpenter.sh/capacity-type\",\"operator\":\"In\",\"values\":[\"on-"
         "demand\"]}",
         1},
        {"  {}\n", "karpenter.k8s.aws/instance-category", 1},
        {"  kubeletConfiguration: {maxPods: 20, containerRuntime: containerd}\n",
         "\"kubelet\":{\"maxPods\":20}", 0},
        {"  provider: {instanceProfile: p}\n", "\"instanceProfile\":\"p\"", 0},
        {"  provider: {subnetSelector: {karpenter.sh/discovery: mine}}\n",
         "\"securityGroupSelectorTerms\":[{\"tags\":{\"karpenter.sh/discovery\":\"mine\"}}]", 0},
        {"  provider: {subnetSelector: {karpenter.sh/discovery: mine}}\n", "KarpenterNodeRole-mine",
         0},
        {"  provider: {subnetSelector: {'aws::ids': 'subnet-1, subnet-2'}}\n",
         "\"subnetSelectorTerms\":[{\"id\":\"subnet-1\"},{\"id\":\"subnet-2\"}]", 0},
        {"  provider: {amiFamily: Bottlerocket, tags: {a: 1}}\n", "\"bottlerocket@latest\"", 0},
        {"  provider: {amiFamily: Custom, amiSelector: {x: y}}\n",
         "\"amiFamily\":\"Custom\",\"amiSelectorTerms\":[{\"tags\":{\"x\":\"y\"}}]", 0},
        {"  provider: {userData: hello, detailedMonitoring: true}\n", "\"detailedMonitoring\":true",
         0},
        {"  providerRef: {name: other}\n", "\"name\":\"other\"", 1},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        cleanup_text struct text text = TEXT_INIT;
        cleanup_documents struct documents d = DOCUMENTS_INIT;

        text_addf(&text, HEAD "%s", rows[i].spec);
        d = convert(text_string(&text));
        assert_int_equal(d.n_items, 2);
        assert_says(&d, rows[i].document, rows[i].words);
    }
}

/* A node cannot have one twice. */
static void test_taint_is_there(void **state)
{
    cleanup_documents struct documents d = convert(
        HEAD GUIDE "  taints: [{key: nvidia.com/gpu-shared, value: x, effect: NoSchedule}]\n");

    assert_says(&d, 2,
                "\"taints\":[{\"key\":\"nvidia.com/gpu-shared\",\"value\":\"x\",\"effect\":"
                "\"NoSchedule\"}]");
}

static void test_template(void **state)
{
    cleanup_documents struct documents d =
        convert(HEAD "  providerRef: {name: default}\n---\n"
                     "apiVersion: karpenter.k8s.aws/v1alpha1\nkind: AWSNodeTemplate\nmetadata: "
                     "{name: default}\nspec: {subnetSelector: {a: b}, securityGroupSelector: "
                     "{'aws-ids': sg-1}, instanceProfile: p, amiFamily: AL2}\n");

    assert_objects(&d, "EC2NodeClass default, NodePool old");
    assert_says(&d, 0, "\"securityGroupSelectorTerms\":[{\"id\":\"sg-1\"}]");
    assert_says(&d, 0, "al2@latest");
}

/* On Bottlerocket somebody else has the GPUs, unless it is switched off. */
static void test_bottlerocket(void **state)
{
    cleanup_documents struct documents plain =
                                           convert(HEAD "  provider: {amiFamily: Bottlerocket}\n"),
                                       sliced = convert(HEAD GUIDE
                                                        "  provider: {amiFamily: Bottlerocket, "
                                                        "userData: \"[a]\\nb = 1\"}\n"),
                                       theirs = convert(
                                           HEAD GUIDE
                                           "  provider: {amiFamily: Bottlerocket, userData: "
                                           "'[settings.kubelet-device-plugins.nvidia]'}\n");

    assert_says(&sliced, 0,
                "\"userData\":\"[a]\\nb = 1\\n[settings.kubelet-device-plugins.nvidia]\\nenabled = "
                "false\\n\"");
    assert_says(&theirs, 0, "\"userData\":\"[settings.kubelet-device-plugins.nvidia]\"");
    assert_false(strstr(text_string(&plain.items[0].comments), "device plugin"));
    assert_non_null(strstr(text_string(&theirs.items[0].comments), "has to be off"));
}

/* EC2 has the T4G beside arm64 processors alone, which v1alpha5's default would exclude. */
static void test_processors(void **state)
{
    cleanup_documents struct documents d =
        convert(HEAD "  requirements: [{key: nvidia.com/gpu, operator: In, values: [t4g, t4]}]\n");

    assert_says(&d, 2,
                "{\"key\":\"kubernetes.io/arch\",\"operator\":\"In\",\"values\":[\"arm64\"]}");
    assert_says(&d, 4,
                "{\"key\":\"kubernetes.io/arch\",\"operator\":\"In\",\"values\":[\"amd64\"]}");
}

static void assert_refused(const char *text, unsigned line, unsigned column, const char *words)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_documents struct documents documents = DOCUMENTS_INIT;
    char all[1024];

    assert_int_equal(
        convert_provisioners(text, strlen(text), &bench_catalog, &problems, &documents), -EBADMSG);
    problems_sort(&problems);
    problems_describe(&problems, all, sizeof(all));
    if (!strstr(all, words))
        fail_msg("'%s' is not in: %s", words, all);
    assert_int_equal(problems.items[0].at.line, line);
    assert_int_equal(problems.items[0].at.column, column);
}

#define MAP(label)                                                                        \
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: plugin\n  labels: {" label "}\n" \
    "  annotations: {gpuslice.dev/instance-types: p3.8xlarge}\ndata:\n  any: |\n"         \
    "    sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 4}]}}\n"
#define LABEL "gpuslice.dev/slice-profile: \"true\""

/* What the controller would make of it. */
static void test_config_map(void **state)
{
    cleanup_documents struct documents d = convert(MAP(LABEL)), list = DOCUMENTS_INIT;

    assert_objects(&d, "SliceProfile plugin-any");
    assert_says(&d, 0, "\"timeSlicing\":{\"replicas\":4}");
    assert_says(&d, 0, "the key any of the ConfigMap plugin");
    assert_null(json_object_get(json_object_get(d.items[0].tree, "metadata"), "labels"));
    assert_refused(MAP(""), 1, 1, "nor a ConfigMap with the label");
    assert_refused("kind: ConfigMap\nmetadata: {labels: {" LABEL "}}\n", 1, 1, "has no data");
    list = convert("kind: List\nitems:\n- kind: AWSNodeTemplate\n  metadata: {name: t}\n  spec: "
                   "{amiFamily: AL2}\n- apiVersion: karpenter.sh/v1alpha5\n  kind: Provisioner\n  "
                   "metadata: {name: old}\n  spec: {providerRef: {name: t}}\n");
    assert_objects(&list, "EC2NodeClass t, NodePool old");
}

static void test_refuses(void **state)
{
    assert_refused(HEAD "  ttlSecondsAfterEmtpy: 300\n", 5, 3, "ttlSecondsAfterEmpty");
    assert_refused(HEAD "  ttlSecondsAfterEmpty: 5m\n", 5, 25, "whole number");
    assert_refused(HEAD "  ttlSecondsAfterEmpty: 5\n  consolidation: {enabled: true}\n", 5, 25,
                   "excludes consolidation");
    assert_refused(HEAD "  requirements: [{key: nvidia.com/gpu, operator: In, values: [a30]}]\n", 5,
                   63, "EC2 has no A30");
    assert_refused(HEAD "  requirements: [{key: nvidia.com/gpu, operator: Exists}]\n", 5, 18,
                   "operator In");
    assert_refused(HEAD "  requirements: [{key: a, operator: Is}]\n", 5, 18, "NotIn");
    assert_refused(HEAD "  requirements: [{key: a, operator: In}]\n", 5, 18, "have values");
    assert_refused(HEAD
                   "  requirements: [{key: karpenter.sh/provisioner-name, operator: Exists}]\n",
                   5, 18, "remove it");
    assert_refused(HEAD "  labels: {karpenter.sh/provisioner-name: x}\n", 5, 12, "remove it");
    assert_refused(HEAD "  provider: {launchTemplate: x}\n", 5, 14, "userData");
    assert_refused(HEAD "  provider: {subnetSelectors: {}}\n", 5, 14, "subnetSelector");
    assert_refused(HEAD "  provider: {amiFamily: Ubuntu}\n", 5, 25, "AL2023");
    assert_refused(HEAD "  kubeletConfiguration: {containerRuntime: dockerd}\n", 5, 44,
                   "containerd");
    assert_refused("kind: NodePool\n", 1, 1, "there is no Provisioner");
    assert_refused("a: [\n", 1, 1, "there is no Provisioner");
    assert_refused("apiVersion: karpenter.sh/v1beta1\nkind: NodePool\n", 1, 1, "expireAfter into");
    assert_refused("apiVersion: karpenter.k8s.aws/v1beta1\nkind: EC2NodeClass\n", 1, 1,
                   "amiSelectorTerms");
    assert_refused("a: b\n", 1, 1, "no kind");
    assert_refused("```\nyaml\n" HEAD "  weights: 1\n```\n", 7, 3, "weight");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guide),          cmocka_unit_test(test_profile_reads_back),
        cmocka_unit_test(test_fields),         cmocka_unit_test(test_template),
        cmocka_unit_test(test_taint_is_there), cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_bottlerocket),   cmocka_unit_test(test_processors),
        cmocka_unit_test(test_config_map),
    };

    return cmocka_run_group_tests_name("karpenter/convert", tests, bench_setup, bench_teardown);
}
