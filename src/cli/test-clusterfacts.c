// SPDX-License-Identifier: Apache-2.0
#include "cli/clusterfacts.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"
#include "kube/test-fake-api.h"

/* An API server that has what the table says, with single quotes; of anything else it knows
 * nothing. */
struct served {
    const char *path;
    unsigned status; /* 0 = 200 */
    const char *body;
};

static const struct served *table;
static size_t n_table;
static char body[8192];

static struct fake_answer serve(const struct kube_call *call)
{
    assert_string_equal(call->method, "GET");
    for (size_t i = 0; i < n_table; i++) {
        if (!str_equal(table[i].path, call->path))
            continue;
        snprintf(body, sizeof(body), "%s", table[i].body);
        for (char *c = body; *c; c++)
            *c = *c == '\'' ? '"' : *c;
        return (struct fake_answer){table[i].status ? table[i].status : 200, body};
    }
    return (struct fake_answer){404, "{}"};
}

/* NULL when it failed. */
static json_t *read_from(const struct served *rows, size_t n)
{
    const struct kube_access access = KUBE_ACCESS_INIT;
    cleanup_catalog struct catalog catalog = CATALOG_INIT;
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup(kube_reader_free_p) struct kube_reader *reader = NULL;
    json_t *facts = NULL;

    table = rows;
    n_table = n;
    fake_api_reset();
    fake_api_serve_by(serve);
    assert_int_equal(catalog_load(getenv("GPUSLICE_TEST_CATALOG"), &problems, &catalog), 0);
    assert_int_equal(kube_reader_new(&access, "test", &reader, NULL), 0);
    (void)clusterfacts_read(reader, &catalog, &facts, NULL);
    return facts;
}

