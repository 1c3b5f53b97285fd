// SPDX-License-Identifier: Apache-2.0
#include "nodesync/labels.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "base/kubename.h"
#include "kube/field.h"
#include "kube/managedfields.h"
#include "nodesync/node.h"
#include "nodesync/nodefeature.h"

static const struct managed_field labels_field = {{"f:metadata", "f:labels"}};

static int note(char ***notes, size_t *n, size_t *capacity, char *text)
{
    char **place = text ? array_push(notes, n, capacity, sizeof(*place)) : NULL;

    if (!place) {
        free(text);
        return -ENOMEM;
    }
    *place = text;
    return 0;
}

static int note_held(struct labels_plan *plan, const char *key, const char *manager)
{
    char *text = NULL;

    if (asprintf(&text, "%s (%s)", key, manager) < 0)
        text = NULL;
    return note(&plan->held, &plan->n_held, &plan->held_capacity, text);
}

static int note_refused(struct labels_plan *plan, const struct sync_label *label, const char *fault)
{
    char *text = NULL;

    if (asprintf(&text, "the label %.320s=%.128s is not set: %s", label->key, label->value, fault) <
        0)
        text = NULL;
    return note(&plan->refused, &plan->n_refused, &plan->refused_capacity, text);
}

static const char *other_holder(const json_t *node, const char *key, const char *besides)
{
    cleanup_free char *step = NULL;

    if (asprintf(&step, "f:%s", key) < 0) {
        step = NULL;
        return NULL;
    }
    return managedfields_other(node, &(struct managed_field){{"f:metadata", "f:labels", step}},
                               (const char *[]){NODE_MANAGER, besides, NULL});
}

/* True if the label is as a silent NFD left it, owned by nobody else. */
static bool is_left(const json_t *node, const json_t *nfd_left, const char *key, const char *live)
{
    const char *left = json_string_value(json_object_get(nfd_left, key));

    return left && str_equal(left, live) && !other_holder(node, key, NODEFEATURE_MANAGER);
}

/* Adds it to `apply`, unless somebody else owns it. */
static int want(const json_t *node, const struct labels_known *known,
                const struct sync_label *label, json_t *apply, struct labels_plan *plan)
{
    const char *fault = node_label_fault(label->key, label->value);
    const char *live = kube_label(node, label->key);
    const char *refused_by = json_string_value(json_object_get(known->yielded, label->key));
    const char *other = refused_by ? refused_by : other_holder(node, label->key, NULL);

    if (fault)
        return note_refused(plan, label, fault);
    if (live && other && !str_equal(live, label->value)) {
        if (!str_equal(other, NODEFEATURE_MANAGER) ||
            !is_left(node, known->nfd_left, label->key, live))
            return note_held(plan, label->key, other);
        plan->force = true;
    }
    return json_object_set_new(apply, label->key, json_string(label->value)) < 0 ? -ENOMEM : 0;
}

/* Of the labels that NFD sets for us: those it takes from another source. */
static int note_lost(const json_t *handed_over, const struct labels_known *known,
                     struct labels_plan *plan)
{
    const char *key;
    json_t *ignored;

    json_object_foreach((json_t *)(uintptr_t)handed_over, key, ignored)
    {
        if (json_object_get(known->nfd_lost, key) &&
            note_held(plan, key, "another NodeFeature") < 0)
            return -ENOMEM;
    }
    return 0;
}

static int want_all(const json_t *node, const struct labels_known *known,
                    const struct sync_state *state, json_t *apply, json_t *handed_over,
                    struct labels_plan *plan)
{
    const bool nfd = state->labels_by == SYNC_LABELS_AUTO && !known->nfd_left;
    int r = 0;

    for (size_t i = 0; i < state->n_labels && state->labels_by != SYNC_LABELS_NONE; i++) {
        const struct sync_label *label = &state->labels[i];

        if (nfd && nodefeature_serves(node, label->key))
            r = json_object_set_new(handed_over, label->key, json_null());
        else
            r = want(node, known, label, apply, plan);
        if (r < 0)
            return -ENOMEM;
    }
    for (size_t i = 0; i < state->n_extra_labels; i++) {
        json_object_del(handed_over, state->extra_labels[i].key);
        if (want(node, known, &state->extra_labels[i], apply, plan) < 0)
            return -ENOMEM;
    }
    return note_lost(handed_over, known, plan);
}

