// SPDX-License-Identifier: Apache-2.0
#include "controller/nodeview.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/array.h"
#include "karpenter/nodekeys.h"
#include "kube/jsonpatch.h"
#include "slice/namedemand.h"

#define AGENT_CONDITION "GPUSlicesReady"

/* -- parts of the object ----------------------------------------------------------------------- */

static const json_t *metadata_of(const json_t *node)
{
    return json_object_get(node, "metadata");
}

static const char *text_at(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static bool has_text(const json_t *object, const char *key, const char *text)
{
    const char *found = text_at(object, key);

    return found && str_equal(found, text);
}

static const json_t *condition_of(const json_t *node, const char *type)
{
    const json_t *condition;
    size_t i;

    json_array_foreach(json_object_get(json_object_get(node, "status"), "conditions"), i, condition)
    {
        if (has_text(condition, "type", type))
            return condition;
    }
    return NULL;
}

static const json_t *claim_of(const json_t *node)
{
    const json_t *owner;
    size_t i;

    json_array_foreach(json_object_get(metadata_of(node), "ownerReferences"), i, owner)
    {
        if (has_text(owner, "kind", "NodeClaim"))
            return owner;
    }
    return NULL;
}

static bool is_startup_taint(const json_t *taint)
{
    return has_text(taint, "key", SLICEPROFILE_STARTUP_TAINT);
}

static bool has_startup_taint(const json_t *taints)
{
    for (size_t i = 0; i < json_array_size(taints); i++)
        if (is_startup_taint(json_array_get(taints, i)))
            return true;
    return false;
}

static int64_t time_of(const char *text)
{
    struct tm when = {.tm_isdst = 0};
    const char *end = text ? strptime(text, "%Y-%m-%dT%H:%M:%SZ", &when) : NULL;

    return end && !*end ? (int64_t)timegm(&when) : 0;
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
    const json_t *condition = condition_of(node, AGENT_CONDITION), *claim = claim_of(node);

    for (size_t i = 0; i < ARRAY_SIZE(entries); i++)
        found[entries[i].text] =
            text_at(json_object_get(metadata_of(node), entries[i].map), entries[i].key);
    found[NODEVIEW_NAME] = text_at(metadata_of(node), "name");
    found[NODEVIEW_CLAIM] = text_at(claim, "name");
    found[NODEVIEW_CLAIM_UID] = text_at(claim, "uid");
    found[NODEVIEW_REASON] = text_at(condition, "reason");
    found[NODEVIEW_MESSAGE] = text_at(condition, "message");
}

static int copy_texts(const json_t *node, struct nodeview *view)
{
    const char *found[NODEVIEW_TEXTS] = {NULL};

    find_texts(node, found);
    for (size_t i = 0; i < NODEVIEW_TEXTS; i++) {
        view->texts[i] = strdup(found[i] ? found[i] : "");
        if (!view->texts[i])
            return -ENOMEM;
    }
    return 0;
}

static enum nodeview_agent agent_of(const json_t *node)
{
    const json_t *condition = condition_of(node, AGENT_CONDITION);

    if (!condition)
        return NODEVIEW_SILENT;
    return has_text(condition, "status", "True") ? NODEVIEW_READY : NODEVIEW_NOT_READY;
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
static bool is_kept(const json_t *annotations)
{
    const char *kept = text_at(annotations, "karpenter.sh/do-not-disrupt");

    return kept && !str_equal(kept, "false");
}

static int read_node(const json_t *node, struct nodeview *view)
{
    const json_t *annotations = json_object_get(metadata_of(node), "annotations");
    json_t *taints = json_object_get(json_object_get(node, "spec"), "taints");
    int r = copy_texts(node, view);

    view->created_s = time_of(text_at(metadata_of(node), "creationTimestamp"));
    view->is_ready = has_text(condition_of(node, "Ready"), "status", "True");
    view->is_going = text_at(metadata_of(node), "deletionTimestamp") != NULL;
    view->is_kept = is_kept(annotations);
    view->agent = agent_of(node);
    view->is_closed = has_startup_taint(taints);
    if (view->is_closed)
        view->taints = json_incref(taints);
    if (r == 0)
        r = read_configured(text_at(annotations, SLICEPROFILE_ADVERTISES), view);
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
