// SPDX-License-Identifier: Apache-2.0
#pragma once

/* GPUs as known to the kernel without any driver: PCI, through sysfs. */

#include <stdbool.h>

/*
 * True if this machine's PCI bus has a display controller of NVIDIA (vendor 0x10de, class 0x03).
 * sysfs NULL = the value of GPUSLICE_SYSFS, else "/sys". No PCI at all is no GPU; a bus that cannot
 * be read for another reason counts as true: trouble is reported rather than hidden.
 */
bool pci_has_nvidia_gpu(const char *sysfs);