static void assert_tree(const json_t *tree, const char *expected)
{
    cleanup_free char *text = json_dumps(tree, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
    char wanted[512];

    snprintf(wanted, sizeof(wanted), "%s", expected);
    for (char *c = wanted; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    assert_string_equal(text, wanted);
}

#define NODES "/api/v1/nodes?limit=250"

static const struct served one_of_each[] = {
    {"/version", 0, "{'gitVersion': 'v1.36.2'}"},
    {"/apis/apps/v1/daemonsets?limit=250", 0,
     "{'items': [{'metadata': {'namespace': 'gpu', 'name': 'gpuslice'},"
     " 'status': {'desiredNumberScheduled': 2}, 'spec': {'template': {'spec': {'containers':"
     " [{'image': 'gpuslice/gpuslice:0.1.0', 'env': [{'name': 'GPUSLICE_MIG_PARTITION', 'value':"
     " 'true'}]}]}}}}, {'metadata': {'namespace': 'kube-system', 'name': 'nvdp'}, 'status':"
     " {'desiredNumberScheduled': 1}, 'spec': {'template': {'spec': {'nodeSelector': {'old': 'y'},"
     " 'containers': [{'image': 'nvcr.io/nvidia/k8s-device-plugin:v0.17.0'}]}}}}]}"},
    {"/apis/apps/v1/deployments?limit=250", 0,
     "{'items': [{'metadata': {'namespace': 'kube-system', 'name': 'karpenter'}, 'spec':"
     " {'template': {'spec': {'containers': [{'image': 'karpenter/controller:1.14.1', 'env':"
     " [{'name': 'FEATURE_GATES', 'value': 'StaticCapacity=true,NodeOverlay=true'}]}]}}}}]}"},
    {"/api/v1/namespaces/gpu", 0,
     "{'metadata': {'labels': {'pod-security.kubernetes.io/enforce': 'privileged'}}}"},
    {"/apis/karpenter.sh/v1/nodepools?limit=250", 0,
     "{'items': [{'metadata': {'name': 'gpu'}, 'spec': {'template': {'metadata': {'labels':"
     " {'gpuslice.dev/profile': 'p'}}, 'spec': {'nodeClassRef': {'group':"
     " 'karpenter.k8s.aws', 'name': 'aws'}}}}}]}"},
    {"/apis/karpenter.k8s.aws/v1/ec2nodeclasses?limit=250", 0,
     "{'items': [{'metadata': {'name': 'aws', 'annotations': {'karpenter.k8s.aws/"
     "nvidia-consumable-capacity': '4'}}}, {'metadata': {'name': 'b', 'annotations': {"
     "'karpenter.k8s.aws/nvidia-consumable-capacity': 'disabled'}}}, {'metadata': {'name': "
     "'c'}}]}"},
    {"/apis/karpenter.sh/v1alpha1/nodeoverlays?limit=250", 0,
     "{'items': [{'metadata': {'name': 'p-16', 'labels': {'gpuslice.dev/profile': 'p'}}, 'status':"
     " {'conditions': [{'type': 'Ready', 'status': 'True', 'message': ''}]}}]}"},
    {"/apis/resource.k8s.io", 0, "{'preferredVersion': {'groupVersion': 'resource.k8s.io/v1'}}"},
    {"/apis/resource.k8s.io/v1/resourceslices?limit=250", 0,
     "{'items': [{'spec': {'driver': 'gpu.nvidia.com', 'nodeName': 'b'}},"
     " {'spec': {'driver': 'compute-domain.nvidia.com', 'nodeName': 'a'}},"
     " {'spec': {'driver': 'dra.net', 'nodeName': 'a'}}]}"},
    {"/apis/resource.k8s.io/v1/deviceclasses?limit=250", 0,
     "{'items': [{'metadata': {'name': 'mig.nvidia.com'}}]}"},
    {"/apis/gpuslice.dev/v1alpha1/sliceprofiles?limit=250", 0, "{'items': [{}, {}]}"},
    {NODES, 0,
     "{'metadata': {'continue': 'next'}, 'items': [{'metadata': {'name': 'a', 'labels':"
     " {'karpenter.sh/nodepool': 'gpu', 'node.kubernetes.io/instance-type': 'p4d.24xlarge',"
     " 'nvidia.com/cuda.driver-version.full': '580.95.05'}}, 'status': {'allocatable':"
     " {'cpu': '96', 'nvidia.com/gpu.shared': '32'}, 'nodeInfo': {'kubeletVersion': 'v1.36.2',"
     " 'osImage': 'Amazon Linux 2023.9', 'kernelVersion': '6.12', 'containerRuntimeVersion':"
     " 'containerd://2.1.4'}, 'conditions': [{'type': 'GPUSlicesReady', 'status': 'True'}]}},"
     " {'metadata': {'name': 'cpu'}, 'status': {'allocatable': {'cpu': '4'}}}]}"},
    {NODES "&continue=next", 0,
     "{'items': [{'metadata': {'name': 'b', 'labels': {'karpenter.sh/nodepool': 'gpu', 'old': 'y',"
     " 'node.kubernetes.io/instance-type': 'p4d.24xlarge', 'k8s.amazonaws.com/accelerator': 'x'}},"
     " 'status': {'allocatable': {'nvidia.com/gpu.shared': '16', 'nvidia.com/gpu': '0'},"
     " 'nodeInfo': {'kubeletVersion': 'v1.35.1', 'osImage': 'Homemade', 'kernelVersion': '6.12',"
     " 'containerRuntimeVersion': 'containerd://2.1.4'}, 'conditions': [{'type': 'GPUSlicesReady',"
     " 'status': 'False', 'reason': 'ForeignDevicePlugin'}]}}, {'metadata': {'name': 'c', 'labels':"
     " {'eks.amazonaws.com/nodegroup': 'old', 'eks.amazonaws.com/compute-type': 'auto',"
     " 'eks.amazonaws.com/instance-gpu-count': '1'}}}]}"},
};

static void test_everything(void **state)
{
    json_t *facts = read_from(one_of_each, ARRAY_SIZE(one_of_each)), *groups, *group;

    assert_non_null(facts);
    groups = json_object_get(facts, "groups");
    group = json_array_get(groups, 0);
    assert_int_equal(json_array_size(groups), 2);
    assert_tree(json_object_get(facts, "kubernetes"), "'v1.36.2'");
    assert_tree(json_object_get(facts, "agent"),
                "{'kind':'DaemonSet','name':'gpuslice','namespace':'gpu','nodes':2,'partitions':"
                "true,'podSecurity':'privileged','role':'agent','version':'0.1.0','what':'gpuslice'"
                "}");
    assert_tree(json_object_get(json_object_get(facts, "karpenter"), "gate"), "'on'");
    assert_tree(json_object_get(facts, "pools"),
                "{'gpu':{'auto':false,'class':'aws','profile':'p'}}");
    assert_tree(json_object_get(facts, "sharedClasses"), "{'aws':'4'}");
    assert_tree(json_object_get(facts, "overlays"),
                "[{'message':'','name':'p-16','profile':'p','ready':'True'}]");
    assert_tree(json_object_get(facts, "draDrivers"), "{'gpu.nvidia.com':1}");
    assert_tree(json_object_get(facts, "deviceClasses"), "['mig.nvidia.com']");
    assert_tree(json_object_get(facts, "sliceProfiles"), "2");
    assert_tree(json_object_get(facts, "profilesServed"), "true");
    assert_tree(json_object_get(facts, "nodesWithoutGPU"), "1");
    assert_tree(json_object_get(facts, "unknown"), "[]");
    assert_tree(json_object_get(group, "name"), "'gpu'");
    assert_tree(json_object_get(group, "nodes"), "2");
    assert_tree(json_object_get(group, "kubernetes"), "{'v1.35.1':1,'v1.36.2':1}");
    assert_tree(json_object_get(group, "driver"), "{'':1,'580.95.05':1}");
    assert_tree(json_object_get(group, "cgroup"), "{'':1,'v2':1}");
    assert_tree(json_object_get(group, "agent"), "{'ForeignDevicePlugin':1,'ready':1}");
    assert_tree(json_object_get(group, "advertised"),
                "{'nvidia.com/gpu':0,'nvidia.com/gpu.shared':48}");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(group, "plugins"),
                                                        "NVIDIA's device plugin")),
                     1);
    assert_tree(json_object_get(group, "mig"), "{'capable':2}");
    assert_tree(json_object_get(group, "sharing"), "{'shared':2}");
    assert_tree(json_object_get(group, "doublyServed"), "1");
    assert_tree(json_object_get(group, "hidden"), "1");
    assert_tree(json_object_get(json_array_get(groups, 1), "autoMode"), "1");
    assert_tree(json_object_get(json_array_get(groups, 1), "kind"), "'node group'");
    json_decref(facts);
}

