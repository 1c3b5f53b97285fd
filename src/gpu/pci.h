// SPDX-License-Identifier: Apache-2.0
#pragma once

/* GPUs as known to the kernel without NVML, through sysfs. */

#include <stdbool.h>
#include <stddef.h>

enum pci_gpus {
    PCI_GPUS_NONE,
    PCI_GPUS_PRESENT, /* a display controller of NVIDIA (vendor 0x10de, class 0x03) on the bus,
                         which NVIDIA's driver has or may get */
    PCI_GPUS_PASSED_THROUGH, /* only ones that are bound to a driver which hands them to a virtual
                                machine, such as vfio-pci */
    PCI_GPUS_TEGRA,          /* none on the bus, but the one that a Tegra has on its chip */
    PCI_GPUS_WSL, /* only the device that Windows lends to a WSL2 guest, behind which any GPU may
                     be; the display of a Hyper-V virtual machine is none */
};

/* Which driver has the GPU that decided; "" = none. */
struct pci_holder {
    char driver[64];
};

/*
 * sysfs NULL = the value of GPUSLICE_SYSFS, else "/sys". A bus that cannot be read, other than by
 * not being there, counts as PRESENT: trouble is reported rather than hidden. ret_holder may be
 * NULL.
 */
enum pci_gpus pci_find_gpus(const char *sysfs, struct pci_holder *ret_holder);

/* The version of NVIDIA's kernel module; "" if there is none. */
void pci_module_version(char *ret_version, size_t size);

/* True on WSL2, where dxgkrnl is the kernel's driver for all GPUs, with one device node. */
bool pci_has_dxg(void);
