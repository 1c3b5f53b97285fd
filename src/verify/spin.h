// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Kernels of a known time: on a GPU one counts as many rounds as take that time while it is alone,
 * whatever preempts it; the simulator takes its time from its first parameter. What somebody gets
 * of a device's time is thereby the number of kernels that are done.
 */

#include <stdint.h>

#include "verify/cudalib.h"

enum { SPIN_DEPTH_MAX = 64, SPIN_SAMPLES_MAX = 65536 };

struct spin {
    CUfunction function; /* NULL = it is not loaded */
    CUstream stream;
    CUdeviceptr scratch;
};

struct spin_order {
    double rounds_per_us;      /* of spin_measure */
    unsigned us;               /* each kernel */
    unsigned depth;            /* so many are queued; at most SPIN_DEPTH_MAX */
    unsigned think_us;         /* between one and the next */
    uint64_t begin_ns, end_ns; /* CLOCK_MONOTONIC: launched from now on, counted from begin_ns on */
};

/* Once. CUDA's code. CUDA_ERROR_NOT_SUPPORTED: the device has no writes in the order of a stream,
 * of which claims for turns are made. */
CUresult spin_open(const struct cudalib *cuda, struct spin *spin);

/* On a device that is idle otherwise. */
CUresult spin_measure(const struct cudalib *cuda, const struct spin *spin, double *ret_per_us);

/* Without gaps. ret_done: kernels between begin and end. */
CUresult spin_keep(const struct cudalib *cuda, const struct spin *spin,
                   const struct spin_order *order, uint64_t *ret_done);

/* One at a time. ret_ns: from the launch of each until it was done; there is room for
 * SPIN_SAMPLES_MAX. */
CUresult spin_bursts(const struct cudalib *cuda, const struct spin *spin,
                     const struct spin_order *order, uint64_t *ret_ns, size_t *ret_n);
