// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * THE SUBJECT: inventory + policy -> plan. No I/O, no clock, no log.
 *
 * A plan says which resources the node offers and which slice of which GPU each device id stands
 * for. Invariants:
 *  - The same inventory and policy give the same plan, byte by byte: resources sorted by name,
 * slices by GPU index then n.
 *  - A device id is the bare UUID for a GPU that is not shared, else "<uuid>::<n>". n counts from 0
 * and is unique per GPU over all resource names.
 *  - Shares of one GPU's slices add up to 1000 permille or less; with equal replicas to exactly
 * 1000. The remainder goes to the lowest n. Memory likewise: whole MiB of (total - reserved); a
 * slice has none only when its GPU's memory is unknown.
 *  - A slice is in one resource. One resource may hold slices of several strategies and sizes (two
 *    entries with one name); that is a warning, because a pod cannot choose among them.
 *  - A GPU belongs to at most one sharing entry (the first that reaches it, MPS before time
 * slicing); a GPU that nothing reaches is offered whole; each GPU left out says why. What a person
 * should know is put into `problems` with the place in the configuration.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/problem.h"
#include "slice/inventory.h"
#include "slice/policy.h"

enum {
    SLICE_ID_SIZE = GPU_UUID_SIZE + 12,
    PLAN_REPLICAS_MAX = 4096, /* slices of one GPU; more are an error, and this many are offered */
};

struct slice {
    char id[SLICE_ID_SIZE];
    size_t gpu;              /* position in plan->gpus */
    unsigned n;              /* of its GPU; 0 for a whole GPU */
    unsigned share_permille; /* of its GPU's compute */
    uint64_t mem_bytes;      /* 0 when the GPU's memory is unknown */
};

struct plan_resource {
    char name[RESOURCE_NAME_SIZE]; /* as the kubelet sees it, "nvidia.com/gpu" */
    char base[RESOURCE_NAME_SIZE]; /* before renaming; what a sharing entry calls it */
    enum sharing_strategy sharing; /* NONE: whole GPUs only; MPS if any of its GPUs has it */
    unsigned replicas;             /* slices per GPU when equal on all; 0 when they differ */
    bool renamed;                  /* name differs from base by `rename` */
    bool fail_multi;               /* a container may hold one slice only */
    struct slice *slices;
    size_t n_slices, capacity;
    size_t *by_id;      /* positions in slices, sorted by id */
    struct position at; /* the entry that made it, the first of several; {0,0} for the default */
    char path[64];      /* the same as words, "sharing.mps.resources[0]"; "" for the default */
};

struct plan_gpu {
    struct gpu gpu;                /* a copy */
    char left_out[256];            /* why it is in no resource, a sentence's end; "" = it is */
    char base[RESOURCE_NAME_SIZE]; /* its resource before sharing and renaming, by its model */
    enum sharing_strategy sharing; /* how its slices meet: one strategy per GPU */
    size_t n_slices;               /* in all resources */
};

struct plan_label {
    char *key; /* "nvidia.com/gpu.count" */
    char *value;
};

struct plan {
    struct plan_resource *resources; /* sorted by name; only those with slices */
    size_t n_resources, capacity;
    struct plan_gpu *gpus; /* every GPU of the inventory, sorted by index */
    size_t n_gpus;
    struct plan_label *labels; /* sorted by key; gpu-feature-discovery's, without the timestamp */
    size_t n_labels;
};

/*
 * 0, or -ENOMEM. Contradictions of policy and machine are problems (errors among them are decided
 * as the agent must: first entry wins, the impossible is left out), so that there always is a plan.
 * `problems` may be NULL.
 */
int plan_make(const struct inventory *inventory, const struct policy *policy,
              struct problems *problems, struct plan **ret_plan);

/* NULL is fine. */
void plan_free(struct plan *plan);

const struct plan_resource *plan_find_resource(const struct plan *plan, const char *name);

/* The slice of that id within one resource, or NULL. O(log n). */
const struct slice *plan_find(const struct plan_resource *resource, const char *id);

/*
 * True when both would be announced and allocated alike: ids, limits, sharing, multi rule, and of
 * their GPUs what an answer names (index, device node, NUMA node, strategy).
 */
bool plan_resource_equal(const struct plan *a, const struct plan_resource *in_a,
                         const struct plan *b, const struct plan_resource *in_b);
