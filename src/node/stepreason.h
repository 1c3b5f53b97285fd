// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Why a driver refused a step, as part of a sentence that may be about several GPUs: without the
 * name of the GPU, so that the same reason of eight GPUs is one sentence.
 */

#include <stddef.h>

#include "slice/inventory.h"

/* Writes "the GPU" for each of its names in it (the UUID, the address on the bus, also with the
 * longer domain that nvidia-smi writes), and leaves out the full stop. */
void stepreason_write(const struct gpu *gpu, const char *reason, char *text, size_t size);
