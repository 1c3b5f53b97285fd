// SPDX-License-Identifier: Apache-2.0
#include "karpenter/nodepool.h"

#include <errno.h>

#include "karpenter/promisetext.h"

json_t *nodepool_labels(const struct sliceprofile *profile)
{
    json_t *labels = json_object();
    char hash[SLICEPROFILE_HASH];

    sliceprofile_hash(profile, hash);
    json_object_set_new(labels, SLICEPROFILE_LABEL, json_string(profile->name));
    json_object_set_new(labels, SLICEPROFILE_HASH_LABEL, json_string(hash));
    for (size_t i = 0; i < profile->marks.n_labels; i++)
        json_object_set_new(labels, profile->marks.labels[i].key,
                            json_string(profile->marks.labels[i].value));
    return labels;
}

json_t *nodepool_annotations(const struct sliceprofile *profile, const struct promises *promises)
{
    cleanup_text struct text config = TEXT_INIT, promise = TEXT_INIT;

    sliceprofile_add_config(profile, &config);
    if (promisetext_add(promises, &promise) < 0 || text_failed(&config) || text_failed(&promise))
        return NULL;
    return json_pack("{s:s, s:s}", SLICEPROFILE_CONFIG, text_string(&config), SLICEPROFILE_PROMISE,
                     text_string(&promise));
}

json_t *nodepool_taints(const struct sliceprofile *profile)
{
    if (profile->marks.has_taints)
        return profilemarks_taints(&profile->marks);
    return json_pack("[{s:s, s:s}]", "key", NODEPOOL_TAINT, "effect", "NoSchedule");
}

json_t *nodepool_startup_taints(void)
{
    return json_pack("[{s:s, s:s}]", "key", SLICEPROFILE_STARTUP_TAINT, "effect", "NoSchedule");
}

json_t *nodepool_requirement(const char *key, json_t *values)
{
    return json_pack("{s:s, s:s, s:o}", "key", key, "operator", "In", "values", values);
}

json_t *nodepool_types(const struct promises *promises)
{
    json_t *types = json_array();

    for (size_t i = 0; i < promises->n_items; i++)
        json_array_append_new(types, json_string(promises->items[i].type->name));
    return types;
}

static json_t *class_reference(const struct sliceprofile *profile)
{
    const bool own = *profile->node_class;

    return json_pack("{s:s, s:s, s:s}", "group",
                     own ? profile->node_class_group : NODEPOOL_CLASS_GROUP, "kind",
                     own ? profile->node_class_kind : NODEPOOL_CLASS_KIND, "name",
                     own ? profile->node_class : profile->name);
}

static json_t *capacity_types(const struct sliceprofile *profile)
{
    json_t *types = json_array();

    for (size_t i = 0; i < profile->capacity_types.n_items; i++)
        json_array_append_new(types, json_string(profile->capacity_types.items[i]));
    if (!profile->capacity_types.n_items)
        json_array_append_new(types, json_string("on-demand"));
    return types;
}

static json_t *make_template(const struct sliceprofile *profile, const struct promises *promises,
                             const struct nodepool_options *options)
{
    json_t *spec = json_object(), *taints = nodepool_taints(profile);

    json_object_set_new(spec, "nodeClassRef", class_reference(profile));
    json_object_set_new(
        spec, "requirements",
        json_pack("[o, o]", nodepool_requirement(NODEPOOL_CAPACITY_TYPE, capacity_types(profile)),
                  nodepool_requirement(NODEPOOL_INSTANCE_TYPE, nodepool_types(promises))));
    if (json_array_size(taints))
        json_object_set(spec, "taints", taints);
    json_decref(taints);
    if (options->has_startup_taint)
        json_object_set_new(spec, "startupTaints", nodepool_startup_taints());
    return json_pack("{s:{s:o, s:o}, s:o}", "metadata", "labels", nodepool_labels(profile),
                     "annotations", nodepool_annotations(profile, promises), "spec", spec);
}

