// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The inside of the simulated libcuda.so.1: the machine, its devices, and how an entry point
 * begins.
 *
 * Every entry point is made from its row in shim/cuda-calls.def (exports.c): cuda_enter decides
 * what may prevent the call, then sim_NAME acts it out with the library locked. One lock for
 * everything: what sleeps waits for a condition and gives the lock up meanwhile.
 */

#include <stdbool.h>
#include <stdint.h>

#include "nvml/machinefile.h"
#include "shim/cuda-abi.h"

/* What acts out each entry point. */
#define CUDA_CALL(name, asked, since, variant, arguments, values) CUresult sim_##name arguments;
#define CUDA_SAME(name, other, asked, since, variant, arguments, values)
#include "shim/cuda-calls.def"
#undef CUDA_CALL
#undef CUDA_SAME

/* Device memory is given to processes in steps of this; an H200 under 580 does so. */
#define CUDA_GRANULE (UINT64_C(2) << 20)

struct state;

struct cuda_device {
    unsigned index; /* in the machine */
    int ordinal;    /* as this process counts them */
    const struct machine_gpu *gpu;
    CUcontext primary; /* once it was retained; it keeps its address */
    CUmemoryPool default_pool, current_pool;
};

/* The variants of cuda-calls.def. */
enum cuda_when { CUDA_EARLY, CUDA_EARLY_PTSZ, CUDA_PLAIN, CUDA_PTSZ, CUDA_PTDS };

/* CUDA_SUCCESS with the library locked, or the status that the call must return. `symbol` is what
 * was called, `call` its name without the suffix of a default stream, by which faults are set. */
CUresult cuda_enter(const char *symbol, const char *call, enum cuda_when when, bool is_per_thread);

/* Is the function missing in this driver, by a fault? */
bool cuda_is_missing(const char *call);
void cuda_leave(void);

/* The same for threads of the library, and around what may last. */
void cuda_reenter(void);

/* Waits for cuda_wake, unlocked meanwhile. */
void cuda_wait(void);
void cuda_wake(void);

/* Is stream 0 of this call the calling thread's own? */
bool cuda_is_per_thread(void);

/* The device of this number; NULL if there is none. */
struct cuda_device *cuda_device(CUdevice ordinal);

/* The running machine. */
struct state *cuda_state(void);

/* The version of the driver API that the machine's driver has. */
unsigned cuda_version(void);

/* Memory of a device that this process has, in whole granules. */
CUresult cuda_charge(const struct cuda_device *device, uint64_t bytes);
void cuda_refund(const struct cuda_device *device, uint64_t bytes);
uint64_t cuda_free_bytes(const struct cuda_device *device);
uint64_t cuda_total_bytes(const struct cuda_device *device);

static inline uint64_t cuda_round_up(uint64_t bytes, uint64_t step)
{
    return (bytes + step - 1) / step * step;
}
