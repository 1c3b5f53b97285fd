// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * THE SUBJECT: a plan tells which resources the node offers, and which slice of which device each
 * device id stands for. planner.h makes it. Invariants (invariant.h checks them):
 *  - Resources are sorted by name, slices by device, then n; GPUs by index; devices by GPU, then
 * MIG index.
 *  - A GPU is either one device (offered whole, or left out) or its MIG devices, never both.
 *  - A device id is the device's bare UUID when it is not shared, else "<uuid>::<n>". n counts from
 *    0 and is unique per device over all resource names.
 *  - Shares of one device's slices add up to 1000 permille or less; with equal replicas to exactly
 *    1000. The remainder goes to the lowest n. So is memory shared, unless it is overcommitted, in
 *    whole MiB of
 *    (total - reserved), or bytes where there are more slices than MiB; a slice has none only when
 *    its device's memory is unknown.
 *  - The kubelet can read every resource's list (listsize.h).
 *  - A slice is in one resource; that of a device with two names (gpuslice.mig.names: both) is in
 *    two, under one id, and healthy in one of them at a time (namepool.h decides in which).
 *  - One resource may hold slices of several strategies and sizes (two
 *    entries with one name); that is a warning, because a pod cannot choose among them.
 *  - A device has at most one sharing entry; each device in no resource has a reason.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/problem.h"
#include "slice/inventory.h"
#include "slice/listsize.h"
#include "slice/policy.h"

enum {
    SLICE_ID_SIZE = GPU_UUID_SIZE + 12,
    /* Slices of one device; no list of the kubelet holds more. How many fit depends on the machine:
     * more are an error, and what fits is offered. */
    PLAN_REPLICAS_MAX = 100000,
};

struct slice {
    char id[SLICE_ID_SIZE];
    size_t device;           /* position in plan->devices */
    unsigned n;              /* of its device; 0 for a device that is not shared */
    unsigned share_permille; /* of its device's compute */
    uint64_t mem_bytes;      /* 0 when the device's memory is unknown */
    bool is_second;          /* under the second name of its device */
};

struct plan_resource {
    char name[RESOURCE_NAME_SIZE]; /* as the kubelet sees it, "nvidia.com/gpu" */
    char base[RESOURCE_NAME_SIZE]; /* before renaming; what a sharing entry calls it */
    enum sharing_strategy
        sharing;       /* NONE: unshared devices only; MPS if any of its devices has it */
    unsigned replicas; /* slices per device when equal on all; 0 when they differ */
    bool renamed;      /* name differs from base by `rename` */
    bool fail_multi;   /* a container may request only one slice */
    struct slice *slices;
    size_t n_slices, capacity;
    size_t *by_id;      /* positions in slices, sorted by id */
    struct position at; /* the entry that made it, the first of several; {0,0} for the default */
    char path[64];      /* the same as words, "sharing.mps.resources[0]"; "" for the default */
};

struct plan_device {
    struct device device; /* a copy; its `gpu` is a position in plan->gpus */
    char left_out[256];   /* why it is in no resource, the end of a sentence; "" = it is in one */
    bool excluded;        /* left out on purpose, by gpuslice.excludeDevices */
    bool waits_for_mps;   /* left out until an MPS control daemon answers */
    bool works;           /* nothing but the configuration, or a missing MPS daemon, leaves it out:
                             a pod that holds it can still use it */
    char base[RESOURCE_NAME_SIZE]; /* its resource before sharing and renaming, by model or profile
                                    */
    char second[RESOURCE_NAME_SIZE]; /* its other name, before sharing and renaming; "" = it has one
                                      */
    enum sharing_strategy sharing;   /* how its slices share it: one strategy per device */
    size_t n_slices;                 /* each once, under however many names */
};

struct plan_label {
    char *key; /* "nvidia.com/gpu.count" */
    char *value;
};

struct plan {
    char waits_for_mps[RESOURCE_NAME_SIZE]; /* a resource that is not offered because no MPS control
                                               daemon answers for it, the first; "" = none */
    bool overcommits;                       /* gpuslice.overcommit: the memory of a device's slices
                                               may add up to more than it has */
    struct plan_resource *resources;        /* only those with slices */
    size_t n_resources, capacity;
    struct gpu *gpus; /* a copy of the inventory's, sorted by index */
    size_t n_gpus;
    struct plan_device *devices; /* at least one for every GPU */
    size_t n_devices;
    struct plan_label *labels; /* sorted by key; gpu-feature-discovery's, without the timestamp */
    size_t n_labels;
};

/* NULL is allowed. */
void plan_free(struct plan *plan);

/* The GPU that contains a device of the plan. */
const struct gpu *plan_gpu(const struct plan *plan, const struct plan_device *device);

/* "GPU 3" or "MIG device 3:1"; the buffer has DEVICE_NAME_SIZE bytes, and is returned. */
const char *plan_device_name(const struct plan *plan, const struct plan_device *device,
                             char *buffer);

bool plan_has_mig_devices(const struct plan *plan);

const struct plan_resource *plan_find_resource(const struct plan *plan, const char *name);

/* The resource that has slices of a device, under its first or its second name; NULL = none. */
const struct plan_resource *plan_resource_of(const struct plan *plan,
                                             const struct plan_device *device, bool is_second);

/* The slice of that id within one resource, or NULL. O(log n). */
const struct slice *plan_find(const struct plan_resource *resource, const char *id);

/*
 * True when both would be announced and allocated alike: ids, limits, sharing, multi rule, and of
 * their devices what an answer names (index, device nodes, NUMA node, strategy).
 */
bool plan_resource_equal(const struct plan *a, const struct plan_resource *in_a,
                         const struct plan *b, const struct plan_resource *in_b);
