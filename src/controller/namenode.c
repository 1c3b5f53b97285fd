// SPDX-License-Identifier: Apache-2.0
#include "controller/namenode.h"

#include <string.h>

#include "base/text.h"
#include "kube/field.h"
#include "slice/name.h"

const char *namenode_label(const json_t *node, const char *key)
{
    const char *label = kube_label(node, key);

    return label ? label : "";
}

const char *namenode_demand(const json_t *node)
{
    return kube_annotation(node, NAMENODE_DEMAND);
}

bool namenode_pool(const json_t *node, struct namedemand *ret_pool)
{
    const char *text = kube_annotation(node, NAMENODE_POOL);

    return text && namedemand_parse(text, ret_pool, NULL) == 0 && ret_pool->n_items > 0;
}

bool namenode_is_ready(const json_t *node)
{
    return kube_says(kube_condition(node, "Ready"), "status", "True");
}

static json_t *capacity_of(const json_t *node)
{
    return json_object_get(json_object_get(node, "status"), "capacity");
}

json_int_t namenode_capacity(const json_t *node, const char *resource)
{
    const int64_t count = kube_count(json_object_get(capacity_of(node), resource));

    return count > 0 ? count : 0;
}

const char *namenode_find_resource(const json_t *node, const char *prefix)
{
    json_t *capacity = capacity_of(node), *count;
    const char *name;

    json_object_foreach(capacity, name, count)
    {
        if (str_starts_with(name, prefix) && kube_count(count) > 0)
            return name;
    }
    return NULL;
}

/* -- what is kept ------------------------------------------------------------------------------ */

static bool matters(const json_t *node)
{
    return kube_annotation(node, NAMENODE_POOL) || namenode_demand(node) ||
           strstr(namenode_label(node, NAMENODE_PRODUCT), "-MIG-") ||
           namenode_find_resource(node, NAME_MIG);
}

/* That it has annotations at all is kept, too: it decides how one is added. */
static json_t *keep_annotations(const json_t *node)
{
    const json_t *all = json_object_get(kube_metadata(node), "annotations");

    return all ? json_pack("{s:O*,s:O*}", NAMENODE_POOL, json_object_get(all, NAMENODE_POOL),
                           NAMENODE_DEMAND, json_object_get(all, NAMENODE_DEMAND))
               : NULL;
}

static json_t *keep_capacity(const json_t *node)
{
    json_t *kept = json_object(), *capacity = capacity_of(node), *count;
    const char *name;

    json_object_foreach(capacity, name, count)
    {
        if (str_starts_with(name, NAME_DOMAIN))
            json_object_set(kept, name, count);
    }
    return kept;
}

static json_t *keep_conditions(const json_t *node)
{
    return json_pack("[{s:s,s:s}]", "type", "Ready", "status",
                     namenode_is_ready(node) ? "True" : "False");
}

json_t *namenode_reduce(const json_t *node)
{
    const json_t *metadata = kube_metadata(node);
    const json_t *spec = json_object_get(node, "spec");

    if (!matters(node))
        return json_object();
    return json_pack("{s:{s:s,s:O*,s:o*},s:{s:O*,s:O*},s:{s:o,s:o}}", "metadata", "name",
                     kube_name(node), "labels", json_object_get(metadata, "labels"), "annotations",
                     keep_annotations(node), "spec", "taints", json_object_get(spec, "taints"),
                     "unschedulable", json_object_get(spec, "unschedulable"), "status", "capacity",
                     keep_capacity(node), "conditions", keep_conditions(node));
}
