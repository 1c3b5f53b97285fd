// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The controller's duty about pods that wait for MIG devices: Nodes that have two names for each
 * (gpuslice.mig.names: both) get to know what is waited for (nameshare.h, demandwriter.h), and a
 * pod that requests a name which no Node has is answered (advisor.h).
 *
 * Watched are the pods that no Node was found for, and the Nodes with a MIG strategy; of both only
 * what matters is kept, and a heartbeat is no change. A pass follows within WAITING_SETTLE_MS of
 * a change, and while pods wait, every WAITING_LOOK_MS.
 */

#include "base/text.h"
#include "controller/advisor.h"

enum { WAITING_SETTLE_MS = 500, WAITING_LOOK_MS = 15000 };

struct waiting;

/* Starts watching. setup is copied; what it points to is borrowed. */
int waiting_new(const struct advisor_setup *setup, struct waiting **ret_waiting, struct error *err);

/* NULL = this replica does not lead: all of them are 0. */
void waiting_add_metrics(const struct waiting *waiting, struct text *out);

/* Stops at once: what Nodes have stays there until the next leader looks. NULL is allowed. */
void waiting_free(struct waiting *waiting);
