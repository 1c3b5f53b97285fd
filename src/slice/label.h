// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Node labels as gpu-feature-discovery writes them, from the same numbers as the plan.
 *
 * A node without a GPU gets none. The nvidia.com/gpu.* labels describe one model: on a node with
 * several it is the one with the most GPUs, then the one with the lowest index
 * (gpu-feature-discovery takes any), and a problem names it. GPUs that
 * gpuslice.excludeDevices excludes are not counted, unless it excludes all of them. Values are
 * valid: at most 63 characters, letters or digits at both ends.
 *
 * MIG devices: under `single` they are what nvidia.com/gpu.* describes (as MIG-INVALID when they
 * differ and none is offered); under `mixed` each profile has nvidia.com/mig-<profile>.* of its
 * own. Where `single` finds whole GPUs beside MIG devices, gpu-feature-discovery writes
 * MIG-INVALID, and we describe the whole GPUs, because these are offered.
 *
 * vgpu.present is what the driver says. Left to others: the timestamp (a clock), and the host's
 * driver of a vGPU (the PCI configuration space, which only a privileged process reads whole).
 */

#include "slice/plan.h"

enum { LABEL_VALUE_SIZE = 64 }; /* Kubernetes' limit of 63 characters, and a NUL */

/* Fills plan->labels from its resources and GPUs; called by plan_make last. 0 or -ENOMEM. */
int label_make(struct plan *plan, const struct inventory *inventory, const struct policy *policy,
               struct problems *problems);

/*
 * A label value from a model or machine name: keeps [A-Za-z0-9-_. ], joins words with '-', and
 * removes what is too long for `size` (at most LABEL_VALUE_SIZE) or not allowed at an end. "" if
 * nothing is left.
 */
void label_sanitise(const char *name, char *buffer, size_t size);

/* "volta" for 7.0; "undefined" for what NVIDIA has not named. */
const char *label_family(unsigned cc_major, unsigned cc_minor);
