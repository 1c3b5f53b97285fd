// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A step to another MIG layout, as a request to the driver: the step names profiles by their
 * position in the GPU's board, the driver by NVML's constants.
 */

#include "gpu/gpu.h"
#include "slice/migstep.h"

/* The step is one that the driver takes: neither done, nor a wait, nor impossible. */
struct gpu_change migchange_of(const struct gpu *gpu, const struct mig_board *board,
                               const struct mig_step *step);
