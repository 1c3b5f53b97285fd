// SPDX-License-Identifier: Apache-2.0
#include "cli/clusterparts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"

static json_t *workload(const char *name, const char *image)
{
    return json_pack(
        "{s:{s:s, s:{s:s}}, s:{s:{s:{s:[{s:s, s:[s, s], s:[{s:s, s:s}, {s:s, s:{}}]}]}}}}",
        "metadata", "name", name, "labels", "app.kubernetes.io/version", "9.9", "spec", "template",
        "spec", "containers", "image", image, "args", "--debug",
        "--feature-gates=A=true,NodeOverlay=true", "env", "name", "FEATURE_GATES", "value",
        "NodeOverlay=false", "name", "EMPTY", "valueFrom");
}

static void test_table(void **state)
{
    static const struct {
        const char *name, *image, *what;
        enum part_role role;
        const char *version;
    } rows[] = {
        {"nvdp-nvidia-device-plugin", "nvcr.io/nvidia/k8s-device-plugin:v0.17.0",
         "NVIDIA's device plugin", PART_PLUGIN, "v0.17.0"},
        {"nvdp-nvidia-device-plugin-gpu-feature-discovery",
         "nvcr.io/nvidia/k8s-device-plugin:v0.17.0", "gpu-feature-discovery", PART_OTHER,
         "v0.17.0"},
        {"nvdp-nvidia-device-plugin-mps-control-daemon", "nvcr.io/nvidia/k8s-device-plugin:v0.17.0",
         "NVIDIA's MPS control daemon", PART_MPS, "v0.17.0"},
        {"nvidia-device-plugin-daemonset", "mirror:5000/k8s-device-plugin@sha256:0a1b",
         "NVIDIA's device plugin", PART_PLUGIN, "9.9"},
        {"hami-device-plugin", "projecthami/hami:v2.6", "HAMi's device plugin", PART_PLUGIN,
         "v2.6"},
        {"hami-scheduler", "projecthami/hami:v2.6", "HAMi's scheduler", PART_OTHER, "v2.6"},
        {"volcano-device-plugin", "docker.io/volcanosh/volcano-vgpu-device-plugin:v1.9.4",
         "Volcano's vGPU device plugin", PART_PLUGIN, "v1.9.4"},
        {"nvidia-dra-driver-gpu-kubelet-plugin", "nvcr.io/nvidia/k8s-dra-driver-gpu:v25.8.0",
         "NVIDIA's DRA driver", PART_DRA, "v25.8.0"},
        {"nvidia-mig-manager", "nvcr.io/nvidia/cloud-native/k8s-mig-manager:v0.12.1-ubuntu20.04",
         "NVIDIA's MIG manager", PART_MIG, "v0.12.1-ubuntu20.04"},
        {"karpenter", "public.ecr.aws/karpenter/controller:1.14.1@sha256:0a1b", "Karpenter",
         PART_KARPENTER, "1.14.1"},
        {"cluster-autoscaler-aws", "registry.k8s.io/autoscaling/cluster-autoscaler:v1.36.0",
         "cluster-autoscaler", PART_AUTOSCALER, "v1.36.0"},
        {"gpuslice", "registry.example/team/gpuslice:0.1.0", "gpuslice", PART_AGENT, "0.1.0"},
        {"gpuslice-controller", "gpuslice/gpuslice:0.1.0", "gpuslice-controller", PART_OTHER,
         "0.1.0"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        json_t *item = workload(rows[i].name, rows[i].image);
        struct part part;

        if (!clusterparts_find(item, &part) || !str_equal(part.what, rows[i].what))
            fail_msg("%s is not known", rows[i].name);
        assert_int_equal(part.role, rows[i].role);
        assert_string_equal(part.version, rows[i].version);
        json_decref(item);
    }
}

static void test_strangers(void **state)
{
    static const char *const names[][2] = {{"kube-proxy", "registry.k8s.io/kube-proxy:v1.36.2"},
                                           {"coredns", "coredns"}};
    json_t *none = json_object();
    struct part part;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        json_t *item = workload(names[i][0], names[i][1]);

        assert_false(clusterparts_find(item, &part));
        json_decref(item);
    }
    assert_false(clusterparts_find(none, &part));
    json_decref(none);
}

/* An argument outranks the variable, as in Karpenter. */
static void test_settings(void **state)
{
    json_t *item = workload("karpenter", "karpenter/controller:1");

    assert_string_equal(clusterparts_setting(item, "FEATURE_GATES", "--feature-gates"),
                        "A=true,NodeOverlay=true");
    assert_string_equal(clusterparts_setting(item, "FEATURE_GATES", NULL), "NodeOverlay=false");
    assert_string_equal(clusterparts_setting(item, NULL, "--debug"), "");
    assert_null(clusterparts_setting(item, "EMPTY", NULL));
    assert_null(clusterparts_setting(item, "NOTHING", "--feature"));
    json_decref(item);
}

static bool may_run(const char *spec, const json_t *labels)
{
    json_t *pod = json_loads(spec, 0, NULL), *item;
    bool result;

    assert_non_null(pod);
    item = json_pack("{s:{s:{s:o}}}", "spec", "template", "spec", pod);
    result = clusterparts_may_run(item, labels);
    json_decref(item);
    return result;
}

#define AFFINITY(terms)                                                                        \
    "{\"affinity\": {\"nodeAffinity\": {\"requiredDuringSchedulingIgnoredDuringExecution\": {" \
    "\"nodeSelectorTerms\": [" terms "]}}}}"
#define EXISTS(key) "{\"matchExpressions\": [{\"key\": \"" key "\", \"operator\": \"Exists\"}]}"

static void test_where_pods_may_run(void **state)
{
    json_t *labels = json_pack("{s:s}", "gpu", "true");

    assert_true(may_run("{}", labels));
    assert_true(may_run("{\"nodeSelector\": {\"gpu\": \"true\"}}", labels));
    assert_false(may_run("{\"nodeSelector\": {\"gpu\": \"false\"}}", labels));
    assert_true(may_run(AFFINITY(EXISTS("other") "," EXISTS("gpu")), labels));
    assert_false(may_run(AFFINITY(EXISTS("other")), labels));
    assert_false(may_run(AFFINITY("{}"), labels));
    json_decref(labels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_where_pods_may_run),
    };

    return cmocka_run_group_tests_name("cli/clusterparts", tests, NULL, NULL);
}