/* How a node's devices are shared: its labels, allocatable resources, and the answer. */
static void test_sharing(void **state)
{
    static const struct {
        const char *labels, *allocatable, *sharing;
    } rows[] = {
        {"", "'nvidia.com/gpu': '4'", "whole"},
        {"", "'nvidia.com/gpu': '5'", "shared"}, /* of a type with four */
        {", 'nvidia.com/gpu.replicas': '2'", "'nvidia.com/gpu': '4'", "shared"},
        {", 'nvidia.com/gpu.replicas': '1'", "'nvidia.com/gpu': '4'", "whole"},
        {"", "'nvidia.com/gpu.shared': '16', 'nvidia.com/gpu': '0'", "shared"},
        {"", "'nvidia.com/half': '8'", "shared"},
        {"", "'nvidia.com/mig-1g.5gb': '7'", "mig"},
        {"", "'nvidia.com/mig-1g.5gb': '7', 'nvidia.com/gpu': '1'", "whole"},
        {", 'nvidia.com/mig-1g.5gb.replicas': '2'", "'nvidia.com/mig-1g.5gb.shared': '14'",
         "shared"},
        {", 'nvidia.com/mig-1g.5gb.replicas': '2'", "'nvidia.com/mig-1g.5gb': '14'", "shared"},
        {", 'nvidia.com/gpu.product': 'A100-MIG-1g.5gb'", "'nvidia.com/gpu': '28'", "mig"},
        {", 'nvidia.com/gpu.product': 'A100-MIG-1g.5gb-SHARED', 'nvidia.com/gpu.replicas': '4'",
         "'nvidia.com/gpu': '28'", "shared"},
        {"", "'cpu': '4'", ""},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char nodes[1024];
        const struct served served[] = {{NODES, 0, nodes}};
        json_t *facts, *sharing;

        snprintf(nodes, sizeof(nodes),
                 "{'items': [{'metadata': {'name': 'a', 'labels': "
                 "{'node.kubernetes.io/instance-type': 'g5.12xlarge'%s}}, 'status': "
                 "{'allocatable': {%s}}}]}",
                 rows[i].labels, rows[i].allocatable);
        facts = read_from(served, 1);
        sharing = json_object_get(json_array_get(json_object_get(facts, "groups"), 0), "sharing");
        if (json_integer_value(json_object_get(sharing, rows[i].sharing)) != 1)
            fail_msg("%s with%s is not '%s'", rows[i].allocatable, rows[i].labels, rows[i].sharing);
        json_decref(facts);
    }
}

