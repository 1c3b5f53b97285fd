// SPDX-License-Identifier: Apache-2.0
#include "cli/clusternodes.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "cli/clusterparts.h"
#include "kube/field.h"

#define INSTANCE_TYPE "node.kubernetes.io/instance-type"
#define VENDOR        "nvidia.com/"

void clusternodes_init(struct clusternodes *nodes, const struct catalog *catalog)
{
    *nodes = (struct clusternodes){.groups = json_object(),
                                   .rivals = json_array(),
                                   .doubly_served = json_object(),
                                   .catalog = catalog};
}

void clusternodes_deinit(struct clusternodes *nodes)
{
    json_decref(nodes->groups);
    json_decref(nodes->rivals);
    json_decref(nodes->doubly_served);
}

void clusternodes_count(json_t *counts, const char *value)
{
    json_int_t before = json_integer_value(json_object_get(counts, value));

    json_object_set_new(counts, value, json_integer(before + 1));
}

void clusternodes_add_rival(struct clusternodes *nodes, const char *what, const char *role,
                            const json_t *workload)
{
    json_array_append_new(nodes->rivals, json_pack("{s:s, s:s, s:O}", "what", what, "role", role,
                                                   "workload", (json_t *)workload));
}

void clusternodes_add_drawn(struct clusternodes *nodes, const char *node)
{
    json_object_set_new(nodes->doubly_served, node, json_true());
}

/* ---- one Node ---- */

struct node {
    const json_t *labels, *allocatable, *info;
    const json_t *ready; /* our condition */
    const char *name;
    const struct instance_type *type; /* NULL = not in the catalog */
};

static struct node read_node(const struct clusternodes *nodes, const json_t *object)
{
    const json_t *metadata = json_object_get(object, "metadata"),
                 *status = json_object_get(object, "status");
    struct node node = {.labels = json_object_get(metadata, "labels"),
                        .allocatable = json_object_get(status, "allocatable"),
                        .info = json_object_get(status, "nodeInfo"),
                        .ready = kube_condition(object, "GPUSlicesReady"),
                        .name = kube_name(object)};

    node.type = catalog_find_type(nodes->catalog, kube_text(node.labels, INSTANCE_TYPE));
    return node;
}

/* 0 also for what is no count. */
static json_int_t amount_of(const json_t *amount)
{
    const int64_t count = kube_count(amount);

    return count > 0 ? count : 0;
}

static bool has_device(const struct node *node)
{
    const char *name;
    json_t *amount;

    json_object_foreach((json_t *)node->allocatable, name, amount)
    {
        if (str_starts_with(name, VENDOR) && amount_of(amount) > 0)
            return true;
    }
    return false;
}

/* Karpenter counts GPUs of every manufacturer. */
static bool is_of_others(const struct node *node)
{
    const char *of_karpenter =
                   kube_text(node->labels, "karpenter.k8s.aws/instance-gpu-manufacturer"),
               *of_eks = kube_text(node->labels, "eks.amazonaws.com/instance-gpu-manufacturer"),
               *name = *of_karpenter ? of_karpenter : of_eks;

    return *name && !str_equal(name, "nvidia");
}

/* A node that does not advertise anything yet has one of these, or is of a type with GPUs. */
static bool has_gpu(const struct node *node)
{
    static const char *const labels[] = {
        "nvidia.com/gpu.present",
        "nvidia.com/gpu.product",
        "feature.node.kubernetes.io/pci-10de.present",
        "feature.node.kubernetes.io/pci-0300_10de.present",
        "feature.node.kubernetes.io/pci-0302_10de.present",
        "karpenter.k8s.aws/instance-gpu-count",
        "eks.amazonaws.com/instance-gpu-count",
        "k8s.amazonaws.com/accelerator",
        "cloud.google.com/gke-accelerator",
    };

    for (size_t i = 0; i < ARRAY_SIZE(labels) && !is_of_others(node); i++) {
        const json_t *value = json_object_get(node->labels, labels[i]);

        if (value && !kube_says(node->labels, labels[i], "false"))
            return true;
    }
    return node->type || has_device(node);
}

