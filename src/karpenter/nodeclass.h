// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * EC2NodeClasses (karpenter.k8s.aws/v1), as far as they say what Karpenter believes of GPUs: with
 * its provider for AWS, from 1.15 on, an annotation of the class has it promise their GPUs to pods
 * with ResourceClaims (DRA). Those of sliced nodes the NodeOverlays promise already. Pure.
 */

#include <jansson.h>

#include "base/problem.h"

#define NODECLASS_PATH       "/apis/karpenter.k8s.aws/v1/ec2nodeclasses"
#define NODECLASS_DRA_SHARES "karpenter.k8s.aws/nvidia-consumable-capacity"

/* The EC2NodeClass that a NodePool refers to; "" = it refers to none. Borrowed from the pool. */
const char *nodeclass_of(const json_t *pool);

/* How Karpenter counts the GPUs of the class by DRA; "" = it does not. Borrowed from the class. */
const char *nodeclass_dra_shares(const json_t *node_class);

/* An error: the pool has the class, with these shares, and is the profile's. */
void nodeclass_add_problem(const char *node_class, const char *shares, const char *pool,
                           const char *profile, struct problems *problems);
