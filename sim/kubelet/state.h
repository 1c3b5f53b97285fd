// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The objects across restarts: what an API server and a container runtime would still know.
 *
 * A JSON file of ours in the root folder: workloads and pods with their specs, phases, and the
 * processes of their containers. The devices are not in it; those are in the checkpoint.
 */

#include "base/error.h"
#include "kubelet.h"

#define STATE_NAME "gpuslice-kubelet.state"

/* Written atomically. */
int state_store(const char *path, const struct kubelet *kubelet, struct error *err);

/*
 * Fills pods and workloads and takes running processes over; pods of which nothing runs any more
 * are to be admitted again. A missing file is an empty state; -EBADMSG for a damaged one, of which
 * what was read so far is kept.
 */
int state_load(const char *path, struct kubelet *kubelet, struct error *err);
