// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The NodePool of a profile (karpenter.sh/v1), and the EC2NodeClass that it refers to.
 *
 * Its nodes carry the profile's name and hash as labels, and what the agent is to do as an
 * annotation, from before the first pod runs (nodekeys.h): the overlays match the labels, and a new
 * hash is drift, by which Karpenter replaces nodes under the pool's budgets. They start with a
 * taint that goes when the node advertises what was promised.
 */

#include "karpenter/document.h"
#include "karpenter/promise.h"

#define NODEPOOL_API_VERSION   "karpenter.sh/v1"
#define NODEPOOL_CLASS_GROUP   "karpenter.k8s.aws"
#define NODEPOOL_CLASS_KIND    "EC2NodeClass"
#define NODEPOOL_CAPACITY_TYPE "karpenter.sh/capacity-type"
#define NODEPOOL_INSTANCE_TYPE "node.kubernetes.io/instance-type"
#define NODEPOOL_TAINT         "nvidia.com/gpu" /* of nodes whose profile has no taints */
#define NODEPOOL_CLUSTER       "${CLUSTER_NAME}"
#define NODEPOOL_CONSOLIDATE   "300s"

/* Bottlerocket's settings (TOML) that switch its own device plugin off, which has the same GPUs. */
#define NODEPOOL_PLUGIN_SECTION  "settings.kubelet-device-plugins.nvidia"
#define NODEPOOL_PLUGIN_SETTINGS "[" NODEPOOL_PLUGIN_SECTION "]\nenabled = false\n"

enum nodepool_family { NODEPOOL_AL2023, NODEPOOL_BOTTLEROCKET };

/* What `spec.template` has of a profile, also in a pool that somebody else made: its labels, its
 * annotations, and its taints. NULL without memory. */
json_t *nodepool_labels(const struct sliceprofile *profile);
json_t *nodepool_annotations(const struct sliceprofile *profile, const struct promises *promises);
json_t *nodepool_taints(const struct sliceprofile *profile);
json_t *nodepool_startup_taints(void);

/* One of `requirements`: the key In the values, which are taken over. */
json_t *nodepool_requirement(const char *key, json_t *values);

/* The names of the types. */
json_t *nodepool_types(const struct promises *promises);

struct nodepool_options {
    bool has_startup_taint; /* nodes start with it: somebody is there to remove it */
};

/* Adds the NodePool of a profile that has one of its own. 0 or -ENOMEM. */
int nodepool_make(const struct sliceprofile *profile, const struct promises *promises,
                  const struct nodepool_options *options, struct documents *documents);

/*
 * Adds the EC2NodeClass of a profile. What v1 wants and only the reader knows is a placeholder
 * around
 * ${CLUSTER_NAME}, with a comment. Bottlerocket's own device plugin, which would offer the same
 * GPUs, is off. 0 or -ENOMEM.
 */
int nodepool_make_class(const struct sliceprofile *profile, enum nodepool_family family,
                        struct documents *documents);
