// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The controller's duty of opening nodes: compares, for each Node of a slice profile, what it was
 * promised to have, what Karpenter believes, what is configured and what the kubelet advertises.
 *
 * A Node is opened when these numbers are right (gate.h), told when they are not (nodegate.h), and
 * replaced if its profile wants that (replacement.h).
 *
 * Only Nodes with the label gpuslice.dev/profile are watched, and each is kept as a few numbers.
 * While all of them are open and right nothing is asked and no timer runs.
 */

#include <uv.h>

#include "base/text.h"
#include "catalog/catalog.h"
#include "controller/gate.h"
#include "controller/sharedstores.h"

struct nodegates_setup { /* borrowed */
    uv_loop_t *loop;
    struct kube_client *client;
    struct sharedstores *stores;
    struct recorder *recorder;
    const struct catalog *catalog;
    unsigned limit_s;         /* what a node has until it is overdue */
    unsigned replace_at_most; /* nodes at a time */
    bool (*may_write)(void *userdata);
    void *userdata;
    struct gate_counters *counters;
};

struct nodegates;

/* Starts watching. setup is copied. */
int nodegates_new(const struct nodegates_setup *setup, struct nodegates **ret_gates,
                  struct error *err);

/* Metrics; NULL = this replica does not lead: no node is counted. */
void nodegates_add_metrics(const struct nodegates *gates, struct text *out);

/* Stops at once: what is left is the next leader's. NULL is allowed. */
void nodegates_free(struct nodegates *gates);
