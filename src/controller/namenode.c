// SPDX-License-Identifier: Apache-2.0
#include "controller/namenode.h"

#include <string.h>

#include "base/text.h"
#include "controller/nodefit.h"
#include "controller/quantity.h"
#include "slice/name.h"

const char *namenode_name(const json_t *node)
{
    const char *name =
        json_string_value(json_object_get(json_object_get(node, "metadata"), "name"));

    return name ? name : "";
}

const char *namenode_label(const json_t *node, const char *key)
{
    const char *label = nodefit_meta(node, "labels", key);

    return label ? label : "";
}

const char *namenode_demand(const json_t *node)
{
    return nodefit_meta(node, "annotations", NAMENODE_DEMAND);
}

bool namenode_pool(const json_t *node, struct namedemand *ret_pool)
{
    const char *text = nodefit_meta(node, "annotations", NAMENODE_POOL);

    return text && namedemand_parse(text, ret_pool, NULL) == 0 && ret_pool->n_items > 0;
}

bool namenode_is_ready(const json_t *node)
{
    const json_t *conditions = json_object_get(json_object_get(node, "status"), "conditions");

    for (size_t i = 0; i < json_array_size(conditions); i++) {
        const json_t *one = json_array_get(conditions, i);
        const char *type = json_string_value(json_object_get(one, "type"));
        const char *status = json_string_value(json_object_get(one, "status"));

        if (type && status && str_equal(type, "Ready"))
            return str_equal(status, "True");
    }
    return false;
}

static json_t *capacity_of(const json_t *node)
{
    return json_object_get(json_object_get(node, "status"), "capacity");
}

json_int_t namenode_capacity(const json_t *node, const char *resource)
{
    return quantity_read(json_string_value(json_object_get(capacity_of(node), resource)));
}

const char *namenode_find_resource(const json_t *node, const char *prefix)
{
    json_t *capacity = capacity_of(node), *count;
    const char *name;

    json_object_foreach(capacity, name, count)
    {
        if (str_starts_with(name, prefix) && quantity_read(json_string_value(count)) > 0)
            return name;
    }
    return NULL;
}

/* -- what is kept ------------------------------------------------------------------------------ */

static bool matters(const json_t *node)
{
    return nodefit_meta(node, "annotations", NAMENODE_POOL) || namenode_demand(node) ||
           strstr(namenode_label(node, NAMENODE_PRODUCT), "-MIG-") ||
           namenode_find_resource(node, NAME_MIG);
}

/* That it has annotations at all is kept, too: it decides how one is added. */
static json_t *keep_annotations(const json_t *node)
{
    const json_t *all = json_object_get(json_object_get(node, "metadata"), "annotations");

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
    const json_t *metadata = json_object_get(node, "metadata");
    const json_t *spec = json_object_get(node, "spec");

    if (!matters(node))
        return json_object();
    return json_pack("{s:{s:s,s:O*,s:o*},s:{s:O*,s:O*},s:{s:o,s:o}}", "metadata", "name",
                     namenode_name(node), "labels", json_object_get(metadata, "labels"),
                     "annotations", keep_annotations(node), "spec", "taints",
                     json_object_get(spec, "taints"), "unschedulable",
                     json_object_get(spec, "unschedulable"), "status", "capacity",
                     keep_capacity(node), "conditions", keep_conditions(node));
}
