// SPDX-License-Identifier: Apache-2.0
#include "controller/overlayplan.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "controller/owned.h"
#include "karpenter/document.h"
#include "karpenter/overlay.h"
#include "kube/field.h"

static const char *const compared[] = {"requirements", "capacity", "weight"};

/* What others added to ours (a price) stays. */
static bool is_as_wanted(const json_t *object, const json_t *wanted)
{
    const json_t *spec = json_object_get(object, "spec"),
                 *wanted_spec = json_object_get(wanted, "spec");

    for (size_t i = 0; i < ARRAY_SIZE(compared); i++)
        if (!owned_has(json_object_get(spec, compared[i]),
                       json_object_get(wanted_spec, compared[i])))
            return false;
    return true;
}

/* An array of objects; NULL without memory. */
static json_t *wanted_overlays(const struct sliceprofile *profile, const struct promises *promises)
{
    cleanup_documents struct documents documents = DOCUMENTS_INIT;
    json_t *wanted = json_array();
    char hash[SLICEPROFILE_HASH];

    sliceprofile_hash(profile, hash);
    if (overlay_make(profile, promises, &documents) < 0) {
        json_decref(wanted);
        return NULL;
    }
    for (size_t i = 0; i < documents.n_items; i++) {
        json_t *tree = documents.items[i].tree;

        owned_claim(tree, profile->name);
        json_object_set_new(json_object_get(json_object_get(tree, "metadata"), "labels"),
                            SLICEPROFILE_HASH_LABEL, json_string(hash));
        json_array_append(wanted, tree);
    }
    return wanted;
}

/* -- what Karpenter says ----------------------------------------------------------------------- */

static bool is_silent(const struct planview *view, const json_t *object)
{
    const int64_t since = kube_time(kube_metadata(object), "creationTimestamp");

    return since && view->now - since >= OVERLAYPLAN_SILENCE_S;
}

static enum overlayplan_state state_of(const struct planview *view, const json_t *object,
                                       const char **ret_message)
{
    const json_t *ready = kube_condition(object, "Ready"),
                 *valid = kube_condition(object, "ValidationSucceeded");
    const json_t *bad = kube_says(valid, "status", "False")   ? valid
                        : kube_says(ready, "status", "False") ? ready
                                                              : NULL;

    if (bad) {
        *ret_message = json_string_value(json_object_get(bad, "message"));
        return OVERLAYPLAN_REJECTED;
    }
    if (kube_says(ready, "status", "True"))
        return OVERLAYPLAN_HEEDED;
    return !ready && !valid && is_silent(view, object) ? OVERLAYPLAN_SILENT : OVERLAYPLAN_WAITS;
}

/* The worst counts. */
static void report(struct overlayplan *plan, enum overlayplan_state state, const char *name,
                   const char *message)
{
    if (state <= plan->state)
        return;
    plan->state = state;
    plan->message = message;
    snprintf(plan->name, sizeof(plan->name), "%s", name);
}

/* -- what is to be written --------------------------------------------------------------------- */

static int want(const struct planview *view, const char *profile, json_t *wanted,
                struct overlayplan *plan)
{
    const char *name = kube_name(wanted), *message = NULL;
    const json_t *object = owned_find(view->overlays, name);
    bool is_ours = object && owned_is_ours(object, profile);

    plan->n_overlays += is_ours;
    if (object && is_as_wanted(object, wanted)) {
        enum overlayplan_state state = state_of(view, object, &message);

        report(plan, state, name, message);
        return 0;
    }
    if (object && !is_ours) {
        report(plan, OVERLAYPLAN_TAKEN, name, NULL);
        return 0;
    }
    report(plan, OVERLAYPLAN_CHANGES, name, NULL);
    if (plan->change.verb != CHANGE_NOTHING)
        return 0;
    return change_apply(&plan->change, CHANGE_OVERLAYS, json_incref(wanted),
                        object ? KUBE_FORCE : KUBE_YIELD);
}

static bool is_in_a_template(const json_t *pools, const char *profile, const char *hash)
{
    for (size_t i = 0; i < json_array_size(pools); i++) {
        const json_t *template =
            json_object_get(json_object_get(json_array_get(pools, i), "spec"), "template");

        if (str_equal(owned_label(template, SLICEPROFILE_LABEL), profile) &&
            str_equal(owned_label(template, SLICEPROFILE_HASH_LABEL), hash))
            return true;
    }
    return false;
}

/* While nodes of another hash are being replaced. */
static bool is_still_needed(const struct planview *view, const struct sliceprofile *profile,
                            const char *hash)
{
    char current[SLICEPROFILE_HASH];

    sliceprofile_hash(profile, current);
    return !str_equal(hash, current) &&
           (view->fleet->failed || fleet_count(view->fleet, NULL, profile->name, hash) > 0 ||
            is_in_a_template(view->pools, profile->name, hash));
}

static void end_old(const struct planview *view, const struct sliceprofile *profile,
                    const json_t *wanted, struct overlayplan *plan)
{
    for (size_t i = 0; i < json_array_size(view->overlays); i++) {
        json_t *object = json_array_get(view->overlays, i);
        bool is_wanted = owned_find(wanted, kube_name(object)) != NULL;

        if (!is_wanted && owned_is_ours(object, profile->name)) {
            plan->n_overlays++;
            if (!is_still_needed(view, profile, owned_label(object, SLICEPROFILE_HASH_LABEL)) &&
                plan->change.verb == CHANGE_NOTHING)
                change_delete(&plan->change, CHANGE_OVERLAYS, object);
        }
        if (!is_wanted)
            json_array_append(plan->all, object);
    }
}

int overlayplan_make(const struct planview *view, const struct sliceprofile *profile,
                     const struct promises *promises, struct overlayplan *ret_plan)
{
    struct overlayplan plan = {.state = OVERLAYPLAN_HEEDED, .change = CHANGE_INIT};
    json_t *wanted = wanted_overlays(profile, promises);
    int r = wanted ? 0 : -ENOMEM;

    plan.all = json_array();
    for (size_t i = 0; i < json_array_size(wanted) && r == 0; i++) {
        json_t *one = json_array_get(wanted, i);

        json_array_append(plan.all, one);
        r = want(view, profile->name, one, &plan);
    }
    end_old(view, profile, wanted, &plan);
    json_decref(wanted);
    if (r == 0)
        *ret_plan = plan;
    else
        overlayplan_deinit(&plan);
    return r;
}

size_t overlayplan_leave(const struct planview *view, const char *profile,
                         struct change *ret_change)
{
    size_t n = 0;

    for (size_t i = 0; i < json_array_size(view->overlays); i++) {
        const json_t *object = json_array_get(view->overlays, i);

        if (!owned_is_ours(object, profile))
            continue;
        if (n++ == 0)
            change_delete(ret_change, CHANGE_OVERLAYS, object);
    }
    return n;
}

void overlayplan_deinit(struct overlayplan *plan)
{
    change_deinit(&plan->change);
    json_decref(plan->all);
    plan->all = NULL;
}
