// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Time of a device: what a context's work takes of it, beside the contexts of this and of other
 * processes (nvml/timeslice.h says how it is shared).
 *
 * Work is a place on the clock of its context, which runs while the context has the device. It is
 * given to the device as soon as nothing but the device has to be waited for, so that a queue of
 * kernels is done at the device's pace, whatever this process's threads do: also while it is
 * stopped. All functions are called with the library locked.
 */

#include <stdint.h>

#include "cuda/cuda.h"

/* A context's part in it. */
struct engine {
    const struct cuda_device *device;
    uint64_t number; /* the context's, in this process */
    enum { ENGINE_NEW, ENGINE_SHARED, ENGINE_ALONE } state;
    unsigned index;    /* SHARED: in the device's record */
    uint64_t given_ns; /* the latest place on its clock that was given */
};

/* Work for a context, which begins at a place on its clock or now, whichever is later: the place
 * where it ends. */
uint64_t engine_give(struct engine *engine, uint64_t begin_ns, uint64_t duration_ns);

/* Waits until the context's clock is there; unlocked meanwhile. */
void engine_wait(struct engine *engine, uint64_t end_ns);

/* A kernel was done. */
void engine_count_kernel(struct engine *engine);

/* The context ends, with what it has of the device. */
void engine_end(struct engine *engine);
