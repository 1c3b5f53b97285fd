// SPDX-License-Identifier: Apache-2.0
#include "cli/clusterfacts.h"

#include <errno.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "cli/clusternodes.h"
#include "cli/clusterparts.h"
#include "karpenter/nodeclass.h"
#include "kube/field.h"
#include "kube/object.h"

#define KARPENTER "/apis/karpenter.sh/"
#define PROFILE   "gpuslice.dev/profile"

struct facts {
    struct kube_reader *reader;
    json_t *tree; /* what is found; owned */
    struct clusternodes nodes;
};

static void set_text(json_t *object, const char *key, const char *text)
{
    json_object_set_new(object, key, json_string(text));
}

/* ---- asking ---- */

/* What our user may not read, and what a server before or without it does not know, is no reason to
 * end. 0: it was read; 1: it is absent; 2: it may not be read, which is noted. */
enum { READ = 0, ABSENT = 1, HIDDEN = 2 };

static int settle(struct facts *f, int r, const char *what, const struct error *why)
{
    if (r == KUBE_READ_FORBIDDEN)
        json_array_append_new(json_object_get(f->tree, "unknown"),
                              json_pack("{s:s, s:s}", "what", what, "why", error_text(why)));
    return r == KUBE_READ_FORBIDDEN ? HIDDEN : r == KUBE_READ_ABSENT ? ABSENT : r;
}

static int list(struct facts *f, const char *path, const char *what, kube_item_fn *on_item,
                struct error *err)
{
    struct error why = ERROR_INIT;
    int r = kube_read_list(f->reader, path, NULL, on_item, f, &why);

    return r < 0 ? error_wrap(err, r, "%s", error_text(&why)) : settle(f, r, what, &why);
}

static int get(struct facts *f, const char *path, const char *what, json_t **ret_object,
               struct error *err)
{
    struct error why = ERROR_INIT;
    int r = kube_read(f->reader, path, ret_object, &why);

    return r < 0 ? error_wrap(err, r, "%s", error_text(&why)) : settle(f, r, what, &why);
}

/* ---- workloads ---- */

static json_t *describe(const char *kind, const json_t *workload, const struct part *part)
{
    const json_t *metadata = kube_metadata(workload), *status = json_object_get(workload, "status");
    const json_t *n = json_object_get(status, "desiredNumberScheduled");

    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "role", clusterparts_role_name(part->role), "what",
        part->what, "kind", kind, "namespace", kube_text(metadata, "namespace"), "name",
        kube_text(metadata, "name"), "version", part->version, "nodes", json_integer_value(n));
}

static void note_agent(struct facts *f, const json_t *workload, json_t *about)
{
    const char *value = clusterparts_setting(workload, "GPUSLICE_MIG_PARTITION", "--mig-partition");

    json_object_set_new(
        about, "partitions",
        json_boolean(value && !str_equal(value, "false") && !str_equal(value, "0")));
    json_object_set_new(about, "podSecurity", json_null());
    json_object_set(f->tree, "agent", about);
}

static int on_daemonset(const json_t *item, void *userdata)
{
    struct facts *f = userdata;
    struct part part;
    json_t *about;

    if (!clusterparts_find(item, &part))
        return 0;
    about = describe("DaemonSet", item, &part);
    if (part.role == PART_AGENT)
        note_agent(f, item, about);
    else
        json_array_append(json_object_get(f->tree, "components"), about);
    if ((part.role == PART_PLUGIN || part.role == PART_MIG) &&
        json_integer_value(json_object_get(about, "nodes")) > 0)
        clusternodes_add_rival(&f->nodes, part.what, clusterparts_role_name(part.role), item);
    json_decref(about);
    return 0;
}

/* "NodeOverlay=true,StaticCapacity=false" */
static const char *gate_of(const char *gates)
{
    const char *at = gates ? strstr(gates, "NodeOverlay=") : NULL;

    if (!gates)
        return "";
    if (!at)
        return "off";
    return str_starts_with(at + strlen("NodeOverlay="), "true") ? "on" : "off";
}

static int on_deployment(const json_t *item, void *userdata)
{
    struct facts *f = userdata;
    struct part part;
    json_t *about;

    if (!clusterparts_find(item, &part) || part.role == PART_AGENT)
        return 0;
    about = describe("Deployment", item, &part);
    json_object_del(about, "nodes");
    if (part.role == PART_KARPENTER && !json_is_object(json_object_get(f->tree, "karpenter"))) {
        set_text(about, "gate",
                 gate_of(clusterparts_setting(item, "FEATURE_GATES", "--feature-gates")));
        json_object_set(f->tree, "karpenter", about);
    } else {
        json_array_append(json_object_get(f->tree, "components"), about);
    }
    json_decref(about);
    return 0;
}