/* True if we own exactly these and they are set. "f:" precedes each key of `ours`. */
static bool is_applied(const json_t *node, const json_t *ours, json_t *apply)
{
    size_t n_ours = 0;
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)ours, key, value) n_ours += str_starts_with(key, "f:");
    if (n_ours != json_object_size(apply))
        return false;
    json_object_foreach(apply, key, value)
    {
        const char *live = kube_label(node, key);
        char step[512];

        if (!live || !str_equal(live, json_string_value(value)) ||
            snprintf(step, sizeof(step), "f:%s", key) >= (int)sizeof(step) ||
            !json_object_get(ours, step))
            return false;
    }
    return true;
}

/* Those of `handed_over` that we own: applying without them would delete them, since NFD does not
 * write a value that is already set and so does not become an owner. */
static int plan_release(const json_t *node, const json_t *ours, json_t *handed_over,
                        struct labels_plan *plan)
{
    json_t *leaves = json_object();
    const char *key;
    json_t *ignored;
    int r = leaves ? 0 : -ENOMEM;

    json_object_foreach(handed_over, key, ignored)
    {
        char step[512];

        snprintf(step, sizeof(step), "f:%s", key);
        if (r == 0 && json_object_get(ours, step))
            r = json_object_set_new(leaves, step, json_null());
    }
    if (r == 0 && json_object_size(leaves)) {
        plan->release = managedfields_release(node, NODE_MANAGER, &labels_field, leaves);
        r = plan->release ? 0 : -ENOMEM;
    }
    json_decref(leaves);
    return r;
}

/* Force applies to the state that was seen: it loses to anyone who changes the Node in between. */
static json_t *apply_object(const json_t *node, const char *node_name, bool force, json_t *labels)
{
    const json_t *metadata = json_object_get(node, "metadata");
    json_t *version = force ? json_object_get(metadata, "resourceVersion") : NULL;

    return json_pack("{s:s,s:s,s:{s:s,s:s*,s:O*,s:O}}", "apiVersion", "v1", "kind", "Node",
                     "metadata", "name", node_name, "uid", node_uid(node), "resourceVersion",
                     version, "labels", labels);
}

static int fill_plan(const json_t *node, const struct labels_known *known, const char *node_name,
                     const struct sync_state *state, json_t *apply, json_t *handed_over,
                     struct labels_plan *plan)
{
    const json_t *ours = managedfields_applied(node, NODE_MANAGER, "", &labels_field);

    if (!apply || !handed_over || want_all(node, known, state, apply, handed_over, plan) < 0 ||
        plan_release(node, ours, handed_over, plan) < 0)
        return -ENOMEM;
    if (is_applied(node, ours, apply))
        return 0;
    plan->object = apply_object(node, node_name, plan->force, apply);
    return plan->object ? 0 : -ENOMEM;
}

int labels_make_plan(const json_t *node, const char *node_name, const struct sync_state *state,
                     const struct labels_known *known, struct labels_plan *ret_plan)
{
    json_t *apply = json_object(), *handed_over = json_object();
    struct labels_plan plan = {.object = NULL};
    int r = fill_plan(node, known, node_name, state, apply, handed_over, &plan);

    json_decref(apply);
    json_decref(handed_over);
    if (r < 0)
        labels_plan_deinit(&plan);
    else
        *ret_plan = plan;
    return r;
}

static void free_notes(char ***notes, size_t *n)
{
    for (size_t i = 0; i < *n; i++)
        free((*notes)[i]);
    free(TAKE_PTR(*notes));
    *n = 0;
}

void labels_plan_deinit(struct labels_plan *plan)
{
    json_decref(TAKE_PTR(plan->object));
    json_decref(TAKE_PTR(plan->release));
    free_notes(&plan->held, &plan->n_held);
    free_notes(&plan->refused, &plan->n_refused);
}