static json_t *make_spec(const struct sliceprofile *profile, const struct promises *promises,
                         const struct nodepool_options *options)
{
    json_t *spec = json_object();
    char nodes[16];

    json_object_set_new(spec, "template", make_template(profile, promises, options));
    json_object_set_new(
        spec, "disruption",
        json_pack("{s:s, s:s}", "consolidationPolicy", "WhenEmptyOrUnderutilized",
                  "consolidateAfter",
                  *profile->consolidate_after ? profile->consolidate_after : NODEPOOL_CONSOLIDATE));
    snprintf(nodes, sizeof(nodes), "%u", profile->max_nodes);
    if (profile->max_nodes)
        json_object_set_new(spec, "limits", json_pack("{s:s}", "nodes", nodes));
    return spec;
}

int nodepool_make(const struct sliceprofile *profile, const struct promises *promises,
                  const struct nodepool_options *options, struct documents *documents)
{
    int r = documents_add(documents,
                          json_pack("{s:s, s:s, s:{s:s, s:{s:s}}, s:o}", "apiVersion",
                                    NODEPOOL_API_VERSION, "kind", "NodePool", "metadata", "name",
                                    profile->name, "labels", SLICEPROFILE_LABEL, profile->name,
                                    "spec", make_spec(profile, promises, options)));

    if (r == 0 && !profile->max_nodes)
        documents_comment(documents,
                          "Nothing limits how many nodes this pool may have; maxNodes of "
                          "the profile would (spec.limits.nodes).");
    if (r == 0 && options->has_startup_taint)
        documents_comment(documents,
                          "Nodes are open once gpuslice has removed the startup taint " //
                          SLICEPROFILE_STARTUP_TAINT ".");
    return r;
}

static json_t *class_spec(enum nodepool_family family)
{
    json_t *spec =
        json_pack("{s:s, s:[{s:s}], s:[{s:{s:s}}], s:[{s:{s:s}}]}", "role",
                  "KarpenterNodeRole-" NODEPOOL_CLUSTER, "amiSelectorTerms", "alias",
                  family == NODEPOOL_BOTTLEROCKET ? "bottlerocket@latest" : "al2023@latest",
                  "subnetSelectorTerms", "tags", "karpenter.sh/discovery", NODEPOOL_CLUSTER,
                  "securityGroupSelectorTerms", "tags", "karpenter.sh/discovery", NODEPOOL_CLUSTER);

    if (family == NODEPOOL_BOTTLEROCKET)
        json_object_set_new(spec, "userData", json_string(NODEPOOL_PLUGIN_SETTINGS));
    return spec;
}

int nodepool_make_class(const struct sliceprofile *profile, enum nodepool_family family,
                        struct documents *documents)
{
    int r = documents_add(documents,
                          json_pack("{s:s, s:s, s:{s:s}, s:o}", "apiVersion",
                                    NODEPOOL_CLASS_GROUP "/v1", "kind", NODEPOOL_CLASS_KIND,
                                    "metadata", "name", profile->name, "spec", class_spec(family)));

    if (r < 0)
        return r;
    documents_comment(documents, "Placeholders: " NODEPOOL_CLUSTER " is to be replaced "
                                 "(envsubst), and each of these to be checked.");
    documents_comment(documents, "  spec.role: the role that nodes get; the name is that of "
                                 "Karpenter's own guide.");
    documents_comment(documents, "  spec.amiSelectorTerms: @latest is whatever is newest when a "
                                 "node starts; name a version in production.");
    documents_comment(documents, "  spec.subnetSelectorTerms, spec.securityGroupSelectorTerms: by "
                                 "the tag of Karpenter's own guide.");
    if (family == NODEPOOL_BOTTLEROCKET)
        documents_comment(documents,
                          "spec.userData: Bottlerocket's own device plugin is off "
                          "(settings of bottlerocket-core-kit #914), ours has the GPUs.");
    return 0;
}
