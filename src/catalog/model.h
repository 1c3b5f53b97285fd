// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A model of GPU: what NVIDIA builds, the same in every machine that has it.
 *
 * Plain data of fixed size without pointers: the simulator copies it into a file that processes
 * share (sim/nvml/state.h), so a change of layout needs a new STATE_VERSION there.
 *
 * A model is called by NVML's product name, "NVIDIA A100-SXM4-40GB". Wherever a person writes it,
 * case does not matter, blanks may be dashes (as in the label nvidia.com/gpu.product), and the
 * leading "NVIDIA" or "Tesla" may be left out: "a100-sxm4-40gb".
 */

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/problem.h"
#include "base/yaml.h"
#include "slice/mig.h"

enum { GPU_MODEL_NAME = 64, GPU_MODEL_MAX_NVLINKS = 18 };

enum gpu_brand {
    GPU_BRAND_TESLA,
    GPU_BRAND_QUADRO,
    GPU_BRAND_GEFORCE,
    GPU_BRAND_TITAN,
    GPU_BRAND_QUADRO_RTX,
    GPU_BRAND_NVIDIA_RTX,
    GPU_BRAND_NVIDIA,
    GPU_BRAND_GEFORCE_RTX,
};

/* Oldest first. */
enum gpu_architecture {
    GPU_ARCHITECTURE_KEPLER,
    GPU_ARCHITECTURE_MAXWELL,
    GPU_ARCHITECTURE_PASCAL,
    GPU_ARCHITECTURE_VOLTA,
    GPU_ARCHITECTURE_TURING,
    GPU_ARCHITECTURE_AMPERE,
    GPU_ARCHITECTURE_ADA,
    GPU_ARCHITECTURE_HOPPER,
    GPU_ARCHITECTURE_BLACKWELL,
};

struct gpu_model {
    char name[GPU_MODEL_NAME]; /* as NVML says it */
    char vbios[32];
    char part[32];
    uint32_t brand, architecture; /* enum gpu_brand, enum gpu_architecture */
    uint32_t compute_major, compute_minor;
    uint32_t multiprocessors, cores; /* 0 = not known; CUDA cores in sum */
    uint32_t memory_bus_bits;
    uint32_t pci_device, pci_subsystem, pci_class; /* NVML's form: 0x1db110de, ..., 0x0302 */
    uint32_t pcie_generation, pcie_width;
    uint64_t memory_bytes, reserved_bytes, bar1_bytes;
    uint32_t power_idle_mw, power_limit_mw, power_min_mw, power_max_mw;
    uint32_t graphics_mhz, memory_mhz, video_mhz, idle_mhz;
    uint32_t idle_celsius, slowdown_celsius, shutdown_celsius, max_celsius, memory_max_celsius;
    uint32_t nvlink_count, nvlink_version,
        nvlink_mbps; /* 0 = none; 22 = version 2.2; of one link */
    uint32_t fans;
    uint8_t ecc, row_remapping, gsp, fabric, idle_p8, encoder, decoder, jpeg, ofa, pad2[3];
    struct mig_board mig; /* no memory slices: the model cannot be partitioned */
};

static_assert(sizeof(struct gpu_model) == 6048, "shared layout");

/* Reads a map with the facts of a model over *model, which is zero or another model that this one
 * is like: then nothing is required. False when `problems` got an error. */
bool gpu_model_read(struct problems *problems, const struct yaml *map, const char *path,
                    bool is_like, struct gpu_model *model);

/* The product name without the leading "NVIDIA" or "Tesla" and with dashes: "H100-80GB-HBM3". */
void gpu_model_short_name(const struct gpu_model *model, char to[GPU_MODEL_NAME]);

/* Does `name`, in any of the spellings above, mean this model? */
bool gpu_model_is_named(const struct gpu_model *model, const char *name);
