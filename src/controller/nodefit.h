// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * May a pod run on a Node, as far as the two objects tell: nodeSelector, required node affinity,
 * taints, cordon. The rules are the scheduler's (NodeAffinity, TaintToleration, NodeUnschedulable).
 * What depends on other pods (their requests, their affinity, volumes) is not looked at.
 *
 * Both objects have the API's shape; members that are not needed may be missing. Pure.
 */

#include <jansson.h>
#include <stdbool.h>

enum nodefit_when {
    NODEFIT_NOW,
    /* Some time: a cordon and the taints that Kubernetes and agents take off by themselves do not
     * count. */
    NODEFIT_SOME_TIME,
};

bool nodefit_may_run(const json_t *pod, const json_t *node, enum nodefit_when when);
