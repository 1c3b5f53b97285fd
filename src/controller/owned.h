// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Objects of the cluster as the plans for Karpenter see them, and which of them are ours: those
 * that name a profile and us as their manager. What `gpuslice render` printed names a profile too,
 * but the person who applied it is its manager.
 */

#include <jansson.h>
#include <stdbool.h>

#define OWNED_MANAGED_LABEL "app.kubernetes.io/managed-by"
#define OWNED_MANAGER       "gpuslice-controller"
#define OWNED_POOL_LABEL    "karpenter.sh/nodepool"

/* Each "" if it is not there. Borrowed. */
const char *owned_label(const json_t *object, const char *key);
const char *owned_annotation(const json_t *object, const char *key);

/* Made by us, for this profile (NULL = any). */
bool owned_is_ours(const json_t *object, const char *profile);

/* Makes it so. */
void owned_claim(json_t *object, const char *profile);

/* In an array of objects; NULL = it has none of this name. */
json_t *owned_find(const json_t *objects, const char *name);

/* Whether `all` has everything that `part` has: members of objects by themselves, anything else by
 * being equal. */
bool owned_has(const json_t *all, const json_t *part);
