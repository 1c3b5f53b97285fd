// SPDX-License-Identifier: Apache-2.0
#include "karpenter/nodeclass.h"

#include "base/text.h"
#include "karpenter/nodepool.h"

/* "" = it has no such text. */
static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

const char *nodeclass_of(const json_t *pool)
{
    const json_t *template = json_object_get(json_object_get(pool, "spec"), "template");
    const json_t *ref = json_object_get(json_object_get(template, "spec"), "nodeClassRef");

    return str_equal(text_of(ref, "group"), NODEPOOL_CLASS_GROUP) ? text_of(ref, "name") : "";
}

const char *nodeclass_dra_shares(const json_t *node_class)
{
    const json_t *metadata = json_object_get(node_class, "metadata");
    const char *shares = text_of(json_object_get(metadata, "annotations"), NODECLASS_DRA_SHARES);

    return str_equal(shares, "disabled") ? "" : shares;
}

void nodeclass_add_problem(const char *node_class, const char *shares, const char *pool,
                           const char *profile, struct problems *problems)
{
    cleanup_text struct text about = TEXT_INIT;

    text_addf(&about, NODEPOOL_CLASS_KIND " %s", node_class);
    problem_add(
        problems, PROBLEM_ERROR, (struct position){0, 0}, text_string(&about),
        "Karpenter promises the GPUs of the NodePool %s twice: by the NodeOverlays of the "
        "profile %s, and to pods with ResourceClaims by the annotation " NODECLASS_DRA_SHARES
        "=%s; remove it, or give sliced nodes a class of their own",
        pool, profile, shares);
}
