// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How a GPU can be partitioned (its board) and how it is (its layout), as plain values.
 *
 * A GPU instance owns memory slices, engines and multiprocessors of the GPU; a compute instance in
 * it owns multiprocessors alone and shares the rest. A container gets a compute instance: "1g.5gb"
 * is one that fills its GPU instance, "1c.3g.20gb" a smaller one.
 *
 * Three numbers name a profile, and NVIDIA calls all of them its id. Here `index` is the constant
 * by which a driver is asked about it (NVML_GPU_INSTANCE_PROFILE_1_SLICE = 0), `id` what the driver
 * answers and takes to create an instance (19 on an A100), and a position is one in the board's own
 * list. An instance's id is a fourth: the driver chooses it when it creates the instance.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slice/device.h"

enum {
    MIG_SLOTS_MAX = 16, /* memory slices: 8 of most GPUs, 4 of an A30, 12 of an RTX PRO 6000 */
    MIG_GI_PROFILES_MAX = 18, /* NVML_GPU_INSTANCE_PROFILE_COUNT in R580 */
    MIG_CI_PROFILES_MAX = 9,  /* NVML_COMPUTE_INSTANCE_PROFILE_COUNT */
    MIG_INSTANCES_MAX = 8,    /* of a GPU, and of a GPU instance */
};

/* Compute instances of one size within a GPU instance of one profile. */
struct mig_ci_profile {
    uint32_t index, id;
    uint32_t slices; /* compute slices */
    uint32_t max_count;
    uint32_t multiprocessors;
    uint32_t starts; /* bit i: may start at the GPU instance's compute slice i; 0: anywhere */
};

/*
 * Where a compute instance may start in its GPU instance: at multiples of the power of two that
 * holds it, as `nvidia-smi mig -lcipp` lists for an A100 (2 slices of 7: {0,2,4}; 3: {0,4}; 4:
 * {0}). A driver lists placements only for a GPU instance that exists.
 */
static inline uint32_t mig_compute_starts(uint32_t gpu_slices, uint32_t slices)
{
    uint32_t step = 1, starts = 0;

    while (step < slices)
        step *= 2;
    for (uint32_t start = 0; start + slices <= gpu_slices && start < 32; start += step)
        starts |= 1U << start;
    return starts;
}

/* GPU instances of one kind. */
struct mig_profile {
    char name[DEVICE_PROFILE_SIZE]; /* "1g.5gb+me", of the compute instance that fills it */
    uint32_t index, id;
    uint32_t max_count;
    uint64_t mem_bytes;
    struct device_shape shape; /* ci_slices = gi_slices */
    uint32_t slots;            /* memory slices that an instance occupies */
    uint32_t starts; /* bit i: an instance may start at memory slice i; 0: the driver chooses */
    uint32_t n_computes;
    struct mig_ci_profile computes[MIG_CI_PROFILES_MAX];
};

/* What a GPU's driver reports, or the catalog where it reports nothing. */
struct mig_board {
    uint32_t n_slots; /* memory slices; 0: the GPU cannot be partitioned */
    uint32_t n_profiles;
    struct mig_profile profiles[MIG_GI_PROFILES_MAX]; /* by index */
};

struct mig_compute {
    uint32_t id;      /* of the driver, unique in its GPU instance */
    uint32_t profile; /* position in the GPU instance profile's `computes` */
    uint32_t start, slices;
};

struct mig_instance {
    uint32_t id;      /* of the driver, unique on the GPU */
    uint32_t profile; /* position in the board's `profiles` */
    uint32_t start;   /* the first memory slice */
    uint32_t n_computes;
    struct mig_compute computes[MIG_INSTANCES_MAX];
};

/* The current state of one GPU. */
struct mig_layout {
    bool enabled;         /* the current mode */
    bool pending;         /* the mode after the next reset; equal to `enabled`: none is needed */
    uint32_t n_instances; /* by id */
    struct mig_instance instances[MIG_INSTANCES_MAX];
};

bool mig_board_equal(const struct mig_board *a, const struct mig_board *b);
bool mig_layout_equal(const struct mig_layout *a, const struct mig_layout *b);
