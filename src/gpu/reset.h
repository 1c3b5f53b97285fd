// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The reset of one GPU, by `nvidia-smi --gpu-reset`: NVML has no function for it, and the kernel's
 * own (/sys/bus/pci) does not tell the driver. The process that resets has no session with the
 * driver.
 *
 * The program is looked for on PATH, where a container runtime puts it with the driver's libraries.
 */

#include "gpu/gpu.h"

/* Waits for its end; `more_ms` is how long it may take (guard.h). Writes outcome and reason. */
void reset_gpu(const char *uuid, uint64_t more_ms, struct gpu_changed *ret_changed);