static void name_group(const struct node *node, const char **ret_kind, const char **ret_name)
{
    static const struct {
        const char *label, *kind;
    } pools[] = {
        {"karpenter.sh/nodepool", "NodePool"},
        {"eks.amazonaws.com/nodegroup", "node group"},
        {"alpha.eksctl.io/nodegroup-name", "node group"},
        {"cloud.google.com/gke-nodepool", "node pool"},
        {"kubernetes.azure.com/agentpool", "node pool"},
        {INSTANCE_TYPE, "instance type"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(pools); i++) {
        *ret_kind = pools[i].kind;
        *ret_name = kube_text(node->labels, pools[i].label);
        if (**ret_name)
            return;
    }
    *ret_kind = "nodes";
    *ret_name = "of no group";
}

static json_t *find_group(struct clusternodes *nodes, const struct node *node)
{
    static const char *const tallies[] = {
        "kubernetes", "system",  "kernel", "runtime",    "driver",      "cgroup", "types",
        "agent",      "plugins", "mig",    "advertised", "migManagers", "sharing"};
    cleanup_text struct text key = TEXT_INIT;
    const char *kind, *name;
    json_t *group;

    name_group(node, &kind, &name);
    text_addf(&key, "%s/%s", kind, name);
    group = json_object_get(nodes->groups, text_string(&key));
    if (group)
        return group;
    group = json_pack("{s:s, s:s, s:i}", "kind", kind, "name", name, "nodes", 0);
    for (size_t i = 0; i < ARRAY_SIZE(tallies); i++)
        json_object_set_new(group, tallies[i], json_object());
    json_object_set_new(nodes->groups, text_string(&key), group);
    return group;
}

static void add_one(json_t *group, const char *key)
{
    clusternodes_count(group, key);
}

static void tally(json_t *group, const char *key, const char *value)
{
    clusternodes_count(json_object_get(group, key), value);
}

/* gpu-feature-discovery's labels, ours among them: the whole version, or its three numbers. */
static void tally_driver(const struct node *node, json_t *group)
{
    const char *whole = kube_text(node->labels, VENDOR "cuda.driver-version.full"),
               *major = kube_text(node->labels, VENDOR "cuda.driver.major"),
               *minor = kube_text(node->labels, VENDOR "cuda.driver.minor"),
               *revision = kube_text(node->labels, VENDOR "cuda.driver.rev");
    cleanup_text struct text version = TEXT_INIT;

    if (*whole)
        text_add(&version, whole);
    else if (*major)
        text_addf(&version, "%s%s%s%s%s", major, *minor ? "." : "", minor, *revision ? "." : "",
                  revision);
    tally(group, "driver", text_string(&version));
}

/* Kubernetes does not report it. These images have one default; others are not known. */
static const char *cgroup_of(const char *image)
{
    static const struct {
        const char *image, *version;
    } images[] = {
        {"Amazon Linux 2023", "v2"},
        {"Amazon Linux 2", "v1"}, /* also 2.x; not 2023 */
        {"Bottlerocket OS", "v2"},
        {"Debian GNU/Linux 11", "v2"},
        {"Debian GNU/Linux 12", "v2"},
        {"Debian GNU/Linux 13", "v2"},
        {"Red Hat Enterprise Linux 9", "v2"},
        {"Red Hat Enterprise Linux 10", "v2"},
        {"Ubuntu 20.", "v1"},
        {"Ubuntu 22.", "v2"},
        {"Ubuntu 24.", "v2"},
        {"Ubuntu 26.", "v2"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(images); i++)
        if (str_starts_with(image, images[i].image))
            return images[i].version;
    return "";
}

static void tally_info(const struct node *node, json_t *group)
{
    static const char *const fields[][2] = {
        {"kubernetes", "kubeletVersion"},
        {"system", "osImage"},
        {"kernel", "kernelVersion"},
        {"runtime", "containerRuntimeVersion"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        tally(group, fields[i][0], kube_text(node->info, fields[i][1]));
    tally(group, "cgroup", cgroup_of(kube_text(node->info, "osImage")));
    tally(group, "types", kube_text(node->labels, INSTANCE_TYPE));
    tally_driver(node, group);
}

static void sum_devices(const struct node *node, json_t *group)
{
    json_t *sums = json_object_get(group, "advertised"), *amount;
    const char *name;

    json_object_foreach((json_t *)node->allocatable, name, amount)
    {
        if (str_starts_with(name, VENDOR))
            json_object_set_new(
                sums, name,
                json_integer(json_integer_value(json_object_get(sums, name)) + amount_of(amount)));
    }
}

/* "ready", the reason why not, or "" without our condition. */
static const char *agent_of(const struct node *node)
{
    if (kube_says(node->ready, "status", "True"))
        return "ready";
    return kube_text(node->ready, "reason");
}

static void tally_rivals(const struct clusternodes *nodes, const struct node *node, json_t *group)
{
    for (size_t i = 0; i < json_array_size(nodes->rivals); i++) {
        const json_t *rival = json_array_get(nodes->rivals, i);

        if (clusterparts_may_run(json_object_get(rival, "workload"), node->labels))
            tally(group, kube_says(rival, "role", "mig") ? "migManagers" : "plugins",
                  kube_text(rival, "what"));
    }
}

/* The label that tells how many slices a device has, "nvidia.com/gpu.replicas"; 0: there is none.
 */
static long replicas_of(const struct node *node, const char *resource)
{
    cleanup_text struct text key = TEXT_INIT;
    size_t length = strlen(resource);

    if (str_ends_with(resource, ".shared"))
        length -= strlen(".shared");
    text_addf(&key, "%.*s.replicas", (int)length, resource);
    return strtol(kube_text(node->labels, text_string(&key)), NULL, 10);
}

/* Whether several slices lie on one device. A name of one's own is given to slices. */
static bool is_shared(const struct node *node, const char *resource, json_int_t amount)
{
    const bool is_mig = str_starts_with(resource, VENDOR "mig-");
    const bool is_part = is_mig || strstr(kube_text(node->labels, VENDOR "gpu.product"), "-MIG-");

    if (replicas_of(node, resource) > 1 || str_ends_with(resource, ".shared"))
        return true;
    if (!is_mig && !str_equal(resource, VENDOR "gpu"))
        return true;
    return !is_part && node->type && amount > (json_int_t)node->type->n_gpus;
}

/* The least that any of its resources has: "shared", "whole", "mig"; "" = none is advertised. */
static const char *sharing_of(const struct node *node)
{
    const bool has_parts = strstr(kube_text(node->labels, VENDOR "gpu.product"), "-MIG-") != NULL;
    const char *name, *found = "";
    json_t *amount;

    json_object_foreach((json_t *)node->allocatable, name, amount)
    {
        if (!str_starts_with(name, VENDOR) || amount_of(amount) <= 0)
            continue;
        if (is_shared(node, name, amount_of(amount)))
            return "shared";
        if (!has_parts && str_equal(name, VENDOR "gpu"))
            found = "whole";
        else if (!*found)
            found = "mig";
    }
    return found;
}

static const char *mig_of(const struct clusternodes *nodes, const struct node *node)
{
    const char *label = kube_text(node->labels, VENDOR "mig.capable");

    if (node->type)
        return nodes->catalog->models[node->type->model].mig.n_slots ? "capable" : "incapable";
    return str_equal(label, "true") ? "capable" : str_equal(label, "false") ? "incapable" : "";
}

static bool is_hidden(const struct node *node)
{
    return json_object_get(node->labels, "k8s.amazonaws.com/accelerator") && has_device(node) &&
           amount_of(json_object_get(node->allocatable, VENDOR "gpu")) == 0;
}

void clusternodes_add(struct clusternodes *nodes, const json_t *object)
{
    const struct node node = read_node(nodes, object);
    json_t *group;

    if (!has_gpu(&node)) {
        nodes->n_without_gpu++;
        return;
    }
    group = find_group(nodes, &node);
    add_one(group, "nodes");
    tally_info(&node, group);
    sum_devices(&node, group);
    tally(group, "agent", agent_of(&node));
    tally(group, "mig", mig_of(nodes, &node));
    tally(group, "sharing", sharing_of(&node));
    tally_rivals(nodes, &node, group);
    if (kube_says(node.labels, "eks.amazonaws.com/compute-type", "auto"))
        add_one(group, "autoMode");
    if (is_hidden(&node))
        add_one(group, "hidden");
    if (has_device(&node) && json_object_get(nodes->doubly_served, node.name))
        add_one(group, "doublyServed");
}

json_t *clusternodes_list(const struct clusternodes *nodes)
{
    json_t *list = json_array(), *group;
    const char *key;

    json_object_foreach(nodes->groups, key, group) json_array_append(list, group);
    return list;
}
