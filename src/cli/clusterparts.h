// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Programs of a cluster that concern GPUs, by the images and names of their DaemonSets and
 * Deployments: one table.
 */

#include <jansson.h>
#include <stdbool.h>

enum part_role {
    PART_OTHER,  /* worth knowing */
    PART_AGENT,  /* ours */
    PART_PLUGIN, /* a device plugin for the same GPUs */
    PART_MIG,    /* partitions the same GPUs */
    PART_MPS,    /* shares them by MPS */
    PART_DRA,    /* offers them by dynamic resource allocation */
    PART_KARPENTER,
    PART_AUTOSCALER,
};

struct part {
    enum part_role role;
    const char *what; /* "NVIDIA's device plugin" */
    char version[64]; /* of its image; "" = not told */
};

/* Whether a DaemonSet or Deployment is one of them. */
bool clusterparts_find(const json_t *workload, struct part *ret_part);

/* "plugin" */
const char *clusterparts_role_name(enum part_role role);

/* Whether a DaemonSet's pods may run on a node with these labels: its nodeSelector and its required
 * node affinity. Taints are not looked at. */
bool clusterparts_may_run(const json_t *workload, const json_t *labels);

/* The value of a variable, or of an argument "--name=value", of any of its containers; NULL = none.
 */
const char *clusterparts_setting(const json_t *workload, const char *variable,
                                 const char *argument);
