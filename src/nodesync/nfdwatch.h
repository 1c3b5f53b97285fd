// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What node-feature-discovery makes of our NodeFeature as time passes. nfd.h judges each sight of
 * the Node; here a judgement that lasts for a minute becomes what the scene knows: NFD has fallen
 * silent and others set our labels, or it takes a label from another NodeFeature. And an API that
 * has no NodeFeatures is asked again now and then: NFD may come later.
 */

#include "nodesync/feature.h"
#include "nodesync/nfd.h"
#include "nodesync/observed.h"

struct nfdwatch {
    struct observed *observed; /* borrowed; nfd_left and nfd_lost in it are ours */
    struct feature *feature;
    struct nfd nfd;
    uv_timer_t lag, lost, check;
    bool is_lost_old; /* it has lasted for a minute */
    void (*on_change)(void *userdata);
    void *userdata;
};

/* on_change: the scene knows another thing now, outside of nfdwatch_sync. */
void nfdwatch_init(struct nfdwatch *watch, uv_loop_t *loop, struct observed *observed,
                   struct feature *feature, void (*on_change)(void *userdata), void *userdata);

/* The Node, the state or our NodeFeature changed. */
void nfdwatch_sync(struct nfdwatch *watch);

/* Stops; the memory may go when the loop has run. */
void nfdwatch_deinit(struct nfdwatch *watch);
