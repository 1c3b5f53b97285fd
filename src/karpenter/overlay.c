// SPDX-License-Identifier: Apache-2.0
#include "karpenter/overlay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "karpenter/nodepool.h"
#include "karpenter/requirement.h"

/* ---- Ours ---- */

static json_t *capacity_of(const struct promise *promise)
{
    json_t *capacity = json_object();

    for (size_t i = 0; i < promise->n_resources; i++) {
        char count[24];

        snprintf(count, sizeof(count), "%zu", promise->resources[i].count);
        json_object_set_new(capacity, promise->resources[i].name, json_string(count));
    }
    return capacity;
}

/* Sets that promise as many slices in all differ by how many of them there were before. */
static void name_overlay(const struct sliceprofile *profile, const struct promise *promise,
                         unsigned same, char *buffer, size_t size)
{
    char hash[SLICEPROFILE_HASH];

    sliceprofile_hash(profile, hash);
    if (same == 0)
        snprintf(buffer, size, "%s-%s-%zu", profile->name, hash, promise->n_slices);
    else
        snprintf(buffer, size, "%s-%s-%zu-%u", profile->name, hash, promise->n_slices, same + 1);
}

static json_t *make_overlay(const struct sliceprofile *profile, const struct promise *promise,
                            const char *name, json_t *types)
{
    char hash[SLICEPROFILE_HASH];

    sliceprofile_hash(profile, hash);
    return json_pack(
        "{s:s, s:s, s:{s:s, s:{s:s}}, s:{s:i, s:[o, o, o], s:o}}", "apiVersion",
        "karpenter.sh/v1alpha1", "kind", "NodeOverlay", "metadata", "name", name, "labels",
        SLICEPROFILE_LABEL, profile->name, "spec", "weight", OVERLAY_WEIGHT, "requirements",
        nodepool_requirement(SLICEPROFILE_LABEL, json_pack("[s]", profile->name)),
        nodepool_requirement(SLICEPROFILE_HASH_LABEL, json_pack("[s]", hash)),
        nodepool_requirement(NODEPOOL_INSTANCE_TYPE, types), "capacity", capacity_of(promise));
}

int overlay_make(const struct sliceprofile *profile, const struct promises *promises,
                 struct documents *documents)
{
    cleanup_free size_t *totals = calloc(promises->n_items + 1, sizeof(*totals));
    size_t n_totals = 0;
    int r = totals ? 0 : -ENOMEM;

    for (size_t i = 0; i < promises->n_items && r == 0; i++) {
        const struct promise *promise = &promises->items[i];
        json_t *types = promises_like(promises, i);
        char name[SLICEPROFILE_NAME + 64];
        unsigned same = 0;

        if (!types)
            continue;
        for (size_t k = 0; k < n_totals; k++)
            same += totals[k] == promise->n_slices;
        totals[n_totals++] = promise->n_slices;
        name_overlay(profile, promise, same, name, sizeof(name));
        r = documents_add(documents, make_overlay(profile, promise, name, types));
    }
    return r;
}

/* ---- Everybody's ---- */

int overlay_read(const json_t *object, struct overlay *ret_overlay, struct error *err)
{
    const json_t *spec = json_object_get(object, "spec");
    const char *name =
        json_string_value(json_object_get(json_object_get(object, "metadata"), "name"));
    json_int_t weight = json_integer_value(json_object_get(spec, "weight"));

    if (!name || !json_is_object(spec))
        return error_set(err, -EINVAL, "a NodeOverlay has no name or no spec");
    if (weight < 0 || weight > 10000)
        return error_set(err, -EINVAL, "the NodeOverlay %s has the weight %lld, not 0 to 10000",
                         name, (long long)weight);
    *ret_overlay = (struct overlay){.name = name,
                                    .weight = (unsigned)weight,
                                    .requirements = json_object_get(spec, "requirements"),
                                    .capacity = json_object_get(spec, "capacity")};
    return 0;
}

/* The order in which Karpenter applies them. */
static int compare_overlays(const void *a_p, const void *b_p)
{
    const struct overlay *const *a = a_p, *const *b = b_p;

    if ((*a)->weight != (*b)->weight)
        return (*a)->weight > (*b)->weight ? -1 : 1;
    return strcmp((*b)->name, (*a)->name);
}

/* A resource that both set, or NULL. */
static const char *common_resource(const struct overlay *a, const struct overlay *b)
{
    const char *name;
    json_t *amount;

    json_object_foreach((json_t *)a->capacity, name, amount)
    {
        if (json_object_get(b->capacity, name))
            return name;
    }
    return NULL;
}

/*
 * Whether Karpenter rejects `overlay` after those that it applied. It sees a clash with the last of
 * them alone; with one before that it ignores the resource and says nothing.
 */
static bool is_rejected(const struct overlay *const *applied, size_t n_applied,
                        const struct overlay *overlay, struct problems *problems)
{
    for (size_t k = n_applied; k > 0 && applied[k - 1]->weight == overlay->weight; k--) {
        const char *resource = common_resource(applied[k - 1], overlay);
        bool is_seen = k == n_applied;

        if (!resource)
            continue;
        problem_add(problems, PROBLEM_ERROR, (struct position){0, 0}, overlay->name,
                    "the NodeOverlays %s and %s have the weight %u, and both set %s of one "
                    "instance type: Karpenter %s; give them different weights",
                    applied[k - 1]->name, overlay->name, overlay->weight, resource,
                    is_seen ? "rejects the second as a whole"
                            : "ignores what the second sets, without a word");
        return is_seen;
    }
    return false;
}

static size_t select_matching(const struct overlay *overlays, size_t n, const json_t *labels,
                              const struct overlay **matching)
{
    size_t n_matching = 0;

    for (size_t i = 0; i < n; i++)
        if (json_object_size(overlays[i].capacity) &&
            requirements_are_met(overlays[i].requirements, labels))
            matching[n_matching++] = &overlays[i];
    if (n_matching)
        qsort(matching, n_matching, sizeof(const struct overlay *), compare_overlays);
    return n_matching;
}

static void apply(const struct overlay *overlay, json_t *amounts, json_t *owners)
{
    const char *name;
    json_t *amount;

    json_object_foreach((json_t *)overlay->capacity, name, amount)
    {
        if (json_object_get(amounts, name))
            continue;
        json_object_set(amounts, name, amount);
        json_object_set_new(owners, name, json_string(overlay->name));
    }
}

int overlay_evaluate(const struct overlay *overlays, size_t n_overlays, const json_t *labels,
                     struct problems *problems, json_t **ret_amounts, json_t **ret_owners)
{
    cleanup_free const struct overlay **sorted = calloc(n_overlays + 1, sizeof(*sorted));
    size_t n, n_applied = 0;

    if (!sorted)
        return -ENOMEM;
    *ret_amounts = json_object();
    *ret_owners = json_object();
    n = select_matching(overlays, n_overlays, labels, sorted);
    for (size_t i = 0; i < n; i++) {
        const struct overlay *overlay = sorted[i];

        if (is_rejected(sorted, n_applied, overlay, problems))
            continue;
        sorted[n_applied++] = overlay;
        apply(overlay, *ret_amounts, *ret_owners);
    }
    return 0;
}
