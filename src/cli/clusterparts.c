// SPDX-License-Identifier: Apache-2.0
#include "cli/clusterparts.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "base/text.h"
#include "karpenter/requirement.h"
#include "kube/field.h"

/* The first row that fits. NVIDIA's chart has three DaemonSets of one image: names decide there. */
static const struct {
    enum part_role role;
    const char *what;
    const char *image, *name; /* parts of them; NULL = any */
} rows[] = {
    {PART_OTHER, "gpuslice-controller", "gpuslice", "controller"},
    {PART_AGENT, "gpuslice", "gpuslice", NULL},
    {PART_MPS, "NVIDIA's MPS control daemon", "k8s-device-plugin", "mps-control-daemon"},
    {PART_OTHER, "gpu-feature-discovery", NULL, "gpu-feature-discovery"},
    {PART_PLUGIN, "Volcano's vGPU device plugin", "volcano-vgpu-device-plugin", NULL},
    {PART_OTHER, "HAMi's scheduler", "/hami", "scheduler"},
    {PART_PLUGIN, "HAMi's device plugin", "/hami", NULL},
    {PART_PLUGIN, "gpushare's device plugin", "gpushare-plugin", NULL},
    {PART_PLUGIN, "GKE's device plugin", "nvidia-gpu-device-plugin", NULL},
    {PART_PLUGIN, "GKE's device plugin", NULL, "nvidia-gpu-device-plugin"},
    {PART_PLUGIN, "NVIDIA's device plugin", "k8s-device-plugin", NULL},
    {PART_PLUGIN, "NVIDIA's device plugin", NULL, "nvidia-device-plugin"},
    {PART_MIG, "NVIDIA's MIG manager", "k8s-mig-manager", NULL},
    {PART_MIG, "NVIDIA's MIG manager", NULL, "nvidia-mig-manager"},
    {PART_DRA, "NVIDIA's DRA driver", "k8s-dra-driver", NULL},
    {PART_DRA, "NVIDIA's DRA driver", NULL, "nvidia-dra-driver"},
    {PART_KARPENTER, "Karpenter", "karpenter/controller", NULL},
    {PART_KARPENTER, "Karpenter", "karpenter", "karpenter"},
    {PART_AUTOSCALER, "cluster-autoscaler", "cluster-autoscaler", NULL},
    {PART_OTHER, "NVIDIA's GPU Operator", "gpu-operator", "gpu-operator"},
    {PART_OTHER, "DCGM's exporter", "dcgm-exporter", NULL},
    {PART_OTHER, "KAI-Scheduler", "kai-scheduler", NULL},
};

static const json_t *pod_spec(const json_t *workload)
{
    return json_object_get(json_object_get(json_object_get(workload, "spec"), "template"), "spec");
}

static const char *container_image(const json_t *workload, size_t i)
{
    return json_string_value(json_object_get(
        json_array_get(json_object_get(pod_spec(workload), "containers"), i), "image"));
}

/* "registry:5000/karpenter/controller:1.14.1@sha256:..." -> "1.14.1" */
static void version_of(const char *image, char *version, size_t size)
{
    const char *at = strchr(image, '@'), *slash = strrchr(image, '/'), *colon;
    size_t length = at ? (size_t)(at - image) : strlen(image);

    colon = strchr(slash ? slash : image, ':');
    *version = '\0';
    if (colon && (size_t)(colon - image) < length)
        snprintf(version, size, "%.*s", (int)(image + length - colon - 1), colon + 1);
}

/* Images by digest have no tag; charts put the version into a label. */
static void version_of_label(const json_t *workload, char *version, size_t size)
{
    const char *label = kube_label(workload, "app.kubernetes.io/version");

    snprintf(version, size, "%s", label ? label : "");
}

static bool has(const char *text, const char *part)
{
    return !part || strcasestr(text, part);
}

static bool matches(const json_t *workload, size_t row, struct part *ret_part)
{
    const char *image;

    if (!has(kube_name(workload), rows[row].name))
        return false;
    for (size_t i = 0; (image = container_image(workload, i)); i++) {
        if (!has(image, rows[row].image))
            continue;
        *ret_part = (struct part){.role = rows[row].role, .what = rows[row].what};
        version_of(image, ret_part->version, sizeof(ret_part->version));
        if (!*ret_part->version)
            version_of_label(workload, ret_part->version, sizeof(ret_part->version));
        return true;
    }
    return false;
}

bool clusterparts_find(const json_t *workload, struct part *ret_part)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (matches(workload, i, ret_part))
            return true;
    return false;
}

const char *clusterparts_role_name(enum part_role role)
{
    static const char *const names[] = {"other", "agent", "plugin",    "mig",
                                        "mps",   "dra",   "karpenter", "autoscaler"};

    return names[role];
}

static bool has_labels(const json_t *selector, const json_t *labels)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)selector, key, value)
    {
        if (!json_equal(json_object_get(labels, key), value))
            return false;
    }
    return true;
}

/* Any of the terms, of each all expressions. One that selects by fields selects one node: not here.
 */
static bool meets_affinity(const json_t *affinity, const json_t *labels)
{
    const json_t *required = json_object_get(json_object_get(affinity, "nodeAffinity"),
                                             "requiredDuringSchedulingIgnoredDuringExecution"),
                 *terms = json_object_get(required, "nodeSelectorTerms");

    if (!json_array_size(terms))
        return true;
    for (size_t i = 0; i < json_array_size(terms); i++) {
        const json_t *term = json_array_get(terms, i),
                     *expressions = json_object_get(term, "matchExpressions");

        if (json_array_size(expressions) && requirements_are_met(expressions, labels))
            return true;
    }
    return false;
}

bool clusterparts_may_run(const json_t *workload, const json_t *labels)
{
    const json_t *spec = pod_spec(workload);

    return has_labels(json_object_get(spec, "nodeSelector"), labels) &&
           meets_affinity(json_object_get(spec, "affinity"), labels);
}

static const char *find_variable(const json_t *container, const char *name)
{
    const json_t *env = json_object_get(container, "env");

    for (size_t i = 0; name && i < json_array_size(env); i++) {
        const json_t *entry = json_array_get(env, i);

        if (kube_says(entry, "name", name))
            return json_string_value(json_object_get(entry, "value"));
    }
    return NULL;
}

/* A switch alone, "--name", has the value "". */
static const char *find_argument(const json_t *list, const char *name)
{
    for (size_t i = 0; name && i < json_array_size(list); i++) {
        const char *word = json_string_value(json_array_get(list, i));

        if (!word || !str_starts_with(word, name))
            continue;
        word += strlen(name);
        if (!*word || *word == '=')
            return *word ? word + 1 : word;
    }
    return NULL;
}

const char *clusterparts_setting(const json_t *workload, const char *variable, const char *argument)
{
    const json_t *containers = json_object_get(pod_spec(workload), "containers");

    for (size_t i = 0; i < json_array_size(containers); i++) {
        const json_t *container = json_array_get(containers, i);
        const char *value = find_argument(json_object_get(container, "args"), argument);

        if (!value)
            value = find_argument(json_object_get(container, "command"), argument);
        if (!value)
            value = find_variable(container, variable);
        if (value)
            return value;
    }
    return NULL;
}
