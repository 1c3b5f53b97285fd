// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The MIG devices of a GPU, and this process's handles of them.
 *
 * The library numbers them for each process: an index stays with its device while that exists, and
 * a device that is gone leaves a hole until another takes its index. A process that starts later
 * sees them without holes, by GPU instance and compute instance, as nvidia-smi lists them.
 */

#include "gpu/nvml-abi.h"
#include "nvml/migstate.h"

/* One that exists. */
struct migdevice {
    struct mig_instance instance;
    struct mig_compute compute;
    const struct mig_profile *profile;
    unsigned index; /* in this process */
};

/* How many a GPU can have; 0 while it is not in MIG mode. */
unsigned migdevice_count_max(const struct state *state, unsigned gpu);

/* True if the handle is of a MIG device of that GPU, whether that exists or not. */
bool migdevice_is_handle(nvmlDevice_t device, unsigned *ret_gpu);

/* False: it is gone. */
bool migdevice_describe(const struct state *state, nvmlDevice_t device,
                        struct migdevice *ret_device);

/* NULL: there is none of this index, or of this UUID. */
nvmlDevice_t migdevice_by_index(const struct state *state, unsigned gpu, unsigned index);
nvmlDevice_t migdevice_by_uuid(const struct state *state, const char *uuid);

/* True if NVML passes that call on to the GPU; others are not supported on a MIG device. */
bool migdevice_is_of_gpu(const char *call);

/* True if a GPU in MIG mode does not support that call. */
bool migdevice_is_refused(const char *call);

/* Forgets the numbers when the library shuts down. */
void migdevice_shutdown(void);
