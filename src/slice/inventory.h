// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A node's hardware: its GPUs and MIG devices as plain values, read once from the driver (gpu/) and
 * never changed.
 *
 * GPUs are sorted by their NVML index. A GPU that cannot be used (it is lost, has no handle or no
 * UUID) stays in the list with `unusable` set, so that the plan can leave it out with a reason.
 *
 * Every other fact is optional: a driver may not support a query for a GPU (unified memory has no
 * size, WSL2 no minor numbers), lack the function, fail, or return nonsense. Such a fact has its
 * field's unknown value and a reason in `gaps`; unknown.h turns the reasons into sentences.
 *
 * Only MIG devices are listed as devices. Whether a GPU is offered whole is the plan's decision
 * (`migStrategy: none` offers a partitioned one whole too), so the device that is a whole GPU is
 * derived on demand from the GPU, and no second copy can become stale.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "slice/device.h"
#include "slice/mig.h"

enum { GPU_NAME_SIZE = 96, PCI_ADDRESS_SIZE = 32 };

/* What a driver may leave unknown: of the machine, then of one GPU. */
enum fact {
    FACT_DRIVER_VERSION,
    FACT_CUDA_VERSION,
    FACT_MODEL,
    FACT_MINOR,
    FACT_PCI,
    FACT_CLASS,
    FACT_NUMA,
    FACT_MEMORY,
    FACT_RESERVED, /* memory that the driver keeps for itself */
    FACT_CAPABILITY,
    FACT_MIG,
    FACT_MIG_PROFILES, /* its board */
    FACT_MIG_DEVICES,
    FACT_MIG_SHAPES,    /* of its MIG devices: what they consist of, their profiles */
    FACT_MIG_INSTANCES, /* GPU instances without a MIG device */
    FACT_MIG_NODES,     /* the capability nodes of its MIG devices */
    FACT_FABRIC,
    FACT_VIRTUALIZATION, /* whether it is a vGPU */
    FACT_PATHS,          /* PCIe distance to other GPUs */
    FACT_NVLINKS,
    FACT_LINK_ENDS,  /* of the NVLinks, the GPU at the other end */
    FACT_NVSWITCHES, /* of those that end at no GPU, whether it is at an NVSwitch */
    N_FACTS
};

/* Why a fact is unknown. In this order: of two queries for one fact, the higher value is the more
 * telling reason. */
enum fact_gap {
    FACT_KNOWN,
    FACT_MISSING,     /* the driver lacks the function */
    FACT_UNSUPPORTED, /* the driver has it, but not for this GPU */
    FACT_FAILED,
    FACT_ABSURD, /* the answer cannot be true */
};

/* Nearest common ancestor of two GPUs on PCIe, nearest first (NVML's topology levels). */
enum gpu_path {
    GPU_PATH_SAME_BOARD,
    GPU_PATH_SINGLE_SWITCH,
    GPU_PATH_SEVERAL_SWITCHES,
    GPU_PATH_HOST_BRIDGE,
    GPU_PATH_SAME_CPU,
    GPU_PATH_ACROSS_CPUS,
    GPU_PATH_UNKNOWN,
};

struct gpu_link {
    uint8_t path;      /* enum gpu_path */
    uint8_t n_nvlinks; /* direct NVLinks between the two, 0...18 */
};

/* PCI class of a GPU, the upper 16 bits of the class code, that NVIDIA's gpu.mode label looks at.
 */
enum { PCI_CLASS_VGA = 0x0300, PCI_CLASS_3D = 0x0302 };

struct gpu {
    unsigned index;            /* NVML index */
    char uuid[GPU_UUID_SIZE];  /* "GPU-..."; "" when unusable and unknown */
    char model[GPU_NAME_SIZE]; /* NVML product name, "Tesla V100-SXM2-16GB" */
    char
        unusable[DEVICE_UNUSABLE_SIZE]; /* why it is unusable, the end of a sentence; "" = usable */

    /* Why nothing new of it is offered, the end of a sentence: it is being partitioned. "" = it is
     * offered. Set by the agent; of such a GPU an inventory lists the MIG devices that pods hold.
     */
    char withheld[DEVICE_UNUSABLE_SIZE];
    bool is_held; /* withheld, and a pod has it whole, or slices of it */

