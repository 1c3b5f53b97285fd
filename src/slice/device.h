// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What can be allocated to a container: a whole GPU, or one MIG device of a partitioned GPU. Plan,
 * health, allocation, CDI, labels, events and metrics work on devices; a GPU contains devices;
 * topology, model and driver state belong to it.
 *
 * A MIG device is a compute instance in a GPU instance. The driver names it by a UUID of its own
 * ("MIG-..."), which since R470 depends only on the GPU and the two instance ids: a recreated
 * device in the same place has the same UUID.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GPU_UUID_SIZE = 96, DEVICE_PROFILE_SIZE = 32, DEVICE_UNUSABLE_SIZE = 224 };

/* Room for what device_format_index and device_format_name write. */
enum { DEVICE_INDEX_SIZE = 24, DEVICE_NAME_SIZE = 40 };

#define DEVICE_NO_INSTANCE UINT32_MAX /* NVML's value for the whole GPU in an event */

enum device_kind { DEVICE_WHOLE, DEVICE_MIG };

/* What a MIG device has of its GPU, in NVML's units (nvmlDeviceAttributes_t); all 0: unknown. */
struct device_shape {
    unsigned multiprocessors;
    unsigned gi_slices, ci_slices; /* of 7 (A30: 4) */
    unsigned copy_engines, decoders, encoders, jpeg_engines, ofa_engines;
};

/* Which part of its GPU a device is, or a fault affects. */
struct device_instance {
    uint32_t gpu, compute; /* ids of the driver; DEVICE_NO_INSTANCE: all of them */
};

struct device {
    char uuid[GPU_UUID_SIZE]; /* "GPU-..." or "MIG-..."; "" when unusable and unknown */
    enum device_kind kind;
    size_t gpu; /* position in the GPUs of the inventory or plan it is in */
    char
        unusable[DEVICE_UNUSABLE_SIZE]; /* why it is unusable, the end of a sentence; "" = usable */

    bool is_withheld; /* its GPU's `withheld` is about it */

    uint64_t mem_total_bytes;    /* 0 unknown */
    uint64_t mem_reserved_bytes; /* the driver's own */
    int minor;                   /* /dev/nvidia<minor> of its GPU; -1 unknown */
    bool is_dxg;                 /* used through /dev/dxg, on WSL2 */
    int numa_node;               /* of its GPU; -1 unknown */

    /* MIG devices only. */
    unsigned mig_index;              /* among those of its GPU: NVML calls it "<gpu>:<mig_index>" */
    struct device_instance instance; /* of a whole GPU: all of them */
    int gi_minor, ci_minor;          /* /dev/nvidia-caps/nvidia-cap<minor>; -1 unknown */
    char profile[DEVICE_PROFILE_SIZE]; /* "1g.5gb", "1c.3g.20gb", "1g.5gb+me" */
    struct device_shape shape;
};

/* "3" for GPU 3, "3:1" for its second MIG device: NVIDIA's device indices. */
void device_format_index(const struct device *device, unsigned gpu_index, char *buffer,
                         size_t size);

/* "GPU 3" or "MIG device 3:1", for messages. */
void device_format_name(const struct device *device, unsigned gpu_index, char *buffer, size_t size);

enum { DEVICE_NODES_MAX = 3, DEVICE_NODE_SIZE = 48 };

/*
 * The device nodes that a container needs beside the driver's own (nvidiactl, nvidia-uvm): the
 * GPU's, and for a MIG device the capabilities that open its two instances. On WSL2 /dev/dxg stands
 * for all of them. Returns how many are known.
 */
size_t device_list_nodes(const struct device *device,
                         char ret_paths[DEVICE_NODES_MAX][DEVICE_NODE_SIZE]);

/* True if device_list_nodes returns the GPU's own node (MIG may do without capabilities, by
 * procfs). Else CDI cannot give the device to a container: no specification has it, and no answer
 * names it. */
bool device_has_nodes(const struct device *device);

/* True if two devices of one GPU, or a device and a fault's location on it, overlap. */
bool device_instances_overlap(struct device_instance a, struct device_instance b);

/* True if everything but position and UUID is equal: a plan is the same with either. */
bool device_equal(const struct device *a, const struct device *b);

/* By GPU, then MIG index, then UUID: the order of every list of devices. For qsort. */
int device_compare(const void *a, const void *b);