static int read_workloads(struct facts *f, struct error *err)
{
    int r = list(f, "/apis/apps/v1/daemonsets", "DaemonSets: device plugins and other programs",
                 on_daemonset, err);

    if (r >= 0)
        r = list(f, "/apis/apps/v1/deployments", "Deployments: Karpenter and other programs",
                 on_deployment, err);
    return r < 0 ? r : 0;
}

static int read_namespace(struct facts *f, struct error *err)
{
    json_t *agent = json_object_get(f->tree, "agent"), *object = NULL;
    const struct kube_place place = {
        .api = "/api/v1", .collection = "namespaces", .name = kube_text(agent, "namespace")};
    cleanup_free char *path = json_is_object(agent) ? kube_path(&place) : NULL;
    int r;

    if (!path)
        return 0;
    r = get(f, path, "the namespace of the agent: its Pod Security", &object, err);
    if (r == READ)
        set_text(agent, "podSecurity",
                 kube_text(json_object_get(kube_metadata(object), "labels"),
                           "pod-security.kubernetes.io/enforce"));
    json_decref(object);
    return r < 0 ? r : 0;
}

/* ---- Karpenter ---- */

static int on_overlay(const json_t *item, void *userdata)
{
    struct facts *f = userdata;
    const json_t *metadata = kube_metadata(item), *ready = kube_condition(item, "Ready");

    json_array_append_new(
        json_object_get(f->tree, "overlays"),
        json_pack("{s:s, s:s, s:s, s:s}", "name", kube_text(metadata, "name"), "profile",
                  kube_text(json_object_get(metadata, "labels"), PROFILE), "ready",
                  kube_text(ready, "status"), "message", kube_text(ready, "message")));
    return 0;
}

static int on_pool(const json_t *item, void *userdata)
{
    struct facts *f = userdata;
    const json_t *template = json_object_get(json_object_get(item, "spec"), "template"),
                 *labels = json_object_get(kube_metadata(template), "labels"),
                 *class = json_object_get(json_object_get(template, "spec"), "nodeClassRef");

    json_object_set_new(json_object_get(f->tree, "pools"), kube_name(item),
                        json_pack("{s:s, s:b, s:s}", "profile", kube_text(labels, PROFILE), "auto",
                                  kube_says(class, "group", "eks.amazonaws.com"), "class",
                                  nodeclass_of(item)));
    return 0;
}

static int on_node_class(const json_t *item, void *userdata)
{
    struct facts *f = userdata;
    const char *shared = nodeclass_dra_shares(item);

    if (*shared)
        set_text(json_object_get(f->tree, "sharedClasses"), kube_name(item), shared);
    return 0;
}

static int read_karpenter(struct facts *f, struct error *err)
{
    int r = list(f, KARPENTER "v1/nodepools", "NodePools: which of them are sliced", on_pool, err);

    if (r < 0)
        return r;
    r = list(f, KARPENTER "v1alpha1/nodeoverlays", "NodeOverlays: what Karpenter believes",
             on_overlay, err);
    if (r == READ || r == ABSENT)
        json_object_set_new(f->tree, "overlaysServed", json_boolean(r == READ));
    if (r >= 0)
        r = list(f, NODECLASS_PATH,
                 "EC2NodeClasses: whether Karpenter counts their GPUs by DRA, too", on_node_class,
                 err);
    return r < 0 ? r : 0;
}

/* ---- dynamic resource allocation ---- */

static int on_slice(const json_t *item, void *userdata)
{
    struct facts *f = userdata;
    const json_t *spec = json_object_get(item, "spec");
    const char *driver = kube_text(spec, "driver"), *node = kube_text(spec, "nodeName");
    json_t *drivers = json_object_get(f->tree, "draDrivers"), *nodes;

    /* gpu.nvidia.com, hami-core-gpu.project-hami.io; not compute-domain.nvidia.com, which has none.
     */
    if (!strstr(driver, "gpu") || !(strstr(driver, "nvidia") || strstr(driver, "hami")) || !*node)
        return 0;
    nodes = json_object_get(drivers, driver);
    if (!nodes) {
        nodes = json_object();
        json_object_set_new(drivers, driver, nodes);
    }
    json_object_set_new(nodes, node, json_true());
    clusternodes_add_drawn(&f->nodes, node);
    return 0;
}

static int on_class(const json_t *item, void *userdata)
{
    struct facts *f = userdata;

    json_array_append_new(json_object_get(f->tree, "deviceClasses"), json_string(kube_name(item)));
    return 0;
}

