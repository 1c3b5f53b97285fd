// SPDX-License-Identifier: Apache-2.0
#include "controller/nodeview.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/array.h"
#include "karpenter/nodekeys.h"
#include "kube/field.h"
#include "kube/jsonpatch.h"
#include "slice/namedemand.h"

#define AGENT_CONDITION "GPUSlicesReady"

/* -- parts of the object ----------------------------------------------------------------------- */

static const json_t *claim_of(const json_t *node)
{
    const json_t *owner;
    size_t i;

    json_array_foreach(json_object_get(kube_metadata(node), "ownerReferences"), i, owner)
    {
        if (kube_says(owner, "kind", "NodeClaim"))
            return owner;
    }
    return NULL;
}

static bool is_startup_taint(const json_t *taint)
{
    return kube_says(taint, "key", SLICEPROFILE_STARTUP_TAINT);
}

static bool has_startup_taint(const json_t *taints)
{
    for (size_t i = 0; i < json_array_size(taints); i++)
        if (is_startup_taint(json_array_get(taints, i)))
            return true;
    return false;
}

/* -- reading ----------------------------------------------------------------------------------- */

static const struct {
    enum nodeview_text text;
    const char *map, *key; /* of metadata */
} entries[] = {
    {NODEVIEW_PROFILE, "labels", SLICEPROFILE_LABEL},
    {NODEVIEW_HASH, "labels", SLICEPROFILE_HASH_LABEL},
    {NODEVIEW_TYPE, "labels", "node.kubernetes.io/instance-type"},
    {NODEVIEW_POOL, "labels", "karpenter.sh/nodepool"},
    {NODEVIEW_CAPACITY, "labels", "karpenter.sh/capacity-type"},
    {NODEVIEW_PROMISE, "annotations", SLICEPROFILE_PROMISE},
};

static void find_texts(const json_t *node, const char *found[NODEVIEW_TEXTS])
{
    const json_t *condition = kube_condition(node, AGENT_CONDITION), *claim = claim_of(node);

    for (size_t i = 0; i < ARRAY_SIZE(entries); i++)
        found[entries[i].text] =
            kube_text(json_object_get(kube_metadata(node), entries[i].map), entries[i].key);
    found[NODEVIEW_NAME] = kube_text(kube_metadata(node), "name");
    found[NODEVIEW_CLAIM] = kube_text(claim, "name");
    found[NODEVIEW_CLAIM_UID] = kube_text(claim, "uid");
    found[NODEVIEW_REASON] = kube_text(condition, "reason");
    found[NODEVIEW_MESSAGE] = kube_text(condition, "message");
}

static int copy_texts(const json_t *node, struct nodeview *view)
{
    const char *found[NODEVIEW_TEXTS] = {NULL};

    find_texts(node, found);
    for (size_t i = 0; i < NODEVIEW_TEXTS; i++) {
        view->texts[i] = strdup(found[i]);
        if (!view->texts[i])
            return -ENOMEM;
    }
    return 0;
}

static enum nodeview_agent agent_of(const json_t *node)
{
    const json_t *condition = kube_condition(node, AGENT_CONDITION);

    if (!condition)
        return NODEVIEW_SILENT;
    return kube_says(condition, "status", "True") ? NODEVIEW_READY : NODEVIEW_NOT_READY;
}

/* What cannot be read is not known. */
static int read_configured(const char *text, struct nodeview *view)
{
    struct namedemand counts;

    if (!text || namedemand_parse(text, &counts, NULL) < 0)
        return 0;
    view->is_configured_known = true;
    for (size_t i = 0; i < counts.n_items; i++)
        if (amounts_set(&view->configured, counts.items[i].name, counts.items[i].count) < 0)
            return -ENOMEM;
    return 0;
}

/* "true", or for how long. */
static bool is_kept(const json_t *node)
{
    const char *kept = kube_annotation(node, "karpenter.sh/do-not-disrupt");

    return kept && !str_equal(kept, "false");
}

static int read_node(const json_t *node, struct nodeview *view)
{
    json_t *taints = json_object_get(json_object_get(node, "spec"), "taints");
    int r = copy_texts(node, view);

    view->created_s = kube_time(kube_metadata(node), "creationTimestamp");
    view->is_ready = kube_says(kube_condition(node, "Ready"), "status", "True");
    view->is_going = *kube_text(kube_metadata(node), "deletionTimestamp");
    view->is_kept = is_kept(node);
    view->agent = agent_of(node);
    view->is_closed = has_startup_taint(taints);
    if (view->is_closed)
        view->taints = json_incref(taints);
    if (r == 0)
        r = read_configured(kube_annotation(node, SLICEPROFILE_ADVERTISES), view);
    if (r == 0)
        r = amounts_read(json_object_get(json_object_get(node, "status"), "allocatable"),
                         &view->allocatable);
    return r;
}

struct nodeview *nodeview_new(const json_t *node)
{
    struct nodeview *view = calloc(1, sizeof(*view));

    if (view && read_node(node, view) < 0) {
        nodeview_free(view);
        return NULL;
    }
    return view;
}

bool nodeview_equal(const struct nodeview *a, const struct nodeview *b)
{
    for (size_t i = 0; i < NODEVIEW_TEXTS; i++)
        if (!str_equal(a->texts[i], b->texts[i]))
            return false;
    return a->created_s == b->created_s && a->is_ready == b->is_ready &&
           a->is_going == b->is_going && a->is_closed == b->is_closed && a->is_kept == b->is_kept &&
           a->agent == b->agent && a->is_configured_known == b->is_configured_known &&
           amounts_equal(&a->configured, &b->configured) &&
           amounts_equal(&a->allocatable, &b->allocatable) &&
           (!a->taints || json_equal(a->taints, b->taints));
}

void nodeview_free(struct nodeview *view)
{
    if (!view)
        return;
    for (size_t i = 0; i < NODEVIEW_TEXTS; i++)
        free(view->texts[i]);
    amounts_deinit(&view->configured);
    amounts_deinit(&view->allocatable);
    json_decref(view->taints);
    free(view);
}

/* -- opening ----------------------------------------------------------------------------------- */

json_t *nodeview_open_patch(const struct nodeview *view)
{
    json_t *left = view->is_closed ? json_array() : NULL;
    json_t *operations = left ? json_array() : NULL, *taint;
    bool is_whole = operations != NULL;
    size_t i;

    json_array_foreach(view->taints, i, taint)
    {
        if (!is_startup_taint(taint))
            is_whole = json_array_append(left, taint) == 0 && is_whole;
    }
    if (is_whole)
        is_whole = jsonpatch_change(operations, "/spec/taints", view->taints,
                                    json_array_size(left) ? json_incref(left) : NULL) == 0;
    json_decref(left);
    if (is_whole)
        return operations;
    json_decref(operations);
    return NULL;
}
