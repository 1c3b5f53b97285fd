// SPDX-License-Identifier: Apache-2.0
#pragma once

/* `gpuslice-sim proc`: what the driver shows of MIG below /proc, as files in a folder. */

#include "base/error.h"
#include "nvml/state.h"

/*
 * Writes into the folder, which is there:
 *
 *     modules                                the kernel's modules: nvidia and nvidia_uvm
 *     driver/nvidia-caps/mig-minors          the device nodes of all instances that can be
 *     driver/nvidia/capabilities/mig/...     of config and monitor
 *     driver/nvidia/capabilities/gpu0/mig/gi1/[ci0/]access    of each instance that there is
 *
 * Again after a change: files of instances that are gone are removed.
 */
int procfs_write(const char *folder, const struct state *state, struct error *err);
