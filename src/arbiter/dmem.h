// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Memory limits that the kernel enforces: the controller `dmem` of cgroup v2 (Linux 6.14), where
 * the driver charges the memory of GPUs to it (NVIDIA's, from 615). What a process does without our
 * library counts there as well. Experimental: it follows NVIDIA's documentation, and was not yet
 * run with such a driver.
 *
 * A limit is of the container's own cgroup, because that of a cgroup above it neither shows nor
 * holds inside. It ends with the cgroup. The controller is turned on in the cgroups above, which
 * neither kubelet nor systemd does. MIG devices have no region.
 *
 * Sources: Documentation/admin-guide/cgroup-v2.rst, "DMEM"; kernel/cgroup/dmem.c (a write has a
 * line for each region); docs.nvidia.com/deploy/mps, "MPS v3 Memory Partitioning" (the region of a
 * GPU is nvidia/PCI/vidmem).
 */

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct dmem_limit {
    const char *pci_address; /* of a GPU: domain:bus:device.function */
    uint64_t bytes;          /* DMEM_UNLIMITED */
};

#define DMEM_UNLIMITED UINT64_MAX

enum dmem_outcome {
    DMEM_ABSENT = 1, /* kernel and driver have no region of any of these GPUs */
};

/*
 * Limits the container of a process; of other GPUs it stays as it was. root: of the node's files. 0
 * or an outcome. A negative errno: not everything is limited; -ENOENT: the process is in no
 * container of a pod, or its cgroup is not there.
 */
int dmem_limit(const char *root, long pid, const struct dmem_limit *limits, size_t n_limits,
               struct error *err);