    bool is_out_of_reach;  /* unusable, and it is not the GPU's own fault that it does not answer */
    uint8_t gaps[N_FACTS]; /* enum fact_gap by enum fact */

    int minor;                          /* /dev/nvidia<minor>; -1 unknown */
    bool is_dxg;                        /* without a minor number, on WSL2: used through /dev/dxg */
    char pci_address[PCI_ADDRESS_SIZE]; /* "0000:00:1b.0", lower case, 4-digit domain, as sysfs has
                                           it */
    uint32_t pci_device_id;             /* NVML form: device << 16 | vendor, 0x1db110de */
    uint32_t pci_subsystem_id;
    uint16_t pci_class; /* PCI_CLASS_*; 0 unknown */
    int numa_node;      /* -1 unknown */

    uint64_t mem_total_bytes;    /* NVML v2 total; 0 unknown */
    uint64_t mem_reserved_bytes; /* NVML v2 reserved: the driver's own */
    unsigned cc_major, cc_minor; /* CUDA compute capability; 0.0 unknown */

    bool mig_capable; /* supports MIG */
    bool mig_enabled; /* current mode; equal to layout.enabled */
    uint32_t board;   /* 1 + position in the inventory's boards; 0: unknown, or none */
    struct mig_layout layout;
    bool is_vgpu;              /* a part of a GPU that a hypervisor shares (NVIDIA vGPU) */
    unsigned n_nvswitch_links; /* NVLinks that end in an NVSwitch */

    bool fabric_completed;   /* fabric registration completed with success */
    char fabric_cluster[40]; /* cluster UUID, "" or all zero = none */
    uint32_t fabric_clique;
};

struct inventory {
    char driver_version[80]; /* "550.163.01" */
    int cuda_version;        /* 12040 = 12.4; 0 unknown */
    char machine[128];       /* DMI product name, raw; "" unknown */
    uint8_t gaps[N_FACTS];   /* of the machine's facts */
    struct gpu *gpus;        /* sorted by index */
    size_t n_gpus;
    struct gpu_link *links;     /* n_gpus x n_gpus, row-major; NULL when nothing is known */
    struct device *mig_devices; /* in device_compare's order; `gpu` is a position in gpus */
    size_t n_mig_devices;
    struct mig_board *boards; /* each once, however many GPUs have it */
    size_t n_boards;
    bool is_reread; /* in the session that an earlier inventory is of */
};

#define INVENTORY_INIT \
    {                  \
        .gpus = NULL   \
    }

void inventory_deinit(struct inventory *inventory);
#define cleanup_inventory cleanup(inventory_deinit)

/* Deep copy into an empty inventory. 0 or -ENOMEM. */
int inventory_copy(struct inventory *to, const struct inventory *from);

/* The GPU of that UUID (compared without case), or NULL. */
const struct gpu *inventory_find(const struct inventory *inventory, const char *uuid);

/* The MIG device of that UUID (compared without case), or NULL. */
const struct device *inventory_find_mig(const struct inventory *inventory, const char *uuid);

/* The GPU at that position in `gpus`, as one device. */
struct device inventory_whole(const struct inventory *inventory, size_t gpu);

/* How that GPU can be partitioned; NULL: it cannot, or that is unknown. gpu: of the inventory. */
const struct mig_board *inventory_board(const struct inventory *inventory, const struct gpu *gpu);

/* Finds or adds a board; *ret_place is what a GPU with it has in `board`. 0 or -ENOMEM. */
int inventory_share_board(struct inventory *inventory, const struct mig_board *board,
                          uint32_t *ret_place);

/* True if the same GPUs are partitioned in the same way. */
bool inventory_same_partitions(const struct inventory *a, const struct inventory *b);

/* True when the GPU at that position has MIG devices. */
bool inventory_is_partitioned(const struct inventory *inventory, size_t gpu);

/* a and b are positions in `gpus`; unknown path and no links when nothing is known. */
struct gpu_link inventory_link(const struct inventory *inventory, size_t a, size_t b);

/* The small graphics card of a DGX Station: NVML lists it, but it is not for computing. */
bool gpu_is_display(const struct gpu *gpu);
