// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Tracks over time what node-feature-discovery does with our NodeFeature. nfd.h evaluates each
 * version of the Node; a result that lasts for a minute becomes part of the observed state: NFD is
 * silent and others set our labels, or it takes a label from another NodeFeature. An API without
 * NodeFeatures is checked again now and then: NFD may be installed later.
 */

#include "nodesync/feature.h"
#include "nodesync/nfd.h"
#include "nodesync/observed.h"

struct nfdwatch {
    struct observed *observed; /* borrowed; its nfd_left and nfd_lost are ours */
    struct feature *feature;
    struct nfd nfd;
    uv_timer_t lag, lost, check;
    bool is_lost_old; /* it has lasted for a minute */
    void (*on_change)(void *userdata);
    void *userdata;
};

/* on_change: the observed state changed, outside of nfdwatch_sync. */
void nfdwatch_init(struct nfdwatch *watch, uv_loop_t *loop, struct observed *observed,
                   struct feature *feature, void (*on_change)(void *userdata), void *userdata);

/* The Node, the state or our NodeFeature changed. */
void nfdwatch_sync(struct nfdwatch *watch);

/* Stops; the memory may be freed once the loop has run. */
void nfdwatch_deinit(struct nfdwatch *watch);
