// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The controller's duty of draining: finds the Nodes whose MIG layout waits for pods, each of which
 * is a subject of its own (drain.h).
 *
 * Only Nodes whose label nvidia.com/mig.config.state says that a layout is not in force are
 * watched: if all layouts are in force that is none, however large the cluster is.
 */

#include "base/text.h"
#include "controller/drain.h"

#define DRAINS_LABEL "nvidia.com/mig.config.state"

struct drains;

/* Starts watching. setup is copied. */
int drains_new(const struct drain_setup *setup, struct drains **ret_drains, struct error *err);

/* Metrics; NULL = this replica does not lead: all of them are 0. */
void drains_add_metrics(const struct drains *drains, struct text *out);

/* Stops at once: what is left is the next leader's. NULL is allowed. */
void drains_free(struct drains *drains);