/* One of the kinds of dynamic resource allocation. */
static int list_dra(struct facts *f, const char *version, const char *collection, const char *what,
                    kube_item_fn *on_item, struct error *err)
{
    cleanup_text struct text path = TEXT_INIT;

    text_addf(&path, "/apis/%s/%s", version, collection);
    return list(f, text_string(&path), what, on_item, err);
}

/* Sets of nodes become their sizes. */
static void count_drivers(struct facts *f)
{
    json_t *drivers = json_object_get(f->tree, "draDrivers"), *nodes, *counts = json_object();
    const char *driver;

    json_object_foreach(drivers, driver, nodes)
        json_object_set_new(counts, driver, json_integer((json_int_t)json_object_size(nodes)));
    json_object_set_new(f->tree, "draDrivers", counts);
}

/* Which of its versions the server has is in the group's description. */
static int read_dra(struct facts *f, struct error *err)
{
    json_t *group = NULL;
    const char *version;
    int r =
        get(f, "/apis/resource.k8s.io", "the API group resource.k8s.io: DRA drivers", &group, err);

    version = kube_text(json_object_get(group, "preferredVersion"), "groupVersion");
    if (r == READ)
        r = list_dra(f, version, "resourceslices", "ResourceSlices: DRA drivers", on_slice, err);
    if (r >= 0 && *version)
        r = list_dra(f, version, "deviceclasses", "DeviceClasses: what pods ask DRA drivers for",
                     on_class, err);
    json_decref(group);
    count_drivers(f);
    return r < 0 ? r : 0;
}

/* ---- the rest ---- */

static int on_profile(const json_t *item, void *userdata)
{
    struct facts *f = userdata;

    clusternodes_count(f->tree, "sliceProfiles");
    return 0;
}

static int read_profiles(struct facts *f, struct error *err)
{
    int r;

    json_object_set_new(f->tree, "sliceProfiles", json_integer(0));
    r = list(f, "/apis/gpuslice.dev/v1alpha1/sliceprofiles", "SliceProfiles", on_profile, err);
    if (r == HIDDEN)
        json_object_set_new(f->tree, "sliceProfiles", json_null());
    if (r == READ || r == ABSENT)
        json_object_set_new(f->tree, "profilesServed", json_boolean(r == READ));
    return r < 0 ? r : 0;
}

static int on_node(const json_t *item, void *userdata)
{
    struct facts *f = userdata;

    clusternodes_add(&f->nodes, item);
    return 0;
}

static int read_nodes(struct facts *f, struct error *err)
{
    int r = list(f, "/api/v1/nodes", "Nodes: which GPUs there are, and on what", on_node, err);

    json_object_set_new(f->tree, "groups", clusternodes_list(&f->nodes));
    json_object_set_new(f->tree, "nodesWithoutGPU",
                        r == READ ? json_integer((json_int_t)f->nodes.n_without_gpu) : json_null());
    return r < 0 ? r : 0;
}

static int read_version(struct facts *f, struct error *err)
{
    json_t *version = NULL;
    int r = get(f, "/version", "the version of the API server", &version, err);

    if (r == READ)
        set_text(f->tree, "kubernetes", kube_text(version, "gitVersion"));
    json_decref(version);
    return r < 0 ? r : 0;
}

int clusterfacts_read(struct kube_reader *reader, const struct catalog *catalog, json_t **ret_facts,
                      struct error *err)
{
    /* What the Nodes are counted by comes before them. */
    static int (*const steps[])(struct facts * f, struct error * err) = {
        read_version, read_workloads, read_namespace, read_karpenter,
        read_dra,     read_profiles,  read_nodes};
    struct facts f = {.reader = reader};
    int r = 0;

    f.tree = json_pack("{s:n, s:[], s:n, s:n, s:n, s:n, s:[], s:{}, s:{}, s:[], s:{}, s:[], s:n, "
                       "s:n, s:[]}",
                       "kubernetes", "groups", "nodesWithoutGPU", "agent", "karpenter",
                       "overlaysServed", "overlays", "pools", "sharedClasses", "components",
                       "draDrivers", "deviceClasses", "profilesServed", "sliceProfiles", "unknown");
    clusternodes_init(&f.nodes, catalog);
    for (size_t i = 0; i < ARRAY_SIZE(steps) && r == 0; i++)
        r = steps[i](&f, err);
    clusternodes_deinit(&f.nodes);
    if (r < 0) {
        json_decref(f.tree);
        return r;
    }
    *ret_facts = f.tree;
    return 0;
}
