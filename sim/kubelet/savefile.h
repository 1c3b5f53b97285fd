// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The objects across restarts: what an API server and a container runtime would still know.
 *
 * A JSON file of our own in the root directory: workloads and pods with their specs, phases, and
 * the processes of their containers. Devices are not in it; those are in the checkpoint.
 */

#include "base/error.h"
#include "kubelet.h"

#define STATE_NAME "gpuslice-kubelet.state"

/* Written atomically. */
int savefile_store(const char *path, const struct kubelet *kubelet, struct error *err);

/*
 * Restores pods and workloads and adopts running processes; pods without a running process are
 * admitted again. A missing file is an empty state; on -EBADMSG, for a damaged file, what was read
 * so far is kept.
 */
int savefile_load(const char *path, struct kubelet *kubelet, struct error *err);