/* The API server writes 2000 as "2k". */
static void test_many_slices(void **state)
{
    const struct served rows[] = {
        {NODES, 0,
         "{'items': [{'metadata': {'name': 'a'}, 'status': {'allocatable': {'nvidia.com/gpu':"
         " '2k', 'nvidia.com/x': 'many'}}}, {'metadata': {'name': 'b'}, 'status': {'allocatable':"
         " {'nvidia.com/gpu': '16'}}}]}"}};
    json_t *facts = read_from(rows, ARRAY_SIZE(rows));

    assert_tree(json_object_get(json_array_get(json_object_get(facts, "groups"), 0), "advertised"),
                "{'nvidia.com/gpu':2016,'nvidia.com/x':0}");
    json_decref(facts);
}

/* An AMD GPU is none that could be sliced. */
static void test_other_manufacturers(void **state)
{
    const struct served rows[] = {
        {NODES, 0,
         "{'items': [{'metadata': {'name': 'a', 'labels': {'karpenter.k8s.aws/instance-gpu-count':"
         " '1', 'karpenter.k8s.aws/instance-gpu-manufacturer': 'amd'}}}, {'metadata': {'name': 'b',"
         " 'labels': {'eks.amazonaws.com/instance-gpu-count': '1',"
         " 'eks.amazonaws.com/instance-gpu-manufacturer': 'nvidia'}}}]}"}};
    json_t *facts = read_from(rows, ARRAY_SIZE(rows));

    assert_tree(json_object_get(facts, "nodesWithoutGPU"), "1");
    assert_int_equal(json_array_size(json_object_get(facts, "groups")), 1);
    json_decref(facts);
}

/* A user that may read nothing but Nodes: each thing that is hidden is named, and the rest told. */
static void test_missing_rights(void **state)
{
    struct served rows[ARRAY_SIZE(one_of_each)];
    json_t *facts;

    memcpy(rows, one_of_each, sizeof(rows));
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (!str_starts_with(rows[i].path, NODES))
            rows[i] = (struct served){rows[i].path, 403, "{}"};
    facts = read_from(rows, ARRAY_SIZE(rows));
    assert_non_null(facts);
    assert_int_equal(json_array_size(json_object_get(facts, "unknown")), 8);
    assert_int_equal(json_array_size(json_object_get(facts, "groups")), 2);
    assert_true(json_is_null(json_object_get(facts, "sliceProfiles")));
    assert_true(json_is_null(json_object_get(facts, "overlaysServed")));
    json_decref(facts);
}

/* A cluster without anything of ours or Karpenter's. */
static void test_bare(void **state)
{
    const struct served rows[] = {{NODES, 0, "{'items': []}"},
                                  {"/apis/apps/v1/daemonsets?limit=250", 0, "{'items': []}"},
                                  {"/apis/apps/v1/deployments?limit=250", 0, "{'items': []}"}};
    json_t *facts = read_from(rows, ARRAY_SIZE(rows));

    assert_non_null(facts);
    assert_tree(json_object_get(facts, "groups"), "[]");
    assert_tree(json_object_get(facts, "agent"), "null");
    assert_tree(json_object_get(facts, "karpenter"), "null");
    assert_tree(json_object_get(facts, "overlaysServed"), "false");
    assert_tree(json_object_get(facts, "profilesServed"), "false");
    assert_tree(json_object_get(facts, "unknown"), "[]");
    json_decref(facts);
}

static void test_a_server_that_fails(void **state)
{
    const struct served broken[] = {{"/version", 500, "{}"}}, unknown[] = {{"/version", 401, "{}"}};

    assert_null(read_from(broken, 1));
    assert_null(read_from(unknown, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything),          cmocka_unit_test(test_sharing),
        cmocka_unit_test(test_missing_rights),      cmocka_unit_test(test_bare),
        cmocka_unit_test(test_a_server_that_fails), cmocka_unit_test(test_many_slices),
        cmocka_unit_test(test_other_manufacturers),
    };

    return cmocka_run_group_tests_name("cli/clusterfacts", tests, NULL, NULL);
}
