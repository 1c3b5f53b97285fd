// SPDX-License-Identifier: Apache-2.0
#include "nodesync/nodefeature.h"

#include <string.h>

#include "kube/field.h"
#include "kube/managedfields.h"
#include "nodesync/node.h"

#define NFD_ANNOTATIONS "nfd.node.kubernetes.io/"

static bool names(const char *list, const char *label)
{
    const size_t wanted = strlen(label);

    while (*list) {
        const size_t length = strcspn(list, ",");

        if (length == wanted && memcmp(list, label, length) == 0)
            return true;
        list += length + (list[length] == ',');
    }
    return false;
}

static json_t *map_of(const json_t *object, const char *key)
{
    return json_object_get(json_object_get(object, "metadata"), key);
}

bool nodefeature_serves(const json_t *node, const char *label)
{
    const char *key;
    json_t *value;

    if (!json_object_get(map_of(node, "labels"), label))
        return false;
    json_object_foreach(map_of(node, "annotations"), key,
                        value) if (str_ends_with(key, NFD_ANNOTATIONS "feature-labels") &&
                                   json_is_string(value) &&
                                   names(json_string_value(value), label)) return true;
    return false;
}

bool nodefeature_was_here(const json_t *node)
{
    const char *key;
    json_t *value;

    json_object_foreach(map_of(node, "annotations"), key,
                        value) if (strstr(key, NFD_ANNOTATIONS)) return true;
    return false;
}

char *nodefeature_trace(const json_t *node)
{
    const char *time = managedfields_time(node, NODEFEATURE_MANAGER), *key;
    cleanup_text struct text trace = TEXT_INIT;
    json_t *value;

    text_addf(&trace, "%s\n", time ? time : "");
    json_object_foreach(map_of(node, "annotations"), key, value)
    {
        if (strstr(key, NFD_ANNOTATIONS) && json_is_string(value))
            text_addf(&trace, "%s=%s\n", key, json_string_value(value));
    }
    return text_take(&trace);
}

bool nodefeature_is_offered(const char *body)
{
    json_t *answer = json_loads(body, 0, NULL);
    const json_t *resource;
    bool is_offered = false;
    size_t i;

    json_array_foreach(json_object_get(answer, "resources"), i, resource)
    {
        is_offered = is_offered || kube_says(resource, "name", "nodefeatures");
    }
    json_decref(answer);
    return is_offered;
}

static json_t *owners(const struct nodefeature_owner *owner)
{
    if (!owner->daemonset || !owner->uid)
        return NULL;
    /* The DaemonSet and not the pod: otherwise each restart would remove the labels. */
    return json_pack("[{s:s,s:s,s:s,s:s}]", "apiVersion", "apps/v1", "kind", "DaemonSet", "name",
                     owner->daemonset, "uid", owner->uid);
}

static json_t *label_map(const struct sync_state *state)
{
    json_t *map = json_object();

    for (size_t i = 0; i < state->n_labels && map; i++) {
        const struct sync_label *label = &state->labels[i];

        if (node_label_fault(label->key, label->value))
            continue; /* reported when the Node's labels were planned */
        if (json_object_set_new(map, label->key, json_string(label->value)) < 0) {
            json_decref(map);
            return NULL;
        }
    }
    return map;
}

char *nodefeature_name(const char *node_name)
{
    cleanup_text struct text name = TEXT_INIT;

    text_addf(&name, "nvidia-features-for-%s", node_name);
    return text_take(&name);
}

json_t *nodefeature_object(const char *node_name, const char *namespace_,
                           const struct nodefeature_owner *owner, const struct sync_state *state)
{
    cleanup_free char *name = nodefeature_name(node_name);

    if (!name)
        return NULL;
    return json_pack("{s:s,s:s,s:{s:s,s:s,s:{s:s},s:o*},s:{s:{s:{},s:{},s:{}},s:o}}", "apiVersion",
                     "nfd.k8s-sigs.io/v1alpha1", "kind", "NodeFeature", "metadata", "name", name,
                     "namespace", namespace_, "labels", "nfd.node.kubernetes.io/node-name",
                     node_name, "ownerReferences", owners(owner), "spec", "features", "attributes",
                     "flags", "instances", "labels", label_map(state));
}

static bool same_at(const json_t *a, const json_t *b, const char *outer, const char *inner)
{
    return json_equal(json_object_get(json_object_get(a, outer), inner),
                      json_object_get(json_object_get(b, outer), inner));
}

bool nodefeature_is_as_wanted(const json_t *current, const json_t *wanted)
{
    return current && same_at(current, wanted, "spec", "labels") &&
           same_at(current, wanted, "metadata", "labels") &&
           (same_at(current, wanted, "metadata", "ownerReferences") ||
            !map_of(wanted, "ownerReferences"));
}

bool nodefeature_is_ours(const json_t *current)
{
    return managedfields_applied(current, NODE_MANAGER, "", &(struct managed_field){{"f:spec"}}) !=
           NULL;
}
